//! What compiling in a process of its own costs, beside compiling on a thread of the host, in one run.
//!
//! Each measurement is a whole registration: counting, compiling, looking at its types, and the record that
//! is on disk. Python, which takes many seconds, is registered once each way, and only if it is asked for:
//! `cargo xtask bench compile/python`. Nothing here asserts a speed.

mod figures;
mod floor;

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::gateway::{Host, HostOptions};
use portcullis::sandbox::compiler::Compiler;
use tokio::runtime::Runtime;

use self::figures::{Figures, Times, quick};
use self::floor::guest_bytes;

/// The least that a tool can be.
const SMALL: &str = r#"(component
    (core module $m (func (export "answer") (result i32) (i32.const 42)))
    (core instance $i (instantiate $m))
    (func (export "answer") (result u32) (canon lift (core func $i "answer"))))"#;
const PYTHON: &str = "python";

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

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let program = Compiler::Program(env!("CARGO_BIN_EXE_portcullis").into());
    let hosts = [("thread", Compiler::InThisProcess), ("process", program)];
    let hosts = hosts.map(|(name, compiler)| (name, runtime.block_on(Ours::new(compiler))));
    let guests = [
        ("small", Bytes::from(wat::parse_str(SMALL).expect("valid text"))),
        ("echo", guest_bytes("echo").into()),
        ("markdown", guest_bytes("markdown").into()),
    ];
    let mut figures = Figures::new();
    for (guest, bytes) in &guests {
        let [mut thread, mut process] = [Times::default(), Times::default()];
        for ((place, ours), times) in hosts.iter().zip([&mut thread, &mut process]) {
            criterion.bench_function(&format!("compile/{guest}_{place}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let started = Instant::now();
                    for _ in 0..iterations {
                        runtime.block_on(times.of(ours.add(bytes)));
                    }
                    started.elapsed()
                });
            });
        }
        report(&mut figures, guest, &thread, &process);
    }
    if std::env::args().skip(1).any(|word| word == PYTHON) {
        let bytes = guest_bytes(PYTHON).into();
        let [mut thread, mut process] = [Times::default(), Times::default()];
        for ((_, ours), times) in hosts.iter().zip([&mut thread, &mut process]) {
            runtime.block_on(times.of(ours.add(&bytes)));
        }
        report(&mut figures, PYTHON, &thread, &process);
    }
}

/// Criterion skips what its filter does not fit.
fn report(figures: &mut Figures, guest: &str, thread: &Times, process: &Times) {
    if thread.count() > 0 && process.count() > 0 {
        let floor = format!("compile/{guest}_thread");
        figures.times(&format!("compile/{guest}_process"), process, Some((&floor, thread)), None);
    }
}

/// Shorter where it is only tried out.
fn criterion() -> Criterion {
    let seconds = if quick() { 1 } else { 3 };
    let criterion = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500));
    criterion.measurement_time(Duration::from_secs(seconds))
}

criterion_group! {
    name = all;
    config = criterion();
    targets = benches
}
criterion_main!(all);
