//! A client of the host's HTTP API on a real socket, which sends what it is told, byte for byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::described;

/// No answer takes longer.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// Where to, and with which key.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) port: u16,
    pub(crate) key: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, key: None }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("set");
        stream.set_write_timeout(Some(ANSWER_TIME_MAX)).expect("set");
        stream
    }

    /// A request's head, with more lines, each with its line end.
    pub(crate) fn head(&self, method: &str, target: &str, more: &str) -> String {
        let key = self.key.as_ref().map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let host = if more.to_ascii_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
        format!("{method} {target} HTTP/1.1\r\n{host}{key}connection: close\r\n{more}\r\n")
    }

    /// Sends a head and as much of a body as is given, and reads the answer to its end.
    /// Each answer is held against the description of the API.
    #[track_caller]
    pub(crate) fn exchange(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        // A server that refused the head may not take it any more.
        let _ = stream.write_all(body);
        let answer = Answer::read(stream);
        let mut words = head.split(' ');
        if let (Some(method), Some(target)) = (words.next(), words.next()) {
            described::hold(method, target, &answer);
        }
        answer
    }

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let head = self.head(method, target, &format!("content-length: {}\r\n", body.len()));
        self.exchange(&head, body)
    }

    /// The same with more lines in the head, each with its line end.
    #[track_caller]
    pub(crate) fn ask_with(&self, method: &str, target: &str, more: &str, body: &[u8]) -> Answer {
        let head = self.head(method, target, &format!("content-length: {}\r\n{more}", body.len()));
        self.exchange(&head, body)
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, b"")
    }
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        if let Err(error) = stream.read_to_end(&mut bytes) {
            assert!(!bytes.is_empty(), "no answer: {error}");
        }
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is ASCII").to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = bytes[end + 4..].to_vec();
        let is_chunked = head.contains("\r\ntransfer-encoding: chunked");
        Self { status, body: if is_chunked { dechunked(&body) } else { body }, head }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The status, and the last part of the problem's type.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        let document = self.json();
        assert_eq!(document["status"], self.status, "{document}");
        let kind = document["type"].as_str().expect("a type");
        (self.status, kind.rsplit(':').next().unwrap_or_default().to_owned())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let size = size.expect("the size of a chunk");
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
    whole
}
