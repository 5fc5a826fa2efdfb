//! What can be written on the command line. Names and numbers are checked here, by being parsed.

mod admin;
pub(super) mod asking;
mod audit;
mod authoring;
mod calling;
mod oci;
mod serving;
mod signing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(super) use admin::{PrincipalCommand, QuotaArguments, SecretCommand, StateCommand};
pub(super) use authoring::{
    Allowed, BuildArguments, DevArguments, InspectArguments, NewArguments, RunArguments, TestArguments,
};
pub(super) use calling::{CallArguments, CallsCommand};
pub(super) use oci::{PullArguments, PushArguments, RegistryArguments};
pub(super) use serving::{ApiKeyCommand, ConfigCommand, Expiry, Listen, ServeArguments};
pub(super) use signing::{SignArguments, SigningKeyCommand, TrustCommand, VerifySignatureArguments};

use crate::ids::{CallId, GrantId, PackageDigest, PackageName, PrincipalId, Remark};

pub(super) use audit::{
    AuditCommand, BundleArguments, BundleVerifyArguments, ConsistencyArguments, EraseArguments,
    EvidenceCommand, LogArguments, ProveArguments, RotationsArguments, TailArguments, VerifyArguments,
    VerifyConsistencyArguments, VerifyReceiptArguments,
};

const AFTER_HELP: &str = "\
Examples:
  portcullis package add markdown.wasm           register a component; it has no power yet
  portcullis package inspect markdown            read what it asks for
  portcullis package approve markdown            these bytes may run, and no others
  portcullis grant apply grants.toml             who may call it, with which folders and limits
  portcullis call markdown render --as writer --args '{\"markdown\": \"# Hello\"}'
  portcullis audit tail --follow                 watch what happens
  portcullis doctor                              look whether this machine and folder are fit

Exit codes:
  0    done
  1    the host or its machine failed, or `doctor` found what does not work
  2    bad input: arguments, a file, a component, a grants file, an unknown package, tool or grant
  3    denied, or a running call was stopped because it would be denied now
  4    a limit ended the call
  5    the tool failed, or said that it did
  6    busy: try again
  7    `grant diff` found differences, a case of `test` failed, or `inspect --diff` widened
  8    the log, a receipt, a proof or a signature is not what was signed
  130  interrupted; the call was cancelled, and the log says so

The data folder is that of --data-dir, else $PORTCULLIS_DATA_DIR, else $XDG_DATA_HOME/portcullis,
else ~/.local/share/portcullis. One process owns it at a time; others talk to that one.

With --json, stdout has one JSON document (JSON lines for `audit tail`), and an error is a problem
document (RFC 9457) on stderr. Without it, text of tools is shown without what could act on a
terminal. NO_COLOR turns colour off. PORTCULLIS_LOG=debug says more on stderr.
PORTCULLIS_DISK_RESERVE=64MiB says what is kept free on the data folder's disk (default 192MiB).
PORTCULLIS_SECRETS_KEY holds the key of stored secrets, instead of secrets.key in the data folder.
PORTCULLIS_SERVER and PORTCULLIS_KEY name a host in the network and the API key for it, as --server
does; what verifies (`audit verify`, `verify-receipt`, …), what is given a --folder, and `serve`
take no notice of them.";

/// Runs AI agents' tools that nobody trusts: each gets what an admin granted it, inside hard limits, and
/// everything that it does is logged.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Arguments {
    /// The data folder
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Ask this host in the network, instead of the owner of a data folder
    #[arg(long, global = true, value_name = "URL")]
    pub(super) server: Option<String>,
    /// The file with the API key for --server. Default: the key in $PORTCULLIS_KEY
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// The certificates that are believed of --server, PEM. Default: the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) server_ca: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Action,
}

/// Who does what is asked.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// The owner of the data folder: this process, or another.
    #[command(flatten)]
    Asked(Command),
    /// Own the data folder and answer other commands until told to stop
    ///
    /// Without it each command opens the host anew, or finds another that has it open. With it they share
    /// one, which starts once. Agents and programs reach it by HTTP at --listen, each with an API key; at the
    /// first start a key for an admin is made and kept in the data folder, as admin.key. SIGTERM or Ctrl-C ends
    /// it: running calls get ten seconds, the rest is cancelled and recorded, and the log is closed.
    #[command(after_help = "\
