//! Servers of HTTP on loopback, most of which misbehave.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How a server answers each request.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// With the request's own head and body.
    Echo,
    /// With these bytes, and closes if told so.
    Says(Vec<u8>, Closes),
    /// With each of these once, one after the other, and then no more.
    Script(Arc<Mutex<VecDeque<Vec<u8>>>>),
    /// With a head, and a byte every 20 ms for ever.
    Drips,
    /// With 100 GB, as fast as they are taken.
    Endless,
    /// Not at all.
    Silent,
    /// With a head, and no body.
    Stops,
    /// Not at all: it takes the head, and the rest only once it is told to go on.
    Pauses(Arc<Notify>),
}

/// Whether a connection ends with its first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closes {
    Yes,
    No,
}

/// A server. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Requests that came, heads and bodies.
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    /// Connections that the other side closed.
    closed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, connections, closed): (Arc<Mutex<_>>, Arc<AtomicUsize>, Arc<AtomicUsize>) =
            Default::default();
        let (all, count, ended) = (Arc::clone(&seen), Arc::clone(&connections), Arc::clone(&closed));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (manner, all, ended) = (manner.clone(), Arc::clone(&all), Arc::clone(&ended));
                tokio::spawn(async move {
                    serve(stream, manner, all).await;
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, seen, connections, closed, task }
    }

    /// With this answer, head and body.
    pub(crate) async fn says(answer: impl Into<Vec<u8>>) -> Self {
        Self::start(Manner::Says(answer.into(), Closes::No)).await
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The requests that came so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }

    /// Waits until so many connections are over.
    pub(crate) async fn wait_closed(&self, count: usize) {
        let closed = async {
            while self.closed.load(Ordering::Relaxed) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("connections are closed");
    }
}

/// Reads one request: its head, and its body by length or in chunks. What broke off is marked.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let head = head(stream).await?;
    let body = body(stream, &head).await;
    Some(head + &body)
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&read).into_owned())
}

async fn body(stream: &mut TcpStream, head: &str) -> String {
    let mut stream = BufReader::new(stream);
    let lower = head.to_ascii_lowercase();
    let length =
        lower.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let broke_off = if lower.contains("transfer-encoding: chunked") {
        while !body.ends_with(b"0\r\n\r\n") && body.len() < 64 << 20 {
            match stream.read_u8().await {
                Ok(byte) => body.push(byte),
                Err(_) => break,
            }
        }
        !body.ends_with(b"0\r\n\r\n")
    } else {
        stream.read_exact(&mut body).await.is_err()
    };
    let mark = if broke_off { "[broke off]" } else { "" };
    format!("{}{mark}", String::from_utf8_lossy(&body))
}

async fn serve(mut stream: TcpStream, manner: Manner, seen: Arc<Mutex<Vec<String>>>) {
    if let Manner::Pauses(goes_on) = &manner {
        let Some(head) = head(&mut stream).await else { return };
        seen.lock().expect("no panic").push(head.clone());
        goes_on.notified().await;
        let body = body(&mut stream, &head).await;
        seen.lock().expect("no panic").push(body);
        return;
    }
    while let Some(request) = request(&mut stream).await {
        seen.lock().expect("no panic").push(request.clone());
        match &manner {
            Manner::Echo => {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            Manner::Says(answer, closes) => {
                let _ = stream.write_all(answer).await;
                if *closes == Closes::Yes {
                    return;
                }
            }
            Manner::Script(answers) => {
                let next = answers.lock().expect("no panic").pop_front();
                let Some(next) = next else { return };
                let _ = stream.write_all(&next).await;
            }
            Manner::Drips => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
                while stream.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Manner::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n").await;
                let part = vec![b'a'; 64 << 10];
                while stream.write_all(&part).await.is_ok() {}
            }
            Manner::Silent | Manner::Pauses(_) => {}
            Manner::Stops => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
            }
        }
    }
}
