//! What happens between the record of a change and its commit: the log has it, so it is in force, and
//! until it is, nothing runs.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::Ownership;
use crate::policy::{AuthorizationRequest, authorize};
use crate::policy::{Role, Standing};

async fn open(data: &Path) -> Host {
    match DataFolder::take(data).expect("usable") {
        Ownership::Ours(folder) => Host::open(folder, HostOptions::default()).await.expect("opens"),
        Ownership::Others { pid, .. } => panic!("owned by {pid:?}"),
    }
}

/// Registers a component with one tool that answers at once.
async fn register(host: &Host, name: &PackageName) {
    let bytes = wat::parse_str(
        r#"(component
            (core module $m (func (export "answer") (result i32) (i32.const 42)))
            (core instance $i (instantiate $m))
            (func (export "answer") (result u32) (canon lift (core func $i "answer"))))"#,
    )
    .expect("valid");
    let added = host.add_package(&local_admin(), bytes.into(), Some(name.clone()), None, |_| {}).await;
    added.expect("registered");
}

/// A host with such a tool, granted to `ann`.
async fn answering(data: &Path) -> Host {
    let host = open(data).await;
    let name: PackageName = "polite".parse().expect("a name");
    let admin = local_admin();
    register(&host, &name).await;
    host.approve(&admin, &name, None).await.expect("approved");
    let text = "[[grant]]\npackage = \"polite\"\nagents = [\"ann\"]\n".to_owned();
    let source = GrantsSource { file: "g.toml".into(), folder: data.to_owned(), text };
    host.apply_grants(&admin, &source).await.expect("granted");
    host
}

async fn call(host: &Host) -> Result<CallAnswer, CallError> {
    call_of(host, "polite").await
}

async fn call_of(host: &Host, package: &str) -> Result<CallAnswer, CallError> {
    let parsed = "ann".parse::<PrincipalId>().expect("a name");
    let request = CallRequest {
        principal: parsed,
        package: package.parse().expect("a name"),
        tool: "answer".parse().expect("a name"),
        arguments: json!({}),
        argument_bytes: 2,
        trace: None,
        admission: Default::default(),
    };
    host.call(request).await
}

