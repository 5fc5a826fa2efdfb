//! The project's chores: `cargo xtask help` lists them.
//!
//! Each chore is a module with one public function. Nothing here is part of the product, and the
//! product needs nothing of it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to whoever runs them")]
#![expect(
    clippy::disallowed_methods,
    reason = "a build tool starts processes and owns the files of the repository"
)]

mod bench;
mod clients;
mod debian;
mod demo;
mod figures;
mod folders;
mod fuzz;
mod guests;
mod peers;
mod process;
mod programs;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

use folders::Folders;

/// Each chore with its options and what it does. `tidy` holds the documentation to this list.
const CHORES: [(&str, &str, &str); 8] = [
    ("demo", "", "build everything, and walk through the whole path with real files in target/demo"),
    ("test", "", "build the guests, then run all tests; the last line is the test runner's own"),
    ("guests", "", "build the example tools and the tests' guests into target/guests"),
    ("clients", "", "install the official clients of MCP, and its conformance suite, that tests speak with"),
    ("programs", "", "install programs of the system that tests are held against: minisign, docker-registry"),
    (
        "bench",
        "[NAME[/PART]|check|peers] [--json] [--quick] …",
        "run the benchmarks, or those whose name contains NAME; `check` compares ratios with the baseline, `peers` other hosts",
    ),
    (
        "soak",
        "[NAME] [--minutes N] [--seed S] [--json]",
        "run what can go on for hours: components, calls, kills, race, load, fuzz; 10 minutes each unless said",
    ),
    (
        "tidy",
        "[--update-wit|--update-api|--update-reference]",
        "check the rules of the repository that no compiler checks",
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            println!("{}", help());
            Ok(())
        }
        ["demo"] => demo::demo(&Folders::find()?),
        ["test"] => test::test(&Folders::find()?),
        ["guests"] => guests::guests(&Folders::find()?),
        ["clients"] => clients::clients(&Folders::find()?),
        ["programs"] => programs::programs(),
        ["bench", options @ ..] => bench::bench(&Folders::find()?, &bench::Options::parse(options)?),
        ["soak", options @ ..] => soak::soak(&Folders::find()?, &soak::Options::parse(options)?),
        ["tidy"] => tidy::tidy(&Folders::find()?),
        ["tidy", "--update-wit"] => tidy::update_wit(&Folders::find()?),
        ["tidy", "--update-reference"] => tidy::update_reference(&Folders::find()?),
        ["tidy", "--update-api"] => tidy::update_api(&Folders::find()?),
        [chore, options @ ..] if CHORES.iter().any(|(name, ..)| name == chore) => {
            bail!("`{chore}` does not take `{}`\n\n{}", options.join(" "), help())
        }
        [chore, ..] => bail!("there is no chore `{chore}`\n\n{}", help()),
    }
}

fn help() -> String {
    let lines = CHORES.map(|(name, options, what)| format!("  {:<34} {what}", format!("{name} {options}")));
    format!("cargo xtask CHORE\n\n{}", lines.join("\n"))
}
