//! `wasi:io`: polling, errors and streams.
//!
//! A stream over a file is not performed by wasmtime: its position, subject and quota are ours
//! ([`FileStream`](super::filesystem::FileStream)), and a write is done when the host call returns,
//! so that its outcome is known and nothing is left in flight. The same holds for a stream over a connection
//! ([`SocketStream`](super::sockets::SocketStream)).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::io::poll as wasmtime_poll;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, InputStream, IoError, OutputStream, Pollable, StreamError,
    StreamResult, subscribe,
};

use super::gate::{Entered, HARMLESS, HostFunction};
use super::{CallState, trapped};
use crate::audit::event::{Decision, HostCallOutcome};
use crate::sandbox::bindings::wasi::io::{error, poll, streams};

/// The most bytes that one write to a stream may carry: what `check-write` answers.
pub(crate) const WRITE_BYTES_MAX: usize = 64 << 10;
/// The most bytes that one read of a stream or file answers, whatever was asked for.
pub(crate) const READ_BYTES_MAX: u64 = 1 << 20;
/// The most bytes of the `blocking-write…-and-flush` functions, by their WIT documentation.
const FLUSHED_WRITE_BYTES_MAX: usize = 4096;

mod errors {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:io/error":
        TO_DEBUG_STRING = "[method]error.to-debug-string";
    }
}

mod polling {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:io/poll":
        POLL = "poll";
        READY = "[method]pollable.ready";
        BLOCK = "[method]pollable.block";
    }
}

mod stream {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:io/streams":
        READ = "[method]input-stream.read";
        BLOCKING_READ = "[method]input-stream.blocking-read";
        SKIP = "[method]input-stream.skip";
        BLOCKING_SKIP = "[method]input-stream.blocking-skip";
        SUBSCRIBE_INPUT = "[method]input-stream.subscribe";
        CHECK_WRITE = "[method]output-stream.check-write";
        WRITE = "[method]output-stream.write", ByArguments;
        BLOCKING_WRITE_AND_FLUSH = "[method]output-stream.blocking-write-and-flush", ByArguments;
        FLUSH = "[method]output-stream.flush";
        BLOCKING_FLUSH = "[method]output-stream.blocking-flush";
        SUBSCRIBE_OUTPUT = "[method]output-stream.subscribe";
        WRITE_ZEROES = "[method]output-stream.write-zeroes", ByArguments;
        BLOCKING_WRITE_ZEROES_AND_FLUSH =
            "[method]output-stream.blocking-write-zeroes-and-flush", ByArguments;
        SPLICE = "[method]output-stream.splice", ByArguments;
        BLOCKING_SPLICE = "[method]output-stream.blocking-splice", ByArguments;
    }
}

/// The functions of `wasi:io`.
pub(crate) const FUNCTIONS: &[&[&HostFunction]] = &[errors::ALL, polling::ALL, stream::ALL];

impl error::Host for CallState {}

impl error::HostError for CallState {
    async fn to_debug_string(&mut self, error: Resource<IoError>) -> wasmtime::Result<String> {
        self.harmless(errors::TO_DEBUG_STRING, |state| {
            Ok(crate::text::clean(&state.table.get(&error)?.to_string(), 1_000))
        })
        .await
    }

    async fn drop(&mut self, error: Resource<IoError>) -> wasmtime::Result<()> {
        self.delete(error).map(drop)
    }
}

impl poll::Host for CallState {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let entered = self.gate.enter(polling::POLL, None).await?;
        let result = wasmtime_poll::Host::poll(&mut self.table, pollables).await;
        self.leave_harmless(entered, &result);
        result
    }
}

impl poll::HostPollable for CallState {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        let entered = self.gate.enter(polling::READY, None).await?;
        let result = wasmtime_poll::HostPollable::ready(&mut self.table, pollable).await;
        self.leave_harmless(entered, &result);
        result
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let entered = self.gate.enter(polling::BLOCK, None).await?;
        let result = wasmtime_poll::HostPollable::block(&mut self.table, pollable).await;
        self.leave_harmless(entered, &result);
        result
    }

    async fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        wasmtime_poll::HostPollable::drop(&mut self.table, pollable)?;
        self.gate.discount_resource();
        Ok(())
    }
}

