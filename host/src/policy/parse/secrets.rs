//! `[[grant.secrets]]`: which secrets a tool may see. And which names of secrets there are. Pure.

use super::diagnostic::Diagnostic;
use super::grant::Host;
use super::reader::{Keys, Node, Reader};
use super::values::{Problem, nearest, quoted};
use super::{GrantsFile, SecretPlace};
use crate::ids::SecretName;
use crate::policy::rule::{OnLeak, Rule, SecretRule};

/// The most `[[grant.secrets]]` of one grant.
const SECRETS_PER_GRANT_MAX: usize = 16;

/// The most errors of this kind that one file is told of.
const DIAGNOSTICS_MAX: usize = 100;

const KEYS: Keys<'static> = Keys { known: &["name", "on_leak"], later: &[] };

/// Reads all of one grant.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    let tables = reader.rules(node, SECRETS_PER_GRANT_MAX, KEYS);
    let mut rules: Vec<Rule> = Vec::new();
    for table in tables {
        let Some(node) = reader.required(&table, "name") else { continue };
        let Some(name) = reader.parsed::<SecretName>(&node) else { continue };
        reader.note_secret(&node, &name);
        let on_leak = match table.child("on_leak") {
            Some(node) => read_on_leak(reader, &node),
            None => Some(OnLeak::default()),
        };
        if rules.iter().any(|rule| rule.secrets().iter().any(|(given, _)| **given == name)) {
            reader.report_node(&node, Problem::new(format!("secret {name} is given twice"), "leave one out"));
            continue;
        }
        rules.extend(on_leak.map(|on_leak| Rule::Secrets(SecretRule { name, on_leak })));
    }
    rules
}

/// `on_leak = "redact"` or `"refuse"`.
pub(super) fn read_on_leak(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<OnLeak> {
    let text = reader.string(node)?;
    let known = OnLeak::ALL.into_iter().find(|on_leak| on_leak.name() == text);
    let unknown = || {
        let help = r#"write on_leak = "redact" or on_leak = "refuse""#;
        Problem::new(format!("{} is not what can be done about a leak", quoted(text)), help)
    };
    reader.keep(node, known.ok_or_else(unknown))
}

/// The secrets that the file names and nobody has stored, each with its place.
pub(crate) fn unknown_secrets<'a>(
    file: &GrantsFile,
    stored: impl Iterator<Item = &'a SecretName> + Clone,
) -> Vec<Diagnostic> {
    let unknown = |place: &&SecretPlace| !stored.clone().any(|name| *name == place.secret);
    let error = |place: &SecretPlace| {
        let name = &place.secret;
        let help = nearest(name.as_str(), stored.clone().map(SecretName::as_str)).map_or_else(
            || format!("store it first: portcullis secret set {name}"),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("there is no secret {name}");
        Diagnostic::new(&file.source, place.span.clone(), &place.key, message, Some(help))
    };
    file.secrets.iter().filter(unknown).map(error).take(DIAGNOSTICS_MAX).collect()
}
