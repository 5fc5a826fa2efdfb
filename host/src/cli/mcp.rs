//! `portcullis mcp`: passes on what an MCP client writes to stdin, and prints what comes back.
//!
//! With `--server`, to and from a host in the network, as the agent whose key it is given. Understands none of it. Only
//! the host's messages are written to stdout; a tool's own output never is.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, header};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::client::{Client, Lines};
use super::commands::Query;
use super::failure::Failure;
use crate::api::Body;
use crate::ids::PrincipalId;

/// Bytes that are read from stdin at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait, on each way.
const PIECES_MAX: usize = 4;
/// A line of so many bytes at most, its end included, is taken whole by a pipe that has room: `PIPE_BUF` of Linux
/// (pipe(7)).
const SHORT_BYTES: usize = 4_096;

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
    let printer = Printer::start()?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(query.target())
        .header(header::HOST, "localhost")
        .body(stdin()?)
        .map_err(|error| Failure::host(format!("the request can't be made: {error}")))?;
    let lines = client.lines(request).await?;
    // On a thread that polls what makes the answers, and not on this one, which would be woken for each of them. Ended
    // with this.
    let mut talking = JoinSet::new();
    talking.spawn(print_all(lines, printer));
    match talking.join_next().await {
        Some(Ok(ended)) => ended,
        Some(Err(error)) => Err(Failure::host(format!("what prints the answers ended: {error}"))),
        None => Ok(()),
    }
}

/// Prints what the host answers, until it ends or nobody reads.
async fn print_all(mut lines: Lines, mut printer: Printer) -> Result<(), Failure> {
    let printed = loop {
        let line = tokio::select! {
            line = lines.next(None) => line?,
            () = printer.lines.closed() => None,
        };
        let Some(line) = line else { break printer.finish().await };
        match printer.print(line).await {
            Ok(true) => {}
            Ok(false) => break printer.finish().await,
            Err(error) => break Err(error),
        }
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::host(format!("stdout can't be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
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

/// Prints lines to stdout: at once where that can't block, else on a thread of its own, so that a client that does not
/// read makes that one wait, and nobody else.
struct Printer {
    lines: mpsc::Sender<Bytes>,
    /// Lines that the thread has and that are not written yet.
    waiting: Arc<AtomicUsize>,
    printed: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    fn start() -> Result<Self, Failure> {
        let (sender, mut lines) = mpsc::channel::<Bytes>(PIECES_MAX);
        let (done, printed) = oneshot::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let print = move || {
            let mut write = || {
                while let Some(line) = lines.blocking_recv() {
                    write_line(line)?;
                    left.fetch_sub(1, Ordering::Release);
                }
                Ok(())
            };
            let written = write();
            // Whoever waited may be gone.
            let _ = done.send(written);
        };
        start("stdout", print)?;
        Ok(Self { lines: sender, waiting, printed })
    }

    /// Prints a line, after those before it. False if nobody takes any more.
    async fn print(&mut self, line: Bytes) -> io::Result<bool> {
        if line.len() < SHORT_BYTES && self.waiting.load(Ordering::Acquire) == 0 && has_room() {
            return write_line(line).map(|()| true);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(self.lines.send(line).await.is_ok())
    }

    /// Waits until all is written.
    async fn finish(self) -> io::Result<()> {
        drop(self.lines);
        self.printed.await.unwrap_or(Ok(()))
    }
}

/// Whether stdout takes [`SHORT_BYTES`] now.
fn has_room() -> bool {
    let stdout = io::stdout();
    let mut ready = [PollFd::new(&stdout, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Of a client that is gone the write tells.
    poll(&mut ready, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// In one write, so that the client is not woken for a part.
fn write_line(line: Bytes) -> io::Result<()> {
    let mut line = Vec::from(line);
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|error| Failure::host(format!("a thread can't be started: {error}")))
}
