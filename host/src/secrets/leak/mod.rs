//! Looks for secrets in what is about to leave, as it streams by, and redacts or refuses.
//!
//! Finds each secret exactly, in base64 (standard and URL-safe, at its three offsets), in hex of either
//! case, as a JSON string, percent-encoded in whole or in part, and these percent-encoded. Of a secret
//! whose encoding is longer than 256 bytes, the first 256 suffice. It is a net for accidents and for
//! servers that echo, not a wall: a tool that may see a secret and means to give it away can write it in a
//! form that nobody looks for (compressed, encrypted, reversed, in pieces, encoded twice otherwise).
//!
//! Takes time linear in the text and holds back at most what may be the beginning of a secret: 256 bytes,
//! 768 if each is percent-encoded.

mod encodings;
mod matcher;
mod percent;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub use encodings::Encoding;

use self::matcher::{ANCHOR_BYTES_MAX, Hit, Matcher, Position};
use self::percent::{Decoded, Percent};
use super::value::SecretValue;
use crate::ids::SecretName;
use crate::policy::rule::OnLeak;

/// A secret was found. Its value is not in here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// Which.
    pub secret: SecretName,
    /// In which form.
    pub encoding: Encoding,
    /// What its grant says to do.
    pub on_leak: OnLeak,
}

/// What is looked for: the secrets of one call. By default nothing.
#[derive(Default)]
pub struct Patterns {
    secrets: Vec<(SecretName, OnLeak)>,
    /// None if there is nothing to look for.
    matchers: Option<Arc<Matchers>>,
}

/// What is looked for byte by byte, and without regard to the case of letters.
struct Matchers {
    exact: Matcher,
    folded: Matcher,
}

impl std::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patterns").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// The secrets are too many to be looked for. The admin's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secrets of this call are too many to be looked for: {0}")]
pub struct TooManySecrets(String);

impl Patterns {
    /// Looks for these. Takes memory linear in their length.
    ///
    /// # Errors
    /// [`TooManySecrets`], of many thousands.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = (&'a SecretName, &'a SecretValue, OnLeak)>,
    ) -> Result<Self, TooManySecrets> {
        let (mut names, mut exact, mut folded) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (name, value, on_leak)) in secrets.into_iter().enumerate() {
            names.push((name.clone(), on_leak));
            let of_this = |(encoding, needle)| (index, encoding, needle);
            exact.extend(encodings::exact(value.expose()).into_iter().map(of_this));
            folded.extend(encodings::folded(value.expose()).into_iter().map(of_this));
        }
        let too_many = |error: aho_corasick::BuildError| TooManySecrets(error.to_string());
        if names.is_empty() {
            return Ok(Self::default());
        }
        let exact = Matcher::new(exact).map_err(too_many)?;
        let folded = Matcher::new(folded).map_err(too_many)?;
        Ok(Self { secrets: names, matchers: Some(Arc::new(Matchers { exact, folded })) })
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Reads a whole text, one that was cut or not: what may leave of it, and what was found; `None` if
    /// nothing was. Redacts whatever the grants say; whoever must refuse sees it by what was found.
    pub fn redact(self: &Arc<Self>, text: &[u8], ending: Ending) -> Option<(Vec<u8>, Vec<Leak>)> {
        if self.is_empty() || text.len() < super::SECRET_BYTES_MIN {
            return None;
        }
        let mut scanner = Scanner::new(Arc::clone(self), Reaction::Redact);
        let mut clean = scanner.scan(text).unwrap_or_default();
        if ending == Ending::Cut {
            scanner.cover_what_is_begun();
        }
        clean.extend(scanner.finish().unwrap_or_default());
        let leaks = scanner.take_leaks();
        if leaks.is_empty() { None } else { Some((clean, leaks)) }
    }

    /// The first secret that is in a text and not among these.
    pub fn find_but(self: &Arc<Self>, known: &[SecretName], text: &[u8]) -> Option<Leak> {
        if self.is_empty() {
            return None;
        }
        let mut scanner = Scanner::new(Arc::clone(self), Reaction::Refuse).but(known);
        scanner.scan(text).and_then(|_| scanner.finish()).err()
    }

    /// The first secret that is in a text.
    pub fn find(self: &Arc<Self>, text: &[u8]) -> Option<Leak> {
        self.find_but(&[], text)
    }
}

/// How a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it was written.
    Whole,
    /// Somewhere: the rest was cut, so that what may be the beginning of a secret counts as one, from
    /// [`SECRET_BYTES_MIN`](super::SECRET_BYTES_MIN) bytes on.
    Cut,
}

/// What a scanner does about a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Redacts it in any case.
    Redact,
    /// What the secret's grant says.
    AsGranted,
    /// Refuses it in any case.
    Refuse,
}

