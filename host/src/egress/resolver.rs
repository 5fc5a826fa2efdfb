//! Names to addresses, behind one trait, so that tests can answer as a hostile name server would.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// The most addresses of one name. A name with more is refused.
pub const ADDRESSES_MAX: usize = 64;

/// The most lookups of the system's resolver at once. It can't be interrupted, so that lookups whose
/// callers went away count until they end; further ones wait, within their own deadlines.
const SYSTEM_LOOKUPS_MAX: usize = 32;

/// A lookup under way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Finds the addresses of a name. Whoever asks judges them, and sets the deadline.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a name in canonical form ([`UrlHost::Name`](super::UrlHost)), never of an address.
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}

/// The system's resolver: its hosts file, its name servers, its search list.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    places: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(SYSTEM_LOOKUPS_MAX)) }
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let gone = |_| io::Error::other("the resolver was closed");
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(gone)?;
            let name = name.to_owned();
            let lookup = tokio::spawn(async move {
                let _place = place;
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                let mut addresses: Vec<IpAddr> = Vec::new();
                for found in found {
                    // One entry for each kind of socket comes from some systems.
                    if !addresses.contains(&found.ip()) && addresses.len() <= ADDRESSES_MAX {
                        addresses.push(found.ip());
                    }
                }
                Ok(addresses)
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}
