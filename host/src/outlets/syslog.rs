//! Syslog: messages of RFC 5424, octet counting of RFC 6587, over TCP or TLS (RFC 5425).
//!
//! Syslog acknowledges nothing. So each batch has a connection of its own, whose end says that it was taken: we
//! close our side in good order, and the server, having read all, closes its own. A connection that breaks before is no
//! acknowledgement, and the batch is sent again.

use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Surroundings;
use super::ocsf::Translated;
use super::web::{granted, roots};
use crate::audit::Peer;
use crate::egress::{Resolver, Roots, Tls, UrlHost, connect, resolve_judged};

/// The longest for each step to the connection.
const STEP_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest that a batch may take to be read and acknowledged.
const BATCH_TIME_MAX: Duration = Duration::from_secs(60);
/// Log audit (RFC 5424, 6.2.1).
const FACILITY: u8 = 13;

/// A server.
#[derive(Debug)]
pub(super) struct Syslog {
    host: UrlHost,
    port: u16,
    granted: Vec<IpNet>,
    resolver: Arc<dyn Resolver>,
    /// Of a server that is reached over TLS.
    roots: Option<Roots>,
    hostname: String,
}

impl Syslog {
    pub(super) fn new(
        host: UrlHost,
        port: u16,
        tls: bool,
        peer: &Peer,
        surroundings: &Surroundings,
    ) -> Result<Self, String> {
        let granted = granted(&host, peer);
        let roots = tls.then(|| roots(peer, surroundings)).transpose()?;
        let resolver = Arc::clone(&surroundings.resolver);
        Ok(Self { host, port, granted, resolver, roots, hostname: hostname() })
    }

    /// Sends a batch, and waits until it is taken.
    pub(super) async fn send(&self, batch: &[Translated]) -> Result<(), String> {
        let text = |error: crate::egress::EgressError| error.to_string();
        let judged =
            resolve_judged(&self.host, self.port, &self.granted, &*self.resolver, STEP_TIME_MAX).await;
        let stream = connect(&judged.map_err(text)?, STEP_TIME_MAX).await.map_err(text)?;
        let mut frames = Vec::new();
        for event in batch {
            let message = message(event, &self.hostname);
            frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
            frames.extend_from_slice(message.as_bytes());
        }
        let sent = async {
            match &self.roots {
                None => deliver(stream, &frames).await,
                Some(roots) => {
                    let tls = Tls::new(roots).map_err(|error| error.to_string())?;
                    let stream = tls.handshake(&self.host, stream, STEP_TIME_MAX).await.map_err(text)?;
                    deliver(stream, &frames).await
                }
            }
        };
        let late = |_| format!("the server did not take it within {} s", BATCH_TIME_MAX.as_secs());
        timeout(BATCH_TIME_MAX, sent).await.map_err(late)?
    }
}

async fn deliver<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, frames: &[u8]) -> Result<(), String> {
    let broke = |error: std::io::Error| format!("the connection broke: {error}");
    stream.write_all(frames).await.map_err(broke)?;
    stream.shutdown().await.map_err(broke)?;
    // A server of syslog says nothing; what it says all the same is not looked at, and bounded.
    let mut ignored = [0; 1024];
    for _ in 0..64 {
        if stream.read(&mut ignored).await.map_err(broke)? == 0 {
            return Ok(());
        }
    }
    Err("the server talks, which one of syslog does not".to_owned())
}

/// A message without its frame.
pub(super) fn message(event: &Translated, hostname: &str) -> String {
    let severity = match event.severity_id {
        0..=1 => 6,
        2 => 5,
        3 => 4,
        _ => 3,
    };
    let mut message = String::with_capacity(event.json.len() + 128);
    let time = event.time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    let priority = FACILITY * 8 + severity;
    write!(message, "<{priority}>1 {time} {hostname} portcullis {} {} - ", std::process::id(), event.event)
        .expect("a String takes all");
    message.push_str(&event.json);
    message
}

/// The machine's name, or the nil value, as RFC 5424 has it.
fn hostname() -> String {
    let mut name = String::new();
    let read = std::fs::File::open("/proc/sys/kernel/hostname")
        .and_then(|file| file.take(255).read_to_string(&mut name));
    let name = name.trim();
    if read.is_err() || name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return "-".to_owned();
    }
    name.to_owned()
}