/// Reads one stream.
#[derive(Debug)]
pub struct Scanner {
    patterns: Arc<Patterns>,
    reaction: Reaction,
    /// Those that may be in the stream.
    known: Vec<usize>,
    /// None if there is nothing to look for.
    raw: Option<Lanes>,
    /// The same for what comes of percent-decoding; none before the first escape, up to which it is the
    /// same.
    decoded: Option<(Percent, Lanes)>,
    /// What is held back.
    pending: Vec<u8>,
    /// The place of the first pending byte in the stream.
    base: u64,
    /// What is a secret among it, in order, apart from each other.
    covers: VecDeque<Cover>,
    found: BTreeSet<(usize, Encoding)>,
    leaks: Vec<Leak>,
    refused: Option<Leak>,
}

/// Where the stream is in both automatons.
#[derive(Clone)]
struct Lanes {
    exact: Position,
    folded: Position,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

impl Matchers {
    fn begin(&self) -> Lanes {
        Lanes { exact: self.exact.begin(), folded: self.folded.begin() }
    }
}

impl Lanes {
    fn step(
        &mut self,
        matchers: &Matchers,
        byte: u8,
        start_of: impl Fn(usize) -> u64,
        mut tell: impl FnMut(Hit),
    ) {
        matchers.exact.step(&mut self.exact, byte, &start_of, &mut tell);
        matchers.folded.step(&mut self.folded, byte.to_ascii_lowercase(), &start_of, &mut tell);
    }
}

/// The decoder, as if it had read what was no escape.
fn seen_so_far(at: u64) -> Percent {
    let mut percent = Percent::default();
    (at.saturating_sub(ANCHOR_BYTES_MAX as u64)..at).for_each(|start| percent.note(start));
    percent
}

/// A piece of the stream that is a secret.
#[derive(Clone, Copy, Debug)]
struct Cover {
    start: u64,
    end: u64,
    secret: usize,
    /// Its mark was written: it began in what is gone already.
    is_marked: bool,
}

impl Scanner {
    /// A scanner at the beginning of a stream.
    pub fn new(patterns: Arc<Patterns>, reaction: Reaction) -> Self {
        let raw = patterns.matchers.as_deref().map(Matchers::begin);
        Self {
            patterns,
            reaction,
            known: Vec::new(),
            raw,
            decoded: None,
            pending: Vec::new(),
            base: 0,
            covers: VecDeque::new(),
            found: BTreeSet::new(),
            leaks: Vec::new(),
            refused: None,
        }
    }

    /// The same, that takes no notice of these.
    pub fn but(mut self, known: &[SecretName]) -> Self {
        let names = self.patterns.secrets.iter().enumerate();
        self.known = names.filter(|(_, (name, _))| known.contains(name)).map(|(index, _)| index).collect();
        self
    }

    /// Reads on, and gives what may leave by now.
    ///
    /// # Errors
    /// What was found of a secret whose leak is refused. Nothing of it was given, and nothing will be.
    pub fn scan(&mut self, chunk: &[u8]) -> Result<Vec<u8>, Leak> {
        if let Some(leak) = &self.refused {
            return Err(leak.clone());
        }
        let Some(matchers) = self.patterns.matchers.clone() else { return Ok(chunk.to_vec()) };
        let Some(mut raw) = self.raw.take() else { return Ok(chunk.to_vec()) };
        let mut decoded = self.decoded.take();
        self.pending.reserve(chunk.len());
        for byte in chunk {
            let at = self.base + self.pending.len() as u64;
            if decoded.is_none() && *byte == b'%' {
                decoded = Some((seen_so_far(at), raw.clone()));
            }
            self.pending.push(*byte);
            self.step_raw(&matchers, &mut raw, *byte, at);
            if let Some((percent, lanes)) = &mut decoded {
                for decoded in percent.read(*byte, at) {
                    self.step_decoded(&matchers, percent, lanes, decoded);
                }
            }
        }
        let undecided = self.undecided(&matchers, &raw, decoded.as_ref());
        (self.raw, self.decoded) = (Some(raw), decoded);
        self.release(undecided)
    }

    /// The rest, at the end of the stream.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn finish(&mut self) -> Result<Vec<u8>, Leak> {
        if let Some(leak) = &self.refused {
            return Err(leak.clone());
        }
        let end = self.base + self.pending.len() as u64;
        if let (Some((mut percent, mut lanes)), Some(matchers)) =
            (self.decoded.take(), self.patterns.matchers.clone())
        {
            for decoded in percent.end() {
                self.step_decoded(&matchers, &mut percent, &mut lanes, decoded);
            }
        }
        self.release(end)
    }

    /// What was found since this was asked last, each secret and form once.
    pub fn take_leaks(&mut self) -> Vec<Leak> {
        std::mem::take(&mut self.leaks)
    }

    fn step_raw(&mut self, matchers: &Matchers, lanes: &mut Lanes, byte: u8, at: u64) {
        let end = at + 1;
        lanes.step(
            matchers,
            byte,
            |back| end.saturating_sub(back as u64),
            |Hit { secret, encoding, start, .. }| {
                self.cover(secret, encoding, start, end);
            },
        );
    }

