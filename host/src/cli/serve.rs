//! `portcullis serve`: owns the data folder until it is told to stop, and answers this user's commands on the
//! owner's socket, and agents and programs over the network.

use std::path::PathBuf;

use serde::Serialize;

use super::arguments::ServeArguments;
use super::door::DoorPlan;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::session::{Served, Session};
use super::signals::Signals;
use super::{close, environment, notify};
use crate::gateway::KeyMade;

/// What is said once, when others can connect.
#[derive(Debug, Serialize)]
struct Serving {
    data_dir: PathBuf,
    socket: PathBuf,
    /// Where agents and programs reach it.
    urls: Vec<String>,
    /// The first admin's key was made, and is in this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_key_file: Option<PathBuf>,
    pid: u32,
    version: &'static str,
}

/// Serves until a signal comes; at SIGHUP, reads its settings again, unless it runs at a terminal. Calls that run then get ten seconds to end; what is left is cancelled and
/// recorded as that, and the log is closed. A second signal does not wait.
pub(super) async fn serve(
    data_folder: Option<PathBuf>,
    arguments: ServeArguments,
    output: &Output,
    signals: &mut Signals,
) -> Exit {
    let plan = match DoorPlan::new(data_folder.clone(), arguments) {
        Ok(plan) => plan,
        Err(failure) => return failure.report(output),
    };
    let is_insecure = plan.is_insecure();
    let opened = tokio::select! {
        opened = Session::own(data_folder, &plan) => opened,
        () = signals.next() => return Exit::Interrupted,
    };
    let (served, session) = match opened {
        Ok(opened) => opened,
        Err(failure) => return failure.report(output),
    };
    if is_insecure {
        output.note("it listens beyond this machine without TLS (--insecure-listen): whoever is on the way sees keys, arguments and answers");
    }
    let made = if served.urls.is_empty() { None } else { first_admin_key(&session, output).await };
    let exit = match announce(served, made.as_ref(), output) {
        Ok(()) => {
            notify::service_manager(environment::notify_socket(), "READY=1");
            // Who serves from a terminal and closes that wants it to end.
            while signals.next_is_hangup().await && !output.is_watched {
                reload(&session, &plan, output).await;
            }
            notify::service_manager(environment::notify_socket(), "STOPPING=1");
            Exit::Ok
        }
        Err(failure) => failure.report(output),
    };
    close(session, exit, output, signals).await
}

/// Has the settings file in force as it is now, or says why not.
async fn reload(session: &Session, plan: &DoorPlan, output: &Output) {
    let Some(host) = session.host() else { return };
    notify::service_manager(environment::notify_socket(), &notify::reloading());
    match plan.reload(host).await {
        Ok(kept) => {
            output.note("serve.toml was read again, and is in force");
            for key in kept {
                output.note(&format!("{key} stay as they were until the next start"));
            }
        }
        Err(failure) => {
            output.note("serve.toml is refused; what was in force stays in force");
            failure.report(output);
        }
    }
    notify::service_manager(environment::notify_socket(), "READY=1");
}

/// A host that can't make it serves all the same: whoever can open the data folder makes others.
async fn first_admin_key(session: &Session, output: &Output) -> Option<KeyMade> {
    match session.host()?.first_admin_key().await {
        Ok(made) => made,
        Err(error) => {
            output.note(&format!("no key for a first admin was made: {error}"));
            None
        }
    }
}

fn announce(served: Served, made: Option<&KeyMade>, output: &Output) -> Result<(), Failure> {
    let serving = Serving {
        data_dir: served.paths.root().to_owned(),
        socket: served.paths.socket(),
        urls: served.urls,
        admin_key_file: made.map(|_| served.paths.admin_key()),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
    };
    if output.json {
        return output.answer(&serving, |_| String::new());
    }
    output.note(&format!(
        "portcullis {} owns {} as process {}; Ctrl-C or SIGTERM ends it",
        serving.version,
        serving.data_dir.display(),
        serving.pid
    ));
    for url in &serving.urls {
        output.note(&format!("agents and programs reach it at {url}"));
    }
    if let (Some(made), Some(file)) = (made, &serving.admin_key_file) {
        output.note(&format!("{} has a key for {}, an admin", file.display(), made.key.principal));
        // Only to a person: what a service says is kept by others.
        if output.is_watched {
            output.note(&format!("it is shown this once: {}", made.token));
        }
    }
    Ok(())
}
