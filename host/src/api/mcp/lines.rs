//! Messages as lines, one each: the transport of stdio, whatever carries its bytes.
//!
//! A line that is no message is answered with an error, and the next one is read: one wrong byte ends nothing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use tokio::sync::mpsc;

use super::message::{self, MESSAGE_BYTES_MAX, Refused};
use crate::api::http::Stopping;

/// The most requests of one client that wait for their answers. The next are answered with an error.
const REQUESTS_MAX: usize = 64;

/// Whoever was to read the answers is gone.
#[derive(Debug, thiserror::Error)]
#[error("the client is gone")]
pub(super) struct Gone;

/// Lines in, lines out.
#[derive(Debug)]
pub(super) struct Lines {
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
    stopping: Stopping,
}

/// Requests that were read, and neither answered nor taken back.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashSet<RequestId>>);

impl Waiting {
    fn begin(&self, id: &RequestId) -> Result<(), Refused> {
        let mut waiting = self.ids();
        if waiting.len() >= REQUESTS_MAX {
            let text = format!("{REQUESTS_MAX} requests of this client wait for their answers already");
            return Err(Refused { error: ErrorData::internal_error(text, None), id: Some(id.clone()) });
        }
        if !waiting.insert(id.clone()) {
            // Without the id, since that is the other one's, which is not answered by this.
            let text = "Invalid Request: a request with this id waits for its answer already";
            return Err(Refused { error: ErrorData::invalid_request(text, None), id: None });
        }
        Ok(())
    }

    fn end(&self, id: &RequestId) {
        self.ids().remove(id);
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Line {
    Whole(Bytes),
    TooLong,
}

impl Lines {
    /// Reads until `stopping` turns true, its sender is gone, or nobody takes what is written to `output`.
    pub(super) fn new(input: Body, output: mpsc::Sender<Bytes>, stopping: Stopping) -> Self {
        Self {
            input: input.into_data_stream(),
            buffer: BytesMut::new(),
            searched: 0,
            dropping: false,
            input_ended: false,
            output,
            reply: None,
            waiting: Arc::default(),
            begun: false,
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
        let message = match line {
            Line::Whole(text) => message::message(&text)?,
            Line::TooLong => return Err(message::too_long()),
        };
        let JsonRpcMessage::Request(request) = &message else {
            if let JsonRpcMessage::Notification(told) = &message
                && let ClientNotification::CancelledNotification(taken_back) = &told.notification
                && let Some(id) = &taken_back.params.request_id
            {
                // It gets no answer any more.
                self.waiting.end(id);
            }
            return Ok(self.begun.then_some(message));
        };
        self.begun = true;
        self.waiting.begin(&request.id)?;
        Ok(Some(message))
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
                return None;
            }
            tokio::select! {
                biased;
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
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
