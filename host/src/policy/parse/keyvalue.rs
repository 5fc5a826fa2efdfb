//! `[[grant.keyvalue]]`: the stores in which a tool may keep state. Pure.

use std::collections::BTreeSet;

use super::grant::{Host, read_access, read_quota, report_child};
use super::reader::{Keys, Node, Reader};
use super::values::{Problem, quoted};
use crate::ids::{StoreName, are_alike};
use crate::limits::Limit;
use crate::policy::rule::{KeyvalueRule, Rule, StoreScope};

/// The most `[[grant.keyvalue]]` of one grant.
const STORES_PER_GRANT_MAX: usize = 64;

const KEYS: Keys<'static> = Keys { known: &["store", "scope", "access", "quota", "keys_max"], later: &[] };

/// Reads all of one grant.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_, '_>, host: Host<'_>) -> Vec<Rule> {
    let mut names = BTreeSet::new();
    let mut rules = Vec::new();
    for table in reader.rules(node, STORES_PER_GRANT_MAX, KEYS) {
        let store = reader.required(&table, "store").and_then(|node| reader.parsed::<StoreName>(&node));
        let scope = reader.required(&table, "scope").and_then(|node| read_scope(reader, &node));
        let access = reader.required(&table, "access").and_then(|node| read_access(reader, &node));
        let quota_bytes = read_quota(reader, &table, "quota", (Limit::KvBytes, host.limits), access);
        let keys_max = read_quota(reader, &table, "keys_max", (Limit::KvKeys, host.limits), access);
        if let Some(store) = &store
            && !names.insert(store.clone())
        {
            let problem = Problem::new(format!("{store} is given twice in this grant"), "leave one out");
            report_child(reader, &table, "store", problem);
            continue;
        }
        if let Some(store) = &store
            && let Some(other) = names.iter().find(|name| are_alike(store.as_str(), name.as_str()))
        {
            let message = format!("{store} can be taken for {other}, which this grant gives as well");
            report_child(reader, &table, "store", Problem::new(message, "give one of the two another name"));
            continue;
        }
        if let (Some(store), Some(scope), Some(access), Some(quota_bytes), Some(keys_max)) =
            (store, scope, access, quota_bytes, keys_max)
        {
            rules.push(Rule::Keyvalue(KeyvalueRule { store, scope, access, quota_bytes, keys_max }));
        }
    }
    rules
}

pub(super) fn read_scope(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<StoreScope> {
    let text = reader.string(node)?;
    let scope = match text {
        "package" => Ok(StoreScope::Package),
        "agent" => Ok(StoreScope::Agent),
        _ => Err(Problem::new(
            format!("{} is not a scope", quoted(text)),
            r#"write scope = "agent" for a store of each agent's own, or scope = "package" for one that all share"#,
        )),
    };
    reader.keep(node, scope)
}
