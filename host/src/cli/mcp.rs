//! `portcullis mcp`: passes on what an MCP client writes to stdin, and prints what comes back.
//!
//! With `--server`, to and from a host in the network, as the agent whose key it is given. Understands none of it. Only the host's messages are written to stdout; a tool's own output never is.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::thread;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, header};
use tokio::sync::{mpsc, oneshot};

use super::client::Client;
use super::commands::Query;
use super::failure::Failure;
use crate::api::Body;
use crate::ids::PrincipalId;

/// Bytes that are read from stdin at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait, on each way.
const PIECES_MAX: usize = 4;

/// Talks until stdin ends and what was asked is answered, or until the client or the host goes away.
pub(super) async fn mcp(client: Client, agent: Option<PrincipalId>) -> Result<(), Failure> {
    let mut query = Query::new("/v1/mcp");
    match (&agent, &client) {
        (Some(agent), _) => query.push("as", agent.as_str()),
        // There the key says who it is.
        (None, Client::Remote(_)) => {}
        (None, Client::Local(_) | Client::Socket(_)) => {
            return Err(Failure::input("say which agent the client is, with --agent NAME"));
        }
    }
    let (print, printed) = printer()?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(query.target())
        .header(header::HOST, "localhost")
        .body(stdin()?)
        .map_err(|error| Failure::host(format!("the request can't be made: {error}")))?;
    let mut lines = client.lines(request).await?;
    loop {
        let line = tokio::select! {
            line = lines.next(None) => line?,
            () = print.closed() => None,
        };
        let Some(line) = line else { break };
        if print.send(line).await.is_err() {
            break;
        }
    }
    drop(print);
    match printed.await {
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::host(format!("stdout can't be written: {error}")))
        }
        Ok(Ok(()) | Err(_)) | Err(_) => Ok(()),
    }
}

/// What is read from stdin, by a thread that nobody waits for: a read can't be interrupted.
fn stdin() -> Result<Body, Failure> {
    let (sender, pieces) = mpsc::channel::<Bytes>(PIECES_MAX);
    let read = move || {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match io::stdin().read(&mut piece) {
                Ok(0) => return,
                Ok(bytes) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&piece[..bytes])).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "stdin can't be read on");
                    return;
                }
            }
        }
    };
    start("stdin", read)?;
    Ok(Body::from_stream(stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), pieces))
    })))
}

/// Prints lines to stdout, on a thread of its own: a client that does not read makes it wait, and nobody else.
fn printer() -> Result<(mpsc::Sender<Bytes>, oneshot::Receiver<io::Result<()>>), Failure> {
    let (sender, mut lines) = mpsc::channel::<Bytes>(PIECES_MAX);
    let (done, printed) = oneshot::channel();
    let print = move || {
        let mut stdout = io::stdout().lock();
        let mut write = || {
            while let Some(line) = lines.blocking_recv() {
                stdout.write_all(&line)?;
                stdout.write_all(b"\n")?;
                stdout.flush()?;
            }
            Ok(())
        };
        let written = write();
        // Whoever waited may be gone.
        let _ = done.send(written);
    };
    start("stdout", print)?;
    Ok((sender, printed))
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|error| Failure::host(format!("a thread can't be started: {error}")))
}
