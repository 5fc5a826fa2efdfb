//! Grants files: TOML text to checked terms, with errors that point at line and key.
//!
//! Pure: what the host's folders are like is asked of a [`PathCheck`]. Nothing is accepted that is
//! not enforced: unknown keys, and keys that a later version will know, are errors. One pass
//! collects as many errors as it can.

mod bounds;
mod clock;
mod config;
mod diagnostic;
mod grant;
mod http;
mod inject;
mod invoke;
mod keyvalue;
mod manifest;
mod paths;
pub(crate) mod reader;
mod secrets;
mod sockets;
#[cfg(test)]
mod tests;
mod trust;
pub(crate) mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use toml::de::DeTable;

pub use bounds::{LIMITS_FILE_BYTES_MAX, parse_host_limits};
pub use diagnostic::Diagnostic;
pub(crate) use grant::read_durability;
pub(crate) use manifest::BUILD_KEY;
pub(in crate::policy) use manifest::{limit_text, parse_manifest_json};
pub use manifest::{manifest_schema, parse_manifest};
pub use paths::{PathCheck, PathProblem};
pub(crate) use secrets::unknown_secrets;
pub use trust::{TRUST_FILE_BYTES_MAX, parse_trust, trusted_root_file};
pub(crate) use values::nearest;

use super::grant::GrantTerms;
use crate::ids::{GroupName, Names, PackageName, PrincipalId, SecretName, ToolName};
use crate::limits::HostLimits;
use reader::{Keys, Node, Reader, Table};
use values::{Problem, quoted};

/// Bytes from a size such as `64MiB`, as grants files have them.
///
/// # Errors
/// What is wrong, and what to write.
pub fn parse_size(text: &str) -> Result<u64, String> {
    values::size(text).map_err(|Problem { message, help }| match help {
        Some(help) => format!("{message}; {help}"),
        None => message,
    })
}

/// The most bytes of a grants file.
pub const GRANTS_FILE_BYTES_MAX: usize = 1 << 20;

/// The most `[[grant]]` of a grants file.
pub const GRANTS_PER_FILE_MAX: usize = 1_000;

const TOP_KEYS: Keys<'static> = Keys { known: &["groups", "grant"], later: &[] };

/// A grants file that was read without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantsFile {
    /// The text it was read from, so that later errors can point into it.
    pub source: String,
    /// Its grants, in its order.
    pub grants: Vec<GrantEntry>,
    /// Its groups.
    pub groups: BTreeMap<GroupName, BTreeSet<PrincipalId>>,
    /// The place of each agent's name, in grants and groups.
    pub agents: Vec<AgentPlace>,
    /// The place of each secret's name.
    pub secrets: Vec<SecretPlace>,
}

/// Where a grants file names a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlace {
    /// Its name.
    pub secret: SecretName,
    /// The dotted path, such as `grant[0].secrets[1].name`.
    pub key: String,
    /// The bytes of the file.
    pub span: Range<usize>,
}

/// Where a grants file names an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPlace {
    /// Its name.
    pub agent: PrincipalId,
    /// The dotted path, such as `grant[0].agents[1]`.
    pub key: String,
    /// The bytes of the file.
    pub span: Range<usize>,
}

/// One `[[grant]]` with the places of what only the registry can judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantEntry {
    /// The package it is for.
    pub package: PackageName,
    /// What it says.
    pub terms: GrantTerms,
    /// The place of the package's name.
    pub span: Range<usize>,
    /// The place of each tool's name.
    pub tool_spans: BTreeMap<ToolName, Range<usize>>,
    /// What tools are called by agents, by tool.
    pub names: BTreeMap<ToolName, NamePlace>,
}

/// A name that a grant gives a tool, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePlace {
    /// The name.
    pub name: ToolName,
    /// The dotted path, such as `grant[0].names.render`.
    pub key: String,
    /// The bytes of the name in the file.
    pub span: Range<usize>,
    /// The bytes of the tool's own name.
    pub tool_span: Range<usize>,
}

/// Reads a grants file.
///
/// At most [`GRANTS_FILE_BYTES_MAX`] bytes and [`GRANTS_PER_FILE_MAX`] grants. All grants of a package
/// in one file must map a guest path to the same folder.
///
/// # Errors
/// Every error that was found, in the order of the file, at most 100. They are the fault of who
/// wrote the file.
pub fn parse_grants(text: &str, paths: &dyn PathCheck) -> Result<GrantsFile, Vec<Diagnostic>> {
    parse_grants_within(text, paths, &HostLimits::default())
}

