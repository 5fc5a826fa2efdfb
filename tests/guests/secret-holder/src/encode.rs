//! Texts in other forms, each written here by hand: the host's own encoders must not test themselves.

use crate::bindings::exports::test::secret_holder::holder::Form;

pub(crate) fn encode(form: Form, bytes: &[u8]) -> String {
    match form {
        Form::Exact => String::from_utf8_lossy(bytes).into_owned(),
        Form::Base64 => base64(bytes, b'+', b'/'),
        Form::Base64Url => base64(bytes, b'-', b'_'),
        Form::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Form::HexUpper => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        Form::Percent => bytes.iter().map(|byte| format!("%{byte:02X}")).collect(),
        Form::Json => String::from_utf8_lossy(bytes).replace('\\', "\\\\").replace('"', "\\\""),
    }
}

fn base64(bytes: &[u8], last_but_one: u8, last: u8) -> String {
    let digit = |bits: u32| match u8::try_from(bits & 63).unwrap_or(0) {
        bits @ 0..=25 => b'A' + bits,
        bits @ 26..=51 => b'a' + bits - 26,
        bits @ 52..=61 => b'0' + bits - 52,
        62 => last_but_one,
        _ => last,
    };
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let is_padding = place > chunk.len();
            text.push(if is_padding { '=' } else { char::from(digit(bits >> (18 - 6 * place))) });
        }
    }
    text
}
