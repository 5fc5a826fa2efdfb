//! API keys as text: by their public beginnings.

use jiff::Timestamp;

use super::standing::taken;
use super::{moment, render, table};
use crate::database::ApiKey;
use crate::gateway::{KeyMade, KeyRevoked};

pub(in crate::cli) fn made(made: &KeyMade) -> String {
    let ApiKey { prefix, principal, role, expires, .. } = &made.key;
    let until = expires.map_or_else(|| "it is revoked".to_owned(), moment);
    format!("{prefix} lets in {principal} as {role}, until {until}; it is not shown again")
}

pub(in crate::cli) fn revoked(revoked: &KeyRevoked) -> String {
    taken(&format!("revoked {} of {}", revoked.key, revoked.principal), &revoked.taken)
}

pub(in crate::cli) fn list(keys: &[ApiKey], now: Timestamp) -> String {
    if keys.is_empty() {
        return "there are no API keys".to_owned();
    }
    let mut table = table(["KEY", "PRINCIPAL", "ROLE", "MADE", "BY", "UNTIL", "LAST USED"]);
    for key in keys {
        let ApiKey { prefix, principal, role, expires, revision: _, made_by, made_at, last_used } = key;
        let until = match expires {
            None => "revoked".to_owned(),
            Some(at) if *at <= now => format!("{} (over)", moment(*at)),
            Some(at) => moment(*at),
        };
        table.add_row([
            prefix.to_string(),
            principal.to_string(),
            role.to_string(),
            moment(*made_at),
            made_by.to_string(),
            until,
            last_used.map_or_else(|| "never".to_owned(), moment),
        ]);
    }
    render(&table)
}
