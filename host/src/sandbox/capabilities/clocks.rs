//! `wasi:clocks`: the time of day, and a monotonic clock that starts near zero with each call.
//!
//! Reading a clock says nothing about the host but the time. Waiting is bounded by the call's wall
//! time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::CallState;
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
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[wall::ALL, monotonic::ALL];

impl wall_clock::Host for CallState {
    async fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.harmless(wall::NOW, |_| {
            // A host whose clock is before 1970 tells its guests that it is 1970.
            #[expect(clippy::disallowed_methods, reason = "the guest asks for the time of day")]
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(wall_clock::Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() })
        })
        .await
    }

    async fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.harmless(wall::RESOLUTION, |_| Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000 })).await
    }
}

impl CallState {
    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn sleep(&mut self, nanoseconds: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = match nanoseconds {
            0 => Deadline::Now { yielded: false },
            _ => tokio::time::Instant::now()
                .checked_add(Duration::from_nanos(nanoseconds))
                .map_or(Deadline::Never, Deadline::At),
        };
        self.gate.count_resource()?;
        let resource = self.table.push(deadline).map_err(|error| self.table_error(error))?;
        subscribe(&mut self.table, resource)
    }
}

impl monotonic_clock::Host for CallState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        self.harmless(monotonic::NOW, |state| Ok(state.nanoseconds())).await
    }

    async fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.harmless(monotonic::RESOLUTION, |_| Ok(1_000)).await
    }

    async fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.harmless(monotonic::SUBSCRIBE_INSTANT, |state| {
            let wait = when.saturating_sub(state.nanoseconds());
            state.sleep(wait)
        })
        .await
    }

    async fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.harmless(monotonic::SUBSCRIBE_DURATION, |state| state.sleep(duration)).await
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
