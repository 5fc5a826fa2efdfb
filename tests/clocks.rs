//! Case 67: a grant makes the clock of a tool coarse; without it the time is exact. Each of the functions
//! is called in both ways, and the log says by what.

use portcullis::audit::event::{Decision, Event};
use serde_json::{Value, json};

use crate::harness::{AGENT, World, guest, wat};

const HOUR: u64 = 3_600;

/// `[[grant]]` of a package with a coarse clock, or without.
fn granted(package: &str, clock: &str) -> String {
    let clock = match clock {
        "" => String::new(),
        resolution => format!("[grant.clock]\nresolution = \"{resolution}\"\n"),
    };
    format!("[[grant]]\npackage = \"{package}\"\nagents = [\"{AGENT}\"]\n{clock}")
}

/// What a tool says, and by what rules its host calls of an interface were let through.
async fn told(world: &World, package: &str, tool: &str, arguments: Value) -> (Value, Vec<String>) {
    let answer = world.call(package, tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error}"));
    let rule = |event| match event {
        Event::HostCall { host_call, .. } if host_call.interface.starts_with("wasi:clocks/") => {
            match host_call.decision {
                Decision::Allowed(rule) => Some(rule.into_owned()),
                Decision::Denied(_) => panic!("clocks are not refused: {host_call:?}"),
            }
        }
        _ => None,
    };
    let rules =
        world.records(answer.report.call).into_iter().filter_map(|record| rule(record.event)).collect();
    (answer.answer.structured.expect("a value"), rules)
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn case_67_each_function_of_a_coarse_clock_tells_steps_and_the_log_says_why() {
    let world = World::with("times", wat("times")).await;
    let now = || jiff::Timestamp::now().as_second().cast_unsigned();
    let none = || json!({});

    // The twin: the time as the host knows it.
    let before = now();
    let (wall, rules) = told(&world, "times", "wall-now", none()).await;
    assert!((before..=now()).contains(&number(&wall[0])), "{wall}");
    assert_eq!(rules, ["harmless"]);
    assert_eq!(told(&world, "times", "wall-resolution", none()).await.0, json!([0, 1_000]));
    assert_eq!(told(&world, "times", "resolution", none()).await.0, json!(1_000));
    assert!(number(&told(&world, "times", "now", none()).await.0) > 0);
    let wait = json!({"nanoseconds": 2_000_000});
    let after = number(&told(&world, "times", "after-waiting", wait.clone()).await.0);
    assert!(after >= 2_000_000 && !after.is_multiple_of(1_000_000), "{after}");

    let changed = world.grant(&granted("times", "1h")).await;
    let rule = format!("grant {} clock", changed.granted[0]);
    let before = now();
    let (wall, rules) = told(&world, "times", "wall-now", none()).await;
    let hours = before / HOUR * HOUR..=now() / HOUR * HOUR;
    assert!(hours.contains(&number(&wall[0])) && number(&wall[1]) == 0, "{wall}");
    assert!(number(&wall[0]).is_multiple_of(HOUR));
    assert_eq!(rules, [rule.as_str()]);
    let (resolution, rules) = told(&world, "times", "wall-resolution", none()).await;
    assert_eq!((resolution, rules), (json!([HOUR, 0]), vec![rule.clone()]));
    let (resolution, rules) = told(&world, "times", "resolution", none()).await;
    assert_eq!((number(&resolution), rules), (HOUR * 1_000_000_000, vec![rule.clone()]));
    let (elapsed, rules) = told(&world, "times", "now", none()).await;
    assert!(number(&elapsed).is_multiple_of(HOUR * 1_000_000_000), "{elapsed}");
    assert_eq!(rules, [rule]);
}

/// Waits would be a clock: they end where the clock has a step, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn case_67_waits_end_with_the_steps_of_the_clock() {
    const STEP: u64 = 250_000_000;
    let world = World::new().await;
    world.add("times", wat("times")).await;
    let changed = world.grant(&granted("times", "250ms")).await;
    let rule = format!("grant {} clock", changed.granted[0]);
    for (tool, nanoseconds, at_least) in [
        ("after-waiting", 1, STEP),
        ("after-waiting", STEP + 1, 2 * STEP),
        ("after-instant", 1, STEP),
        ("after-instant", STEP, STEP),
        ("after-instant", 0, 0),
    ] {
        let (after, rules) = told(&world, "times", tool, json!({ "nanoseconds": nanoseconds })).await;
        let after = number(&after);
        assert!(after >= at_least && after.is_multiple_of(STEP), "{tool} {nanoseconds}: {after}");
        assert_eq!(rules, [rule.as_str(), rule.as_str()], "{tool}");
    }
}

/// A file that was just written would be a clock as well.
#[tokio::test(flavor = "multi_thread")]
async fn case_67_times_of_files_are_told_in_steps_too() {
    let world = World::new().await;
    world.add("files", guest("files")).await;
    let folder = world.folder("papers");
    std::fs::write(folder.join("a.txt"), "text").expect("written");
    let modified =
        std::fs::metadata(folder.join("a.txt")).and_then(|found| found.modified()).expect("a time");
    let exact = modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let steps = json!([
        {"op": "preopens"},
        {"op": "stat-at", "at": "/papers", "path": "a.txt"},
        {"op": "open", "at": "/papers", "path": "a.txt", "as": "f"},
        {"op": "stat", "at": "f"},
    ]);
    for (clock, seconds, nanoseconds) in
        [("", exact.as_secs(), exact.subsec_nanos()), ("1h", exact.as_secs() / HOUR * HOUR, 0)]
    {
        let folder =
            "[[grant.filesystem]]\nhost_path = \"papers\"\nguest_path = \"/papers\"\naccess = \"read\"\n";
        world.grant(&format!("{}{folder}", granted("files", clock))).await;
        let said = world.value("files", "run", json!({"steps": steps.to_string()})).await;
        let expected = format!("modified={seconds}.{nanoseconds:09}");
        for step in [1, 3] {
            let text = said[step].as_str().unwrap_or_else(|| panic!("{said}"));
            assert!(text.contains(&expected), "{clock}: {text}, not {expected}");
        }
    }
}

/// Of several grants the most exact counts, as with limits: a grant that is silent gives the exact time.
#[tokio::test(flavor = "multi_thread")]
async fn case_67_the_most_exact_of_several_grants_counts() {
    let world = World::new().await;
    world.add("times", wat("times")).await;
    let (hour, second, exact) = (granted("times", "1h"), granted("times", "1s"), granted("times", ""));
    let changed = world.grant(&format!("{hour}{second}")).await;
    let (resolution, rules) = told(&world, "times", "resolution", json!({})).await;
    assert_eq!(number(&resolution), 1_000_000_000);
    assert_eq!(rules, [format!("grant {} clock", changed.granted[1])]);
    world.grant(&format!("{hour}{second}{exact}")).await;
    let (resolution, rules) = told(&world, "times", "resolution", json!({})).await;
    assert_eq!((number(&resolution), rules), (1_000, vec!["harmless".to_owned()]));
}
