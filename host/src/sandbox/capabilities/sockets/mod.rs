//! `wasi:sockets`: what a grant names, and nothing else.
//!
//! A name is looked up once, its answer is judged as a whole, and a socket may then be connected to an
//! address of that answer ([`reach`]). The sockets are objects of ours, so that each function begins at the
//! gate. Nothing listens. All that a call opened closes when its state is dropped.

mod address;
mod lookup;
mod options;
mod reach;
mod streams;
mod tcp;
mod udp;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
use socket2::{Domain, Socket, Type};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::IoError;

use self::address::{NetworkError, code_of, socket_address};
pub use self::lookup::FoundAddresses;
use self::reach::{Found, Protocol, subject};
pub(crate) use self::streams::{SocketStream, refused_write};
pub use self::tcp::TcpSocket;
pub use self::udp::{IncomingDatagrams, OutgoingDatagrams, UdpSocket};
use super::gate::{HARMLESS, HostFunction};
use super::{CallState, NOT_GRANTED, trapped};
use crate::audit::event::{Decision, HostCallOutcome};
use crate::sandbox::bindings::wasi::sockets::{instance_network, network};
use crate::sandbox::connections::Connection;
use network::{ErrorCode, IpAddressFamily, IpSocketAddress};

/// The network that every guest may hold. It opens nothing.
#[derive(Debug)]
pub struct Network;

/// What a call keeps for its sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    found: Found,
    /// By the number of their handle in the resource table.
    streams: HashMap<u32, SocketStream>,
}

impl Sockets {
    /// The stream over a socket that a handle stands for; `None` for other streams.
    pub(crate) fn stream(&self, rep: u32) -> Option<&SocketStream> {
        self.streams.get(&rep)
    }

    /// Forgets a stream whose handle was dropped.
    pub(crate) fn drop_stream(&mut self, rep: u32) {
        self.streams.remove(&rep);
    }
}

mod networks {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/network":
        NETWORK_ERROR_CODE = "network-error-code";
    }
}

mod instance {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/instance-network":
        INSTANCE_NETWORK = "instance-network";
    }
}

/// The functions of `wasi:sockets`.
pub(crate) const FUNCTIONS: &[&[&HostFunction]] = &[
    networks::ALL,
    instance::ALL,
    lookup::FUNCTIONS,
    tcp::CREATE_FUNCTIONS,
    tcp::FUNCTIONS,
    udp::CREATE_FUNCTIONS,
    udp::FUNCTIONS,
];

/// What a function of `wasi:sockets` gives the guest.
type Answer<T> = Result<T, ErrorCode>;

impl network::Host for CallState {
    async fn network_error_code(&mut self, error: Resource<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        self.harmless(networks::NETWORK_ERROR_CODE, |state| {
            Ok(state.table.get(&error)?.downcast_ref::<NetworkError>().map(|error| error.0))
        })
        .await
    }
}

impl network::HostNetwork for CallState {
    async fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.delete(network).map(drop)
    }
}

impl instance_network::Host for CallState {
    async fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        self.harmless(instance::INSTANCE_NETWORK, |state| state.push(Network)).await
    }
}

fn outcome_of<T>(result: &wasmtime::Result<Answer<T>>) -> HostCallOutcome {
    match result {
        Ok(Ok(_)) => HostCallOutcome::Ok,
        Ok(Err(code)) => HostCallOutcome::Error(Cow::Borrowed(code.name())),
        Err(error) => trapped(error),
    }
}

impl CallState {
    /// A function of a socket that sends nothing: performed, then recorded.
    async fn of_socket<T>(
        &mut self,
        function: &'static HostFunction,
        perform: impl FnOnce(&mut Self) -> wasmtime::Result<Answer<T>>,
    ) -> wasmtime::Result<Answer<T>> {
        let entered = self.gate.enter(function, None).await?;
        let result = perform(self);
        self.gate.leave(entered, HARMLESS, outcome_of(&result), 0, 0);
        result
    }

    /// Binds a socket, as far as that is let: to no address and no port in particular.
    async fn bind_socket(
        &mut self,
        function: &'static HostFunction,
        protocol: Protocol,
        address: IpSocketAddress,
        bind: impl FnOnce(&mut Self, SocketAddr) -> wasmtime::Result<Answer<()>>,
    ) -> wasmtime::Result<Answer<()>> {
        let address = socket_address(address);
        let entered = self.gate.enter(function, Some(subject(protocol, None, address))).await?;
        let result = bind(self, address)?;
        match result {
            Err(ErrorCode::AccessDenied) => {
                self.gate.deny(entered, NOT_GRANTED, ErrorCode::AccessDenied.name());
            }
            Ok(()) | Err(_) => self.gate.leave(entered, HARMLESS, outcome_of(&Ok(result)), 0, 0),
        }
        Ok(result)
    }

    /// A function that makes a socket: by any rule for its kind, and if there is room for a connection.
    async fn create_socket<T: Send + 'static>(
        &mut self,
        function: &'static HostFunction,
        protocol: Protocol,
        family: IpAddressFamily,
        make: impl FnOnce(Socket, Connection) -> io::Result<T>,
    ) -> wasmtime::Result<Answer<Resource<T>>> {
        let entered = self.gate.enter(function, Some(Arc::from(protocol.name()))).await?;
        let Some(rule) = protocol.any_rule(&self.rules).map(|given| given.name()) else {
            self.gate.deny(entered, NOT_GRANTED, ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        };
        let connection = match self.connections.take() {
            Ok(connection) => connection,
            Err(reached) => {
                self.gate.deny(entered, format!("limit {}", reached.limit), ErrorCode::NewSocketLimit.name());
                return Ok(Err(ErrorCode::NewSocketLimit));
            }
        };
        let made = open(protocol, family).and_then(|socket| make(socket, connection));
        let result = match made {
            Ok(socket) => self.push(socket).map(Ok),
            Err(error) => Ok(Err(code_of(&error))),
        };
        self.gate.leave(entered, Decision::Allowed(Cow::Owned(rule)), outcome_of(&result), 0, 0);
        result
    }
}

/// A socket that does not block, and speaks one version of IP only.
fn open(protocol: Protocol, family: IpAddressFamily) -> io::Result<Socket> {
    let domain = match family {
        IpAddressFamily::Ipv4 => Domain::IPV4,
        IpAddressFamily::Ipv6 => Domain::IPV6,
    };
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(domain, kind.nonblocking().cloexec(), None)?;
    if family == IpAddressFamily::Ipv6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Whether the system says now that a socket is ready, however long ago the runtime looked.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if it is not.
fn ready_now(socket: &impl AsFd, flags: PollFlags) -> io::Result<()> {
    let mut looked_at = [PollFd::new(socket, flags)];
    match rustix::event::poll(&mut looked_at, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}
