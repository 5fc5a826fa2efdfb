//! A call's story as a tree with times. `--json` has the records themselves.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::records::{came, decided, ended, event, list, text as clean};
use crate::audit::event::{Attempt, Decision, Event, HostCall, HostCallOutcome, HostCallResult, Record};
use crate::audit::story::{Story, Told};
use crate::ids::Sequence;

/// The story as text.
pub(super) fn text(told: &Told) -> String {
    let mut lines = Vec::new();
    push(&mut lines, &told.story, "", "");
    if told.is_cut {
        lines.push("… there is more: `portcullis audit query --call` has all of it".to_owned());
    }
    lines.join("\n")
}

/// Adds a call: its head after `first`, what is in it after `rest`.
fn push(lines: &mut Vec<String>, story: &Story, first: &str, rest: &str) {
    lines.push(format!("{first}{}", head(story)));
    let begun = story.records.first().map(|record| record.time);
    let entries = entries(story);
    let last = entries.len().saturating_sub(1);
    for (index, entry) in entries.iter().enumerate() {
        let (branch, below) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        match entry {
            Entry::Call(nested) => {
                push(lines, nested, &format!("{rest}{branch}"), &format!("{rest}{below}"));
            }
            Entry::Step(step) => lines.push(format!("{rest}{branch}{}", step.line(begun))),
        }
    }
}

fn head(story: &Story) -> String {
    let call = story.call;
    let Some(record) = story.records.first() else { return format!("call {call}") };
    let time = moment(record.time);
    if let Event::CallDenied { principal, package, tool, revision, .. } = &record.event {
        return format!("call {call}  {package} {tool} as {principal}  {time}  revision {revision}");
    }
    let Some(of) = record.event.context() else { return format!("call {call}  {time}") };
    format!(
        "call {call}  {} {} as {}  {time}  revision {}, {}",
        of.package, of.tool, of.principal, of.revision, of.digest
    )
}

fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// What stands in a call's tree.
enum Entry<'a> {
    Step(Step),
    Call(&'a Story),
}

/// One line, which stands for one record or for several that say the same.
struct Step {
    time: Timestamp,
    what: String,
    /// What came of it.
    came: String,
    /// Of host calls without an effect: what makes two of them the same, and their numbers summed.
    folded: Option<Folded>,
}

struct Folded {
    count: u64,
    result: HostCallResult,
    until: Timestamp,
}

impl Step {
    fn plain(record: &Record, what: String) -> Self {
        Self { time: record.time, what, came: String::new(), folded: None }
    }

    fn line(&self, begun: Option<Timestamp>) -> String {
        let at = begun.map_or(0, |begun| (self.time.as_nanosecond() - begun.as_nanosecond()).max(0));
        let at = format!("+{:>11}", duration(u64::try_from(at).unwrap_or(u64::MAX)));
        let came = match &self.folded {
            Some(Folded { count, result, until }) if *count > 1 => {
                let span = (until.as_nanosecond() - self.time.as_nanosecond()).max(0);
                let span = duration(u64::try_from(span).unwrap_or(u64::MAX));
                format!("{} ×{count} over {span}", timed(result))
            }
            Some(Folded { result, .. }) => timed(result),
            None => self.came.clone(),
        };
        let arrow = if came.is_empty() { "" } else { " → " };
        format!("{at}  {}{arrow}{came}", self.what)
    }
}

/// The entries of a call in the order of their records: outcomes beside their attempts, repeats as one.
fn entries(story: &Story) -> Vec<Entry<'_>> {
    let outcomes: BTreeMap<Sequence, &HostCallResult> = story
        .records
        .iter()
        .filter_map(|record| {
            let Event::EffectFinished { attempt, result, .. } = &record.event else { return None };
            Some((*attempt, result))
        })
        .collect();
    let mut nested = story.calls.iter().peekable();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let attempts: std::collections::BTreeSet<Sequence> = story
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::EffectAttempted { .. }))
        .map(|record| record.seq)
        .collect();
    for record in &story.records {
        while let Some(call) = nested.next_if(|call| call.begins().is_none_or(|begins| begins < record.seq)) {
            entries.push(Entry::Call(call));
        }
        if let Event::EffectFinished { attempt, .. } = &record.event
            && attempts.contains(attempt)
        {
            continue;
        }
        let step = step(record, &outcomes);
        if let (Some(Entry::Step(last)), Some(new)) = (entries.last_mut(), &step.folded)
            && last.what == step.what
            && let Some(folded) = &mut last.folded
            && folded.result.outcome == new.result.outcome
        {
            folded.count += new.count;
            folded.until = new.until;
            folded.result.bytes_in += new.result.bytes_in;
            folded.result.bytes_out += new.result.bytes_out;
            folded.result.duration_ns += new.result.duration_ns;
            continue;
        }
        entries.push(Entry::Step(step));
    }
    entries.extend(nested.map(Entry::Call));
    entries
}

