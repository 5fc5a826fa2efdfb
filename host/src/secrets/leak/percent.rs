//! Decodes `%XX` as bytes come, each decoded byte with the place where it began (RFC 3986, 2.1).

use std::collections::VecDeque;

use super::matcher::ANCHOR_BYTES_MAX;

/// Decodes a stream. What is no escape stands for itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Percent {
    /// An escape that has begun: its place and the digits read.
    escape: Option<(u64, Vec<u8>)>,
    /// Where the last decoded bytes began: as many as a needle's beginning has.
    starts: VecDeque<u64>,
}

/// A decoded byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) byte: u8,
    pub(super) start: u64,
    /// Behind its last byte.
    pub(super) end: u64,
}

impl Percent {
    /// Reads the byte at `at`. At most three bytes come of it: an escape that turned out to be none.
    pub(super) fn read(&mut self, byte: u8, at: u64) -> impl Iterator<Item = Decoded> + use<> {
        let mut decoded: [Option<Decoded>; 3] = [None; 3];
        let literal = |byte, start| Some(Decoded { byte, start, end: start + 1 });
        match self.escape.take() {
            None if byte == b'%' => self.escape = Some((at, Vec::new())),
            None => decoded[0] = literal(byte, at),
            Some((start, digits)) => match (digits.first().copied(), digit(byte)) {
                (None, Some(_)) => self.escape = Some((start, vec![byte])),
                (Some(high), Some(low)) => {
                    let byte = digit(high).unwrap_or(0) << 4 | low;
                    decoded[0] = Some(Decoded { byte, start, end: at + 1 });
                }
                (high, None) => {
                    decoded[0] = literal(b'%', start);
                    decoded[1] = high.and_then(|high| literal(high, start + 1));
                    if byte == b'%' {
                        self.escape = Some((at, Vec::new()));
                    } else {
                        decoded[2] = literal(byte, at);
                    }
                }
            },
        }
        decoded.into_iter().flatten()
    }

    /// What an escape that the end has cut stands for.
    pub(super) fn end(&mut self) -> impl Iterator<Item = Decoded> + use<> {
        let rest = self.escape.take().map(|(start, digits)| {
            let all = std::iter::once(b'%').chain(digits);
            (start..).zip(all).map(|(start, byte)| Decoded { byte, start, end: start + 1 })
        });
        rest.into_iter().flatten()
    }

    /// Notes where a decoded byte began.
    pub(super) fn note(&mut self, start: u64) {
        if self.starts.len() == ANCHOR_BYTES_MAX {
            self.starts.pop_front();
        }
        self.starts.push_back(start);
    }

    /// Where the decoded byte so many back began.
    pub(super) fn start_of(&self, back: usize) -> u64 {
        let index = self.starts.len().saturating_sub(back);
        self.starts.get(index).copied().unwrap_or(u64::MAX)
    }

    /// Where the escape that has begun did so.
    pub(super) fn escape_start(&self) -> Option<u64> {
        self.escape.as_ref().map(|(start, _)| *start)
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Vec<(char, u64)> {
        let mut percent = Percent::default();
        let mut all: Vec<Decoded> = Vec::new();
        for (at, byte) in (0..).zip(text.bytes()) {
            all.extend(percent.read(byte, at));
        }
        all.extend(percent.end());
        all.into_iter().map(|decoded| (char::from(decoded.byte), decoded.start)).collect()
    }

    #[test]
    fn decodes_escapes_and_leaves_what_is_none() {
        assert_eq!(decoded("a%41%6a"), [('a', 0), ('A', 1), ('j', 4)]);
        assert_eq!(decoded("%%41%4"), [('%', 0), ('A', 1), ('%', 4), ('4', 5)]);
        assert_eq!(decoded("%4g%"), [('%', 0), ('4', 1), ('g', 2), ('%', 3)]);
        assert_eq!(decoded("%4%42"), [('%', 0), ('4', 1), ('B', 2)]);
        assert_eq!(decoded("%2541"), [('%', 0), ('4', 3), ('1', 4)], "decoded once");
    }
}
