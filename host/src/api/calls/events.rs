//! A call as server-sent events: how far it is, and at last what came of it. A comment each 15 seconds, so that who
//! waits knows that somebody is there.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;

use super::Told;
use crate::api::messages::{ERROR_EVENT, PROGRESS_EVENT, RESULT_EVENT};
use crate::api::problem::{ErrorKind, Problem};
use crate::database::KeptEnd;
use crate::gateway::{
    Blame, CallAnswer, CallControl, CallError, CallRequest, Ended, Following, Host, Progress, StreamPlace,
};

/// How often somebody who hears nothing else hears that the call goes on.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A call that runs in its answer's stream.
pub(super) fn of_call(host: Arc<Host>, request: CallRequest, told: Told) -> Response {
    let control = CallControl::default();
    let heard = control.progress();
    let running = Box::pin(async move { host.call_controlled(request, &control).await });
    events(Source::Own { running, heard, told }, None)
}

/// A kept call, which goes on without the stream.
pub(super) fn of_kept(following: Following, place: Option<StreamPlace>) -> Response {
    let Following { call: _, mut progress, ended } = following;
    // What was said before is said again.
    if progress.borrow().is_some() {
        progress.mark_changed();
    }
    events(Source::Kept { progress, ended }, place)
}

/// A kept call that has ended.
pub(super) fn of_ended(end: KeptEnd, document: String) -> Response {
    events(Source::Ended(end, document), None)
}

enum Source {
    Own {
        running: Pin<Box<dyn Future<Output = Result<CallAnswer, CallError>> + Send>>,
        heard: watch::Receiver<Option<Progress>>,
        told: Told,
    },
    Kept {
        progress: watch::Receiver<Option<Progress>>,
        ended: watch::Receiver<Option<Arc<Ended>>>,
    },
    Ended(KeptEnd, String),
}

fn events(source: Source, place: Option<StreamPlace>) -> Response {
    let events = stream::unfold((Some(source), place), |(source, place)| async move {
        let (event, source) = next(source?).await;
        Some((Ok::<_, Infallible>(event), (source, place)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The next event, and what comes after it; nothing after the last.
async fn next(source: Source) -> (Event, Option<Source>) {
    match source {
        Source::Own { mut running, mut heard, told } => tokio::select! {
            biased;
            result = &mut running => (match result {
                Ok(answer) => event(RESULT_EVENT, &answer),
                Err(error) => event(ERROR_EVENT, &told.problem(error)),
            }, None),
            step = step(&mut heard) => {
                (event(PROGRESS_EVENT, &step), Some(Source::Own { running, heard, told }))
            }
        },
        Source::Kept { mut progress, mut ended } => {
            let step = tokio::select! {
                biased;
                end = ended.wait_for(Option::is_some) => {
                    let end = end.ok().and_then(|end| end.clone());
                    return (end.map_or_else(lost, |end| last(end.end, end.document.clone())), None);
                }
                step = step(&mut progress) => step,
            };
            (event(PROGRESS_EVENT, &step), Some(Source::Kept { progress, ended }))
        }
        Source::Ended(end, document) => (last(end, document), None),
    }
}

/// The next step. Never, once there can be none.
async fn step(heard: &mut watch::Receiver<Option<Progress>>) -> Progress {
    while heard.changed().await.is_ok() {
        if let Some(step) = heard.borrow_and_update().clone() {
            return step;
        }
    }
    std::future::pending().await
}

fn last(end: KeptEnd, document: String) -> Event {
    let name = match end {
        KeptEnd::Succeeded => RESULT_EVENT,
        KeptEnd::Failed | KeptEnd::Cancelled | KeptEnd::Interrupted => ERROR_EVENT,
    };
    Event::default().event(name).data(document)
}

fn lost() -> Event {
    event(ERROR_EVENT, &unknown_end())
}

/// The task of a call failed.
pub(super) fn unknown_end() -> Problem {
    let title = ErrorKind::HostFault.title();
    Problem::new(ErrorKind::HostFault, title, Blame::Host)
}

fn event(name: &str, value: &impl Serialize) -> Event {
    let json = serde_json::to_string(value).expect("messages are text and numbers: they always serialise");
    Event::default().event(name).data(json)
}
