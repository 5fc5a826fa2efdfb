//! One `[[grant]]`: each key checked, each error placed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::Timestamp;

use super::bounds;
use super::paths::PathCheck;
use super::reader::{Keys, Node, Reader, Table};
use super::values::{self, Problem, nearest, quoted};
use super::{FoldersOfPackages, GrantEntry, Groups, NamePlace};
use crate::ids::{GroupName, PackageName, ToolName};
use crate::limits::{HostLimits, Limit};
use crate::policy::evidence::{Durability, Evidence};
use crate::policy::grant::{Access, AgentSelector, FilesystemRule, GrantTerms};
use crate::policy::names::SEPARATOR;
use crate::policy::rule::Rule;

/// The most folders of one grant.
const FOLDERS_PER_GRANT_MAX: usize = 64;

/// The most groups that are looked at to guess which one was meant.
const NEAR_GROUPS_MAX: usize = 1_000;

const GRANT_KEYS: Keys<'static> = Keys {
    known: &[
        "package",
        "agents",
        "tools",
        "names",
        "expires",
        "limits",
        "filesystem",
        "http",
        "invoke",
        "keyvalue",
        "config",
        "environment",
        "arguments",
        "tcp",
        "udp",
        "dns",
        "secrets",
        "durability",
        "fold_reads",
        "record",
        "clock",
    ],
    later: &["calls_max", "log", "random", "name"],
};

const FILESYSTEM_KEYS: Keys<'static> =
    Keys { known: &["host_path", "guest_path", "access", "quota", "files_max"], later: &[] };

/// Reads the rules of one kind.
type ReadRules = fn(&mut Reader<'_>, &Node<'_, '_>, Host<'_>) -> Vec<Rule>;

/// The kinds of rules beside folders.
const KINDS: [(&str, ReadRules); 10] = [
    ("http", super::http::read),
    ("invoke", super::invoke::read),
    ("keyvalue", super::keyvalue::read),
    ("config", super::config::read_config),
    ("environment", super::config::read_environment),
    ("arguments", super::config::read_arguments),
    ("tcp", super::sockets::read_tcp),
    ("udp", super::sockets::read_udp),
    ("dns", super::sockets::read_dns),
    ("secrets", super::secrets::read),
];

/// What a grants file is judged by beside its own text.
#[derive(Clone, Copy)]
pub(super) struct Host<'a> {
    /// Its folders.
    pub(super) paths: &'a dyn PathCheck,
    /// Its defaults and ceilings.
    pub(super) limits: &'a HostLimits,
}

/// Reads one grant. `None` if it had an error, which then is noted.
pub(super) fn read_grant(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    groups: &Groups,
    host: Host<'_>,
    folders: &mut FoldersOfPackages,
) -> Option<GrantEntry> {
    let table = reader.table(node)?;
    reader.check_keys(&table, GRANT_KEYS);
    let package_node = reader.required(&table, "package");
    let package = package_node.as_ref().and_then(|node| reader.parsed::<PackageName>(node));
    let agents = reader.required(&table, "agents").and_then(|node| read_agents(reader, &node, groups));
    let tool_spans = table.child("tools").map(|node| read_tools(reader, &node));
    let names = table.child("names").map(|node| read_names(reader, &node, tool_spans.as_ref()));
    let names = names.unwrap_or_default();
    let expires = table.child("expires").and_then(|node| read_expires(reader, &node));
    let limits =
        table.child("limits").map(|node| read_limits(reader, &node, host.limits)).unwrap_or_default();
    let filesystem = table
        .child("filesystem")
        .map(|node| read_folders(reader, &node, package.as_ref(), host, folders))
        .unwrap_or_default();
    let evidence = Evidence {
        durability: table.child("durability").and_then(|node| read_durability(reader, &node)),
        payloads: table.child("record").is_some_and(|node| read_record(reader, &node)),
        fold_reads: table.child("fold_reads").and_then(|node| reader.boolean(&node)).unwrap_or_default(),
    };
    let mut rules = Vec::new();
    for (name, read) in KINDS {
        if let Some(node) = table.child(name) {
            rules.extend(read(reader, &node, host));
        }
    }
    let clock = table.child("clock").and_then(|node| super::clock::read(reader, &node));
    Some(GrantEntry {
        package: package?,
        terms: GrantTerms {
            agents: agents?,
            tools: tool_spans.as_ref().map(|spans| spans.keys().cloned().collect()),
            names: names.iter().map(|(tool, place)| (tool.clone(), place.name.clone())).collect(),
            expires,
            limits,
            filesystem,
            rules,
            evidence,
            clock,
        },
        span: package_node?.span,
        tool_spans: tool_spans.unwrap_or_default(),
        names,
    })
}

