//! `[[issuer]]` and `[[client_certificate]]` of `serve.toml`: whose tokens and certificates let in, and as whom. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::path;
use crate::authn::{
    CertificateName, CertificateSettings, Claim, IssuerSettings, KeysAt, TokenAlgorithm, local_admin,
};
use crate::ids::{IssuerName, PrincipalId};
use crate::policy::parse::reader::{Keys, Node, Reader, Table};
use crate::policy::parse::values::{self, Problem, quoted};

/// The most issuers, certificates, items of a list and entries of a table, each.
const ISSUERS_MAX: usize = 16;
const CERTIFICATES_MAX: usize = 1_024;
const ITEMS_MAX: usize = 64;
const ENTRIES_MAX: usize = 1_024;
/// The most bytes of a text that is compared with one of a token or certificate.
const TEXT_BYTES_MAX: usize = 512;
/// The bounds of `leeway`, `keys_fresh` and `keys_stale`, in milliseconds.
const LEEWAY_MS: (u64, u64) = (0, 300_000);
const FRESH_MS: (u64, u64) = (1_000, 86_400_000);
const STALE_MS: (u64, u64) = (0, 7 * 86_400_000);

pub(super) const ISSUER_KEYS: Keys<'static> = Keys {
    known: &[
        "name",
        "issuer",
        "audience",
        "keys",
        "algorithms",
        "types",
        "principal_claim",
        "principal_prefix",
        "principals",
        "groups_claim",
        "groups",
        "roles_claim",
        "roles",
        "scopes",
        "leeway",
        "keys_fresh",
        "keys_stale",
        "addresses",
        "roots",
    ],
    later: &[],
};
pub(super) const CERTIFICATE_KEYS: Keys<'static> =
    Keys { known: &["uri", "dns", "sha256", "principal"], later: &[] };

