//! Tries that let nobody in: how many an address may make, and what is said of them in the log.
//!
//! Both tables are bounded, whatever comes from wherever.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::{Refusal, Refused};
use crate::ids::{IssuerName, KeyPrefix};

/// How many tries an address may make within [`WINDOW`] before it is told to wait.
pub(super) const TRIES_MAX: u32 = 20;
/// How long tries are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// How many addresses are counted apart; the others share one count.
const PEERS_MAX: usize = 4_096;
/// How many kinds of tries a record each is written of, each time; the others are folded by their reason.
const KINDS_MAX: usize = 16;

/// Tries of one kind that no record was written of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriesEntry {
    /// Why nobody was let in.
    pub reason: Refused,
    /// From where; `None`: from several addresses.
    pub peer: Option<IpAddr>,
    /// With which key, if it is known.
    pub key: Option<KeyPrefix>,
    /// Of which issuer, if it is known.
    pub issuer: Option<IssuerName>,
    /// How many.
    pub tries: u64,
}

/// From where, why, and with what.
type Kind = (Option<IpAddr>, Refused, Option<KeyPrefix>, Option<IssuerName>);

/// What was tried.
#[derive(Debug, Default)]
pub struct Tries {
    /// By the address that is counted; `None`: all others.
    counted: BTreeMap<Option<IpAddr>, Count>,
    unrecorded: BTreeMap<Kind, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    tries: u32,
}

impl Tries {
    /// Notes a try. If its address made too many, how long it must wait.
    pub fn note(&mut self, peer: IpAddr, refusal: &Refusal, now: Instant) -> Option<Duration> {
        self.keep(peer, refusal);
        let who = self.who(peer, now);
        let count = self.counted.entry(who).or_insert(Count { since: now, tries: 0 });
        if now.saturating_duration_since(count.since) >= WINDOW {
            *count = Count { since: now, tries: 0 };
        }
        count.tries = count.tries.saturating_add(1);
        let over = count.tries > TRIES_MAX;
        over.then(|| WINDOW.saturating_sub(now.saturating_duration_since(count.since)))
    }

    /// What is to be recorded since the last time.
    pub fn take(&mut self) -> Vec<TriesEntry> {
        let taken = std::mem::take(&mut self.unrecorded).into_iter();
        let entry = |((peer, reason, key, issuer), tries)| TriesEntry { reason, peer, key, issuer, tries };
        taken.map(entry).collect()
    }

    fn keep(&mut self, peer: IpAddr, refusal: &Refusal) {
        let kind = (Some(peer), refusal.reason, refusal.key.clone(), refusal.issuer.clone());
        let is_room = self.unrecorded.len() < KINDS_MAX || self.unrecorded.contains_key(&kind);
        let kind = if is_room { kind } else { (None, refusal.reason, None, None) };
        *self.unrecorded.entry(kind).or_default() += 1;
    }

    /// What the address is counted as.
    fn who(&mut self, peer: IpAddr, now: Instant) -> Option<IpAddr> {
        let who = Some(network_of(peer));
        if self.counted.contains_key(&who) {
            return who;
        }
        if self.counted.len() >= PEERS_MAX {
            self.counted.retain(|_, count| now.saturating_duration_since(count.since) < WINDOW);
        }
        if self.counted.len() < PEERS_MAX { who } else { None }
    }
}

/// Who has one address of IPv6 has 2^64 of them.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}
