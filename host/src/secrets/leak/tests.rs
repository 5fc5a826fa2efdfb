//! The scanner against every encoding at every split, and against a simpler model.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

/// Bytes whose encodings differ in every way: `+` and `/` in base64, quotes, spaces, letters of both cases.
const SECRET: &[u8] = b"s3cr\"t /K?y>~\xc3\xbf+%4";

fn value(bytes: &[u8]) -> SecretValue {
    SecretValue::new(bytes.to_vec()).expect("within the bounds")
}

fn patterns(secrets: &[(&str, &[u8], OnLeak)]) -> Arc<Patterns> {
    let secrets: Vec<(SecretName, SecretValue, OnLeak)> = secrets
        .iter()
        .map(|(name, bytes, on_leak)| (name.parse().expect("a name"), value(bytes), *on_leak))
        .collect();
    let patterns = Patterns::new(secrets.iter().map(|(name, value, on_leak)| (name, value, *on_leak)));
    Arc::new(patterns.expect("few"))
}

fn redacting(secret: &[u8]) -> Arc<Patterns> {
    patterns(&[("k", secret, OnLeak::Redact)])
}

/// What leaves of chunks, and what was found.
fn scanned(patterns: &Arc<Patterns>, chunks: &[&[u8]]) -> (Vec<u8>, Vec<Leak>) {
    let mut scanner = Scanner::new(Arc::clone(patterns), Reaction::AsGranted);
    let mut clean = Vec::new();
    for chunk in chunks {
        clean.extend(scanner.scan(chunk).expect("redacted, not refused"));
    }
    clean.extend(scanner.finish().expect("redacted, not refused"));
    (clean, scanner.take_leaks())
}

fn percent(bytes: &[u8], keep: impl Fn(u8) -> bool, upper: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, byte) in bytes.iter().enumerate() {
        if keep(*byte) {
            text.push(*byte);
        } else if upper(index) {
            text.extend(format!("%{byte:02X}").bytes());
        } else {
            text.extend(format!("%{byte:02x}").bytes());
        }
    }
    text
}

/// A secret in each form that the scanner is to find, with what surrounds it where that matters.
fn forms(secret: &[u8]) -> Vec<(Encoding, Vec<u8>)> {
    let mut forms = vec![(Encoding::Exact, secret.to_vec())];
    for (before, after) in [("", ""), ("a", "bc"), ("ab", "c"), ("abc", ""), ("user:", ""), ("abcd", "\n")] {
        let text = [before.as_bytes(), secret, after.as_bytes()].concat();
        forms.push((Encoding::Base64, STANDARD.encode(&text).into_bytes()));
        forms.push((Encoding::Base64, URL_SAFE.encode(&text).into_bytes()));
        forms.push((
            Encoding::Percent,
            percent(STANDARD.encode(&text).as_bytes(), |b| b.is_ascii_alphabetic(), |_| true),
        ));
    }
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mixed = hex.char_indices().map(|(at, c)| if at % 3 == 0 { c.to_ascii_uppercase() } else { c });
    forms.push((Encoding::Hex, mixed.collect::<String>().into_bytes()));
    forms.push((Encoding::Hex, hex.to_uppercase().into_bytes()));
    forms.push((Encoding::Hex, hex.into_bytes()));
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    for upper in [true, false] {
        forms.push((Encoding::Percent, percent(secret, |_| false, |_| upper)));
        forms.push((Encoding::Percent, percent(secret, unreserved, |_| upper)));
    }
    forms.push((Encoding::Percent, percent(secret, unreserved, |index| index % 2 == 0)));
    if let Ok(text) = std::str::from_utf8(secret) {
        let json = serde_json::to_string(text).expect("a string");
        if json.len() > text.len() + 2 {
            forms.push((Encoding::Json, json.as_bytes()[1..json.len() - 1].to_vec()));
        }
    }
    forms
}

