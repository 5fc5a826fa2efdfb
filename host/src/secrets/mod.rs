//! Stored secrets: encrypted at rest, opened for a call that was given them, looked for in what leaves it.
//!
//! Nothing here decides who may have a secret, and nothing writes a value anywhere but encrypted.

mod call;
mod evidence;
mod key;
mod leak;
mod store;
mod value;

pub use call::CallSecrets;
pub use evidence::{EvidenceKey, EvidenceKeyError, EvidenceKeys, PayloadKind, Salt};
pub use key::{KeyOrigin, NoKey, SecretsKey};
pub use leak::{Encoding, Ending, Leak, Patterns, Reaction, Scanner, TooManySecrets};
pub use store::{Secrets, SecretsError, open_sealed, read_key};
pub use value::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, SecretValue, ValueError};