fn step(record: &Record, outcomes: &BTreeMap<Sequence, &HostCallResult>) -> Step {
    if let Event::CallAdmitted { grants, argument_bytes, .. } = &record.event {
        let what = format!("admitted by grants {}, {argument_bytes} bytes of arguments", list(grants));
        return Step::plain(record, what);
    }
    if let Event::CallDenied { denial, .. } = &record.event {
        return Step::plain(record, format!("DENIED: {}", clean(&denial.to_string())));
    }
    if let Event::CallFinished { end, .. } = &record.event {
        return Step::plain(record, format!("finished: {}", ended(end)));
    }
    if let Event::HostCall { host_call, .. } = &record.event {
        let HostCall { interface, function, subject, decision, result, repeats, fuel: _ } = host_call;
        let what = named("", interface, function, subject.as_deref(), decision);
        let (count, until) = repeats.map_or((1, record.time), |repeats| (repeats.count, repeats.until));
        let folded = Folded { count, result: result.clone(), until };
        return Step { time: record.time, what, came: String::new(), folded: Some(folded) };
    }
    if let Event::EffectAttempted { attempt, .. } = &record.event {
        let Attempt { interface, function, subject, decision, bytes_out, fuel: _ } = attempt;
        let mut what = named("effect ", interface, function, subject.as_deref(), decision);
        if *bytes_out > 0 {
            what.push_str(&format!(", {bytes_out} bytes out"));
        }
        let unknown = || "unknown: it has no outcome in the log".to_owned();
        let came = outcomes.get(&record.seq).map_or_else(unknown, |result| timed(result));
        return Step { time: record.time, what, came, folded: None };
    }
    let (name, what) = event(&record.event);
    Step::plain(record, format!("{}: {what}", name.replace('_', " ")))
}

fn named(kind: &str, interface: &str, function: &str, subject: Option<&str>, decision: &Decision) -> String {
    let subject = subject.map(|subject| format!(" {}", clean(subject))).unwrap_or_default();
    let mark = match decision {
        Decision::Allowed(_) => "",
        Decision::Denied(_) => "DENIED ",
    };
    format!("{mark}{kind}{} {}{subject}: {}", clean(interface), clean(function), decided(decision))
}

fn timed(result: &HostCallResult) -> String {
    let mut came = came(result);
    if let Some(status) = result.status {
        came.push_str(&format!(", status {status}"));
    }
    if result.duration_ns > 0 && !matches!(result.outcome, HostCallOutcome::Unknown) {
        came.push_str(&format!(", {}", duration(result.duration_ns)));
    }
    came
}

