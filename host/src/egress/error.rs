//! Why nothing was sent, or nothing came back: one closed enum.

use std::time::Duration;

use super::address::RefusedAddress;
use super::connect::RootsError;
use super::message::RequestFault;
use crate::limits::LimitReached;

/// What a deadline was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking up a name.
    Lookup,
    /// Connecting to an address.
    Connect,
    /// The handshake of TLS, and of HTTP/2.
    Handshake,
    /// Waiting for the head of the answer.
    FirstByte,
    /// Waiting for more of the answer's body.
    BetweenBytes,
    /// The exchange as a whole.
    Exchange,
}

impl Phase {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Lookup => "the lookup of the name",
            Phase::Connect => "the connection",
            Phase::Handshake => "the handshake",
            Phase::FirstByte => "the head of the answer",
            Phase::BetweenBytes => "the next part of the answer",
            Phase::Exchange => "the exchange as a whole",
        }
    }
}

/// Why nothing was sent, or nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The name has no address, or the resolver failed.
    #[error("the name can't be looked up: {0}")]
    Lookup(std::io::Error),
    /// The name has more addresses than are judged: none is used.
    #[error("the name has more than {} addresses", super::ADDRESSES_MAX)]
    TooManyAddresses,
    /// One of the name's addresses, or the address that was asked for, may not be connected to. One is
    /// enough to refuse all: whoever mixes them wants the next answer to be taken unseen.
    #[error(transparent)]
    Address(#[from] RefusedAddress),
    /// No address took the connection.
    #[error("the connection was refused or failed: {0}")]
    Connect(std::io::Error),
    /// The peer's certificate is not one for this name by these roots.
    #[error("the peer's certificate was refused: {0}")]
    Certificate(rustls::CertificateError),
    /// TLS failed in another way.
    #[error("TLS failed: {0}")]
    Tls(std::io::Error),
    /// Something took too long.
    #[error("{} took longer than {} ms", .phase.name(), .after.as_millis())]
    TimedOut {
        /// What.
        phase: Phase,
        /// The deadline.
        after: Duration,
    },
    /// There are no roots to check a certificate by.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The request must not be sent as it is.
    #[error(transparent)]
    Request(#[from] RequestFault),
    /// The request's body broke off, or was never finished.
    #[error("the body of the request broke off: {0}")]
    RequestBody(String),
    /// A bound on bytes.
    #[error("{0}")]
    Limit(LimitReached),
    /// The head of the answer, or its trailers, are larger than is taken.
    #[error("the head of the answer has more than 100 fields or 64 KiB")]
    HeadTooLarge,
    /// Where the answer ends could be read in two ways, or it is none at all.
    #[error("the answer is malformed: {0}")]
    Framing(&'static str),
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer did")]
    Incomplete,
    /// The answer must not be given to whoever asked.
    #[error("the answer was refused: {0}")]
    Refused(String),
    /// The peer broke the protocol in another way.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}
