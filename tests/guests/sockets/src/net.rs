//! Sockets that wait, as the library of a language makes them of `wasi:sockets`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bindings::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::bindings::wasi::io::poll::poll;
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::bindings::wasi::sockets::instance_network::instance_network;
use crate::bindings::wasi::sockets::ip_name_lookup::resolve_addresses;
use crate::bindings::wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use crate::bindings::wasi::sockets::tcp::{ShutdownType, TcpSocket};
use crate::bindings::wasi::sockets::tcp_create_socket::create_tcp_socket;
use crate::bindings::wasi::sockets::udp::{
    IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
};
use crate::bindings::wasi::sockets::udp_create_socket::create_udp_socket;

/// What went wrong, by its name.
pub(crate) type Told<T> = Result<T, String>;

/// How long an answer is waited for.
const WAIT_NANOSECONDS: u64 = 2_000_000_000;

pub(crate) fn told<T>(result: Result<T, ErrorCode>) -> Told<T> {
    result.map_err(|code| code.name().to_owned())
}

fn of_stream<T>(result: Result<T, StreamError>) -> Told<T> {
    result.map_err(|error| match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    })
}

pub(crate) fn address(text: &str) -> Told<SocketAddr> {
    text.parse().map_err(|_| format!("{text} is no address"))
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

pub(crate) fn wasi(address: SocketAddr) -> IpSocketAddress {
    match address.ip() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
        }
        IpAddr::V6(v6) => IpSocketAddress::Ipv6(Ipv6SocketAddress {
            port: address.port(),
            flow_info: 0,
            address: v6.segments().into(),
            scope_id: 0,
        }),
    }
}

pub(crate) fn lookup(name: &str) -> Told<Vec<IpAddr>> {
    let found = told(resolve_addresses(&instance_network(), name))?;
    let mut addresses = Vec::new();
    loop {
        match found.resolve_next_address() {
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => addresses.push(Ipv4Addr::new(a, b, c, d).into()),
            Ok(Some(IpAddress::Ipv6(segments))) => {
                addresses.push(Ipv6Addr::from(<[u16; 8]>::from(segments)).into())
            }
            Ok(None) => return Ok(addresses),
            Err(ErrorCode::WouldBlock) => found.subscribe().block(),
            Err(code) => return told(Err(code)),
        }
    }
}

/// A connection. Its streams are dropped before it.
pub(crate) struct Stream {
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
}

impl Stream {
    pub(crate) fn connect(peer: SocketAddr) -> Told<Self> {
        let socket = told(create_tcp_socket(family(peer)))?;
        told(socket.start_connect(&instance_network(), wasi(peer)))?;
        loop {
            match socket.finish_connect() {
                Ok((input, output)) => return Ok(Self { input, output, socket }),
                Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
                Err(code) => return told(Err(code)),
            }
        }
    }

    /// By the functions that don't wait, and by waiting.
    pub(crate) fn write(&self, mut bytes: &[u8]) -> Told<()> {
        while !bytes.is_empty() {
            let permitted = of_stream(self.output.check_write())?;
            if permitted == 0 {
                self.output.subscribe().block();
                continue;
            }
            let (now, later) =
                bytes.split_at(bytes.len().min(usize::try_from(permitted).unwrap_or(usize::MAX)));
            of_stream(self.output.write(now))?;
            bytes = later;
        }
        of_stream(self.output.blocking_flush())?;
        told(self.socket.shutdown(ShutdownType::Send))
    }

    /// All that comes, up to the end.
    pub(crate) fn read(&self) -> Told<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            match self.input.read(1 << 20) {
                Ok(bytes) if bytes.is_empty() => self.input.subscribe().block(),
                Ok(mut bytes) => all.append(&mut bytes),
                Err(StreamError::Closed) => return Ok(all),
                Err(error) => return of_stream(Err(error)),
            }
        }
    }

    /// How much comes, up to the end, by the function that waits.
    pub(crate) fn drain(&self) -> Told<u64> {
        let mut count = 0;
        loop {
            match self.input.blocking_read(1 << 20) {
                Ok(bytes) => count += bytes.len() as u64,
                Err(StreamError::Closed) => return Ok(count),
                Err(error) => return of_stream(Err(error)),
            }
        }
    }
}

/// A UDP socket with its streams, which are dropped before it.
pub(crate) struct Datagrams {
    incoming: IncomingDatagramStream,
    outgoing: OutgoingDatagramStream,
    _socket: UdpSocket,
}

pub(crate) fn udp(bound: SocketAddr) -> Told<UdpSocket> {
    let socket = told(create_udp_socket(family(bound)))?;
    told(socket.start_bind(&instance_network(), wasi(bound)))?;
    told(socket.finish_bind())?;
    Ok(socket)
}

impl Datagrams {
    pub(crate) fn open(bound: SocketAddr, remote: Option<SocketAddr>) -> Told<Self> {
        let socket = udp(bound)?;
        let (incoming, outgoing) = told(socket.stream(remote.map(wasi)))?;
        Ok(Self { incoming, outgoing, _socket: socket })
    }

    pub(crate) fn send(&self, datagrams: &[OutgoingDatagram]) -> Told<u64> {
        while told(self.outgoing.check_send())? == 0 {
            self.outgoing.subscribe().block();
        }
        told(self.outgoing.send(datagrams))
    }

    pub(crate) fn hear(&self) -> Told<String> {
        let (ready, late) = (self.incoming.subscribe(), subscribe_duration(WAIT_NANOSECONDS));
        loop {
            if let Some(datagram) = told(self.incoming.receive(1))?.pop() {
                return Ok(String::from_utf8_lossy(&datagram.data).into_owned());
            }
            if poll(&[&ready, &late]).contains(&1) {
                return Err("nothing came".to_owned());
            }
        }
    }
}

pub(crate) fn datagram(text: &str, to: Option<SocketAddr>) -> OutgoingDatagram {
    OutgoingDatagram { data: text.as_bytes().to_vec(), remote_address: to.map(wasi) }
}
