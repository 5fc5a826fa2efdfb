//! Tools that call tools: only those that a grant names, each with its own grants for the same agent, within
//! what the caller has left; and the line to a running call.

mod cancelled;

use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Decision, Event, HostCallOutcome, Record};
use portcullis::gateway::{CallAnswer, CallError};
use portcullis::ids::CallId;
use portcullis::limits::{Limit, LimitReached};
use portcullis::policy::{Denial, Loss, Stop};
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::{AGENT, World, end, grant, guest, limit_reached, limited, wat};

/// A host with `one`, which may call what `rules` say, and `two`, which may call nothing.
async fn world(rules: &str) -> World {
    let world = World::new().await;
    for name in ["one", "two"] {
        world.add(name, guest("callers")).await;
    }
    world.grant(&format!("{}{rules}\n{}", grant("one"), grant("two"))).await;
    world
}

fn rule(package: &str) -> String {
    format!("[[grant.invoke]]\npackage = \"{package}\"\n")
}

/// The arguments of a call of another tool.
fn order(package: &str, tool: &str, arguments: &Value) -> Value {
    json!({"package": package, "tool": tool, "arguments": arguments.to_string()})
}

/// What a call of another tool gave, or the error that the calling tool was told.
fn told(result: Result<CallAnswer, CallError>) -> Result<Value, String> {
    match result {
        Ok(answer) => Ok(answer.answer.structured.expect("a value")),
        Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) => Err(message),
        Err(error) => panic!("{error}"),
    }
}

/// The attempt to call another tool and what came of it, or the one record of its refusal.
fn of_invoke(records: &[Record]) -> Vec<String> {
    let outcome = |outcome: &HostCallOutcome| match outcome {
        HostCallOutcome::Ok => "ok".to_owned(),
        HostCallOutcome::Error(text) | HostCallOutcome::Trapped(text) => text.to_string(),
        HostCallOutcome::Unknown => "unknown".to_owned(),
    };
    let decision = |decision: &Decision| match decision {
        Decision::Allowed(rule) => format!("allowed by {rule}"),
        Decision::Denied(why) => format!("denied: {why}"),
    };
    let mut lines = Vec::new();
    for record in records {
        match &record.event {
            Event::EffectAttempted { attempt, .. } => {
                let subject = attempt.subject.as_deref().unwrap_or("nothing");
                lines.push(format!("{subject} {}", decision(&attempt.decision)));
            }
            Event::EffectFinished { result, .. } => lines.push(outcome(&result.outcome)),
            Event::HostCall { host_call, .. } if host_call.interface == "portcullis:tool/invoke" => {
                let subject = host_call.subject.as_deref().unwrap_or("nothing");
                lines.push(format!(
                    "{subject} {}, {}",
                    decision(&host_call.decision),
                    outcome(&host_call.result.outcome)
                ));
            }
            _ => {}
        }
    }
    lines
}

