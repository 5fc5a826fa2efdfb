//! `portcullis doctor`: asks the owner of the folder for what only it knows, and shows what was found.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use super::commands::get;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::{environment, session, show};
use crate::api::messages::Health;
use crate::config::DataPaths;
use crate::doctor::{self, Level, Owner, Patient};
use crate::gateway::HostHealth;

/// The longest that an owner is asked for an answer.
const OWNER_TIME_MAX: Duration = Duration::from_secs(5);
/// Between two questions, while the owner may be just coming or leaving.
const PAUSE: Duration = Duration::from_millis(100);

/// Examines, shows, and says by the exit code whether something fails.
pub(super) async fn doctor(data_folder: Option<PathBuf>, output: &Output) -> Result<Exit, Failure> {
    let paths = DataPaths::of(&environment::chosen(data_folder)?);
    let owner = owner(&paths).await;
    let disk_reserve_bytes = environment::disk_reserve_bytes()?;
    let toolchains = environment::rust_libraries();
    let secrets_key = environment::secrets_key()?;
    let now = Timestamp::now();
    let patient = Patient { paths, owner, disk_reserve_bytes, secrets_key, toolchains, now };
    let report = doctor::examine(patient).await;
    output.answer(&report, show::report)?;
    Ok(if report.worst == Level::Fail { Exit::HostFault } else { Exit::Ok })
}

/// Who owns the folder. An owner that does not answer is asked again for a while.
async fn owner(paths: &DataPaths) -> Owner {
    let deadline = Instant::now() + OWNER_TIME_MAX;
    loop {
        let pid = match paths.owner() {
            Ok(None) => return Owner::Nobody,
            Ok(Some(pid)) => pid,
            // Nor could a host: the check of the folder says why.
            Err(_) => return Owner::Nobody,
        };
        let reason = match timeout(OWNER_TIME_MAX, health(paths)).await {
            Ok(Ok(health)) => return answered(health),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {} s", OWNER_TIME_MAX.as_secs()),
        };
        if Instant::now() >= deadline {
            return Owner::Silent { pid, reason };
        }
        sleep(PAUSE).await;
    }
}

async fn health(paths: &DataPaths) -> Result<Health, String> {
    let stream = session::connect(&paths.socket()).await.map_err(|error| error.to_string())?;
    let text = |failure: Failure| match failure {
        Failure::Problem(problem, _) => problem.detail,
        Failure::ReaderGone | Failure::Differs => "the answer can't be read".to_owned(),
    };
    let request = get("/v1/health").map_err(text)?;
    Client::Socket(stream).document(request).await.map_err(text)
}

fn answered(health: Health) -> Owner {
    let Health { version, pid, health } = health;
    let HostHealth { revision, log_failure, log_alarm, disk_low, disk_reserve_bytes, outlets: _ } = health;
    Owner::Answers { pid, version, revision, log_failure, log_alarm, disk_low, disk_reserve_bytes }
}