/// Reads `[[issuer]]`. No two have one name, one `iss`, or prefixes by which a principal of the one could be one of
/// the other.
pub(super) fn read_issuers(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Vec<IssuerSettings> {
    let Some(node) = root.child("issuer") else { return Vec::new() };
    let mut issuers: Vec<IssuerSettings> = Vec::new();
    for table in tables(reader, &node, ISSUERS_MAX) {
        reader.check_keys(&table, ISSUER_KEYS);
        let Some(issuer) = read_issuer(reader, &table) else { continue };
        if let Some((name, help)) = issuers.iter().find_map(|other| clash(other, &issuer)) {
            let message = format!("issuer {} can be taken for issuer {name}", issuer.name);
            reader.report(table.span.clone(), &table.key, Problem::new(message, help));
            continue;
        }
        issuers.push(issuer);
    }
    issuers
}

/// Why a principal of one could be one of the other without anybody having said so.
fn clash(one: &IssuerSettings, other: &IssuerSettings) -> Option<(IssuerName, &'static str)> {
    let begins = |text: &str, issuer: &IssuerSettings| {
        issuer.principal_prefix.as_ref().is_some_and(|prefix| text.starts_with(prefix.as_str()))
    };
    let names = |issuer: &IssuerSettings, of: &IssuerSettings| {
        let prefix = issuer.principal_prefix.as_ref().is_some_and(|prefix| begins(prefix, of));
        prefix || issuer.principals.values().any(|principal| begins(principal.as_str(), of))
    };
    let help = if one.name == other.name {
        "give each a name of its own"
    } else if one.issuer == other.issuer {
        "write each issuer once"
    } else if names(one, other) || names(other, one) {
        "give each a `principal_prefix` that no principal of another begins with"
    } else {
        return None;
    };
    Some((one.name.clone(), help))
}

fn read_issuer(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<IssuerSettings> {
    let name: Option<IssuerName> = required(reader, table, "name", |reader, node| reader.parsed(node));
    let issuer = required(reader, table, "issuer", |reader, node| {
        let text = reader.string(node)?.to_owned();
        let url = reader.keep(node, IssuerSettings::url(&text).map_err(|error| Problem::new(error, "")))?;
        Some((text, url))
    });
    let audiences = required(reader, table, "audience", |reader, node| {
        // One is written without brackets as well.
        let items = if node.value.is_array() { items(reader, node) } else { vec![node.clone()] };
        let audiences = texts(reader, &items);
        if audiences.is_empty() {
            let help =
                "write the URL by which agents ask for tokens, such as `public_url` with /mcp after it";
            reader.report_node(node, Problem::new("a token would be for nobody", help));
        }
        Some(audiences)
    });
    let keys = table.child("keys").map_or(Some(KeysAt::Metadata), |node| read_keys(reader, &node));
    let algorithms = list(reader, table, "algorithms", |reader, item| reader.parsed(item));
    let types = list(reader, table, "types", |reader, item| {
        let text = reader.string(item)?.to_ascii_lowercase();
        Some(text.strip_prefix("application/").map_or(text.clone(), str::to_owned))
    });
    let principals = entries::<PrincipalId>(reader, table, "principals");
    if principals.values().any(|principal| *principal == local_admin()) {
        let message = "local-admin is whoever can open the data folder, and nobody else";
        reader.report(table.span.clone(), &table.key_of("principals"), Problem::new(message, ""));
    }
    let prefix = match table.child("principal_prefix") {
        Some(node) => read_prefix(reader, &node),
        None if principals.is_empty() => name.as_ref().map(|name| format!("{name}.")),
        None => None,
    };
    let groups = read_meanings(reader, table, "groups");
    let roles = read_meanings(reader, table, "roles");
    let principal_claim = claim(reader, table, "principal_claim").or_else(|| Claim::new("sub"))?;
    let scopes = list(reader, table, "scopes", scope).unwrap_or_default();
    let seconds = Duration::from_secs;
    let leeway = duration(reader, table, "leeway", LEEWAY_MS).unwrap_or(seconds(30));
    let keys_fresh = duration(reader, table, "keys_fresh", FRESH_MS).unwrap_or(seconds(300));
    let keys_stale = duration(reader, table, "keys_stale", STALE_MS).unwrap_or(seconds(3_600));
    let addresses = list(reader, table, "addresses", network).unwrap_or_default();
    let roots = table.child("roots").and_then(|node| path(reader, &node));
    let (issuer, url) = issuer?;
    Some(IssuerSettings {
        name: name?,
        url,
        issuer,
        audiences: audiences?,
        keys: keys?,
        algorithms: algorithms.unwrap_or_else(|| {
            vec![TokenAlgorithm::RS256, TokenAlgorithm::PS256, TokenAlgorithm::ES256, TokenAlgorithm::EdDSA]
        }),
        types: types.unwrap_or_else(|| vec!["at+jwt".to_owned()]),
        principal_claim,
        principal_prefix: prefix,
        principals,
        groups,
        roles,
        scopes,
        leeway,
        addresses,
        roots,
        keys_fresh,
        keys_stale,
    })
}

fn read_keys(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<KeysAt> {
    let text = reader.string(node)?;
    let help = "write \"discovery\", the URL of a JWK set, or the absolute path of a file with one";
    match text {
        "discovery" => Some(KeysAt::Metadata),
        _ if text.starts_with('/') => path(reader, node).map(KeysAt::File),
        _ => {
            let url = IssuerSettings::url(text);
            let url = url.map_err(|error| Problem::new(format!("{}: {error}", quoted(text)), help));
            reader.keep(node, url).map(KeysAt::Url)
        }
    }
}

/// A prefix is the beginning of a name; none at all would let an issuer name everybody.
fn read_prefix(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<String> {
    let text = reader.string(node)?;
    let help = "write the beginning of a principal's name, such as \"corp.\", or name each in `principals`";
    let checked = match text.parse::<PrincipalId>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Problem::new(format!("{} begins no name of a principal", quoted(text)), help)),
    };
    reader.keep(node, checked)
}

/// `groups` and `groups_claim`, or the same of roles: both or none.
fn read_meanings<T>(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    name: &str,
) -> Option<(Claim, BTreeMap<String, T>)>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let claim_key = format!("{name}_claim");
    let (claim_node, means_node) = (table.child(&claim_key), table.child(name));
    match (claim_node, means_node) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            let means = entries(reader, table, name);
            Some((claim(reader, table, &claim_key)?, means))
        }
        (Some(alone), None) | (None, Some(alone)) => {
            let message = format!("`{name}` and `{claim_key}` go together");
            let help =
                "name the claim, and what each of its values means: one that is not named means nothing";
            reader.report_node(&alone, Problem::new(message, help));
            None
        }
    }
}