/// Reads what tools are called. What only the registry and other grants can judge is judged later.
fn read_names(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    tools: Option<&BTreeMap<ToolName, Range<usize>>>,
) -> BTreeMap<ToolName, NamePlace> {
    let mut names = BTreeMap::new();
    let Some(table) = reader.table(node) else { return names };
    for (text, tool_span, value) in table.children() {
        let tool = text.parse::<ToolName>().map_err(|error| error.to_string());
        let granted = tool.and_then(|tool| match tools {
            Some(tools) if !tools.contains_key(&tool) => {
                Err(format!("{tool} is given a name, and is not among the grant's `tools`"))
            }
            Some(_) | None => Ok(tool),
        });
        let tool = match granted {
            Ok(tool) => tool,
            Err(message) => {
                let help = "name tools of the package that this grant allows: names = { render = \"md\" }";
                reader.report(tool_span, &value.key, Problem::new(message, help));
                continue;
            }
        };
        let Some(name) = reader.parsed::<ToolName>(&value) else { continue };
        if name.as_str().contains(SEPARATOR) {
            let message =
                format!("{name} has `{SEPARATOR}` in it, which is how tools without a given name are called");
            reader.report_node(&value, Problem::new(message, "use a single `_`, or `-`"));
            continue;
        }
        let (key, span) = (value.key.clone(), value.span.clone());
        names.insert(tool, NamePlace { name, key, span, tool_span });
    }
    names
}

