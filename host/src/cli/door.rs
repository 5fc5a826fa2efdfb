//! Where agents and programs reach the host: from what was said to listeners, and to what serves them.
//!
//! Refuses what would give keys away: an address beyond this machine without TLS. Decides nothing about requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::arguments::{Listen, ServeArguments};
use super::environment;
use super::failure::Failure;
use super::output::Output;
use super::session::settings;
use crate::api::door::{DoorSettings, network_router};
use crate::api::network::{NETWORK_CONNECTIONS_MAX, NetworkOptions, serve_network};
use crate::api::settings::{SERVE_FILE, SERVE_FILE_BYTES_MAX, ServeSettings, parse_serve_settings};
use crate::api::tls::{Tls, TlsError};
use crate::api::{ErrorKind, Problem, mcp};
use crate::authn::Rates;
use crate::config::{self, DataFolder, DataPaths};
use crate::gateway::{Blame, Host};
use crate::platform;

/// How often what was noted of keys is written down.
const BOOKS_INTERVAL: Duration = Duration::from_secs(1);

/// Where to listen, and how.
#[derive(Debug)]
pub(super) struct DoorPlan {
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<Tls>>,
    rates: Arc<Mutex<Rates>>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
}

/// A listener, and whom it is for.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) url: String,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    settings: DoorSettings,
}

/// Content of `serving.json`.
#[derive(Debug, Serialize)]
struct ServingFile<'a> {
    pid: u32,
    urls: Vec<&'a str>,
}

impl DoorPlan {
    /// From what was said on the command line, else in `serve.toml`. Reads the certificate.
    pub(super) fn new(data_folder: Option<PathBuf>, arguments: ServeArguments) -> Result<Self, Failure> {
        let ServeSettings {
            listen: addresses,
            tls,
            insecure_listen,
            requests_per_minute,
            allowed_hosts,
            allowed_origins,
        } = said(data_folder, arguments)?;
        let tls = match tls {
            Some((certificate, key)) => Some(load(certificate, key)?),
            None => None,
        };
        let plan = Self {
            addresses,
            tls,
            rates: Arc::new(Mutex::new(Rates::new(requests_per_minute))),
            allowed_hosts,
            allowed_origins,
        };
        match plan.insecure_address() {
            Some(far) if !insecure_listen => Err(Failure::input(format!(
                "{far} is reached from other machines, and without TLS whoever is on the way sees keys and \
                 arguments: give --tls-cert and --tls-key, listen on 127.0.0.1 behind a proxy that has TLS, or \
                 say --insecure-listen"
            ))),
            Some(_) | None => Ok(plan),
        }
    }

    /// Whether it listens beyond this machine in the clear.
    pub(super) fn is_insecure(&self) -> bool {
        self.insecure_address().is_some()
    }

    fn insecure_address(&self) -> Option<SocketAddr> {
        let is_far = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        self.addresses.iter().find(is_far).copied().filter(|_| self.tls.is_none())
    }

    /// Takes the addresses, and says so in the data folder.
    pub(super) async fn listen(self, folder: &DataFolder) -> Result<Vec<Door>, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut doors = Vec::new();
        for address in self.addresses {
            let listener =
                TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))?;
            let bound = listener.local_addr().map_err(|error| cannot_listen(address, &error))?;
            let settings = DoorSettings {
                loopback: bound.ip().to_canonical().is_loopback(),
                rates: Arc::clone(&self.rates),
                allowed_hosts: self.allowed_hosts.clone(),
                allowed_origins: self.allowed_origins.clone(),
            };
            doors.push(Door {
                url: format!("{scheme}://{bound}"),
                listener,
                tls: self.tls.clone(),
                settings,
            });
        }
        if !doors.is_empty() {
            let urls = doors.iter().map(|door| door.url.as_str()).collect();
            let serving = ServingFile { pid: std::process::id(), urls };
            let text = serde_json::to_string(&serving).expect("numbers and texts");
            folder.keep_serving(&format!("{text}\n"))?;
        }
        Ok(doors)
    }
}

