//! `wasi:sockets`: no address is granted, so no socket is made and no name is looked up.
//!
//! The network that a guest can hold is an empty token. The types of sockets and of lookups have no
//! values, so what could be done with one can't be called.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};

use super::CallState;
use crate::sandbox::bindings::wasi::sockets::{
    instance_network, ip_name_lookup, network, tcp, tcp_create_socket, udp, udp_create_socket,
};
use network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress};

/// The network that every guest may hold. It opens nothing.
#[derive(Debug)]
pub struct Network;

/// A TCP socket. There is none: no value of this type can exist.
#[derive(Debug)]
pub enum TcpSocket {}

/// A UDP socket. There is none: no value of this type can exist.
#[derive(Debug)]
pub enum UdpSocket {}

/// What comes in through a UDP socket. No value of this type can exist.
#[derive(Debug)]
pub enum IncomingDatagrams {}

/// What goes out through a UDP socket. No value of this type can exist.
#[derive(Debug)]
pub enum OutgoingDatagrams {}

/// The addresses of a name. No value of this type can exist.
#[derive(Debug)]
pub enum FoundAddresses {}

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

mod lookup {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/ip-name-lookup":
        RESOLVE_ADDRESSES = "resolve-addresses", Always;
    }
}

mod create_tcp {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/tcp-create-socket":
        CREATE_TCP_SOCKET = "create-tcp-socket";
    }
}

mod create_udp {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/udp-create-socket":
        CREATE_UDP_SOCKET = "create-udp-socket";
    }
}

/// The functions of `wasi:sockets`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[
    networks::ALL,
    instance::ALL,
    lookup::ALL,
    create_tcp::ALL,
    create_udp::ALL,
    FOUND_ADDRESSES,
    TCP_SOCKET,
    UDP_SOCKET,
    INCOMING_DATAGRAMS,
    OUTGOING_DATAGRAMS,
];

/// What WIT calls [`ErrorCode::AccessDenied`].
const ACCESS_DENIED: &str = "access-denied";

