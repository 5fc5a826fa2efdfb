//! Messages as lines, one each: the transport of stdio, whatever carries its bytes.
//!
//! A line that is no message is answered with an error, and the next one is read: one wrong byte ends nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::McpServer;
use super::message::{self, MESSAGE_BYTES_MAX, Refused};
use super::plain::PlainCall;
use crate::api::http::Stopping;
use crate::gateway::CallControl;

/// The most requests of one client that wait for their answers. The next are answered with an error.
const REQUESTS_MAX: usize = 64;
/// How long calls may go on when nothing more is read: as long as rmcp gives those that it makes.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Whoever was to read the answers is gone.
#[derive(Debug, thiserror::Error)]
#[error("the client is gone")]
pub(super) struct Gone;

/// Lines in, lines out. Calls that need nothing of rmcp are made here, each in one task: what rmcp makes goes through
/// two more, there and back.
#[derive(Debug)]
pub(super) struct Lines {
    server: McpServer,
    input: BodyDataStream,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no newline.
    searched: usize,
    /// The rest of a line that is too long is dropped.
    dropping: bool,
    input_ended: bool,
    output: mpsc::Sender<Bytes>,
    /// An error that is to be written before more is read.
    reply: Option<Bytes>,
    waiting: Arc<Waiting>,
    /// Whether a request has begun the conversation: what comes earlier is nobody's.
    begun: bool,
    /// Whether the client has said that it was introduced, as clients of revisions before 2026-07-28 do.
    introduced: bool,
    /// Calls that are made here. They end when this is dropped.
    calls: JoinSet<()>,
    /// Of the next of them.
    number: u64,
    /// Until when they may go on, once nothing more is read.
    drained_by: Option<Instant>,
    stopping: Stopping,
}

/// Requests that were read, and neither answered nor taken back.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<RequestId, Answerer>>);

/// Who answers a request.
#[derive(Debug)]
enum Answerer {
    Rmcp,
    /// One of the calls that are made here; how it is ended.
    Here(u64, CallControl),
}

impl Waiting {
    fn begin(&self, id: &RequestId, answerer: Answerer) -> Result<(), Refused> {
        let mut waiting = self.requests();
        if waiting.len() >= REQUESTS_MAX {
            let text = format!("{REQUESTS_MAX} requests of this client wait for their answers already");
            return Err(Refused { error: ErrorData::internal_error(text, None), id: Some(id.clone()) });
        }
        match waiting.entry(id.clone()) {
            Entry::Vacant(place) => {
                place.insert(answerer);
                Ok(())
            }
            Entry::Occupied(_) => {
                // Without the id, since that is the other one's, which is not answered by this.
                let text = "Invalid Request: a request with this id waits for its answer already";
                Err(Refused { error: ErrorData::invalid_request(text, None), id: None })
            }
        }
    }

    fn end(&self, id: &RequestId) {
        self.requests().remove(id);
    }

    /// Ends the request that a call made here is to answer. False if it was taken back: the id may be another's now.
    fn end_here(&self, id: &RequestId, number: u64) -> bool {
        let mut waiting = self.requests();
        let is_its = matches!(waiting.get(id), Some(Answerer::Here(its, _)) if *its == number);
        is_its && waiting.remove(id).is_some()
    }