/// The same under the limits of a host: a value above its ceiling is an error.
///
/// # Errors
/// As [`parse_grants`].
pub fn parse_grants_within(
    text: &str,
    paths: &dyn PathCheck,
    limits: &HostLimits,
) -> Result<GrantsFile, Vec<Diagnostic>> {
    let mut reader = Reader::new(text);
    if text.len() > GRANTS_FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, at most {GRANTS_FILE_BYTES_MAX} are read", text.len());
        reader.report(0..0, "", Problem::new(message, "split it by package"));
        return Err(reader.into_diagnostics());
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let root = Table { key: String::new(), span: 0..0, entries: document.get_ref() };
    // A doubled key leaves the rest of the tree as it was written; after any other error, what
    // the rest says is a guess, and errors about it would be noise.
    let only_duplicates = errors.iter().all(|error| error.message() == DUPLICATE_KEY);
    for error in errors.iter().take(reader::DIAGNOSTICS_MAX) {
        report_syntax(&mut reader, &root, text, error);
    }
    let host = grant::Host { paths, limits };
    let (groups, grants) = if only_duplicates { read(&mut reader, &root, host) } else { Default::default() };
    let agents = reader.take_agents();
    let secrets = reader.take_secrets();
    let diagnostics = reader.into_diagnostics();
    if diagnostics.is_empty() {
        Ok(GrantsFile { source: text.to_owned(), grants, groups, agents, secrets })
    } else {
        Err(diagnostics)
    }
}

