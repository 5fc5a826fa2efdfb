//! What compiling in a process of its own costs, beside compiling on a thread of the host, in one run.
//!
//! Each measurement is a whole registration: counting, compiling, looking at its types, and the record that
//! is on disk. Python, which takes many seconds, is registered once each way. Nothing here asserts a speed.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads guests and its own arguments")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::gateway::{Host, HostOptions};
use portcullis::sandbox::compiler::Compiler;
use tokio::runtime::Runtime;

/// The least that a tool can be.
const SMALL: &str = r#"(component
    (core module $m (func (export "answer") (result i32) (i32.const 42)))
    (core instance $i (instantiate $m))
    (func (export "answer") (result u32) (canon lift (core func $i "answer"))))"#;
const PYTHON: &str = "compile/python";

struct Ours {
    host: Host,
    _temporary: tempfile::TempDir,
}

impl Ours {
    async fn new(compiler: Compiler) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let Ownership::Ours(folder) = DataFolder::take(&temporary.path().join("data")).expect("usable")
        else {
            panic!("the folder is new");
        };
        let options = HostOptions { compiler, ..HostOptions::default() };
        Self { host: Host::open(folder, options).await.expect("it opens"), _temporary: temporary }
    }

    async fn add(&self, bytes: &Bytes) {
        let name = Some("tool".parse().expect("a name"));
        self.host.add_package(&local_admin(), bytes.clone(), name, None, |_| {}).await.expect("registered");
    }
}

fn guest(name: &str) -> Bytes {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name).with_extension("wasm");
    let bytes = std::fs::read(&path);
    bytes.unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display())).into()
}

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let program = Compiler::Program(env!("CARGO_BIN_EXE_portcullis").into());
    let hosts = [("thread", Compiler::InThisProcess), ("process", program)];
    let hosts = hosts.map(|(name, compiler)| (name, runtime.block_on(Ours::new(compiler))));
    let guests = [
        ("small", Bytes::from(wat::parse_str(SMALL).expect("valid text"))),
        ("echo", guest("echo")),
        ("markdown", guest("markdown")),
    ];
    for (guest, bytes) in &guests {
        for (place, ours) in &hosts {
            criterion.bench_function(&format!("compile/{guest}_{place}"), |bencher| {
                bencher.iter(|| runtime.block_on(ours.add(bytes)));
            });
        }
    }
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if filter.is_none_or(|filter| PYTHON.contains(&filter)) {
        let bytes = guest("python");
        for (place, ours) in &hosts {
            let started = Instant::now();
            runtime.block_on(ours.add(&bytes));
            println!("{PYTHON}_{place}: {:.1} s, once", started.elapsed().as_secs_f64());
        }
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    targets = benches
}
criterion_main!(all);