impl CallState {
    /// The subject and the rule of a stream: a granted file's, a connection's, a request's, or nothing in
    /// particular.
    fn stream_names(&self, rep: u32) -> (Option<Arc<str>>, Cow<'static, str>) {
        if let Some(stream) = self.filesystem.stream(rep) {
            return (Some(stream.subject()), stream.rule());
        }
        if let Some(stream) = self.sockets.stream(rep) {
            return (Some(stream.subject()), stream.rule());
        }
        match self.http.about(rep) {
            Some(about) => (Some(Arc::clone(&about.subject)), Cow::Owned(about.rule.to_string())),
            None => (None, Cow::Borrowed("harmless")),
        }
    }

    /// Reads without a record: its callers make it.
    async fn read_stream(
        &mut self,
        stream: &Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> StreamResult<Vec<u8>> {
        let length = length.min(READ_BYTES_MAX);
        if self.filesystem.stream(stream.rep()).is_some() {
            let bytes = self.read_file_stream(stream.rep(), length).await?;
            self.gate.usage().file_bytes_read += bytes.len() as u64;
            return Ok(bytes);
        }
        if self.sockets.stream(stream.rep()).is_some() {
            return self.read_socket_stream(stream.rep(), length, blocking).await;
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let other = self.table.get_mut(stream)?;
        let read = if blocking { other.blocking_read(length).await } else { other.read(length) };
        read.map(Into::into).map_err(with_code)
    }

    async fn recorded_read(
        &mut self,
        function: &'static HostFunction,
        stream: &Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> StreamResult<Vec<u8>> {
        let (subject, rule) = self.stream_names(stream.rep());
        let entered = self.gate.enter(function, subject).await.map_err(StreamError::Trap)?;
        let result = self.read_stream(stream, length, blocking).await;
        let bytes_in = result.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.gate.leave(entered, Decision::Allowed(rule), stream_outcome(&result), bytes_in, 0);
        self.settle_exchanges();
        result
    }

    /// Writes with its records: an attempt and an outcome for a file or a connection, one record for the rest.
    async fn recorded_write(
        &mut self,
        function: &'static HostFunction,
        stream: &Resource<DynOutputStream>,
        bytes: Vec<u8>,
        bytes_max: usize,
    ) -> StreamResult<()> {
        let (subject, _) = self.stream_names(stream.rep());
        let entered = self.gate.enter(function, subject).await.map_err(StreamError::Trap)?;
        if bytes.len() > bytes_max {
            let error =
                wasmtime::format_err!("a write of {} bytes, at most {bytes_max} were allowed", bytes.len());
            self.gate.leave(entered, HARMLESS, trapped(&error), 0, 0);
            return Err(StreamError::Trap(error));
        }
        self.write_stream(entered, stream, bytes).await
    }

    async fn write_stream(
        &mut self,
        entered: Entered,
        stream: &Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        let bytes_out = bytes.len() as u64;
        let rep = stream.rep();
        let (_, rule) = self.stream_names(rep);
        if self.filesystem.stream(rep).is_some() {
            let attempted = self.gate.attempt(entered, rule, bytes_out).await.map_err(StreamError::Trap)?;
            let result = self.write_file_stream(rep, bytes).await;
            self.gate.finish(attempted, stream_outcome(&result));
            if result.is_ok() {
                self.gate.usage().file_bytes_written += bytes_out;
            }
            return result;
        }
        if self.sockets.stream(rep).is_some() {
            if let Some(why) = self.secret_in_socket_write(rep, &bytes) {
                let (error, name) = super::sockets::refused_write();
                self.gate.deny(entered, why, name);
                return Err(error);
            }
            if let Err(reached) = self.meter.take(bytes_out) {
                let (error, name) = super::sockets::refused_write();
                self.gate.deny(entered, format!("limit {}", reached.limit), name);
                return Err(error);
            }
            let attempted = self.gate.attempt(entered, rule, bytes_out).await.map_err(StreamError::Trap)?;
            let result = self.write_socket_stream(rep, bytes).await;
            self.gate.finish(attempted, stream_outcome(&result));
            return result;
        }
        let is_body = self.http.is_body(rep);
        let result = match self.table.get_mut(stream) {
            Ok(body) if is_body => write_body(body, bytes).await,
            Ok(other) => other.blocking_write_and_flush(Bytes::from(bytes)).await,
            Err(error) => Err(error.into()),
        };
        self.gate.leave(entered, Decision::Allowed(rule), stream_outcome(&result), 0, bytes_out);
        self.settle_exchanges();
        result
    }

    async fn recorded_splice(
        &mut self,
        function: &'static HostFunction,
        to: &Resource<DynOutputStream>,
        from: &Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> StreamResult<u64> {
        let names = [self.stream_names(from.rep()).0, self.stream_names(to.rep()).0];
        let [from_name, to_name] = names.each_ref().map(|name| name.as_deref().unwrap_or("a stream"));
        let subject = Arc::from(format!("{from_name} to {to_name}"));
        let entered = self.gate.enter(function, Some(subject)).await.map_err(StreamError::Trap)?;
        let read = self.read_stream(from, length.min(WRITE_BYTES_MAX as u64), blocking).await;
        match read {
            Ok(bytes) => {
                let count = bytes.len() as u64;
                self.write_stream(entered, to, bytes).await.map(|()| count)
            }
            Err(error) => {
                let result = Err(error);
                self.gate.leave(entered, HARMLESS, stream_outcome(&result), 0, 0);
                result
            }
        }
    }

    async fn stream_subscription<T>(
        &mut self,
        function: &'static HostFunction,
        stream: Resource<T>,
    ) -> wasmtime::Result<Resource<DynPollable>>
    where
        T: Pollable,
    {
        self.harmless(function, |state| {
            state.gate.count_resource()?;
            subscribe(&mut state.table, stream)
        })
        .await
    }
}

/// An error of an answer's body as `http-error-code` reads it.
fn with_code(error: StreamError) -> StreamError {
    match error {
        StreamError::LastOperationFailed(error) => {
            let code = error.downcast_ref::<wasmtime_wasi_http::Error>().map(super::http::code);
            StreamError::LastOperationFailed(code.map_or(error, Into::into))
        }
        StreamError::Closed | StreamError::Trap(_) => error,
    }
}

/// Hands bytes to the request that a body belongs to. Whoever wrote the last of them need not find it
/// still open: the request may have been answered meanwhile.
async fn write_body(body: &mut DynOutputStream, bytes: Vec<u8>) -> StreamResult<()> {
    let mut left = Bytes::from(bytes);
    while !left.is_empty() {
        let room = body.write_ready().await?;
        body.write(left.split_to(left.len().min(room)))?;
    }
    Ok(())
}

fn stream_outcome<T>(result: &StreamResult<T>) -> HostCallOutcome {
    match result {
        Ok(_) => HostCallOutcome::Ok,
        Err(StreamError::Closed) => HostCallOutcome::Error(Cow::Borrowed("closed")),
        Err(StreamError::LastOperationFailed(error)) => {
            HostCallOutcome::Error(Cow::Owned(crate::text::clean(&error.to_string(), 200)))
        }
        Err(StreamError::Trap(error)) => trapped(error),
    }
}

/// The zeroes to be written, at most one more than allowed: [`CallState::recorded_write`] refuses that.
fn zeroes(length: u64, max: usize) -> Vec<u8> {
    vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(max + 1)]
}

impl streams::Host for CallState {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) => {
                Ok(streams::StreamError::LastOperationFailed(self.push(error)?))
            }
            StreamError::Trap(error) => Err(error),
        }
    }
}

