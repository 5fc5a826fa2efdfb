//! What is said of serving: where agents and programs reach the host, and the keys that let them in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use jiff::{SpanRelativeTo, Timestamp};

use super::admin::role;
use crate::ids::{KeyPrefix, PrincipalId};
use crate::policy::Role;

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ServeArguments {
    /// Where agents and programs reach it: IP:PORT, or `none`. May be given several times. Port 0 takes any that
    /// is free; `serving.json` in the data folder says which. Default: 127.0.0.1:7878
    #[arg(long, value_name = "ADDR")]
    pub(in crate::cli) listen: Vec<Listen>,
    /// The certificate and what signed it, PEM. Read again when it is replaced
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(in crate::cli) tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS: whoever is on the way sees keys, arguments and answers
    #[arg(long)]
    pub(in crate::cli) insecure_listen: bool,
    /// How many requests of one agent are taken a minute, all its keys together. Default: any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) requests_per_minute: Option<u32>,
    /// A name by which it may be asked for, beside addresses and `localhost`. May be given several times
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) allowed_host: Vec<String>,
    /// An origin whose pages may ask, such as https://console.example.org. May be given several times
    #[arg(long, value_name = "ORIGIN")]
    pub(in crate::cli) allowed_origin: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Write `serve.toml` into the data folder: each setting of `serve`, explained, with its default
    ///
    /// Limits are set in `limits.toml`, how the log is kept in `audit.toml`.
    #[command(after_help = "Example:\n  portcullis config init")]
    Init {
        /// Replace it if it is there
        #[arg(long)]
        force: bool,
    },
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Listen {
    /// Only the owner's socket.
    None,
    /// An address of this machine.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "none" {
            return Ok(Listen::None);
        }
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(Listen::At((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Listen::At).map_err(|_| "write IP:PORT, [IPv6]:PORT, localhost:PORT or none")
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ApiKeyCommand {
    /// Make a key; this is the only time that it is shown
    ///
    /// An agent need not be added before; an author, admin or auditor must (`principal add NAME --role ROLE`).
    #[command(after_help = "\
Examples:
  portcullis key create researcher --expires 90d
  portcullis key create ann --role auditor --expires 2027-06-30T00:00:00Z")]
    Create {
        /// Who will call with it
        principal: PrincipalId,
        /// As what: that which the principal is
        #[arg(long, value_parser = role())]
        role: Option<Role>,
        /// When it ends: a time (RFC 3339), or from now on (90d, 12h). Default: when it is revoked
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// List all keys by their public beginnings: whose, as what, since when, until when, last used
    List,
    /// Make a key in the place of another, which ends at once
    #[command(after_help = "Example:\n  portcullis key rotate pcl_0123456789ab --expires 90d")]
    Rotate {
        /// Its public beginning: `key list` shows it
        key: KeyPrefix,
        /// When the new one ends. Default: when it is revoked
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// End a key at once, and the calls that were begun with it
    Revoke {
        /// Its public beginning: `key list` shows it
        key: KeyPrefix,
    },
}

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Expiry {
    /// Then.
    At(Timestamp),
    /// So long after it was made.
    After(jiff::SignedDuration),
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Expiry::At(at));
        }
        let span: Result<jiff::Span, _> = text.parse();
        let days = SpanRelativeTo::days_are_24_hours();
        let length = span.and_then(|span| span.to_duration(days)).ok().filter(|length| length.is_positive());
        length.map(Expiry::After).ok_or_else(|| {
            "write a time, such as 2027-06-30T00:00:00Z, or a length, such as 90d or 12h".to_owned()
        })
    }
}

impl Expiry {
    /// As a moment.
    pub(in crate::cli) fn moment(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Expiry::At(at) => Some(at),
            Expiry::After(length) => now.checked_add(length).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_or_a_length() {
        let now: Timestamp = "2027-01-01T00:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("90d", "2027-04-01T00:00:00Z"),
            ("12h", "2027-01-01T12:00:00Z"),
            ("2w", "2027-01-15T00:00:00Z"),
            ("2027-06-30T00:00:00Z", "2027-06-30T00:00:00Z"),
            ("2027-06-30T02:00:00+02:00", "2027-06-30T00:00:00Z"),
        ] {
            let moment = text.parse::<Expiry>().ok().and_then(|expiry| expiry.moment(now));
            assert_eq!(moment, Some(expected.parse().expect("a time")), "{text}");
        }
        for text in ["", "90", "-1d", "0s", "tomorrow", "2027-06-30", "1mo", "1y"] {
            assert!(text.parse::<Expiry>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_one_of_this_machine_or_none() {
        assert_eq!("none".parse(), Ok(Listen::None));
        assert_eq!("localhost:80".parse(), Ok(Listen::At(([127, 0, 0, 1], 80).into())));
        assert_eq!("[::1]:0".parse(), Ok(Listen::At((std::net::Ipv6Addr::LOCALHOST, 0).into())));
        for bad in ["", "7878", ":7878", "example.org:80", "127.0.0.1", "127.0.0.1:65536"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
