//! Bodies on their way: counted, bounded in bytes and time, and cut off when their exchange ends.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::error::{EgressError, Phase};
use super::message::{check_answer_trailers, check_trailers, fields_bytes};
use super::pool::Carrier;
use super::traffic::{ExchangeBytes, Traffic};

/// The body of a request as the sender is given it. Its errors are texts for people.
pub type SentBody = UnsyncBoxBody<Bytes, String>;

/// How far a request's body came, told to the exchange it belongs to.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_done: bool,
    failure: Option<EgressError>,
}

impl Progress {
    /// Whether all of it was handed to the connection.
    pub(super) fn is_done(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_done
    }

    /// Why it broke off, told once.
    pub(super) fn take_failure(&self) -> Option<EgressError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    fn end(&self, failure: Option<EgressError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_done = failure.is_none();
        state.failure = failure;
    }
}

/// A request's body on its way into the connection.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// None once it ended, well or not.
    source: Option<SentBody>,
    /// What was declared, and is kept to.
    length: Option<u64>,
    sent: u64,
    /// What was read ahead, to see whether there is a body at all.
    ahead: Option<Frame<Bytes>>,
    traffic: Arc<Traffic>,
    bytes: ExchangeBytes,
    progress: Arc<Progress>,
    /// Ends with the exchange, whose end breaks the body off.
    exchange: oneshot::Receiver<()>,
}

/// Breaks the request's body off when it is dropped.
pub(super) type ExchangeAlive = oneshot::Sender<()>;

impl RequestBody {
    pub(super) fn new(
        source: SentBody,
        length: Option<u64>,
        traffic: Arc<Traffic>,
        bytes: ExchangeBytes,
    ) -> (Self, Arc<Progress>, ExchangeAlive) {
        let (alive, exchange) = oneshot::channel();
        let progress = Arc::new(Progress::default());
        let seen = Arc::clone(&progress);
        let source = Some(source);
        (Self { source, length, sent: 0, ahead: None, traffic, bytes, progress, exchange }, seen, alive)
    }

    /// Waits for the first part. Whether there is one.
    pub(super) async fn has_content(&mut self) -> bool {
        let Some(source) = &mut self.source else { return false };
        match std::future::poll_fn(|context| pin!(&mut *source).poll_frame(context)).await {
            Some(Ok(_)) if self.length == Some(0) => {
                self.end(Some(EgressError::RequestBody("it is longer than was declared".to_owned())));
                true
            }
            Some(Ok(frame)) => {
                self.ahead = Some(frame);
                true
            }
            Some(Err(error)) => {
                self.end(Some(EgressError::RequestBody(error)));
                true
            }
            None => {
                self.end(None);
                self.length = Some(0);
                false
            }
        }
    }

    fn end(&mut self, failure: Option<EgressError>) {
        self.source = None;
        self.progress.end(failure);
    }

    /// Counts a part, and holds it against what was declared.
    fn admit(&mut self, frame: &Frame<Bytes>) -> Result<(), EgressError> {
        if let Some(trailers) = frame.trailers_ref() {
            check_trailers(trailers)?;
            return self.bytes.send(&self.traffic, fields_bytes(trailers));
        }
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.sent += length;
        match self.length {
            Some(declared) if self.sent > declared => {
                Err(EgressError::RequestBody("it is longer than was declared".to_owned()))
            }
            Some(_) | None => self.bytes.send(&self.traffic, length),
        }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        if pin!(&mut self.exchange).poll(context).is_ready() {
            let why = "the exchange ended".to_owned();
            return Poll::Ready(Some(Err(EgressError::RequestBody(why))));
        }
        pin!(source).poll_frame(context).map_err(EgressError::RequestBody)
    }
}

/// What the connection is told of a body that breaks off; the exchange knows why.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub(super) struct BrokeOff;

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let this = self.get_mut();
        if this.source.is_none() && this.ahead.is_none() {
            return Poll::Ready(if this.progress.is_done() { None } else { Some(Err(BrokeOff)) });
        }
        let polled = std::task::ready!(this.poll_source(context));
        let admitted = match polled {
            Some(Ok(frame)) => this.admit(&frame).map(|()| Some(frame)),
            Some(Err(error)) => Err(error),
            None if this.length.is_some_and(|length| length != this.sent) => {
                Err(EgressError::RequestBody("it is shorter than was declared".to_owned()))
            }
            None => Ok(None),
        };
        Poll::Ready(match admitted {
            Ok(Some(frame)) => {
                // hyper does not ask again after the last byte of a declared length.
                if this.length == Some(this.sent) {
                    this.progress.end(None);
                }
                Some(Ok(frame))
            }
            Ok(None) => {
                this.end(None);
                None
            }
            Err(error) => {
                this.end(Some(error));
                Some(Err(BrokeOff))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none() && self.ahead.is_none() && self.progress.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, |length| SizeHint::with_exact(length.saturating_sub(self.sent)))
    }
}