    /// A request gets no answer any more.
    fn take_back(&self, id: &RequestId) {
        if let Some(Answerer::Here(_, control)) = self.requests().remove(id) {
            control.cancel();
        }
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<RequestId, Answerer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Line {
    Whole(Bytes),
    TooLong,
}

impl Lines {
    /// Reads until `stopping` turns true, its sender is gone, or nobody takes what is written to `output`.
    pub(super) fn new(
        server: McpServer,
        input: Body,
        output: mpsc::Sender<Bytes>,
        stopping: Stopping,
    ) -> Self {
        Self {
            server,
            input: input.into_data_stream(),
            buffer: BytesMut::new(),
            searched: 0,
            dropping: false,
            input_ended: false,
            output,
            reply: None,
            waiting: Arc::default(),
            begun: false,
            introduced: false,
            calls: JoinSet::new(),
            number: 0,
            drained_by: None,
            stopping,
        }
    }

    /// The next line that is in the buffer. The last one needs no newline.
    fn line(&mut self) -> Option<Line> {
        loop {
            let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.dropping || self.searched > MESSAGE_BYTES_MAX {
                    let begins = !self.dropping;
                    self.dropping = true;
                    self.buffer.clear();
                    self.searched = 0;
                    return begins.then_some(Line::TooLong);
                }
                let last = self.input_ended && !self.buffer.is_empty();
                self.searched = if last { 0 } else { self.searched };
                return last.then(|| Line::Whole(self.buffer.split().freeze()));
            };
            let line = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            if std::mem::take(&mut self.dropping) {
                continue;
            }
            if line.len() > MESSAGE_BYTES_MAX + 1 {
                return Some(Line::TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Some(Line::Whole(line));
            }
        }
    }

    /// A line as a message that is to be handled, or the error that answers it.
    fn read(&mut self, line: Line) -> Result<Option<ClientJsonRpcMessage>, Refused> {
        let mut object = match line {
            Line::Whole(text) => message::object(&text)?,
            Line::TooLong => return Err(message::too_long()),
        };
        if self.introduced
            && self.server.knows_plain_client()
            && let Some(call) = PlainCall::taken_from(&mut object)
        {
            self.call(call)?;
            return Ok(None);
        }
        let message = message::message(object)?;
        let JsonRpcMessage::Request(request) = &message else {
            if let JsonRpcMessage::Notification(told) = &message {
                if let ClientNotification::CancelledNotification(taken_back) = &told.notification {
                    taken_back.params.request_id.iter().for_each(|id| self.waiting.take_back(id));
                }
                self.introduced |=
                    matches!(told.notification, ClientNotification::InitializedNotification(_));
            }
            return Ok(self.begun.then_some(message));
        };
        self.begun = true;
        self.waiting.begin(&request.id, Answerer::Rmcp)?;
        Ok(Some(message))
    }

    /// Makes a call, and answers it.
    fn call(&mut self, call: PlainCall) -> Result<(), Refused> {
        let (number, control) = (self.number, CallControl::default());
        self.waiting.begin(&call.id, Answerer::Here(number, control.clone()))?;
        self.number += 1;
        // Those that have ended.
        while self.calls.try_join_next().is_some() {}
        let (server, output, waiting) = (self.server.clone(), self.output.clone(), Arc::clone(&self.waiting));
        self.calls.spawn(async move {
            let id = call.id.clone();
            let answer = line(&server.call_plainly(call, control).await);
            let Ok(place) = output.reserve_owned().await else { return };
            // As for those of rmcp: before the client can have it.
            if waiting.end_here(&id, number) {
                place.send(answer);
            }
        });
        Ok(())
    }

    /// Nothing more is read: calls end, if that takes no longer than it may.
    async fn drain(&mut self) {
        let until = *self.drained_by.get_or_insert_with(|| Instant::now() + DRAIN_TIME_MAX);
        let ended = async { while self.calls.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = self.output.closed() => {}
            () = ended => {}
            () = sleep_until(until) => {}
        }
    }
}

impl Transport<RoleServer> for Lines {
    type Error = Gone;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Gone>> + Send + 'static {
        let output = self.output.clone();
        let waiting = Arc::clone(&self.waiting);
        async move {
            let place = output.reserve_owned().await.map_err(|_| Gone)?;
            // When nothing can hold the answer up any more, and before the client can have it: it may use the id again.
            match &message {
                JsonRpcMessage::Response(answer) => waiting.end(&answer.id),
                JsonRpcMessage::Error(answer) => answer.id.iter().for_each(|id| waiting.end(id)),
                JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => {}
            }
            place.send(line(&message));
            Ok(())
        }
    }

    /// May be dropped at each wait: what was read stays in the buffer, and an error that is to be
    /// written stays in `reply`.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if self.drained_by.is_some() {
                self.drain().await;
                return None;
            }
            if self.reply.is_some() {
                let place = self.output.reserve().await.ok()?;
                if let Some(reply) = self.reply.take() {
                    place.send(reply);
                }
            }
            if let Some(found) = self.line() {
                match self.read(found) {
                    Ok(Some(message)) => return Some(message),
                    Ok(None) => {}
                    Err(Refused { error, id }) => {
                        self.reply = Some(line(&ServerJsonRpcMessage::error(error, id)));
                    }
                }
                continue;
            }
            if self.input_ended {
                self.drain().await;
                return None;
            }
            tokio::select! {
                biased;
                () = async { drop(self.stopping.wait_for(|stopping| *stopping).await) } => {
                    self.drain().await;
                    return None;
                }
                () = self.output.closed() => return None,
                piece = self.input.next() => match piece {
                    Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                    Some(Err(error)) => {
                        tracing::debug!(%error, "a client of MCP went away");
                        self.input_ended = true;
                    }
                    None => self.input_ended = true,
                },
            }
        }
    }

    async fn close(&mut self) -> Result<(), Gone> {
        Ok(())
    }
}

fn line(message: &ServerJsonRpcMessage) -> Bytes {
    // JSON has no raw newlines, so that a message is always one line.
    let mut line = serde_json::to_vec(message).expect("messages are text and numbers: they always serialise");
    line.push(b'\n');
    line.into()
}
