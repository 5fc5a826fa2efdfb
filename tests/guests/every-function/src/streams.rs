//! `wasi:io`: stdin and stdout, which every guest has; and the same on the file of the granted folder, and
//! on a connection.

use crate::Driver;
use crate::answers::{NoHandle, Outcome, fallible, plain, silent};
use crate::bindings::wasi::cli::stdin::get_stdin;
use crate::bindings::wasi::cli::stdout::get_stdout;
use crate::bindings::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::bindings::wasi::http::types::{Fields, OutgoingRequest};
use crate::bindings::wasi::io::error::Error;
use crate::bindings::wasi::io::poll::poll;
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::files::{file_input, file_output};
use crate::sockets::{from_peer, to_peer, within_peer};

/// An error of a stream that needs no grant: of a body that is longer than it said it would be.
pub(crate) fn http_error() -> Result<Error, NoHandle> {
    let none = |what: &str| NoHandle(format!("no {what}"));
    let length = [("content-length".to_owned(), b"1".to_vec())];
    let headers = Fields::from_list(&length).map_err(|_| none("headers"))?;
    let request = OutgoingRequest::new(headers);
    let body = request.body().map_err(|()| none("body"))?;
    let stream = body.write().map_err(|()| none("stream"))?;
    match stream.blocking_write_and_flush(b"longer") {
        Err(StreamError::LastOperationFailed(error)) => Ok(error),
        other => Err(none(&format!("error, but {other:?}"))),
    }
}

fn from_file(call: impl FnOnce(&InputStream) -> Outcome) -> Outcome {
    let (stream, _file) = file_input()?;
    call(&stream)
}

fn to_file(call: impl FnOnce(&OutputStream) -> Outcome) -> Outcome {
    let (stream, _file) = file_output()?;
    call(&stream)
}

/// From the file to itself.
fn within_file(call: impl FnOnce(&OutputStream, &InputStream) -> Outcome) -> Outcome {
    let (from, _read) = file_input()?;
    let (to, _written) = file_output()?;
    call(&to, &from)
}

/// Three drivers for each function: one on stdin or stdout, one on the file, one on a connection.
macro_rules! drivers {
    (
        read { $($read:literal: |$input:ident| $call:expr;)* }
        write { $($write:literal: |$output:ident| $out_call:expr;)* }
        both { $($both:literal: |$to:ident, $from:ident| $both_call:expr;)* }
        $($name:literal: $plain:expr;)*
    ) => {
        pub(crate) const DRIVERS: &[Driver] = &[
            $(
                (concat!("wasi:io/streams#[method]input-stream.", $read), || {
                    let $input = get_stdin();
                    $call
                }),
                (concat!("wasi:io/streams#[method]input-stream.", $read, " file"), || from_file(|$input| $call)),
                (concat!("wasi:io/streams#[method]input-stream.", $read, " socket"), || from_peer(|$input| $call)),
            )*
            $(
                (concat!("wasi:io/streams#[method]output-stream.", $write), || {
                    let $output = get_stdout();
                    $out_call
                }),
                (concat!("wasi:io/streams#[method]output-stream.", $write, " file"), || to_file(|$output| $out_call)),
                (concat!("wasi:io/streams#[method]output-stream.", $write, " socket"), || to_peer(|$output| $out_call)),
            )*
            $(
                (concat!("wasi:io/streams#[method]output-stream.", $both), || {
                    let ($to, from) = (get_stdout(), get_stdin());
                    let $from = &from;
                    $both_call
                }),
                (concat!("wasi:io/streams#[method]output-stream.", $both, " file"), || {
                    within_file(|$to, $from| $both_call)
                }),
                (concat!("wasi:io/streams#[method]output-stream.", $both, " socket"), || {
                    within_peer(|$to, $from| $both_call)
                }),
            )*
            $((concat!("wasi:io/", $name), || $plain),)*
        ];
    };
}

drivers! {
    read {
        "read": |input| fallible(input.read(5));
        "blocking-read": |input| fallible(input.blocking_read(5));
        "skip": |input| fallible(input.skip(5));
        "blocking-skip": |input| fallible(input.blocking_skip(5));
        "subscribe": |input| plain(input.subscribe());
    }
    write {
        "check-write": |output| fallible(output.check_write());
        "write": |output| fallible(output.write(b"text"));
        "blocking-write-and-flush": |output| fallible(output.blocking_write_and_flush(b"text"));
        "flush": |output| fallible(output.flush());
        "blocking-flush": |output| fallible(output.blocking_flush());
        "subscribe": |output| plain(output.subscribe());
        "write-zeroes": |output| fallible(output.write_zeroes(3));
        "blocking-write-zeroes-and-flush": |output| fallible(output.blocking_write_zeroes_and_flush(3));
    }
    both {
        "splice": |to, from| fallible(to.splice(from, 5));
        "blocking-splice": |to, from| fallible(to.blocking_splice(from, 5));
    }
    "error#[method]error.to-debug-string": plain(http_error()?.to_debug_string());
    "poll#poll": plain(poll(&[&subscribe_duration(0)]));
    "poll#[method]pollable.ready": plain(subscribe_duration(0).ready());
    "poll#[method]pollable.block": silent(|| subscribe_duration(0).block());
}
