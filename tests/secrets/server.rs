//! A server on loopback that keeps what it was sent, and answers what the test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest that a peer may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Its first line.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// What a server sends back: pieces, each written by itself.
pub(crate) type Pieces = Vec<Vec<u8>>;

pub(crate) struct Server {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// A server whose thread ends with the test's process.
    pub(crate) fn start(answer: impl Fn(&Received) -> Pieces + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Some(request) = read(&mut stream) else { continue };
                let pieces = answer(&request);
                kept.lock().expect("not poisoned").push(request);
                for piece in pieces {
                    if stream.write_all(&piece).and_then(|()| stream.flush()).is_err() {
                        break;
                    }
                    // So that each piece is a part of its own.
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Self { port, received }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// A whole answer with a body whose end is that of the connection, cut into pieces.
pub(crate) fn ok(headers: &str, body: &[u8], piece_bytes: usize) -> Pieces {
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n");
    let mut pieces = vec![head.into_bytes()];
    pieces.extend(body.chunks(piece_bytes).map(<[u8]>::to_vec));
    pieces
}

/// A whole request; none if the peer broke off.
fn read(stream: &mut TcpStream) -> Option<Received> {
    stream.set_read_timeout(Some(SILENCE_MAX)).ok()?;
    let mut all = Vec::new();
    let mut more = |all: &mut Vec<u8>| {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).ok().filter(|length| *length > 0)?;
        all.extend_from_slice(&part[..length]);
        Some(())
    };
    let end = loop {
        if let Some(at) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(&mut all)?;
    };
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let target = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = all.split_off(end + 4);
    let of = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    if let Some(length) = of("content-length").and_then(|length| length.parse::<usize>().ok()) {
        while body.len() < length {
            more(&mut body)?;
        }
    } else if of("transfer-encoding").is_some() {
        while !body.ends_with(b"0\r\n\r\n") {
            more(&mut body)?;
        }
    }
    Some(Received { target, headers, body })
}
