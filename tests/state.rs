//! What a package keeps and is told: granted stores and settings and no others, within their quotas, right
//! when many calls write at once.

use std::sync::Arc;

use portcullis::audit::event::{Attempt, Decision, Event, HostCall, HostCallOutcome, Record};
use portcullis::authn::local_admin;
use portcullis::database::{HeldStore, StoreId};
use portcullis::gateway::{CallError, Host};
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::{AGENT, World, guest, open, request};

/// A grant of a store, by its scope, access and what follows.
fn store(package: &str, agents: &str, scope: &str, access: &str) -> String {
    format!(
        "[[grant]]\npackage = \"{package}\"\nagents = {agents}\n\
         [[grant.keyvalue]]\nstore = \"default\"\nscope = \"{scope}\"\naccess = {access}\n"
    )
}

async fn world(grants: &str) -> World {
    let world = World::new().await;
    world.add("state", guest("state")).await;
    world.grant(grants).await;
    world
}

/// What a tool said of its failure, and the records of the call.
async fn failure(host: &Host, agent: &str, tool: &str, arguments: Value) -> (String, Vec<Record>) {
    match host.call(request(agent, "state", tool, arguments)).await {
        Err(CallError::Failed { error: InvokeError::Tool { message, .. }, report }) => {
            let filter = portcullis::audit::query::Filter { call: Some(report.call), ..Default::default() };
            let records = portcullis::audit::query::read(&host.audit_folder(), filter);
            (message, records.collect::<Result<_, _>>().expect("the log can be read"))
        }
        other => panic!("{tool}: {other:?}"),
    }
}

async fn value(host: &Host, agent: &str, tool: &str, arguments: Value) -> Value {
    match host.call(request(agent, "state", tool, arguments)).await {
        Ok(answer) => answer.answer.structured.unwrap_or(Value::Null),
        Err(error) => panic!("{tool}: {error}"),
    }
}

/// The calls without an effect of an interface, and its effects with what came of them.
fn of_stores(records: &[Record]) -> (Vec<HostCall>, Vec<(Attempt, HostCallOutcome)>) {
    let (mut calls, mut effects, mut open) = (Vec::new(), Vec::new(), None);
    for record in records {
        match &record.event {
            Event::HostCall { host_call, .. } if host_call.interface.starts_with("wasi:keyvalue/") => {
                calls.push(host_call.clone());
            }
            Event::EffectAttempted { attempt, .. } => open = Some((record.seq, attempt.clone())),
            Event::EffectFinished { attempt: sequence, result, .. } => {
                let (attempted, attempt) = open.take().expect("it was attempted");
                assert_eq!(*sequence, attempted);
                effects.push((attempt, result.outcome.clone()));
            }
            _ => {}
        }
    }
    (calls, effects)
}

fn key(key: &str) -> Value {
    json!({"store": "default", "key": key})
}

