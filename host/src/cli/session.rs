//! One command's hold on the data folder: own it and serve others meanwhile, or find its owner.
//!
//! Takes the lock, the socket and the host in this order, and lets go in the opposite one, so that
//! whoever finds the lock taken also finds, soon, somebody who answers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use super::door::{self, Door, DoorPlan};
use super::environment;
use super::failure::Failure;
use crate::api::serve::DRAIN_TIME_MAX;
use crate::api::{self, ErrorKind, Problem};
use crate::audit::{AUDIT_FILE_BYTES_MAX, parse_audit_settings};
use crate::config::{DataFolder, DataPaths, Ownership};
use crate::gateway::{Blame, Host, HostError, HostOptions};
use crate::ids::PackageName;
use crate::policy::Diagnostic;
use crate::policy::parse::{LIMITS_FILE_BYTES_MAX, parse_host_limits};
use crate::sandbox::compiler::Compiler;

/// The longest that an owner that is just coming or leaving is waited for: an owner that leaves gives
/// others' requests ten seconds, and then closes its log.
const OWNER_TIME_MAX: Duration = Duration::from_secs(15);
/// Between two tries: from the first to the second, doubling.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// The longest wait for a connection to be taken into the owner's queue.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest that what requests left behind (a change that is made to its end) is waited for.
const CHANGES_TIME_MAX: Duration = Duration::from_secs(5);
const CHANGES_POLL: Duration = Duration::from_millis(5);
/// How often calls are removed whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// What is to be let go at the end of a command.
#[derive(Debug)]
#[must_use = "an owner lets go in good order by `close`"]
pub(super) struct Session {
    /// None if another process owns the folder.
    owned: Option<Owned>,
}

#[derive(Debug)]
struct Owned {
    host: Arc<Host>,
    stop: watch::Sender<bool>,
    /// Each ends in bounded time by itself, once it is told to stop.
    tasks: Vec<JoinHandle<()>>,
}

/// What a command that owns the folder serves beside the owner's socket: nothing, unless it is `serve`.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) paths: DataPaths,
    /// Where agents and programs reach it, as URLs.
    pub(super) urls: Vec<String>,
}

