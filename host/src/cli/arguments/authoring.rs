//! What authors write: `new`, `build`, `dev`, `run`, `test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::RegistryArguments;
use crate::authoring::project::{Kind, Language};
use crate::ids::{PackageName, ToolName};

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArguments {
    /// Its name, and the folder's: words of a-z and 0-9, joined by hyphens
    pub(in crate::cli) name: PackageName,
    /// What the tool is written in: rust, python, javascript or c
    #[arg(long, value_name = "LANGUAGE")]
    pub(in crate::cli) lang: Language,
    /// How the tool says what it takes: by the types of its WIT, or by the SDK (not for C)
    #[arg(long, value_enum, default_value_t = KindArgument::Typed)]
    pub(in crate::cli) kind: KindArgument,
    /// The folder `guest-sdk` of a checkout, for --kind sdk in Rust. Default: the copy in this program, written into the project
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KindArgument {
    /// By the types of its exports, in WIT
    Typed,
    /// By the SDK of the language: plain functions, whose schemas are made of what they say
    Sdk,
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Typed => Kind::Typed,
            KindArgument::Sdk => Kind::Sdk,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArguments {
    /// The project's folder
    #[arg(default_value = ".")]
    pub(in crate::cli) folder: PathBuf,
    /// The component that is written. Default: NAME.wasm in the project's folder
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DevArguments {
    /// The project's folder
    #[arg(default_value = ".")]
    pub(in crate::cli) folder: PathBuf,
    /// Where it is served, on this machine only. Default: any port that is free
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(in crate::cli) port: u16,
    /// Do not read stdin: serve until a signal comes
    #[arg(long)]
    pub(in crate::cli) no_repl: bool,
    #[command(flatten)]
    pub(in crate::cli) allowed: Allowed,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArguments {
    /// The component
    pub(in crate::cli) file: PathBuf,
    /// Which of its tools, if it has several
    pub(in crate::cli) tool: Option<ToolName>,
    /// The arguments, a JSON object: as text, @FILE, or - for stdin
    #[arg(default_value = "{}", value_name = "ARGS")]
    pub(in crate::cli) args: String,
    #[command(flatten)]
    pub(in crate::cli) allowed: Allowed,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArguments {
    /// The project's folder
    #[arg(default_value = ".")]
    pub(in crate::cli) folder: PathBuf,
    /// Only cases whose name has this in it
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) filter: Option<String>,
    /// Test this component. Default: the project is built first
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) component: Option<PathBuf>,
    /// Make a case of this name from a live run, into tests/NAME.toml
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) record: Option<String>,
    /// With --record: which tool, if there are several
    #[arg(long, requires = "record")]
    pub(in crate::cli) tool: Option<ToolName>,
    /// With --record: the arguments, a JSON object: as text, @FILE, or - for stdin
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(in crate::cli) args: String,
    #[command(flatten)]
    pub(in crate::cli) allowed: Allowed,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArguments {
    /// The component: a file, or oci://HOST/REPOSITORY with :TAG or @sha256:HEX
    #[arg(required_unless_present = "diff")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Show what differs between two files instead
    #[arg(
        long,
        num_args = 2,
        value_names = ["OLD", "NEW"],
        conflicts_with_all = ["file", "advisories", "sbom", "provenance"]
    )]
    pub(in crate::cli) diff: Vec<PathBuf>,
    /// A copy of the RustSec advisory database, to look up the crates that the component was built from, and those
    /// that its SBOMs list
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) advisories: Option<PathBuf>,
    /// An SBOM of it: SPDX or CycloneDX, as JSON. May be given several times. Default, with --provenance: what `pull`
    /// writes beside a component, or what is attached to it in the registry
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) sbom: Vec<PathBuf>,
    /// A provenance of it: an in-toto statement, or a DSSE envelope or Sigstore bundle of one. It must be about these
    /// bytes. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) provenance: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) registry: RegistryArguments,
}

impl Allowed {
    /// Whether no flag was given.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        let Self { http, dir, env, config, keyvalue, tcp, udp, dns, limit } = self;
        [http, dir, env, config, keyvalue, tcp, udp, dns, limit].into_iter().all(Vec::is_empty)
    }
}

/// Flags that make a grant. What stands in braces is in the words of a grants file.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct Allowed {
    /// Requests: `GET https://api.example.com/v1/**`, or `{ hosts = […], methods = […], … }`
    #[arg(long = "allow-http", value_name = "RULE")]
    pub(in crate::cli) http: Vec<String>,
    /// A folder: `/reports=HOST_FOLDER`, with `,read-write` to write there
    #[arg(long = "allow-dir", value_name = "GUEST=HOST")]
    pub(in crate::cli) dir: Vec<String>,
    /// A variable of its environment
    #[arg(long = "allow-env", value_name = "NAME=VALUE")]
    pub(in crate::cli) env: Vec<String>,
    /// A value of its configuration
    #[arg(long = "allow-config", value_name = "NAME=VALUE")]
    pub(in crate::cli) config: Vec<String>,
    /// A store, to read and write: `STORE`, or `{ store = "…", scope = "agent", access = "read" }`
    #[arg(long = "allow-keyvalue", value_name = "RULE")]
    pub(in crate::cli) keyvalue: Vec<String>,
    /// Connections: `HOST:PORT`, or `{ hosts = […], ports = […] }`
    #[arg(long = "allow-tcp", value_name = "RULE")]
    pub(in crate::cli) tcp: Vec<String>,
    /// Datagrams, as --allow-tcp
    #[arg(long = "allow-udp", value_name = "RULE")]
    pub(in crate::cli) udp: Vec<String>,
    /// Lookups of a name
    #[arg(long = "allow-dns", value_name = "NAME")]
    pub(in crate::cli) dns: Vec<String>,
    /// A limit, such as `fuel=5000000` or `memory=64MiB`
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub(in crate::cli) limit: Vec<String>,
}
