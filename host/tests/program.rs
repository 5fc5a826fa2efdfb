//! The program starts and says what it is. That it is a test of this package also makes cargo build
//! the program with the tests, for those in `tests/` that run it.

#![expect(clippy::disallowed_methods, reason = "the test starts the program")]

use std::process::Command;

#[test]
fn the_program_says_its_version() {
    let program =
        Command::new(env!("CARGO_BIN_EXE_portcullis")).arg("--version").output().expect("it starts");
    assert!(program.status.success());
    assert_eq!(
        String::from_utf8_lossy(&program.stdout).trim(),
        concat!("portcullis ", env!("CARGO_PKG_VERSION"))
    );
}
