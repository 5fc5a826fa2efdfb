//! Stored secrets as text: their names, never their values.

use super::standing::taken;
use super::{moment, render, table};
use crate::database::StoredSecret;
use crate::gateway::SecretChanged;

pub(in crate::cli) fn set(changed: &SecretChanged) -> String {
    taken(&format!("stored secret {}", changed.name), &changed.taken)
}

pub(in crate::cli) fn removed(changed: &SecretChanged) -> String {
    taken(&format!("removed secret {}", changed.name), &changed.taken)
}

pub(in crate::cli) fn list(secrets: &[StoredSecret]) -> String {
    if secrets.is_empty() {
        return "no secrets are stored".to_owned();
    }
    let mut table = table(["NAME", "STORED", "BY", "LAST SET", "BY", "REVISION"]);
    for secret in secrets {
        let StoredSecret { name, revision, made_at, made_by, updated_at, updated_by } = secret;
        table.add_row([
            name.to_string(),
            moment(*made_at),
            made_by.to_string(),
            moment(*updated_at),
            updated_by.to_string(),
            revision.to_string(),
        ]);
    }
    render(&table)
}
