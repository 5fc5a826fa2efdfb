//! What the log says of a host call: what was called, by whose leave, and what came of it.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::is_zero;

/// A host call without an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCall {
    /// Such as `wasi:clocks/wall-clock`.
    pub interface: Cow<'static, str>,
    /// Such as `now` or `[method]descriptor.read`.
    pub function: Cow<'static, str>,
    /// What it was about: a path, a stream. Absent where there is nothing to name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Arc<str>>,
    /// Allowed or denied, and by what.
    #[serde(flatten)]
    pub decision: Decision,
    /// What came of it. Of several calls, bytes and durations are sums.
    #[serde(flatten)]
    pub result: HostCallResult,
    /// Fuel that the call had used when it was made.
    #[serde(default)]
    pub fuel: u64,
    /// How often it was repeated, if a grant asks that repeated reads are one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
}

/// Several host calls in one record. Its `time` is that of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How many calls it stands for, at least two.
    pub count: u64,
    /// When the last of them was made.
    pub until: Timestamp,
}

/// An effect that is about to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Such as `wasi:filesystem/types`.
    pub interface: Cow<'static, str>,
    /// Such as `[method]descriptor.unlink-file-at`.
    pub function: Cow<'static, str>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Arc<str>>,
    /// What allowed it.
    #[serde(flatten)]
    pub decision: Decision,
    /// Bytes that are about to leave the guest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Fuel that the call had used when it was made.
    #[serde(default)]
    pub fuel: u64,
}

/// Whether a host call was let through, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", content = "rule", rename_all = "snake_case")]
pub enum Decision {
    /// Let through: a rule of a grant, such as `grant 7 filesystem 0`, or `harmless` for functions
    /// that reach nothing outside the sandbox.
    Allowed(Cow<'static, str>),
    /// Refused, and why.
    Denied(Cow<'static, str>),
}

/// What came of a host call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCallResult {
    /// How it ended.
    #[serde(flatten)]
    pub outcome: HostCallOutcome,
    /// The status of an answer of HTTP, once its head had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes that came into the guest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Bytes that left the guest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
}

/// How a host call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "error", rename_all = "snake_case")]
pub enum HostCallOutcome {
    /// It did what was asked.
    Ok,
    /// The guest got an error of the interface, such as `no-entry`.
    Error(Cow<'static, str>),
    /// The call was ended in its midst, so what came of it is not known.
    Unknown,
    /// The guest was trapped: a limit, or a fault.
    Trapped(Cow<'static, str>),
}
