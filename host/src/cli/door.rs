//! Where agents and programs reach the host: from what was said to listeners, and to what serves them.
//!
//! Refuses what would give keys away: an address beyond this machine without TLS. Decides nothing about requests.
//! Reads the settings again when it is told to, and keeps those before them if these can't be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::arguments::{Listen, ServeArguments};
use super::environment;
use super::failure::Failure;
use super::output::Output;
use super::session::settings;
use crate::api::door::{DoorRules, DoorSettings, network_router};
use crate::api::network::{NETWORK_CONNECTIONS_MAX, NetworkOptions, serve_network};
use crate::api::settings::{SERVE_FILE, SERVE_FILE_BYTES_MAX, ServeSettings, parse_serve_settings};
use crate::api::tls::{Tls, TlsError, TlsFiles};
use crate::api::{ErrorKind, Problem, mcp};
use crate::authn::{Rates, TrustSettings};
use crate::config::{self, DataFolder, DataPaths};
use crate::gateway::{Blame, Host, SettingsCause};
use crate::ids::hex;
use crate::platform;

/// How often what was noted of keys is written down.
const BOOKS_INTERVAL: Duration = Duration::from_secs(1);

/// Where to listen, and how: as it was said when the host started, and as it may be said anew meanwhile.
#[derive(Debug)]
pub(super) struct DoorPlan {
    data_folder: Option<PathBuf>,
    arguments: ServeArguments,
    /// What was said when the host started. Only `listen`, and whether there is TLS, stay as they are here.
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<Tls>>,
    rates: Arc<Mutex<Rates>>,
    rules: Arc<RwLock<Arc<DoorRules>>>,
    trust: TrustSettings,
    sha256: Option<String>,
}