/// Reads what is kept beyond records: only one thing can be.
fn read_record(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> bool {
    let Some(text) = reader.string(node) else { return false };
    let problem =
        || Problem::new(format!("{} can't be kept", quoted(text)), "write \"payloads\", or leave it out");
    reader.keep(node, if text == "payloads" { Ok(()) } else { Err(problem()) }).is_some()
}

/// Reads the name of a level.
pub(crate) fn read_durability(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<Durability> {
    let text = reader.string(node)?;
    let found = Durability::ALL.into_iter().find(|level| level.name() == text);
    let problem = || {
        let names = Durability::ALL.map(|level| quoted(level.name())).join(", ");
        Problem::new(format!("{} is not a durability", quoted(text)), &format!("write one of {names}"))
    };
    reader.keep(node, found.ok_or_else(problem))
}

fn read_agents(reader: &mut Reader<'_>, node: &Node<'_, '_>, groups: &Groups) -> Option<Vec<AgentSelector>> {
    let items = reader.list(node)?;
    if items.is_empty() {
        let help = r#"name who may use it: agents = ["researcher", "group:analysts"]"#;
        reader.report_node(node, Problem::new("`agents` is empty, so the grant would be for nobody", help));
    }
    let mut agents = Vec::new();
    let mut seen = BTreeSet::new();
    for item in items {
        if reader.is_full() {
            break;
        }
        let Some(text) = reader.string(&item) else { continue };
        let Some(selector) = read_selector(reader, &item, text, groups) else { continue };
        if seen.insert(selector.clone()) {
            agents.push(selector);
        } else {
            reader.report_node(&item, Problem::new(format!("{selector} is named twice"), "leave one out"));
        }
    }
    Some(agents)
}

fn read_selector(
    reader: &mut Reader<'_>,
    item: &Node<'_, '_>,
    text: &str,
    groups: &Groups,
) -> Option<AgentSelector> {
    let Some(name) = text.strip_prefix("group:") else {
        let agent = reader.parsed(item)?;
        reader.note_agent(item, &agent);
        return Some(AgentSelector::Agent(agent));
    };
    let group = name.parse::<GroupName>().map_err(|error| Problem::new(error.to_string(), ""));
    let group = reader.keep(item, group)?;
    if groups.contains_key(&group) {
        return Some(AgentSelector::Group(group));
    }
    let help = nearest(name, groups.keys().take(NEAR_GROUPS_MAX).map(GroupName::as_str)).map_or_else(
        || format!("add it to this file: [groups] {name} = [\"…\"]"),
        |near| format!("did you mean `group:{near}`?"),
    );
    reader.report_node(item, Problem::new(format!("group {name} is not in this file's [groups]"), &help));
    None
}

/// Reads a list of tools, with the place of each.
pub(super) fn read_tools(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> BTreeMap<ToolName, Range<usize>> {
    let mut tools = BTreeMap::new();
    let Some(items) = reader.list(node) else { return tools };
    if items.is_empty() {
        let help = "leave `tools` out to grant all tools of the package";
        reader.report_node(node, Problem::new("`tools` is empty, so the grant would allow nothing", help));
    }
    for item in items {
        let Some(tool) = reader.parsed::<ToolName>(&item) else { continue };
        if tools.insert(tool.clone(), item.span.clone()).is_some() {
            reader.report_node(&item, Problem::new(format!("{tool} is named twice"), "leave one out"));
        }
    }
    tools
}

fn read_expires(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<Timestamp> {
    let date_time = reader.date_time(node)?;
    reader.keep(node, values::moment(date_time))
}

pub(super) fn read_limits(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    host: &HostLimits,
) -> BTreeMap<Limit, u64> {
    let mut limits = BTreeMap::new();
    let Some(table) = reader.table(node) else { return limits };
    for (name, span, value) in table.children() {
        match Limit::ALL.into_iter().find(|limit| limit.name() == name) {
            Some(limit) if limit.row().grantable => {
                if let Some(number) = bounds::read(reader, &value, limit, host.ceiling_of(limit)) {
                    limits.insert(limit, number);
                }
            }
            Some(limit) => reader.report(span, &value.key, not_grantable(limit)),
            None => {
                let known = Limit::ALL.into_iter().filter(|limit| limit.row().grantable).map(Limit::name);
                reader.report(span, &value.key, bounds::unknown(name, &known.collect::<Vec<_>>()));
            }
        }
    }
    limits
}

fn not_grantable(limit: Limit) -> Problem {
    let help = if matches!(limit, Limit::FileBytes | Limit::Files) {
        "it belongs to a folder: use `quota` or `files_max` in [[grant.filesystem]]"
    } else if matches!(limit, Limit::KvBytes | Limit::KvKeys) {
        "it belongs to a store: use `quota` or `keys_max` in [[grant.keyvalue]]"
    } else {
        "it is the same for all packages of this host: `limits.toml` in the data folder sets it"
    };
    Problem::new(format!("`{limit}` can't be set by a grant"), help)
}

fn read_folders(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    package: Option<&PackageName>,
    host: Host<'_>,
    folders: &mut FoldersOfPackages,
) -> Vec<FilesystemRule> {
    let items = reader.tables(node);
    if items.len() > FOLDERS_PER_GRANT_MAX {
        let message = format!("the grant has {} folders, at most {FOLDERS_PER_GRANT_MAX}", items.len());
        reader.report_node(node, Problem::new(message, "grant a folder that contains several of them"));
        return Vec::new();
    }
    let mut rules: Vec<FilesystemRule> = Vec::new();
    let mut guest_paths = BTreeSet::new();
    for item in items {
        let Some(table) = reader.table(&item) else { continue };
        let Some(rule) = read_folder(reader, &table, host) else { continue };
        if !guest_paths.insert(rule.guest_path.clone()) {
            let problem = Problem::new(
                format!("{} is given twice in this grant", quoted(&rule.guest_path)),
                "leave one out",
            );
            report_child(reader, &table, "guest_path", problem);
            continue;
        }
        if let Some(package) = package {
            let noted = folders.note(package, &rule.guest_path, &rule.host_path, &item.key);
            if let Err(problem) = noted {
                report_child(reader, &table, "host_path", problem);
            }
        }
        for earlier in &rules {
            if let Some(problem) = overlap(earlier, &rule).or_else(|| overlap(&rule, earlier)) {
                report_child(reader, &table, "host_path", problem);
            }
        }
        rules.push(rule);
    }
    rules
}

/// Notes an error about a value of a table, or about the table if it is not there.
pub(super) fn report_child(reader: &mut Reader<'_>, table: &Table<'_, '_>, name: &str, problem: Problem) {
    let span = table.child(name).map_or_else(|| table.span.clone(), |node| node.span);
    reader.report(span, &table.key_of(name), problem);
}

/// Why `inner` can't be enforced beside `outer` in one grant, if it can't.
///
/// Guest paths may nest, since the guest's library takes the longest that fits and each is a handle
/// of its own. Host folders may nest unless the outer one is writable: then what the inner rule says
/// (its access, its quota, or the quota of the outer one) could be got around by the other path.
fn overlap(outer: &FilesystemRule, inner: &FilesystemRule) -> Option<Problem> {
    let writable = match outer.access {
        Access::Read => false,
        Access::ReadWrite => true,
    };
    (writable && inner.host_path.starts_with(&outer.host_path)).then(|| {
        let message = format!(
            "{} lies inside {}, which {} lets the tool write: access and quota could not be enforced",
            quoted(&inner.host_path.to_string_lossy()),
            quoted(&outer.host_path.to_string_lossy()),
            quoted(&outer.guest_path)
        );
        Problem::new(message, "grant folders that do not overlap, or give the outer one access = \"read\"")
    })
}

fn read_folder(reader: &mut Reader<'_>, table: &Table<'_, '_>, host: Host<'_>) -> Option<FilesystemRule> {
    reader.check_keys(table, FILESYSTEM_KEYS);
    let host_path = reader.required(table, "host_path").and_then(|node| {
        let text = reader.string(&node)?;
        let checked =
            host.paths.check(text).map_err(|problem| Problem::new(problem.to_string(), problem.help()));
        reader.keep(&node, checked)
    });
    let guest_path = reader.required(table, "guest_path").and_then(|node| {
        let text = reader.string(&node)?;
        reader.keep(&node, values::guest_path(text))
    });
    let access = reader.required(table, "access").and_then(|node| read_access(reader, &node));
    let quota_bytes = read_quota(reader, table, "quota", (Limit::FileBytes, host.limits), access);
    let quota_files = read_quota(reader, table, "files_max", (Limit::Files, host.limits), access);
    Some(FilesystemRule {
        host_path: host_path?,
        guest_path: guest_path?,
        access: access?,
        quota_bytes: quota_bytes?,
        quota_files: quota_files?,
    })
}

/// Reads `access`.
pub(super) fn read_access(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<Access> {
    let text = reader.string(node)?;
    let access = match text {
        "read" => Ok(Access::Read),
        "read-write" => Ok(Access::ReadWrite),
        _ => Err(Problem::new(
            format!("{} is not an access", quoted(text)),
            r#"write access = "read" or access = "read-write""#,
        )),
    };
    reader.keep(node, access)
}

/// A quota: for what can be written, its value or the default; for anything else 0, and it
/// is an error to give one.
pub(super) fn read_quota(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    name: &str,
    (limit, host): (Limit, &HostLimits),
    access: Option<Access>,
) -> Option<u64> {
    let given =
        table.child(name).map(|node| (bounds::read(reader, &node, limit, host.ceiling_of(limit)), node));
    match (access?, given) {
        (Access::ReadWrite, Some((number, _))) => number,
        (Access::ReadWrite, None) => Some(host.default_of(limit)),
        (Access::Read, None) => Some(0),
        (Access::Read, Some((_, node))) => {
            let message = format!("`{name}` is unenforceable where nothing can be written");
            reader
                .report_node(&node, Problem::new(message, "leave it out, or write access = \"read-write\""));
            None
        }
    }
}
