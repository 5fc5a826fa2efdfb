//! `[[grant.tcp]]`, `[[grant.udp]]` and `[[grant.dns]]`: whom a tool may reach, and what it may look up.
//! Pure.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::grant::Host;
use super::http::{filled, network, parsed, port};
use super::reader::{Keys, Node, Reader, Table};
use super::values::{Problem, quoted};
use crate::egress::{HostPattern, UrlHost, judge_address};
use crate::policy::rule::{DnsRule, Rule, SocketRule};

/// The most rules of one of these kinds in one grant.
const RULES_PER_GRANT_MAX: usize = 64;

const SOCKET_KEYS: Keys<'static> = Keys { known: &["hosts", "ports", "addresses"], later: &[] };
const DNS_KEYS: Keys<'static> = Keys { known: &["names"], later: &[] };

/// Reads all `[[grant.tcp]]` of one grant.
pub(super) fn read_tcp(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    read_sockets(reader, node).into_iter().map(Rule::Tcp).collect()
}

/// Reads all `[[grant.udp]]` of one grant.
pub(super) fn read_udp(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    read_sockets(reader, node).into_iter().map(Rule::Udp).collect()
}

/// Reads all `[[grant.dns]]` of one grant.
pub(super) fn read_dns(reader: &mut Reader<'_>, node: &Node<'_, '_>, _: Host<'_>) -> Vec<Rule> {
    let tables = reader.rules(node, RULES_PER_GRANT_MAX, DNS_KEYS);
    tables.into_iter().filter_map(|table| read_names(reader, &table)).map(Rule::Dns).collect()
}

pub(super) fn read_names(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<DnsRule> {
    let node = reader.required(table, "names")?;
    let names = filled(reader, &node, r#"names = ["*.example.com"]"#, name)?;
    Some(DnsRule { names })
}

fn read_sockets(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Vec<SocketRule> {
    let tables = reader.rules(node, RULES_PER_GRANT_MAX, SOCKET_KEYS);
    tables.into_iter().filter_map(|table| read_one(reader, &table)).collect()
}

pub(super) fn read_one(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<SocketRule> {
    let hosts_node = reader.required(table, "hosts");
    let hosts = hosts_node
        .as_ref()
        .and_then(|node| filled(reader, node, r#"hosts = ["db.example.com"]"#, parsed::<HostPattern>));
    let ports =
        reader.required(table, "ports").and_then(|node| filled(reader, &node, "ports = [5432]", port));
    let addresses = match table.child("addresses") {
        Some(node) => filled(reader, &node, r#"addresses = ["10.1.0.0/16"]"#, network),
        None => Some(BTreeSet::new()),
    };
    let (hosts, addresses) = (hosts?, addresses?);
    if let Some(problem) = unreachable(&hosts, &addresses) {
        reader.report_node(&hosts_node?, problem);
        return None;
    }
    Some(SocketRule { hosts, ports: ports?, addresses })
}

/// Why one of the hosts can never be reached, if one is an address that the judge will refuse.
fn unreachable(hosts: &BTreeSet<HostPattern>, addresses: &BTreeSet<IpNet>) -> Option<Problem> {
    let granted: Vec<_> = addresses.iter().copied().collect();
    hosts.iter().find_map(|host| match host {
        HostPattern::Exactly(UrlHost::Address(address)) => {
            let refused = judge_address(*address, &granted).err()?;
            let help = format!("add it: addresses = [\"{}\"]", IpNet::from(*address));
            let message =
                format!("{address} is a {} address, and `addresses` has no network with it", refused.class);
            Some(Problem::new(message, &help))
        }
        HostPattern::Exactly(UrlHost::Name(_)) | HostPattern::Below(_) => None,
    })
}

/// A name: an address needs no lookup.
fn name(reader: &mut Reader<'_>, item: &Node<'_, '_>) -> Option<HostPattern> {
    match reader.parsed::<HostPattern>(item)? {
        HostPattern::Exactly(UrlHost::Address(address)) => {
            let message = format!("{} is an address, which is never looked up", quoted(&address.to_string()));
            reader.report_node(item, Problem::new(message, "write a name, or use [[grant.tcp]] to connect"));
            None
        }
        pattern @ (HostPattern::Exactly(UrlHost::Name(_)) | HostPattern::Below(_)) => Some(pattern),
    }
}
