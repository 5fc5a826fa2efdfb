//! What goes out of the log while the host runs: records to a SIEM, checkpoints to those who keep them, numbers to
//! whoever watches.
//!
//! Each outlet is a task that reads the log's files, at its own pace: nothing of it is on the way of a call,
//! and a slow or hostile outlet can't hold one up. What an outlet answers is text of a stranger: bounded, cleaned,
//! and never followed.
//!
//! | part | its one job |
//! | --- | --- |
//! | `ship`, `ocsf`, `syslog`, `otlp` | records, translated to OCSF, at least once |
//! | `spans` | calls as spans of OpenTelemetry |
//! | `anchor`, `witness` | checkpoints, to a file, a program or a witness |
//! | `status` | how far each is, and whether that is an alarm |
//! | `alarm` | that as records of the log |
//! | `web` | one POST over `egress` |

mod alarm;
mod anchor;
pub mod metrics;
mod ocsf;
mod otlp;
mod ship;
mod spans;
mod status;
mod syslog;
#[cfg(test)]
mod tests;
mod web;
mod witness;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use status::OutletHealth;

use crate::audit::{AnchorSettings, AnchorSink, AuditSettings, Log, ShipSettings, ShipSink, Signal};
use crate::egress::{Resolver, Roots};
use crate::ids::Sequence;
use status::Status;

/// The longest that outlets are given to pass on the log's last records when the host stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// Where outlets read, and how they reach others.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The data folder: no outlet writes there.
    pub root: PathBuf,
    /// The log.
    pub audit: PathBuf,
    /// The log's origin: the name of its key.
    pub origin: String,
    /// Finds addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Whose certificates are believed, where an outlet names no others.
    pub roots: Roots,
}

/// Why an outlet can't be served. The fault of who wrote the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outlet `{name}` in audit.toml can't be served: {reason}")]
pub struct OutletError {
    name: String,
    reason: String,
}

/// The running outlets of a host. They end when this is dropped.
#[derive(Debug)]
pub struct Outlets {
    statuses: Vec<Arc<Status>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Outlets {
    /// Starts them. They read what is on disk of the log, and record in it what becomes of them.
    ///
    /// # Errors
    /// [`OutletError`]: none is started.
    pub fn start(
        settings: &AuditSettings,
        surroundings: &Surroundings,
        log: &Log,
    ) -> Result<Self, OutletError> {
        let (stop, stopping) = watch::channel(false);
        let mut statuses = Vec::new();
        let mut shippers = Vec::new();
        for ship in &settings.ship {
            let status = Arc::new(Status::of_ship(ship));
            shippers.push(shipper(ship, surroundings, Arc::clone(&status), log.clone())?);
            statuses.push(status);
        }
        let mut anchors = Vec::new();
        for anchor in &settings.anchors {
            let status = Arc::new(Status::of_anchor(anchor));
            anchors.push(anchored(anchor, surroundings, Arc::clone(&status))?);
            statuses.push(status);
        }
        let mut tasks = JoinSet::new();
        for shipper in shippers {
            tasks.spawn(shipper.run(log.subscribe_durable(), stopping.clone()));
        }
        for anchor in anchors {
            tasks.spawn(anchor.run(log.subscribe_durable(), stopping.clone()));
        }
        if !statuses.is_empty() {
            tasks.spawn(alarm::watch(statuses.clone(), log.clone(), stopping));
        }
        Ok(Self { statuses, stop, tasks })
    }

    /// How each of them is.
    pub fn health(&self, durable: Sequence) -> Vec<OutletHealth> {
        self.statuses.iter().map(|status| status.health(durable)).collect()
    }

    /// Why nothing new may begin: an anchor that is required lags.
    ///
    /// # Errors
    /// A text for people.
    pub fn check(&self) -> Result<(), String> {
        self.statuses.iter().try_for_each(|status| status.check())
    }

    /// Ends them, within a bound; those that work pass on what is on disk first.
    pub async fn close(&mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIME_MAX, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

fn shipper(
    settings: &ShipSettings,
    surroundings: &Surroundings,
    status: Arc<Status>,
    log: Log,
) -> Result<ship::Shipper, OutletError> {
    let refuse = |reason: String| OutletError { name: settings.name.to_string(), reason };
    let sink = match &settings.sink {
        ShipSink::File { path } => {
            outside(path, &surroundings.root).map_err(refuse)?;
            ship::Sink::File(path.clone())
        }
        ShipSink::Syslog { host, port, tls, peer } => {
            let refuse = |reason| OutletError { name: settings.name.to_string(), reason };
            let syslog = syslog::Syslog::new(host.clone(), *port, *tls, peer, surroundings);
            ship::Sink::Syslog(Box::new(syslog.map_err(refuse)?))
        }
        ShipSink::Otlp { url, signal, peer } => {
            let web = Box::new(web::Web::new(url.clone(), peer, surroundings).map_err(refuse)?);
            match signal {
                Signal::Logs => ship::Sink::Logs(web),
                Signal::Traces => ship::Sink::Traces(web, Box::default()),
            }
        }
    };
    Ok(ship::Shipper::new(settings.name.clone(), sink, surroundings, status, log))
}

fn anchored(
    settings: &AnchorSettings,
    surroundings: &Surroundings,
    status: Arc<Status>,
) -> Result<anchor::Anchor, OutletError> {
    let refuse = |reason: String| OutletError { name: settings.name.to_string(), reason };
    let sink = match &settings.sink {
        AnchorSink::File { path } => {
            outside(path, &surroundings.root).map_err(refuse)?;
            anchor::Sink::File(path.clone())
        }
        AnchorSink::Command { command, timeout } => {
            anchor::Sink::Command { command: command.clone(), timeout: *timeout }
        }
        AnchorSink::Witness { url, key, peer } => {
            let web = web::Web::new(url.clone(), peer, surroundings).map_err(refuse)?;
            let witness = witness::Witness::new(web, key, &settings.name, surroundings);
            anchor::Sink::Witness(Box::new(
                witness.map_err(|reason| OutletError { name: settings.name.to_string(), reason })?,
            ))
        }
    };
    Ok(anchor::Anchor::new(settings.every, sink, surroundings, status))
}

/// A copy in the data folder would be lost, and could be changed, with the original.
fn outside(path: &Path, root: &Path) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder = std::fs::canonicalize(folder)
        .map_err(|error| format!("the folder {} can't be entered: {error}", folder.display()))?;
    if folder.starts_with(root) {
        return Err(format!("{} is in the data folder: a copy belongs elsewhere", path.display()));
    }
    Ok(())
}
