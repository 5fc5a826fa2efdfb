//! Connections that stay open for the next request: only of the same scope, to the same origin.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use ipnet::IpNet;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::address::judge_address;
use super::body::RequestBody;
use super::url::{Scheme, UrlHost};

/// The most connections that are kept idle for one key.
const IDLE_PER_KEY_MAX: usize = 4;
/// The most connections that are kept idle in all. The longest idle of the key goes, or the newcomer.
const IDLE_MAX: usize = 256;
/// How long an idle connection is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a connection of which the last answer was just read may take to be ready for the next request.
const READY_TIME_MAX: Duration = Duration::from_millis(100);

/// For whom and to where a connection is. Connections are never used for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Package and principal, for guests.
    pub(super) scope: Arc<str>,
    pub(super) scheme: Scheme,
    pub(super) host: UrlHost,
    pub(super) port: u16,
}

/// A task that ends when nobody holds it any more.
#[derive(Debug)]
pub(super) struct Driver(JoinHandle<()>);

impl Driver {
    /// Runs a connection.
    pub(super) fn spawn(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(connection))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that takes one request after the other. Its socket is closed when this is dropped.
#[derive(Debug)]
pub(super) struct One {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) _driver: Driver,
}

/// A connection that takes many requests at once. Its socket is closed when the last of them is dropped.
#[derive(Debug)]
pub(super) struct Many {
    pub(super) sender: http2::SendRequest<RequestBody>,
    pub(super) _driver: Driver,
}

/// What carries an exchange.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) connection: Connection,
    pub(super) peer: IpAddr,
    pub(super) key: Key,
    pub(super) pool: Weak<Pool>,
}

#[derive(Debug)]
pub(super) enum Connection {
    Http1(Box<One>),
    Http2(Arc<Many>),
}

impl Carrier {
    /// Keeps the connection for the next request, if there is room.
    pub(super) fn give_back(self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self);
        }
    }
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    peer: IpAddr,
    since: Instant,
}

impl Idle {
    fn is_expired(&self, now: Instant) -> bool {
        let is_in_use = match &self.connection {
            Connection::Http1(_) => false,
            Connection::Http2(many) => Arc::strong_count(many) > 1,
        };
        !is_in_use && now.saturating_duration_since(self.since) >= IDLE_TIME_MAX
    }
}

/// The idle connections of one client.
#[derive(Debug, Default)]
pub(super) struct Pool {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    idle: HashMap<Key, Vec<Idle>>,
    /// Whether a task looks for what was idle for too long. There is one, however often the shelf is emptied
    /// and filled: a task for each time would be one for each request.
    is_swept: bool,
}

impl Pool {
    /// A connection that is open, to an address that may still be connected to.
    pub(super) async fn take(self: &Arc<Self>, key: &Key, granted: &[IpNet]) -> Option<Carrier> {
        while let Some(Idle { mut connection, peer, .. }) = self.pop(key) {
            if judge_address(peer, granted).is_err() {
                continue;
            }
            let is_ready = match &mut connection {
                Connection::Http1(one) => {
                    let ready = tokio::time::timeout(READY_TIME_MAX, one.sender.ready()).await;
                    matches!(ready, Ok(Ok(())))
                }
                Connection::Http2(many) => many.sender.is_ready(),
            };
            if !is_ready {
                continue;
            }
            let carrier = Carrier { connection, peer, key: key.clone(), pool: Arc::downgrade(self) };
            if let Connection::Http2(many) = &carrier.connection {
                let shared = Connection::Http2(Arc::clone(many));
                self.keep(key.clone(), Idle { connection: shared, peer, since: Instant::now() });
            }
            return Some(carrier);
        }
        None
    }

    fn pop(&self, key: &Key) -> Option<Idle> {
        let now = Instant::now();
        let mut shelf = self.lock();
        let found = shelf.idle.get_mut(key)?;
        found.retain(|idle| !idle.is_expired(now));
        let last = found.pop();
        if found.is_empty() {
            shelf.idle.remove(key);
        }
        last
    }

    fn put(self: &Arc<Self>, carrier: Carrier) {
        let Carrier { connection, peer, key, .. } = carrier;
        match connection {
            Connection::Http1(one) if one.sender.is_closed() => {}
            connection @ Connection::Http1(_) => {
                self.keep(key, Idle { connection, peer, since: Instant::now() });
            }
            // It stayed in the pool while it was used.
            Connection::Http2(many) => self.touch(&key, &many),
        }
    }

    /// Keeps a connection of HTTP/2, which is used by others while it is used.
    pub(super) fn share(self: &Arc<Self>, carrier: &Carrier) {
        if let Connection::Http2(many) = &carrier.connection {
            let connection = Connection::Http2(Arc::clone(many));
            self.keep(carrier.key.clone(), Idle { connection, peer: carrier.peer, since: Instant::now() });
        }
    }

    fn touch(&self, key: &Key, used: &Arc<Many>) {
        let mut shelf = self.lock();
        for kept in shelf.idle.get_mut(key).into_iter().flatten() {
            if matches!(&kept.connection, Connection::Http2(many) if Arc::ptr_eq(many, used)) {
                kept.since = Instant::now();
            }
        }
    }

    fn keep(self: &Arc<Self>, key: Key, newcomer: Idle) {
        let mut shelf = self.lock();
        let idle = &mut shelf.idle;
        let count: usize = idle.values().map(Vec::len).sum();
        let kept = idle.entry(key).or_default();
        if kept.len() >= IDLE_PER_KEY_MAX || (count >= IDLE_MAX && !kept.is_empty()) {
            kept.remove(0);
        } else if count >= IDLE_MAX {
            idle.retain(|_, kept| !kept.is_empty());
            return;
        }
        kept.push(newcomer);
        let is_swept = std::mem::replace(&mut shelf.is_swept, true);
        drop(shelf);
        if !is_swept {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what was idle for too long. Whether nothing is left, and so nothing to sweep.
    fn expire(&self) -> bool {
        let now = Instant::now();
        let mut shelf = self.lock();
        shelf.idle.retain(|_, kept| {
            kept.retain(|kept| !kept.is_expired(now));
            !kept.is_empty()
        });
        shelf.is_swept = !shelf.idle.is_empty();
        !shelf.is_swept
    }
}

/// Runs until a look finds nothing kept.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIME_MAX / 4).await;
        match pool.upgrade() {
            Some(pool) if !pool.expire() => {}
            Some(_) | None => return,
        }
    }
}
