//! The key that opens stored secrets: an age identity, in a file of the data folder or given from outside.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use zeroize::Zeroizing;

/// An age identity (`AGE-SECRET-KEY-1…`), as `age-keygen` writes it. `Debug` does not show it.
#[derive(Clone)]
pub struct SecretsKey {
    identity: Identity,
    from: KeyOrigin,
}

/// Where a key comes from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// A file.
    File(PathBuf),
    /// Whoever opened the host: an environment variable, or a program that embeds it.
    Given(&'static str),
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyOrigin::File(path) => write!(f, "{}", path.display()),
            KeyOrigin::Given(what) => f.write_str(what),
        }
    }
}

/// A text that is no identity. The text is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from} holds no age identity: one line AGE-SECRET-KEY-1…, as `age-keygen` writes it")]
pub struct NoKey {
    from: KeyOrigin,
}

impl SecretsKey {
    /// Reads an identity: the one line that is no comment.
    ///
    /// # Errors
    /// [`NoKey`], which does not show the text.
    pub fn parse(text: &str, from: KeyOrigin) -> Result<Self, NoKey> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identity = lines.next().and_then(|line| Identity::from_str(line).ok());
        match (identity, lines.next()) {
            (Some(identity), None) => Ok(Self { identity, from }),
            _ => Err(NoKey { from }),
        }
    }

    /// A new one, and the text of its file.
    pub(super) fn generate(path: PathBuf) -> (Self, Zeroizing<String>) {
        let identity = Identity::generate();
        let text = Zeroizing::new(format!("{}\n", identity.to_string().expose_secret()));
        (Self { identity, from: KeyOrigin::File(path) }, text)
    }

    /// Where it comes from.
    pub fn origin(&self) -> &KeyOrigin {
        &self.from
    }

    /// Whom what it opens is encrypted for.
    pub(super) fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsKey").field("from", &self.from).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_age_writes_it_and_never_shown() {
        let (key, text) = SecretsKey::generate("/data/secrets.key".into());
        let given = || KeyOrigin::Given("$KEY");
        let with_comments = format!("# created: today\n# public key: {}\n{}", key.recipient(), *text);
        let read = SecretsKey::parse(&with_comments, given()).expect("read");
        assert_eq!(read.recipient(), key.recipient());
        let inside = text.trim();
        assert!(!format!("{read:?}").contains(inside));
        for wrong in ["", "AGE-SECRET-KEY-1", &inside[..40], &format!("{inside}\n{inside}"), "x"] {
            let error = SecretsKey::parse(wrong, given()).expect_err("no key").to_string();
            assert!(error.starts_with("$KEY holds no age identity"), "{error}");
            assert!(
                wrong.len() < 3
                    || !error.contains(&wrong[..wrong.len().min(30)])
                    || wrong == "AGE-SECRET-KEY-1"
            );
        }
    }
}
