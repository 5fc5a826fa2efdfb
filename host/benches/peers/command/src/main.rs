//! `jobs-command JOB`: the jobs as a program.

use std::io::{Read as _, Write as _};

fn main() -> std::io::Result<()> {
    let job = std::env::args().nth(1).unwrap_or_default();
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    std::io::stdout().write_all(jobs::run(&job, &text).as_bytes())
}
