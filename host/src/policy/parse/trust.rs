//! `trust.toml`: whose signatures which packages need. Pure.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::diagnostic::Diagnostic;
use super::parse_settings;
use super::reader::{Keys, Node, Reader, Table};
use super::values::{Problem, nearest, quoted};
use crate::ids::{Remark, SignerName};
use crate::policy::trust::{TrustPolicy, TrustRule, TrustedIdentity, TrustedKey, Uncovered};
use crate::signing::{PublicKey, TrustRoot, is_bundle};

/// The most bytes of a trust policy.
pub const TRUST_FILE_BYTES_MAX: usize = 256 << 10;

/// The most keys of a trust policy.
const KEYS_MAX: usize = 1_000;
/// The most rules of a trust policy.
const RULES_MAX: usize = 1_000;
/// The most patterns, and the most signers, of one rule.
const NAMES_MAX: usize = 100;
/// The most bytes of an identity, and of its issuer.
const IDENTITY_BYTES_MAX: usize = 500;

const TOP_KEYS: Keys<'static> =
    Keys { known: &["uncovered", "keys", "identities", "sigstore", "package", "upgrade"], later: &[] };
const KEY_KEYS: Keys<'static> = Keys { known: &["key", "revoked"], later: &[] };
const RULE_KEYS: Keys<'static> = Keys { known: &["names", "signers", "needed"], later: &[] };
const IDENTITY_KEYS: Keys<'static> = Keys { known: &["subject", "issuer", "revoked"], later: &[] };
const SIGSTORE_KEYS: Keys<'static> = Keys { known: &["trusted_root"], later: &[] };
const UPGRADE_KEYS: Keys<'static> = Keys { known: &["approve"], later: &[] };

/// Reads a trust policy.
///
/// # Errors
/// Every error that was found, in the order of the file, at most 100. They are the fault of who wrote it.
pub fn parse_trust(text: &str) -> Result<TrustPolicy, Vec<Diagnostic>> {
    parse_settings(text, TRUST_FILE_BYTES_MAX, TOP_KEYS, |reader, root| {
        if root.entries.is_empty() {
            let help = "write [keys] and [[package]]; `portcullis trust remove` goes on without a policy";
            reader.report(
                0..0,
                "",
                Problem::new("the file says nothing, which would deny every package", help),
            );
        }
        let keys = root.child("keys").map(|node| read_keys(reader, &node)).unwrap_or_default();
        let uncovered = root.child("uncovered").and_then(|node| {
            let word = reader.string(&node)?;
            let known = match word {
                "deny" => Ok(Uncovered::Deny),
                "unsigned" => Ok(Uncovered::Unsigned),
                other => Err(Problem::new(
                    format!("{} is not known", quoted(other)),
                    "write \"deny\", which is the default, or \"unsigned\": what no [[package]] covers then needs an admin's approval only",
                )),
            };
            reader.keep(&node, known)
        });
        let identities =
            root.child("identities").map(|node| read_identities(reader, &node, &keys)).unwrap_or_default();
        let trust_root = root.child("sigstore").and_then(|node| read_sigstore(reader, &node));
        if let Some(node) = root.child("identities").filter(|_| root.child("sigstore").is_none()) {
            let help = "write [sigstore] with trusted_root = \"trusted_root.json\"";
            reader.report_node(&node, Problem::new("nobody vouches for these identities", help));
        }
        let signers: BTreeSet<&SignerName> = keys.keys().chain(identities.keys()).collect();
        let rules = root.child("package").map(|node| read_rules(reader, &node, &signers)).unwrap_or_default();
        let approves_narrower = root.child("upgrade").is_some_and(|node| read_upgrade(reader, &node));
        TrustPolicy {
            source: text.to_owned(),
            uncovered: uncovered.unwrap_or(Uncovered::Deny),
            keys,
            identities,
            root: trust_root,
            rules,
            approves_narrower,
        }
    })
}