impl Door {
    /// Answers until `shutdown` ends.
    pub(super) async fn serve(
        self,
        host: Arc<Host>,
        stopping: watch::Receiver<bool>,
        shutdown: impl Future<Output = ()>,
    ) {
        let Self { url: _, listener, tls, settings } = self;
        let mounted = mcp::router(Arc::clone(&host), stopping.clone());
        let router = network_router(host, stopping, settings, mounted);
        // The rest of what may be open is for calls.
        let files = platform::process_limits().open_files.unwrap_or(u64::MAX) / 4;
        let connections_max = usize::try_from(files).unwrap_or(usize::MAX).min(NETWORK_CONNECTIONS_MAX);
        serve_network(listener, router, NetworkOptions { tls, connections_max }, shutdown).await;
    }
}

/// Writes down what is noted of keys, until the session ends, which writes the rest.
pub(super) async fn keep_books(host: Arc<Host>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(BOOKS_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // An error says that the session is gone, which is as good.
            () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => return,
        }
        if let Err(error) = host.write_access(false).await {
            tracing::warn!(%error, "what was noted of keys is not written down");
        }
    }
}

/// The settings file, where the command line says nothing else.
fn said(data_folder: Option<PathBuf>, arguments: ServeArguments) -> Result<ServeSettings, Failure> {
    let ServeArguments {
        listen,
        tls_cert,
        tls_key,
        insecure_listen,
        requests_per_minute,
        allowed_host,
        allowed_origin,
    } = arguments;
    let file = DataPaths::of(&environment::chosen(data_folder)?).serve_settings();
    let mut said = settings(file, SERVE_FILE_BYTES_MAX, parse_serve_settings)?.unwrap_or_default();
    if !listen.is_empty() {
        let addresses = listen.iter().filter_map(|listen| match listen {
            Listen::None => None,
            Listen::At(address) => Some(*address),
        });
        said.listen = addresses.collect();
        if listen.contains(&Listen::None) && !said.listen.is_empty() {
            return Err(Failure::input("`--listen none` and an address to listen on don't go together"));
        }
    }
    said.tls = tls_cert.zip(tls_key).or(said.tls);
    said.insecure_listen |= insecure_listen;
    said.requests_per_minute = requests_per_minute.or(said.requests_per_minute);
    if !allowed_host.is_empty() {
        said.allowed_hosts = allowed_host;
    }
    if !allowed_origin.is_empty() {
        said.allowed_origins = allowed_origin;
    }
    Ok(said)
}

/// What `config init` wrote.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
}

/// Writes `serve.toml` with each setting as it is by default.
pub(super) fn write_settings(
    data_folder: Option<PathBuf>,
    force: bool,
    output: &Output,
) -> Result<(), Failure> {
    let file = DataPaths::of(&environment::chosen(data_folder)?).serve_settings();
    if !force && file.try_exists().unwrap_or(true) {
        let detail = format!("{} is there; `portcullis config init --force` replaces it", file.display());
        return Err(Problem::new(ErrorKind::Conflict, detail, Blame::Admin).into());
    }
    config::write_settings(&file, SERVE_FILE, force)?;
    output.answer(&Written { file }, |written| format!("wrote {}", written.file.display()))
}

fn load(certificate: PathBuf, key: PathBuf) -> Result<Arc<Tls>, Failure> {
    match Tls::load(certificate, key) {
        Ok(tls) => Ok(Arc::new(tls)),
        Err(TlsError::File(error)) => Err(Failure::input(error.to_string())),
        Err(error @ TlsError::Unusable { .. }) => Err(Failure::input(error.to_string())),
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    let detail = format!(
        "{address} can't be listened on: {error}; name another address with \
         `portcullis serve --listen IP:PORT`, or none (`--listen none`) to serve this user's commands only"
    );
    Problem::new(ErrorKind::Conflict, detail, Blame::Admin).into()
}
