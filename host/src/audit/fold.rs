//! Repeated reads of the same thing, kept as one record with their count: for calls whose grants ask for that.

use jiff::Timestamp;

use super::event::{Decision, HostCall, HostCallOutcome, Repeats};

/// How many things are remembered at once. A read of one more closes the oldest.
const OPEN_MAX: usize = 16;

/// Reads that may be repeated yet, each with the time of the first.
#[derive(Debug, Default)]
pub(super) struct Folds {
    open: Vec<(Timestamp, HostCall)>,
}

impl Folds {
    /// Takes a host call. Gives back what is to be recorded now, if anything: the call itself if it is no read,
    /// or a record that was closed to make room.
    pub(super) fn take(&mut self, time: Timestamp, call: HostCall) -> Option<(Timestamp, HostCall)> {
        if !is_read(&call) {
            return Some((time, call));
        }
        if let Some((_, open)) = self.open.iter_mut().find(|(_, open)| is_same(open, &call)) {
            let count = open.repeats.map_or(1, |repeats| repeats.count);
            open.repeats = Some(Repeats { count: count.saturating_add(1), until: time });
            let (sum, more) = (&mut open.result, &call.result);
            sum.bytes_in = sum.bytes_in.saturating_add(more.bytes_in);
            sum.duration_ns = sum.duration_ns.saturating_add(more.duration_ns);
            return None;
        }
        let oldest = (self.open.len() == OPEN_MAX).then(|| self.open.remove(0));
        self.open.push((time, call));
        oldest
    }

    /// All that is open, the oldest first. Nothing is open after it.
    pub(super) fn close(&mut self) -> impl Iterator<Item = (Timestamp, HostCall)> + use<> {
        std::mem::take(&mut self.open).into_iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Whether it only brought something into the guest, as was allowed.
fn is_read(call: &HostCall) -> bool {
    matches!(call.decision, Decision::Allowed(_))
        && call.result.outcome == HostCallOutcome::Ok
        && call.result.bytes_out == 0
        && call.result.status.is_none()
}

fn is_same(one: &HostCall, other: &HostCall) -> bool {
    one.function == other.function
        && one.interface == other.interface
        && one.subject == other.subject
        && one.decision == other.decision
}
