//! The ways out beside requests: sockets, lookups, state.

use std::net::{IpAddr, SocketAddr};

use crate::bindings::exports::test::secret_holder::holder::Way;
use crate::bindings::wasi::keyvalue::store::{self, Bucket};
use crate::bindings::wasi::keyvalue::{atomics, batch};
use crate::bindings::wasi::sockets::instance_network::instance_network;
use crate::bindings::wasi::sockets::ip_name_lookup::resolve_addresses;
use crate::bindings::wasi::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
};
use crate::bindings::wasi::sockets::tcp_create_socket::create_tcp_socket;
use crate::bindings::wasi::sockets::udp::OutgoingDatagram;
use crate::bindings::wasi::sockets::udp_create_socket::create_udp_socket;

pub(crate) fn leave(text: &str, way: Way, peer: &str) -> Result<String, String> {
    match way {
        Way::Connection => connection(&[text.as_bytes()], peer),
        Way::Bytes => connection(&text.as_bytes().chunks(1).collect::<Vec<_>>(), peer),
        Way::Datagram => datagram(text, peer),
        Way::Name => lookup(&format!("{text}.{peer}")),
        Way::Labels => {
            let (first, second) = text.split_at(text.len() / 2);
            lookup(&format!("{first}.{second}.{peer}"))
        }
        Way::Value => kept(bucket()?.set("key", text.as_bytes())),
        Way::Key => kept(bucket()?.set(text, b"value")),
        Way::Values => {
            let entry = |key: &str, value: &str| (key.to_owned(), value.as_bytes().to_vec());
            kept(batch::set_many(&bucket()?, &[entry("other", "value"), entry("key", text)]))
        }
        Way::Number => kept(atomics::increment(&bucket()?, text, 1).map(drop)),
    }
}

fn told<T>(result: Result<T, ErrorCode>) -> Result<T, String> {
    result.map_err(|code| code.name().to_owned())
}

fn address(peer: &str) -> Result<IpSocketAddress, String> {
    let peer: SocketAddr = peer.parse().map_err(|_| format!("{peer} is no address"))?;
    let IpAddr::V4(v4) = peer.ip() else { return Err("not IPv4".to_owned()) };
    let [a, b, c, d] = v4.octets();
    Ok(IpSocketAddress::Ipv4(Ipv4SocketAddress { port: peer.port(), address: (a, b, c, d) }))
}

fn connection(parts: &[&[u8]], peer: &str) -> Result<String, String> {
    let socket = told(create_tcp_socket(IpAddressFamily::Ipv4))?;
    told(socket.start_connect(&instance_network(), address(peer)?))?;
    let (_input, output) = loop {
        match socket.finish_connect() {
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            finished => break told(finished)?,
        }
    };
    for part in parts {
        output.blocking_write_and_flush(part).map_err(|error| format!("{error:?}"))?;
    }
    Ok("sent".to_owned())
}

fn datagram(text: &str, peer: &str) -> Result<String, String> {
    let socket = told(create_udp_socket(IpAddressFamily::Ipv4))?;
    let anywhere = Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) };
    told(socket.start_bind(&instance_network(), IpSocketAddress::Ipv4(anywhere)))?;
    told(socket.finish_bind())?;
    let (_incoming, outgoing) = told(socket.stream(None))?;
    while told(outgoing.check_send())? == 0 {
        outgoing.subscribe().block();
    }
    let datagram = OutgoingDatagram { data: text.as_bytes().to_vec(), remote_address: Some(address(peer)?) };
    told(outgoing.send(&[datagram])).map(|count| format!("{count} sent"))
}

fn lookup(name: &str) -> Result<String, String> {
    told(resolve_addresses(&instance_network(), name)).map(|_| "found".to_owned())
}

fn bucket() -> Result<Bucket, String> {
    store::open("default").map_err(|error| format!("{error:?}"))
}

fn kept(result: Result<(), store::Error>) -> Result<String, String> {
    result.map(|()| "kept".to_owned()).map_err(|error| format!("{error:?}"))
}
