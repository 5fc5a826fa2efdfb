//! The exchanges of one call: which handle of the guest belongs to which, and how each ended.

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::error::{for_guest, for_log};
use super::filter::AnswerFilter;
use crate::audit::event::HostCallOutcome;
use crate::egress::{AnswerBody, EgressError, ExchangeBytes};
use crate::sandbox::capabilities::CallState;
use crate::sandbox::capabilities::gate::Attempted;
use crate::sandbox::connections::Connection;

/// How long the end of a call waits for its exchanges to be broken off.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// What a handle is about: the request, and the rule that allows it.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) subject: Arc<str>,
    pub(crate) rule: Arc<str>,
}

/// What each handle of HTTP is about: of an answer, from the beginning; of a request, once it is sent.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<u32, Arc<OnceLock<About>>>);

impl Owners {
    pub(super) fn of(&self, rep: u32) -> Option<&About> {
        self.0.get(&rep)?.get()
    }

    pub(super) fn has(&self, rep: u32) -> bool {
        self.0.contains_key(&rep)
    }

    /// What a handle that is made from this one is about; nothing yet, if that is not known.
    pub(super) fn shared(&mut self, rep: u32) -> Arc<OnceLock<About>> {
        Arc::clone(self.0.entry(rep).or_default())
    }

    pub(super) fn set(&mut self, rep: u32, about: Arc<OnceLock<About>>) {
        self.0.insert(rep, about);
    }

    pub(super) fn forget(&mut self, rep: u32) -> Option<Arc<OnceLock<About>>> {
        self.0.remove(&rep)
    }
}

/// How an exchange ended.
#[derive(Clone, Debug)]
struct End {
    status: Option<u16>,
    /// Why it failed.
    error: Option<Cow<'static, str>>,
    /// Nobody waited for it any longer.
    is_left: bool,
    at: Instant,
}

/// Tells the call how its exchange ends: dropped untold, that nobody waited for it.
#[derive(Debug)]
pub(super) struct Report {
    told: watch::Sender<Option<End>>,
    status: Option<u16>,
}

impl Report {
    fn tell(&self, error: Option<Cow<'static, str>>, is_left: bool) {
        let end = End { status: self.status, error, is_left, at: Instant::now() };
        self.told.send_if_modified(|told| {
            let is_first = told.is_none();
            told.get_or_insert(end);
            is_first
        });
    }

    /// The head of the answer came.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// It failed. Answers the guest's error.
    pub(super) fn failed(&self, error: &EgressError) -> Error {
        self.tell(Some(for_log(error)), false);
        for_guest(error)
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.tell(None, true);
    }
}

/// An exchange whose outcome is not in the log yet.
#[derive(Debug)]
pub(super) struct OpenExchange {
    attempted: Attempted,
    bytes: ExchangeBytes,
    end: watch::Receiver<Option<End>>,
}

impl OpenExchange {
    pub(super) fn new(attempted: Attempted, bytes: ExchangeBytes) -> (Self, Report) {
        let (told, end) = watch::channel(None);
        (Self { attempted, bytes, end }, Report { told, status: None })
    }
}

impl CallState {
    /// Records the outcomes of exchanges that ended since it was last asked.
    pub(crate) fn settle_exchanges(&mut self) {
        self.settle_leaks();
        if self.http.open.is_empty() {
            return;
        }
        let is_over = |open: &mut OpenExchange| open.end.borrow().is_some();
        let over: Vec<OpenExchange> = self.http.open.extract_if(.., is_over).collect();
        for exchange in over {
            self.record_exchange(exchange);
        }
    }

