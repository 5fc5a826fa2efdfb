//! The numbers of a host, as Prometheus reads them (OpenMetrics text).
//!
//! What happened is counted from the log when somebody asks, never on the way of a call; how things are now is
//! told by the caller. The number of series is bounded, whatever tools and agents do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Deserialize;

use super::OutletHealth;
use crate::audit::follow::Follower;
use crate::audit::index::FoundLine;
use crate::ids::Sequence;
use crate::package::{CodeHeld, SandboxesPrepared};

/// The longest that one answer counts records; the next goes on.
const COUNT_TIME_MAX: Duration = Duration::from_secs(2);
const BATCH_RECORDS: usize = 2_000;
const BATCH_BYTES: usize = 4 << 20;
/// The most values of one label: more are `other`.
const VALUES_MAX: usize = 64;

/// How things are at this moment.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Calls that run.
    pub running_calls: u64,
    /// Calls that wait for a place.
    pub waiting_calls: u64,
    /// Compiled code in memory.
    pub code: CodeHeld,
    /// Sandboxes that were made before their calls.
    pub prepared: SandboxesPrepared,
    /// How long calls waited for their places, in seconds.
    pub waits: Option<Histogram>,
    /// Whether the log takes no records.
    pub log_failed: bool,
    /// Whether the disk is low, so that nothing new begins.
    pub disk_low: bool,
    /// Whether the host is frozen.
    pub frozen: bool,
    /// The revision of what is in force.
    pub revision: u64,
    /// Records that are with the kernel.
    pub written: u64,
    /// Records that are on disk.
    pub durable: u64,
    /// How full the queue to the log's writer is, in units of a record or 256 bytes.
    pub queued: u64,
    /// How long the disk took for the log's records, each time, in seconds.
    pub syncs: Option<Histogram>,
    /// Records that the newest checkpoint covers, and its age.
    pub checkpoint: Option<(u64, Duration)>,
    /// The outlets.
    pub outlets: Vec<OutletHealth>,
}

/// Counts since the host started.
#[derive(Debug)]
pub struct Metrics {
    counting: Mutex<Counting>,
}

#[derive(Debug)]
struct Counting {
    folder: PathBuf,
    next: Sequence,
    follower: Option<Follower>,
    counts: Counts,
}

type Labels<const N: usize> = [(&'static str, String); N];

#[derive(Debug, Default)]
struct Counts {
    calls: Family<Labels<1>, Counter>,
    denied_calls: Family<Labels<1>, Counter>,
    host_calls: Family<Labels<2>, Counter>,
    limits: Family<Labels<1>, Counter>,
    refused_calls: Family<Labels<1>, Counter>,
    leaks: Family<Labels<1>, Counter>,
    secrets: Counter,
    http_bytes: Family<Labels<1>, Counter>,
    fuel: Counter,
    records: Counter,
    bytes: Counter,
    seconds: CallSeconds,
    /// Which interfaces have a series of their own.
    interfaces: BTreeSet<String>,
}

/// A histogram with buckets for calls.
#[derive(Debug, Clone)]
struct CallSeconds(Histogram);

impl Default for CallSeconds {
    fn default() -> Self {
        Self(Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0]))
    }
}

/// What of a record is counted.
#[derive(Deserialize)]
struct Counted {
    event: String,
    interface: Option<String>,
    decision: Option<String>,
    outcome: Option<String>,
    limit: Option<String>,
    action: Option<String>,
    denial: Option<Denied>,
    usage: Option<Used>,
    calls: Option<u64>,
    repeats: Option<Repeated>,
}

#[derive(Deserialize)]
struct Denied {
    reason: String,
}

#[derive(Deserialize)]
struct Repeated {
    count: u64,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Used {
    fuel: u64,
    wall_time_us: u64,
    http_bytes_in: u64,
    http_bytes_out: u64,
}

impl Metrics {
    /// Counts the records of a log from one on.
    pub fn new(folder: PathBuf, from: Sequence) -> Self {
        let counting = Counting { folder, next: from, follower: None, counts: Counts::default() };
        Self { counting: Mutex::new(counting) }
    }

