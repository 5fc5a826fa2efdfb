//! Grants files: TOML text to checked terms, with errors that point at line and key.
