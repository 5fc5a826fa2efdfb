//! How far an outlet is, and whether that is an alarm.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::audit::event::{OutletKind, OutletTrouble};
use crate::audit::{AnchorSettings, ShipSettings};
use crate::ids::{OutletName, Sequence};
use crate::text::clean_line;

/// How much of a reason is kept.
const REASON_BYTES_MAX: usize = 500;

/// How an outlet is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutletHealth {
    /// Its name.
    pub name: OutletName,
    /// What it passes on.
    pub kind: OutletKind,
    /// Records that it has; of an anchor, those that its last checkpoint covers.
    pub records: u64,
    /// Records on disk that it does not have.
    pub behind: u64,
    /// For how many seconds it has not taken what it was due.
    pub lag_seconds: u64,
    /// Whether that is longer than its `lag_max`, or it said that the log is not what it was.
    pub alarm: bool,
    /// What went wrong last, if it still does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Records whose text was not kept long enough to be passed on.
    #[serde(default)]
    pub lost: u64,
    /// When it took something last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// Whether calls are refused while it is an alarm.
    #[serde(default)]
    pub required: bool,
}

/// What the task of an outlet tells, and others read.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) name: OutletName,
    pub(super) kind: OutletKind,
    pub(super) lag_max: Duration,
    required: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    records: u64,
    taken_at: Option<Timestamp>,
    /// Since when it owes something that was due.
    owing_since: Option<Instant>,
    failure: Option<String>,
    /// It said that the log is not what it was: no time heals that.
    disagrees: bool,
    lost: u64,
    is_told: bool,
}

impl Status {
    pub(super) fn of_ship(settings: &ShipSettings) -> Self {
        Self::new(settings.name.clone(), OutletKind::Ship, settings.lag_max, false)
    }

    pub(super) fn of_anchor(settings: &AnchorSettings) -> Self {
        Self::new(settings.name.clone(), OutletKind::Anchor, settings.lag_max, settings.required)
    }

    fn new(name: OutletName, kind: OutletKind, lag_max: Duration, required: bool) -> Self {
        let state = State {
            records: 0,
            taken_at: None,
            owing_since: None,
            failure: None,
            disagrees: false,
            lost: 0,
            is_told: false,
        };
        Self { name, kind, lag_max, required, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be passed on.
    pub(super) fn owe(&self) {
        self.state().owing_since.get_or_insert_with(Instant::now);
    }

    /// Whether it was to take something, and has not.
    pub(super) fn owes(&self) -> bool {
        self.state().owing_since.is_some()
    }

    /// Where it goes on after a start.
    pub(super) fn resume(&self, records: u64) {
        self.state().records = records;
    }

    /// It has so many records now, and owes nothing until more come.
    pub(super) fn took(&self, records: u64) {
        let mut state = self.state();
        state.records = records;
        state.taken_at = Some(Timestamp::now());
        state.owing_since = None;
        if state.failure.take().is_some() && state.is_told {
            tracing::warn!(outlet = %self.name, kind = self.kind.name(), records, "the outlet works again");
        }
        (state.disagrees, state.is_told) = (false, false);
    }

    /// It did not take what it was given.
    pub(super) fn failed(&self, reason: &str) {
        let mut state = self.state();
        state.owing_since.get_or_insert_with(Instant::now);
        state.failure = Some(clean_line(reason, REASON_BYTES_MAX));
        // Once, and not for each try.
        if !std::mem::replace(&mut state.is_told, true) {
            let reason = state.failure.as_deref().unwrap_or_default();
            tracing::warn!(outlet = %self.name, kind = self.kind.name(), reason, "the outlet fails, and is tried again");
        }
    }

    /// It said that the log is not what it was.
    pub(super) fn disagreed(&self, reason: &str) {
        self.failed(reason);
        let mut state = self.state();
        if !std::mem::replace(&mut state.disagrees, true) {
            let reason = state.failure.as_deref().unwrap_or_default();
            tracing::error!(outlet = %self.name, reason, "the outlet says that the log is not what it was");
        }
    }

    /// The text of records was dropped before it was passed on.
    pub(super) fn lost(&self, records: u64) {
        self.state().lost += records;
        tracing::error!(outlet = %self.name, records, "records were dropped by retention before they were shipped");
    }

    fn is_alarm(&self, state: &State) -> bool {
        self.trouble_of(state).is_some()
    }

    fn trouble_of(&self, state: &State) -> Option<OutletTrouble> {
        if state.disagrees {
            return Some(OutletTrouble::Disagrees);
        }
        let lags = state.owing_since.is_some_and(|since| since.elapsed() > self.lag_max);
        lags.then_some(OutletTrouble::Lags)
    }

    /// What makes it an alarm, if it is one, and what failed last.
    pub(super) fn trouble(&self) -> (Option<OutletTrouble>, Option<String>) {
        let state = self.state();
        (self.trouble_of(&state), state.failure.clone())
    }

    pub(super) fn health(&self, durable: Sequence) -> OutletHealth {
        let state = self.state();
        let lag = state.owing_since.map_or(Duration::ZERO, |since| since.elapsed());
        OutletHealth {
            name: self.name.clone(),
            kind: self.kind,
            records: state.records,
            behind: durable.0.saturating_add(1).saturating_sub(state.records),
            lag_seconds: lag.as_secs(),
            alarm: self.is_alarm(&state),
            failure: state.failure.clone(),
            lost: state.lost,
            taken_at: state.taken_at,
            required: self.required,
        }
    }

    /// Whether something new may begin.
    pub(super) fn check(&self) -> Result<(), String> {
        let state = self.state();
        if !self.required || !self.is_alarm(&state) {
            return Ok(());
        }
        let why = state.failure.as_deref().unwrap_or("it does not answer");
        Err(format!(
            "the anchor `{}` is required by audit.toml, and has not taken a checkpoint for too long: {why}",
            self.name
        ))
    }
}
