//! How a host is served: the data folder's `serve.toml`, checked. Pure.

mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;

use self::trust::{read_certificates, read_issuers};
use super::tls::ClientFiles;
use crate::authn::TrustSettings;
use crate::egress::CanonicalUrl;
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
        "tls_client_ca",
        "tls_client_crl",
        "tls_client_required",
        "insecure_listen",
        "requests_per_minute",
        "allowed_hosts",
        "allowed_origins",
        "public_url",
        "issuer",
        "client_certificate",
    ],
    later: &[],
};

/// The file as `portcullis config init` writes it: each key, with what it is by default.
pub const SERVE_FILE: &str = "\
# How `portcullis serve` is reached by agents and programs. What is not named is as written here; options of the
# command line come before this file. Unknown keys are errors. A running host reads it again when it gets SIGHUP
# (`systemctl reload portcullis`): all but `listen` is then as it says; a file with errors changes nothing.

# Where it listens: IP:PORT. Port 0 takes any that is free. []: on the owner's socket only.
listen = [\"127.0.0.1:7878\"]

# The certificate with what signed it, and its private key: PEM files, by absolute paths. Both or none; none:
# in the clear, on this machine only. They are read again when they are replaced.
# tls_cert = \"/etc/portcullis/chain.pem\"
# tls_key = \"/etc/portcullis/key.pem\"

# Client certificates (mTLS): those who sign them (PEM), and lists of those that were revoked (CRLs in PEM, one for
# each who signs). Required: nobody connects without one. See [[client_certificate]] below.
# tls_client_ca = \"/etc/portcullis/clients.pem\"
# tls_client_crl = \"/etc/portcullis/revoked.pem\"
# tls_client_required = false

# Listen beyond this machine without TLS: whoever is on the way sees keys, arguments and answers.
insecure_listen = false

# How many requests of one agent are taken a minute, all its keys together. Not named: any number.
# requests_per_minute = 6000

# Names by which it may be asked for, beside addresses and localhost.
allowed_hosts = []

# Origins whose pages may ask, beside its own, such as \"https://console.example.org\".
allowed_origins = []

# By which URL agents and programs know this host, without a path. It is one of its names, and the resource that
# tokens are asked for: needed where there are issuers and it listens beyond this machine.
# public_url = \"https://tools.example.org\"

# Issuers whose tokens (JWT) are taken beside keys; as many as there are.
# [[issuer]]
# name = \"corp\"                              # for the log; principals are named corp.VALUE unless said otherwise
# issuer = \"https://login.example.org\"       # its `iss`, exactly
# audience = [\"https://tools.example.org/mcp\"]  # a token must be for one of these
# keys = \"discovery\"                         # or the URL of a JWK set, or the absolute path of a file with one
# algorithms = [\"RS256\", \"PS256\", \"ES256\", \"EdDSA\"]
# types = [\"at+jwt\"]                         # add \"JWT\" if its access tokens have that type
# principal_claim = \"sub\"                    # a name, or a JSON Pointer such as \"/act/sub\"
# principal_prefix = \"corp.\"
# principals = {}                            # { \"value of the claim\" = \"principal\" }; without a prefix, only these
# groups_claim = \"groups\"                    # with groups: nobody is in a group by a token but so
# groups = {}                                # { \"value of the claim\" = \"group of grants files\" }
# roles_claim = \"roles\"                      # with roles: by a token everybody is an agent but so
# roles = {}                                 # { \"value of the claim\" = \"agent\", \"author\", \"auditor\" or \"admin\" }
# scopes = []                                # each must be in the token
# leeway = \"30s\"                             # between its clock and this one
# keys_fresh = \"5m\"                          # its keys are fetched again after this long,
# keys_stale = \"1h\"                          # and used for so long when they can't be
# addresses = []                             # networks that it may be reached in, beside public addresses
# roots = \"/etc/portcullis/roots.pem\"        # certificates that are believed of it; else the system's

# Whose client certificates are: by a URI or DNS name in them, or by their SHA-256. Others say nothing.
# [[client_certificate]]
# uri = \"spiffe://example.org/agents/researcher\"   # or dns = \"...\", or sha256 = \"64 hex digits\"
# principal = \"researcher\"
";

/// How a host is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// Where it listens. Default: [`LISTEN_DEFAULT`].
    pub listen: Vec<SocketAddr>,
    /// Files of the certificate and its key. Default: none, in the clear.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whose certificates are asked for, if it has TLS. Default: nobody's.
    pub tls_clients: Option<ClientFiles>,
    /// Whether it may listen beyond this machine in the clear. Default: no.
    pub insecure_listen: bool,
    /// Requests of one agent a minute. Default: any number.
    pub requests_per_minute: Option<u32>,
    /// Names by which it may be asked for. Default: none but addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may ask. Default: its own.
    pub allowed_origins: Vec<String>,
    /// By which URL it is known, without a path. Default: by what each request asks for.
    pub public_url: Option<CanonicalUrl>,
    /// Issuers and client certificates that let in. Default: none.
    pub trust: TrustSettings,
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
            tls_clients: None,
            public_url: None,
            trust: TrustSettings::default(),
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
        settings.tls_clients = read_tls_clients(reader, root);
        settings.public_url = read_public_url(reader, root);
        settings.trust = TrustSettings {
            issuers: read_issuers(reader, root),
            certificates: read_certificates(reader, root),
        };
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

fn read_tls_clients(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Option<ClientFiles> {
    let required = root.child("tls_client_required");
    let required = required.map(|node| (reader.boolean(&node), node));
    let revoked = root.child("tls_client_crl");
    let Some(ca) = root.child("tls_client_ca") else {
        let needless = required.filter(|(said, _)| *said == Some(true)).map(|(_, node)| node).or(revoked);
        if let Some(node) = needless {
            let message = format!("`{}` says nothing without those who sign certificates", node.key);
            reader.report_node(&node, Problem::new(message, "name `tls_client_ca` as well"));
        }
        return None;
    };
    let revoked = match revoked {
        Some(node) => Some(path(reader, &node)?),
        None => None,
    };
    let required = required.and_then(|(said, _)| said).unwrap_or(false);
    Some(ClientFiles { ca: path(reader, &ca)?, revoked, required })
}

fn read_public_url(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Option<CanonicalUrl> {
    let node = root.child("public_url")?;
    let text = reader.string(&node)?;
    let help = "write a URL without a path, such as \"https://tools.example.org\"";
    let parsed = CanonicalUrl::parse(text)
        .map_err(|error| Problem::new(format!("{} is no URL: {error}", quoted(text)), help));
    let url = reader.keep(&node, parsed)?;
    if url.path() != "/" || url.query().is_some() {
        reader.report_node(&node, Problem::new(format!("{} has a path or a query", quoted(text)), help));
        return None;
    }
    Some(url)
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
    use crate::authn::IssuerSettings;

    #[test]
    fn the_file_that_is_written_says_what_is_so_without_it_and_has_every_key() {
        assert_eq!(parse_serve_settings(""), Ok(ServeSettings::default()));
        assert_eq!(parse_serve_settings(SERVE_FILE), Ok(ServeSettings::default()));
        let of_tables = trust::ISSUER_KEYS.known.iter().chain(trust::CERTIFICATE_KEYS.known);
        for key in KEYS.known.iter().chain(of_tables) {
            let begins = |line: &str| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} = ")) || line == format!("[[{key}]]")
            };
            let is_beside = ["dns", "sha256"].contains(key) && SERVE_FILE.contains(&format!("or {key} = "));
            assert!(SERVE_FILE.lines().any(begins) || is_beside, "{key}");
        }
        // What is commented out can be taken in.
        let commented = |line: &'static str| {
            line.strip_prefix("# ").filter(|rest: &&str| {
                let key = rest.split(" = ").next().unwrap_or_default();
                rest.starts_with("[[") || rest.contains(" = ") && !key.contains(' ')
            })
        };
        let all: Vec<&str> = SERVE_FILE.lines().map(|line| commented(line).unwrap_or(line)).collect();
        let settings = parse_serve_settings(&all.join("\n")).unwrap_or_else(|errors| panic!("{errors:#?}"));
        assert_eq!(settings.requests_per_minute, Some(6_000));
        assert!(settings.tls.is_some() && settings.tls_clients.is_some() && settings.public_url.is_some());
        assert_eq!((settings.trust.issuers.len(), settings.trust.certificates.len()), (1, 1));
        // What it says of an issuer's keys is what is so without them.
        let short = "[[issuer]]\nname = \"corp\"\nissuer = \"https://login.example.org\"\n\
                     audience = \"https://tools.example.org/mcp\"\n";
        let short = parse_serve_settings(short).expect("sound");
        let said =
            IssuerSettings { roots: None, groups: None, roles: None, ..settings.trust.issuers[0].clone() };
        assert_eq!(short.trust.issuers, [said]);
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
