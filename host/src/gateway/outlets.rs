//! What goes out of the host's log, and the numbers of the host.

use std::sync::Arc;
use std::time::Duration;

use super::{Host, HostError, HostOptions, blocking};
use crate::audit::{CheckpointKey, Log, LogError};
use crate::config::DataPaths;
use crate::outlets::metrics::{Metrics, Moment};
use crate::outlets::{OutletHealth, Outlets, Surroundings};

/// Starts what `audit.toml` names.
pub(super) fn start(
    options: &HostOptions,
    paths: &DataPaths,
    signing: &CheckpointKey,
    log: &Log,
) -> Result<(Outlets, Arc<Metrics>), HostError> {
    let origin = signing.public().split('+').next().unwrap_or_default().to_owned();
    let surroundings = Surroundings {
        root: paths.root().to_owned(),
        audit: paths.audit(),
        origin,
        resolver: Arc::clone(&options.resolver),
        roots: options.roots.clone(),
    };
    let outlets = Outlets::start(&options.audit, &surroundings, log)?;
    let metrics = Metrics::new(paths.audit(), *log.subscribe().borrow());
    Ok((outlets, Arc::new(metrics)))
}

impl Host {
    /// How what goes out of the log is: records that are shipped, checkpoints that are anchored.
    pub fn outlets(&self) -> Vec<OutletHealth> {
        self.outlets.health(*self.log.subscribe_durable().borrow())
    }

    /// Whether an anchor that is required has what it must have.
    pub(super) fn check_anchors(&self) -> Result<(), LogError> {
        self.outlets.check().map_err(|reason| LogError::NotAnchored { reason })
    }

    /// The numbers of the host since it started, as Prometheus reads them.
    ///
    /// # Errors
    /// If the log can't be read.
    pub async fn metrics(&self) -> Result<String, HostError> {
        let health = self.health();
        let status = self.status();
        let checkpoint = self.checkpoint();
        let moment = Moment {
            running_calls: status.running.len() as u64,
            waiting_calls: status.waiting,
            code: self.sandbox.code_held(),
            prepared: self.sandbox.prepared(),
            waits: Some(self.admission.waits()),
            log_failed: health.log_failure.is_some(),
            disk_low: health.disk_low.is_some(),
            frozen: status.frozen.is_some(),
            revision: health.revision.0,
            written: self.log.subscribe().borrow().0 + 1,
            durable: self.log.subscribe_durable().borrow().0 + 1,
            queued: self.log.queued_units() as u64,
            syncs: Some(self.log.sync_seconds()),
            checkpoint,
            outlets: health.outlets,
        };
        let metrics = Arc::clone(&self.metrics);
        blocking(move || {
            let failed = |reason: String| LogError::Unreadable { reason };
            metrics.text(&moment).map_err(failed)
        })
        .await
    }

    /// Records of the newest checkpoint, and how old it is.
    fn checkpoint(&self) -> Option<(u64, Duration)> {
        let (size, written_at) = crate::audit::anchoring::newest_checkpoint_age(&self.audit_folder())?;
        Some((size, written_at))
    }
}