#[track_caller]
fn denial(result: Result<CallAnswer, CallError>) -> Denial {
    match result {
        Err(CallError::Denied { denial, .. }) => denial,
        Err(error) => panic!("not denied, but: {error:?}"),
        Ok(answer) => panic!("not denied, but: {answer:?}"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Freeze,
    Thaw,
    Quarantine,
    Release,
    Remove,
    Add,
    Revoke,
}

async fn make(host: &Host, change: Change) -> Result<(), HostError> {
    let admin = local_admin();
    let remark = || "an incident".parse().expect("a remark");
    let package = || "polite".parse().expect("a name");
    let ann = || "ann".parse().expect("a name");
    match change {
        Change::Freeze => host.freeze(&admin, remark()).await.map(drop),
        Change::Thaw => host.thaw(&admin).await.map(drop),
        Change::Quarantine => host.quarantine(&admin, package(), None, remark()).await.map(drop),
        Change::Release => host.release(&admin, package(), None).await.map(drop),
        Change::Remove => host.remove_principal(&admin, ann()).await.map(drop),
        Change::Add => host.add_principal(&admin, ann(), Role::Agent, None).await.map(drop),
        Change::Revoke => host.revoke(&admin, crate::ids::GrantId(1)).await.map(drop),
    }
}

/// For each change: what must come before it, and whether a call is allowed once it is made.
const CHANGES: [(Change, Option<Change>, bool); 7] = [
    (Change::Freeze, None, false),
    (Change::Thaw, Some(Change::Freeze), true),
    (Change::Quarantine, None, false),
    (Change::Release, Some(Change::Quarantine), true),
    (Change::Remove, None, false),
    (Change::Add, Some(Change::Remove), true),
    (Change::Revoke, None, false),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_recorded_and_not_committed_stops_the_host_and_is_made_by_the_next() {
    for (change, before, allows) in CHANGES {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let data = temporary.path().join("data");
        std::fs::create_dir(&data).expect("made");
        let host = answering(&data).await;
        if let Some(before) = before {
            make(&host, before).await.expect("made");
        }
        assert_eq!(call(&host).await.is_ok(), before.is_none(), "{change:?}");
        host.database.refuse_commits().await;
        make(&host, change).await.expect_err("it is not committed");
        // Neither what was nor what is to be: nothing runs.
        let denied = denial(call(&host).await);
        assert!(matches!(&denied, Denial::Frozen { because } if because.as_str() == IN_DOUBT), "{denied:?}");
        // Nothing else can be changed meanwhile, and approving something does not end the doubt.
        make(&host, Change::Thaw).await.expect_err("unsettled");
        host.approve(&local_admin(), &"polite".parse().expect("a name"), None).await.ok();
        assert!(matches!(denial(call(&host).await), Denial::Frozen { .. }), "{change:?}");
        host.close().await.expect("closed");
        let host = open(&data).await;
        assert_eq!(call(&host).await.is_ok(), allows, "{change:?} is what the log says");
        host.close().await.expect("closed");
    }
}

/// The twin: what did not reach the log was not done.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_planned_and_not_recorded_is_dropped_by_the_next_host() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let data = temporary.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let host = answering(&data).await;
    let step = crate::database::Step::Freeze { because: "an incident".parse().expect("a remark") };
    let planned = host.database.prepare_step(&step, &local_admin(), host.now()).await;
    drop(planned.expect("planned").expect("it changes something"));
    host.close().await.expect("closed");
    let host = open(&data).await;
    assert!(host.frozen().is_none());
    call(&host).await.expect("nothing stops it");
    make(&host, Change::Freeze).await.expect("made");
    assert!(host.frozen().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_admin_can_be_neither_added_nor_removed() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let host = open(&temporary.path().join("data")).await;
    let admin = local_admin();
    host.remove_principal(&admin, admin.clone()).await.expect_err("refused");
    host.add_principal(&admin, admin.clone(), Role::Auditor, None).await.expect_err("refused");
    let added = host.add_principal(&admin, "ann".parse().expect("a name"), Role::Auditor, None).await;
    let known = added.expect("added").principal.known.expect("known");
    assert_eq!((known.role, known.standing), (Role::Auditor, Standing::Added));
}

/// A change between the moment a call is allowed and the moment it runs finds it not among the running
/// ones: it judges itself before it begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_allowed_before_a_change_is_judged_again_before_it_runs() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let data = temporary.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let host = answering(&data).await;
    let subject = || {
        let in_force = host.in_force();
        let name: PackageName = "polite".parse().expect("a name");
        let package = &in_force.approved[&name];
        let (principal, tool) = ("ann".parse().expect("a name"), "answer".parse().expect("a name"));
        let call = CallId::generate();
        let authorized = authorize(
            &AuthorizationRequest {
                call,
                principal: &principal,
                groups: &Default::default(),
                package: &name,
                tool: &tool,
                approved: Some(package.digest),
                declared: &package.description.capabilities,
                now: host.now(),
                limits: &host.limits,
            },
            &in_force.policy,
        );
        let revision = in_force.policy.revision;
        let context = CallContext {
            call,
            principal,
            package: name,
            digest: package.digest,
            tool,
            revision,
            parent: None,
            trace: None,
        };
        let authorized = Some(Arc::new(authorized.expect("granted")));
        Subject {
            context: Arc::new(context),
            authorized,
            admission: Arc::default(),
            control: CallControl::default(),
        }
    };
    let at_once = std::time::Duration::ZERO;
    let (in_force, runs) = (host.in_force(), subject());
    tokio::time::timeout(at_once, host.stopped(runs, Arc::clone(&in_force))).await.expect_err("its twin");
    let allowed = subject();
    make(&host, Change::Freeze).await.expect("frozen");
    let stop = tokio::time::timeout(at_once, host.stopped(allowed, in_force)).await.expect("at once");
    assert!(matches!(stop, crate::policy::Stop::Denied { denial: Denial::Frozen { .. }, .. }), "{stop:?}");
    assert!(host.running().is_empty(), "who leaves is forgotten");
}

/// Whatever an agent calls, judging it does not wait for the database, nor keep its connection from an admin.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_name_stands_for_is_known_without_the_database() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let data = temporary.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let host = answering(&data).await;
    let (admin, name) = (local_admin(), "waiting".parse::<PackageName>().expect("a name"));
    register(&host, &name).await;
    // The first looks at the signatures that are kept.
    call(&host).await.expect("answered");
    let all = host.database.all_connections().await;
    let unknown = call_of(&host, "nowhere").await;
    assert!(matches!(&unknown, Err(CallError::NotFound(text)) if text.contains("nowhere")), "{unknown:?}");
    let pending = denial(call_of(&host, "waiting").await);
    assert!(matches!(pending, Denial::NotApproved { .. }), "registered: {pending:?}");
    call(&host).await.expect("answered");
    drop(all);
    host.remove_package(&admin, &name).await.expect("removed");
    assert!(matches!(call_of(&host, "waiting").await, Err(CallError::NotFound(_))));
    host.close().await.expect("closed");
}
