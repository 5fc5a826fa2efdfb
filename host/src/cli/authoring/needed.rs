//! The smallest grant that a run needed, from its records: of each rule that was used, what was used of it.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};
use url::Url;

use super::scratch::AGENT;
use crate::audit::event::{Attempt, Decision, Event, HostCall, Record};
use crate::ids::PackageName;
use crate::limits::Limit;
use crate::policy::{Access, FilesystemRule, Grant, HttpRule, Rule, SocketRule, StoreScope};
use crate::text::clean_line;

/// What a run did with its grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    /// A grants file with what was used.
    pub(super) grant: String,
    /// What was refused, a line each, in order: interface, function, subject, why.
    pub(super) denied: Vec<String>,
    /// What was done, a line each, in order: interface, function, subject. Without what asks for no power, and
    /// without the reading and writing of streams.
    pub(super) done: Vec<String>,
}

/// What was used of a rule.
#[derive(Debug, Default)]
struct Used {
    /// Something was changed by it.
    writes: bool,
    methods: BTreeSet<String>,
    urls: Vec<Url>,
}

/// Reads the records of a call that ran under one grant.
pub(super) fn needed(package: &PackageName, grant: Option<&Grant>, records: &[Record]) -> Needed {
    let mut used: BTreeMap<(String, usize), Used> = BTreeMap::new();
    let (mut denied, mut done) = (Vec::new(), Vec::new());
    for record in records {
        let (interface, function, subject, decision, is_effect) =
            if let Event::HostCall { host_call, .. } = &record.event {
                let HostCall { interface, function, subject, decision, .. } = host_call;
                (interface, function, subject, decision, false)
            } else if let Event::EffectAttempted { attempt, .. } = &record.event {
                let Attempt { interface, function, subject, decision, .. } = attempt;
                (interface, function, subject, decision, true)
            } else {
                continue;
            };
        let subject = subject.as_deref().unwrap_or_default();
        let line = clean_line(format!("{interface} {function} {subject}").trim(), 1_000);
        match decision {
            Decision::Denied(why) => denied.push(format!("{line}: {}", clean_line(why, 500))),
            Decision::Allowed(rule) => {
                let Some(named) = rule_name(rule) else { continue };
                if !is_part(interface) {
                    done.push(line);
                }
                let used = used.entry(named).or_default();
                used.writes |= is_effect;
                if interface == "wasi:http/outgoing-handler"
                    && let Some((method, url)) = subject.split_once(' ')
                    && let Ok(url) = url.parse()
                {
                    used.methods.insert(method.to_owned());
                    used.urls.push(url);
                }
            }
        }
    }
    Needed { grant: written(package, grant, &used), denied, done }
}

/// Whether functions of an interface go on with what another one began: how often they are called is the affair of
/// a language's library.
fn is_part(interface: &str) -> bool {
    interface.starts_with("wasi:io/") || interface == "wasi:http/types"
}

/// Kind and number of `grant 7 http 0`.
fn rule_name(name: &str) -> Option<(String, usize)> {
    let mut words = name.strip_prefix("grant ")?.split(' ').skip(1);
    let kind = words.next()?.to_owned();
    Some((kind, words.next()?.parse().ok()?))
}

