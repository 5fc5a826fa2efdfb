//! `[[grant.http]]`: which requests a tool may send. Pure.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;

use super::grant::Host;
use super::inject::Inject;
use super::reader::{Keys, Node, Reader, Table};
use super::values::{Problem, quoted};
use crate::egress::{HostPattern, PathPattern, Scheme};
use crate::policy::rule::{HttpMethod, HttpRule, Rule};

/// The most `[[grant.http]]` of one grant.
const HTTP_PER_GRANT_MAX: usize = 64;
/// The most entries of one list of a rule.
const ENTRIES_MAX: usize = 256;
/// The most bytes of a query's key.
const QUERY_KEY_BYTES_MAX: usize = 256;

const KEYS: Keys<'static> = Keys {
    known: &[
        "hosts",
        "schemes",
        "ports",
        "methods",
        "paths",
        "query",
        "addresses",
        "requests_per_minute",
        "inject",
        "inject_over_http",
        "on_leak",
    ],
    later: &[],
};

/// Reads all of one grant.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    let tables = reader.rules(node, HTTP_PER_GRANT_MAX, KEYS);
    tables.into_iter().filter_map(|table| read_rule(reader, &table)).map(Rule::Http).collect()
}

pub(super) fn read_rule(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<HttpRule> {
    let hosts = required_list::<HostPattern>(reader, table, "hosts", "hosts = [\"api.example.com\"]");
    let methods = required_list::<HttpMethod>(reader, table, "methods", "methods = [\"GET\"]");
    let schemes = match table.child("schemes") {
        Some(node) => filled(reader, &node, r#"schemes = ["https"]"#, scheme),
        None => Some([Scheme::Https].into()),
    };
    let ports = match (table.child("ports"), &schemes) {
        (Some(node), _) => filled(reader, &node, "ports = [443]", port),
        (None, Some(schemes)) => Some(schemes.iter().map(|scheme| scheme.default_port()).collect()),
        (None, None) => None,
    };
    let paths = match table.child("paths") {
        Some(node) => filled(reader, &node, r#"paths = ["/v1/**"]"#, parsed::<PathPattern>),
        None => Some([PathPattern::all()].into()),
    };
    let query = match table.child("query") {
        Some(node) => Some(Some(entries(reader, &node, query_key)?)),
        None => Some(None),
    };
    let addresses = match table.child("addresses") {
        Some(node) => filled(reader, &node, r#"addresses = ["10.1.0.0/16"]"#, network),
        None => Some(BTreeSet::new()),
    };
    let requests_per_minute = match table.child("requests_per_minute") {
        Some(node) => Some(Some(rate(reader, &node)?)),
        None => Some(None),
    };
    let inject = super::inject::read(reader, table, methods.as_ref(), schemes.as_ref());
    let Inject { injections, on_leak } = inject?;
    Some(HttpRule {
        inject: injections,
        on_leak,
        hosts: hosts?,
        schemes: schemes?,
        ports: ports?,
        methods: methods?,
        paths: paths?,
        query: query?,
        addresses: addresses?,
        requests_per_minute: requests_per_minute?,
    })
}

pub(super) type ReadEntry<T> = fn(&mut Reader<'_>, &Node<'_, '_>) -> Option<T>;

/// A list of which every entry must be right, and none twice.
fn entries<T: Ord>(reader: &mut Reader<'_>, node: &Node<'_, '_>, read: ReadEntry<T>) -> Option<BTreeSet<T>> {
    let items = reader.list(node)?;
    if items.len() > ENTRIES_MAX {
        let message = format!("the list has {} entries, at most {ENTRIES_MAX}", items.len());
        reader.report_node(node, Problem::new(message, "divide it among several rules"));
        return None;
    }
    let mut read_all = BTreeSet::new();
    let mut is_right = true;
    for item in items {
        match read(reader, &item) {
            None => is_right = false,
            Some(entry) => {
                if !read_all.insert(entry) {
                    reader.report_node(&item, Problem::new("this is in the list twice", ""));
                    is_right = false;
                }
            }
        }
    }
    is_right.then_some(read_all)
}

/// The same, with one entry at least.
pub(super) fn filled<T: Ord>(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    example: &str,
    read: ReadEntry<T>,
) -> Option<BTreeSet<T>> {
    let read_all = entries(reader, node, read)?;
    if read_all.is_empty() {
        let help = format!("name what is allowed: {example}");
        reader.report_node(node, Problem::new("the list is empty, so the rule would allow nothing", &help));
        return None;
    }
    Some(read_all)
}

fn required_list<T>(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    name: &str,
    example: &str,
) -> Option<BTreeSet<T>>
where
    T: Ord + FromStr,
    T::Err: std::fmt::Display,
{
    let node = reader.required(table, name)?;
    filled(reader, &node, example, parsed::<T>)
}

pub(super) fn parsed<T>(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    reader.parsed(node)
}

fn scheme(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<Scheme> {
    let text = reader.string(node)?;
    let known = Scheme::ALL.into_iter().find(|scheme| scheme.as_str() == text);
    let problem = || Problem::new(format!("{} is not a scheme", quoted(text)), r#"write "https" or "http""#);
    reader.keep(node, known.ok_or_else(problem))
}

pub(super) fn port(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<u16> {
    let number = reader.integer(node)?;
    let port = u16::try_from(number).ok().filter(|port| *port != 0);
    reader.keep(node, port.ok_or_else(|| Problem::new("a port is a number from 1 to 65535", "")))
}

fn query_key(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<String> {
    let text = reader.string(node)?;
    let is_key = text.len() <= QUERY_KEY_BYTES_MAX && !text.chars().any(char::is_control);
    let help = "write the key alone, decoded, of at most 256 bytes, such as \"page\"";
    let key = if is_key { Ok(text.to_owned()) } else { Err(Problem::new("this is no key of a query", help)) };
    reader.keep(node, key)
}

/// A network in CIDR notation, without bits beyond its prefix, which would mean another than is read.
pub(super) fn network(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<IpNet> {
    let text = reader.string(node)?;
    let help = "write a network such as \"10.1.0.0/16\", or \"127.0.0.1/32\" for one address";
    let parsed = text
        .parse::<IpNet>()
        .map_err(|_| Problem::new(format!("{} is not a network in CIDR notation", quoted(text)), help));
    let network = reader.keep(node, parsed)?;
    let exact = if network == network.trunc() {
        Ok(network)
    } else {
        let help = format!("write \"{}\"", network.trunc());
        Err(Problem::new(format!("{network} has bits beyond its prefix"), &help))
    };
    reader.keep(node, exact)
}

fn rate(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<NonZeroU32> {
    let number = reader.integer(node)?;
    let rate = u32::try_from(number).ok().and_then(NonZeroU32::new);
    let problem = || Problem::new("this is a number from 1 to 4294967295", "leave it out for no such bound");
    reader.keep(node, rate.ok_or_else(problem))
}
