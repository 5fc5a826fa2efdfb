//! `[[grant.invoke]]`: which other tools a tool may call. Pure.

use super::grant::{Host, read_tools};
use super::reader::{Keys, Node, Reader, Table};
use crate::ids::PackageName;
use crate::policy::rule::{InvokeRule, Rule};

/// The most `[[grant.invoke]]` of one grant.
const INVOKE_PER_GRANT_MAX: usize = 64;

const KEYS: Keys<'static> = Keys { known: &["package", "tools"], later: &[] };

/// Reads all of one grant.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    let tables = reader.rules(node, INVOKE_PER_GRANT_MAX, KEYS);
    tables.into_iter().filter_map(|table| read_rule(reader, &table)).map(Rule::Invoke).collect()
}

pub(super) fn read_rule(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<InvokeRule> {
    let package = reader.required(table, "package").and_then(|node| reader.parsed::<PackageName>(&node));
    let tools = table.child("tools").map(|node| read_tools(reader, &node).into_keys().collect());
    Some(InvokeRule { package: package?, tools })
}
