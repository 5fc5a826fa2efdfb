//! How a host is served: the data folder's `serve.toml`, checked. Pure.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::policy::parse::reader::{Keys, Node, Reader, Table};
use crate::policy::parse::values::{Problem, quoted};
use crate::policy::parse::{Diagnostic, parse_settings};

/// The most bytes of the settings file.
pub const SERVE_FILE_BYTES_MAX: usize = 64 << 10;
/// Where a host listens unless it is said.
pub const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7878);
/// The most addresses, names and origins, each.
const ITEMS_MAX: usize = 64;

const KEYS: Keys<'static> = Keys {
    known: &[
        "listen",
        "tls_cert",
        "tls_key",
        "insecure_listen",
        "requests_per_minute",
        "allowed_hosts",
        "allowed_origins",
    ],
    later: &[],
};

/// The file as `portcullis config init` writes it: each key, with what it is by default.
pub const SERVE_FILE: &str = "\
# How `portcullis serve` is reached by agents and programs. What is not named is as written here; options of the
# command line come before this file. Unknown keys are errors.

# Where it listens: IP:PORT. Port 0 takes any that is free. []: on the owner's socket only.
listen = [\"127.0.0.1:7878\"]

# The certificate with what signed it, and its private key: PEM files, by absolute paths. Both or none; none:
# in the clear, on this machine only. They are read again when they are replaced.
# tls_cert = \"/etc/portcullis/chain.pem\"
# tls_key = \"/etc/portcullis/key.pem\"

# Listen beyond this machine without TLS: whoever is on the way sees keys, arguments and answers.
insecure_listen = false

# How many requests of one agent are taken a minute, all its keys together. Not named: any number.
# requests_per_minute = 6000

# Names by which it may be asked for, beside addresses and localhost.
allowed_hosts = []

# Origins whose pages may ask, beside its own, such as \"https://console.example.org\".
allowed_origins = []
";

/// How a host is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// Where it listens. Default: [`LISTEN_DEFAULT`].
    pub listen: Vec<SocketAddr>,
    /// Files of the certificate and its key. Default: none, in the clear.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether it may listen beyond this machine in the clear. Default: no.
    pub insecure_listen: bool,
    /// Requests of one agent a minute. Default: any number.
    pub requests_per_minute: Option<u32>,
    /// Names by which it may be asked for. Default: none but addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may ask. Default: its own.
    pub allowed_origins: Vec<String>,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: vec![LISTEN_DEFAULT],
            tls: None,
            insecure_listen: false,
            requests_per_minute: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// Reads `serve.toml`. What it does not name is as by default.
///
/// # Errors
/// Every error that was found, in the order of the file, at most 100. They are the fault of who wrote it.
pub fn parse_serve_settings(text: &str) -> Result<ServeSettings, Vec<Diagnostic>> {
    parse_settings(text, SERVE_FILE_BYTES_MAX, KEYS, |reader, root| {
        let mut settings = ServeSettings::default();
        if let Some(node) = root.child("listen") {
            let items = items(reader, &node);
            settings.listen = items.iter().filter_map(|item| reader.parsed(item)).collect();
        }
        settings.tls = read_tls(reader, root);
        if let Some(said) = root.child("insecure_listen").and_then(|node| reader.boolean(&node)) {
            settings.insecure_listen = said;
        }
        settings.requests_per_minute = read_rate(reader, root);
        for (name, kept) in [
            ("allowed_hosts", &mut settings.allowed_hosts),
            ("allowed_origins", &mut settings.allowed_origins),
        ] {
            if let Some(node) = root.child(name) {
                let items = items(reader, &node);
                *kept = items.iter().filter_map(|item| reader.string(item)).map(str::to_owned).collect();
            }
        }
        settings
    })
}

fn items<'a, 'i>(reader: &mut Reader<'_>, node: &Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
    let items = reader.list(node).unwrap_or_default();
    if items.len() > ITEMS_MAX {
        let message = format!("`{}` has {} entries", node.key, items.len());
        reader.report_node(node, Problem::new(message, &format!("write at most {ITEMS_MAX}")));
        return Vec::new();
    }
    items
}

fn read_tls(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Option<(PathBuf, PathBuf)> {
    let (certificate, key) = (root.child("tls_cert"), root.child("tls_key"));
    match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((path(reader, &certificate)?, path(reader, &key)?)),
        (Some(alone), None) | (None, Some(alone)) => {
            reader.report_node(&alone, Problem::new("a certificate and its key go together", "name both"));
            None
        }
    }
}

fn path(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<PathBuf> {
    let path = PathBuf::from(reader.string(node)?);
    if path.is_absolute() {
        return Some(path);
    }
    let message = format!("{} is not an absolute path", quoted(&path.to_string_lossy()));
    reader.report_node(node, Problem::new(message, ""));
    None
}

fn read_rate(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Option<u32> {
    let node = root.child("requests_per_minute")?;
    let number = reader.integer(&node)?;
    let rate = u32::try_from(number).ok().filter(|rate| *rate > 0);
    if rate.is_none() {
        let message = format!("`requests_per_minute` is {number}");
        let help = "write a number from 1 to 4294967295, or leave it out: then any number is taken";
        reader.report_node(&node, Problem::new(message, help));
    }
    rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_written_says_what_is_so_without_it_and_has_every_key() {
        assert_eq!(parse_serve_settings(""), Ok(ServeSettings::default()));
        assert_eq!(parse_serve_settings(SERVE_FILE), Ok(ServeSettings::default()));
        for key in KEYS.known {
            let line = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert!(SERVE_FILE.lines().any(line), "{key}");
        }
        // What is commented out can be taken in.
        let commented = |line: &str| KEYS.known.iter().any(|key| line.starts_with(&format!("# {key} = ")));
        let all: Vec<&str> = SERVE_FILE
            .lines()
            .map(|line| if commented(line) { line.trim_start_matches("# ") } else { line })
            .collect();
        let settings = parse_serve_settings(&all.join("\n")).expect("sound");
        assert_eq!(settings.requests_per_minute, Some(6_000));
        assert!(settings.tls.is_some());
    }

    #[test]
    fn what_can_not_be_kept_is_an_error_with_its_line_and_key() {
        let text = r#"listen = ["7878", "0.0.0.0:1"]
            listn = []
            tls_cert = "chain.pem"
            insecure_listen = "yes"
            requests_per_minute = 0
            allowed_hosts = "a"
            allowed_origins = [1]
        "#;
        let errors = parse_serve_settings(text).expect_err("refused");
        let found: Vec<_> = errors.iter().map(|error| (error.line, error.key.as_str())).collect();
        let expected = [
            (1, "listen[0]"),
            (2, "listn"),
            (3, "tls_cert"),
            (4, "insecure_listen"),
            (5, "requests_per_minute"),
            (6, "allowed_hosts"),
            (7, "allowed_origins[0]"),
        ];
        assert_eq!(found, expected, "{errors:#?}");
        let relative = "tls_cert = \"a\"\ntls_key = \"/b\"\n";
        assert!(parse_serve_settings(relative).expect_err("refused")[0].message.contains("absolute"));
    }
}
