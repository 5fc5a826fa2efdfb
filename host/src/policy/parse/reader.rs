//! Reads a TOML tree with its places, and collects what is wrong instead of stopping at it. Pure.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::values::{Problem, nearest, quoted};
use super::{AgentPlace, SecretPlace};
use crate::ids::{PrincipalId, SecretName};

/// The most errors that one file is told of.
pub(crate) const DIAGNOSTICS_MAX: usize = 100;

/// A value with its dotted key.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a, 'i> {
    pub(crate) key: String,
    pub(crate) span: Range<usize>,
    pub(crate) value: &'a DeValue<'i>,
}

impl<'a, 'i> Node<'a, 'i> {
    pub(crate) fn new(key: String, value: &'a Spanned<DeValue<'i>>) -> Self {
        Self { key, span: value.span(), value: value.get_ref() }
    }
}

/// A table with its dotted key.
#[derive(Clone, Debug)]
pub(crate) struct Table<'a, 'i> {
    pub(crate) key: String,
    pub(crate) span: Range<usize>,
    pub(crate) entries: &'a DeTable<'i>,
}

impl<'a, 'i> Table<'a, 'i> {
    /// The dotted key of `name` in this table.
    pub(crate) fn key_of(&self, name: &str) -> String {
        if self.key.is_empty() { shown_key(name) } else { format!("{}.{}", self.key, shown_key(name)) }
    }

    /// The value of `name`, if it is there.
    pub(crate) fn child(&self, name: &str) -> Option<Node<'a, 'i>> {
        self.entries.get(name).map(|value| Node::new(self.key_of(name), value))
    }

    /// All entries in the order of the file: name, place of the name, value.
    pub(crate) fn children(&self) -> Vec<(&'a str, Range<usize>, Node<'a, 'i>)> {
        let mut children: Vec<_> = self
            .entries
            .iter()
            .map(|(name, value)| {
                let text: &str = name.get_ref();
                (text, name.span(), Node::new(self.key_of(text), value))
            })
            .collect();
        children.sort_by_key(|(_, span, _)| span.start);
        children
    }
}

/// A key as a dotted path writes it: quoted where TOML needs that, and never long.
fn shown_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= 80 && name.bytes().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Which keys a table may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'k> {
    /// Those that are read.
    pub(crate) known: &'k [&'k str],
    /// Those of the design that this version does not enforce, and so does not accept.
    pub(crate) later: &'k [&'k str],
}

