//! A network of the tests' own: names that are answered as a test says, and peers on loopback.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis::egress::{Resolver, Resolving};

/// A resolver that knows some names, and notes what it is asked.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The answers of each name, in turn. The last is given for ever.
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
    /// What all other names are answered; none exists unless said.
    others: Option<IpAddr>,
}

impl Names {
    /// Every name is this machine, unless another answer is said.
    pub(crate) fn of_this_machine() -> Self {
        Self { others: Some(Ipv4Addr::LOCALHOST.into()), ..Self::default() }
    }

    /// Says what a name is answered: now, the next time, and so on.
    pub(crate) fn answer(&self, name: &str, answers: &[&[&str]]) {
        let addresses =
            |texts: &&[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
        let mut known = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), answers.iter().map(addresses).collect());
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        let mut known = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match known.get_mut(name) {
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers.first().cloned().unwrap_or_default()),
            None => self.others.map(|other| vec![other]).ok_or_else(|| std::io::Error::other("no such name")),
        };
        Box::pin(async { answer })
    }
}

/// A peer on loopback that greets who connects, and says again what it hears, by TCP and by UDP at the
/// same port. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) port: u16,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    connections: AtomicU64,
    /// Connections whose end the peer has seen.
    ended: AtomicU64,
    datagrams: AtomicU64,
}

/// What a peer does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It says what it hears.
    Echo,
    /// It says nothing, and waits for the end.
    Silent,
    /// It hears nothing for a moment, and then all, and says how much it was.
    Slow,
}

impl Peer {
    pub(crate) fn new(manner: Manner) -> Self {
        let (listener, socket, port) = (0..20).find_map(|_| both_at_one_port()).expect("a port for both");
        let heard = Arc::new(Heard::default());
        let of_tcp = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_tcp.connections.fetch_add(1, Ordering::SeqCst);
                let heard = Arc::clone(&of_tcp);
                std::thread::spawn(move || {
                    // A peer that goes away is the end like any other.
                    let _ = serve(stream, manner);
                    heard.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        let of_udp = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = [0; 70_000];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                of_udp.datagrams.fetch_add(1, Ordering::SeqCst);
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
        Self { port, heard }
    }

    pub(crate) fn address(&self) -> String {
        SocketAddr::from(([127, 0, 0, 1], self.port)).to_string()
    }

    /// The address of loopback whose second and third number are the port.
    pub(crate) fn port_as_address(&self) -> String {
        let [high, low] = self.port.to_be_bytes();
        IpAddr::from([127, high, low, 1]).to_string()
    }

    pub(crate) fn connections(&self) -> u64 {
        self.heard.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn ended(&self) -> u64 {
        self.heard.ended.load(Ordering::SeqCst)
    }

    pub(crate) fn datagrams(&self) -> u64 {
        self.heard.datagrams.load(Ordering::SeqCst)
    }
}

/// Waits until something is so, at most some seconds.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about that {what}");
}

fn both_at_one_port() -> Option<(TcpListener, UdpSocket, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let port = listener.local_addr().ok()?.port();
    Some((listener, UdpSocket::bind(("127.0.0.1", port)).ok()?, port))
}

fn serve(mut stream: std::net::TcpStream, manner: Manner) -> std::io::Result<()> {
    match manner {
        Manner::Echo => {
            stream.write_all(b"hello ")?;
            let mut buffer = [0; 4_096];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    length => stream.write_all(&buffer[..length])?,
                }
            }
        }
        Manner::Silent => stream.read_to_end(&mut Vec::new()).map(drop),
        Manner::Slow => {
            std::thread::sleep(Duration::from_millis(500));
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            write!(stream, "{} bytes", all.len())
        }
    }
}
