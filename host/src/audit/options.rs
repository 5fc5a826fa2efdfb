//! How a log is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::checkpoint::CheckpointKey;
use super::settings::AuditSettings;

/// Where the log takes the time from: called for each record, but for host calls of one call only once a second.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How to open a log.
#[derive(Clone)]
pub struct LogOptions {
    /// The clock. Default: the system's.
    pub clock: Clock,
    /// The version that `host_started` names. Default: this crate's.
    pub version: String,
    /// The engine that `host_started` names, with its version. Default: none.
    pub engine: Option<String>,
    /// The longest wait for the writer or the disk: a disk that takes longer poisons the log.
    /// Default: 30 seconds.
    pub wait_max: Duration,
    /// How segments are closed, and how long their text is kept.
    pub settings: AuditSettings,
    /// The key that signs checkpoints. Default: none, and then the log has neither a tree nor checkpoints.
    pub checkpoints: Option<CheckpointKey>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(Timestamp::now),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: None,
            wait_max: Duration::from_secs(30),
            settings: AuditSettings::default(),
            checkpoints: None,
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("version", &self.version)
            .field("engine", &self.engine)
            .field("wait_max", &self.wait_max)
            .finish_non_exhaustive()
    }
}