impl streams::HostInputStream for CallState {
    async fn read(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        self.recorded_read(stream::READ, &stream, length, false).await
    }

    async fn blocking_read(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<Vec<u8>> {
        self.recorded_read(stream::BLOCKING_READ, &stream, length, true).await
    }

    async fn skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        Ok(self.recorded_read(stream::SKIP, &stream, length, false).await?.len() as u64)
    }

    async fn blocking_skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        Ok(self.recorded_read(stream::BLOCKING_SKIP, &stream, length, true).await?.len() as u64)
    }

    async fn subscribe(
        &mut self,
        stream: Resource<DynInputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.stream_subscription(stream::SUBSCRIBE_INPUT, stream).await
    }

    async fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.filesystem.drop_stream(stream.rep());
        self.http.forget(stream.rep());
        self.sockets.drop_stream(stream.rep());
        self.delete(stream).map(drop)
    }
}

impl streams::HostOutputStream for CallState {
    async fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        let (subject, rule) = self.stream_names(stream.rep());
        let entered = self.gate.enter(stream::CHECK_WRITE, subject).await.map_err(StreamError::Trap)?;
        let result = match (self.filesystem.stream(stream.rep()), self.sockets.stream(stream.rep())) {
            (Some(_), _) => Ok(WRITE_BYTES_MAX as u64),
            (None, Some(connection)) => connection.check_write(WRITE_BYTES_MAX as u64),
            (None, None) => match self.table.get_mut(&stream) {
                Ok(other) => other.check_write().map(|permit| permit as u64),
                Err(error) => Err(error.into()),
            },
        };
        self.gate.leave(entered, Decision::Allowed(rule), stream_outcome(&result), 0, 0);
        result
    }

    async fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.recorded_write(stream::WRITE, &stream, bytes, WRITE_BYTES_MAX).await
    }

    async fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.recorded_write(stream::BLOCKING_WRITE_AND_FLUSH, &stream, bytes, FLUSHED_WRITE_BYTES_MAX).await
    }

    async fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.recorded_flush(stream::FLUSH, &stream).await
    }

    async fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.recorded_flush(stream::BLOCKING_FLUSH, &stream).await
    }

    async fn subscribe(
        &mut self,
        stream: Resource<DynOutputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.stream_subscription(stream::SUBSCRIBE_OUTPUT, stream).await
    }

    async fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        let bytes = zeroes(length, WRITE_BYTES_MAX);
        self.recorded_write(stream::WRITE_ZEROES, &stream, bytes, WRITE_BYTES_MAX).await
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        length: u64,
    ) -> StreamResult<()> {
        let bytes = zeroes(length, FLUSHED_WRITE_BYTES_MAX);
        self.recorded_write(stream::BLOCKING_WRITE_ZEROES_AND_FLUSH, &stream, bytes, FLUSHED_WRITE_BYTES_MAX)
            .await
    }

    async fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.recorded_splice(stream::SPLICE, &to, &from, length, false).await
    }

    async fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.recorded_splice(stream::BLOCKING_SPLICE, &to, &from, length, true).await
    }

    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.filesystem.drop_stream(stream.rep());
        self.http.forget(stream.rep());
        self.sockets.drop_stream(stream.rep());
        self.delete(stream).map(drop)
    }
}

