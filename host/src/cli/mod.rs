//! The command line: arguments to requests, answers to text or JSON, errors to exit codes.
//!
//! Each command is one request to the API, sent to the process that owns the data folder: this one, or
//! another; or to a host in the network. The only module that reads the environment. Decides nothing about who may do what.

mod admin;
mod approving;
mod archive;
mod arguments;
mod asked;
mod attached;
mod authoring;
mod bundle;
mod calls;
mod client;
mod commands;
mod doctor;
mod door;
mod environment;
mod evidence;
mod exit;
mod failure;
mod helper;
mod input;
mod keys;
mod mcp;
mod notify;
mod oci;
mod offline;
mod output;
mod pages;
mod progress;
mod proofs;
mod query;
mod records;
mod remote;
mod secret;
mod serve;
mod session;
mod show;
mod signals;
mod signing;
mod state;
mod story;
mod trust;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Runtime;

use self::arguments::{Action, Arguments, AuditCommand, Command, ConfigCommand, LocalCommand};
use self::client::Client;
use self::exit::Exit;
use self::failure::Failure;
use self::output::Output;
use self::remote::Remote;
use self::session::Session;
use self::signals::Signals;
use crate::ids::PackageName;
use crate::sandbox::compiler;
use crate::{hardening, sandbox};

/// How long threads that can't be interrupted (the compiler, a read of stdin) are waited for.
const THREADS_TIME_MAX: Duration = Duration::from_millis(100);

/// Runs the program with its arguments, the name of the program first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Before everything else: the compiler has no data folder, nothing of the environment and no log.
    if let Some(exit) = compiler::run_if_asked(arguments.iter().cloned()) {
        return exit;
    }
    // The engine's last chance for its own page map; and before there are threads that would not inherit
    // what is given up.
    sandbox::open_page_map();
    let hardened = hardening::harden();
    environment::init_logging();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A reader that is gone does not change what the arguments were.
            let _ = error.print();
            return if error.use_stderr() { Exit::BadInput } else { Exit::Ok }.into();
        }
    };
    let output = Output::new(arguments.json);
    if let Err(error) = hardened {
        return Failure::host(error.to_string()).report(&output).into();
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::host(format!("threads can't be started: {error}"));
            return failure.report(&output).into();
        }
    };
    let exit = runtime.block_on(run(arguments, &output));
    runtime.shutdown_timeout(THREADS_TIME_MAX);
    exit.into()
}

/// After so many pieces of work a busy thread looks for what arrived over the network. tokio's own choice, 61, is for
/// pieces of some microseconds: of those that run a guest, each may take a quarter of a millisecond.
const EVENT_INTERVAL: u32 = 7;

/// Threads for guests, as many as may run at once, and for all else.
fn runtime() -> std::io::Result<Runtime> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.worker_threads(crate::sandbox::worker_threads()).event_interval(EVENT_INTERVAL);
    threads.enable_all().build()
}

async fn run(arguments: Arguments, output: &Output) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return Failure::host(format!("signals can't be caught: {error}")).report(output),
    };
    let command = match arguments.command {
        Action::Asked(Command::Audit(AuditCommand::Evidence(command))) => {
            let url = arguments.server.clone().or_else(environment::server);
            let done = async {
                match url.filter(|_| command.is_of_a_host()) {
                    Some(url) => {
                        let remote =
                            || Remote::new(&url, arguments.key_file.clone(), arguments.server_ca.clone());
                        asked::run(remote, command, output).await
                    }
                    None => evidence::run(arguments.data_dir, command, *output).await,
                }
            };
            return tokio::select! {
                done = done => done.unwrap_or_else(|failure| failure.report(output)),
                () = signals.next() => Exit::Interrupted,
            };
        }
        Action::Asked(command) => command,
        Action::Serve(serving) => {
            return serve::serve(arguments.data_dir, serving, output, &mut signals).await;
        }
        Action::Dev(arguments) => {
            return authoring::dev(arguments, output, &mut signals).await;
        }
        Action::Local(command) => {
            return tokio::select! {
                exit = local(command, arguments.data_dir, output) => exit,
                () = signals.next() => Exit::Interrupted,
            };
        }
    };
    if let Some(url) = arguments.server.clone().or_else(environment::server) {
        return on_server(&url, arguments.key_file, arguments.server_ca, command, output, &mut signals).await;
    }
    let opened = tokio::select! {
        opened = Session::open(arguments.data_dir.clone(), expected(&command)) => opened,
        () = signals.next() => return Exit::Interrupted,
    };
    let (client, session) = match opened {
        Ok(opened) => opened,
        Err(failure) => return without_host(command, arguments.data_dir, failure, output).await,
    };
    // Dropping the command's future drops its request, which cancels the call that it made.
    let exit = tokio::select! {
        done = commands::run(client, command, output) => match done {
            Ok(()) => Exit::Ok,
            Err(failure) => failure.report(output),
        },
        () = signals.next() => Exit::Interrupted,
    };
    close(session, exit, output, &mut signals).await
}

