//! What must hold of the search for secrets for any stream: shared by the fuzz target and by a test, which gives
//! it streams from a seed.

use std::sync::{Arc, LazyLock};

use portcullis::secrets::{Leak, Patterns, Reaction, Scanner, SecretValue};

/// Some of which begin alike, or have themselves in themselves.
pub(crate) const SECRETS: [&str; 4] =
    ["abababab", "ababab%2Fc", "t0ken \"with\\quotes\"", "aaaaaaaaaaaaaaaaaaaaaaaa"];

static PATTERNS: LazyLock<Arc<Patterns>> = LazyLock::new(|| {
    let secret = |(index, secret): (usize, &&str)| {
        let name = format!("secret-{index}").parse().expect("a name");
        (name, SecretValue::new(secret.as_bytes().to_vec()).expect("long enough"))
    };
    let secrets: Vec<_> = SECRETS.iter().enumerate().map(secret).collect();
    let patterns = Patterns::new(secrets.iter().map(|(name, value)| (name, value, Default::default())));
    Arc::new(patterns.expect("a few"))
});

/// Reads a stream whole, and in pieces whose length the first byte says.
pub(crate) fn holds(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else { return };
    let whole = read(&[stream], Reaction::Redact).expect("nothing is refused");
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(*step).max(1)).collect();
    assert_eq!(read(&pieces, Reaction::Redact), Ok(whole.clone()), "cut into pieces of {step}");
    let (clean, leaks) = whole;
    for secret in SECRETS {
        assert!(!contains(&clean, secret.as_bytes()), "{secret} is left in {clean:?}");
    }
    assert_eq!(leaks.is_empty(), clean == stream, "what was found is marked, and nothing else");
    assert_eq!(read(&pieces, Reaction::Refuse).is_err(), !leaks.is_empty());
}

fn read(pieces: &[&[u8]], reaction: Reaction) -> Result<(Vec<u8>, Vec<Leak>), Leak> {
    let mut scanner = Scanner::new(Arc::clone(&PATTERNS), reaction);
    let (mut clean, mut leaks) = (Vec::new(), Vec::new());
    for piece in pieces {
        clean.extend(scanner.scan(piece)?);
    }
    clean.extend(scanner.finish()?);
    leaks.extend(scanner.take_leaks());
    leaks.sort();
    Ok((clean, leaks))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