fn read_keys(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> BTreeMap<SignerName, TrustedKey> {
    let mut keys: BTreeMap<SignerName, TrustedKey> = BTreeMap::new();
    let Some(table) = reader.table(node) else { return keys };
    let children = table.children();
    if children.len() > KEYS_MAX {
        reader.report_node(
            node,
            Problem::new(format!("there are {} keys, at most {KEYS_MAX}", children.len()), ""),
        );
        return keys;
    }
    for (name, span, node) in children {
        let Some(key) = read_key(reader, &node) else { continue };
        // One key under two names would count twice.
        let double = keys.iter().find(|(_, known)| known.key.id() == key.key.id());
        if let Some((other, _)) = double {
            let message = format!("this key, or one of the same number, is {other}'s already");
            reader.report_node(&node, Problem::new(message, "give each key one name"));
            continue;
        }
        match name.parse::<SignerName>() {
            Ok(name) => {
                keys.insert(name, key);
            }
            Err(error) => reader.report(span, &node.key, Problem::new(error.to_string(), "")),
        }
    }
    keys
}

fn read_key(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<TrustedKey> {
    if !node.value.is_table() {
        return Some(TrustedKey { key: reader.parsed::<PublicKey>(node)?, revoked: None });
    }
    let table = reader.table(node)?;
    reader.check_keys(&table, KEY_KEYS);
    let key = reader.required(&table, "key").and_then(|node| reader.parsed::<PublicKey>(&node));
    let revoked = match table.child("revoked") {
        // A reason that can't be read must not leave the key in use.
        Some(node) => Some(reader.parsed::<Remark>(&node)?),
        None => None,
    };
    Some(TrustedKey { key: key?, revoked })
}

/// The identities of Sigstore, by the names that rules use.
fn read_identities(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    keys: &BTreeMap<SignerName, TrustedKey>,
) -> BTreeMap<SignerName, TrustedIdentity> {
    let mut identities: BTreeMap<SignerName, TrustedIdentity> = BTreeMap::new();
    let Some(table) = reader.table(node) else { return identities };
    let children = table.children();
    if children.len() > KEYS_MAX {
        let message = format!("there are {} identities, at most {KEYS_MAX}", children.len());
        reader.report_node(node, Problem::new(message, ""));
        return identities;
    }
    for (name, span, node) in children {
        let Some(identity) = read_identity(reader, &node) else { continue };
        let is_same = |known: &TrustedIdentity| {
            (&known.subject, &known.issuer) == (&identity.subject, &identity.issuer)
        };
        // One identity under two names would count twice.
        if let Some((other, _)) = identities.iter().find(|(_, known)| is_same(known)) {
            let message = format!("this identity is {other}'s already");
            reader.report_node(&node, Problem::new(message, "give each identity one name"));
            continue;
        }
        match name.parse::<SignerName>() {
            Ok(name) if keys.contains_key(&name) => {
                let help = "give the identity another name";
                reader.report(span, &node.key, Problem::new(format!("{name} is a key already"), help));
            }
            Ok(name) => {
                identities.insert(name, identity);
            }
            Err(error) => reader.report(span, &node.key, Problem::new(error.to_string(), "")),
        }
    }
    identities
}

fn read_identity(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<TrustedIdentity> {
    let table = reader.table(node)?;
    reader.check_keys(&table, IDENTITY_KEYS);
    let subject = reader.required(&table, "subject").and_then(|node| {
        let text = reader.string(&node)?.to_owned();
        let fixed = text.strip_suffix('*');
        // A star that could stand for a name of somebody else would be anybody's leave.
        let is_bounded = fixed.is_none_or(|fixed| fixed.starts_with("https://") && fixed.contains("@refs/"));
        let is_plain = (1..=IDENTITY_BYTES_MAX).contains(&text.len())
            && !fixed.unwrap_or(&text).contains('*')
            && crate::text::clean_line(&text, IDENTITY_BYTES_MAX) == text;
        let problem = || {
            let message = format!("{} names no one identity", quoted(&text));
            Problem::new(
                message,
                "write the whole URI or mail address; a star may end it after `@refs/` only",
            )
        };
        let checked = if is_bounded && is_plain { Ok(()) } else { Err(problem()) };
        reader.keep(&node, checked).map(|()| text)
    });
    let issuer = reader.required(&table, "issuer").and_then(|node| {
        let text = reader.string(&node)?.to_owned();
        let is_url = text.starts_with("https://") && text.len() <= IDENTITY_BYTES_MAX && !text.contains('*');
        let problem = || {
            Problem::new(
                format!("{} is no issuer", quoted(&text)),
                "write its URL, which begins with https://",
            )
        };
        reader.keep(&node, if is_url { Ok(()) } else { Err(problem()) }).map(|()| text)
    });
    let revoked = match table.child("revoked") {
        // A reason that can't be read must not leave the identity in use.
        Some(node) => Some(reader.parsed::<Remark>(&node)?),
        None => None,
    };
    Some(TrustedIdentity { subject: subject?, issuer: issuer?, revoked })
}

fn read_sigstore(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<TrustRoot> {
    let table = reader.table(node)?;
    reader.check_keys(&table, SIGSTORE_KEYS);
    let node = reader.required(&table, "trusted_root")?;
    let text = reader.string(&node)?;
    if !is_bundle(text) {
        let problem = Problem::new(
            "the name of a file stands for what is in it",
            "`portcullis trust apply` puts it here; over the API, write the JSON itself",
        );
        reader.report_node(&node, problem);
        return None;
    }
    let read = text.parse::<TrustRoot>().map_err(|error| Problem::new(error.to_string(), ""));
    reader.keep(&node, read)
}

/// Where the value of `sigstore.trusted_root` stands in a text, if it is the name of a file; and that name. For whoever
/// has the file: a host reads none.
pub fn trusted_root_file(text: &str) -> Option<(std::ops::Range<usize>, String)> {
    #[derive(serde::Deserialize)]
    struct Policy {
        sigstore: Option<Sigstore>,
    }
    #[derive(serde::Deserialize)]
    struct Sigstore {
        trusted_root: Option<toml::Spanned<String>>,
    }
    let policy: Policy = toml::from_str(text).ok()?;
    let root = policy.sigstore?.trusted_root?;
    let name = root.get_ref().clone();
    (!is_bundle(&name)).then(|| (root.span(), name))
}

fn read_rules(reader: &mut Reader<'_>, node: &Node<'_, '_>, keys: &BTreeSet<&SignerName>) -> Vec<TrustRule> {
    let items = reader.tables(node);
    if items.len() > RULES_MAX {
        reader.report_node(
            node,
            Problem::new(format!("there are {} rules, at most {RULES_MAX}", items.len()), ""),
        );
        return Vec::new();
    }
    let mut rules = Vec::new();
    for item in items {
        let Some(table) = reader.table(&item) else { continue };
        reader.check_keys(&table, RULE_KEYS);
        rules.extend(read_rule(reader, &table, keys));
    }
    rules
}

fn read_rule(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    keys: &BTreeSet<&SignerName>,
) -> Option<TrustRule> {
    let names = reader.required(table, "names");
    let packages = names.and_then(|node| some(reader, &node, "a pattern of names, such as \"acme-*\""));
    let packages = packages.map(|items| items.iter().filter_map(|item| reader.parsed(item)).collect());
    let signers = reader.required(table, "signers");
    let signers = signers.and_then(|node| some(reader, &node, "a signer of [keys]"));
    let signers: Option<BTreeSet<SignerName>> = signers.map(|items| {
        let known = items.iter().filter_map(|item| {
            let name = reader.parsed::<SignerName>(item)?;
            if keys.contains(&name) {
                return Some(name);
            }
            let near = nearest(name.as_str(), keys.iter().map(|known| known.as_str()));
            let help = near.map_or_else(
                || "name its key in [keys], or its identity in [identities]".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            reader.report_node(item, Problem::new(format!("there is no key of {name}"), &help));
            None
        });
        known.collect()
    });
    let needed = match table.child("needed") {
        Some(node) => {
            let count = reader.integer(&node)?;
            let max = signers.as_ref().map_or(0, BTreeSet::len);
            let fits = usize::try_from(count).ok().filter(|count| (1..=max.max(1)).contains(count));
            let problem =
                || Problem::new(format!("`needed` is {count}, of {max} signers"), "write 1 to their number");
            reader.keep(&node, fits.ok_or_else(problem))?
        }
        None => 1,
    };
    Some(TrustRule { packages: packages?, signers: signers?, needed })
}

/// A list with something in it: none would read as all.
fn some<'a, 'i>(reader: &mut Reader<'_>, node: &Node<'a, 'i>, what: &str) -> Option<Vec<Node<'a, 'i>>> {
    let items = reader.list(node)?;
    if items.is_empty() || items.len() > NAMES_MAX {
        let message = format!("the list has {} entries, and must have 1 to {NAMES_MAX}", items.len());
        reader.report_node(node, Problem::new(message, &format!("write {what}")));
        return None;
    }
    Some(items)
}

fn read_upgrade(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> bool {
    let Some(table) = reader.table(node) else { return false };
    reader.check_keys(&table, UPGRADE_KEYS);
    let Some(node) = reader.required(&table, "approve") else { return false };
    let Some(word) = reader.string(&node) else { return false };
    let known = match word {
        "never" => Ok(false),
        "same-or-narrower" => Ok(true),
        other => Err(Problem::new(
            format!("{} is not known", quoted(other)),
            "write \"never\", which is the default, or \"same-or-narrower\"",
        )),
    };
    reader.keep(&node, known).unwrap_or(false)
}
