//! `portcullis build`: the toolchain on a thread of its own, then a look at what it made, in a throw-away host.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::build_failure;
use super::scratch::Scratch;
use crate::authoring::build::{Build, Built};
use crate::cli::arguments::BuildArguments;
use crate::cli::environment;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::Working;
use crate::cli::show::built;
use crate::gateway::AddedPackage;

/// How often a person is told how far it is.
const TICK: Duration = Duration::from_millis(200);

/// What was built, for `--json`.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Outcome {
    /// The component.
    pub(in crate::cli) file: PathBuf,
    pub(in crate::cli) built_with: String,
    pub(in crate::cli) bytes: u64,
    pub(in crate::cli) unstripped_bytes: u64,
    pub(in crate::cli) elapsed_ms: u64,
    /// As a host sees it.
    #[serde(flatten)]
    pub(in crate::cli) package: AddedPackage,
}

/// Builds, and shows what it is.
pub(in crate::cli) async fn build(arguments: BuildArguments, output: &Output) -> Result<(), Failure> {
    let outcome = build_project(arguments, output).await?;
    output.answer(&outcome, built::outcome)
}

/// Builds a project and writes its component.
pub(super) async fn build_project(arguments: BuildArguments, output: &Output) -> Result<Outcome, Failure> {
    let BuildArguments { folder, out } = arguments;
    let started = Instant::now();
    let made = made(folder.clone(), output).await?;
    let Built { component, manifest, built_with, unstripped_bytes } = made;
    let mut working = Working::new(output);
    working.show("looking at what was built", started.elapsed());
    let scratch = Scratch::open().await?;
    let bytes = bytes::Bytes::from(component);
    let added = scratch.add(bytes.clone(), None).await;
    scratch.close().await?;
    let package = added?;
    let file = out.unwrap_or_else(|| folder.join(format!("{}.wasm", manifest.name)));
    write(&file, &bytes)?;
    drop(working);
    Ok(Outcome {
        file,
        built_with,
        bytes: bytes.len() as u64,
        unstripped_bytes,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        package,
    })
}

/// Stops the toolchain when nobody waits any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Builds on a thread of its own, and tells how far it is. Dropping it stops the toolchain.
pub(super) async fn made(folder: PathBuf, output: &Output) -> Result<Built, Failure> {
    let surroundings = environment::surroundings();
    let stopped = Arc::new(AtomicBool::new(false));
    let _stop = StopOnDrop(Arc::clone(&stopped));
    let step: Arc<Mutex<String>> = Arc::default();
    let told = Arc::clone(&step);
    let mut task = tokio::task::spawn_blocking(move || {
        let progress = |text: &str| text.clone_into(&mut told.lock().unwrap_or_else(PoisonError::into_inner));
        Build { folder: &folder, surroundings: &surroundings, stopped: &stopped, progress: &progress }.run()
    });
    let started = Instant::now();
    let mut working = Working::new(output);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            done = &mut task => {
                return match done {
                    Ok(built) => built.map_err(build_failure),
                    Err(error) => Err(Failure::host(format!("the build was not made to its end: {error}"))),
                };
            }
            _ = ticks.tick() => {
                let step = step.lock().unwrap_or_else(PoisonError::into_inner).clone();
                working.show(&step, started.elapsed());
            }
        }
    }
}

/// Puts the component in its place, whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::host(format!("{} can't be written: {error}", file.display()));
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut made = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    std::io::Write::write_all(&mut made, bytes).map_err(failed)?;
    // As a compiler leaves it: readable by whoever may read the folder.
    std::fs::set_permissions(made.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .map_err(failed)?;
    made.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}
