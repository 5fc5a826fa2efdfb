//! `[grant.config]`, `[grant.environment]` and `arguments`: what a tool is told of how it is set up. Pure.

use super::grant::Host;
use super::reader::{Node, Reader};
use super::values::{Problem, quoted};
use crate::policy::rule::{ArgumentsRule, Rule, Setting};

/// The most names of one table, and the most arguments.
const ENTRIES_MAX: usize = 256;

/// The most bytes of a name.
const NAME_BYTES_MAX: usize = 256;

/// The most bytes of one table's names and values, and of all arguments.
const TABLE_BYTES_MAX: usize = 64 << 10;

/// Reads `[grant.config]`.
pub(super) fn read_config(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    let settings = read_settings(reader, node, |name| match name {
        "" => Some("it is empty"),
        _ if name.chars().any(char::is_control) => Some("it has a control character"),
        _ => None,
    });
    settings.into_iter().map(Rule::Config).collect()
}

/// Reads `[grant.environment]`.
pub(super) fn read_environment(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    let settings = read_settings(reader, node, |name| match name {
        "" => Some("it is empty"),
        _ if name.contains('=') => Some("it has a '='"),
        _ if name.chars().any(char::is_control) => Some("it has a control character"),
        _ => None,
    });
    settings.into_iter().map(Rule::Environment).collect()
}

/// Reads `arguments`.
pub(super) fn read_arguments(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    let Some(items) = reader.list(node) else { return Vec::new() };
    if items.is_empty() {
        reader.report_node(node, Problem::new("`arguments` is empty", "leave it out: a tool has none then"));
    }
    if !has_room(reader, node, items.len()) {
        return Vec::new();
    }
    let texts: Vec<&str> = items.iter().filter_map(|item| read_text(reader, item)).collect();
    if !is_short(reader, node, texts.iter().map(|text| text.len()).sum()) {
        return Vec::new();
    }
    vec![Rule::Arguments(ArgumentsRule { arguments: texts.into_iter().map(str::to_owned).collect() })]
}

fn read_settings(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    fault: fn(&str) -> Option<&'static str>,
) -> Vec<Setting> {
    let Some(table) = reader.table(node) else { return Vec::new() };
    let children = table.children();
    if !has_room(reader, node, children.len()) {
        return Vec::new();
    }
    let mut settings = Vec::new();
    for (name, span, node) in children {
        let fault =
            if name.len() > NAME_BYTES_MAX { Some("it is longer than 256 bytes") } else { fault(name) };
        if let Some(fault) = fault {
            let message = format!("{} is not a name here: {fault}", quoted(name));
            reader.report(span, &node.key, Problem::new(message, ""));
            continue;
        }
        if let Some(value) = read_text(reader, &node) {
            settings.push(Setting { name: name.to_owned(), value: value.to_owned() });
        }
    }
    let bytes = settings.iter().map(|setting| setting.name.len() + setting.value.len()).sum();
    if is_short(reader, node, bytes) { settings } else { Vec::new() }
}

/// A text that every language can take as a variable or an argument.
fn read_text<'a>(reader: &mut Reader<'_>, node: &Node<'a, '_>) -> Option<&'a str> {
    let text = reader.string(node)?;
    let checked = match text.contains('\0') {
        true => Err(Problem::new("the text has a NUL character", "")),
        false => Ok(text),
    };
    reader.keep(node, checked)
}

fn has_room(reader: &mut Reader<'_>, node: &Node<'_, '_>, entries: usize) -> bool {
    if entries > ENTRIES_MAX {
        let message = format!("there are {entries} entries, at most {ENTRIES_MAX}");
        reader.report_node(node, Problem::new(message, "put what is more into a file of a granted folder"));
    }
    entries <= ENTRIES_MAX
}

fn is_short(reader: &mut Reader<'_>, node: &Node<'_, '_>, bytes: usize) -> bool {
    if bytes > TABLE_BYTES_MAX {
        let message = format!("it has {bytes} bytes in all, at most {TABLE_BYTES_MAX}");
        reader.report_node(node, Problem::new(message, "put what is more into a file of a granted folder"));
    }
    bytes <= TABLE_BYTES_MAX
}