/// Reads a file of a host's own settings, such as `limits.toml`: at most `bytes_max` bytes, TOML, and no keys at
/// the top but `keys`. What `read` makes of it counts only if nothing was wrong.
pub(crate) fn parse_settings<T>(
    text: &str,
    bytes_max: usize,
    keys: Keys<'_>,
    read: impl FnOnce(&mut Reader<'_>, &Table<'_, '_>) -> T,
) -> Result<T, Vec<Diagnostic>> {
    let mut reader = Reader::new(text);
    if text.len() > bytes_max {
        let message = format!("the file has {} bytes, at most {bytes_max} are read", text.len());
        reader.report(0..0, "", Problem::new(message, "leave out what is as by default"));
        return Err(reader.into_diagnostics());
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let root = Table { key: String::new(), span: 0..0, entries: document.get_ref() };
    for error in errors.iter().take(reader::DIAGNOSTICS_MAX) {
        report_syntax(&mut reader, &root, text, error);
    }
    let only_duplicates = errors.iter().all(|error| error.message() == DUPLICATE_KEY);
    let settings = only_duplicates.then(|| {
        reader.check_keys(&root, keys);
        read(&mut reader, &root)
    });
    match (settings, reader.into_diagnostics()) {
        (Some(settings), diagnostics) if diagnostics.is_empty() => Ok(settings),
        (_, diagnostics) => Err(diagnostics),
    }
}

/// How the `toml` crate calls a doubled key or table.
const DUPLICATE_KEY: &str = "duplicate key";

type Groups = BTreeMap<GroupName, BTreeSet<PrincipalId>>;

fn read(reader: &mut Reader<'_>, root: &Table<'_, '_>, host: grant::Host<'_>) -> (Groups, Vec<GrantEntry>) {
    reader.check_keys(root, TOP_KEYS);
    if root.entries.is_empty() {
        let help = "write a [[grant]] with package and agents";
        reader.report(0..0, "", Problem::new("the file has neither [[grant]] nor [groups]", help));
    }
    let groups = root.child("groups").map(|node| read_groups(reader, &node)).unwrap_or_default();
    let mut grants = Vec::new();
    let listed = root.child("grant").map(|node| reader.tables(&node)).unwrap_or_default();
    if let Some(first_too_many) = listed.get(GRANTS_PER_FILE_MAX) {
        let message = format!("the file has {} grants, at most {GRANTS_PER_FILE_MAX} are read", listed.len());
        reader.report(
            first_too_many.span.clone(),
            &first_too_many.key,
            Problem::new(message, "split it by package"),
        );
        return (groups, grants);
    }
    let mut folders = FoldersOfPackages::default();
    for node in listed {
        grants.extend(grant::read_grant(reader, &node, &groups, host, &mut folders));
    }
    (groups, grants)
}

fn read_groups(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Groups {
    let mut groups = Groups::new();
    let Some(table) = reader.table(node) else { return groups };
    let mut names = Names::default();
    for (name, span, node) in table.children() {
        let members = read_members(reader, &node);
        if let Some(other) = names.insert(name) {
            let message = format!("group {} can be taken for group {other}", quoted(name));
            reader.report(span.clone(), &node.key, Problem::new(message, "give one of the two another name"));
        }
        match name.parse() {
            Ok(group) => {
                groups.insert(group, members);
            }
            Err(error) => {
                let error: crate::ids::IdError = error;
                reader.report(span, &node.key, Problem::new(error.to_string(), ""));
            }
        }
    }
    groups
}

/// The members of a group: it may be empty, which is how a group is emptied.
fn read_members(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> BTreeSet<PrincipalId> {
    let mut members = BTreeSet::new();
    for item in reader.list(node).unwrap_or_default() {
        let Some(agent) = reader.parsed::<PrincipalId>(&item) else { continue };
        reader.note_agent(&item, &agent);
        if !members.insert(agent.clone()) {
            reader.report_node(&item, Problem::new(format!("{agent} is named twice"), "leave one out"));
        }
    }
    members
}

/// Which folder each guest path of a package is, over all grants of a file.
///
/// Grants of one package add up, so one guest path must be one folder in all of them.
#[derive(Debug, Default)]
struct FoldersOfPackages(BTreeMap<(PackageName, String), (PathBuf, String)>);

impl FoldersOfPackages {
    /// Notes that `guest_path` is `host_path`, as the grant at `key` says.
    fn note(
        &mut self,
        package: &PackageName,
        guest_path: &str,
        host_path: &PathBuf,
        key: &str,
    ) -> Result<(), Problem> {
        let slot = (package.clone(), guest_path.to_owned());
        let (first, first_key) = self.0.entry(slot).or_insert_with(|| (host_path.clone(), key.to_owned()));
        if first == host_path {
            return Ok(());
        }
        Err(Problem::new(
            format!(
                "{guest_path} is {} here, but {} in {first_key}",
                quoted(&host_path.to_string_lossy()),
                quoted(&first.to_string_lossy())
            ),
            "the grants of one package add up: give each folder a guest path of its own",
        ))
    }
}

/// Notes an error of the TOML itself, with the key that is next to it.
fn report_syntax(reader: &mut Reader<'_>, root: &Table<'_, '_>, text: &str, error: &toml::de::Error) {
    let span = error.span().unwrap_or(0..0);
    let duplicate = error.message() == DUPLICATE_KEY;
    let name = if duplicate { text.get(span.clone()) } else { None };
    let mut nearest_key = None;
    find_key_before(root, span.start, name, &mut nearest_key);
    let (key, first) = match nearest_key {
        Some((start, key)) => (key, Some(start)),
        None => (name.unwrap_or_default().to_owned(), None),
    };
    let problem = match (duplicate, first) {
        (true, Some(start)) => {
            let line = Diagnostic::new(text, start..start, "", String::new(), None).line;
            Problem::new(format!("`{key}` is given twice"), &format!("it was first given in line {line}"))
        }
        (true, None) => Problem::new("a key is given twice", "leave one out"),
        (false, _) => {
            Problem::new(format!("not valid TOML: {}", error.message()), unquoted_help(text, &span))
        }
    };
    reader.report(span, &key, problem);
}

/// Help for the most common slip: a text without quotes.
fn unquoted_help(text: &str, span: &Range<usize>) -> &'static str {
    let marked = text.get(span.clone()).unwrap_or_default();
    if marked.starts_with(|first: char| first.is_alphabetic()) { "texts are written in quotes" } else { "" }
}

/// Finds the last key that begins before `offset`, called `name` if one is given.
///
/// The depth is bounded by the parser, which refuses more than 80 levels.
fn find_key_before(
    table: &Table<'_, '_>,
    offset: usize,
    name: Option<&str>,
    found: &mut Option<(usize, String)>,
) {
    for (child, span, node) in table.children() {
        let later = found.as_ref().is_none_or(|(start, _)| span.start >= *start);
        if span.start < offset && later && name.is_none_or(|name| name == child) {
            *found = Some((span.start, node.key.clone()));
        }
        find_in_value(&node, offset, name, found);
    }
}

fn find_in_value(
    node: &Node<'_, '_>,
    offset: usize,
    name: Option<&str>,
    found: &mut Option<(usize, String)>,
) {
    if let Some(entries) = node.value.as_table() {
        let table = Table { key: node.key.clone(), span: node.span.clone(), entries };
        find_key_before(&table, offset, name, found);
    } else if let Some(array) = node.value.as_array() {
        for (index, value) in array.iter().enumerate() {
            find_in_value(&Node::new(format!("{}[{index}]", node.key), value), offset, name, found);
        }
    }
}
