//! The state that packages keep, as text: how much, never what.

use super::standing::taken;
use super::{grouped, render, table};
use crate::database::{HeldStore, HeldStores, StoreId, StoreSize};
use crate::gateway::StateCleared;

pub(in crate::cli) fn list(listed: &HeldStores) -> String {
    if listed.stores.is_empty() {
        return "no state is kept".to_owned();
    }
    let mut table = table(["PACKAGE", "STORE", "AGENT", "KEYS", "BYTES"]);
    for HeldStore { store: StoreId { package, agent, name }, held: StoreSize { bytes, keys } } in
        &listed.stores
    {
        let agent = agent.as_ref().map_or_else(|| "(all)".to_owned(), ToString::to_string);
        table.add_row([package.to_string(), name.to_string(), agent, grouped(*keys), grouped(*bytes)]);
    }
    let more = if listed.is_whole { "" } else { "\nand more: name a package" };
    format!("{}{more}", render(&table))
}

pub(in crate::cli) fn cleared(cleared: &StateCleared) -> String {
    let StoreSize { bytes, keys } = cleared.held;
    let head = format!("cleared {}: {} keys, {} bytes", cleared.store, grouped(keys), grouped(bytes));
    taken(&head, &cleared.taken)
}
