//! `inject` of `[[grant.http]]`: which secrets are put where into a rule's requests. Pure.

use std::collections::BTreeSet;

use super::reader::{Keys, Node, Reader, Table};
use super::secrets::read_on_leak;
use super::values::Problem;
use crate::egress::Scheme;
use crate::policy::rule::{HttpMethod, Injection, OnLeak, Template};

/// The most injections of one rule.
const INJECTIONS_MAX: usize = 4;

/// The kinds, each with the keys that it has.
const KINDS: [(&str, Keys<'static>); 3] = [
    ("header", Keys { known: &["header", "value"], later: &[] }),
    ("query", Keys { known: &["query", "value"], later: &[] }),
    ("basic", Keys { known: &["basic"], later: &[] }),
];

const BASIC_KEYS: Keys<'static> = Keys { known: &["user", "password"], later: &[] };

/// What a rule injects, and what is done where an answer gives it away.
pub(super) struct Inject {
    pub(super) injections: Vec<Injection>,
    pub(super) on_leak: OnLeak,
}

/// Reads one table or a list of them, with what the rest of the rule must be for it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    methods: Option<&BTreeSet<HttpMethod>>,
    schemes: Option<&BTreeSet<Scheme>>,
) -> Option<Inject> {
    let on_leak_node = table.child("on_leak");
    let on_leak = on_leak_node.as_ref().map(|node| read_on_leak(reader, node));
    let over_http = table.child("inject_over_http");
    let Some(node) = table.child("inject") else {
        for node in [on_leak_node, over_http].into_iter().flatten() {
            reader.report_node(
                &node,
                Problem::new("this rule injects nothing", "leave it out, or write `inject`"),
            );
        }
        return Some(Inject { injections: Vec::new(), on_leak: OnLeak::default() });
    };
    let is_allowed = over_http.is_some_and(|node| {
        let allowed = node.value.as_bool();
        if allowed.is_none() {
            reader.wrong_type(&node, "true or false");
        }
        allowed.unwrap_or(false)
    });
    if schemes.is_some_and(|schemes| schemes.contains(&Scheme::Http)) && !is_allowed {
        let message = "the secret would be sent without TLS, for everyone on the way to read";
        let help = r#"write schemes = ["https"], or inject_over_http = true if the way is safe"#;
        reader.report_node(&node, Problem::new(message, help));
        return None;
    }
    if methods.is_some_and(|methods| methods.iter().any(|method| method.as_str() == "TRACE")) {
        let message = "TRACE asks the server to send the secret back";
        reader.report_node(
            &node,
            Problem::new(message, "leave TRACE out of `methods`, or `inject` out of the rule"),
        );
        return None;
    }
    let items = if node.value.is_table() { vec![node.clone()] } else { reader.list(&node)? };
    if items.is_empty() || items.len() > INJECTIONS_MAX {
        let message = format!("a rule injects 1 to {INJECTIONS_MAX} times, not {}", items.len());
        reader.report_node(&node, Problem::new(message, "name what is to be injected"));
        return None;
    }
    let mut injections: Vec<Injection> = Vec::new();
    let mut is_right = true;
    for item in items {
        let Some(injection) = read_one(reader, &item) else {
            is_right = false;
            continue;
        };
        if injections.iter().any(|earlier| earlier.place() == injection.place()) {
            let message = format!("{} is injected twice", injection.place());
            reader.report_node(&item, Problem::new(message, "leave one out"));
            is_right = false;
        }
        injections.push(injection);
    }
    let on_leak = on_leak.unwrap_or(Some(OnLeak::default()))?;
    is_right.then_some(Inject { injections, on_leak })
}

fn read_one(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<Injection> {
    let table = reader.table(node)?;
    let named: Vec<_> = KINDS.into_iter().filter(|(name, _)| table.child(name).is_some()).collect();
    let [(kind, keys)] = named[..] else {
        let help = r#"write one of { header = "authorization", value = "Bearer ${secret:NAME}" }, { query = "key", value = "${secret:NAME}" } and { basic = { user = "me", password = "${secret:NAME}" } }"#;
        reader.report_node(node, Problem::new("this is not one place to inject a secret into", help));
        return None;
    };
    reader.check_keys(&table, keys);
    let place = table.child(kind)?;
    match kind {
        "header" => {
            let header = reader.parsed(&place);
            let value = template(reader, &table, "value");
            Some(Injection::Header { header: header?, value: value? })
        }
        "query" => {
            let key = reader.parsed(&place);
            let value = template(reader, &table, "value");
            Some(Injection::Query { key: key?, value: value? })
        }
        _ => {
            let basic = reader.table(&place)?;
            reader.check_keys(&basic, BASIC_KEYS);
            let user = reader.required(&basic, "user").and_then(|node| reader.parsed(&node));
            let password = template(reader, &basic, "password");
            Some(Injection::Basic { user: user?, password: password? })
        }
    }
}

fn template(reader: &mut Reader<'_>, table: &Table<'_, '_>, name: &str) -> Option<Template> {
    let node = reader.required(table, name)?;
    let template: Template = reader.parsed(&node)?;
    for secret in template.secrets() {
        reader.note_secret(&node, secret);
    }
    Some(template)
}