/// Reads `[[client_certificate]]`.
pub(super) fn read_certificates(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Vec<CertificateSettings> {
    let Some(node) = root.child("client_certificate") else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let mut certificates = Vec::new();
    for table in tables(reader, &node, CERTIFICATES_MAX) {
        reader.check_keys(&table, CERTIFICATE_KEYS);
        let principal = required(reader, &table, "principal", |reader, node| reader.parsed(node));
        let named: Vec<_> = ["uri", "dns", "sha256"].iter().filter_map(|key| table.child(key)).collect();
        let [node] = named.as_slice() else {
            let help = "name one of `uri`, `dns` and `sha256`";
            let message = format!("{} of them say which certificate it is", named.len());
            reader.report(table.span.clone(), &table.key, Problem::new(message, help));
            continue;
        };
        let name = match node.key.rsplit('.').next() {
            Some("uri") => text(reader, node).map(CertificateName::Uri),
            Some("dns") => text(reader, node).map(CertificateName::Dns),
            _ => reader.parsed(node).map(CertificateName::Digest),
        };
        let (Some(principal), Some(name)) = (principal, name) else { continue };
        if principal == local_admin() {
            let message = "local-admin is whoever can open the data folder, and nobody else";
            reader.report_node(node, Problem::new(message, ""));
        } else if seen.insert(name.clone()) {
            certificates.push(CertificateSettings { name, principal });
        } else {
            reader.report_node(node, Problem::new("it is somebody's already", "write each once"));
        }
    }
    certificates
}

fn tables<'a, 'i>(reader: &mut Reader<'_>, node: &Node<'a, 'i>, max: usize) -> Vec<Table<'a, 'i>> {
    let items = reader.tables(node);
    if items.len() > max {
        let message = format!("there are {} of these, at most {max} are read", items.len());
        reader.report_node(node, Problem::new(message, ""));
        return Vec::new();
    }
    items.iter().filter_map(|item| reader.table(item)).collect()
}

fn required<'a, 'i, T>(
    reader: &mut Reader<'_>,
    table: &Table<'a, 'i>,
    name: &str,
    read: impl FnOnce(&mut Reader<'_>, &Node<'a, 'i>) -> Option<T>,
) -> Option<T> {
    let node = reader.required(table, name)?;
    read(reader, &node)
}

fn items<'a, 'i>(reader: &mut Reader<'_>, node: &Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
    let items = reader.list(node).unwrap_or_default();
    if items.len() > ITEMS_MAX {
        let message = format!("it has {} entries", items.len());
        reader.report_node(node, Problem::new(message, &format!("write at most {ITEMS_MAX}")));
        return Vec::new();
    }
    items
}

/// The items of a list, if it is there.
fn list<T>(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    name: &str,
    read: impl Fn(&mut Reader<'_>, &Node<'_, '_>) -> Option<T>,
) -> Option<Vec<T>> {
    let node = table.child(name)?;
    let items = items(reader, &node);
    Some(items.iter().filter_map(|item| read(reader, item)).collect())
}

fn texts(reader: &mut Reader<'_>, items: &[Node<'_, '_>]) -> Vec<String> {
    items.iter().filter_map(|item| text(reader, item)).collect()
}

fn text(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<String> {
    let text = reader.string(node)?;
    let is_right = (1..=TEXT_BYTES_MAX).contains(&text.len());
    let problem = || Problem::new(format!("{} has {} bytes", quoted(text), text.len()), "write 1 to 512");
    reader.keep(node, if is_right { Ok(text.to_owned()) } else { Err(problem()) })
}

/// As a scope is written (RFC 6749, 3.3): it goes into a header.
fn scope(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<String> {
    let scope = text(reader, node)?;
    let fits = |byte: u8| byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
    let problem = || Problem::new(format!("{} is no scope", quoted(&scope)), "write one scope in each text");
    let checked = if scope.bytes().all(fits) { Ok(scope.clone()) } else { Err(problem()) };
    reader.keep(node, checked)
}

fn claim(reader: &mut Reader<'_>, table: &Table<'_, '_>, name: &str) -> Option<Claim> {
    let node = table.child(name)?;
    text(reader, &node).and_then(|text| Claim::new(&text))
}

fn network(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<IpNet> {
    let text = reader.string(node)?;
    let help = "write a network such as \"10.1.0.0/16\", or \"127.0.0.1/32\" for one address";
    let parsed = text.parse::<IpNet>().ok().filter(|network| *network == network.trunc());
    let problem = || Problem::new(format!("{} is not a network in CIDR notation", quoted(text)), help);
    reader.keep(node, parsed.ok_or_else(problem))
}

fn duration(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    name: &str,
    (min, max): (u64, u64),
) -> Option<Duration> {
    let node = table.child(name)?;
    let text = reader.string(&node)?;
    let number = reader.keep(&node, values::duration_ms(text))?;
    let problem = || {
        let message = format!("{} is out of bounds", quoted(text));
        Problem::new(message, &format!("write {min} to {max} milliseconds"))
    };
    let checked = if (min..=max).contains(&number) { Ok(number) } else { Err(problem()) };
    reader.keep(&node, checked).map(Duration::from_millis)
}

/// A table of texts, each with what it means.
fn entries<T>(reader: &mut Reader<'_>, table: &Table<'_, '_>, name: &str) -> BTreeMap<String, T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let Some(node) = table.child(name) else { return BTreeMap::new() };
    let Some(table) = reader.table(&node) else { return BTreeMap::new() };
    let children = table.children();
    if children.len() > ENTRIES_MAX {
        let message = format!("it has {} entries", children.len());
        reader.report_node(&node, Problem::new(message, &format!("write at most {ENTRIES_MAX}")));
        return BTreeMap::new();
    }
    let mut read = |(name, _, node): (&str, _, Node<'_, '_>)| Some((name.to_owned(), reader.parsed(&node)?));
    children.into_iter().filter_map(&mut read).collect()
}