    /// Everything, as text. Blocks on the disk, for a bounded time.
    ///
    /// # Errors
    /// A text: the log can't be read.
    pub fn text(&self, moment: &Moment) -> Result<String, String> {
        let mut counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        counting.catch_up(moment.written)?;
        let mut registry = Registry::with_prefix("portcullis");
        counting.counts.register(&mut registry);
        register(moment, counting.next, &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|error| error.to_string())?;
        Ok(text)
    }
}

impl Counting {
    fn catch_up(&mut self, written: u64) -> Result<(), String> {
        let until = Instant::now() + COUNT_TIME_MAX;
        let Some(last) = written.checked_sub(1).map(Sequence) else { return Ok(()) };
        while Instant::now() < until {
            let mut follower = self.follower.take().unwrap_or_else(|| Follower::new(&self.folder, self.next));
            let lines = follower.next(last, BATCH_RECORDS, BATCH_BYTES).map_err(|error| error.to_string())?;
            let Some(end) = lines.last() else {
                self.follower = Some(follower);
                return Ok(());
            };
            let next = Sequence(end.seq.0 + 1);
            lines.iter().for_each(|line| self.counts.count(line));
            (self.next, self.follower) = (next, Some(follower));
        }
        Ok(())
    }
}

impl Counts {
    fn count(&mut self, line: &FoundLine) {
        self.records.inc();
        self.bytes.inc_by(line.line.len() as u64 + 1);
        // What can't be read is damage, which `audit verify` and those who read the log tell of.
        let Ok(record) = serde_json::from_slice::<Counted>(&line.line) else { return };
        let outcome = record.outcome.unwrap_or_default();
        match record.event.as_str() {
            "call_finished" => {
                self.calls.get_or_create(&[("outcome", outcome)]).inc();
                if let Some(limit) = record.limit {
                    self.limits.get_or_create(&[("limit", limit)]).inc();
                }
                let used = record.usage.unwrap_or_default();
                self.fuel.inc_by(used.fuel);
                self.http_bytes.get_or_create(&[("direction", "in".to_owned())]).inc_by(used.http_bytes_in);
                self.http_bytes.get_or_create(&[("direction", "out".to_owned())]).inc_by(used.http_bytes_out);
                self.seconds.0.observe(Duration::from_micros(used.wall_time_us).as_secs_f64());
            }
            "call_denied" => {
                let reason = record.denial.map(|denial| denial.reason).unwrap_or_default();
                self.denied_calls.get_or_create(&[("reason", reason)]).inc();
            }
            "calls_refused" => {
                let limit = record.limit.unwrap_or_default();
                self.refused_calls.get_or_create(&[("limit", limit)]).inc_by(record.calls.unwrap_or(1));
            }
            "host_call" | "effect_attempted" => {
                let interface = self.interface(record.interface.unwrap_or_default());
                let labels = [("interface", interface), ("decision", record.decision.unwrap_or_default())];
                let count = record.repeats.map_or(1, |repeats| repeats.count);
                self.host_calls.get_or_create(&labels).inc_by(count);
            }
            "secret_injected" => {
                self.secrets.inc();
            }
            "secret_leak" => {
                self.leaks.get_or_create(&[("action", record.action.unwrap_or_default())]).inc();
            }
            _ => {}
        }
    }

