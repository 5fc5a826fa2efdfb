//! What an admin asks about principals, secrets and the state that tools keep.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use crate::fairness::Weight;
use crate::ids::{PackageName, PrincipalId, Remark, SecretName, StoreName};
use crate::policy::{QuotasChange, Role, parse_size};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PrincipalCommand {
    /// Make a principal known, or change its role and note
    ///
    /// An agent need not be added: a grant that names it is what lets it call. One that is added is not
    /// pointed out as new when a grants file names it, and one that was removed may call again.
    #[command(after_help = "Example:\n  portcullis principal add researcher --note \"team A\" --weight 2")]
    Add {
        /// Its name, as grants and `--as` write it
        name: PrincipalId,
        /// What it is for. Only agents call tools
        #[arg(long, default_value = Role::Agent.name(), value_parser = role())]
        role: Role,
        /// A line about it, for admins
        #[arg(long, value_name = "TEXT")]
        note: Option<Remark>,
        #[command(flatten)]
        quotas: QuotaArguments,
    },
    /// Show a principal: its grants, what it may use, and what it uses of that
    Show {
        /// Its name
        name: PrincipalId,
    },
    /// Say how much a principal may use, over all packages; what is not said stays as it is. Without options: show it
    ///
    /// Where a quota is used up, its calls are refused (429) until there is room again.
    #[command(after_help = "\
Examples:
  portcullis principal limit researcher --weight 2 --calls-per-minute 60
  portcullis principal limit researcher --calls-per-minute none")]
    Limit {
        /// Its name
        name: PrincipalId,
        #[command(flatten)]
        quotas: QuotaArguments,
    },
    /// List principals that were added or removed, or that a grant names
    List,
    /// Bar a principal: it may call nothing, whatever grants say, and its running calls end
    Remove {
        /// Its name
        name: PrincipalId,
    },
}

/// What a principal or a package may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub(in crate::cli) struct QuotaArguments {
    /// How much more it is given than others when there is too little: 1 to 100, or none, which is 1
    #[arg(long, value_name = "NUMBER", value_parser = quota::<Weight>)]
    weight: Option<Said<Weight>>,
    /// Calls that run at once. With none, as the host's limits and grants say
    #[arg(long, value_name = "NUMBER", value_parser = quota::<u64>)]
    concurrency: Option<Said<u64>>,
    /// Calls within any minute
    #[arg(long, value_name = "NUMBER", value_parser = quota::<u64>)]
    calls_per_minute: Option<Said<u64>>,
    /// Fuel within any hour
    #[arg(long, value_name = "FUEL", value_parser = quota::<u64>)]
    fuel_per_hour: Option<Said<u64>>,
    /// Bytes sent over the network within any day, such as 10MiB
    #[arg(long, value_name = "SIZE", value_parser = quota_bytes)]
    egress_per_day: Option<Said<u64>>,
}

/// A value, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Said<T>(Option<T>);

const NONE: &str = "none";

fn quota<T: FromStr<Err: Display>>(text: &str) -> Result<Said<T>, String> {
    if text == NONE {
        return Ok(Said(None));
    }
    let parsed = text.replace('_', "").parse().map(|value| Said(Some(value)));
    parsed.map_err(|error: T::Err| format!("{error}; or write {NONE}"))
}

fn quota_bytes(text: &str) -> Result<Said<u64>, String> {
    if text == NONE {
        return Ok(Said(None));
    }
    let bytes =
        text.parse().or_else(|_| parse_size(text)).map_err(|error| format!("{error}; or write {NONE}"))?;
    Ok(Said(Some(bytes)))
}

impl From<QuotaArguments> for QuotasChange {
    fn from(arguments: QuotaArguments) -> Self {
        let QuotaArguments { weight, concurrency, calls_per_minute, fuel_per_hour, egress_per_day } =
            arguments;
        Self {
            weight: weight.map(|said| said.0),
            concurrency: concurrency.map(|said| said.0),
            calls_per_minute: calls_per_minute.map(|said| said.0),
            fuel_per_hour: fuel_per_hour.map(|said| said.0),
            egress_per_day: egress_per_day.map(|said| said.0),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SecretCommand {
    /// Store a secret, or replace its value; running calls that were given the former one end
    ///
    /// The value comes from stdin or a file, never from an argument, which other processes could read. At a terminal
    /// it is asked for and not shown. 8
    /// bytes to 64 KiB; one newline at the end is cut. It is kept encrypted in the database, to the key in
    /// secrets.key of the data folder (made with the first secret) or in $PORTCULLIS_SECRETS_KEY (an age
    /// identity). No command shows it again.
    #[command(after_help = "\
Examples:
  pass show github/token | portcullis secret set github
  portcullis secret set signing-key --file key.pem
  portcullis secret set github                      asks for it at the terminal, and does not show it")]
    Set {
        /// Its name, as grants write it
        name: SecretName,
        /// The file that holds the value. Default: stdin
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the stored secrets: names, dates, who; never a value
    #[command(after_help = "Example:\n  portcullis secret list --json | jq -r '.[].name'")]
    List,
    /// Remove a secret; running calls that were given it end
    ///
    /// Grants that name it stay, and give nothing of it until it is stored again. Works without the key.
    #[command(after_help = "Example:\n  portcullis secret remove github")]
    Remove {
        /// Its name
        name: SecretName,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StateCommand {
    /// List the stores that packages keep: whose, how many keys and bytes; never a key or a value
    #[command(after_help = "\
Examples:
  portcullis state list
  portcullis state list notes --json | jq '[.stores[].bytes] | add'")]
    List {
        /// Only of this package
        package: Option<PackageName>,
    },
    /// Delete all keys of a store; calls that run go on, and find it empty
    ///
    /// Grants of the store stay, so that the tool may begin it anew. It is recorded, and can't be undone but from a
    /// backup.
    #[command(after_help = "\
Examples:
  portcullis state clear notes default
  portcullis state clear notes default --agent researcher")]
    Clear {
        /// Whose state it is
        package: PackageName,
        /// The store's name, as grants write it
        store: StoreName,
        /// The store that is this agent's own. Default: the one that all agents share
        #[arg(long, value_name = "AGENT")]
        agent: Option<PrincipalId>,
    },
}

pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::name))
        .map(|name| name.parse().expect("only names of roles are let through"))
}
