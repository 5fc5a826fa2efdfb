//! What must hold of trust policies for any text: shared by the fuzz target and by a test, which gives it texts from a
//! seed.

use portcullis::ids::PackageName;
use portcullis::policy::{Uncovered, parse_trust};

/// Reads bytes as a `trust.toml`.
pub(crate) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse_trust(&text) {
        Ok(policy) => {
            assert_eq!(policy.source, text);
            for rule in &policy.rules {
                assert!((1..=rule.signers.len()).contains(&rule.needed), "{rule:?}");
                assert!(
                    rule.signers
                        .iter()
                        .all(|signer| policy.keys.contains_key(signer)
                            || policy.identities.contains_key(signer)),
                    "{rule:?}"
                );
                assert!(!rule.packages.is_empty(), "{rule:?}");
            }
            assert!(policy.identities.is_empty() || policy.root.is_some());
            let mut numbers: Vec<_> = policy.keys.values().map(|known| known.key.id()).collect();
            numbers.sort();
            numbers.dedup();
            assert_eq!(numbers.len(), policy.keys.len(), "one key under two names");
            // No configured signer is not any signer: what is not signed passes only where it is said, and by no rule.
            for name in ["notes", "acme-mail", "a", "tool"] {
                let name: PackageName = name.parse().expect("a name");
                let is_let_in = policy.judge(&name, &[]).is_ok();
                assert_eq!(is_let_in, policy.uncovered == Uncovered::Unsigned && !policy.covers(&name));
            }
        }
        Err(diagnostics) => {
            assert!((1..=100).contains(&diagnostics.len()));
            assert!(diagnostics.iter().all(|one| text.get(one.span.clone()).is_some() && one.line >= 1));
        }
    }
}
