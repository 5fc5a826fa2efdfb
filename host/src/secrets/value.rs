//! The value of a secret, in memory that is wiped when it is let go.

use std::fmt;

use zeroize::Zeroizing;

/// The fewest bytes of a secret: fewer can't be told from ordinary text, so that no leak of them could be
/// found.
pub const SECRET_BYTES_MIN: usize = 8;

/// The most bytes of a secret.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// The value of a secret: 8 bytes to 64 KiB of any kind. `Debug` does not show it, nothing serialises it,
/// and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

/// A value that is too short or too long. The fault of whoever stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Too short for a leak of it to be told from ordinary text.
    #[error(
        "the secret has {0} bytes, and needs {SECRET_BYTES_MIN}: a shorter one can't be told from ordinary text, so that no leak of it could be found"
    )]
    TooShort(usize),
    /// Too long.
    #[error("the secret has {0} bytes or more, at most {SECRET_BYTES_MAX} are kept")]
    TooLong(usize),
}

impl SecretValue {
    /// A value of these bytes.
    ///
    /// # Errors
    /// [`ValueError`]; the bytes are wiped then too.
    pub fn new(bytes: Vec<u8>) -> Result<Self, ValueError> {
        let bytes = Zeroizing::new(bytes);
        match bytes.len() {
            length if length < SECRET_BYTES_MIN => Err(ValueError::TooShort(length)),
            length if length > SECRET_BYTES_MAX => Err(ValueError::TooLong(length)),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes, for whoever uses them: to encrypt them, to send them, or to look for them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_bounds_and_debug_does_not_show_it() {
        let of = |length: usize| SecretValue::new(vec![b'x'; length]);
        assert_eq!(of(0), Err(ValueError::TooShort(0)));
        assert_eq!(of(SECRET_BYTES_MIN - 1), Err(ValueError::TooShort(7)));
        assert!(of(SECRET_BYTES_MIN).is_ok());
        assert!(of(SECRET_BYTES_MAX).is_ok());
        assert_eq!(of(SECRET_BYTES_MAX + 1), Err(ValueError::TooLong(SECRET_BYTES_MAX + 1)));
        assert_eq!(format!("{:?}", of(8)), "Ok(SecretValue(hidden))");
    }
}
