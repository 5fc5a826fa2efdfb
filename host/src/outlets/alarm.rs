//! Alarms of outlets as records of the log: one when an outlet becomes an alarm, and one when it is none any more.
//!
//! A record about shipping is shipped, and anchored, like all others. So that this never feeds itself, only a change of
//! state is recorded, not a try, and of each outlet at most one in a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::status::Status;
use crate::audit::Log;
use crate::audit::event::{Event, OutletTrouble};

/// How often outlets are looked at: no `lag_max` is shorter than two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The least time between two records about one outlet: its `lag_max`, within these.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// One outlet, and what the log says of it.
struct Told {
    status: Arc<Status>,
    trouble: Option<OutletTrouble>,
    at: Option<Instant>,
}

/// Works until it is told to stop. A start begins with outlets that are no alarm: one that still is becomes one again.
pub(super) async fn watch(statuses: Vec<Arc<Status>>, log: Log, mut stopping: watch::Receiver<bool>) {
    let told = statuses.into_iter().map(|status| Told { status, trouble: None, at: None });
    let mut told: Vec<_> = told.collect();
    while !*stopping.borrow_and_update() {
        for outlet in &mut told {
            let Some((trouble, event)) = outlet.changed() else { continue };
            // A log that takes nothing now is said to be so elsewhere; this is tried again.
            if log.append(event).await.is_ok() {
                (outlet.trouble, outlet.at) = (trouble, Some(Instant::now()));
            }
        }
        tokio::select! {
            () = sleep(LOOK_INTERVAL) => {}
            changed = stopping.changed() => if changed.is_err() { return },
        }
    }
}

impl Told {
    /// What is to be recorded, if its state is another than the log says, and it is not too soon.
    fn changed(&self) -> Option<(Option<OutletTrouble>, Event)> {
        let (trouble, reason) = self.status.trouble();
        let pause = self.status.lag_max.clamp(PAUSES.0, PAUSES.1);
        if trouble == self.trouble || self.at.is_some_and(|at| at.elapsed() < pause) {
            return None;
        }
        let (name, kind) = (self.status.name.clone(), self.status.kind);
        let event = match trouble {
            Some(because) => Event::OutletAlarm { name, kind, because, reason },
            None => Event::OutletRecovered { name, kind },
        };
        Some((trouble, event))
    }
}