/// The package that a command is about to call.
fn expected(command: &Command) -> Option<&PackageName> {
    if let Command::Call(call) = command { Some(&call.package) } else { None }
}

/// Asks a host in the network.
async fn on_server(
    url: &str,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    command: Command,
    output: &Output,
    signals: &mut Signals,
) -> Exit {
    let client = match Remote::new(url, key, ca) {
        Ok(remote) => Client::Remote(Arc::new(remote)),
        Err(failure) => return failure.report(output),
    };
    tokio::select! {
        done = commands::run(client, command, output) => match done {
            Ok(()) => Exit::Ok,
            Err(failure) => failure.report(output),
        },
        () = signals.next() => Exit::Interrupted,
    }
}

/// What needs no host, or must not have one.
async fn local(command: LocalCommand, data_dir: Option<PathBuf>, output: &Output) -> Exit {
    let done = match command {
        LocalCommand::Doctor => doctor::doctor(data_dir, output).await,
        LocalCommand::Config(ConfigCommand::Init { force }) => {
            door::write_settings(data_dir, force, output).map(|()| Exit::Ok)
        }
        LocalCommand::Restore(arguments) => {
            archive::restore(data_dir, arguments, output).await.map(|()| Exit::Ok)
        }
        LocalCommand::New(arguments) => authoring::new(arguments, output).map(|()| Exit::Ok),
        LocalCommand::Build(arguments) => authoring::build(arguments, output).await.map(|()| Exit::Ok),
        LocalCommand::Run(arguments) => authoring::run(arguments, output).await.map(|()| Exit::Ok),
        LocalCommand::Test(arguments) => authoring::test(arguments, output).await.map(|()| Exit::Ok),
        LocalCommand::Inspect(arguments) => authoring::inspect(arguments, output).await.map(|()| Exit::Ok),
        LocalCommand::Openapi => pages::openapi(output).map(|()| Exit::Ok),
        LocalCommand::SigningKey(command) => signing::key(command, output).await,
        LocalCommand::Sign(arguments) => signing::sign(arguments, output).await,
        LocalCommand::Verify(arguments) => signing::verify(arguments, output).await,
        LocalCommand::Push(arguments) => oci::push(arguments, output).await,
        LocalCommand::Pull(arguments) => oci::pull(arguments, output).await,
        LocalCommand::Completions { shell } => pages::completions(shell, output).map(|()| Exit::Ok),
        LocalCommand::Man { out } => pages::man(out, output).map(|()| Exit::Ok),
    };
    done.unwrap_or_else(|failure| failure.report(output))
}

/// Lets the folder go. An error of that is the program's if nothing else went wrong.
async fn close(session: Session, exit: Exit, output: &Output, signals: &mut Signals) -> Exit {
    // A second signal does not wait for others' requests; the log is mended at the next start.
    tokio::select! {
        closed = session.close() => match closed {
            Ok(()) => exit,
            Err(failure) => {
                let failed = failure.report(output);
                if exit == Exit::Ok { failed } else { exit }
            }
        },
        () = signals.next() => Exit::Interrupted,
    }
}

/// No host can open the data folder: the log can be read all the same. Says why on stderr.
async fn without_host(
    command: Command,
    data_dir: Option<PathBuf>,
    failure: Failure,
    output: &Output,
) -> Exit {
    let exit = failure.report(output);
    match command {
        Command::Audit(AuditCommand::Tail(tail)) if exit == Exit::HostFault && !tail.follow => {
            match offline::tail(data_dir, tail, *output).await {
                Some(Ok(())) => Exit::Ok,
                Some(Err(failure)) => failure.report(output),
                None => exit,
            }
        }
        Command::Audit(_)
        | Command::Package(_)
        | Command::Grant(_)
        | Command::Principal(_)
        | Command::Key(_)
        | Command::Secret(_)
        | Command::Settings
        | Command::Trust(_)
        | Command::State(_)
        | Command::Call(_)
        | Command::Calls(_)
        | Command::Mcp { .. }
        | Command::Cancel { .. }
        | Command::Freeze { .. }
        | Command::Thaw
        | Command::Status
        | Command::Metrics
        | Command::Backup(_) => exit,
    }
}
