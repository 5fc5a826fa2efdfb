//! What a secret looks like where it was encoded: the byte strings that the scanner looks for.
//!
//! Percent-encoding is not here: any byte may be encoded or not, so the scanner decodes what it reads.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// In which form a secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Exact,
    /// Base64, standard or URL-safe, at any of its three offsets.
    Base64,
    /// Hexadecimal, in digits of either case.
    Hex,
    /// As a JSON string has it.
    Json,
    /// Percent-encoded, all of it or some, or form-encoded.
    Percent,
}

impl Encoding {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Exact => "exact",
            Encoding::Base64 => "base64",
            Encoding::Hex => "hex",
            Encoding::Json => "json",
            Encoding::Percent => "percent",
        }
    }
}

/// A byte string that is looked for.
pub(super) type Needle = Zeroizing<Vec<u8>>;

/// What is looked for byte by byte; each once.
pub(super) fn exact(secret: &[u8]) -> Vec<(Encoding, Needle)> {
    let mut needles = vec![(Encoding::Exact, Zeroizing::new(secret.to_vec()))];
    let mut add = |encoding, bytes: Vec<u8>| {
        let needle = Zeroizing::new(bytes);
        if !needles.iter().any(|(_, known)| *known == needle) {
            needles.push((encoding, needle));
        }
    };
    if let Ok(text) = std::str::from_utf8(secret) {
        for ascii_only in [false, true] {
            let escaped = json_escaped(text, ascii_only);
            add(Encoding::Json, escaped.replace('/', "\\/").into_bytes());
            add(Encoding::Json, escaped.into_bytes());
        }
    }
    if secret.contains(&b' ') {
        // What is reserved beside the spaces is percent-encoded, and so decoded by the scanner.
        let plus = |byte: &u8| if *byte == b' ' { b'+' } else { *byte };
        add(Encoding::Percent, secret.iter().map(plus).collect());
    }
    for offset in 0..3 {
        add(Encoding::Base64, base64_core(secret, offset, &STANDARD_NO_PAD));
        add(Encoding::Base64, base64_core(secret, offset, &URL_SAFE_NO_PAD));
    }
    needles
}

/// What is looked for without regard to the case of letters, in lower case.
pub(super) fn folded(secret: &[u8]) -> Vec<(Encoding, Needle)> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
    vec![(Encoding::Hex, Zeroizing::new(secret.iter().flat_map(digits).collect()))]
}

/// The characters of a base64 text that depend on nothing but the secret, where it begins at a byte
/// whose place leaves this rest when divided by three.
fn base64_core(secret: &[u8], offset: usize, engine: &impl base64::Engine) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0; offset]);
    padded.extend_from_slice(secret);
    let text = Zeroizing::new(engine.encode(&*padded));
    let (first, end) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    text.as_bytes()[first..end].to_vec()
}

/// The inside of a JSON string; what is not ASCII stands as it is or, as some writers do, escaped.
fn json_escaped(text: &str, ascii_only: bool) -> String {
    let quoted = serde_json::to_string(text).expect("a string always serialises");
    let inside = &quoted[1..quoted.len() - 1];
    if !ascii_only {
        return inside.to_owned();
    }
    let mut escaped = String::with_capacity(inside.len());
    for character in inside.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn the_core_of_base64_is_what_no_neighbour_changes() {
        let secret = b"\xfb\xff\xfe?>~secret";
        for offset in 0..3 {
            let core = base64_core(secret, offset, &STANDARD_NO_PAD);
            for (before, after) in [(0x00, 0x00), (0xff, 0xff), (0x5a, 0x33)] {
                let mut text = vec![before; 3 + offset];
                text.extend_from_slice(secret);
                text.extend_from_slice(&[after; 2]);
                let encoded = STANDARD_NO_PAD.encode(&text);
                let found = encoded.as_bytes().windows(core.len()).any(|window| window == core);
                assert!(found, "offset {offset} between {before:#x} and {after:#x}");
            }
            assert!(core.len() * 6 > (secret.len() - 2) * 8, "no more than a character is lost at each end");
        }
    }

    #[test]
    fn json_has_the_forms_that_writers_have() {
        let text = "a\"b\\c/d\né\u{1f511}";
        assert_eq!(json_escaped(text, false), "a\\\"b\\\\c/d\\né\u{1f511}");
        assert_eq!(json_escaped(text, true), "a\\\"b\\\\c/d\\n\\u00e9\\ud83d\\udd11");
    }
}
