//! One automaton over the needles of all secrets of a call, and where a scan is in it.
//!
//! The automaton knows the beginning of each needle; what a long needle has beyond that is compared byte
//! by byte (Knuth, Morris, Pratt), so that the automaton stays small and no byte is looked at twice.

use std::collections::HashMap;

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, MatchKind};

use super::encodings::{Encoding, Needle};

/// The most bytes of a needle that the automaton knows. More than the beginning that all keys of a kind
/// have in common (a PEM header, the head of a token).
pub(super) const ANCHOR_BYTES_MAX: usize = 256;

/// What is looked for, and whose it is.
struct Pattern {
    secret: usize,
    encoding: Encoding,
    needle: Needle,
    /// For each number of matched bytes, the longest true border of them; empty for a short needle.
    borders: Vec<u32>,
}

/// All that is looked for in one way.
pub(super) struct Matcher {
    automaton: contiguous::NFA,
    start: StateID,
    patterns: Vec<Pattern>,
    /// How many bytes of a needle a state has seen, and of which; of the start, none.
    depths: HashMap<StateID, (usize, usize)>,
}

/// Where a scan is.
#[derive(Clone)]
pub(super) struct Position {
    state: StateID,
    /// The long needles that are being followed beyond what the automaton knows.
    following: Vec<Following>,
}

#[derive(Clone)]
struct Following {
    pattern: usize,
    /// Bytes of the needle that were seen.
    matched: usize,
    /// Where the scanned text began to be the needle, as the caller counts.
    start: u64,
    /// Bytes read since then.
    length: u64,
}

/// A needle, or its beginning, ends with the byte just read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) secret: usize,
    pub(super) encoding: Encoding,
    /// Where it began, as the caller counts.
    pub(super) start: u64,
    /// Bytes read since then.
    pub(super) length: u64,
}

impl Matcher {
    /// # Errors
    /// If there are more needles than an automaton can hold, which no call's secrets have.
    pub(super) fn new(needles: Vec<(usize, Encoding, Needle)>) -> Result<Self, aho_corasick::BuildError> {
        let anchors = needles.iter().map(|(_, _, needle)| anchor(needle));
        let automaton =
            contiguous::Builder::new().match_kind(MatchKind::Standard).prefilter(false).build(anchors)?;
        let start = automaton.start_state(Anchored::No).expect("unanchored searches are always built");
        let mut depths = HashMap::new();
        for (pattern, (_, _, needle)) in needles.iter().enumerate() {
            let mut state = start;
            for (index, byte) in anchor(needle).iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                depths.insert(state, (index + 1, pattern));
            }
        }
        let pattern = |(secret, encoding, needle): (usize, Encoding, Needle)| {
            let borders = if needle.len() > ANCHOR_BYTES_MAX { borders(&needle) } else { Vec::new() };
            Pattern { secret, encoding, needle, borders }
        };
        Ok(Self { automaton, start, patterns: needles.into_iter().map(pattern).collect(), depths })
    }

    pub(super) fn begin(&self) -> Position {
        Position { state: self.start, following: Vec::new() }
    }

    /// How many of the bytes just read may be the beginning of a needle.
    pub(super) fn undecided(&self, position: &Position) -> usize {
        self.depths.get(&position.state).map_or(0, |(depth, _)| *depth)
    }

    /// The needle that the bytes just read may be the beginning of: the longest.
    pub(super) fn begun(&self, position: &Position) -> Option<(usize, usize, Encoding)> {
        let (depth, pattern) = *self.depths.get(&position.state)?;
        let Pattern { secret, encoding, .. } = self.patterns[pattern];
        Some((depth, secret, encoding))
    }

    /// Reads a byte, and tells of what ends with it. `start_of` says where the byte so many back began.
    pub(super) fn step(
        &self,
        position: &mut Position,
        byte: u8,
        start_of: impl Fn(usize) -> u64,
        mut tell: impl FnMut(Hit),
    ) {
        position.following.retain_mut(|following| {
            let pattern = &self.patterns[following.pattern];
            if !pattern.follow(&mut following.matched, byte) {
                return false;
            }
            following.length += 1;
            let Following { start, length, .. } = *following;
            let Pattern { secret, encoding, .. } = *pattern;
            tell(Hit { secret, encoding, start, length });
            true
        });
        position.state = self.automaton.next_state(Anchored::No, position.state, byte);
        if !self.automaton.is_special(position.state) || !self.automaton.is_match(position.state) {
            return;
        }
        for index in 0..self.automaton.match_len(position.state) {
            let found = self.automaton.match_pattern(position.state, index).as_usize();
            let pattern = &self.patterns[found];
            let length = anchor(&pattern.needle).len();
            let (start, bytes) = (start_of(length), length as u64);
            let Pattern { secret, encoding, .. } = *pattern;
            tell(Hit { secret, encoding, start, length: bytes });
            let is_followed = position.following.iter().any(|following| following.pattern == found);
            // One that is followed already began earlier, and follows this one as well.
            if !pattern.borders.is_empty() && !is_followed {
                let following = Following { pattern: found, matched: length, start, length: bytes };
                position.following.push(following);
            }
        }
    }
}

impl Pattern {
    /// Goes on by a byte; false where no match that the automaton has seen goes on.
    fn follow(&self, matched: &mut usize, byte: u8) -> bool {
        while *matched >= ANCHOR_BYTES_MAX {
            if self.needle.get(*matched) == Some(&byte) {
                *matched += 1;
                return true;
            }
            *matched = usize::try_from(self.borders[*matched]).unwrap_or(0);
        }
        false
    }
}

fn anchor(needle: &[u8]) -> &[u8] {
    &needle[..needle.len().min(ANCHOR_BYTES_MAX)]
}

/// For each number of bytes from the beginning, how many of its last ones are its first ones again.
fn borders(needle: &[u8]) -> Vec<u32> {
    let mut borders = vec![0_u32; needle.len() + 1];
    let mut border = 0_usize;
    for end in 1..needle.len() {
        while border > 0 && needle[end] != needle[border] {
            border = usize::try_from(borders[border]).unwrap_or(0);
        }
        if needle[end] == needle[border] {
            border += 1;
        }
        borders[end + 1] = u32::try_from(border).unwrap_or(0);
    }
    borders
}
