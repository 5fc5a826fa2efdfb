//! A backup as a stream: written on a thread of its own, as fast as it is read.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::http::Api;
use super::problem::Problem;
use crate::authn::Caller;
use crate::backup;

/// How much is sent at once, and how many such pieces may wait for a reader.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 16;

/// The longest that a reader may take for a piece: one that takes longer gets no more.
const PIECE_TIME_MAX: Duration = Duration::from_secs(60);

/// The header that says about how many bytes will come.
pub const BYTES_HEADER: &str = "portcullis-bytes";

/// Takes a backup, and sends it. One that breaks off ends the connection, not the stream.
pub(super) async fn backup(api: &Api, caller: &Caller) -> Result<Response, Problem> {
    let taken = api.host.backup(caller.principal()).await?;
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let head = [
        (header::CONTENT_TYPE.as_str(), "application/x-tar".to_owned()),
        (BYTES_HEADER, taken.source.bytes.to_string()),
    ];
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces { sender: sender.clone(), runtime: runtime.clone(), piece: Vec::new() };
        if let Err(error) = backup::write(&taken.source, pieces) {
            tracing::warn!(%error, "a backup was not written to its end");
            // If nobody reads any more, nobody needs to know.
            let _ = runtime.block_on(sender.send_timeout(Err(io::Error::other(error)), PIECE_TIME_MAX));
        }
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok((head, Body::from_stream(stream)).into_response())
}

/// Sends what is written in pieces, and waits when too many are on their way.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = Ok(Bytes::from(std::mem::take(&mut self.piece)));
        let sent = self.runtime.block_on(self.sender.send_timeout(piece, PIECE_TIME_MAX));
        sent.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error.to_string()))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.send() }
    }
}