fn set(key: &str, value: &str) -> Value {
    json!({"store": "default", "key": key, "value": value})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_reached_only_with_a_grant_and_each_use_is_recorded() {
    let ungranted = format!("[[grant]]\npackage = \"state\"\nagents = [\"{AGENT}\"]\n");
    let world = world(&ungranted).await;
    let (told, records) = failure(&world.host, AGENT, "set", set("k", "v")).await;
    assert!(told.contains("access-denied"), "{told}");
    let (calls, effects) = of_stores(&records);
    assert_eq!((calls.len(), effects.len()), (1, 0));
    assert_eq!(calls[0].decision, Decision::Denied("not granted".into()));

    world.grant(&store("state", "[\"researcher\"]", "agent", "\"read-write\"")).await;
    for other in ["other", "../default", "", "DEFAULT"] {
        let arguments = json!({"store": other, "key": "k"});
        let (told, _) = failure(&world.host, AGENT, "get", arguments).await;
        assert!(told.contains("access-denied"), "{other}: {told}");
    }
    let written = world.call("state", "set", set("a\u{1b}[31m\nkey", "v")).await.expect("granted");
    let (calls, effects) = of_stores(&world.records(written.report.call));
    assert_eq!(calls.len(), 1, "it was opened: {calls:?}");
    let [(attempt, outcome)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(
        (attempt.interface.as_ref(), attempt.function.as_ref()),
        ("wasi:keyvalue/store", "[method]bucket.set")
    );
    assert_eq!(attempt.subject.as_deref(), Some("default/a key"));
    let Decision::Allowed(rule) = &attempt.decision else { panic!("{attempt:?}") };
    assert!(rule.starts_with("grant ") && rule.ends_with(" keyvalue 0"), "{rule}");
    assert_eq!(*outcome, HostCallOutcome::Ok);
    let read = world.call("state", "get", key("a\u{1b}[31m\nkey")).await.expect("granted");
    assert_eq!(read.answer.structured, Some(json!("v")));
    let (calls, effects) = of_stores(&world.records(read.report.call));
    assert_eq!((calls.len(), effects.len()), (2, 0));
    assert_eq!((calls[1].result.bytes_in, calls[1].result.outcome.clone()), (1, HostCallOutcome::Ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_does_what_the_interface_says() {
    let world = world(&store("state", "[\"researcher\"]", "agent", "\"read-write\"")).await;
    let call = async |tool: &str, arguments: Value| value(&world.host, AGENT, tool, arguments).await;
    assert_eq!(call("exists", key("a")).await, json!(false));
    assert_eq!(call("get", key("a")).await, Value::Null);
    assert_eq!(call("delete", key("a")).await, Value::Null);
    call("set", set("a", "1")).await;
    assert_eq!(call("exists", key("a")).await, json!(true));
    assert_eq!(call("get", key("a")).await, json!("1"));
    let increment = json!({"store": "default", "key": "a", "delta": 41, "times": 1});
    assert_eq!(call("increment", increment).await, json!(42));
    assert_eq!(call("get", key("a")).await, json!("42"));
    let many = json!({"store": "default", "keys": ["b", "c"], "value": "x"});
    call("set-many", many).await;
    let keys = json!({"store": "default", "keys": ["c", "none", "a"]});
    assert_eq!(call("get-many", keys).await, json!(["x", null, "42"]));
    assert_eq!(call("keys", json!({"store": "default"})).await, json!([["a", "b", "c"], 1]));
    call("delete-many", json!({"store": "default", "keys": ["a", "b", "none"]})).await;
    assert_eq!(call("keys", json!({"store": "default"})).await, json!([["c"], 1]));
    for (bad, why) in
        [("", "not a valid key"), ("a\0", "not a valid key"), (&"k".repeat(1_025), "not a valid key")]
    {
        let (told, records) = failure(&world.host, AGENT, "set", set(bad, "v")).await;
        assert!(told.contains(why), "{told}");
        let (calls, effects) = of_stores(&records);
        assert_eq!((calls.len(), effects.len()), (2, 0), "nothing was attempted");
        assert_eq!(calls[1].result.outcome, HostCallOutcome::Error("invalid-key".into()));
    }
    let (told, _) = failure(
        &world.host,
        AGENT,
        "increment",
        json!({"store": "default", "key": "c", "delta": 1, "times": 1}),
    )
    .await;
    assert!(told.contains("not a decimal number"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_one_agents_or_shared_as_the_grant_says_and_never_another_packages() {
    let both = "[\"researcher\", \"bob\"]";
    let world = world(&store("state", both, "agent", "\"read-write\"")).await;
    world.add("twin", guest("state")).await;
    world.grant(&store("twin", both, "package", "\"read-write\"")).await;
    let get = async |agent: &str| value(&world.host, agent, "get", key("k")).await;
    value(&world.host, AGENT, "set", set("k", "mine")).await;
    assert_eq!((get(AGENT).await, get("bob").await), (json!("mine"), Value::Null));
    assert_eq!(world.value("twin", "get", key("k")).await, Value::Null);
    world.value("twin", "set", set("k", "the twin's")).await;
    let bobs = world.call_as("bob", "twin", "get", key("k")).await.expect("granted");
    assert_eq!(bobs.answer.structured, Some(json!("the twin's")));
    // Another scope is another store; the first is there again when its scope is.
    world.grant(&store("state", both, "package", "\"read-write\"")).await;
    assert_eq!(get(AGENT).await, Value::Null);
    value(&world.host, "bob", "set", set("k", "everybody's")).await;
    assert_eq!((get(AGENT).await, get("bob").await), (json!("everybody's"), json!("everybody's")));
    world.grant(&store("state", both, "agent", "\"read-write\"")).await;
    assert_eq!((get(AGENT).await, get("bob").await), (json!("mine"), Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_only_be_read_is_not_written() {
    let world = world(&store("state", "[\"researcher\"]", "agent", "\"read-write\"")).await;
    value(&world.host, AGENT, "set", set("k", "v")).await;
    world.grant(&store("state", "[\"researcher\"]", "agent", "\"read\"")).await;
    let keys = json!({"store": "default", "keys": ["k"]});
    for (tool, arguments) in [
        ("set", set("k", "other")),
        ("delete", key("k")),
        ("increment", json!({"store": "default", "key": "k", "delta": 1, "times": 1})),
        ("set-many", json!({"store": "default", "keys": ["k"], "value": "other"})),
        ("delete-many", keys.clone()),
    ] {
        let (told, records) = failure(&world.host, AGENT, tool, arguments).await;
        assert!(told.contains("access-denied"), "{tool}: {told}");
        let (calls, effects) = of_stores(&records);
        assert!(effects.is_empty(), "{effects:?}");
        assert_eq!(calls[1].decision, Decision::Denied("the store may only be read".into()), "{tool}");
    }
    assert_eq!(value(&world.host, AGENT, "get", key("k")).await, json!("v"));
    assert_eq!(value(&world.host, AGENT, "get-many", keys).await, json!(["v"]));
    assert_eq!(value(&world.host, AGENT, "keys", json!({"store": "default"})).await, json!([["k"], 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_several_agents_at_once_lose_no_increment() {
    let agents = ["ann", "bob", "cleo", "dan"];
    let world =
        world(&store("state", "[\"ann\", \"bob\", \"cleo\", \"dan\"]", "package", "\"read-write\"")).await;
    let world = Arc::new(world);
    let calls: Vec<_> = (0..12)
        .map(|call| {
            let (world, agent) = (Arc::clone(&world), agents[call % agents.len()]);
            tokio::spawn(async move {
                let arguments = json!({"store": "default", "key": "n", "delta": 2, "times": 20});
                value(&world.host, agent, "increment", arguments).await
            })
        })
        .collect();
    let mut last = 0;
    for call in calls {
        last = last.max(call.await.expect("ended").as_u64().expect("a number"));
    }
    assert_eq!(last, 480);
    assert_eq!(value(&world.host, "ann", "get", key("n")).await, json!("480"));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_outlives_the_host_and_new_bytes_and_goes_with_the_package() {
    let grants = store("state", "[\"researcher\"]", "agent", "\"read-write\"");
    let World { host, temporary } = world(&grants).await;
    value(&host, AGENT, "set", set("k", "kept")).await;
    host.close().await.expect("closed");

    let host = open(&temporary.path().join("data")).await.expect("the folder opens");
    let world = World { host, temporary };
    assert_eq!(value(&world.host, AGENT, "get", key("k")).await, json!("kept"));
    let name = "state".parse().expect("a name");
    world.host.remove_package(&local_admin(), &name).await.expect("removed");
    world.add("state", guest("state")).await;
    world.grant(&grants).await;
    assert_eq!(value(&world.host, AGENT, "get", key("k")).await, Value::Null);
}

/// Just below the quota passes; just above answers, with the limit's name in the record.
async fn quota(quota: &str, limit: &str, fits: (&str, Value), exceeds: (&str, Value)) {
    let grant = store("state", "[\"researcher\"]", "agent", "\"read-write\"");
    let world = world(&format!("{grant}{quota}\n")).await;
    let (fits_tool, fits) = fits;
    let fitting = world.call("state", fits_tool, fits).await.expect("it fits");
    let usage = fitting.report.usage;
    assert!(usage.kv_bytes_peak > 0 && usage.kv_keys_peak > 0, "{usage:?}");
    let (tool, arguments) = exceeds;
    let (told, records) = failure(&world.host, AGENT, tool, arguments).await;
    assert!(told.contains(&format!("limit reached: {limit}")), "{told}");
    let (_, effects) = of_stores(&records);
    assert_eq!(effects[0].1, HostCallOutcome::Error(limit.to_owned().into()));
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn kv_bytes() {
    let long = |key: &str, bytes: u32| json!({"store": "default", "key": key, "bytes": bytes});
    quota("quota = 100", "kv_bytes", ("set-long", long("k", 99)), ("set-long", long("k", 100))).await;
    let by_default = 1 << 20;
    quota("", "kv_bytes", ("set-long", long("k", by_default - 1)), ("set-long", long("k", by_default))).await;
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn kv_keys() {
    let keys = |count: usize| {
        let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
        json!({"store": "default", "keys": keys, "value": ""})
    };
    quota("keys_max = 3", "kv_keys", ("set-many", keys(3)), ("set-many", keys(4))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_what_was_granted_and_nothing_else() {
    let grant = format!("[[grant]]\npackage = \"state\"\nagents = [\"{AGENT}\"]\n");
    let world = world(&grant).await;
    for (tool, arguments) in [("config", json!({"key": "url"})), ("config-all", json!({}))] {
        let (told, _) = failure(&world.host, AGENT, tool, arguments).await;
        assert!(told.contains("upstream: not permitted"), "{told}");
    }
    let second = "[[grant]]\npackage = \"state\"\nagents = [\"researcher\", \"bob\"]\n\
                  [grant.config]\nurl = \"second\"\nmore = \"\"\n";
    world.grant(&format!("{grant}[grant.config]\nurl = \"https://example.test\"\n{second}")).await;
    let call =
        async |agent: &str, tool: &str, arguments: Value| value(&world.host, agent, tool, arguments).await;
    assert_eq!(call(AGENT, "config", json!({"key": "url"})).await, json!("https://example.test"));
    assert_eq!(call(AGENT, "config", json!({"key": "more"})).await, json!(""));
    assert_eq!(call("bob", "config-all", json!({})).await, json!([["url", "second"], ["more", ""]]));
    let all = json!([["url", "https://example.test"], ["more", ""]]);
    assert_eq!(call(AGENT, "config-all", json!({})).await, all);
    let missing = world.call("state", "config", json!({"key": "secret"})).await.expect("an answer");
    assert_eq!(missing.answer.structured.unwrap_or(Value::Null), Value::Null);
    let denied = world.records(missing.report.call).into_iter().any(|record| match record.event {
        Event::HostCall { host_call, .. } => {
            host_call.decision == Decision::Denied("not granted".into())
                && host_call.subject.as_deref() == Some("secret")
        }
        _ => false,
    });
    assert!(denied, "what is not granted leaves a record");
}

/// Case 63: of the host's own environment and arguments, nothing.
#[tokio::test(flavor = "multi_thread")]
async fn environment_and_arguments_are_those_granted() {
    assert!(std::env::vars().count() > 0, "this process has an environment that could leak");
    let world = World::with("probe", guest("std-probe")).await;
    assert_eq!(world.value("probe", "environment", json!({})).await, json!([]));
    assert_eq!(world.value("probe", "arguments", json!({})).await, json!([]));
    world
        .grant(&format!(
            "[[grant]]\npackage = \"probe\"\nagents = [\"{AGENT}\"]\narguments = [\"probe\", \"--fast\"]\n\
             [grant.environment]\nLANG = \"C\"\nPATH = \"nowhere\"\n"
        ))
        .await;
    let environment = world.call("probe", "environment", json!({})).await.expect("an answer");
    assert_eq!(environment.answer.structured, Some(json!([["LANG", "C"], ["PATH", "nowhere"]])));
    assert_eq!(world.value("probe", "arguments", json!({})).await, json!(["probe", "--fast"]));
    let rules: Vec<String> = world
        .records(environment.report.call)
        .into_iter()
        .filter_map(|record| match record.event {
            Event::HostCall { host_call, .. } if host_call.function == "get-environment" => {
                match host_call.decision {
                    Decision::Allowed(rule) => Some(rule.into_owned()),
                    other => panic!("{other:?}"),
                }
            }
            _ => None,
        })
        .collect();
    assert!(!rules.is_empty() && rules.iter().all(|rule| rule.ends_with(" environment 0")), "{rules:?}");
    // Another agent of the same package is told nothing.
    world.grant("[[grant]]\npackage = \"probe\"\nagents = [\"bob\"]\n").await;
    let bobs = world.call_as("bob", "probe", "environment", json!({})).await.expect("granted");
    assert_eq!(bobs.answer.structured, Some(json!([])));
}

/// An admin sees how much is kept, and clears one store of it: recorded, a revision, and no other is touched.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_what_is_kept_and_clears_a_store() {
    let both = "[\"ann\", \"researcher\"]";
    let own = store("state", both, "agent", "\"read-write\"");
    let shared = own.replace("\"default\"", "\"shared\"").replace("\"agent\"", "\"package\"");
    let world = world(&format!("{own}{shared}")).await;
    let host = &world.host;
    assert_eq!(host.stores(None).await.expect("listed").stores, []);
    value(host, "ann", "set", set("k", "of ann")).await;
    value(host, AGENT, "set", set("k", "v")).await;
    value(host, AGENT, "set", set("more", "12345")).await;
    value(host, AGENT, "set", json!({"store": "shared", "key": "k", "value": "v"})).await;
    let listed = async |package: Option<&str>| {
        let package = package.map(|name| name.parse().expect("a name"));
        let listed = host.stores(package.as_ref()).await.expect("listed");
        assert!(listed.is_whole);
        let line = |held: &HeldStore| {
            let agent = held.store.agent.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{} {agent} {} {}", held.store.name, held.held.keys, held.held.bytes)
        };
        listed.stores.iter().map(line).collect::<Vec<_>>()
    };
    let expected = ["default ann 1 7", "default researcher 2 11", "shared - 1 2"];
    assert_eq!(listed(None).await, expected);
    assert_eq!(listed(Some("state")).await, expected);
    assert_eq!(listed(Some("other")).await, [""; 0]);

    let admin = local_admin();
    let id = |agent: Option<&str>, name: &str| StoreId {
        package: "state".parse().expect("a name"),
        agent: agent.map(|agent| agent.parse().expect("a name")),
        name: name.parse().expect("a name"),
    };
    let before = host.policy().revision;
    let cleared = host.clear_store(&admin, id(Some(AGENT), "default")).await.expect("cleared");
    assert_eq!((cleared.held.keys, cleared.held.bytes, cleared.taken.revision.0), (2, 11, before.0 + 1));
    assert_eq!(listed(None).await, ["default ann 1 7", "shared - 1 2"]);
    let recorded = world.all_records().into_iter().find_map(|record| match record.event {
        Event::StateCleared { revision, package, agent, store, by } => {
            Some((revision, package, agent, store, by))
        }
        _ => None,
    });
    let (revision, package, agent, name, by) = recorded.expect("a record");
    assert_eq!((revision, &by), (cleared.taken.revision, &admin));
    assert_eq!(StoreId { package, agent, name }, cleared.store);
    // The twin: what is not there is an error, and no record.
    for missing in [id(Some(AGENT), "default"), id(None, "default"), id(Some("ann"), "shared")] {
        let error = host.clear_store(&admin, missing).await.expect_err("nothing is there");
        assert!(error.to_string().starts_with("there is no store"), "{error}");
    }
    let count = world.all_records().iter().filter(|r| matches!(r.event, Event::StateCleared { .. })).count();
    assert_eq!((count, host.policy().revision), (1, cleared.taken.revision));
    // The grant is there still, and the store begins anew.
    assert_eq!(value(host, AGENT, "get", key("k")).await, Value::Null);
    value(host, AGENT, "set", set("new", "")).await;
    assert_eq!(value(host, "ann", "get", key("k")).await, json!("of ann"));
    assert_eq!(listed(None).await, ["default ann 1 7", "default researcher 1 3", "shared - 1 2"]);

    // It is so after a restart.
    let World { host, temporary } = world;
    host.close().await.expect("it ends in good order");
    let host = open(&temporary.path().join("data")).await.expect("it opens again");
    assert_eq!(host.stores(None).await.expect("listed").stores.len(), 3);
}
