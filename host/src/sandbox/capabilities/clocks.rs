//! `wasi:clocks`: the time of day, and a monotonic clock that starts near zero with each call.
//!
//! Reading a clock says nothing about the host but the time, and a grant may say how exactly. Waiting is
//! bounded by the call's wall time.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::CallState;
use super::gate::{HARMLESS, HostFunction};
use crate::audit::event::Decision;
use crate::policy::AuthorizedClock;
use crate::sandbox::bindings::wasi::clocks::{monotonic_clock, wall_clock};

mod wall {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:clocks/wall-clock":
        NOW = "now";
        RESOLUTION = "resolution";
    }
}

mod monotonic {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:clocks/monotonic-clock":
        NOW = "now";
        RESOLUTION = "resolution";
        SUBSCRIBE_INSTANT = "subscribe-instant";
        SUBSCRIBE_DURATION = "subscribe-duration";
    }
}

/// The functions of `wasi:clocks`.
pub(crate) const FUNCTIONS: &[&[&HostFunction]] = &[wall::ALL, monotonic::ALL];

/// What is promised of a clock that no grant makes coarse.
const FINEST: Duration = Duration::from_micros(1);

/// How a call sees the time: as the host knows it, or in steps.
///
/// In steps, both clocks and the ends of waits move at the same moments, so that putting them together tells no
/// more than one of them.
#[derive(Debug)]
pub(crate) struct Clock {
    /// When the call began: the zero of its monotonic clock.
    started: Instant,
    coarse: Option<Coarse>,
    /// In a tool's test, the time of day at which the world stands still.
    still: Option<Duration>,
}

#[derive(Debug)]
struct Coarse {
    /// The rule's name.
    rule: String,
    step: Duration,
    /// How long before the call's begin the time of day had its last step.
    since_step: Duration,
}

impl Clock {
    pub(crate) fn new(started: Instant, coarse: Option<&AuthorizedClock>, still: Option<Duration>) -> Self {
        let coarse = coarse.map(|clock| {
            let step = Duration::from_millis(clock.rule.resolution_ms);
            let now = still.unwrap_or_else(time_of_day);
            Coarse { rule: clock.name(), step, since_step: now - floor(now, step) }
        });
        Self { started, coarse, still }
    }

    /// The time of day, as the host knows it.
    fn time_of_day(&self) -> Duration {
        self.still.unwrap_or_else(time_of_day)
    }

    /// The time since the call began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A moment, as a duration since some step, as the guest is told it.
    pub(crate) fn told(&self, since_step: Duration) -> Duration {
        self.coarse.as_ref().map_or(since_step, |coarse| floor(since_step, coarse.step))
    }

    fn resolution(&self) -> Duration {
        self.coarse.as_ref().map_or(FINEST, |coarse| coarse.step)
    }

    /// The time on the monotonic clock at a moment, of which the guest is told what [`told`](Self::told) leaves of it.
    fn monotonic(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.started)
            + self.coarse.as_ref().map_or(Duration::ZERO, |coarse| coarse.since_step)
    }

    /// How long the guest waits from `now` until its monotonic clock has come to `when`, which is on that clock.
    fn wait_until(&self, when: Duration, now: Instant) -> Duration {
        let when = match &self.coarse {
            Some(coarse) => ceil(when, coarse.step),
            None => when,
        };
        when.saturating_sub(self.monotonic(now))
    }

    fn decision(&self) -> Decision {
        self.coarse.as_ref().map_or(HARMLESS, |coarse| Decision::Allowed(Cow::Owned(coarse.rule.clone())))
    }
}

/// A host whose clock is before 1970 tells its guests that it is 1970.
fn time_of_day() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the guest asks for the time of day")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The last step that is not after a moment.
fn floor(moment: Duration, step: Duration) -> Duration {
    let (moment, step) = (moment.as_nanos(), step.as_nanos());
    Duration::from_nanos_u128(moment - moment % step)
}

/// The first step that is not before a moment.
fn ceil(moment: Duration, step: Duration) -> Duration {
    match floor(moment, step) {
        earlier if earlier == moment => moment,
        earlier => earlier.saturating_add(step),
    }
}

impl CallState {
    /// Lets through and records a function of a clock, with the rule that makes the clock coarse.
    async fn clock_call<T>(
        &mut self,
        function: &'static HostFunction,
        perform: impl FnOnce(&mut Self) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let decision = self.clock.decision();
        self.decided(function, decision, perform).await
    }

    fn sleep(&mut self, wait: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = match wait {
            Duration::ZERO => Deadline::Now { yielded: false },
            _ => tokio::time::Instant::now().checked_add(wait).map_or(Deadline::Never, Deadline::At),
        };
        self.gate.count_resource()?;
        let resource = self.table.push(deadline).map_err(|error| self.table_error(error))?;
        subscribe(&mut self.table, resource)
    }
}

fn datetime(time: Duration) -> wall_clock::Datetime {
    wall_clock::Datetime { seconds: time.as_secs(), nanoseconds: time.subsec_nanos() }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl wall_clock::Host for CallState {
    async fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.clock_call(wall::NOW, |state| Ok(datetime(state.clock.told(state.clock.time_of_day())))).await
    }

    async fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.clock_call(wall::RESOLUTION, |state| Ok(datetime(state.clock.resolution()))).await
    }
}

impl monotonic_clock::Host for CallState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        // The moment at which it asked: what the record of each host call needs as well, so that it is read once.
        self.clock_call(monotonic::NOW, |state| {
            Ok(nanoseconds(state.clock.told(state.clock.monotonic(state.gate.began()))))
        })
        .await
    }

    async fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.clock_call(monotonic::RESOLUTION, |state| Ok(nanoseconds(state.clock.resolution()))).await
    }

    async fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.clock_call(monotonic::SUBSCRIBE_INSTANT, |state| {
            state.sleep(state.clock.wait_until(Duration::from_nanos(when), Instant::now()))
        })
        .await
    }

    async fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.clock_call(monotonic::SUBSCRIBE_DURATION, |state| {
            let wait = match duration {
                0 => Duration::ZERO,
                _ => {
                    let now = Instant::now();
                    let when = state.clock.monotonic(now).saturating_add(Duration::from_nanos(duration));
                    state.clock.wait_until(when, now)
                }
            };
            state.sleep(wait)
        })
        .await
    }
}

/// What a guest waits for. The call's wall time bounds it.
enum Deadline {
    /// At once, but after others had their turn: a guest that polls in a loop must not starve them.
    Now {
        yielded: bool,
    },
    At(tokio::time::Instant),
    /// So far away that the clock can't say it.
    Never,
}

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        match self {
            Deadline::Now { yielded: true } => {}
            Deadline::Now { yielded } => {
                *yielded = true;
                tokio::task::yield_now().await;
            }
            Deadline::At(instant) => tokio::time::sleep_until(*instant).await,
            Deadline::Never => std::future::pending().await,
        }
    }
}
