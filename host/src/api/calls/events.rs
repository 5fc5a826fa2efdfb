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
    /// What is said last, after a step that nobody had heard of when the call ended.
    Last(Event),
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
            result = &mut running => {
                let last = match result {
                    Ok(answer) => event(RESULT_EVENT, &answer),
                    Err(error) => event(ERROR_EVENT, &told.problem(error)),
                };
                after_unheard(&mut heard, last)
            }
            step = step(&mut heard) => {
                (event(PROGRESS_EVENT, &step), Some(Source::Own { running, heard, told }))
            }
        },
        Source::Kept { mut progress, mut ended } => {
            let step = tokio::select! {
                biased;
                end = ended.wait_for(Option::is_some) => {
                    let end = end.ok().and_then(|end| end.clone());
                    let last = end.map_or_else(lost, |end| last(end.end, end.document.clone()));
                    return after_unheard(&mut progress, last);
                }
                step = step(&mut progress) => step,
            };
            (event(PROGRESS_EVENT, &step), Some(Source::Kept { progress, ended }))
        }
        Source::Ended(end, document) => (last(end, document), None),
        Source::Last(event) => (event, None),
    }
}

/// The last event, but first the step that the call said just before its end, if nobody has heard of that.
fn after_unheard(heard: &mut watch::Receiver<Option<Progress>>, last: Event) -> (Event, Option<Source>) {
    let said = heard.borrow_and_update();
    match said.has_changed().then(|| said.clone()).flatten() {
        Some(step) => (event(PROGRESS_EVENT, &step), Some(Source::Last(last))),
        None => (last, None),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is ready at once: the order is that in which it was said.
    #[tokio::test]
    async fn what_a_call_says_just_before_its_end_is_told_before_that() {
        let (says, progress) = watch::channel(None);
        let ended = Arc::new(Ended { end: KeptEnd::Succeeded, document: "{}".to_owned() });
        let (_ends, ended) = watch::channel(Some(ended));
        says.send_replace(Some(Progress { done: 3.0, total: None, message: "almost".to_owned() }));
        // As when its task is over.
        drop(says);
        let (first, source) = next(Source::Kept { progress: progress.clone(), ended: ended.clone() }).await;
        assert!(format!("{first:?}").contains("almost"), "{first:?}");
        let (second, source) = next(source.expect("there is more")).await;
        assert!(format!("{second:?}").contains(RESULT_EVENT) && source.is_none(), "{second:?}");

        let mut progress = progress;
        progress.mark_unchanged();
        let (only, source) = next(Source::Kept { progress, ended }).await;
        assert!(format!("{only:?}").contains(RESULT_EVENT) && source.is_none(), "{only:?}");
    }
}
