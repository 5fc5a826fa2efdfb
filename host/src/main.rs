//! The command line: parse, run, exit code.

use std::process::ExitCode;

/// What one thread allocates another frees here all the time: the log's writer, the thread that prepares sandboxes. By
/// glibc's allocator they wait for each other (`docs/decisions/032-allocator.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::main(std::env::args_os())
}
