//! Text without end: cut, marked, and never more of it in the log than one short line.

use portcullis::audit::event::HostCallOutcome;
use portcullis::limits::{Limit, LimitReached};
use serde_json::json;

use super::{host_calls_of, recorded_limit};
use crate::harness::{World, segments, wat};

/// No line of the log is longer, whatever a guest says.
const LINE_BYTES_MAX: usize = 8 << 10;

/// All lines of the log are short, and each is whole.
fn lines_are_short(world: &World) {
    for text in segments(&world.host.audit_folder()) {
        for line in text.lines() {
            assert!(line.len() <= LINE_BYTES_MAX, "{} bytes: {}…", line.len(), &line[..200]);
            serde_json::from_str::<serde_json::Value>(line).expect("one record a line");
        }
    }
}

/// Case 27: ten million bytes of stdout without the end of a line.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_output_without_end_is_cut_and_marked() {
    let world = World::with("print", wat("print")).await;
    let report = world.call("print", "flood", json!({"times": 200})).await.expect("it goes on").report;
    let max = usize::try_from(Limit::Stdio.row().default).expect("it fits");
    assert_eq!(report.stdout, format!("{}… [cut]", "x".repeat(max)));
    assert_eq!(report.usage.stdio, 10_000_000);
    lines_are_short(&world);
}

/// Case 27: lines of a log. The caller gets their beginning, and of the context the record has the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_log_without_end_is_cut() {
    let world = World::with("log-line", wat("log-line")).await;
    let max = usize::try_from(Limit::Log.row().default).expect("it fits");
    for (context, message) in [(10, 10), (1_000_000, 1_000_000), (0, 4_000_000)] {
        let arguments = json!({"context": context, "message": message});
        let answer = world.call("log-line", "log", arguments).await.expect("it has no way to be refused");
        let report = answer.report;
        let is_cut = context + message > max;
        assert_eq!(report.log.ends_with("… [cut]"), is_cut, "{} bytes", report.log.len());
        assert!(report.log.len() <= max + "… [cut]".len(), "{} bytes", report.log.len());
        let calls = host_calls_of(&world.records(report.call));
        let [call] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!(call.result.outcome, HostCallOutcome::Ok);
        let subject = call.subject.as_deref().unwrap_or_default();
        assert_eq!(subject.len(), context.min(1_000));
        assert_eq!(subject.ends_with("… [cut]"), context > 1_000, "{subject}");
    }
    let error = world.call("log-line", "log", json!({"context": 0, "message": 10_000_000})).await;
    let reached = recorded_limit(&world, error.expect_err("more than may be copied"));
    let max = Limit::CopiedBytes.row().default;
    assert_eq!(reached, LimitReached { limit: Limit::CopiedBytes, value: max + 1, max });
    lines_are_short(&world);
}
