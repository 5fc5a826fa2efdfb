//! The line to a running call: its progress is heard, and it can be asked to end.

use std::sync::Arc;
use std::time::Duration;

use portcullis::audit::event::{CallOutcome, Event};
use portcullis::authn::local_admin;
use portcullis::gateway::{CallControl, CallError, HostError};
use portcullis::ids::CallId;
use portcullis::sandbox::InvokeError;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::harness::{AGENT, World, end, guest, request};

const PATIENCE: Duration = Duration::from_secs(60);

async fn world() -> Arc<World> {
    Arc::new(World::with("callers", guest("callers")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_step_is_heard_and_is_one_clean_line() {
    let world = world().await;
    let control = CallControl::default();
    let mut heard = control.progress();
    let order = request(AGENT, "callers", "report", json!({"steps": 7}));
    let answer = world.host.call_controlled(order, &control).await.expect("an answer");
    assert!(heard.has_changed().expect("the line is open"));
    let step = heard.borrow_and_update().clone().expect("a step");
    assert_eq!((step.done, step.total), (7.0, Some(7.0)));
    assert_eq!(step.message, "step 7 of many");
    let steps = world.records(answer.report.call).into_iter().filter(
        |record| matches!(&record.event, Event::HostCall { host_call, .. } if host_call.function == "report"),
    );
    assert_eq!(steps.count(), 7, "each is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_looks_answers_when_it_is_asked_to_end() {
    let world = world().await;
    let control = CallControl::default();
    let calling = {
        let (world, control) = (Arc::clone(&world), control.clone());
        let order = request(AGENT, "callers", "until-cancelled", json!({}));
        tokio::spawn(async move { world.host.call_controlled(order, &control).await })
    };
    while world.host.running().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    control.cancel();
    let answer = timeout(PATIENCE, calling).await.expect("it ends").expect("no panic").expect("an answer");
    assert!(answer.answer.structured.and_then(|looks| looks.as_u64()).is_some_and(|looks| looks > 0));
    assert_eq!(end(&world.records(answer.report.call)).outcome, CallOutcome::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_never_looks_is_ended_and_the_log_says_who_asked() {
    let world = world().await;
    let calling = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.call("callers", "never-looks", json!({})).await })
    };
    let running = loop {
        if let [running] = &world.host.running()[..] {
            break running.context.call;
        }
        sleep(Duration::from_millis(5)).await;
    };
    let nobody = CallId::generate();
    let unknown = world.host.cancel(&local_admin(), nobody, None).await;
    assert!(matches!(unknown, Err(HostError::NotRunning { call }) if call == nobody), "{unknown:?}");
    world.host.cancel(&local_admin(), running, None).await.expect("it runs");
    let result = timeout(PATIENCE, calling).await.expect("it ends").expect("no panic");
    let Err(CallError::Failed { error: InvokeError::Cancelled, report }) = result else {
        panic!("not cancelled, but: {result:?}")
    };
    let records = world.records(report.call);
    assert_eq!(end(&records).outcome, CallOutcome::Cancelled);
    let asked = records.iter().find_map(|record| match &record.event {
        Event::CallCancelled { by, .. } => Some(by.clone()),
        _ => None,
    });
    assert_eq!(asked, Some(local_admin()));
}