impl Session {
    /// Owns the data folder, or finds its owner. An owner loads what is `expected` to be called while it opens the rest.
    pub(super) async fn open(
        data_folder: Option<PathBuf>,
        expected: Option<&PackageName>,
    ) -> Result<(Client, Self), Failure> {
        let root = environment::chosen(data_folder)?;
        let deadline = Instant::now() + OWNER_TIME_MAX;
        let (mut pause, pause_max) = RETRY_PAUSES;
        loop {
            let (paths, pid) = match DataFolder::take(&root)? {
                Ownership::Ours(folder) => {
                    let (client, session, _) = own(folder, None, expected).await?;
                    return Ok((client, session));
                }
                Ownership::Others { paths, pid } => (paths, pid),
            };
            match connect(&paths.socket()).await {
                Ok(stream) => return Ok((Client::Socket(stream), Self { owned: None })),
                // It has the lock and does not listen yet, or does not any more.
                Err(error) if is_passing(&error) && Instant::now() < deadline => {}
                Err(error) => {
                    let who =
                        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                    return Err(Failure::host(format!(
                        "the data folder {} is owned by {who}, which does not answer on its socket ({error}); \
                         wait for it, or end it",
                        root.display()
                    )));
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(pause_max);
        }
    }

    /// Owns the data folder, or fails. An owner that is about to leave is waited for.
    ///
    /// # Errors
    /// Also if one of the addresses of `door` can't be listened on.
    pub(super) async fn own(
        data_folder: Option<PathBuf>,
        door: &DoorPlan,
    ) -> Result<(Served, Self), Failure> {
        let root = environment::chosen(data_folder)?;
        let deadline = Instant::now() + OWNER_TIME_MAX;
        let (mut pause, pause_max) = RETRY_PAUSES;
        loop {
            let pid = match DataFolder::take(&root)? {
                Ownership::Ours(folder) => {
                    let (_, session, served) = own(folder, Some(door), None).await?;
                    return Ok((served, session));
                }
                Ownership::Others { pid, .. } => pid,
            };
            if Instant::now() >= deadline {
                let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                let detail = format!(
                    "the data folder {} is owned by {who} already; `portcullis doctor` says more",
                    root.display()
                );
                return Err(Problem::new(ErrorKind::Busy, detail, Blame::Host).into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(pause_max);
        }
    }

    /// The host, for its owner.
    pub(super) fn host(&self) -> Option<&Arc<Host>> {
        self.owned.as_ref().map(|owned| &owned.host)
    }

    /// Lets go: no more requests, those under way end, the log is closed, the folder is free.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Some(Owned { host, stop, tasks }) = self.owned else { return Ok(()) };
        stop.send_replace(true);
        for task in tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a server ended early");
            }
        }
        if let Err(error) = host.write_access(true).await {
            tracing::warn!(%error, "what was noted of keys is lost");
        }
        match sole(host).await {
            Ok(host) => Ok(host.close().await?),
            // The log is what must end well, or say that it did not.
            Err(host) => Ok(host.log().clone().close().await.map_err(HostError::from)?),
        }
    }
}

/// Listens, opens the host, and answers.
async fn own(
    folder: DataFolder,
    door: Option<&DoorPlan>,
    expected: Option<&PackageName>,
) -> Result<(Client, Session, Served), Failure> {
    let paths = folder.paths().clone();
    // What a process left when it died.
    paths.drop_serving();
    // Before the host, which may take a while to open: who connects meanwhile waits in the queue.
    let doors = match door {
        Some(plan) => plan.listen(&folder).await?,
        None => Vec::new(),
    };
    let urls: Vec<String> = doors.iter().map(|door| door.url.clone()).collect();
    let (owned, client) = match open(folder, door, doors, expected).await {
        Ok(opened) => opened,
        Err(failure) => {
            paths.drop_serving();
            return Err(failure);
        }
    };
    Ok((client, Session { owned: Some(owned) }, Served { paths, urls }))
}

async fn open(
    folder: DataFolder,
    plan: Option<&DoorPlan>,
    doors: Vec<Door>,
    expected: Option<&PackageName>,
) -> Result<(Owned, Client), Failure> {
    // Whether this process goes on until it is told to stop, and not until its command is done.
    let stays = plan.is_some();
    let paths = folder.paths().clone();
    let socket = paths.socket();
    let listener = listen(&socket)
        .map_err(|error| Failure::host(format!("the socket {} can't be made: {error}", socket.display())))?;
    let opened = async {
        let options =
            HostOptions { asynchronous_calls: stays, expected: expected.cloned(), ..options(&folder)? };
        let host = Host::open(folder, options).await?;
        match plan {
            None => Ok(host),
            Some(plan) => match plan.begin(&host).await {
                Ok(()) => Ok(host),
                Err(failure) => {
                    // So that the log ends well.
                    host.close().await?;
                    Err(failure)
                }
            },
        }
    };
    let host = match opened.await {
        Ok(host) => Arc::new(host),
        Err(failure) => {
            remove(&socket);
            return Err(failure);
        }
    };
    let (stop, stopping) = watch::channel(false);
    let router = api::router(Arc::clone(&host), stopping.clone());
    let client = Client::Local(router.clone());
    let mut tasks = vec![tokio::spawn(api::serve(listener, router, {
        let stopped = stopped(stopping.clone());
        async move {
            stopped.await;
            remove(&socket);
        }
    }))];
    // Nobody but its command waits for one that goes away.
    let drain = if stays { DRAIN_TIME_MAX } else { Duration::ZERO };
    tasks.push(tokio::spawn(keep_calls(Arc::clone(&host), stopping.clone(), drain)));
    if !doors.is_empty() {
        tasks.push(tokio::spawn(door::keep_books(Arc::clone(&host), stopping.clone())));
    }
    for door in doors {
        let (stopped, paths) = (stopped(stopping.clone()), paths.clone());
        tasks.push(tokio::spawn(door.serve(Arc::clone(&host), stopping.clone(), async move {
            stopped.await;
            paths.drop_serving();
        })));
    }
    Ok((Owned { host, stop, tasks }, client))
}

/// Removes kept calls whose time is over, until the session ends; then gives those that are open so long.
async fn keep_calls(host: Arc<Host>, stopping: watch::Receiver<bool>, drain: Duration) {
    let mut stopped = std::pin::pin!(stopped(stopping));
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        if let Err(error) = host.sweep_kept_calls().await {
            tracing::warn!(%error, "calls whose time is over are still there");
        }
    }
    host.drain_kept_calls(drain).await;
}

