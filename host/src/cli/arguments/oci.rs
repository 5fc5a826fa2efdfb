//! What can be written of registries.

use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

use crate::registry::oci::Reference;

/// How a registry is reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Registry")]
pub(in crate::cli) struct RegistryArguments {
    /// The file with a token for the registry, sent as it is when the registry asks
    #[arg(long, value_name = "FILE", conflicts_with = "docker_config")]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Docker's configuration, whose `auths`, `credHelpers` and `credsStore` are used. Default:
    /// $DOCKER_CONFIG/config.json, else ~/.docker/config.json
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) docker_config: Option<PathBuf>,
    /// Addresses that may be connected to beside public ones, if the registry or its token service has them.
    /// May be given several times
    #[arg(long, value_name = "CIDR")]
    pub(in crate::cli) allow_network: Vec<IpNet>,
    /// The certificates that are believed of the registry and its token service, PEM. Default: the system's.
    /// With it a registry on this machine is spoken to over TLS too
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) registry_ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis push notes.wasm oci://registry.example/tools/notes:1.2.0
  portcullis push notes.wasm oci://localhost:5000/notes:1.2.0   a registry on this machine, without TLS

The signatures beside the component (FILE.minisig, FILE.*.minisig) are pushed with it.")]
pub(in crate::cli) struct PushArguments {
    /// The component
    pub(in crate::cli) file: PathBuf,
    /// Where to: oci://HOST/REPOSITORY:TAG
    pub(in crate::cli) reference: Reference,
    /// A signature, or a folder of .minisig files. May be given several times. Default: FILE.minisig and
    /// FILE.*.minisig beside the component
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) signature: Vec<PathBuf>,
    /// The version that the manifest says
    #[arg(long)]
    pub(in crate::cli) version: Option<semver::Version>,
    /// An SBOM that is attached: SPDX or CycloneDX, as JSON. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) sbom: Vec<PathBuf>,
    /// A provenance that is attached: an in-toto statement about these bytes, or a DSSE envelope of one. May be
    /// given several times
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) provenance: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) registry: RegistryArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis pull oci://registry.example/tools/notes:1.2.0
  portcullis pull oci://registry.example/tools/notes@sha256:… --out notes.wasm

What breaks off is kept in FILE.partial, and gone on with the next time. Signatures, SBOMs and provenance are
written beside the component.")]
pub(in crate::cli) struct PullArguments {
    /// The component: oci://HOST/REPOSITORY, with :TAG or @sha256:HEX
    pub(in crate::cli) reference: Reference,
    /// The file to write. Default: the last part of the repository's name, with .wasm
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Replace it if it is there
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) registry: RegistryArguments,
}
