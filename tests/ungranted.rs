//! Nothing ungranted: what a tool may do is what it declares, and was granted, and was allowed to this
//! agent, now, for these bytes. Each refusal stands beside what is allowed.

use portcullis::audit::event::{Event, HostCallOutcome};
use portcullis::gateway::{Blame, CallError};
use portcullis::ids::CallId;
use portcullis::policy::Denial;
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use crate::harness::{AGENT, World, guest};

/// A component without imports that answers 7.
const SEVEN: &str = r#"(component
    (core module $m (func (export "run") (result i32) i32.const 7))
    (core instance $i (instantiate $m))
    (func (export "run") (result u32) (canon lift (core func $i "run"))))"#;

fn seven() -> Vec<u8> {
    wat::parse_str(SEVEN).expect("a component")
}

/// Other bytes that do the same.
fn eight() -> Vec<u8> {
    wat::parse_str(SEVEN.replace("const 7", "const 8")).expect("a component")
}

fn grant(package: &str, more: &str) -> String {
    format!("[[grant]]\npackage = \"{package}\"\nagents = [\"{AGENT}\"]\n{more}\n")
}

fn folder(name: &str) -> String {
    format!("[[grant.filesystem]]\nhost_path = \"{name}\"\nguest_path = \"/{name}\"\naccess = \"read\"\n")
}

/// The denial of a call, which the log must tell just so, and nothing else of it.
#[track_caller]
fn denial(world: &World, result: Result<impl std::fmt::Debug, CallError>) -> Denial {
    let error = result.expect_err("denied");
    assert_eq!(error.blame(), Blame::Admin);
    let CallError::Denied { call, denial } = error else { panic!("{error:?}") };
    let records = world.records(call);
    assert_eq!(records.len(), 1, "{records:?}");
    match &records[0].event {
        Event::CallDenied { denial: recorded, principal, package, tool, .. } => {
            assert_eq!(*recorded, denial);
            assert!(
                !principal.as_str().is_empty() && !package.as_str().is_empty() && !tool.as_str().is_empty()
            );
        }
        other => panic!("{other:?}"),
    }
    denial
}

async fn value(world: &World, package: &str) -> Value {
    world.value(package, "run", json!({})).await
}