    /// The name, or `other` if there are too many.
    fn interface(&mut self, name: String) -> String {
        if self.interfaces.contains(&name) {
            return name;
        }
        if self.interfaces.len() >= VALUES_MAX {
            return "other".to_owned();
        }
        self.interfaces.insert(name.clone());
        name
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("calls", "Calls that ended, by outcome", self.calls.clone());
        registry.register("calls_denied", "Calls that were refused, by reason", self.denied_calls.clone());
        registry.register(
            "host_calls",
            "Host calls and attempted effects, by interface and decision",
            self.host_calls.clone(),
        );
        registry.register("limits_reached", "Calls that a limit ended", self.limits.clone());
        registry.register(
            "calls_refused",
            "Calls that were refused for want of room, by limit",
            self.refused_calls.clone(),
        );
        registry.register("secret_leaks", "Secrets found on their way out", self.leaks.clone());
        registry.register("secrets_injected", "Secrets put into requests", self.secrets.clone());
        registry.register("http_bytes", "Bytes of HTTP that calls exchanged", self.http_bytes.clone());
        registry.register("fuel", "Fuel that calls used", self.fuel.clone());
        registry.register("log_records", "Records written", self.records.clone());
        registry.register("log_bytes", "Bytes of records written", self.bytes.clone());
        registry.register("call_seconds", "How long calls took", self.seconds.0.clone());
    }
}

/// What is so at this moment.
fn register(moment: &Moment, counted: Sequence, registry: &mut Registry) {
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("calls_running", "Calls that run", moment.running_calls);
    gauge("calls_waiting", "Calls that wait for a place", moment.waiting_calls);
    gauge("code_components", "Components whose compiled code is in memory", moment.code.components);
    gauge("code_bytes", "Bytes of compiled code in memory", moment.code.bytes);
    gauge("sandboxes_prepared", "Sandboxes that are ready for calls to come", moment.prepared.ready);
    gauge("log_failed", "1 if the log takes no records, so that calls are refused", moment.log_failed.into());
    gauge("disk_low", "1 if the disk is low, so that nothing new begins", moment.disk_low.into());
    gauge("frozen", "1 if the host is frozen", moment.frozen.into());
    gauge("revision", "The revision of what is in force", moment.revision);
    let unsynced = moment.written.saturating_sub(moment.durable);
    gauge("log_records_unsynced", "Records that are with the kernel and not on disk", unsynced);
    gauge("log_queue_units", "What waits for the log's writer: records, or 256 bytes of one", moment.queued);
    let uncounted = moment.written.saturating_sub(counted.0);
    gauge("metrics_behind_records", "Records that the counters here do not have yet", uncounted);
    let mut counter = |name: &str, help: &str, value: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    let help = "Components whose code was given up for that of others: each is loaded anew when it is called";
    counter("code_given_up", help, moment.code.dropped);
    counter("sandboxes_taken", "Calls that found a sandbox ready", moment.prepared.taken);
    counter("sandboxes_missed", "Calls that found none ready and had one made", moment.prepared.missed);
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    if let Some((records, age)) = moment.checkpoint {
        gauge("checkpoint_records", "Records that the newest checkpoint covers", records);
        gauge("checkpoint_age_seconds", "How old the newest checkpoint is", age.as_secs());
    }
    if let Some(waits) = &moment.waits {
        registry.register("call_queue_seconds", "How long calls waited for their places", waits.clone());
    }
    if let Some(syncs) = &moment.syncs {
        registry.register("log_sync_seconds", "How long the disk took for the log's records", syncs.clone());
    }
    let family = Family::<Labels<2>, Gauge>::default;
    let (behind, lag, alarm, lost) = (family(), family(), family(), family());
    for outlet in &moment.outlets {
        let labels = [("name", outlet.name.to_string()), ("kind", outlet.kind.name().to_owned())];
        let set = |family: &Family<Labels<2>, Gauge>, value: u64| {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&behind, outlet.behind);
        set(&lag, outlet.lag_seconds);
        set(&alarm, outlet.alarm.into());
        set(&lost, outlet.lost);
    }
    registry.register("outlet_behind_records", "Records on disk that the outlet does not have", behind);
    registry.register("outlet_lag_seconds", "For how long the outlet has not taken what was due", lag);
    registry.register("outlet_alarm", "1 if the outlet lags too long, or disagrees", alarm);
    registry.register("outlet_lost_records", "Records dropped before the outlet had them", lost);
    let version = Family::<Labels<1>, Gauge>::default();
    version.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build", "The version of the host", version);
}

/// Metrics that several may ask for.
pub type SharedMetrics = Arc<Metrics>;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> FoundLine {
        FoundLine { seq: Sequence(0), line: text.as_bytes().to_vec() }
    }

    #[test]
    fn records_are_counted_by_what_they_say() {
        let mut counts = Counts::default();
        for text in [
            r#"{"event":"call_finished","outcome":"ok","usage":{"fuel":7,"wall_time_us":2000,"http_bytes_in":5}}"#,
            r#"{"event":"call_finished","outcome":"limit_reached","limit":"fuel","usage":{"fuel":3}}"#,
            r#"{"event":"call_denied","denial":{"reason":"not_granted"}}"#,
            r#"{"event":"calls_refused","limit":"principal_queue","value":65,"max":64,"calls":7}"#,
            r#"{"event":"host_call","interface":"wasi:io/streams","decision":"allowed","repeats":{"count":4}}"#,
            r#"{"event":"effect_attempted","interface":"wasi:io/streams","decision":"allowed"}"#,
            r#"{"event":"host_call","interface":"wasi:io/streams","decision":"denied"}"#,
            r#"{"event":"secret_leak","action":"redacted"}"#,
            "no record",
        ] {
            counts.count(&line(text));
        }
        let mut registry = Registry::default();
        counts.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for expected in [
            r#"calls_total{outcome="ok"} 1"#,
            r#"calls_total{outcome="limit_reached"} 1"#,
            r#"limits_reached_total{limit="fuel"} 1"#,
            r#"calls_denied_total{reason="not_granted"} 1"#,
            r#"calls_refused_total{limit="principal_queue"} 7"#,
            r#"host_calls_total{interface="wasi:io/streams",decision="allowed"} 5"#,
            r#"host_calls_total{interface="wasi:io/streams",decision="denied"} 1"#,
            r#"secret_leaks_total{action="redacted"} 1"#,
            r#"http_bytes_total{direction="in"} 5"#,
            "fuel_total 10",
            "log_records_total 9",
            r#"call_seconds_bucket{le="0.005"} 2"#,
        ] {
            assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
        }
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let mut counts = Counts::default();
        for number in 0..1_000 {
            counts.count(&line(&format!(
                r#"{{"event":"host_call","interface":"i{number}","decision":"allowed"}}"#
            )));
        }
        let mut registry = Registry::default();
        counts.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        let series = text.lines().filter(|line| line.starts_with("host_calls_total")).count();
        assert_eq!(series, VALUES_MAX + 1);
        assert!(text.contains(r#"interface="other",decision="allowed"} 936"#), "{text}");
    }
}
