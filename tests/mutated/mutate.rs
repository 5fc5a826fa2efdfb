//! Damages a file at random: bits, bytes, ranges, whole sections, and parts of others.

use std::ops::Range;

use crate::harness::random::Random;

/// What a damaged file may grow to.
const BYTES_MAX: usize = 24 << 20;
/// Magic and version.
const PREAMBLE_BYTES: usize = 8;
/// Numbers that are often the edge of something, in LEB128.
const EDGES: [&[u8]; 7] = [
    &[0x00],
    &[0x7f],
    &[0x80, 0x80, 0x04],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

/// Damages `source` in one to three ways; some of them take parts of `other`.
pub(crate) fn mutate(source: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = source.to_vec();
    for _ in 0..=random.below(3) {
        once(&mut bytes, other, random);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn once(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    match random.below(16) {
        0 | 1 => {
            if let Some(byte) = place(bytes, random).and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 | 3 => {
            if let Some(byte) = place(bytes, random).and_then(|at| bytes.get_mut(at)) {
                *byte = *random.pick(&[0x00, 0x01, 0x7f, 0x80, 0xff, 0x0b, 0x40, 0x60]);
            }
        }
        4 => bytes.truncate(random.index(bytes.len() + 1)),
        5 => drop(bytes.drain(range(bytes.len(), random))),
        6 => {
            let part = bytes[range(bytes.len(), random)].to_vec();
            insert(bytes, part, random);
        }
        7 => {
            let count = 1 + random.index(16);
            let part = random.bytes(count);
            insert(bytes, part, random);
        }
        8 => insert(bytes, other[range(other.len(), random)].to_vec(), random),
        9 | 10 => {
            if let Some(at) = place(bytes, random) {
                let edge = *random.pick(&EDGES);
                let end = bytes.len().min(at + edge.len());
                bytes.splice(at..end, edge.iter().copied());
            }
        }
        11 => drop(section(bytes, random).map(|range| bytes.drain(range))),
        12 | 13 => {
            let (from, to) = (section(bytes, random), section(bytes, random));
            if let (Some(from), Some(to)) = (from, to) {
                let part = bytes[from].to_vec();
                bytes.splice(to.start..to.start, part);
            }
        }
        14 => swap_sections(bytes, random),
        _ => {
            let (from, to) = (section(other, random), section(bytes, random));
            if let (Some(from), Some(to)) = (from, to) {
                bytes.splice(to.start..to.start, other[from].iter().copied());
            }
        }
    }
}

/// A place anywhere, or one in a section that is chosen first: most sections are small, and say more.
fn place(bytes: &[u8], random: &mut Random) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    match section(bytes, random).filter(|_| random.below(4) > 0) {
        Some(section) => Some(section.start + random.index(section.len())),
        None => Some(random.index(bytes.len())),
    }
}

fn range(length: usize, random: &mut Random) -> Range<usize> {
    let start = random.index(length + 1);
    let most = if random.below(2) == 0 { 16 } else { length };
    start..(start + random.index(most + 1)).min(length)
}

fn insert(bytes: &mut Vec<u8>, part: Vec<u8>, random: &mut Random) {
    let at = random.index(bytes.len() + 1);
    bytes.splice(at..at, part);
}

fn swap_sections(bytes: &mut Vec<u8>, random: &mut Random) {
    let (Some(one), Some(other)) = (section(bytes, random), section(bytes, random)) else { return };
    let (first, second) = if one.start < other.start { (one, other) } else { (other, one) };
    if first.end > second.start {
        return;
    }
    let mut swapped = bytes[..first.start].to_vec();
    for part in [second.clone(), first.end..second.start, first, second.end..bytes.len()] {
        swapped.extend(&bytes[part]);
    }
    *bytes = swapped;
}

fn section(bytes: &[u8], random: &mut Random) -> Option<Range<usize>> {
    let sections = sections(bytes);
    (!sections.is_empty()).then(|| random.pick(&sections).clone())
}

/// The sections of the outermost level, as far as they can be told.
fn sections(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), PREAMBLE_BYTES);
    while let Some((length, header)) = bytes.get(at + 1..).and_then(leb128) {
        let end = at + 1 + header + length;
        if end > bytes.len() {
            break;
        }
        found.push(at..end);
        at = end;
    }
    found
}

/// A number and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::wat;

    #[test]
    fn sections_are_found_and_damage_is_the_same_each_time() {
        let (source, other) = (wat("clock"), wat("abi"));
        let sections = sections(&source);
        assert_eq!((sections[0].start, sections.last().map(|last| last.end)), (8, Some(source.len())));
        assert!(sections.windows(2).all(|pair| pair[0].end == pair[1].start));
        let all = |seed| -> Vec<Vec<u8>> {
            (0..300).map(|at| mutate(&source, &other, &mut Random::of_case(seed, at))).collect()
        };
        let damaged = all(1);
        assert!(damaged == all(1) && damaged != all(2));
        assert!(damaged.iter().filter(|bytes| **bytes != source).count() > 250);
        for odd in [&[][..], &b"\0asm"[..], &[0xff; 40][..]] {
            for at in 0..200 {
                mutate(odd, &other, &mut Random::of_case(3, at));
                mutate(&source, odd, &mut Random::of_case(4, at));
            }
        }
    }
}