/// What was said, and may be kept.
struct Said {
    settings: ServeSettings,
    /// Of the file's text, if there is one.
    sha256: Option<String>,
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
        let Said { settings, sha256 } = said(data_folder.clone(), arguments.clone())?;
        check(&settings, &settings.listen, settings.tls.is_some())?;
        let tls = match tls_files(&settings) {
            Some(files) => Some(Arc::new(load(files)?)),
            None => None,
        };
        let rules = Arc::new(RwLock::new(Arc::new(rules(&settings))));
        Ok(Self {
            data_folder,
            arguments,
            addresses: settings.listen,
            tls,
            rates: Arc::new(Mutex::new(Rates::new(settings.requests_per_minute))),
            rules,
            trust: settings.trust,
            sha256,
        })
    }

    /// Whether it listens beyond this machine in the clear.
    pub(super) fn is_insecure(&self) -> bool {
        self.tls.is_none() && far_address(&self.addresses).is_some()
    }

    /// Has a host believe whom the settings name, before anybody asks it.
    pub(super) async fn begin(&self, host: &Host) -> Result<(), Failure> {
        if self.addresses.is_empty() || self.trust == TrustSettings::default() {
            return Ok(());
        }
        host.trust(self.trust.clone()).map_err(|error| Failure::input(error.to_string()))?;
        host.record_serve_settings(SettingsCause::Started, self.sha256.clone(), None).await?;
        Ok(())
    }

    /// Reads the settings again, and has all of them in force that can change beside requests; what it says of those
    /// that can't. Settings with an error change nothing. Either is recorded.
    pub(super) async fn reload(&self, host: &Host) -> Result<Vec<&'static str>, Failure> {
        let (sha256, changed) = match said(self.data_folder.clone(), self.arguments.clone()) {
            Ok(Said { settings, sha256 }) => (sha256, self.change(host, settings)),
            Err(failure) => (None, Err(failure)),
        };
        match &changed {
            Ok(_) => host.record_serve_settings(SettingsCause::Reloaded, sha256, None).await?,
            Err(failure) => {
                let reason = failure.detail();
                host.record_serve_settings(SettingsCause::Refused, sha256, Some(&reason)).await?;
            }
        }
        changed
    }

    fn change(&self, host: &Host, settings: ServeSettings) -> Result<Vec<&'static str>, Failure> {
        check(&settings, &self.addresses, self.tls.is_some())?;
        let mut kept = Vec::new();
        if settings.listen != self.addresses {
            kept.push("`listen`");
        }
        let tls = match (&self.tls, tls_files(&settings)) {
            (Some(tls), Some(files)) => Some((tls, load(files)?)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                kept.push("`tls_cert` and `tls_key`");
                None
            }
        };
        // All that can fail comes before the first change.
        host.trust(settings.trust.clone()).map_err(|error| Failure::input(error.to_string()))?;
        if let Some((tls, read)) = tls {
            tls.become_like(read);
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules(&settings));
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).set(settings.requests_per_minute);
        Ok(kept)
    }

    /// Takes the addresses, and says so in the data folder.
    pub(super) async fn listen(&self, folder: &DataFolder) -> Result<Vec<Door>, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut doors = Vec::new();
        for address in self.addresses.iter().copied() {
            let listener =
                TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))?;
            let bound = listener.local_addr().map_err(|error| cannot_listen(address, &error))?;
            let settings = DoorSettings {
                loopback: bound.ip().to_canonical().is_loopback(),
                secure: self.tls.is_some(),
                rates: Arc::clone(&self.rates),
                rules: Arc::clone(&self.rules),
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
    /// A door that only this machine reaches, in the clear, with the defaults of all settings.
    pub(super) fn on_loopback(listener: TcpListener) -> Result<Self, Failure> {
        let bound = listener.local_addr();
        let bound = bound.map_err(|error| Failure::host(format!("a listener has no address: {error}")))?;
        debug_assert!(bound.ip().is_loopback(), "{bound}");
        let settings = DoorSettings {
            loopback: true,
            secure: false,
            rates: Arc::new(Mutex::new(Rates::new(None))),
            rules: Arc::default(),
        };
        Ok(Self { url: format!("http://{bound}"), listener, tls: None, settings })
    }

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

/// Whether what was said can be kept at these addresses, with TLS or without.
fn check(settings: &ServeSettings, addresses: &[SocketAddr], has_tls: bool) -> Result<(), Failure> {
    if settings.tls_clients.is_some() && !has_tls {
        return Err(Failure::input(
            "`tls_client_ca` needs TLS: name `tls_cert` and `tls_key` as well, or leave it out",
        ));
    }
    let Some(far) = far_address(addresses) else { return Ok(()) };
    if !has_tls && !settings.insecure_listen {
        return Err(Failure::input(format!(
            "{far} is reached from other machines, and without TLS whoever is on the way sees keys and \
             arguments: give --tls-cert and --tls-key, listen on 127.0.0.1 behind a proxy that has TLS, or \
             say --insecure-listen"
        )));
    }
    if !settings.trust.issuers.is_empty() && settings.public_url.is_none() {
        return Err(Failure::input(format!(
            "{far} is reached from other machines, and agents ask issuers for tokens by the URL of this host: \
             name it as `public_url` in serve.toml"
        )));
    }
    Ok(())
}

fn far_address(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    addresses.iter().copied().find(|address| !address.ip().to_canonical().is_loopback())
}

fn rules(settings: &ServeSettings) -> DoorRules {
    DoorRules {
        allowed_hosts: settings.allowed_hosts.clone(),
        allowed_origins: settings.allowed_origins.clone(),
        public_url: settings.public_url.clone(),
    }
}

fn tls_files(settings: &ServeSettings) -> Option<TlsFiles> {
    let (certificate, key) = settings.tls.clone()?;
    Some(TlsFiles { certificate, key, clients: settings.tls_clients.clone() })
}

/// The settings file, where the command line says nothing else.
fn said(data_folder: Option<PathBuf>, arguments: ServeArguments) -> Result<Said, Failure> {
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
    let mut sha256 = None;
    let read = settings(file, SERVE_FILE_BYTES_MAX, |text| {
        sha256 = Some(hex(&Sha256::digest(text)));
        parse_serve_settings(text)
    });
    let mut said = read?.unwrap_or_default();
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
    Ok(Said { settings: said, sha256 })
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

fn load(files: TlsFiles) -> Result<Tls, Failure> {
    match Tls::load(files) {
        Ok(tls) => Ok(tls),
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
