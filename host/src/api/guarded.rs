//! Answers that go on for long, such as streams of events: each ends when whoever asked would not be let in any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::authn::Caller;
use crate::gateway::Host;

/// How often it is looked whether whoever asked would still be let in: so late at most an answer ends.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The answer, guarded if its end can't be told.
pub(super) fn guarded(response: Response, host: &Arc<Host>, caller: Caller) -> Response {
    if response.body().size_hint().exact().is_some() || caller.admission().credential.is_none() {
        return response;
    }
    let host = Arc::clone(host);
    response.map(|body| {
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Body::new(Guarded { body, look, host, caller })
    })
}

struct Guarded {
    body: Body,
    look: Interval,
    host: Arc<Host>,
    caller: Caller,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.look.poll_tick(cx).is_ready() {
            if !self.host.still_admits(&self.caller) {
                // What makes it is dropped with it.
                self.body = Body::empty();
                return Poll::Ready(None);
            }
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