/// The text, and what is wrong with it so far.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    diagnostics: Vec<Diagnostic>,
    agents: Vec<AgentPlace>,
    secrets: Vec<SecretPlace>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, diagnostics: Vec::new(), agents: Vec::new(), secrets: Vec::new() }
    }

    /// Notes where an agent is named. The file's size bounds how often.
    pub(crate) fn note_agent(&mut self, node: &Node<'_, '_>, agent: &PrincipalId) {
        let (agent, key, span) = (agent.clone(), node.key.clone(), node.span.clone());
        self.agents.push(AgentPlace { agent, key, span });
    }

    /// Where agents are named, in the order of the file.
    pub(crate) fn take_agents(&mut self) -> Vec<AgentPlace> {
        let mut agents = std::mem::take(&mut self.agents);
        agents.sort_by_key(|place| place.span.start);
        agents
    }

    /// Notes where a secret is named. The file's size bounds how often.
    pub(crate) fn note_secret(&mut self, node: &Node<'_, '_>, secret: &SecretName) {
        let (secret, key, span) = (secret.clone(), node.key.clone(), node.span.clone());
        self.secrets.push(SecretPlace { secret, key, span });
    }

    /// Where secrets are named, in the order of the file.
    pub(crate) fn take_secrets(&mut self) -> Vec<SecretPlace> {
        let mut secrets = std::mem::take(&mut self.secrets);
        secrets.sort_by_key(|place| place.span.start);
        secrets
    }

    /// What was wrong, in the order of the file.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        self.diagnostics
    }

    /// Whether no further error will be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= DIAGNOSTICS_MAX
    }

    /// Notes an error. Beyond [`DIAGNOSTICS_MAX`] nothing is kept: the file is refused all the same.
    pub(crate) fn report(&mut self, span: Range<usize>, key: &str, problem: Problem) {
        if !self.is_full() {
            self.diagnostics.push(Diagnostic::new(self.text, span, key, problem.message, problem.help));
        }
    }

    /// Notes an error about a value.
    pub(crate) fn report_node(&mut self, node: &Node<'_, '_>, problem: Problem) {
        self.report(node.span.clone(), &node.key, problem);
    }

    /// The value of a check, or `None` after noting its problem.
    pub(crate) fn keep<T>(&mut self, node: &Node<'_, '_>, checked: Result<T, Problem>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report_node(node, problem);
                None
            }
        }
    }

    /// Parses a name of a type that checks itself.
    pub(crate) fn parsed<T>(&mut self, node: &Node<'_, '_>) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.string(node)?;
        self.keep(node, text.parse().map_err(|error: T::Err| Problem::new(error.to_string(), "")))
    }

    /// Notes each key that the table may not have.
    pub(crate) fn check_keys(&mut self, table: &Table<'_, '_>, keys: Keys<'_>) {
        for (name, span, node) in table.children() {
            if keys.known.contains(&name) {
                continue;
            }
            let problem = if keys.later.contains(&name) {
                Problem::new(
                    format!("`{name}` is not supported by this version"),
                    "leave it out: what is not enforced is not accepted",
                )
            } else {
                let help = nearest(name, keys.known.iter().copied()).map_or_else(
                    || format!("known keys: {}", keys.known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                Problem::new(format!("unknown key {}", shown_key(name)), &help)
            };
            self.report(span, &node.key, problem);
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn required<'a, 'i>(&mut self, table: &Table<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
        let child = table.child(name);
        if child.is_none() {
            self.report(
                table.span.clone(),
                &table.key_of(name),
                Problem::new(format!("`{name}` is missing"), ""),
            );
        }
        child
    }

    pub(crate) fn wrong_type(&mut self, node: &Node<'_, '_>, expected: &str) {
        let found = node.value.type_str();
        self.report_node(node, Problem::new(format!("expected {expected}, found {}", article(found)), ""));
    }

    /// The value as a string.
    pub(crate) fn string<'a>(&mut self, node: &Node<'a, '_>) -> Option<&'a str> {
        let text = node.value.as_str();
        if text.is_none() {
            self.wrong_type(node, "a string");
        }
        text
    }

    /// The value as a whole number that is not negative.
    pub(crate) fn integer(&mut self, node: &Node<'_, '_>) -> Option<u64> {
        let Some(integer) = node.value.as_integer() else {
            self.wrong_type(node, "a whole number");
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| {
            Problem::new(format!("{} is not a number from 0 to 2^64 - 1", quoted(&integer.to_string())), "")
        });
        self.keep(node, number)
    }

    /// The value as `true` or `false`.
    pub(crate) fn boolean(&mut self, node: &Node<'_, '_>) -> Option<bool> {
        let value = node.value.as_bool();
        if value.is_none() {
            self.wrong_type(node, "true or false");
        }
        value
    }

    /// The value as a date-time.
    pub(crate) fn date_time<'a>(&mut self, node: &Node<'a, '_>) -> Option<&'a toml::value::Datetime> {
        let date_time = node.value.as_datetime();
        if date_time.is_none() {
            self.wrong_type(node, "a date-time without quotes, such as 2027-01-01T00:00:00Z");
        }
        date_time
    }

    /// The value as a list of values.
    pub(crate) fn list<'a, 'i>(&mut self, node: &Node<'a, 'i>) -> Option<Vec<Node<'a, 'i>>> {
        let Some(array) = node.value.as_array() else {
            self.wrong_type(node, "a list");
            return None;
        };
        let item = |(index, value)| Node::new(format!("{}[{index}]", node.key), value);
        Some(array.iter().enumerate().map(item).collect())
    }

    /// The value as a list of tables, as `[[name]]` makes it.
    pub(crate) fn tables<'a, 'i>(&mut self, node: &Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
        if node.value.is_table() {
            let header = node.key.replace(|character: char| character.is_ascii_digit(), "").replace("[]", "");
            let help = format!("write it in double brackets: [[{header}]]");
            self.report_node(node, Problem::new("expected a list of tables, found a table", &help));
            return Vec::new();
        }
        self.list(node).unwrap_or_default()
    }

    /// The tables of a grant's rules of one kind, at most `max`, with no other keys than `keys`.
    pub(crate) fn rules<'a, 'i>(
        &mut self,
        node: &Node<'a, 'i>,
        max: usize,
        keys: Keys<'_>,
    ) -> Vec<Table<'a, 'i>> {
        let items = self.tables(node);
        if items.len() > max {
            let message = format!("the grant has {} of these, at most {max}", items.len());
            self.report_node(node, Problem::new(message, "divide them among several grants"));
            return Vec::new();
        }
        let tables: Vec<Table<'a, 'i>> = items.iter().filter_map(|item| self.table(item)).collect();
        for table in &tables {
            self.check_keys(table, keys);
        }
        tables
    }

    /// The value as a table.
    pub(crate) fn table<'a, 'i>(&mut self, node: &Node<'a, 'i>) -> Option<Table<'a, 'i>> {
        let Some(entries) = node.value.as_table() else {
            self.wrong_type(node, "a table");
            return None;
        };
        Some(Table { key: node.key.clone(), span: node.span.clone(), entries })
    }
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
