//! `[[ship]]` and `[[anchor]]` of `audit.toml`: where records and checkpoints go beside the data folder. Pure.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::audit::anchoring::WitnessKey;
use crate::egress::{CanonicalUrl, Scheme, UrlHost};
use crate::ids::OutletName;
use crate::policy::parse::reader::{Keys, Node, Reader, Table};
use crate::policy::parse::values::{self, Problem, quoted};

/// The most outlets of each sort.
const OUTLETS_MAX: usize = 16;
/// The most arguments of a command, and the most bytes of each.
const ARGUMENTS_MAX: usize = 64;
const ARGUMENT_BYTES_MAX: usize = 4 << 10;
/// The bounds of `lag_max`, in milliseconds.
const LAG_MS: (u64, u64) = (1_000, 30 * 86_400_000);
const LAG_MAX_DEFAULT: Duration = Duration::from_secs(300);
/// The bounds of `every`, in milliseconds.
const EVERY_MS: (u64, u64) = (100, 86_400_000);
const EVERY_DEFAULT: Duration = Duration::from_secs(10);

/// Where records are shipped to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipSettings {
    /// Its name, which its cursor is kept under.
    pub name: OutletName,
    /// What it is.
    pub sink: ShipSink,
    /// How long it may take nothing before that is an alarm. Default: 5 minutes.
    pub lag_max: Duration,
}

/// What records are shipped to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShipSink {
    /// A file that is appended to.
    File {
        /// Absolute, outside the data folder.
        path: PathBuf,
    },
    /// Syslog (RFC 5424) over TCP or TLS.
    Syslog {
        /// To whom.
        host: UrlHost,
        /// To which port.
        port: u16,
        /// Whether over TLS. Default: yes.
        tls: bool,
        /// How it is reached.
        peer: Peer,
    },
    /// OTLP over HTTP, in JSON.
    Otlp {
        /// The whole URL, such as `https://collector.example.com/v1/logs`.
        url: CanonicalUrl,
        /// What is sent. Default: logs.
        signal: Signal,
        /// How it is reached.
        peer: Peer,
    },
}

/// What a collector is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Each record.
    #[default]
    Logs,
    /// Calls and their effects, as spans.
    Traces,
}

/// How an outlet in the network is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Networks that may be connected to beside public addresses.
    pub addresses: Vec<IpNet>,
    /// A PEM file with the certificates that are believed. Default: the system's.
    pub roots: Option<PathBuf>,
    /// A file with a token that is sent as `authorization: Bearer`.
    pub bearer: Option<PathBuf>,
}

/// Where checkpoints are anchored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorSettings {
    /// Its name, which what it said is kept under.
    pub name: OutletName,
    /// What it is.
    pub sink: AnchorSink,
    /// The least time between two checkpoints. Default: 10 seconds.
    pub every: Duration,
    /// Whether calls are refused while it lags by more than `lag_max`. Default: no.
    pub required: bool,
    /// How long it may lag before that is an alarm. Default: 5 minutes.
    pub lag_max: Duration,
}

/// What checkpoints are given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorSink {
    /// A file that is appended to.
    File {
        /// Absolute, outside the data folder.
        path: PathBuf,
    },
    /// A program that reads a checkpoint from its stdin, and ends with 0 when it has kept it.
    Command {
        /// The program, absolute, and its arguments.
        command: Vec<String>,
        /// How long it may take. Default: 10 seconds.
        timeout: Duration,
    },
    /// A witness (C2SP `tlog-witness`), which checks that the log only grew, and cosigns.
    Witness {
        /// Its `add-checkpoint`.
        url: CanonicalUrl,
        /// Its public key, as C2SP `signed-note` writes it.
        key: String,
        /// How it is reached.
        peer: Peer,
    },
}

/// The outlets in one list of tables.
fn tables<'a, 'i>(reader: &mut Reader<'_>, root: &Table<'a, 'i>, name: &str) -> Vec<Table<'a, 'i>> {
    let Some(node) = root.child(name) else { return Vec::new() };
    let items = reader.tables(&node);
    if items.len() > OUTLETS_MAX {
        let message = format!("there are {} of these, at most {OUTLETS_MAX} are served", items.len());
        reader.report_node(&node, Problem::new(message, ""));
        return Vec::new();
    }
    items.iter().filter_map(|item| reader.table(item)).collect()
}