/// Ends when the session does.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error says that the session is gone, which is as good.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// How this program's host is opened: it is its own compiler, and its settings are the data folder's. Settings
/// that can't be read are no settings: then it does not open.
fn options(folder: &DataFolder) -> Result<HostOptions, Failure> {
    let program = environment::own_program()
        .map_err(|error| Failure::host(format!("this program does not find itself: {error}")))?;
    let disk_reserve_bytes = environment::disk_reserve_bytes()?;
    let compiler = Compiler::Program(program);
    let secrets_key = environment::secrets_key()?;
    let mut options = HostOptions { compiler, disk_reserve_bytes, secrets_key, ..HostOptions::default() };
    let paths = folder.paths();
    if let Some(limits) = settings(paths.limits(), LIMITS_FILE_BYTES_MAX, parse_host_limits)? {
        options.limits = limits;
    }
    if let Some(audit) = settings(paths.audit_settings(), AUDIT_FILE_BYTES_MAX, parse_audit_settings)? {
        options.audit = audit;
    }
    Ok(options)
}

/// What a settings file says, if it is there.
pub(super) fn settings<T>(
    path: PathBuf,
    bytes_max: usize,
    parse: impl FnOnce(&str) -> Result<T, Vec<Diagnostic>>,
) -> Result<Option<T>, Failure> {
    let Some(text) = DataFolder::settings_text(&path, bytes_max)? else { return Ok(None) };
    let file = path.display().to_string();
    let parsed = parse(&text).map_err(|diagnostics| {
        let detail = format!("the settings file {file} has {} errors; nothing runs", diagnostics.len());
        let problem =
            Problem { diagnostics, ..Problem::new(ErrorKind::InvalidSettings, detail, Blame::Admin) };
        Failure::from(problem).about(file, text)
    })?;
    Ok(Some(parsed))
}

/// The caller owns the folder, so a socket that is there is one that a process left when it died.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(socket)?;
    // The process's umask says the same, and the folder is nobody else's: this is the third lock.
    std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

fn remove(socket: &Path) {
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::warn!(%error, socket = %socket.display(), "the socket is left");
    }
}

pub(super) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    timeout(CONNECT_TIME_MAX, UnixStream::connect(socket)).await?
}

/// Whether an error means that the owner is just coming or leaving.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// The host, once nobody else has it.
pub(super) async fn sole(mut host: Arc<Host>) -> Result<Host, Arc<Host>> {
    let deadline = Instant::now() + CHANGES_TIME_MAX;
    loop {
        host = match Arc::try_unwrap(host) {
            Ok(host) => return Ok(host),
            Err(host) if Instant::now() < deadline => host,
            Err(host) => return Err(host),
        };
        sleep(CHANGES_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use http::Request;

    use super::*;
    use crate::api::Body;
    use crate::api::messages::Health;

    async fn health(client: Client) -> Health {
        let request = Request::builder().uri("/v1/health").header("host", "x").body(Body::empty());
        client.document(request.expect("valid")).await.expect("an answer")
    }

    #[tokio::test]
    async fn one_owns_the_folder_and_others_reach_it_until_it_lets_go() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let data = || Some(temporary.path().join("data"));
        let socket = temporary.path().join("data/owner.sock");
        std::fs::create_dir(temporary.path().join("data")).expect("made");
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("what a dead owner leaves"));

        let (owner, owning) = Session::open(data(), None).await.expect("owned");
        assert!(matches!(owner, Client::Local(_)));
        let mode = std::fs::metadata(&socket).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let (other, beside) = Session::open(data(), None).await.expect("reached");
        assert!(matches!(other, Client::Socket(_)));
        assert_eq!(health(other).await, health(owner).await);
        beside.close().await.expect("nothing to let go");
        owning.close().await.expect("let go");
        assert!(!socket.exists());
        let (third, owning) = Session::open(data(), None).await.expect("owned anew");
        assert!(matches!(third, Client::Local(_)));
        drop(third);
        owning.close().await.expect("let go");
    }
}
