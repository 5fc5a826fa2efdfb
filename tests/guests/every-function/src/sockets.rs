//! `wasi:sockets`: a peer that the test has on loopback, which greets and then says what it hears. It is
//! granted as `127.0.0.1` and `echo.test`; its port is in the address of `port.test`.

use crate::Driver;
use crate::answers::{NoHandle, Outcome, fallible, needed, plain};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream};
use crate::bindings::wasi::sockets::instance_network::instance_network;
use crate::bindings::wasi::sockets::ip_name_lookup::{ResolveAddressStream, resolve_addresses};
use crate::bindings::wasi::sockets::network::{
    IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
};
use crate::bindings::wasi::sockets::tcp::{ShutdownType, TcpSocket};
use crate::bindings::wasi::sockets::tcp_create_socket::create_tcp_socket;
use crate::bindings::wasi::sockets::udp::{
    IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
};
use crate::bindings::wasi::sockets::udp_create_socket::create_udp_socket;

fn at(address: (u8, u8, u8, u8), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

const NO_ADDRESS: (u8, u8, u8, u8) = (0, 0, 0, 0);
const LOOPBACK: (u8, u8, u8, u8) = (127, 0, 0, 1);

fn anywhere() -> IpSocketAddress {
    at(NO_ADDRESS, 0)
}

/// What no rule names.
fn elsewhere() -> IpSocketAddress {
    at((10, 9, 8, 7), 80)
}

fn found(name: &str) -> Result<ResolveAddressStream, NoHandle> {
    needed(resolve_addresses(&instance_network(), name))
}

/// The peer, found by the second and third number of an address.
fn peer() -> Result<IpSocketAddress, NoHandle> {
    match needed(found("port.test")?.resolve_next_address())? {
        Some(IpAddress::Ipv4((_, high, low, _))) => Ok(at(LOOPBACK, u16::from_be_bytes([high, low]))),
        other => Err(NoHandle(format!("no port, but {other:?}"))),
    }
}

fn tcp() -> Result<TcpSocket, NoHandle> {
    needed(create_tcp_socket(IpAddressFamily::Ipv4))
}

/// A socket whose connection is ready to be finished.
fn connecting() -> Result<TcpSocket, NoHandle> {
    let socket = tcp()?;
    needed(socket.start_connect(&instance_network(), peer()?))?;
    socket.subscribe().block();
    Ok(socket)
}

/// Streams before their socket, so that they are dropped first.
type Connected = (InputStream, OutputStream, TcpSocket);

fn connected() -> Result<Connected, NoHandle> {
    let socket = connecting()?;
    let (input, output) = needed(socket.finish_connect())?;
    Ok((input, output, socket))
}

pub(crate) fn from_peer(call: impl FnOnce(&InputStream) -> Outcome) -> Outcome {
    let (input, _output, _socket) = connected()?;
    call(&input)
}

pub(crate) fn to_peer(call: impl FnOnce(&OutputStream) -> Outcome) -> Outcome {
    let (_input, output, _socket) = connected()?;
    call(&output)
}

pub(crate) fn within_peer(call: impl FnOnce(&OutputStream, &InputStream) -> Outcome) -> Outcome {
    let (input, output, _socket) = connected()?;
    call(&output, &input)
}

fn udp() -> Result<UdpSocket, NoHandle> {
    needed(create_udp_socket(IpAddressFamily::Ipv4))
}

fn bound() -> Result<UdpSocket, NoHandle> {
    let socket = udp()?;
    needed(socket.start_bind(&instance_network(), anywhere()))?;
    needed(socket.finish_bind())?;
    Ok(socket)
}

type Paired = (IncomingDatagramStream, OutgoingDatagramStream, UdpSocket);

/// A socket that sends to the peer only, or to any that is granted.
fn paired(with_peer: bool) -> Result<Paired, NoHandle> {
    let socket = bound()?;
    let remote = if with_peer { Some(peer()?) } else { None };
    let (incoming, outgoing) = needed(socket.stream(remote))?;
    Ok((incoming, outgoing, socket))
}

fn sent(remote_address: Option<IpSocketAddress>) -> Outcome {
    let (_incoming, outgoing, _socket) = paired(remote_address.is_none())?;
    needed(outgoing.check_send())?;
    fallible(outgoing.send(&[OutgoingDatagram { data: b"text".to_vec(), remote_address }]))
}

/// Drivers on a fresh socket.
macro_rules! on {
    ($make:ident: $($function:literal: |$socket:ident| $call:expr;)*) => {
        &[$(($function, || {
            let $socket = $make()?;
            $call
        })),*]
    };
}

pub(crate) const TCP_DRIVERS: &[Driver] = on! { tcp:
    "wasi:sockets/tcp#[method]tcp-socket.start-bind": |socket| {
        fallible(socket.start_bind(&instance_network(), anywhere()))
    };
    "wasi:sockets/tcp#[method]tcp-socket.start-bind loopback": |socket| {
        fallible(socket.start_bind(&instance_network(), at(LOOPBACK, 0)))
    };
    "wasi:sockets/tcp#[method]tcp-socket.finish-bind": |socket| {
        needed(socket.start_bind(&instance_network(), anywhere()))?;
        fallible(socket.finish_bind())
    };
    "wasi:sockets/tcp#[method]tcp-socket.start-connect": |socket| {
        let begun = socket.start_connect(&instance_network(), peer()?);
        if begun.is_ok() {
            socket.subscribe().block();
        }
        fallible(begun)
    };
    "wasi:sockets/tcp#[method]tcp-socket.start-connect elsewhere": |socket| {
        fallible(socket.start_connect(&instance_network(), elsewhere()))
    };
    "wasi:sockets/tcp#[method]tcp-socket.start-listen": |socket| fallible(socket.start_listen());
    "wasi:sockets/tcp#[method]tcp-socket.finish-listen": |socket| fallible(socket.finish_listen());
    "wasi:sockets/tcp#[method]tcp-socket.accept": |socket| fallible(socket.accept());
    "wasi:sockets/tcp#[method]tcp-socket.is-listening": |socket| plain(socket.is_listening());
    "wasi:sockets/tcp#[method]tcp-socket.address-family": |socket| plain(socket.address_family());
    "wasi:sockets/tcp#[method]tcp-socket.set-listen-backlog-size": |socket| {
        fallible(socket.set_listen_backlog_size(5))
    };
    "wasi:sockets/tcp#[method]tcp-socket.keep-alive-enabled": |socket| fallible(socket.keep_alive_enabled());
    "wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-enabled": |socket| {
        fallible(socket.set_keep_alive_enabled(true))
    };
    "wasi:sockets/tcp#[method]tcp-socket.keep-alive-idle-time": |socket| {
        fallible(socket.keep_alive_idle_time())
    };
    "wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-idle-time": |socket| {
        fallible(socket.set_keep_alive_idle_time(1))
    };
    "wasi:sockets/tcp#[method]tcp-socket.keep-alive-interval": |socket| fallible(socket.keep_alive_interval());
    "wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-interval": |socket| {
        fallible(socket.set_keep_alive_interval(1))
    };
    "wasi:sockets/tcp#[method]tcp-socket.keep-alive-count": |socket| fallible(socket.keep_alive_count());
    "wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-count": |socket| {
        fallible(socket.set_keep_alive_count(3))
    };
    "wasi:sockets/tcp#[method]tcp-socket.hop-limit": |socket| fallible(socket.hop_limit());
    "wasi:sockets/tcp#[method]tcp-socket.set-hop-limit": |socket| fallible(socket.set_hop_limit(9));
    "wasi:sockets/tcp#[method]tcp-socket.receive-buffer-size": |socket| fallible(socket.receive_buffer_size());
    "wasi:sockets/tcp#[method]tcp-socket.set-receive-buffer-size": |socket| {
        fallible(socket.set_receive_buffer_size(9_000))
    };
    "wasi:sockets/tcp#[method]tcp-socket.send-buffer-size": |socket| fallible(socket.send_buffer_size());
    "wasi:sockets/tcp#[method]tcp-socket.set-send-buffer-size": |socket| {
        fallible(socket.set_send_buffer_size(9_000))
    };
    "wasi:sockets/tcp#[method]tcp-socket.subscribe": |socket| plain(socket.subscribe());
};

pub(crate) const CONNECTED_DRIVERS: &[Driver] = on! { connected:
    "wasi:sockets/tcp#[method]tcp-socket.local-address": |connected| fallible(connected.2.local_address());
    "wasi:sockets/tcp#[method]tcp-socket.remote-address": |connected| fallible(connected.2.remote_address());
    "wasi:sockets/tcp#[method]tcp-socket.shutdown": |connected| {
        fallible(connected.2.shutdown(ShutdownType::Both))
    };
};

pub(crate) const UDP_DRIVERS: &[Driver] = on! { udp:
    "wasi:sockets/udp#[method]udp-socket.start-bind": |socket| {
        fallible(socket.start_bind(&instance_network(), anywhere()))
    };
    "wasi:sockets/udp#[method]udp-socket.start-bind loopback": |socket| {
        fallible(socket.start_bind(&instance_network(), at(LOOPBACK, 0)))
    };
    "wasi:sockets/udp#[method]udp-socket.finish-bind": |socket| {
        needed(socket.start_bind(&instance_network(), anywhere()))?;
        fallible(socket.finish_bind())
    };
    "wasi:sockets/udp#[method]udp-socket.address-family": |socket| plain(socket.address_family());
    "wasi:sockets/udp#[method]udp-socket.unicast-hop-limit": |socket| fallible(socket.unicast_hop_limit());
    "wasi:sockets/udp#[method]udp-socket.set-unicast-hop-limit": |socket| {
        fallible(socket.set_unicast_hop_limit(9))
    };
    "wasi:sockets/udp#[method]udp-socket.receive-buffer-size": |socket| fallible(socket.receive_buffer_size());
    "wasi:sockets/udp#[method]udp-socket.set-receive-buffer-size": |socket| {
        fallible(socket.set_receive_buffer_size(9_000))
    };
    "wasi:sockets/udp#[method]udp-socket.send-buffer-size": |socket| fallible(socket.send_buffer_size());
    "wasi:sockets/udp#[method]udp-socket.set-send-buffer-size": |socket| {
        fallible(socket.set_send_buffer_size(9_000))
    };
    "wasi:sockets/udp#[method]udp-socket.subscribe": |socket| plain(socket.subscribe());
};

pub(crate) const DRIVERS: &[Driver] = &[
    ("wasi:sockets/ip-name-lookup#resolve-addresses", || {
        fallible(resolve_addresses(&instance_network(), "echo.test"))
    }),
    ("wasi:sockets/ip-name-lookup#[method]resolve-address-stream.resolve-next-address", || {
        fallible(found("echo.test")?.resolve_next_address())
    }),
    ("wasi:sockets/ip-name-lookup#[method]resolve-address-stream.subscribe", || {
        let found = found("echo.test")?;
        let pollable = found.subscribe();
        plain(pollable)
    }),
    ("wasi:sockets/tcp-create-socket#create-tcp-socket", || {
        fallible(create_tcp_socket(IpAddressFamily::Ipv4))
    }),
    ("wasi:sockets/udp-create-socket#create-udp-socket", || {
        fallible(create_udp_socket(IpAddressFamily::Ipv4))
    }),
    ("wasi:sockets/tcp#[method]tcp-socket.finish-connect", || {
        let socket = connecting()?;
        let streams = socket.finish_connect();
        fallible(streams)
    }),
    ("wasi:sockets/udp#[method]udp-socket.stream", || {
        let (socket, peer) = (bound()?, peer()?);
        let streams = socket.stream(Some(peer));
        fallible(streams)
    }),
    ("wasi:sockets/udp#[method]udp-socket.stream elsewhere", || {
        let socket = bound()?;
        let streams = socket.stream(Some(elsewhere()));
        fallible(streams)
    }),
    ("wasi:sockets/udp#[method]udp-socket.local-address", || fallible(bound()?.local_address())),
    ("wasi:sockets/udp#[method]udp-socket.remote-address", || fallible(paired(true)?.2.remote_address())),
    ("wasi:sockets/udp#[method]incoming-datagram-stream.receive", || fallible(paired(true)?.0.receive(4))),
    ("wasi:sockets/udp#[method]incoming-datagram-stream.subscribe", || {
        let (incoming, _outgoing, _socket) = paired(true)?;
        let pollable = incoming.subscribe();
        plain(pollable)
    }),
    ("wasi:sockets/udp#[method]outgoing-datagram-stream.check-send", || {
        fallible(paired(true)?.1.check_send())
    }),
    ("wasi:sockets/udp#[method]outgoing-datagram-stream.send", || sent(None)),
    ("wasi:sockets/udp#[method]outgoing-datagram-stream.send elsewhere", || sent(Some(elsewhere()))),
    ("wasi:sockets/udp#[method]outgoing-datagram-stream.subscribe", || {
        let (_incoming, outgoing, _socket) = paired(true)?;
        let pollable = outgoing.subscribe();
        plain(pollable)
    }),
];