/// Reads the name, which no other of the sort has.
fn name(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    names: &mut BTreeSet<OutletName>,
) -> Option<OutletName> {
    let node = reader.required(table, "name")?;
    let name: OutletName = reader.parsed(&node)?;
    if !names.insert(name.clone()) {
        let message = format!("another is named {name} already");
        reader
            .report_node(&node, Problem::new(message, "its progress is kept under its name: choose another"));
        return None;
    }
    Some(name)
}

/// The kind, and the keys that such a one may have.
fn kind<'a>(
    reader: &mut Reader<'_>,
    table: &Table<'a, '_>,
    kinds: &[(&str, &[&str])],
    common: &[&str],
) -> Option<&'a str> {
    let node = reader.required(table, "kind")?;
    let text = reader.string(&node)?;
    let Some((_, own)) = kinds.iter().find(|(kind, _)| *kind == text) else {
        let known: Vec<_> = kinds.iter().map(|(kind, _)| format!("\"{kind}\"")).collect();
        let help = format!("write one of {}", known.join(", "));
        reader.report_node(&node, Problem::new(format!("{} is no kind of outlet", quoted(text)), &help));
        return None;
    };
    let known: Vec<&str> = common.iter().chain(*own).copied().collect();
    reader.check_keys(table, Keys { known: &known, later: &[] });
    Some(text)
}