/// The calls that a call's tool made.
fn children(world: &World, parent: CallId) -> Vec<CallId> {
    let admitted = |record: &Record| match &record.event {
        Event::CallAdmitted { context, .. } if context.parent == Some(parent) => Some(context.call),
        _ => None,
    };
    world.all_records().iter().filter_map(admitted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_tool_is_called_with_its_own_grants_and_the_log_shows_the_tree() {
    let world = world(&rule("two")).await;
    let answer = world.call("one", "call", order("two", "spin", &json!({"rounds": 1_000}))).await;
    let report = answer.as_ref().expect("an answer").report.clone();
    assert_eq!(told(answer), Ok(json!("1023")).map(|_: Value| json!(spun(1_000))));
    let records = world.records(report.call);
    assert_eq!(of_invoke(&records), ["two spin allowed by grant 1 invoke 0", "ok"]);
    let [child] = children(&world, report.call)[..] else { panic!("one call was made") };
    let of_child = world.records(child);
    let Some(Event::CallAdmitted { context, grants, .. }) = of_child.first().map(|record| &record.event)
    else {
        panic!("{of_child:?}")
    };
    assert_eq!((context.principal.as_str(), context.package.as_str()), (AGENT, "two"));
    assert_eq!(grants.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2"]);
    let used = &end(&of_child).usage;
    assert_eq!((used.depth, report.usage.depth, report.usage.fan_out), (2, 1, 1));
    assert!(report.usage.fuel > used.fuel, "the caller pays: {report:?}");
    // The tree lies within the caller's own records.
    let (first, last) = (records.first().expect("records").seq, records.last().expect("records").seq);
    assert!(of_child.iter().all(|record| first < record.seq && record.seq < last));
}

/// What the guest computes, so that the answer is known to be the other tool's.
fn spun(rounds: u64) -> String {
    (0..rounds).fold(0, |sum, round| sum ^ round).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_names_is_denied_before_anything_happens() {
    let world = world("[[grant.invoke]]\npackage = \"two\"\ntools = [\"report\"]\n").await;
    world.add("three", guest("callers")).await;
    let denied = "denied: no grant of this call names the tool";
    for (package, tool) in [("two", "spin"), ("three", "report"), ("../two", "report"), ("two", "no tool")] {
        let result = world.call("one", "call", order(package, tool, &json!({"steps": 1}))).await;
        let Err(CallError::Failed { report, .. }) = &result else { panic!("{result:?}") };
        assert_eq!(
            of_invoke(&world.records(report.call)),
            [format!("{package} {tool} denied: not granted, denied")]
        );
        assert_eq!(children(&world, report.call), []);
        assert_eq!(told(result), Err(denied.to_owned()));
    }
    // The twin.
    assert_eq!(
        told(world.call("one", "call", order("two", "report", &json!({"steps": 1}))).await).map(|_| ()),
        Ok(())
    );
    // Who is called has no rule of its own.
    let nested = order("one", "spin", &json!({"rounds": 1}));
    assert_eq!(told(world.call("two", "call", nested).await), Err(denied.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_called_tool_needs_a_grant_for_the_same_agent() {
    let world = world(&rule("two")).await;
    world
        .grant(&format!(
            "[[grant]]\npackage = \"one\"\nagents = [\"{AGENT}\", \"other\"]\n{}{}",
            rule("two"),
            grant("two")
        ))
        .await;
    let order = order("two", "spin", &json!({"rounds": 1}));
    assert!(told(world.call("one", "call", order.clone()).await).is_ok());
    let result = world.call_as("other", "one", "call", order).await;
    let Err(CallError::Failed { report, .. }) = &result else { panic!("{result:?}") };
    let records = world.records(report.call);
    assert_eq!(of_invoke(&records), ["two spin allowed by grant 3 invoke 0", "denied"]);
    // The refusal of the other call is a record of its own, which names the call that asked for it.
    let denied = world.all_records().into_iter().find_map(|record| match record.event {
        Event::CallDenied { parent, denial, .. } if parent == Some(report.call) => Some(denial),
        _ => None,
    });
    assert!(matches!(denied, Some(Denial::NotGranted { .. })), "{denied:?}");
    assert_eq!(told(result), Err("denied: no grant of package two names agent other".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_is_told_as_what_it_is() {
    let world = world(&rule("two")).await;
    world.add("trap", wat("spin")).await;
    let cases = [
        ("two", "spin", "{\"rounds\": -1}", "invalid-arguments: "),
        ("two", "spin", "{\"rounds\": 1, \"rounds\": 2}", "invalid-arguments: the arguments can't be read: "),
        ("two", "spin", "[", "invalid-arguments: the arguments can't be read: "),
        ("two", "nothing", "{}", "not-found: package two has no tool nothing"),
        ("two", "call", "{\"package\": \"one\", \"tool\": \"spin\", \"arguments\": \"{}\"}", "failed: "),
    ];
    for (package, tool, arguments, expected) in cases {
        let arguments = json!({"package": package, "tool": tool, "arguments": arguments});
        let error = told(world.call("one", "call", arguments).await).expect_err("refused");
        assert!(error.starts_with(expected), "{tool}: {error}");
    }
}

/// The caller's fuel and time bound what it calls, however much that one was granted.
#[tokio::test(flavor = "multi_thread")]
async fn a_nested_call_spends_its_callers_fuel_and_time() {
    let world = world(&rule("two")).await;
    let rich = "fuel = 1_000_000_000_000, wall_time = \"10m\"";
    let grants = |limits: &str| format!("{}{}{}", limited("one", limits), rule("two"), limited("two", rich));
    world.grant(&grants("fuel = 3_000_000")).await;
    let spin = order("two", "spin", &json!({"rounds": 1_000_000_000}));
    let result = world.call("one", "call", spin.clone()).await;
    let reached = limit_reached(result);
    assert_eq!(reached, LimitReached { limit: Limit::Fuel, value: 3_000_000, max: 3_000_000 });
    // With a few rounds it is enough, once.
    let few = order("two", "spin", &json!({"rounds": 60_000}));
    assert!(told(world.call("one", "call", few.clone()).await).is_ok());
    let mut often = few;
    often["times"] = json!(1_000);
    assert_eq!(limit_reached(world.call("one", "call-times", often).await).limit, Limit::Fuel);
    world.grant(&grants("fuel = 1_000_000_000_000, wall_time = \"1s\"")).await;
    let begun = std::time::Instant::now();
    let waits = order("two", "never-looks", &json!({}));
    assert_eq!(limit_reached(world.call("one", "call", waits).await).limit, Limit::WallTime);
    assert!(begun.elapsed() < Duration::from_secs(60));
    let all = world.all_records();
    let open = all.iter().filter(|record| matches!(record.event, Event::CallAdmitted { .. })).count();
    let ends = all.iter().filter(|record| matches!(record.event, Event::CallFinished { .. })).count();
    assert_eq!(open, ends, "each call that began has its end in the log");
}

/// Each nested call is paid for, although the caller is often interrupted while it takes the answer.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_nested_calls_is_paid_for() {
    const TIMES: u32 = 200;
    let world = world(&rule("two")).await;
    let limits = format!("fuel = 1_000_000_000_000, wall_time = \"10m\", fan_out = {TIMES}");
    world.grant(&format!("{}{}{}", limited("one", &limits), rule("two"), grant("two"))).await;
    let mut order = order("two", "spin", &json!({"rounds": 100_000}));
    order["times"] = json!(TIMES);
    let answer = world.call("one", "call-times", order).await.expect("an answer");
    assert_eq!(answer.answer.structured, Some(json!([TIMES, null])));
    let children = children(&world, answer.report.call);
    let spent: u64 = children.iter().map(|child| end(&world.records(*child)).usage.fuel).sum();
    assert_eq!(children.len(), TIMES as usize);
    assert!(answer.report.usage.fuel > spent, "{} is not more than {spent}", answer.report.usage.fuel);
}

/// [`Limit::Depth`]: the last that may be reached answers, one more is refused, with limit and value.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn depth() {
    let world = World::new().await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        world.add(name, guest("callers")).await;
    }
    let grants = |depth: u64| {
        names
            .map(|name| {
                let rules: String =
                    names.iter().filter(|other| **other != name).map(|other| rule(other)).collect();
                format!("{}{rules}", limited(name, &format!("depth = {depth}")))
            })
            .concat()
    };
    // a calls b, which calls c.
    let last = order("c", "spin", &json!({"rounds": 1_000}));
    let chain = order("b", "call", &last);
    world.grant(&grants(3)).await;
    let answer = world.call("a", "call", chain.clone()).await.expect("deep enough");
    assert!(answer.answer.structured.expect("a value").to_string().contains(&spun(1_000)));
    world.grant(&grants(2)).await;
    let error = told(world.call("a", "call", chain).await).expect_err("too deep");
    assert!(error.contains("limit reached: depth 3, at most 2 calls"), "{error}");
    let denied = world
        .all_records()
        .iter()
        .filter_map(|record| match &record.event {
            Event::HostCall { host_call, .. } => match &host_call.decision {
                Decision::Denied(why) => Some(why.to_string()),
                Decision::Allowed(_) => None,
            },
            _ => None,
        })
        .collect::<Vec<_>>();
    assert_eq!(denied, ["limit depth"]);
}

/// [`Limit::FanOut`].
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn fan_out() {
    let world = world(&rule("two")).await;
    world.grant(&format!("{}{}{}", limited("one", "fan_out = 3"), rule("two"), grant("two"))).await;
    let times = |times: u32| {
        let mut order = order("two", "spin", &json!({"rounds": 1}));
        order["times"] = json!(times);
        order
    };
    assert_eq!(world.value("one", "call-times", times(3)).await, json!([3, null]));
    let answer = world.call("one", "call-times", times(5)).await.expect("it goes on");
    assert_eq!(
        answer.answer.structured,
        Some(json!([3, "refused: limit reached: fan_out 4, at most 3 calls"]))
    );
    assert_eq!(answer.report.usage.fan_out, 3);
    let refused: Vec<String> = of_invoke(&world.records(answer.report.call))
        .into_iter()
        .filter(|line| line.contains("denied"))
        .collect();
    assert_eq!(refused, ["two spin denied: limit fan_out, refused"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_would_be_its_own_caller_is_refused() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world.add(name, guest("callers")).await;
    }
    world.grant(&format!("{}{}{}{}{}", grant("a"), rule("a"), rule("b"), grant("b"), rule("a"))).await;
    let spin = json!({"rounds": 1});
    let itself = told(world.call("a", "call", order("a", "call", &order("b", "spin", &spin))).await);
    assert_eq!(itself, Err("refused: a call waits for this call: it would be its own caller".to_owned()));
    let around = order("b", "call", &order("a", "call", &order("b", "spin", &spin)));
    let error = told(world.call("a", "call", around).await).expect_err("a cycle");
    assert!(error.ends_with("refused: a call waits for this call: it would be its own caller"), "{error}");
    // Another tool of the same package is not a cycle.
    assert!(told(world.call("a", "call", order("b", "call", &order("a", "spin", &spin))).await).is_ok());
}

/// Nested calls never wait for a place, so that they can't wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_nested_call_without_a_place_is_refused_at_once() {
    let world = world(&rule("two")).await;
    world.grant(&format!("{}{}{}", grant("one"), rule("two"), limited("two", "concurrency = 1"))).await;
    let world = std::sync::Arc::new(world);
    let holder = {
        let world = std::sync::Arc::clone(&world);
        tokio::spawn(async move { world.call("two", "never-looks", json!({})).await })
    };
    while world.host.running().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = told(world.call("one", "call", order("two", "spin", &json!({"rounds": 1}))).await);
    let error = error.expect_err("no place");
    assert!(
        error.starts_with("refused: the host is busy: limit reached: concurrency 2, at most 1 calls"),
        "{error}"
    );
    holder.abort();
}

/// What the called tool loses ends it alone; what the caller loses ends both.
#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_the_nested_call_or_the_whole_tree() {
    let granted = format!("{}{}{}", grant("one"), rule("two"), grant("two"));
    for (name, then, is_the_tree) in [
        ("the rule", format!("{}{}", grant("one"), grant("two")), true),
        (
            "the called tool's grant",
            format!("{}{}[[grant]]\npackage = \"two\"\nagents = [\"other\"]\n", grant("one"), rule("two")),
            false,
        ),
    ] {
        let world = world("").await;
        world.grant(&granted).await;
        let world = std::sync::Arc::new(world);
        let calling = {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(
                async move { world.call("one", "call", order("two", "never-looks", &json!({}))).await },
            )
        };
        while world.host.running().len() < 2 {
            assert!(!calling.is_finished(), "{name}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.grant(&then).await;
        let result =
            tokio::time::timeout(Duration::from_secs(60), calling).await.expect(name).expect("no panic");
        match (is_the_tree, result) {
            (true, Err(CallError::Failed { error: InvokeError::Stopped(stop), report })) => {
                let Stop::Narrowed { lost: Loss::Rule { rule }, .. } = stop else { panic!("{stop:?}") };
                assert_eq!(rule, "call any tool of package two");
                let [child] = children(&world, report.call)[..] else { panic!("one call was made") };
                assert_eq!(end(&world.records(child)).outcome, CallOutcome::Cancelled);
            }
            (false, result) => {
                assert_eq!(told(result), Err("failed: the call was stopped".to_owned()), "{name}")
            }
            (true, result) => panic!("{name}: {result:?}"),
        }
        assert!(world.host.running().is_empty());
    }
}
