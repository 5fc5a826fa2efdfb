//! Components that nobody wrote, as `tests/generator` makes them: a program of its own.

use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The largest that is read.
const BYTES_MAX: usize = 64 << 20;

/// A generator that runs. Ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Generator {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Generator {
    /// Those of a seed, from one on.
    pub(crate) fn start(seed: u64, from: u64) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/host/debug/generator");
        let mut command = Command::new(&program);
        command.args([seed, from, u64::MAX].map(|number| number.to_string()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests` first", program.display()));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdout }
    }

    /// The next; empty where the generator's libraries gave up.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.stdout.read_exact(&mut length).expect("the generator does not end");
        let length = usize::try_from(u32::from_le_bytes(length)).expect("it fits");
        assert!(length <= BYTES_MAX, "{length}");
        let mut bytes = vec![0; length];
        self.stdout.read_exact(&mut bytes).expect("the generator does not end");
        bytes
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