/// Threat 64: no form of the secret gets through, wherever the stream is cut.
#[test]
fn each_form_is_found_at_each_split() {
    let patterns = redacting(SECRET);
    for (encoding, form) in forms(SECRET) {
        let text = [b"<< before ", &form[..], b" after >>"].concat();
        let (whole, leaks) = scanned(&patterns, &[&text]);
        let shown = String::from_utf8_lossy(&form).into_owned();
        assert!(leaks.iter().any(|leak| leak.encoding == encoding), "{encoding:?} {shown}: {leaks:?}");
        let whole = String::from_utf8_lossy(&whole).into_owned();
        assert!(whole.starts_with("<< before ") && whole.ends_with(" after >>"), "{whole}");
        assert_eq!(whole.matches("[secret k]").count(), 1, "{whole}");
        for first in 0..=text.len() {
            for second in [first, first + 1, first + 7] {
                let second = second.min(text.len());
                let chunks = [&text[..first], &text[first..second], &text[second..]];
                let (clean, found) = scanned(&patterns, &chunks);
                assert_eq!(String::from_utf8_lossy(&clean), whole, "split at {first}, {second} of {shown}");
                assert_eq!(found, leaks);
            }
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(String::from_utf8_lossy(&scanned(&patterns, &bytes).0), whole);
    }
}

#[test]
fn a_refused_secret_ends_the_stream_before_a_byte_of_it_is_given() {
    let patterns = patterns(&[("k", SECRET, OnLeak::Refuse), ("other", b"something else", OnLeak::Redact)]);
    for (_, form) in forms(SECRET) {
        let text = [b"before:", &form[..], b":after"].concat();
        for split in 0..=text.len() {
            let mut scanner = Scanner::new(Arc::clone(&patterns), Reaction::AsGranted);
            let mut given = Vec::new();
            let mut refused = None;
            for chunk in [&text[..split], &text[split..]] {
                match scanner.scan(chunk) {
                    Ok(clean) => given.extend(clean),
                    Err(leak) => refused = Some(leak),
                }
            }
            if let Err(leak) = scanner.finish() {
                refused = Some(leak);
            }
            assert_eq!(refused.expect("refused").secret.as_str(), "k");
            // Of base64, a character or two may belong to what stands before.
            assert!(given.len() <= b"before:".len() + 8, "{}", String::from_utf8_lossy(&given));
            assert!(scanner.scan(b"more").is_err(), "it stays refused");
        }
    }
    let redacted = patterns.redact(b"it is something else!", Ending::Whole).expect("found");
    assert_eq!(redacted.0, b"it is [secret other]!");
    assert!(patterns.find(b"it is something else!").is_some(), "to find is to refuse");
    assert!(patterns.find(b"it is something").is_none());
}

#[test]
fn where_a_text_was_cut_the_beginning_of_a_secret_is_one() {
    let patterns = redacting(b"0123456789abcdef");
    let redacted = |text: &str, ending| {
        patterns.redact(text.as_bytes(), ending).map(|(clean, _)| String::from_utf8(clean).expect("text"))
    };
    assert_eq!(redacted("x 0123456", Ending::Cut), None, "too short to be told from other text");
    assert_eq!(redacted("x 01234567", Ending::Whole), None);
    assert_eq!(redacted("x 01234567", Ending::Cut), Some("x [secret k]".to_owned()));
    assert_eq!(redacted("x %30%31%32%33%34%35%36%3", Ending::Cut), None);
    assert_eq!(redacted("x %30%31%32%33%34%35%36%37", Ending::Cut), Some("x [secret k]".to_owned()));
    assert_eq!(redacted("x 3031323334", Ending::Cut), Some("x [secret k]".to_owned()));
}

#[test]
fn what_can_be_no_secret_is_not_held_back() {
    let patterns = redacting(b"0123456789abcdef");
    let mut scanner = Scanner::new(patterns, Reaction::AsGranted);
    assert_eq!(scanner.scan(b"data: hello\n\n").expect("clean"), b"data: hello\n\n");
    assert_eq!(scanner.scan(b"data: 0123").expect("clean"), b"data: ");
    assert_eq!(scanner.scan(b"!").expect("clean"), b"0123!");
    assert_eq!(scanner.scan(b"99%").expect("clean"), b"99");
    assert_eq!(scanner.scan(b" of it").expect("clean"), b"% of it");
    assert_eq!(scanner.scan(b"0123456789abcde").expect("clean"), b"");
    assert_eq!(scanner.finish().expect("clean"), b"0123456789abcde", "all but a secret");
}

#[test]
fn overlapping_and_adjacent_secrets_are_redacted_whole() {
    let patterns = patterns(&[
        ("a", b"abcdefgh", OnLeak::Redact),
        ("b", b"efghijkl", OnLeak::Redact),
        ("c", b"cdefghij12345678", OnLeak::Redact),
    ]);
    let redacted = |text: &str| {
        let whole = scanned(&patterns, &[text.as_bytes()]).0;
        for split in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(split);
            assert_eq!(scanned(&patterns, &[first, second]).0, whole, "{text} at {split}");
        }
        String::from_utf8(whole).expect("text")
    };
    assert_eq!(redacted("..abcdefghijkl.."), "..[secret a]..");
    assert_eq!(redacted("..abcdefghij12345678.."), "..[secret a]..");
    assert_eq!(redacted("abcdefghabcdefgh"), "[secret a][secret a]");
    assert_eq!(redacted("..cdefghij1234567.."), "..cdefghij1234567..");
}

