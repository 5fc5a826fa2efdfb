//! What the process does: it takes one case after the other through the whole host.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis::authn::local_admin;
use portcullis::gateway::{Approval, Blame, CallAnswer, CallError, HostError};
use portcullis::ids::PackageName;
use portcullis::package::{ToolDescription, ToolExport};
use portcullis::sandbox::{InvokeError, PackageError};
use serde_json::json;

use super::cases::{Case, Cases};
use crate::harness::random::Random;
use crate::harness::soak::Plan;
use crate::harness::worker::{self, CaseFile};
use crate::harness::{AGENT, World, arguments, log, request};

/// No case takes longer, from its bytes to its last call.
const CASE_TIME_MAX: Duration = Duration::from_secs(300);
/// The tools of one component that are called.
const TOOLS_MAX: usize = 8;

const LIMITS: &str = "fuel = 20_000_000, wall_time = \"2s\", memory = \"64MiB\", host_calls = 2_000";

/// What came of all cases.
#[derive(Debug, Default)]
struct Figures {
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
    calls: BTreeMap<&'static str, u64>,
    longest: Duration,
    longest_case: u64,
}

/// Takes cases through the host until the plan ends, and leaves figures. Panics at what must not be.
pub(super) fn work(mut plan: Plan, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut case_file = CaseFile::new(folder);
        let mut cases = Cases::new(plan.seed, 0, plan.is_long());
        let world = World::relaxed().await;
        let mut figures = Figures::default();
        let mut done = 0;
        while plan.goes_on(done) {
            case_file.say(done);
            let case = cases.make(done);
            let (from, started) = (case.from.clone(), Instant::now());
            let mut random = Random::of_case(!plan.seed, done);
            let taken = take(&world, case, &mut random, &mut figures);
            let in_time = tokio::time::timeout(CASE_TIME_MAX, taken).await;
            assert!(in_time.is_ok(), "case {done}, made from {from}, takes more than {CASE_TIME_MAX:?}");
            if started.elapsed() > figures.longest {
                (figures.longest, figures.longest_case) = (started.elapsed(), done);
            }
            done += 1;
            plan.progress(|| format!("{done} components, {} accepted", figures.accepted));
        }
        leave(&plan, world, &figures, done, folder).await;
    });
}

/// The whole way of one component.
async fn take(world: &World, case: Case, random: &mut Random, figures: &mut Figures) {
    let name: PackageName = "case".parse().expect("a name");
    let admin = local_admin();
    let added =
        world.host.add_package(&admin, Bytes::from(case.bytes), Some(name.clone()), None, |_| {}).await;
    let added = match added {
        Ok(added) => added,
        Err(HostError::Package(error)) => {
            *figures.refused.entry(refusal(&error)).or_default() += 1;
            return;
        }
        Err(error) => panic!("made from {}, and not refused but: {error}: {error:?}", case.from),
    };
    figures.accepted += 1;
    let wanted = Approval { digest: Some(added.digest), allow_wider: true, ..Approval::default() };
    world.host.approve_as(&admin, &name, wanted).await.expect("approved");
    world.folder("scratch");
    world
        .grant(&format!(
            "[[grant]]\npackage = \"case\"\nagents = [\"{AGENT}\"]\nlimits = {{ {LIMITS} }}\n\
             [[grant.filesystem]]\nhost_path = \"scratch\"\nguest_path = \"/data\"\n\
             access = \"read-write\"\nquota = \"1MiB\"\nfiles_max = 100\n"
        ))
        .await;
    for tool in added.description.tools.iter().take(TOOLS_MAX) {
        let arguments = arguments::fitting(&tool.input_schema, random);
        let called = request(AGENT, "case", tool.name.as_str(), arguments.clone());
        let result = world.host.call(called).await;
        let outcome = judge(tool, result).unwrap_or_else(|wrong| {
            panic!("made from {}, tool {}: {wrong}: {arguments}", case.from, tool.name)
        });
        *figures.calls.entry(outcome).or_default() += 1;
    }
    world.host.remove_package(&admin, &name).await.expect("removed");
}

/// The kind of a call's end, or what is wrong with it.
fn judge(tool: &ToolDescription, result: Result<CallAnswer, CallError>) -> Result<&'static str, String> {
    let error = match result {
        Ok(answer) => return promised(tool, &answer).map(|()| "ok"),
        Err(error) => error,
    };
    let by_host = matches!(error.blame(), Blame::Host | Blame::Admin);
    match &error {
        CallError::Failed { .. } if by_host => Err(format!("the host's fault: {error:?}")),
        CallError::Failed { error, .. } => match error {
            InvokeError::Arguments(message) if matches!(tool.export, ToolExport::Typed { .. }) => {
                Err(format!("made from its schema, and refused: {message}"))
            }
            InvokeError::Arguments(_) => Ok("arguments"),
            InvokeError::LimitReached(reached) => Ok(reached.limit.name()),
            InvokeError::Tool { .. } => Ok("tool error"),
            InvokeError::Crashed(_) => Ok("crashed"),
            other => Err(format!("{other:?}")),
        },
        other => Err(format!("not failed but: {other:?}")),
    }
}

/// What a typed tool gives is what its schema says.
fn promised(tool: &ToolDescription, answer: &CallAnswer) -> Result<(), String> {
    let (Some(schema), ToolExport::Typed { .. }) = (&tool.output_schema, &tool.export) else { return Ok(()) };
    let value = answer.answer.structured.as_ref().ok_or("a result was promised, and there is none")?;
    let schema = jsonschema::validator_for(schema).map_err(|error| format!("no schema: {error}"))?;
    schema.validate(value).map_err(|error| format!("not what its schema says: {error}: {value}"))
}

fn refusal(error: &PackageError) -> &'static str {
    match error {
        PackageError::Empty => "empty",
        PackageError::NotWasm => "not wasm",
        PackageError::CoreModule => "core module",
        PackageError::Invalid(_) => "invalid",
        PackageError::TooLarge(reached) => reached.limit.name(),
        PackageError::CompilerDied(_) => "compiler died",
        PackageError::UnknownImports(_) => "unknown imports",
        PackageError::NoTools(_) => "no tools",
        PackageError::AlikeTools(..) => "alike tools",
        PackageError::Manifest(_) => "manifest",
        PackageError::ListTools(_) => "list-tools",
    }
}

/// Closes the host, reads its whole log, and writes the figures down.
async fn leave(plan: &Plan, world: World, figures: &Figures, done: u64, folder: &Path) {
    let World { host, temporary } = world;
    let audit = host.audit_folder();
    host.close().await.expect("closed in good order");
    let checked = log::check(&audit);
    let refused: u64 = figures.refused.values().sum();
    assert_eq!((checked.packages_added, checked.packages_refused), (figures.accepted, refused));
    assert!(checked.admitted >= figures.calls.values().sum(), "each call has its records");
    assert!(figures.accepted > done / 50, "hardly anything was accepted: {figures:?}");
    let figures = json!({
        "components": done,
        "seconds": plan.elapsed().as_secs(),
        "accepted": figures.accepted,
        "refused": figures.refused,
        "calls": figures.calls,
        "log_records": checked.records,
        "longest_ms": u64::try_from(figures.longest.as_millis()).unwrap_or(u64::MAX),
        "longest_case": figures.longest_case,
    });
    worker::leave(folder, &figures);
    drop(temporary);
}
