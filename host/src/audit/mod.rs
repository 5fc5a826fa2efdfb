//! The log: a closed enum of events, one writer, recovery, reading.
//!
//! Records of effects reach the kernel before the effect; an answer leaves after its records are
//! on disk. When the log can't be written, calls are refused.

pub mod event;
