//! What can be written of signers' keys, signatures and the trust policy.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ids::PackageName;

/// The keys that authors sign with.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SigningKeyCommand {
    /// Make a key pair: the secret key for you alone, the public one for hosts
    ///
    /// The files are those of minisign. The secret key is encrypted by a password, which is asked for.
    #[command(after_help = "\
Examples:
  portcullis signing-key generate author.key            author.key and author.pub
  portcullis signing-key generate ci.key --unencrypted  for a machine that nobody types at")]
    Generate {
        /// The secret key's file, made with mode 0600; the public key's is beside it, .pub instead of .key
        file: PathBuf,
        /// The file with the password. Default: it is asked for
        #[arg(long, value_name = "FILE", conflicts_with = "unencrypted")]
        password_file: Option<PathBuf>,
        /// Encrypt nothing: whoever reads the file can sign
        #[arg(long)]
        unencrypted: bool,
    },
    /// Show the public half of a key, and the line that a trust policy takes
    #[command(after_help = "Example:\n  portcullis signing-key show author.pub")]
    Show {
        /// The file of a public key, or of a secret one
        file: PathBuf,
        /// The file with the secret key's password. Default: it is asked for
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis sign notes.wasm --secret-key author.key --name notes --version 1.2.0
  portcullis sign notes.wasm --secret-key second.key --out notes.wasm.second.minisig
  minisign -V -p author.pub -m notes.wasm                minisign verifies it too")]
pub(in crate::cli) struct SignArguments {
    /// The component
    pub(in crate::cli) file: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) secret_key: PathBuf,
    /// The file with its password. Default: it is asked for
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// The package that it is: the signature then counts for no other name
    #[arg(long)]
    pub(in crate::cli) name: Option<PackageName>,
    /// Its version: the signature then counts for no other
    #[arg(long)]
    pub(in crate::cli) version: Option<semver::Version>,
    /// The signature's file. Default: that of the component with .minisig
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Replace it if it is there
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  portcullis verify notes.wasm --public-key author.pub
  portcullis verify notes.wasm --public-key RWQ… --signature signatures/

Ends with 8 if a signature is not what its key made, or one of the keys has made none.
Whether a host takes the component is said by its trust policy: `portcullis trust show`.")]
pub(in crate::cli) struct VerifySignatureArguments {
    /// The component
    pub(in crate::cli) file: PathBuf,
    /// A public key that must have signed it: its file, or its line. May be given several times
    #[arg(long, value_name = "KEY", required = true)]
    pub(in crate::cli) public_key: Vec<String>,
    /// A signature, or a folder of .minisig files. May be given several times. Default: FILE.minisig and
    /// FILE.*.minisig beside the component
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) signature: Vec<PathBuf>,
}

/// Whose signatures a host asks for.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TrustCommand {
    /// Put a trust policy in force: whose signatures which packages need
    ///
    /// It is looked at when a package is added, approved and called: what it does not trust any more can't be
    /// called, and running calls of it end.
    #[command(after_help = "Example:\n  portcullis trust apply trust.toml")]
    Apply {
        /// The file, or - for stdin
        file: PathBuf,
    },
    /// Show the trust policy that is in force, and what it does not trust
    Show,
    /// Go on without a trust policy: packages need an admin's approval, and no signature
    Remove,
}
