//! Streams over TCP connections. What is in the resource table only says when it is ready: reading and
//! writing is done by the gate, with records that name the peer and the rule.
//!
//! A write is done when its host call returns: the system has taken all of it, or the outcome says that it
//! has not. So nothing is in flight that no record knows of.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::PollFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::address::{NetworkError, code_of};
use super::network::ErrorCode;
use super::ready_now;
use crate::audit::event::LeakPlace;
use crate::sandbox::capabilities::CallState;
use crate::sandbox::connections::Connection;
use crate::secrets::{Leak, Patterns, Reaction, Scanner};

/// How long a write waits for a peer that takes nothing.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// The most bytes of one read.
const READ_BYTES_MAX: usize = 64 << 10;

const THROUGH_THE_GATE: &str = "a stream over a socket is read and written by the gate";

/// A connection that was begun, closed when nothing holds it any more.
#[derive(Debug)]
pub(super) struct OpenTcp {
    pub(super) stream: TcpStream,
    pub(super) subject: Arc<str>,
    pub(super) rule: Arc<str>,
    pub(super) receives_no_more: AtomicBool,
    pub(super) sends_no_more: AtomicBool,
    /// Looks for secrets in what is written; none before the first write of a call that has some.
    pub(super) scanner: Mutex<Option<Scanner>>,
    pub(super) _counted: Connection,
}

/// A stream over a connection: subject and rule.
#[derive(Debug)]
pub(crate) struct SocketStream(pub(super) Arc<OpenTcp>);

/// What stands in the resource table for what comes in.
pub(super) struct SocketInput(pub(super) Arc<OpenTcp>);

/// What stands in the resource table for what goes out.
pub(super) struct SocketOutput(pub(super) Arc<OpenTcp>);

/// What the guest is told of bytes that may not leave.
pub(crate) fn refused_write() -> (StreamError, &'static str) {
    (failed(ErrorCode::AccessDenied), ErrorCode::AccessDenied.name())
}

fn failed(code: ErrorCode) -> StreamError {
    StreamError::LastOperationFailed(NetworkError(code).into())
}

/// What the guest is told of an error of a connection that was open.
fn broken(error: &io::Error) -> StreamError {
    if error.kind() == io::ErrorKind::BrokenPipe { StreamError::Closed } else { failed(code_of(error)) }
}

impl SocketStream {
    /// The peer, as the log names it.
    pub(crate) fn subject(&self) -> Arc<str> {
        Arc::clone(&self.0.subject)
    }

    /// The rule that allows it.
    pub(crate) fn rule(&self) -> Cow<'static, str> {
        Cow::Owned(self.0.rule.to_string())
    }

    /// The secret that these bytes hold, or end. Nothing is held back of what may be the beginning of one,
    /// since the peer may wait for it; once one was found, nothing leaves any more.
    fn leak_in(&self, patterns: &Arc<Patterns>, bytes: &[u8]) -> Option<Leak> {
        if patterns.is_empty() {
            return None;
        }
        let mut scanner = self.0.scanner.lock().unwrap_or_else(PoisonError::into_inner);
        let scanner = scanner.get_or_insert_with(|| Scanner::new(Arc::clone(patterns), Reaction::Refuse));
        scanner.scan(bytes).err()
    }

    /// How many bytes may be written now.
    pub(crate) fn check_write(&self, max: u64) -> StreamResult<u64> {
        if self.0.sends_no_more.load(Ordering::Relaxed) {
            return Err(StreamError::Closed);
        }
        match ready_now(&self.0.stream, PollFlags::OUT) {
            Ok(()) => Ok(max),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(broken(&error)),
        }
    }
}

impl OpenTcp {
    async fn read(&self, length: u64, blocking: bool) -> StreamResult<Vec<u8>> {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
        let mut buffer = vec![0; length];
        loop {
            if self.receives_no_more.load(Ordering::Relaxed) {
                return Err(StreamError::Closed);
            }
            if length == 0 {
                return Ok(buffer);
            }
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(StreamError::Closed),
                Ok(count) => {
                    buffer.truncate(count);
                    return Ok(buffer);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(broken(&error)),
                Err(_) if !blocking => return Ok(Vec::new()),
                // The call's own deadline bounds the wait.
                Err(_) => self.stream.readable().await.map_err(|error| broken(&error))?,
            }
        }
    }

    async fn write(&self, bytes: &[u8]) -> StreamResult<()> {
        if self.sends_no_more.load(Ordering::Relaxed) {
            return Err(StreamError::Closed);
        }
        let until = Instant::now() + WRITE_TIME_MAX;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(broken(&error)),
                Err(_) => timeout_at(until, self.stream.writable())
                    .await
                    .map_err(|_| failed(ErrorCode::Timeout))?
                    .map_err(|error| broken(&error))?,
            }
        }
        Ok(())
    }
}

impl CallState {
    /// Reads from a connection. The caller records it.
    pub(crate) async fn read_socket_stream(
        &mut self,
        rep: u32,
        length: u64,
        blocking: bool,
    ) -> StreamResult<Vec<u8>> {
        let Some(SocketStream(open)) = self.sockets.stream(rep) else {
            return Err(StreamError::trap("no such stream"));
        };
        let open = Arc::clone(open);
        open.read(length, blocking).await
    }

    /// Why bytes may not be written to a connection: a secret is in them, or ends there. The find is recorded.
    pub(crate) fn secret_in_socket_write(&mut self, rep: u32, bytes: &[u8]) -> Option<Cow<'static, str>> {
        let leak = self.sockets.stream(rep)?.leak_in(self.gate.secrets().patterns(), bytes)?;
        Some(self.leak_refused(LeakPlace::Socket, &leak))
    }

    /// Writes to a connection. The caller has recorded the attempt.
    pub(crate) async fn write_socket_stream(&mut self, rep: u32, bytes: Vec<u8>) -> StreamResult<()> {
        let Some(SocketStream(open)) = self.sockets.stream(rep) else {
            return Err(StreamError::trap("no such stream"));
        };
        let open = Arc::clone(open);
        open.write(&bytes).await
    }
}

#[async_trait]
impl Pollable for SocketInput {
    async fn ready(&mut self) {
        if !self.0.receives_no_more.load(Ordering::Relaxed) {
            let look = || ready_now(&self.0.stream, PollFlags::IN);
            // An error is an answer too: the next read tells it.
            let _ = self.0.stream.async_io(Interest::READABLE, look).await;
        }
    }
}

impl InputStream for SocketInput {
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        Err(StreamError::trap(THROUGH_THE_GATE))
    }
}

#[async_trait]
impl Pollable for SocketOutput {
    async fn ready(&mut self) {
        if !self.0.sends_no_more.load(Ordering::Relaxed) {
            let look = || ready_now(&self.0.stream, PollFlags::OUT);
            // An error is an answer too: the next write tells it.
            let _ = self.0.stream.async_io(Interest::WRITABLE, look).await;
        }
    }
}

impl OutputStream for SocketOutput {
    fn write(&mut self, _: Bytes) -> StreamResult<()> {
        Err(StreamError::trap(THROUGH_THE_GATE))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Err(StreamError::trap(THROUGH_THE_GATE))
    }
}
