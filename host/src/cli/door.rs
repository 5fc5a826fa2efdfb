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
use super::failure::Failure;
use crate::api::door::{DoorSettings, network_router};
use crate::api::network::{NETWORK_CONNECTIONS_MAX, NetworkOptions, serve_network};
use crate::api::tls::{Tls, TlsError};
use crate::api::{ErrorKind, Problem, Router};
use crate::authn::Rates;
use crate::config::DataFolder;
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
    /// From what was said. Reads the certificate.
    pub(super) fn new(arguments: ServeArguments) -> Result<Self, Failure> {
        let ServeArguments {
            listen,
            tls_cert,
            tls_key,
            insecure_listen,
            requests_per_minute,
            allowed_host,
            allowed_origin,
        } = arguments;
        let has_none = listen.contains(&Listen::None);
        let addresses: Vec<SocketAddr> = listen
            .into_iter()
            .filter_map(|listen| match listen {
                Listen::None => None,
                Listen::At(address) => Some(address),
            })
            .collect();
        if has_none && !addresses.is_empty() {
            return Err(Failure::input("`--listen none` and an address to listen on don't go together"));
        }
        let tls = match tls_cert.zip(tls_key) {
            Some((certificate, key)) => Some(load(certificate, key)?),
            None => None,
        };
        let far = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(far) = far.filter(|_| tls.is_none() && !insecure_listen) {
            return Err(Failure::input(format!(
                "{far} is reached from other machines, and without TLS whoever is on the way sees keys and \
                 arguments: give --tls-cert and --tls-key, listen on 127.0.0.1 behind a proxy that has TLS, or \
                 say --insecure-listen"
            )));
        }
        let rates = Arc::new(Mutex::new(Rates::new(requests_per_minute)));
        Ok(Self { addresses, tls, rates, allowed_hosts: allowed_host, allowed_origins: allowed_origin })
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
        let router = network_router(host, stopping, settings, Router::new());
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

fn load(certificate: PathBuf, key: PathBuf) -> Result<Arc<Tls>, Failure> {
    match Tls::load(certificate, key) {
        Ok(tls) => Ok(Arc::new(tls)),
        Err(TlsError::File(error)) => Err(Failure::input(error.to_string())),
        Err(error @ TlsError::Unusable { .. }) => Err(Failure::input(error.to_string())),
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    let detail = format!(
        "{address} can't be listened on: {error}; name another address with `--listen IP:PORT`, or `--listen none` \
         to serve this user's commands only"
    );
    Problem::new(ErrorKind::Conflict, detail, Blame::Admin).into()
}
