//! Why nothing was sent, or nothing came back: one closed enum.

use std::time::Duration;

use super::address::RefusedAddress;

/// What a deadline was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking up a name.
    Lookup,
    /// Connecting to an address.
    Connect,
    /// The handshake of TLS, and of HTTP/2.
    Handshake,
}

impl Phase {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Lookup => "the lookup of the name",
            Phase::Connect => "the connection",
            Phase::Handshake => "the TLS handshake",
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
}
