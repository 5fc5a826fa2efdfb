//! `wasi:sockets/ip-name-lookup`: names that a rule names, once, with a deadline.
//!
//! A lookup leaves the host, so that it is an effect, and a way out: without a rule for the name nothing is
//! sent. The host call waits for the answer, so that its outcome is known. An address is never looked up.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::address::ip_address;
use super::network::{ErrorCode, IpAddress};
use super::reach::naming;
use super::{Answer, Network, outcome_of};
use crate::audit::event::{HostCallOutcome, LeakPlace};
use crate::egress::{Deadlines, EgressError, UrlHost, resolve_judged};
use crate::sandbox::bindings::wasi::sockets::ip_name_lookup;
use crate::sandbox::capabilities::gate::{HARMLESS, HostFunction};
use crate::sandbox::capabilities::{CallState, NOT_GRANTED, SUBJECT_BYTES_MAX};
use crate::text::{clean, clean_line};

mod functions {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/ip-name-lookup":
        RESOLVE_ADDRESSES = "resolve-addresses", Always;
        RESOLVE_NEXT_ADDRESS = "[method]resolve-address-stream.resolve-next-address";
        SUBSCRIBE = "[method]resolve-address-stream.subscribe";
    }
}

pub(super) const FUNCTIONS: &[&HostFunction] = functions::ALL;

/// The most that the log says of a failed lookup.
const ERROR_BYTES_MAX: usize = 200;

/// The addresses of a name, all of them known.
#[derive(Debug)]
pub struct FoundAddresses(std::vec::IntoIter<IpAddr>);

#[async_trait]
impl Pollable for FoundAddresses {
    async fn ready(&mut self) {}
}

impl FoundAddresses {
    fn new(addresses: Vec<IpAddr>) -> Self {
        Self(addresses.into_iter())
    }
}

/// What the guest is told of a failed lookup.
fn code(error: &EgressError) -> ErrorCode {
    if matches!(error, EgressError::Address(_)) {
        ErrorCode::AccessDenied
    } else if matches!(error, EgressError::TimedOut { .. }) {
        ErrorCode::TemporaryResolverFailure
    } else if matches!(error, EgressError::TooManyAddresses) {
        ErrorCode::PermanentResolverFailure
    } else {
        ErrorCode::NameUnresolvable
    }
}

impl CallState {
    async fn resolve(
        &mut self,
        host: UrlHost,
        name: &str,
    ) -> wasmtime::Result<Answer<Resource<FoundAddresses>>> {
        let subject = Arc::from(clean_line(name, SUBJECT_BYTES_MAX));
        let entered = self.gate.enter(functions::RESOLVE_ADDRESSES, Some(subject)).await?;
        let host_name = match &host {
            UrlHost::Name(host_name) => host_name.clone(),
            UrlHost::Address(address) => {
                let result = self.push(FoundAddresses::new(vec![*address])).map(Ok);
                self.gate.leave(entered, HARMLESS, outcome_of(&result), 0, 0);
                return result;
            }
        };
        if let Some(why) = self.secret_in_name(name) {
            self.gate.deny(entered, why, ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        }
        let naming = naming(&self.rules, &host);
        let Some(first) = naming.first() else {
            self.gate.deny(entered, NOT_GRANTED, ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        };
        if self.sockets.found.is_full() {
            self.gate.deny(entered, "too many lookups", ErrorCode::TemporaryResolverFailure.name());
            return Ok(Err(ErrorCode::TemporaryResolverFailure));
        }
        let rule = first.rule(&self.rules);
        let attempted = self.gate.attempt(entered, rule, host_name.len() as u64).await?;
        let granted: Vec<_> = naming.iter().flat_map(|naming| naming.granted.iter().copied()).collect();
        let resolver = Arc::clone(&self.resolver);
        let found = resolve_judged(&host, 0, &granted, &*resolver, Deadlines::default().lookup).await;
        let found = found.and_then(|peers| {
            let addresses: Vec<IpAddr> = peers.into_iter().map(|peer| peer.ip()).collect();
            self.sockets.found.remember(&host_name, &addresses, &naming)?;
            Ok(addresses)
        });
        match found {
            Ok(addresses) => {
                let result = self.push(FoundAddresses::new(addresses)).map(Ok);
                self.gate.finish(attempted, outcome_of(&result));
                result
            }
            Err(error) => {
                let code = code(&error);
                let text = clean(&format!("{}: {error}", code.name()), ERROR_BYTES_MAX);
                self.gate.finish(attempted, HostCallOutcome::Error(Cow::Owned(text)));
                Ok(Err(code))
            }
        }
    }
}

impl CallState {
    /// Looks for secrets in a name, also in one that is cut into labels.
    fn secret_in_name(&mut self, name: &str) -> Option<Cow<'static, str>> {
        self.held_secret(LeakPlace::Lookup, name.as_bytes())
            .or_else(|| self.held_secret(LeakPlace::Lookup, name.replace('.', "").as_bytes()))
    }
}

/// A name, or an address in any spelling; IPv6 without brackets, as `getaddrinfo` takes it.
fn host(name: &str) -> Option<UrlHost> {
    match name.parse::<IpAddr>() {
        Ok(address) => Some(UrlHost::Address(address.to_canonical())),
        Err(_) => UrlHost::parse(name).ok(),
    }
}

impl ip_name_lookup::Host for CallState {
    async fn resolve_addresses(
        &mut self,
        _: Resource<Network>,
        name: String,
    ) -> wasmtime::Result<Answer<Resource<FoundAddresses>>> {
        match host(&name) {
            Some(host) => self.resolve(host, &name).await,
            None => {
                let error = ErrorCode::InvalidArgument;
                self.refuse(functions::RESOLVE_ADDRESSES, Some(&name), error.name()).await?;
                Ok(Err(error))
            }
        }
    }
}

impl ip_name_lookup::HostResolveAddressStream for CallState {
    async fn resolve_next_address(
        &mut self,
        found: Resource<FoundAddresses>,
    ) -> wasmtime::Result<Answer<Option<IpAddress>>> {
        self.of_socket(functions::RESOLVE_NEXT_ADDRESS, |state| {
            Ok(Ok(state.table.get_mut(&found)?.0.next().map(ip_address)))
        })
        .await
    }

    async fn subscribe(
        &mut self,
        found: Resource<FoundAddresses>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.harmless(functions::SUBSCRIBE, |state| {
            state.gate.count_resource()?;
            subscribe(&mut state.table, found)
        })
        .await
    }

    async fn drop(&mut self, found: Resource<FoundAddresses>) -> wasmtime::Result<()> {
        self.delete(found).map(drop)
    }
}
