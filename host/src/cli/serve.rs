//! `portcullis serve`: owns the data folder until it is told to stop, and answers other commands.
//!
//! Today on the owner's socket only; addresses for agents come with their API.

use std::path::PathBuf;

use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::session::Session;
use super::signals::Signals;
use super::{close, environment, notify};

/// What is said once, when others can connect.
#[derive(Debug, Serialize)]
struct Serving {
    data_dir: PathBuf,
    socket: PathBuf,
    pid: u32,
    version: &'static str,
}

/// Serves until a signal comes. Calls that run then get ten seconds to end; what is left is cancelled and
/// recorded as that, and the log is closed. A second signal does not wait.
pub(super) async fn serve(data_folder: Option<PathBuf>, output: &Output, signals: &mut Signals) -> Exit {
    let opened = tokio::select! {
        opened = Session::own(data_folder) => opened,
        () = signals.next() => return Exit::Interrupted,
    };
    let (paths, session) = match opened {
        Ok(opened) => opened,
        Err(failure) => return failure.report(output),
    };
    let serving = Serving {
        data_dir: paths.root().to_owned(),
        socket: paths.socket(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let exit = match announce(&serving, output) {
        Ok(()) => {
            notify::service_manager(environment::notify_socket(), "READY=1");
            signals.next().await;
            notify::service_manager(environment::notify_socket(), "STOPPING=1");
            Exit::Ok
        }
        Err(failure) => failure.report(output),
    };
    close(session, exit, output, signals).await
}

fn announce(serving: &Serving, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.answer(serving, |_| String::new());
    }
    output.note(&format!(
        "portcullis {} owns {} as process {}; Ctrl-C or SIGTERM ends it",
        serving.version,
        serving.data_dir.display(),
        serving.pid
    ));
    Ok(())
}
