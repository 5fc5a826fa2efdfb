//! The example tools that use what the host gives, with the grants that stand beside them, and without.

use portcullis::audit::event::{Event, Record};
use portcullis::gateway::{CallAnswer, CallError};
use portcullis::sandbox::{Content, InvokeError};
use serde_json::{Value, json};

use crate::harness::web::Server;
use crate::harness::{World, guest, open, segments};

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
        ("web-fetch", &["http"]),
        ("api-client", &["config", "http"]),
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

/// A rule of an example grant, for a server on loopback instead of the host that it names.
fn on_loopback(grants: &str, hosts: &str, server: &Server) -> String {
    let rule = format!(
        "hosts = [\"127.0.0.1\"]\nschemes = [\"http\"]\nports = [{}]\naddresses = [\"127.0.0.0/8\"]",
        server.port()
    );
    let changed = grants.replacen(hosts, &rule, 1);
    assert_ne!(changed, grants);
    changed
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_fetched_with_the_example_grant_and_not_without() {
    let html = "<html><script>alert(1)</script><h1>News</h1><p>All is <b>well</b>.</p></html>";
    let server = Server::says(answer("content-type: text/html", html)).await;
    let world = World::new().await;
    world.add("web-fetch", guest("web-fetch")).await;
    let hosts = "hosts = [\"example.com\", \"*.example.org\"]";
    world.grant(&on_loopback(&example("web-fetch"), hosts, &server)).await;
    let url = format!("http://127.0.0.1:{}/news", server.port());
    let fetched = call(&world, "web-fetch", "fetch", json!({ "url": url })).await.expect("granted");
    let [Content::Resource { text: Some(markdown), mime_type, uri, .. }] = fetched.answer.content.as_slice()
    else {
        panic!("{fetched:?}");
    };
    assert_eq!((mime_type.as_deref(), uri), (Some("text/markdown"), &url));
    assert_eq!(markdown.trim(), "# News\n\nAll is **well**.");
    assert_eq!(fetched.report.usage.http_requests, 1);

    let elsewhere = json!({ "url": "https://example.net/" });
    let refused = told(call(&world, "web-fetch", "fetch", elsewhere).await);
    assert!(!refused.is_empty());
    world.grant(&format!("[[grant]]\npackage = \"web-fetch\"\nagents = [\"{ANALYST}\"]\n")).await;
    let refused = call(&world, "web-fetch", "fetch", json!({ "url": url })).await;
    assert!(!told(refused).is_empty());
    assert_eq!(server.seen().len(), 1, "nothing else was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_is_asked_with_a_credential_that_the_tool_does_not_have() {
    const TOKEN: &str = "a-token-of-the-tracker";
    let issues = json!([{"number": 7, "title": "It rains", "body": "in"}]).to_string();
    let server = Server::says(answer("content-type: application/json", &issues)).await;
    let world = World::new().await;
    world.add("api-client", guest("api-client")).await;
    world.set_secret("tracker", TOKEN).await;
    let grants = on_loopback(&example("api-client"), "hosts = [\"api.example.com\"]", &server);
    let grants = grants
        .replacen("https://api.example.com", &format!("http://127.0.0.1:{}", server.port()), 1)
        .replacen("inject = ", "inject_over_http = true\ninject = ", 1);
    world.grant(&grants).await;
    let order = || json!({"owner": "ann", "repository": "notes"});
    let listed = call(&world, "api-client", "open_issues", order()).await.expect("granted");
    assert_eq!(listed.answer.structured, Some(json!([{"number": 7, "title": "It rains"}])));
    let seen = server.seen();
    assert!(seen[0].starts_with("GET /repos/ann/notes/issues?state=open HTTP/1.1\r\n"), "{seen:?}");
    assert!(seen[0].contains(&format!("authorization: Bearer {TOKEN}")), "{seen:?}");
    let used = world
        .records(listed.report.call)
        .into_iter()
        .any(|record| matches!(record.event, Event::SecretInjected { .. }));
    assert!(used, "its use is recorded");
    let log = segments(&world.host.audit_folder()).concat();
    assert!(!log.contains(TOKEN));

    // Without the secret in the rule the API gets none.
    let without: String =
        grants.lines().filter(|line| !line.starts_with("inject")).map(|line| format!("{line}\n")).collect();
    world.grant(&without).await;
    call(&world, "api-client", "open_issues", order()).await.expect("granted");
    assert!(!server.seen()[1].contains("authorization"), "{:?}", server.seen());
    let wrong = json!({"owner": "..", "repository": "a/b"});
    assert!(told(call(&world, "api-client", "open_issues", wrong).await).contains("is not a name"));
}