impl CallState {
    /// A file's writes are done when their host calls return, so there is nothing to flush.
    async fn recorded_flush(
        &mut self,
        function: &'static HostFunction,
        stream: &Resource<DynOutputStream>,
    ) -> StreamResult<()> {
        let (subject, rule) = self.stream_names(stream.rep());
        let entered = self.gate.enter(function, subject).await.map_err(StreamError::Trap)?;
        let is_body = self.http.is_body(stream.rep());
        let result = match self.table.get_mut(stream) {
            // What was written is with the request.
            Ok(_) if is_body => Ok(()),
            Ok(other) => other.flush(),
            Err(error) => Err(error.into()),
        };
        self.gate.leave(entered, Decision::Allowed(rule), stream_outcome(&result), 0, 0);
        result
    }
}

/// What stands in the resource table for a stream over a file: always ready, and never performed
/// by wasmtime.
pub(crate) struct FileStreamHandle;

const THROUGH_THE_GATE: &str = "a stream over a file is read and written by the gate";

#[async_trait]
impl Pollable for FileStreamHandle {
    async fn ready(&mut self) {}
}

impl InputStream for FileStreamHandle {
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        Err(StreamError::trap(THROUGH_THE_GATE))
    }
}

impl OutputStream for FileStreamHandle {
    fn write(&mut self, _: Bytes) -> StreamResult<()> {
        Err(StreamError::trap(THROUGH_THE_GATE))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}