Examples:
  portcullis serve
  portcullis serve --listen none                 for this user's commands only
  portcullis serve --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem --allowed-host tools.example.org")]
    Serve(ServeArguments),
    /// Build a project whenever its sources change, and serve it over MCP and to lines on stdin, in a throw-away host
    ///
    /// Nothing is kept. The URL, on loopback, and a key for this run are printed; a line `TOOL {json}` calls a tool. What
    /// the tool may do is what the flags allow, else what the project's grants.toml says. A build that fails is told, and
    /// the last good one is served on. It ends with stdin or by Ctrl-C. With --json, each thing that happens is a line.
    #[command(after_help = "\
Examples:
  portcullis dev word-count
  portcullis dev --port 7900 --allow-keyvalue counters
  echo 'count {\"text\": \"a b\"}' | portcullis dev --json")]
    Dev(DevArguments),
    /// This process alone.
    #[command(flatten)]
    Local(LocalCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register components, review them, approve them
    #[command(subcommand)]
    Package(PackageCommand),
    /// Say which agents may call which tools, with which powers
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Add and remove agents, admins and auditors
    #[command(subcommand)]
    Principal(PrincipalCommand),
    /// Make, list, rotate and revoke the keys that agents and programs are let in by
    #[command(subcommand)]
    Key(ApiKeyCommand),
    /// Store secrets that grants give to tools, or put into their requests
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Say whose signatures packages need, and see what is not trusted
    #[command(subcommand)]
    Trust(TrustCommand),
    /// See the state that tools keep, and clear it
    #[command(subcommand)]
    State(StateCommand),
    /// Call a tool
    Call(CallArguments),
    /// Calls that were detached or have a key: list them, wait for one; receipts of all
    #[command(subcommand)]
    Calls(CallsCommand),
    /// Serve an agent's tools by MCP on stdin and stdout, for desktop clients and IDEs
    ///
    /// A client starts it, writes a JSON-RPC message in each line, and reads the answers. It lists the tools that are
    /// granted to the agent, and calls them. Nothing else is ever written to stdout. It ends when stdin does.
    #[command(after_help = "\
What a desktop client's configuration needs:
  { \"mcpServers\": { \"portcullis\": { \"command\": \"portcullis\", \"args\": [\"mcp\", \"--agent\", \"writer\"] } } }
To a host in the network, with the agent's own key:
  \"args\": [\"--server\", \"https://tools.example.org\", \"--key-file\", \"/home/ann/writer.key\", \"mcp\"]")]
    Mcp {
        /// The agent that the client is. With --server, the key says it
        #[arg(long, value_name = "NAME")]
        agent: Option<PrincipalId>,
    },
    /// Ask a running call to end; if its tool does not answer within a second, it is ended
    #[command(after_help = "Example:\n  portcullis status\n  portcullis cancel 019a…")]
    Cancel {
        /// The call: `status` shows those that run
        call: CallId,
    },
    /// Stop everything: running calls end, no call begins, until `thaw`
    ///
    /// Survives restarts. Reading and granting go on.
    #[command(after_help = "Example:\n  portcullis freeze --reason \"looking into what notes wrote\"")]
    Freeze {
        /// Why, in a line: shown to admins and written to the log
        #[arg(long, value_name = "TEXT")]
        reason: Remark,
    },
    /// Let calls begin again after `freeze`
    Thaw,
    /// Show whether the host is frozen, what is quarantined, and what runs now
    Status,
    /// Show the limits that hold at the host, and how it keeps its log
    #[command(
        after_help = "Example:\n  portcullis settings --json | jq '.limits[] | select(.limit == \"fuel\")'"
    )]
    Settings,
    /// Show the host's numbers since it started, as Prometheus reads them
    ///
    /// Those of the process that owns the data folder; a process that owns it for this command alone has little to
    /// tell. The same is served as `GET /metrics` on the owner's socket.
    #[command(
        after_help = "Example:\n  portcullis metrics\n  curl --unix-socket DATA/owner.sock http://localhost/metrics"
    )]
    Metrics,
    /// Read the audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Write database, components and log into one file, while calls go on
    ///
    /// All of one moment. Compiled components and the key of their MACs belong to this machine and are left
    /// out: they are made again. The file holds everything that the log says of arguments and paths: keep
    /// it as you keep the data folder.
    #[command(after_help = "Example:\n  portcullis backup portcullis-2027-01-01.tar")]
    Backup(BackupArguments),
}

