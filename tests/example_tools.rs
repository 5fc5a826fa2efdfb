//! The example tools that use what the host gives, with the grants that stand beside them, and without.

use portcullis::audit::event::{Event, Record};
use portcullis::gateway::{CallAnswer, CallError};
use portcullis::sandbox::{Content, InvokeError};
use serde_json::{Value, json};

use crate::harness::{World, guest, open};

/// Whom the example grants are for.
const ANALYST: &str = "analyst";

fn example(tool: &str) -> String {
    let path = format!("{}/../example-tools/{tool}/grants.example.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn imports(world: &World, package: &str) -> Vec<String> {
    let mut details = world.host.package(&package.parse().expect("a name")).await.expect("it is there");
    details.remove(0).description.imports
}

async fn call(world: &World, package: &str, tool: &str, arguments: Value) -> Result<CallAnswer, CallError> {
    world.call_as(ANALYST, package, tool, arguments).await
}

/// What a tool said of its failure.
#[track_caller]
fn told(result: Result<CallAnswer, CallError>) -> String {
    match result {
        Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. })
        | Err(CallError::Failed { error: InvokeError::Arguments(message), .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_of_the_sdk_imports_what_it_uses_and_no_more() {
    let world = World::new().await;
    let special = ["keyvalue", "config", "http", "logging", "progress", "secrets", "invoke"];
    for (tool, expected) in [
        ("csv-report", &[][..]),
        ("counter", &["config", "keyvalue"]),
        ("csv-page", &["invoke", "logging", "progress"]),
    ] {
        world.add(tool, guest(tool)).await;
        let imports = imports(&world, tool).await;
        let mut used: Vec<&str> =
            special.into_iter().filter(|name| imports.iter().any(|import| import.contains(name))).collect();
        used.sort_unstable();
        assert_eq!(used, expected, "{tool}: {imports:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_kept_with_the_example_grant_and_not_without() {
    let world = World::new().await;
    world.add("counter", guest("counter")).await;
    world.grant(&example("counter")).await;
    let apples = |more: u64| json!({"name": "apples", "more": more});
    let total = |answer: CallAnswer| answer.answer.structured.expect("a total");
    let first = call(&world, "counter", "count", apples(3)).await.expect("granted");
    assert_eq!(total(first), json!({"name": "apples", "total": 3}));
    let refused = told(call(&world, "counter", "count", apples(101)).await);
    assert_eq!(refused, "at most 100 are counted at once", "the grant's configuration says so");

    // After a restart of the host it counts on.
    let World { host, temporary } = world;
    host.close().await.expect("closed");
    let host = open(&temporary.path().join("data")).await.expect("the folder opens");
    let world = World { host, temporary };
    call(&world, "counter", "count", apples(100)).await.expect("granted");
    call(&world, "counter", "count", json!({"name": "pears"})).await.expect("granted");
    let totals = call(&world, "counter", "totals", json!({})).await.expect("granted");
    assert_eq!(total(totals), json!({"apples": "103", "pears": "1"}));
    call(&world, "counter", "reset", json!({"name": "apples"})).await.expect("granted");
    let again = call(&world, "counter", "count", apples(1)).await.expect("granted");
    assert_eq!(total(again), json!({"name": "apples", "total": 1}));

    world.grant(&format!("[[grant]]\npackage = \"counter\"\nagents = [\"{ANALYST}\"]\n")).await;
    let refused = told(call(&world, "counter", "count", apples(1)).await);
    assert_eq!(refused, "the store is not granted to this tool for this");
}

/// Each call that was admitted, with whether it was made by another.
fn admitted(records: &[Record]) -> Vec<(String, bool)> {
    let admitted = |record: &Record| match &record.event {
        Event::CallAdmitted { context, .. } => Some((context.package.to_string(), context.parent.is_some())),
        _ => None,
    };
    records.iter().filter_map(admitted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_made_of_two_other_tools_answers_with_the_example_grants_and_not_without() {
    let world = World::new().await;
    for tool in ["csv-report", "markdown", "csv-page"] {
        world.add(tool, guest(tool)).await;
    }
    let grants = example("csv-page");
    world.grant(&grants).await;
    let order = || json!({"title": "Fruit", "csv": "fruit,kilos\napple,3\npear,5\n", "notes": "*ripe*"});
    let before = world.all_records().len();
    let answer = call(&world, "csv-page", "page", order()).await.expect("granted");
    let [Content::Resource { text: Some(html), mime_type, .. }] = answer.answer.content.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!(mime_type.as_deref(), Some("text/html"));
    for part in ["<h1>Fruit</h1>", "<em>ripe</em>", "<table>", "kilos"] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    assert_eq!(answer.report.log, format!("info: a page of {} bytes\n", html.len()));
    let tree = [("csv-page", false), ("csv-report", true), ("markdown", true)];
    assert_eq!(
        admitted(&world.all_records()[before..]),
        tree.map(|(name, nested)| (name.to_owned(), nested))
    );
    let bad = json!({"title": "Fruit", "csv": "a,a\n1,2\n"});
    assert!(told(call(&world, "csv-page", "page", bad).await).contains('a'), "what the other tool said");

    // Without the second rule it gets no further than the first tool.
    let one = grants.replacen("[[grant.invoke]]\npackage = \"markdown\"\ntools = [\"render\"]\n", "", 1);
    assert_ne!(one, grants);
    world.grant(&one).await;
    let refused = told(call(&world, "csv-page", "page", order()).await);
    assert!(refused.starts_with("the tool may not be called"), "{refused}");
}