    /// Breaks off every exchange, and waits a moment until it is. The guest is over.
    pub(crate) async fn close_exchanges(&mut self) {
        self.settle_leaks();
        if self.http.open.is_empty() {
            return;
        }
        self.break_off_exchanges();
        let ends: Vec<_> = self.http.open.iter().map(|open| open.end.clone()).collect();
        let all = async {
            for mut end in ends {
                let _ = end.wait_for(Option::is_some).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, all).await;
        self.record_all_exchanges();
    }

    /// Drops what the guest held: tasks that wait for answers end with it, and so do bodies.
    fn break_off_exchanges(&mut self) {
        self.http.is_over.store(true, Ordering::Relaxed);
        self.http.under_way.clear();
        self.table = ResourceTable::new();
    }

    /// The same as [`close_exchanges`](Self::close_exchanges) without waiting.
    pub(crate) fn close_exchanges_now(&mut self) {
        if !self.http.open.is_empty() {
            self.break_off_exchanges();
            self.record_all_exchanges();
        }
    }

    fn record_all_exchanges(&mut self) {
        self.settle_leaks();
        for exchange in std::mem::take(&mut self.http.open) {
            self.record_exchange(exchange);
        }
    }

    /// An exchange that nobody waited for is unknown, unless the head of its answer had come.
    fn record_exchange(&mut self, exchange: OpenExchange) {
        let OpenExchange { attempted, bytes, end } = exchange;
        let end = end.borrow().clone();
        let (outcome, status, at) = match end {
            Some(End { error: Some(error), status, at, .. }) => (HostCallOutcome::Error(error), status, at),
            Some(End { is_left: true, status: None, at, .. }) => (HostCallOutcome::Unknown, None, at),
            Some(End { status, at, .. }) => (HostCallOutcome::Ok, status, at),
            None => (HostCallOutcome::Unknown, None, Instant::now()),
        };
        self.gate.finish_exchange(attempted, outcome, status, (bytes.bytes_in(), bytes.bytes_out()), at);
    }
}

/// The body of a guest's request. One that the guest never finished is not taken for a finished one when
/// its call ends.
#[derive(Debug)]
pub(super) struct GuestBody {
    pub(super) body: HyperOutgoingBody,
    pub(super) is_over: Arc<AtomicBool>,
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        let this = self.get_mut();
        match std::task::ready!(pin!(&mut this.body).poll_frame(context)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(_)) => Poll::Ready(Some(Err("the tool did not finish it".to_owned()))),
            None if this.is_over.load(Ordering::Relaxed) => {
                Poll::Ready(Some(Err("the tool did not finish it".to_owned())))
            }
            None => Poll::Ready(None),
        }
    }
}

/// The body of an answer on its way to the guest: filtered, and its end reported.
#[derive(Debug)]
pub(super) struct ReportedBody {
    body: AnswerBody,
    filter: Box<dyn AnswerFilter>,
    /// What the exchange holds until its end.
    held: Option<(Report, Connection)>,
}

impl ReportedBody {
    pub(super) fn new(
        body: AnswerBody,
        filter: Box<dyn AnswerFilter>,
        report: Report,
        connection: Connection,
    ) -> Self {
        let mut made = Self { body, filter, held: Some((report, connection)) };
        if made.body.is_end_stream() {
            made.end(None);
        }
        made
    }

    fn end(&mut self, error: Option<&EgressError>) {
        if let Some((report, _connection)) = self.held.take() {
            report.tell(error.map(for_log), false);
        }
    }
}

impl Body for ReportedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        loop {
            let polled = std::task::ready!(pin!(&mut this.body).poll_frame(context));
            let is_part = matches!(polled, Some(Ok(_)));
            let filtered = this.filtered(polled);
            // A part of which the filter holds back all is no end.
            if filtered.is_some() || !is_part {
                return Poll::Ready(filtered);
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl ReportedBody {
    /// What the guest is given of a part, or of the end.
    fn filtered(
        &mut self,
        polled: Option<Result<Frame<Bytes>, EgressError>>,
    ) -> Option<Result<Frame<Bytes>, Error>> {
        let is_last = self.body.is_end_stream();
        let frame = match polled {
            None => {
                self.end(None);
                None
            }
            Some(Err(error)) => {
                self.end(Some(&error));
                return Some(Err(for_guest(&error)));
            }
            Some(Ok(frame)) => {
                if is_last {
                    self.end(None);
                }
                Some(frame)
            }
        };
        self.filter.body(frame).map(|frame| frame.map_err(|error| for_guest(&error)))
    }
}