#[derive(Debug, Subcommand)]
pub(super) enum LocalCommand {
    /// Make a project: a tool, its test cases, its manifest, a grant for trying it
    ///
    /// In a new folder of its name; nothing is ever written over. The SDKs are not published: a copy is written into
    /// the project, unless --sdk names a checkout's.
    #[command(after_help = "\
Examples:
  portcullis new word-count --lang rust
  portcullis new word-count --lang python --kind sdk")]
    New(NewArguments),
    /// Build a project into a component, with the toolchain of its language
    ///
    /// The component carries the manifest (portcullis.toml) and the docs of its WIT, and no debug information. What
    /// is missing of the toolchain is named, with the commands to install it.
    #[command(after_help = "Example:\n  portcullis build word-count")]
    Build(BuildArguments),
    /// Call a tool of a file once, in a throw-away host with the powers that flags allow
    ///
    /// Nothing is kept. The answer goes to stdout; what was refused, and the smallest grant that the run needed, to
    /// stderr.
    #[command(after_help = "\
Examples:
  portcullis run word-count.wasm count '{\"text\": \"a b\"}'
  portcullis run fetch.wasm fetch '{\"url\": \"https://example.com/\"}' --allow-http 'GET https://example.com/**'
  portcullis run notes.wasm list --allow-dir /notes=./notes")]
    Run(RunArguments),
    /// Run the test cases of a project: calls in the sandbox, with answers of HTTP, time and chance from files
    ///
    /// The cases are `[[case]]` in `tests/*.toml`. Nothing leaves the machine: requests are judged and recorded as on any
    /// host, and answered by the case. Exits with 7 if a case fails. With --record, one live run becomes a case.
    #[command(after_help = "\
Examples:
  portcullis test word-count
  portcullis test --record \"two words\" --args '{\"text\": \"a b\"}'")]
    Test(TestArguments),
    /// Show what a file is and asks for, without registering it; or what another version asks more
    ///
    /// With --diff, exits with 7 if the new one asks for more, or says something else to agents.
    #[command(after_help = "\