    fn step_decoded(
        &mut self,
        matchers: &Matchers,
        percent: &mut Percent,
        lanes: &mut Lanes,
        Decoded { byte, start, end }: Decoded,
    ) {
        percent.note(start);
        lanes.step(
            matchers,
            byte,
            |back| percent.start_of(back),
            |Hit { secret, encoding, start, length }| {
                // Without an escape in it, it is what the other lane finds.
                let is_encoded = end.saturating_sub(start) > length;
                let encoding = if is_encoded { Encoding::Percent } else { encoding };
                self.cover(secret, encoding, start, end);
            },
        );
    }

    /// Notes that this piece of the stream is a secret.
    fn cover(&mut self, secret: usize, encoding: Encoding, start: u64, end: u64) {
        if self.known.contains(&secret) {
            return;
        }
        if self.found.insert((secret, encoding)) {
            let (name, on_leak) = self.patterns.secrets[secret].clone();
            let leak = Leak { secret: name, encoding, on_leak };
            let is_refused = match self.reaction {
                Reaction::Redact => false,
                Reaction::AsGranted => on_leak == OnLeak::Refuse,
                Reaction::Refuse => true,
            };
            if is_refused && self.refused.is_none() {
                self.refused = Some(leak.clone());
            }
            self.leaks.push(leak);
        }
        // One that began before what is held back was marked when that went.
        let is_marked = start < self.base;
        let mut cover = Cover { start: start.max(self.base), end, secret, is_marked };
        while let Some(last) = self.covers.back().copied().filter(|last| last.end > cover.start) {
            self.covers.pop_back();
            let first = if last.start <= cover.start { last } else { cover };
            cover = Cover { start: first.start, end: last.end.max(cover.end), ..first };
            cover.is_marked |= last.is_marked;
        }
        self.covers.push_back(cover);
    }

    /// Takes for secrets what may be their beginning.
    fn cover_what_is_begun(&mut self) {
        let end = self.base + self.pending.len() as u64;
        let (Some(raw), Some(matchers)) = (&self.raw, &self.patterns.matchers) else { return };
        let begun =
            |lanes: &Lanes| [matchers.exact.begun(&lanes.exact), matchers.folded.begun(&lanes.folded)];
        let mut all: Vec<(u64, usize, Encoding)> = Vec::new();
        for (depth, secret, encoding) in begun(raw).into_iter().flatten() {
            all.push((end - depth as u64, secret, encoding));
        }
        if let Some((percent, lanes)) = &self.decoded {
            for (depth, secret, _) in begun(lanes).into_iter().flatten() {
                let start = percent.start_of(depth);
                if end.saturating_sub(start) > depth as u64 && depth >= super::SECRET_BYTES_MIN {
                    all.push((start, secret, Encoding::Percent));
                }
            }
        }
        for (start, secret, encoding) in all {
            if end.saturating_sub(start) >= super::SECRET_BYTES_MIN as u64 {
                self.cover(secret, encoding, start, end);
            }
        }
    }

    /// Where what is not decided yet begins.
    fn undecided(&self, matchers: &Matchers, raw: &Lanes, decoded: Option<&(Percent, Lanes)>) -> u64 {
        let end = self.base + self.pending.len() as u64;
        let depth = |lanes: &Lanes| {
            matchers.exact.undecided(&lanes.exact).max(matchers.folded.undecided(&lanes.folded))
        };
        let mut first = end - depth(raw) as u64;
        if let Some((percent, lanes)) = decoded {
            let depth = depth(lanes);
            if depth > 0 {
                first = first.min(percent.start_of(depth));
            }
            first = percent.escape_start().map_or(first, |start| first.min(start));
        }
        first.max(self.base)
    }

    /// Gives what lies before `end`, with a mark in the place of each secret.
    fn release(&mut self, end: u64) -> Result<Vec<u8>, Leak> {
        if let Some(leak) = &self.refused {
            self.pending = Vec::new();
            return Err(leak.clone());
        }
        let mut clean = Vec::new();
        let mut at = self.base;
        while let Some(cover) = self.covers.front().copied().filter(|cover| cover.start < end) {
            clean.extend_from_slice(self.pending_between(at, cover.start));
            if !cover.is_marked {
                clean.extend_from_slice(
                    format!("[secret {}]", self.patterns.secrets[cover.secret].0).as_bytes(),
                );
            }
            at = cover.end.min(end);
            self.covers.pop_front();
            if cover.end > end {
                self.covers.push_front(Cover { start: end, is_marked: true, ..cover });
                break;
            }
        }
        clean.extend_from_slice(self.pending_between(at, end));
        let gone = usize::try_from(end - self.base).unwrap_or(usize::MAX).min(self.pending.len());
        self.pending.drain(..gone);
        self.base = end;
        Ok(clean)
    }

    fn pending_between(&self, start: u64, end: u64) -> &[u8] {
        let index = |at: u64| {
            usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.pending.len())
        };
        &self.pending[index(start)..index(end.max(start))]
    }
}
