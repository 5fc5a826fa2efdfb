//! What goes through the compiler's pipes: a component with its length in, one answer with its length out.
//!
//! Each side knows the end by the length, so that a pipe that breaks is never taken for a short message.

use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};

use wasmtime::Engine;

use super::{ARTIFACT_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::limits::Limit;

/// Before everything that the compiler says.
const MAGIC: [u8; 4] = *b"PCC1";
const LENGTH_BYTES: usize = size_of::<u64>();
/// Magic, kind, fingerprint, memory, length.
const HEADER_BYTES: usize = MAGIC.len() + 1 + FINGERPRINT_BYTES + 2 * LENGTH_BYTES;
const FINGERPRINT_BYTES: usize = 32;

/// The most bytes that a compiler may say.
pub(super) const ANSWER_BYTES_MAX: u64 = HEADER_BYTES as u64 + ARTIFACT_BYTES_MAX;

/// Version and settings of an engine, as far as they matter to compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Fingerprint(pub(in crate::sandbox) [u8; FINGERPRINT_BYTES]);

/// What the compiler answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// The compiled component.
    Artifact(&'a [u8]),
    /// The component is not valid, and why.
    Invalid(&'a [u8]),
    /// There was no more memory.
    OutOfMemory,
    /// The compiler could not begin.
    Fault(&'a [u8]),
}

impl Fingerprint {
    /// That of an engine.
    pub(in crate::sandbox) fn of(engine: &Engine) -> Self {
        let mut collected = Collected(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut collected);
        env!("CARGO_PKG_VERSION").hash(&mut collected);
        Self(*collected.0.finalize().as_bytes())
    }
}

/// Collects what wasmtime says of its settings.
struct Collected(blake3::Hasher);

impl Hasher for Collected {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(low)
    }
}

/// What stands before a component.
pub(super) fn component_header(component: &[u8]) -> [u8; LENGTH_BYTES] {
    (component.len() as u64).to_le_bytes()
}

/// Reads a component.
///
/// # Errors
/// If the pipe breaks, or it is longer than any may be.
pub(super) fn read_component(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH_BYTES];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > Limit::ComponentBytes.row().ceiling {
        return Err(io::Error::other(format!("{length} bytes are more than a component can have")));
    }
    let mut component = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact(&mut component)?;
    Ok(component)
}

/// Writes an answer.
///
/// # Errors
/// If the pipe breaks.
pub(super) fn write(
    mut to: impl Write,
    fingerprint: Fingerprint,
    memory_peak: u64,
    answer: &Answer<'_>,
) -> io::Result<()> {
    let (kind, bytes) = match answer {
        Answer::Artifact(code) => (0, *code),
        Answer::Invalid(reason) => (1, &reason[..reason.len().min(MESSAGE_BYTES_MAX)]),
        Answer::OutOfMemory => (2, &[][..]),
        Answer::Fault(reason) => (3, &reason[..reason.len().min(MESSAGE_BYTES_MAX)]),
    };
    to.write_all(&MAGIC)?;
    to.write_all(&[kind])?;
    to.write_all(&fingerprint.0)?;
    to.write_all(&memory_peak.to_le_bytes())?;
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// The answer in all that a compiler said: fingerprint, the most memory it held, the answer. None if it is
/// not one whole answer and nothing else.
pub(super) fn read(said: &[u8]) -> Option<(Fingerprint, u64, Answer<'_>)> {
    let rest = said.strip_prefix(&MAGIC)?;
    let ([kind], rest) = rest.split_first_chunk()?;
    let (fingerprint, rest) = rest.split_first_chunk()?;
    let (memory_peak, rest) = rest.split_first_chunk()?;
    let (length, bytes) = rest.split_first_chunk()?;
    if u64::from_le_bytes(*length) != bytes.len() as u64 {
        return None;
    }
    let short = bytes.len() <= MESSAGE_BYTES_MAX;
    let answer = match kind {
        0 => Answer::Artifact(bytes),
        1 if short => Answer::Invalid(bytes),
        2 if bytes.is_empty() => Answer::OutOfMemory,
        3 if short => Answer::Fault(bytes),
        _ => return None,
    };
    Some((Fingerprint(*fingerprint), u64::from_le_bytes(*memory_peak), answer))
}