impl network::Host for CallState {
    async fn network_error_code(&mut self, error: Resource<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        self.harmless(networks::NETWORK_ERROR_CODE, |state| {
            // No error of a stream comes from a network.
            state.table.get(&error)?;
            Ok(None)
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

impl ip_name_lookup::Host for CallState {
    async fn resolve_addresses(
        &mut self,
        _: Resource<Network>,
        name: String,
    ) -> wasmtime::Result<Result<Resource<FoundAddresses>, ErrorCode>> {
        self.refuse(lookup::RESOLVE_ADDRESSES, Some(&name), ACCESS_DENIED).await?;
        Ok(Err(ErrorCode::AccessDenied))
    }
}

impl tcp::Host for CallState {}

impl tcp_create_socket::Host for CallState {
    async fn create_tcp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> wasmtime::Result<Result<Resource<TcpSocket>, ErrorCode>> {
        self.refuse(create_tcp::CREATE_TCP_SOCKET, None, ACCESS_DENIED).await?;
        Ok(Err(ErrorCode::AccessDenied))
    }
}

impl udp::Host for CallState {}

impl udp_create_socket::Host for CallState {
    async fn create_udp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> wasmtime::Result<Result<Resource<UdpSocket>, ErrorCode>> {
        self.refuse(create_udp::CREATE_UDP_SOCKET, None, ACCESS_DENIED).await?;
        Ok(Err(ErrorCode::AccessDenied))
    }
}

type Answer<T> = Result<T, ErrorCode>;
type Connected = (Resource<DynInputStream>, Resource<DynOutputStream>);
type Accepted = (Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>);
type Datagrams = (Resource<IncomingDatagrams>, Resource<OutgoingDatagrams>);

super::unreachable_functions! {
    FOUND_ADDRESSES = "wasi:sockets/ip-name-lookup", ip_name_lookup::HostResolveAddressStream, FoundAddresses {
        "[method]resolve-address-stream.resolve-next-address" resolve_next_address() -> Answer<Option<IpAddress>>;
        "[method]resolve-address-stream.subscribe" subscribe() -> Resource<DynPollable>;
        drop;
    }
    TCP_SOCKET = "wasi:sockets/tcp", tcp::HostTcpSocket, TcpSocket {
        "[method]tcp-socket.start-bind" start_bind(Resource<Network>, IpSocketAddress) -> Answer<()>;
        "[method]tcp-socket.finish-bind" finish_bind() -> Answer<()>;
        "[method]tcp-socket.start-connect" start_connect(Resource<Network>, IpSocketAddress) -> Answer<()>;
        "[method]tcp-socket.finish-connect" finish_connect() -> Answer<Connected>;
        "[method]tcp-socket.start-listen" start_listen() -> Answer<()>;
        "[method]tcp-socket.finish-listen" finish_listen() -> Answer<()>;
        "[method]tcp-socket.accept" accept() -> Answer<Accepted>;
        "[method]tcp-socket.local-address" local_address() -> Answer<IpSocketAddress>;
        "[method]tcp-socket.remote-address" remote_address() -> Answer<IpSocketAddress>;
        "[method]tcp-socket.is-listening" is_listening() -> bool;
        "[method]tcp-socket.address-family" address_family() -> IpAddressFamily;
        "[method]tcp-socket.set-listen-backlog-size" set_listen_backlog_size(u64) -> Answer<()>;
        "[method]tcp-socket.keep-alive-enabled" keep_alive_enabled() -> Answer<bool>;
        "[method]tcp-socket.set-keep-alive-enabled" set_keep_alive_enabled(bool) -> Answer<()>;
        "[method]tcp-socket.keep-alive-idle-time" keep_alive_idle_time() -> Answer<u64>;
        "[method]tcp-socket.set-keep-alive-idle-time" set_keep_alive_idle_time(u64) -> Answer<()>;
        "[method]tcp-socket.keep-alive-interval" keep_alive_interval() -> Answer<u64>;
        "[method]tcp-socket.set-keep-alive-interval" set_keep_alive_interval(u64) -> Answer<()>;
        "[method]tcp-socket.keep-alive-count" keep_alive_count() -> Answer<u32>;
        "[method]tcp-socket.set-keep-alive-count" set_keep_alive_count(u32) -> Answer<()>;
        "[method]tcp-socket.hop-limit" hop_limit() -> Answer<u8>;
        "[method]tcp-socket.set-hop-limit" set_hop_limit(u8) -> Answer<()>;
        "[method]tcp-socket.receive-buffer-size" receive_buffer_size() -> Answer<u64>;
        "[method]tcp-socket.set-receive-buffer-size" set_receive_buffer_size(u64) -> Answer<()>;
        "[method]tcp-socket.send-buffer-size" send_buffer_size() -> Answer<u64>;
        "[method]tcp-socket.set-send-buffer-size" set_send_buffer_size(u64) -> Answer<()>;
        "[method]tcp-socket.subscribe" subscribe() -> Resource<DynPollable>;
        "[method]tcp-socket.shutdown" shutdown(tcp::ShutdownType) -> Answer<()>;
        drop;
    }
    UDP_SOCKET = "wasi:sockets/udp", udp::HostUdpSocket, UdpSocket {
        "[method]udp-socket.start-bind" start_bind(Resource<Network>, IpSocketAddress) -> Answer<()>;
        "[method]udp-socket.finish-bind" finish_bind() -> Answer<()>;
        "[method]udp-socket.stream" stream(Option<IpSocketAddress>) -> Answer<Datagrams>;
        "[method]udp-socket.local-address" local_address() -> Answer<IpSocketAddress>;
        "[method]udp-socket.remote-address" remote_address() -> Answer<IpSocketAddress>;
        "[method]udp-socket.address-family" address_family() -> IpAddressFamily;
        "[method]udp-socket.unicast-hop-limit" unicast_hop_limit() -> Answer<u8>;
        "[method]udp-socket.set-unicast-hop-limit" set_unicast_hop_limit(u8) -> Answer<()>;
        "[method]udp-socket.receive-buffer-size" receive_buffer_size() -> Answer<u64>;
        "[method]udp-socket.set-receive-buffer-size" set_receive_buffer_size(u64) -> Answer<()>;
        "[method]udp-socket.send-buffer-size" send_buffer_size() -> Answer<u64>;
        "[method]udp-socket.set-send-buffer-size" set_send_buffer_size(u64) -> Answer<()>;
        "[method]udp-socket.subscribe" subscribe() -> Resource<DynPollable>;
        drop;
    }
    INCOMING_DATAGRAMS = "wasi:sockets/udp", udp::HostIncomingDatagramStream, IncomingDatagrams {
        "[method]incoming-datagram-stream.receive" receive(u64) -> Answer<Vec<udp::IncomingDatagram>>;
        "[method]incoming-datagram-stream.subscribe" subscribe() -> Resource<DynPollable>;
        drop;
    }
    OUTGOING_DATAGRAMS = "wasi:sockets/udp", udp::HostOutgoingDatagramStream, OutgoingDatagrams {
        "[method]outgoing-datagram-stream.check-send" check_send() -> Answer<u64>;
        "[method]outgoing-datagram-stream.send" send(Vec<udp::OutgoingDatagram>) -> Answer<u64>;
        "[method]outgoing-datagram-stream.subscribe" subscribe() -> Resource<DynPollable>;
        drop;
    }
}