/// Three digits and a unit are enough for people.
fn duration(nanoseconds: u64) -> String {
    let (unit, name) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    format!("{}.{:03} {name}", nanoseconds / unit, nanoseconds % unit * 1_000 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CallId;

    const AGENTS: &str = r#""call":"01890a5d-ac96-774b-bcce-b302099a8057","principal":"ann","package":"report","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","tool":"make","revision":3"#;
    const NESTED: &str = r#""call":"01890a5d-ac97-774b-bcce-b302099a8058","principal":"ann","package":"notes","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","tool":"read","revision":3,"parent":"01890a5d-ac96-774b-bcce-b302099a8057""#;

    fn record(seq: u64, microseconds: u64, event: &str, context: &str, rest: &str) -> Record {
        let json = format!(
            r#"{{"seq":{seq},"time":"2026-01-02T03:04:05.{microseconds:06}Z","event":"{event}",{context},{rest}}}"#
        );
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
    }

    #[test]
    fn a_story_is_a_tree_with_times_in_which_nothing_acts_on_a_terminal() {
        let read = r#""interface":"wasi:filesystem/types","function":"[method]descriptor.read","subject":"/r/a","decision":"allowed","rule":"grant 1 filesystem 0","outcome":"ok","bytes_in":10,"duration_ns":2000"#;
        let repeated = format!(r#"{read},"repeats":{{"count":5,"until":"2026-01-02T03:04:05.000055Z"}}"#);
        let denied = r#""interface":"wasi:filesystem/types","function":"[method]descriptor.open-at","subject":"/etc\u001b[31m\u202e","decision":"denied","rule":"no grant","outcome":"error","error":"access","duration_ns":900"#;
        let invoke = r#""interface":"portcullis:tool/invoke","function":"call-tool","subject":"notes read","decision":"allowed","rule":"grant 1 invoke 0","bytes_out":12"#;
        let usage = serde_json::to_string(&crate::limits::Usage::default()).expect("numbers");
        let end = format!(r#""outcome":"ok","records":1,"usage":{usage}"#);
        let mut told = Told {
            story: Story {
                call: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id"),
                records: vec![
                    record(10, 0, "call_admitted", AGENTS, r#""grants":[1],"argument_bytes":12"#),
                    record(11, 20, "host_call", AGENTS, read),
                    record(12, 40, "host_call", AGENTS, read),
                    record(12, 45, "host_call", AGENTS, &repeated),
                    record(13, 60, "host_call", AGENTS, denied),
                    record(14, 100, "effect_attempted", AGENTS, invoke),
                    record(
                        17,
                        5100,
                        "effect_finished",
                        AGENTS,
                        r#""attempt":14,"outcome":"ok","bytes_in":3,"duration_ns":5000000"#,
                    ),
                    record(18, 5200, "effect_attempted", AGENTS, invoke),
                    record(19, 5300, "call_finished", AGENTS, &end),
                ],
                calls: vec![Story {
                    call: "01890a5d-ac97-774b-bcce-b302099a8058".parse().expect("an id"),
                    records: vec![
                        record(15, 200, "call_admitted", NESTED, r#""grants":[2],"argument_bytes":2"#),
                        record(16, 300, "call_finished", NESTED, &end),
                    ],
                    calls: Vec::new(),
                }],
            },
            is_cut: false,
        };
        insta::assert_snapshot!(text(&told), @r#"
        call 01890a5d-ac96-774b-bcce-b302099a8057  report make as ann  2026-01-02T03:04:05.000Z  revision 3, sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        ├─ +       0 ns  admitted by grants 1, 12 bytes of arguments
        ├─ +  20.000 µs  wasi:filesystem/types [method]descriptor.read /r/a: allowed by grant 1 filesystem 0 → ok, 30 bytes in, 6.000 µs ×7 over 35.000 µs
        ├─ +  60.000 µs  DENIED wasi:filesystem/types [method]descriptor.open-at /etc: denied by no grant → error access, 900 ns
        ├─ + 100.000 µs  effect portcullis:tool/invoke call-tool notes read: allowed by grant 1 invoke 0, 12 bytes out → ok, 3 bytes in, 5.000 ms
        ├─ call 01890a5d-ac97-774b-bcce-b302099a8058  notes read as ann  2026-01-02T03:04:05.000Z  revision 3, sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        │  ├─ +       0 ns  admitted by grants 2, 2 bytes of arguments
        │  └─ + 100.000 µs  finished: ok · 0.0 ms · fuel 0 · host calls 0 · 1 records before
        ├─ +   5.200 ms  effect portcullis:tool/invoke call-tool notes read: allowed by grant 1 invoke 0, 12 bytes out → unknown: it has no outcome in the log
        └─ +   5.300 ms  finished: ok · 0.0 ms · fuel 0 · host calls 0 · 1 records before
        "#);
        told.is_cut = true;
        assert!(text(&told).ends_with("has all of it"));
    }

    #[test]
    fn a_call_that_was_denied_has_a_story() {
        let denied = record(
            1,
            0,
            "call_denied",
            r#""call":"01890a5d-ac96-774b-bcce-b302099a8057","principal":"ann","package":"report","tool":"make","revision":3"#,
            r#""denial":{"reason":"not_approved","package":"report"}"#,
        );
        let call: CallId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let story = Story { call, records: vec![denied], calls: Vec::new() };
        insta::assert_snapshot!(text(&Told { story, is_cut: false }), @r#"
        call 01890a5d-ac96-774b-bcce-b302099a8057  report make as ann  2026-01-02T03:04:05.000Z  revision 3
        └─ +       0 ns  DENIED: package report is not approved; an admin can run `portcullis package approve report`
        "#);
    }
}
