//! Lines for whoever may see how a call went. They are captured up to a bound, and reach no log of the host.

use std::fmt::Display;

use crate::host;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Step by step.
    Trace,
    /// For whoever looks for a fault in the tool.
    Debug,
    /// What happened.
    Info,
    /// What should be looked at.
    Warn,
    /// What went wrong.
    Error,
    /// What the tool can't go on after.
    Critical,
}

/// Writes a line. `context` is a word for where it comes from, and may be empty.
pub fn write(level: Level, context: &str, message: impl Display) {
    host::log(level, context, &message.to_string());
}

/// A line of [`Level::Trace`].
pub fn trace(message: impl Display) {
    write(Level::Trace, "", message);
}

/// A line of [`Level::Debug`].
pub fn debug(message: impl Display) {
    write(Level::Debug, "", message);
}

/// A line of [`Level::Info`].
pub fn info(message: impl Display) {
    write(Level::Info, "", message);
}

/// A line of [`Level::Warn`].
pub fn warn(message: impl Display) {
    write(Level::Warn, "", message);
}

/// A line of [`Level::Error`].
pub fn error(message: impl Display) {
    write(Level::Error, "", message);
}

/// A line of [`Level::Critical`].
pub fn critical(message: impl Display) {
    write(Level::Critical, "", message);
}
