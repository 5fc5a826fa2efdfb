//! Shows that long work goes on: a spinner or a bar for a person, a line now and then for a file.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::output::Output;
use crate::api::messages::AddStage;
use crate::gateway::Progress as Step;

/// Before this, nothing is written where there is no terminal: most components compile in less.
const LINE_AFTER: Duration = Duration::from_secs(1);
/// How often a line is written there, unless the stage changes.
const LINE_EVERY: Duration = Duration::from_secs(5);
const SPIN_EVERY: Duration = Duration::from_millis(120);

/// The progress of one registration. It disappears when it is dropped.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    output: &'a Output,
    spinner: Option<ProgressBar>,
    /// What the last line said, and after how long.
    written: Option<(AddStage, Duration)>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        let spinner = (output.is_watched && !output.json).then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(SPIN_EVERY);
            spinner
        });
        Self { output, spinner, written: None }
    }

    pub(super) fn show(&mut self, stage: AddStage, elapsed: Duration) {
        if self.output.json || stage == AddStage::Measuring {
            return;
        }
        let text = format!("{}… {} s", name(stage), elapsed.as_secs());
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text);
            return;
        }
        let is_due = elapsed >= LINE_AFTER
            && self.written.is_none_or(|(last, at)| last != stage || elapsed >= at + LINE_EVERY);
        if is_due {
            self.written = Some((stage, elapsed));
            self.output.note(&text);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// How far a call is, as its tool says. It disappears when it is dropped.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    output: &'a Output,
    spinner: Option<ProgressBar>,
    written: Option<Instant>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, spinner: None, written: None }
    }

    /// The text is the tool's, and the host has cleaned it.
    pub(super) fn show(&mut self, step: &Step) {
        if self.output.json {
            return;
        }
        let Step { done, total, message } = step;
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let separator = if message.is_empty() { "" } else { ": " };
        let text = format!("the tool says: {done}{of}{separator}{message}");
        if self.output.is_watched {
            let spinner = self.spinner.get_or_insert_with(|| {
                let spinner = ProgressBar::new_spinner();
                spinner.enable_steady_tick(SPIN_EVERY);
                spinner
            });
            spinner.set_message(text);
        } else if self.written.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.written = Some(Instant::now());
            self.output.note(&text);
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// The progress of work that is measured in bytes: a bar for a person, a line now and then for a file.
/// It disappears when it is dropped.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    output: &'a Output,
    what: &'static str,
    bar: Option<ProgressBar>,
    bytes: u64,
    total: Option<u64>,
    begun: Instant,
    written: Option<Instant>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(output: &'a Output, what: &'static str, total: Option<u64>) -> Self {
        let bar = (output.is_watched && !output.json).then(|| match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        });
        Self { output, what, bar, bytes: 0, total, begun: Instant::now(), written: None }
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
            return;
        }
        let last = self.written.unwrap_or(self.begun);
        if self.output.json || last.elapsed() < LINE_EVERY {
            return;
        }
        self.written = Some(Instant::now());
        let of = self.total.map(|total| format!(" of about {}", total >> 20)).unwrap_or_default();
        self.output.note(&format!("{}… {}{of} MiB", self.what, self.bytes >> 20));
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The progress of work in named steps. It disappears when it is dropped.
#[derive(Debug)]
pub(super) struct Working<'a> {
    output: &'a Output,
    spinner: Option<ProgressBar>,
    written: Option<(String, Duration)>,
}

impl<'a> Working<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        let spinner = (output.is_watched && !output.json).then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(SPIN_EVERY);
            spinner
        });
        Self { output, spinner, written: None }
    }

    pub(super) fn show(&mut self, step: &str, elapsed: Duration) {
        if self.output.json || step.is_empty() {
            return;
        }
        let text = format!("{step}… {} s", elapsed.as_secs());
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text);
            return;
        }
        let is_due = elapsed >= LINE_AFTER
            && self.written.as_ref().is_none_or(|(last, at)| last != step || elapsed >= *at + LINE_EVERY);
        if is_due {
            self.written = Some((step.to_owned(), elapsed));
            self.output.note(&text);
        }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn name(stage: AddStage) -> &'static str {
    match stage {
        AddStage::Measuring => "measuring",
        AddStage::Compiling => "compiling",
        AddStage::ListingTools => "asking for its tools",
        AddStage::Storing => "storing",
    }
}
