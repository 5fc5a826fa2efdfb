//! Fair: who waits is served in its turn, nobody is starved, and nobody uses more than its quotas.

pub(crate) mod bounds;
mod door;
mod overload;
pub(crate) mod quotas;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use portcullis::gateway::{CallAnswer, CallError};
use portcullis::limits::{HostLimits, Limit};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::harness::{World, options};

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The host's limits with some values.
fn limits(values: &[(Limit, u64)]) -> HostLimits {
    let mut limits = options().limits;
    for (limit, value) in values {
        limits.set_value(*limit, *value).expect("below the table's");
    }
    limits
}

fn start(
    world: &Arc<World>,
    agent: &str,
    package: &str,
    tool: &str,
    arguments: Value,
) -> JoinHandle<Result<CallAnswer, CallError>> {
    let (world, agent, package, tool) =
        (Arc::clone(world), agent.to_owned(), package.to_owned(), tool.to_owned());
    tokio::spawn(async move { world.call_as(&agent, &package, &tool, arguments).await })
}

/// Starts a call that runs until it is aborted.
fn sleeper(world: &Arc<World>, agent: &str) -> JoinHandle<Result<CallAnswer, CallError>> {
    start(world, agent, "clock", "sleep-for-ever", json!({}))
}

/// Waits until so many calls run and wait.
async fn until(world: &World, running: usize, waiting: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = world.host.status();
        if (status.running.len(), status.waiting) == (running, waiting) {
            return;
        }
        assert!(Instant::now() < deadline, "{} run and {} wait", status.running.len(), status.waiting);
        sleep(Duration::from_millis(5)).await;
    }
}

/// Grants packages to agents, for long calls.
async fn grant(world: &World, packages: &[&str], agents: &[&str]) {
    let grant = |package: &&str| {
        format!(
            "[[grant]]\npackage = \"{package}\"\nagents = {agents:?}\n\
             limits = {{ wall_time = \"10m\", fuel = 1_000_000_000_000 }}\n"
        )
    };
    world.grant(&packages.iter().map(grant).collect::<String>()).await;
}