Examples:
  portcullis inspect word-count.wasm --advisories advisory-db
  portcullis inspect --diff old.wasm new.wasm")]
    Inspect(InspectArguments),
    /// Look over the machine and the data folder, and say what to do; changes nothing
    ///
    /// Ends with 1 if something fails.
    #[command(
        after_help = "Example:\n  portcullis doctor --json | jq '.checks[] | select(.level == \"fail\")'"
    )]
    Doctor,
    /// Write the settings of `serve` into a file, to be changed
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write the description of the HTTP API to stdout: OpenAPI 3.1
    ///
    /// The same is served as `GET /v1/openapi.json`.
    #[command(after_help = "Example:\n  portcullis openapi > openapi.json")]
    Openapi,
    /// Put a backup into a new data folder
    #[command(after_help = "Example:\n  portcullis restore portcullis-2027-01-01.tar --data-dir restored")]
    Restore(RestoreArguments),
    /// Make the keys that authors sign components with, and show them
    ///
    /// Not the keys that agents are let in by, which are `portcullis key`.
    #[command(subcommand)]
    SigningKey(SigningKeyCommand),
    /// Sign a component with an author's key, into a file beside it
    Sign(SignArguments),
    /// Verify signatures of a component by public keys that you name
    Verify(VerifySignatureArguments),
    /// Put a component and its signatures into an OCI registry
    Push(PushArguments),
    /// Take a component and its signatures from an OCI registry, into files
    Pull(PullArguments),
    /// Write the completions of a shell to stdout
    #[command(after_help = "Example:\n  portcullis completions bash > /etc/bash_completion.d/portcullis")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual: its first page to stdout, or all pages into a folder
    #[command(after_help = "Example:\n  portcullis man --out /usr/local/share/man/man1")]
    Man {
        /// The folder, made if it is not there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The file to write, with mode 0600. It appears when it is whole and was read back
    pub(super) file: PathBuf,
    /// Replace it if it is there
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The file that `backup` wrote. Checked to its end before anything is made
    pub(super) file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum PackageCommand {
    /// Register a component: checked, compiled once, pending until it is approved
    #[command(after_help = "\
Examples:
  portcullis package add notes.wasm --name notes --version 1.2.0
  portcullis package add oci://registry.example/tools/notes@sha256:…")]
    Add(AddArguments),
    /// List the registered components
    List,
    /// Show what a package is and asks for: tools with their schemas, imports, capabilities, sizes
    ///
    /// Of registered packages only: add a file to look into it; it has no power and does not run until it is
    /// approved and granted.
    #[command(after_help = "Example:\n  portcullis package inspect notes")]
    Inspect {
        /// The package
        name: PackageName,
    },
    /// Approve the bytes of a package: these may run under its name, and no others
    ///
    /// Grants are bound to the bytes that were approved when they were made: those made for other bytes
    /// give nothing any more.
    ///
    /// Before that it shows what they ask for, and what differs from the bytes that are approved, and asks. Without
    /// a terminal to ask at, and with --json, bytes that ask for more or say something else need --yes.
    #[command(after_help = "Example:\n  portcullis package approve notes")]
    Approve {
        /// The package
        name: PackageName,
        /// Which bytes, where several components of the package are pending, or to go back to former ones
        #[arg(long, value_name = "sha256:HEX")]
        digest: Option<PackageDigest>,
        /// Approve them although a later version, or others of the same, were approved before
        #[arg(long)]
        allow_downgrade: bool,
        /// Do not ask, and approve them also if they ask for more than what is approved
        #[arg(long)]
        yes: bool,
    },
    /// Forbid a package, or some bytes: no call, no approval, and running calls end, until `release`
    ///
    /// It outlives restarts and the removal of the package. Bytes are forbidden under whatever name.
    #[command(after_help = "Example:\n  portcullis package quarantine notes --reason \"CVE-2026-1\"")]
    Quarantine {
        /// The package
        name: PackageName,
        /// Only these bytes. Default: all of the package, and what is added to it later
        #[arg(value_name = "sha256:HEX")]
        digest: Option<PackageDigest>,
        /// Why, in a line: shown to admins and written to the log
        #[arg(long, value_name = "TEXT")]
        reason: Remark,
    },
    /// Lift a quarantine: what was approved before may run again
    Release {
        /// The package
        name: PackageName,
        /// The bytes that were named in the quarantine, if any were
        #[arg(value_name = "sha256:HEX")]
        digest: Option<PackageDigest>,
    },
    /// Say how much of a package may be used, whoever calls it; what is not said stays as it is. Without options: show it
    ///
    /// Where a quota is used up, calls of it are refused (429) until there is room again.
    #[command(after_help = "Example:\n  portcullis package limit notes --fuel-per-hour 100_000_000_000")]
    Limit {
        /// The package
        name: PackageName,
        #[command(flatten)]
        quotas: QuotaArguments,
    },
    /// Remove a package with all its components and grants; running calls of it end
    Remove {
        /// The package
        name: PackageName,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// The component: a .wasm file of at most 64 MiB, or one in a registry, as oci://HOST/REPOSITORY@sha256:HEX (or
    /// :TAG)
    pub(super) file: PathBuf,
    /// Its name. Default: that of its WIT package
    #[arg(long)]
    pub(super) name: Option<PackageName>,
    /// Its version. Default: that of its WIT package, else 0.0.0
    #[arg(long)]
    pub(super) version: Option<semver::Version>,
    /// A signature of it, or a folder of .minisig files. May be given several times. Default: FILE.minisig
    /// and FILE.*.minisig beside the file
    #[arg(long, value_name = "PATH")]
    pub(super) signature: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
}

#[derive(Debug, Subcommand)]
pub(super) enum GrantCommand {
    /// Put a grants file in force: it replaces all grants of each package that it names
    #[command(after_help = "Example:\n  portcullis grant apply grants.toml")]
    Apply {
        /// The file, or - for stdin. Relative host paths begin at its folder (- : at the current one)
        file: PathBuf,
    },
    /// Show what applying a grants file would change, without changing anything
    ///
    /// Which grants begin and end, and what each agent may do more and less. Exits with 7 if the file differs
    /// from what is in force, with 0 if there is nothing to do.
    #[command(after_help = "Example:\n  portcullis grant diff grants.toml")]
    Diff {
        /// The file, or - for stdin. Relative host paths begin at its folder (- : at the current one)
        file: PathBuf,
    },
    /// List the grants in force
    List,
    /// Show the grants of a package in full
    Show {
        /// The package
        package: PackageName,
    },
    /// End a grant; running calls that need it end
    #[command(after_help = "Example:\n  portcullis grant revoke 7")]
    Revoke {
        /// Its number, as `grant list` shows it
        id: GrantId,
    },
}

/// The key of the log.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Show the public half, which whoever verifies the log needs
    #[command(after_help = "Example:\n  portcullis audit key show > audit.pub")]
    Show,
    /// Have a new key sign from now on
    ///
    /// The old one signs a last checkpoint, over the record that names the new one, and is gone: whoever trusts
    /// it can verify the log from there on, with nothing new.
    #[command(after_help = "Example:\n  portcullis audit key rotate")]
    Rotate,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_says_what_there_is_and_what_the_exit_codes_mean() {
        insta::assert_snapshot!(Arguments::command().term_width(100).render_long_help().to_string(), @r##"
        Runs AI agents' tools that nobody trusts: each gets what an admin granted it, inside hard limits,
        and everything that it does is logged

        Usage: portcullis [OPTIONS] <COMMAND>

        Commands:
          package      Register components, review them, approve them
          grant        Say which agents may call which tools, with which powers
          principal    Add and remove agents, admins and auditors
          key          Make, list, rotate and revoke the keys that agents and programs are let in by
          secret       Store secrets that grants give to tools, or put into their requests
          trust        Say whose signatures packages need, and see what is not trusted
          state        See the state that tools keep, and clear it
          call         Call a tool
          calls        Calls that were detached or have a key: list them, wait for one; receipts of all
          mcp          Serve an agent's tools by MCP on stdin and stdout, for desktop clients and IDEs
          cancel       Ask a running call to end; if its tool does not answer within a second, it is ended
          freeze       Stop everything: running calls end, no call begins, until `thaw`
          thaw         Let calls begin again after `freeze`
          status       Show whether the host is frozen, what is quarantined, and what runs now
          settings     Show the limits that hold at the host, and how it keeps its log
          metrics      Show the host's numbers since it started, as Prometheus reads them
          audit        Read the audit log
          backup       Write database, components and log into one file, while calls go on
          serve        Own the data folder and answer other commands until told to stop
          dev          Build a project whenever its sources change, and serve it over MCP and to lines on
                       stdin, in a throw-away host
          new          Make a project: a tool, its test cases, its manifest, a grant for trying it
          build        Build a project into a component, with the toolchain of its language
          run          Call a tool of a file once, in a throw-away host with the powers that flags allow
          test         Run the test cases of a project: calls in the sandbox, with answers of HTTP, time and
                       chance from files
          inspect      Show what a file is and asks for, without registering it; or what another version
                       asks more
          doctor       Look over the machine and the data folder, and say what to do; changes nothing
          config       Write the settings of `serve` into a file, to be changed
          openapi      Write the description of the HTTP API to stdout: OpenAPI 3.1
          restore      Put a backup into a new data folder
          signing-key  Make the keys that authors sign components with, and show them
          sign         Sign a component with an author's key, into a file beside it
          verify       Verify signatures of a component by public keys that you name
          push         Put a component and its signatures into an OCI registry
          pull         Take a component and its signatures from an OCI registry, into files
          completions  Write the completions of a shell to stdout
          man          Write the manual: its first page to stdout, or all pages into a folder
          help         Print this message or the help of the given subcommand(s)

        Options:
              --data-dir <DIR>
                  The data folder

              --server <URL>
                  Ask this host in the network, instead of the owner of a data folder

              --key-file <FILE>
                  The file with the API key for --server. Default: the key in $PORTCULLIS_KEY

              --server-ca <FILE>
                  The certificates that are believed of --server, PEM. Default: the system's

              --json
                  Answer in JSON

          -h, --help
                  Print help

          -V, --version
                  Print version

        Examples:
          portcullis package add markdown.wasm           register a component; it has no power yet
          portcullis package inspect markdown            read what it asks for
          portcullis package approve markdown            these bytes may run, and no others
          portcullis grant apply grants.toml             who may call it, with which folders and limits
          portcullis call markdown render --as writer --args '{"markdown": "# Hello"}'
          portcullis audit tail --follow                 watch what happens
          portcullis doctor                              look whether this machine and folder are fit

        Exit codes:
          0    done
          1    the host or its machine failed, or `doctor` found what does not work
          2    bad input: arguments, a file, a component, a grants file, an unknown package, tool or grant
          3    denied, or a running call was stopped because it would be denied now
          4    a limit ended the call
          5    the tool failed, or said that it did
          6    busy: try again
          7    `grant diff` found differences, a case of `test` failed, or `inspect --diff` widened
          8    the log, a receipt, a proof or a signature is not what was signed
          130  interrupted; the call was cancelled, and the log says so

        The data folder is that of --data-dir, else $PORTCULLIS_DATA_DIR, else $XDG_DATA_HOME/portcullis,
        else ~/.local/share/portcullis. One process owns it at a time; others talk to that one.

        With --json, stdout has one JSON document (JSON lines for `audit tail`), and an error is a problem
        document (RFC 9457) on stderr. Without it, text of tools is shown without what could act on a
        terminal. NO_COLOR turns colour off. PORTCULLIS_LOG=debug says more on stderr.
        PORTCULLIS_DISK_RESERVE=64MiB says what is kept free on the data folder's disk (default 192MiB).
        PORTCULLIS_SECRETS_KEY holds the key of stored secrets, instead of secrets.key in the data folder.
        PORTCULLIS_SERVER and PORTCULLIS_KEY name a host in the network and the API key for it, as --server
        does; what verifies (`audit verify`, `verify-receipt`, …), what is given a --folder, and `serve`
        take no notice of them.
        "##);
    }

    /// The help of one command, such as `package quarantine`.
    fn help_of(path: &[&str]) -> String {
        let mut command = Arguments::command().term_width(100);
        command.build();
        let found = path.iter().fold(&mut command, |command, name| {
            command.find_subcommand_mut(name).expect("a command of ours")
        });
        let help = found.render_long_help().to_string();
        help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_help_of_what_stops_things_says_what_it_stops() {
        insta::assert_snapshot!(help_of(&["freeze"]), @r##"
        Stop everything: running calls end, no call begins, until `thaw`

        Survives restarts. Reading and granting go on.

        Usage: portcullis freeze [OPTIONS] --reason <TEXT>

        Options:
              --data-dir <DIR>
                  The data folder

              --reason <TEXT>
                  Why, in a line: shown to admins and written to the log

              --server <URL>
                  Ask this host in the network, instead of the owner of a data folder

              --key-file <FILE>
                  The file with the API key for --server. Default: the key in $PORTCULLIS_KEY

              --server-ca <FILE>
                  The certificates that are believed of --server, PEM. Default: the system's

              --json
                  Answer in JSON

          -h, --help
                  Print help (see a summary with '-h')

        Example:
          portcullis freeze --reason "looking into what notes wrote"
        "##);
        insta::assert_snapshot!(help_of(&["package", "quarantine"]), @r##"
        Forbid a package, or some bytes: no call, no approval, and running calls end, until `release`

        It outlives restarts and the removal of the package. Bytes are forbidden under whatever name.

        Usage: portcullis package quarantine [OPTIONS] --reason <TEXT> <NAME> [sha256:HEX]

        Arguments:
          <NAME>
                  The package

          [sha256:HEX]
                  Only these bytes. Default: all of the package, and what is added to it later

        Options:
              --data-dir <DIR>
                  The data folder

              --reason <TEXT>
                  Why, in a line: shown to admins and written to the log

              --server <URL>
                  Ask this host in the network, instead of the owner of a data folder

              --key-file <FILE>
                  The file with the API key for --server. Default: the key in $PORTCULLIS_KEY

              --server-ca <FILE>
                  The certificates that are believed of --server, PEM. Default: the system's

              --json
                  Answer in JSON

          -h, --help
                  Print help (see a summary with '-h')

        Example:
          portcullis package quarantine notes --reason "CVE-2026-1"
        "##);
        insta::assert_snapshot!(help_of(&["grant", "diff"]), @r##"
        Show what applying a grants file would change, without changing anything

        Which grants begin and end, and what each agent may do more and less. Exits with 7 if the file
        differs from what is in force, with 0 if there is nothing to do.

        Usage: portcullis grant diff [OPTIONS] <FILE>

        Arguments:
          <FILE>
                  The file, or - for stdin. Relative host paths begin at its folder (- : at the current one)

        Options:
              --data-dir <DIR>
                  The data folder

              --server <URL>
                  Ask this host in the network, instead of the owner of a data folder

              --key-file <FILE>
                  The file with the API key for --server. Default: the key in $PORTCULLIS_KEY

              --server-ca <FILE>
                  The certificates that are believed of --server, PEM. Default: the system's

              --json
                  Answer in JSON

          -h, --help
                  Print help (see a summary with '-h')

        Example:
          portcullis grant diff grants.toml
        "##);
        insta::assert_snapshot!(help_of(&["principal", "add"]), @r##"
        Make a principal known, or change its role and note

        An agent need not be added: a grant that names it is what lets it call. One that is added is not
        pointed out as new when a grants file names it, and one that was removed may call again.

        Usage: portcullis principal add [OPTIONS] <NAME>

        Arguments:
          <NAME>
                  Its name, as grants and `--as` write it

        Options:
              --data-dir <DIR>
                  The data folder

              --role <ROLE>
                  What it is for. Only agents call tools

                  [default: agent]
                  [possible values: agent, author, admin, auditor]

              --note <TEXT>
                  A line about it, for admins

              --server <URL>
                  Ask this host in the network, instead of the owner of a data folder

              --key-file <FILE>
                  The file with the API key for --server. Default: the key in $PORTCULLIS_KEY

              --weight <NUMBER>
                  How much more it is given than others when there is too little: 1 to 100, or none, which
                  is 1

              --concurrency <NUMBER>
                  Calls that run at once. With none, as the host's limits and grants say

              --server-ca <FILE>
                  The certificates that are believed of --server, PEM. Default: the system's

              --calls-per-minute <NUMBER>
                  Calls within any minute

              --json
                  Answer in JSON

              --fuel-per-hour <FUEL>
                  Fuel within any hour

              --egress-per-day <SIZE>
                  Bytes sent over the network within any day, such as 10MiB

          -h, --help
                  Print help (see a summary with '-h')

        Example:
          portcullis principal add researcher --note "team A" --weight 2
        "##);
    }

    #[test]
    fn names_that_can_not_be_are_refused_before_anything_is_done() {
        for words in [
            &["call", "Bad_Name", "tool", "--as", "a"][..],
            &["call", "p", "t"],
            &["call", "p", "../t", "--as", "a"],
            &["package", "approve", "p", "--digest", "sha256:12"],
            &["grant", "revoke", "seven"],
            &["freeze"],
            &["freeze", "--reason", " "],
            &["freeze", "--reason", "two\nlines"],
            &["package", "quarantine", "p"],
            &["call", "p", "t", "--as", "a", "--traceparent", "00-0-0-0"],
            &["call", "p", "t", "--as", "a", "--idempotency-key", ""],
            &["calls", "list", "--state", "open"],
            &["calls", "wait", "7"],
            &["package", "quarantine", "p", "sha256:12", "--reason", "r"],
            &["principal", "add", "group:a"],
            &["principal", "add", "a", "--role", "owner"],
            &["audit", "tail", "--call", "7"],
            &["audit", "tail", "--last", "3", "--call", "01890a5d-ac96-774b-bcce-b302099a8057"],
        ] {
            let words = std::iter::once("portcullis").chain(words.iter().copied());
            let error = Arguments::try_parse_from(words).expect_err("refused");
            assert!(error.use_stderr(), "{error}");
        }
    }
}