/// The functions that a call used, each once and in order.
fn functions(world: &World, call: CallId) -> Vec<String> {
    let mut names = Vec::new();
    for record in world.records(call) {
        match record.event {
            Event::HostCall { host_call, .. } => {
                assert_ne!(host_call.result.outcome, HostCallOutcome::Unknown);
                names.push(format!("{} {}", host_call.interface, host_call.function));
            }
            Event::EffectAttempted { attempt, .. } => panic!("an effect: {attempt:?}"),
            _ => {}
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_there_are_no_files() {
    let world = World::with("files", guest("files")).await;
    world.folder("papers");
    let steps = json!([{"op": "preopens"}, {"op": "open", "at": "/papers", "path": "a", "as": "f"}]);
    let call = world.call("files", "run", json!({"steps": steps.to_string()})).await.expect("an answer");
    let answers = call.answer.structured.expect("a list");
    assert_eq!(answers, json!(["ok: ", "bad step: no handle \"/papers\""]));
    let get_directories = "wasi:filesystem/preopens get-directories";
    assert_eq!(functions(&world, call.report.call), [get_directories; 2]);
    // The granted twin.
    world.grant(&grant("files", &folder("papers"))).await;
    let answers = world.value("files", "run", json!({"steps": steps.to_string()})).await;
    assert_eq!(answers, json!(["ok: /papers", "error: no-entry"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_library_finds_no_files_without_a_folder() {
    let world = World::with("probe", guest("std-probe")).await;
    std::fs::write(world.folder("papers").join("a.txt"), "hello").expect("a file");
    for path in ["/papers/a.txt", "/etc/passwd", "a.txt", "/proc/self/environ"] {
        for (tool, arguments) in
            [("read-file", json!({"path": path, "bytes-max": 100})), ("list-folder", json!({"path": path}))]
        {
            match world.call("probe", tool, arguments).await {
                Err(CallError::Failed { error: InvokeError::Tool { .. }, report }) => {
                    let calls = functions(&world, report.call);
                    let opened = calls.iter().any(|name| name.starts_with("wasi:filesystem/types"));
                    assert!(!opened, "{calls:?}");
                }
                other => panic!("{tool} {path}: {other:?}"),
            }
        }
    }
    world.grant(&grant("probe", &folder("papers"))).await;
    let read = json!({"path": "/papers/a.txt", "bytes-max": 100});
    assert_eq!(world.value("probe", "read-file", read).await, json!(5));
    assert_eq!(world.value("probe", "list-folder", json!({"path": "/papers"})).await, json!(["a.txt"]));
    let other = world.call("probe", "read-file", json!({"path": "/etc/passwd", "bytes-max": 1})).await;
    assert!(matches!(other, Err(CallError::Failed { error: InvokeError::Tool { .. }, .. })), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_tool_works_with_its_folder_and_fails_without() {
    let world = World::with("dependency-report", guest("dependency-report")).await;
    let lock = "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n";
    std::fs::write(world.folder("project").join("Cargo.lock"), lock).expect("a file");
    let path = json!({"path": "/project/Cargo.lock"});
    let refused = world.call("dependency-report", "report", path.clone()).await;
    assert!(matches!(refused, Err(CallError::Failed { error: InvokeError::Tool { .. }, .. })), "{refused:?}");
    world.grant(&grant("dependency-report", &folder("project"))).await;
    let report = world.value("dependency-report", "report", path).await;
    assert_eq!(report["packages"], json!(1), "{report}");
}

/// A folder that a component does not declare is not even opened; one that it does is opened as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_opened_only_if_declared_and_only_as_it_was_granted() {
    let world = World::new().await;
    world.add("seven", seven()).await;
    world.add("probe", guest("std-probe")).await;
    let (data, secret) = (world.folder("papers"), world.folder("secret"));
    std::fs::write(data.join("a.txt"), "hello").expect("a file");
    std::fs::write(secret.join("a.txt"), "secret").expect("a file");
    world.grant(&grant("seven", &folder("papers"))).await;
    world.grant(&grant("probe", &folder("papers"))).await;
    let read = json!({"path": "/papers/a.txt", "bytes-max": 100});
    assert_eq!(world.value("probe", "read-file", read.clone()).await, json!(5));

    std::fs::rename(&data, world.temporary.path().join("moved")).expect("moved");
    for replace in [true, false] {
        if replace {
            std::os::unix::fs::symlink(&secret, &data).expect("a symlink");
        } else {
            std::fs::remove_file(&data).expect("removed");
        }
        let error = world.call("probe", "read-file", read.clone()).await.expect_err("refused");
        assert_eq!(error.blame(), Blame::Admin);
        let CallError::Failed { error: InvokeError::Grant(message), report } = error else {
            panic!("{error:?}")
        };
        assert!(message.contains("/papers"), "it names the folder: {message}");
        let host = world.temporary.path().to_str().expect("text");
        assert!(!message.contains(host), "no path of the host goes to an agent: {message}");
        assert_eq!(functions(&world, report.call), [""; 0], "nothing ran");
        assert_eq!(value(&world, "seven").await, json!(7), "it never asked for the folder");
    }
    std::fs::rename(world.temporary.path().join("moved"), &data).expect("moved back");
    assert_eq!(world.value("probe", "read-file", read).await, json!(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_another_agent_is_none() {
    let world = World::new().await;
    world.add("seven", seven()).await;
    let none = denial(&world, world.call("seven", "run", json!({})).await);
    assert!(matches!(none, Denial::NotGranted { .. }), "{none:?}");
    world.grant(&grant("seven", "")).await;
    assert_eq!(value(&world, "seven").await, json!(7));
    for agent in ["researcher2", "research", "admin"] {
        let other = denial(&world, world.call_as(agent, "seven", "run", json!({})).await);
        assert!(
            matches!(&other, Denial::NotGranted { principal, .. } if principal.as_str() == agent),
            "{other:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_grant_is_none() {
    let world = World::new().await;
    world.add("seven", seven()).await;
    world.grant(&grant("seven", "expires = 2999-01-01T00:00:00Z")).await;
    assert_eq!(value(&world, "seven").await, json!(7));
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    world.grant(&grant("seven", &format!("expires = {soon}"))).await;
    assert_eq!(value(&world, "seven").await, json!(7), "not yet");
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let expired = denial(&world, world.call("seven", "run", json!({})).await);
    assert!(matches!(expired, Denial::Expired { expires, .. } if expires == soon), "{expired:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_under_an_approved_name_get_nothing() {
    let world = World::new().await;
    let name = "tool".parse().expect("a name");
    let admin = portcullis::authn::local_admin();
    world.register("tool", seven()).await.expect("registered");
    let unapproved = denial(&world, world.call("tool", "run", json!({})).await);
    assert!(matches!(unapproved, Denial::NotApproved { .. }), "{unapproved:?}");
    world.add("tool", seven()).await;
    world.grant(&grant("tool", "")).await;
    assert_eq!(value(&world, "tool").await, json!(7));
    // Bytes that wait for approval change nothing.
    let other = world.register("tool", eight()).await.expect("registered");
    assert_eq!(value(&world, "tool").await, json!(7));
    // Approved, they do not inherit what was granted to the others.
    world.host.approve(&admin, &name, Some(other)).await.expect("approved");
    let denied = denial(&world, world.call("tool", "run", json!({})).await);
    assert!(matches!(denied, Denial::OtherBytes { .. }), "{denied:?}");
    world.grant(&grant("tool", "")).await;
    assert_eq!(value(&world, "tool").await, json!(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_one_tool_is_not_one_of_its_neighbours() {
    let world = World::new().await;
    world.add("probe", guest("std-probe")).await;
    let data = world.folder("papers");
    std::fs::write(data.join("a.txt"), "hello").expect("a file");
    world.grant(&grant("probe", &format!("tools = [\"list-folder\"]\n{}", folder("papers")))).await;
    assert_eq!(world.value("probe", "list-folder", json!({"path": "/papers"})).await, json!(["a.txt"]));
    let read = json!({"path": "/papers/a.txt", "bytes-max": 100});
    let denied = denial(&world, world.call("probe", "read-file", read).await);
    assert!(
        matches!(&denied, Denial::ToolNotGranted { tool, .. } if tool.as_str() == "read-file"),
        "{denied:?}"
    );
    // A second grant, of the other tool and without the folder, does not lend it the first one's.
    let both = grant("probe", &format!("tools = [\"list-folder\"]\n{}", folder("papers")))
        + &grant("probe", "tools = [\"read-file\"]");
    world.grant(&both).await;
    let read = world.call("probe", "read-file", json!({"path": "/papers/a.txt", "bytes-max": 100})).await;
    assert!(matches!(read, Err(CallError::Failed { error: InvokeError::Tool { .. }, .. })), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_none() {
    let world = World::new().await;
    world.add("seven", seven()).await;
    let changed = world.grant(&grant("seven", "")).await;
    assert_eq!(value(&world, "seven").await, json!(7));
    world.host.revoke(&portcullis::authn::local_admin(), changed.granted[0]).await.expect("revoked");
    let denied = denial(&world, world.call("seven", "run", json!({})).await);
    assert!(matches!(denied, Denial::NotGranted { .. }), "{denied:?}");
}

/// The tool of the demo that looks for files where it has none: every try is answered, none succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_tool_finds_nothing_outside() {
    let world = World::with("hostile", guest("hostile")).await;
    let attempts = world.value("hostile", "read-outside", json!({})).await;
    let attempts = attempts.as_array().expect("a list of tries");
    assert!(attempts.len() > 3, "{attempts:?}");
    for attempt in attempts {
        assert_eq!(attempt["succeeded"], false, "{attempt}");
        assert!(!attempt.to_string().contains("root:"), "{attempt}");
    }
}