pub(super) fn read_ship(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Vec<ShipSettings> {
    const KINDS: [(&str, &[&str]); 3] = [
        ("file", &["path"]),
        ("syslog", &["address", "tls", "addresses", "roots"]),
        ("otlp", &["url", "signal", "addresses", "roots", "bearer"]),
    ];
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for table in tables(reader, root, "ship") {
        let name = name(reader, &table, &mut names);
        let kind = kind(reader, &table, &KINDS, &["name", "kind", "lag_max"]);
        let lag_max = duration(reader, &table, "lag_max", LAG_MS).unwrap_or(LAG_MAX_DEFAULT);
        let sink = match kind {
            Some("file") => path(reader, &table, "path", true).map(|path| ShipSink::File { path }),
            Some("syslog") => syslog(reader, &table),
            Some(_) => otlp(reader, &table),
            None => None,
        };
        if let (Some(name), Some(sink)) = (name, sink) {
            found.push(ShipSettings { name, sink, lag_max });
        }
    }
    found
}

pub(super) fn read_anchors(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Vec<AnchorSettings> {
    const KINDS: [(&str, &[&str]); 3] = [
        ("file", &["path"]),
        ("command", &["command", "timeout"]),
        ("witness", &["url", "key", "addresses", "roots", "bearer"]),
    ];
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for table in tables(reader, root, "anchor") {
        let name = name(reader, &table, &mut names);
        let kind = kind(reader, &table, &KINDS, &["name", "kind", "every", "required", "lag_max"]);
        let lag_max = duration(reader, &table, "lag_max", LAG_MS).unwrap_or(LAG_MAX_DEFAULT);
        let every = duration(reader, &table, "every", EVERY_MS).unwrap_or(EVERY_DEFAULT);
        let required = flag(reader, &table, "required").unwrap_or(false);
        let sink = match kind {
            Some("file") => path(reader, &table, "path", true).map(|path| AnchorSink::File { path }),
            Some("command") => command(reader, &table),
            Some(_) => witness(reader, &table),
            None => None,
        };
        if let (Some(name), Some(sink)) = (name, sink) {
            found.push(AnchorSettings { name, sink, every, required, lag_max });
        }
    }
    found
}

fn otlp(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<ShipSink> {
    let url = url(reader, table);
    let signal = match table.child("signal") {
        None => Some(Signal::default()),
        Some(node) => match reader.string(&node)? {
            "logs" => Some(Signal::Logs),
            "traces" => Some(Signal::Traces),
            other => {
                let help = "write \"logs\" or \"traces\"";
                reader.report_node(&node, Problem::new(format!("{} is no signal", quoted(other)), help));
                None
            }
        },
    };
    let peer = peer(reader, table)?;
    Some(ShipSink::Otlp { url: url?, signal: signal?, peer })
}

fn syslog(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<ShipSink> {
    let node = reader.required(table, "address")?;
    let text = reader.string(&node)?;
    let help = "write host and port, such as \"siem.example.com:6514\" or \"[2001:db8::1]:6514\"";
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
        Some((UrlHost::parse(host).ok()?, port))
    });
    let problem = || Problem::new(format!("{} is no address of a server", quoted(text)), help);
    let address = reader.keep(&node, parsed.ok_or_else(problem));
    let tls = flag(reader, table, "tls").unwrap_or(true);
    let peer = peer(reader, table)?;
    let (host, port) = address?;
    Some(ShipSink::Syslog { host, port, tls, peer })
}

fn witness(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<AnchorSink> {
    let url = url(reader, table);
    let key = reader.required(table, "key").and_then(|node| {
        let text = reader.string(&node)?;
        let help = "write the witness's verifier key, NAME+ID+BASE64";
        let checked = WitnessKey::parse(text).map_err(|error| Problem::new(error, help));
        reader.keep(&node, checked).map(|_| text.to_owned())
    });
    let peer = peer(reader, table)?;
    Some(AnchorSink::Witness { url: url?, key: key?, peer })
}

fn command(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<AnchorSink> {
    let timeout = duration(reader, table, "timeout", (100, 600_000)).unwrap_or(Duration::from_secs(10));
    let node = reader.required(table, "command")?;
    let items = reader.list(&node)?;
    let mut command = Vec::new();
    for item in &items {
        let text = reader.string(item)?;
        if text.len() > ARGUMENT_BYTES_MAX || text.contains('\0') {
            let message = format!("an argument has at most {ARGUMENT_BYTES_MAX} bytes, and no NUL");
            reader.report_node(item, Problem::new(message, ""));
            return None;
        }
        command.push(text.to_owned());
    }
    let is_program = command.first().is_some_and(|program| program.starts_with('/'));
    if !is_program || command.len() > ARGUMENTS_MAX {
        let message = format!("a command is a program and at most {} arguments", ARGUMENTS_MAX - 1);
        let help = "write its absolute path first: no shell and no PATH is asked";
        reader.report_node(&node, Problem::new(message, help));
        return None;
    }
    Some(AnchorSink::Command { command, timeout })
}

fn url(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<CanonicalUrl> {
    let node = reader.required(table, "url")?;
    let text = reader.string(&node)?;
    let parsed = CanonicalUrl::parse(text)
        .map_err(|error| Problem::new(format!("{} is no URL: {error}", quoted(text)), ""));
    let url = reader.keep(&node, parsed)?;
    if url.scheme() == Scheme::Http && table.child("bearer").is_some() {
        let message = "a token would be sent in the clear";
        reader.report_node(&node, Problem::new(message, "write https, or leave `bearer` out"));
        return None;
    }
    Some(url)
}

fn peer(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<Peer> {
    let mut peer = Peer::default();
    let mut is_right = true;
    if let Some(node) = table.child("addresses") {
        for item in reader.list(&node)? {
            let text = reader.string(&item)?;
            let help = "write a network such as \"10.1.0.0/16\", or \"127.0.0.1/32\" for one address";
            let parsed = text.parse::<IpNet>().ok().filter(|network| *network == network.trunc());
            let problem =
                || Problem::new(format!("{} is not a network in CIDR notation", quoted(text)), help);
            match reader.keep(&item, parsed.ok_or_else(problem)) {
                Some(network) => peer.addresses.push(network),
                None => is_right = false,
            }
        }
    }
    for (key, at) in [("roots", &mut peer.roots), ("bearer", &mut peer.bearer)] {
        if table.child(key).is_some() {
            *at = path(reader, table, key, false);
            is_right &= at.is_some();
        }
    }
    is_right.then_some(peer)
}

fn path(reader: &mut Reader<'_>, table: &Table<'_, '_>, key: &str, required: bool) -> Option<PathBuf> {
    let node = if required { reader.required(table, key) } else { table.child(key) }?;
    let text = reader.string(&node)?;
    let is_path = text.starts_with('/') && !text.contains('\0') && !text.ends_with('/');
    let problem = || Problem::new(format!("{} is no absolute path of a file", quoted(text)), "");
    reader.keep(&node, if is_path { Ok(PathBuf::from(text)) } else { Err(problem()) })
}

fn flag(reader: &mut Reader<'_>, table: &Table<'_, '_>, key: &str) -> Option<bool> {
    let node: Node<'_, '_> = table.child(key)?;
    reader.boolean(&node)
}

fn duration(
    reader: &mut Reader<'_>,
    table: &Table<'_, '_>,
    key: &str,
    bounds: (u64, u64),
) -> Option<Duration> {
    let node = table.child(key)?;
    let text = reader.string(&node)?;
    let number = reader.keep(&node, values::duration_ms(text))?;
    super::within(reader, &node, number, bounds, "milliseconds").map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::super::parse_audit_settings;
    use super::*;

    #[test]
    fn outlets_are_read() {
        let text = r#"
            [[ship]]
            name = "siem"
            kind = "syslog"
            address = "siem.example.com:6514"
            lag_max = "1m"
            [[ship]]
            name = "collector"
            kind = "otlp"
            url = "https://10.0.0.7:4318/v1/logs"
            addresses = ["10.0.0.7/32"]
            roots = "/etc/roots.pem"
            bearer = "/etc/token"
            [[anchor]]
            name = "siem"
            kind = "command"
            command = ["/usr/bin/keep", "--log", "a"]
            required = true
        "#;
        let settings = parse_audit_settings(text).expect("right");
        assert_eq!(settings.ship.len(), 2);
        let syslog = ShipSink::Syslog {
            host: UrlHost::Name("siem.example.com".into()),
            port: 6514,
            tls: true,
            peer: Peer::default(),
        };
        let name: OutletName = "siem".parse().expect("a name");
        let lag_max = Duration::from_secs(60);
        assert_eq!(settings.ship[0], ShipSettings { name: name.clone(), sink: syslog, lag_max });
        let anchor = &settings.anchors[0];
        assert_eq!((&anchor.name, anchor.required, anchor.every), (&name, true, EVERY_DEFAULT));
    }

    #[test]
    fn an_outlet_that_can_not_be_is_an_error_with_line_and_key() {
        for (text, line, key) in [
            ("[[ship]]\nname = \"a\"\nkind = \"kafka\"", 3, "ship[0].kind"),
            ("[[ship]]\nname = \"a\"\nkind = \"file\"", 1, "ship[0].path"),
            ("[[ship]]\nname = \"a\"\nkind = \"file\"\npath = \"relative\"", 4, "ship[0].path"),
            ("[[ship]]\nname = \"a\"\nkind = \"file\"\npath = \"/a\"\nurl = \"https://a\"", 5, "ship[0].url"),
            ("[[ship]]\nname = \"A b\"\nkind = \"file\"\npath = \"/a\"", 2, "ship[0].name"),
            ("[[ship]]\nname = \"a\"\nkind = \"syslog\"\naddress = \"siem\"", 4, "ship[0].address"),
            (
                "[[ship]]\nname = \"a\"\nkind = \"otlp\"\nurl = \"http://a/\"\nbearer = \"/t\"",
                4,
                "ship[0].url",
            ),
            (
                "[[ship]]\nname = \"a\"\nkind = \"otlp\"\nurl = \"https://a/\"\naddresses = [\"10.0.0.1/8\"]",
                5,
                "ship[0].addresses[0]",
            ),
            (
                "[[ship]]\nname = \"a\"\nkind = \"file\"\npath = \"/a\"\nlag_max = \"1ms\"",
                5,
                "ship[0].lag_max",
            ),
            (
                "[[ship]]\nname = \"a\"\nkind = \"otlp\"\nurl = \"https://a/\"\nsignal = \"metrics\"",
                5,
                "ship[0].signal",
            ),
            ("[ship]\nname = \"a\"", 1, "ship"),
            ("[[anchor]]\nname = \"a\"\nkind = \"command\"\ncommand = [\"keep\"]", 4, "anchor[0].command"),
            (
                "[[anchor]]\nname = \"a\"\nkind = \"witness\"\nurl = \"https://a/\"\nkey = \"x\"",
                5,
                "anchor[0].key",
            ),
            (
                "[[anchor]]\nname = \"a\"\nkind = \"file\"\npath = \"/a\"\nrequired = 1",
                5,
                "anchor[0].required",
            ),
            (
                "[[anchor]]\nname = \"a\"\nkind = \"file\"\npath = \"/a\"\n[[anchor]]\nname = \"a\"\nkind = \"file\"\npath = \"/b\"",
                6,
                "anchor[1].name",
            ),
        ] {
            let errors = parse_audit_settings(text).expect_err(text);
            let found: Vec<_> = errors.iter().map(|error| (error.line, error.key.as_str())).collect();
            assert_eq!(found, [(line, key)], "{text}\n{errors:#?}");
        }
    }
}