fn written(package: &PackageName, grant: Option<&Grant>, used: &BTreeMap<(String, usize), Used>) -> String {
    let mut table = Table::new();
    table.insert("package".to_owned(), package.as_str().into());
    table.insert("agents".to_owned(), Value::Array(vec![AGENT.into()]));
    let Some(grant) = grant else { return text(table) };
    let terms = &grant.terms;
    if !terms.limits.is_empty() {
        let limits = terms
            .limits
            .iter()
            .map(|(limit, number)| (limit.name().to_owned(), limit_value(*limit, *number)));
        table.insert("limits".to_owned(), Value::Table(limits.collect()));
    }
    let mut push = |kind: &str, rule: Table| {
        let list = table.entry(kind).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().expect("it was made as a list").push(Value::Table(rule));
    };
    for (index, rule) in terms.filesystem.iter().enumerate() {
        if let Some(used) = used.get(&("filesystem".to_owned(), index)) {
            push("filesystem", folder(rule, used));
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut settings: BTreeMap<&str, Table> = BTreeMap::new();
    for rule in &terms.rules {
        let kind = rule.kind();
        let count = counts.entry(kind).or_default();
        let index = *count;
        *count += 1;
        // The whole environment is told at once.
        let all_at_once = |kind: &str| used.iter().find(|((used, _), _)| used == kind).map(|(_, used)| used);
        let found = if matches!(rule, Rule::Environment(_)) {
            all_at_once(kind)
        } else {
            used.get(&(kind.to_owned(), index))
        };
        let Some(used) = found else { continue };
        match rule {
            Rule::Http(rule) => push(kind, request(rule, used)),
            Rule::Keyvalue(rule) => {
                let scope = match rule.scope {
                    StoreScope::Agent => "agent",
                    StoreScope::Package => "package",
                };
                let access = if used.writes { "read-write" } else { "read" };
                push(kind, keys([("store", rule.store.as_str()), ("scope", scope), ("access", access)]));
            }
            Rule::Config(setting) | Rule::Environment(setting) => {
                settings.entry(kind).or_default().insert(setting.name.clone(), setting.value.as_str().into());
            }
            Rule::Tcp(rule) | Rule::Udp(rule) => push(kind, peers(rule)),
            Rule::Dns(rule) => push(kind, Table::from_iter([("names".to_owned(), texts(&rule.names))])),
            Rule::Secrets(rule) => push(kind, keys([("name", rule.name.as_str())])),
            Rule::Invoke(rule) => {
                let mut call = keys([("package", rule.package.as_str())]);
                if let Some(tools) = &rule.tools {
                    call.insert("tools".to_owned(), texts(tools));
                }
                push(kind, call);
            }
            Rule::Arguments(_) => {}
        }
    }
    for rule in &terms.rules {
        if let Rule::Arguments(rule) = rule
            && used.keys().any(|(kind, _)| kind == "arguments")
        {
            table.insert("arguments".to_owned(), texts(&rule.arguments));
        }
    }
    table.extend(settings.into_iter().map(|(kind, table)| (kind.to_owned(), Value::Table(table))));
    text(table)
}

fn text(grant: Table) -> String {
    let file = Table::from_iter([("grant".to_owned(), Value::Array(vec![Value::Table(grant)]))]);
    toml::to_string(&file).unwrap_or_default()
}

fn keys<'a>(keys: impl IntoIterator<Item = (&'static str, &'a str)>) -> Table {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    Value::Array(items.into_iter().map(|item| Value::String(item.to_string())).collect())
}

fn limit_value(limit: Limit, number: u64) -> Value {
    match limit.row().unit {
        "bytes" => format!("{number}B").into(),
        "milliseconds" => format!("{number}ms").into(),
        _ => i64::try_from(number).map_or_else(|_| number.to_string().into(), Value::Integer),
    }
}

fn folder(rule: &FilesystemRule, used: &Used) -> Table {
    let access = match (rule.access, used.writes) {
        (Access::ReadWrite, true) => "read-write",
        (Access::Read | Access::ReadWrite, _) => "read",
    };
    let host_path = rule.host_path.to_string_lossy();
    keys([("host_path", &*host_path), ("guest_path", &rule.guest_path), ("access", access)])
}

/// Of what a rule allows, the very requests that were sent.
fn request(rule: &HttpRule, used: &Used) -> Table {
    let of_all =
        |part: fn(&Url) -> Option<String>| used.urls.iter().filter_map(part).collect::<BTreeSet<String>>();
    let mut table = Table::new();
    let hosts = of_all(|url| Some(url.host_str()?.trim_matches(['[', ']']).to_owned()));
    table.insert("hosts".to_owned(), texts(hosts));
    table.insert("methods".to_owned(), texts(&used.methods));
    let schemes = of_all(|url| Some(url.scheme().to_owned()));
    if schemes.iter().any(|scheme| scheme != "https") {
        table.insert("schemes".to_owned(), texts(&schemes));
    }
    if used.urls.iter().any(|url| url.port().is_some()) {
        let ports: BTreeSet<u16> = used.urls.iter().filter_map(Url::port_or_known_default).collect();
        table.insert(
            "ports".to_owned(),
            Value::Array(ports.into_iter().map(|port| Value::Integer(port.into())).collect()),
        );
    }
    table.insert("paths".to_owned(), texts(of_all(|url| Some(url.path().to_owned()))));
    if !rule.addresses.is_empty() {
        table.insert("addresses".to_owned(), texts(&rule.addresses));
    }
    table
}

fn peers(rule: &SocketRule) -> Table {
    let mut table = Table::new();
    table.insert("hosts".to_owned(), texts(rule.hosts.iter().cloned().map(String::from)));
    let ports = rule.ports.iter().map(|port| Value::Integer((*port).into()));
    table.insert("ports".to_owned(), Value::Array(ports.collect()));
    if !rule.addresses.is_empty() {
        table.insert("addresses".to_owned(), texts(&rule.addresses));
    }
    table
}