/// The body of an answer: counted, with a deadline for each part and one for the whole exchange. When it
/// was read to its end, its connection goes back to the pool; dropped before, the connection is closed.
#[derive(Debug)]
pub struct AnswerBody {
    /// None once it ended.
    incoming: Option<Incoming>,
    carrier: Option<Carrier>,
    progress: Arc<Progress>,
    /// Held as long as the exchange lasts.
    _alive: ExchangeAlive,
    traffic: Arc<Traffic>,
    bytes: ExchangeBytes,
    between_bytes: Duration,
    until: Instant,
    whole: Duration,
    timer: Pin<Box<Sleep>>,
}

/// What an answer's body is bounded by.
#[derive(Debug)]
pub(super) struct AnswerBounds {
    pub(super) traffic: Arc<Traffic>,
    pub(super) bytes: ExchangeBytes,
    pub(super) between_bytes: Duration,
    /// When the exchange must be over, and how long that was.
    pub(super) until: Instant,
    pub(super) whole: Duration,
}

impl AnswerBody {
    pub(super) fn new(
        incoming: Incoming,
        carrier: Carrier,
        progress: Arc<Progress>,
        alive: ExchangeAlive,
        bounds: AnswerBounds,
    ) -> Self {
        let AnswerBounds { traffic, bytes, between_bytes, until, whole } = bounds;
        let timer = Box::pin(tokio::time::sleep_until(until.min(Instant::now() + between_bytes)));
        let (incoming, carrier) = (Some(incoming), Some(carrier));
        let _alive = alive;
        let mut made =
            Self { incoming, carrier, progress, _alive, traffic, bytes, between_bytes, until, whole, timer };
        if made.incoming.as_ref().is_some_and(Body::is_end_stream) {
            made.end(true);
        }
        made
    }

    fn end(&mut self, is_complete: bool) {
        self.incoming = None;
        if let Some(carrier) = self.carrier.take().filter(|_| is_complete && self.progress.is_done()) {
            carrier.give_back();
        }
    }

    fn admit(&self, frame: &Frame<Bytes>) -> Result<(), EgressError> {
        let weight = match frame.trailers_ref() {
            Some(trailers) => check_answer_trailers(trailers)?,
            None => frame.data_ref().map_or(0, |data| data.len() as u64),
        };
        self.bytes.receive(&self.traffic, weight)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let polled = match pin!(incoming).poll_frame(context) {
            Poll::Ready(polled) => polled,
            Poll::Pending => {
                std::task::ready!(this.timer.as_mut().poll(context));
                this.end(false);
                let is_whole = Instant::now() >= this.until;
                let (phase, after) = if is_whole {
                    (Phase::Exchange, this.whole)
                } else {
                    (Phase::BetweenBytes, this.between_bytes)
                };
                return Poll::Ready(Some(Err(EgressError::TimedOut { phase, after })));
            }
        };
        let admitted = match polled {
            None => {
                this.end(true);
                return Poll::Ready(None);
            }
            Some(Err(error)) => Err(this.progress.take_failure().unwrap_or_else(|| hyper_error(&error))),
            // Whoever drips feeds the timer above, but not the one of the whole.
            Some(Ok(_)) if Instant::now() >= this.until => {
                Err(EgressError::TimedOut { phase: Phase::Exchange, after: this.whole })
            }
            Some(Ok(frame)) => this.admit(&frame).map(|()| frame),
        };
        if admitted.is_err() {
            this.end(false);
        } else if this.incoming.as_ref().is_some_and(Body::is_end_stream) {
            this.end(true);
        } else {
            this.timer.as_mut().reset(this.until.min(Instant::now() + this.between_bytes));
        }
        Poll::Ready(Some(admitted))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What hyper says, in our words.
pub(super) fn hyper_error(error: &hyper::Error) -> EgressError {
    if error.is_parse_too_large() {
        EgressError::HeadTooLarge
    } else if error.is_incomplete_message() || error.is_closed() {
        EgressError::Incomplete
    } else {
        let source = std::error::Error::source(error).map(|source| format!(": {source}"));
        EgressError::Protocol(crate::text::clean_line(&format!("{error}{}", source.unwrap_or_default()), 200))
    }
}
