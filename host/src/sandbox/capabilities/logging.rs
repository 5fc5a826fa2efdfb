//! `wasi:logging`: lines that are captured up to a bound, like stdout and stderr.
//!
//! They go to whoever called the tool, and nowhere else: a guest can't write into any log of the host. The
//! record names a line's context and its length, never its message.

use std::sync::Arc;

use super::{CallState, SUBJECT_BYTES_MAX};
use crate::audit::event::HostCallOutcome;
use crate::sandbox::bindings::wasi::logging::logging;
use crate::sandbox::capabilities::gate::HARMLESS;
use crate::text::{CUT, clean_line};

mod lines {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:logging/logging":
        LOG = "log";
    }
}

/// The functions of `wasi:logging`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[lines::ALL];

/// The lines that a guest logged, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: String,
    /// Bytes logged, those beyond the bound included.
    written: u64,
    bytes_max: u64,
}

impl Lines {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Bytes logged, those beyond the bound included.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The lines, without what could act on a terminal; marked if some of it was cut.
    pub(crate) fn into_text(mut self) -> String {
        if self.written > self.bytes_max {
            self.text.push_str(CUT);
        }
        self.text
    }

    /// Keeps `level context: message` on a line of its own, as far as there is room.
    fn push(&mut self, level: &str, context: &str, message: &str) {
        let mut room = self.bytes_max.saturating_sub(self.written);
        let separator = if context.is_empty() { "" } else { " " };
        for part in [level, separator, context, ": ", message] {
            self.text.push_str(&clean_line(beginning(part, room), usize::MAX));
            room = room.saturating_sub(part.len() as u64);
            self.written = self.written.saturating_add(part.len() as u64);
        }
        if room > 0 {
            self.text.push('\n');
        }
        self.written = self.written.saturating_add(1);
    }
}

/// As much of a text as fits, cut between characters.
fn beginning(text: &str, bytes_max: u64) -> &str {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

fn name(level: logging::Level) -> &'static str {
    match level {
        logging::Level::Trace => "trace",
        logging::Level::Debug => "debug",
        logging::Level::Info => "info",
        logging::Level::Warn => "warn",
        logging::Level::Error => "error",
        logging::Level::Critical => "critical",
    }
}

impl logging::Host for CallState {
    async fn log(&mut self, level: logging::Level, context: String, message: String) -> wasmtime::Result<()> {
        let subject = Arc::from(clean_line(&context, SUBJECT_BYTES_MAX));
        let entered = self.gate.enter(lines::LOG, Some(subject)).await?;
        self.log.push(name(level), &context, &message);
        let bytes_out = context.len().saturating_add(message.len()) as u64;
        self.gate.leave(entered, HARMLESS, HostCallOutcome::Ok, 0, bytes_out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_up_to_the_bound_and_then_cut_and_marked() {
        let logged = |bytes_max: u64| {
            let mut lines = Lines::new(bytes_max);
            lines.push("info", "job", "one");
            lines.push("warn", "", "two\n\u{1b}[31mé");
            (lines.written(), lines.into_text())
        };
        let whole = "info job: one\nwarn: two é\n";
        // What can't be shown counts as it was written.
        assert_eq!(logged(32), (32, whole.to_owned()));
        assert_eq!(logged(31), (32, format!("{}{CUT}", whole.trim_end_matches('\n'))));
        assert_eq!(logged(30), (32, format!("{}{CUT}", "info job: one\nwarn: two ")));
        assert_eq!(logged(14), (32, "info job: one\n… [cut]".to_owned()));
        assert_eq!(logged(3), (32, "inf… [cut]".to_owned()));
        assert_eq!(logged(0), (32, CUT.to_owned()));
    }
}
