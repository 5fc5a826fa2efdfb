//! How others reach the host, as `docs/clients` shows it: what stands there is run here.

use std::path::Path;

use crate::harness::installed::sources;

/// Where the pages are.
fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The parts of a page in a language.
fn parts<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let parts: Vec<&str> = page
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|part| part.split("```").next().expect("its end").trim_end())
        .collect();
    assert!(!parts.is_empty(), "no part in {language}");
    parts
}

/// The programs are run by tests of their own.
#[test]
fn what_the_pages_show_is_in_programs_that_are_run() {
    let unindented = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    for (name, language, program) in
        [("python.md", "python", "python_client.py"), ("typescript.md", "js", "typescript_client.mjs")]
    {
        let text = std::fs::read_to_string(sources().join(program)).expect("a program");
        for part in parts(&page(name), language) {
            assert!(unindented(&text).contains(&unindented(part)), "not in {program}:\n{part}");
        }
    }
}
