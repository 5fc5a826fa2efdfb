//! The log: a closed enum of events, one writer, recovery, reading.
//!
//! Records of effects reach the kernel before the effect; an answer leaves after its records are
//! on disk. When the log can't be written, calls are refused: the first error of a write or a sync
//! poisons the log for good, and a failed sync is never tried again on that file.
//!
//! One process owns the folder, and its caller sees to that; any number may read. The way of a
//! record: [`Recorder`] or [`Log::append`] → a bounded queue → the writer's thread, which numbers
//! and writes → the syncer's thread, whose one `fdatasync` serves all who wait.
//!
//! Nothing here decides, redacts secrets or escapes text for people: a record holds what it was
//! given, cut to a bound, as JSON.

#[doc(hidden)]
pub mod anchoring;
mod archive;
pub mod bundle;
mod checkpoint;
pub mod commitment;
pub mod consistency;
mod disk;
pub mod event;
mod fold;
#[doc(hidden)]
pub mod follow;
mod hash;
#[doc(hidden)]
pub mod index;
mod line;
mod log;
mod options;
pub mod payload;
pub mod prove;
pub mod query;
pub mod receipt;
mod recorder;
mod recovery;
pub mod rotation;
pub mod schema;
#[doc(hidden)]
pub mod search;
mod segment;
mod settings;
mod start;
#[doc(hidden)]
pub mod story;
pub(crate) mod sum;
mod syncer;
#[cfg(test)]
mod tests;
mod tree;
pub mod trust;
pub mod verify;
mod writer;

pub use checkpoint::{Checkpoint, CheckpointError, CheckpointKey, VerifierKey, read_note};
pub use hash::{NoHash, TreeHash};
pub use line::{LINE_BYTES_MAX, TEXT_BYTES_MAX};
pub use log::{Log, LogError};
pub use options::{Clock, LogOptions};
pub use recorder::{RECORDER_BYTES_MAX, RECORDER_UNITS_MAX, Recorder, Recording};
pub use settings::{
    AUDIT_FILE_BYTES_MAX, AnchorSettings, AnchorSink, AuditSettings, Peer, ShipSettings, ShipSink, Signal,
    parse_audit_settings,
};
