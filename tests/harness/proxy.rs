//! A proxy on loopback that brings a key: for clients that can't be told to send one.
//!
//! It adds a header to each request, and has each connection carry one, so that none is without it. All else passes as
//! it comes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Where a proxy listens that sends requests on to `port` with this key. It ends with the tests' process.
pub(crate) fn with_key(port: u16, key: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = listener.local_addr().expect("it listens").port();
    let key = key.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let key = key.clone();
            // A client that goes away ends its own connection only.
            std::thread::spawn(move || drop(pass(client, port, &key)));
        }
    });
    own
}

fn pass(mut client: TcpStream, port: u16, key: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 4096];
        match client.read(&mut piece)? {
            read if read > 0 && bytes.len() < HEAD_BYTES_MAX => bytes.extend_from_slice(&piece[..read]),
            _ => return Ok(()),
        }
    };
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let kept = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head = kept.collect::<Vec<_>>().join("\r\n");
    server.write_all(
        format!("{head}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    server.write_all(&bytes[end + 4..])?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        // A client that closes its stream takes its request back.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}
