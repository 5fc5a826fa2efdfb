//! Where a command writes: stdout for the answer, stderr for all else, as text or as JSON.
//!
//! A reader that closes the pipe ends the command quietly; nothing here panics on it.

use std::io::{self, IsTerminal, Write};

use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;

use super::environment::{self, Color};
use super::failure::Failure;

/// How this run writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// One JSON document instead of text.
    pub(super) json: bool,
    /// Whether stderr is watched by a person.
    pub(super) is_watched: bool,
    /// Whether stderr may have colour.
    color: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let color = match environment::color() {
            Color::Never => false,
            Color::OnTerminals => is_terminal,
            Color::Always => true,
        };
        // A spinner moves the cursor, which a dumb terminal can't.
        Self { json, is_watched: is_terminal && !environment::terminal_is_dumb(), color }
    }

    /// Whether stderr may have colour.
    pub(super) fn has_color(&self) -> bool {
        self.color
    }

    /// Writes the answer: as JSON, or as the text that `text` makes of it.
    pub(super) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string(value)
                .map_err(|error| Failure::host(format!("the answer can't be written as JSON: {error}")))?;
            self.line(&json)
        } else {
            self.text(&text(value))
        }
    }

    /// Writes a line to stdout.
    pub(super) fn line(&self, line: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.write_all(b"\n")?;
        Ok(stdout.flush()?)
    }

    /// Writes text to stdout, with a newline at its end unless it is empty or has one.
    pub(super) fn text(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() { Ok(()) } else { self.line(text.strip_suffix('\n').unwrap_or(text)) }
    }

    /// Whether whoever read stdout has closed it: what is not written yet will not be wanted.
    pub(super) fn reader_is_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        match rustix::event::poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) => watched[0].revents().contains(PollFlags::ERR),
            // The next write will tell.
            Err(_) => false,
        }
    }

    /// Writes a line to stderr. One that nobody can read is not worth ending for.
    pub(super) fn note(&self, line: &str) {
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.write_all(b"\n"));
    }

    /// Writes a line to stderr, dimmed where there is colour.
    pub(super) fn aside(&self, line: &str) {
        if self.color { self.note(&format!("\u{1b}[2m{line}\u{1b}[0m")) } else { self.note(line) }
    }

    /// `word` as the head of an error.
    pub(super) fn alarming(&self, word: &str) -> String {
        if self.color { format!("\u{1b}[1;31m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}