/// A long secret is redacted to its last byte, a periodic one too, and none of its forms takes memory
/// beyond its own length.
#[test]
fn long_secrets_are_redacted_to_their_end() {
    let mut random = 1_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.to_be_bytes()[0]
    };
    let noise: Vec<u8> = (0..5_000).map(|_| next()).collect();
    let periodic = b"abcabcab".repeat(200);
    // Its beginning comes again within it, so that a false start must not hide the true one.
    let restarting = [&b"xyxyxyxy".repeat(40)[..], b"-end-", &noise[..600]].concat();
    for secret in [&noise, &periodic, &restarting] {
        let patterns = redacting(secret);
        for (_, form) in forms(secret) {
            let text = [b"<", &form[..], b">"].concat();
            let false_start = [b"<", &form[..form.len() / 2], &form[..], b">"].concat();
            let mark = b"[secret k]";
            for chunk in [1, 7, 256, 4096, text.len()] {
                let chunks: Vec<&[u8]> = text.chunks(chunk).collect();
                let clean = scanned(&patterns, &chunks).0;
                // Base64 leaves characters that belong to neighbours, and padding.
                assert!(clean.len() < mark.len() + 20, "{}", String::from_utf8_lossy(&clean));
                let chunks: Vec<&[u8]> = false_start.chunks(chunk).collect();
                let clean = scanned(&patterns, &chunks).0;
                assert!(clean.len() < 2 * mark.len() + 30, "{}", String::from_utf8_lossy(&clean));
            }
        }
    }
}

#[test]
fn takes_linear_time_and_bounded_memory() {
    let long = b"a".repeat(super::super::SECRET_BYTES_MAX);
    let patterns = patterns(&[("long", &long, OnLeak::Redact), ("k", SECRET, OnLeak::Redact)]);
    let mut scanner = Scanner::new(patterns, Reaction::AsGranted);
    let started = std::time::Instant::now();
    for chunk in [&b"a".repeat(1 << 16)[..], &b"%61".repeat(1 << 14), &b"%".repeat(1 << 16), b"s3cr"] {
        for _ in 0..8 {
            scanner.scan(chunk).expect("redacted");
            assert!(scanner.pending.len() <= 3 * ANCHOR_BYTES_MAX, "{}", scanner.pending.len());
            assert!(scanner.covers.len() <= 3 * ANCHOR_BYTES_MAX);
        }
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

/// Redacts exact occurrences only, from the left, on the whole text at once.
fn model(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut is_secret = vec![false; text.len()];
    for start in 0..text.len() {
        if text[start..].starts_with(secret) {
            is_secret[start..start + secret.len()].fill(true);
        }
    }
    let mut clean = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if !is_secret[at] {
            clean.push(text[at]);
            at += 1;
            continue;
        }
        clean.extend_from_slice(b"[secret k]");
        let mut end = at + secret.len();
        let mut start = at + 1;
        while start < end {
            if text[start..].starts_with(secret) {
                end = start + secret.len();
            }
            start += 1;
        }
        at = end;
    }
    clean
}

proptest! {
    /// A small alphabet, so that beginnings, repetitions and overlaps are frequent.
    #[test]
    fn redacts_what_the_model_does(
        secret in "[ab]{8,12}",
        text in "[abc%]{0,120}",
        splits in proptest::collection::vec(0_usize..120, 0..6),
    ) {
        let patterns = redacting(secret.as_bytes());
        let mut splits: Vec<usize> = splits.into_iter().map(|at| at.min(text.len())).collect();
        splits.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for at in splits {
            chunks.push(&text.as_bytes()[from..at]);
            from = at;
        }
        chunks.push(&text.as_bytes()[from..]);
        let clean = scanned(&patterns, &chunks).0;
        prop_assert_eq!(clean, model(text.as_bytes(), secret.as_bytes()));
    }

    #[test]
    fn any_secret_is_found_in_any_form_and_surroundings(
        secret in proptest::collection::vec(any::<u8>(), 8..40),
        before in proptest::collection::vec(any::<u8>(), 0..20),
        after in proptest::collection::vec(any::<u8>(), 0..20),
        split in 0_usize..200,
    ) {
        let patterns = redacting(&secret);
        for (_, form) in forms(&secret) {
            // What stands before must not make the first byte a part of an escape.
            let text = [&before[..], b" ", &form[..], &after[..]].concat();
            let (first, second) = text.split_at(split.min(text.len()));
            let (clean, leaks) = scanned(&patterns, &[first, second]);
            prop_assert!(!leaks.is_empty());
            prop_assert!(!clean.windows(form.len()).any(|window| window == form));
        }
    }

    #[test]
    fn text_without_a_secret_goes_through_unchanged(
        text in proptest::collection::vec(any::<u8>(), 0..300),
        chunk in 1_usize..40,
    ) {
        let patterns = redacting(b"a secret that is not in there");
        let chunks: Vec<&[u8]> = text.chunks(chunk).collect();
        let (clean, leaks) = scanned(&patterns, &chunks);
        prop_assert_eq!(clean, text);
        prop_assert!(leaks.is_empty());
    }
}
