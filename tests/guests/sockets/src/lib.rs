//! Reaches peers by TCP and UDP, as far as it is let.

mod bindings {
    wit_bindgen::generate!({
        world: "test:sockets/sockets",
        path: ["../../../wit", "wit"],
        generate_all,
    });
}
mod net;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bindings::exports::test::sockets::calls::Guest;
use bindings::wasi::sockets::instance_network::instance_network;
use bindings::wasi::sockets::network::IpAddressFamily;
use bindings::wasi::sockets::tcp_create_socket::create_tcp_socket;
use net::{Datagrams, Stream, Told, address, datagram, lookup, told, wasi};

struct Sockets;

const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn talk(peer: SocketAddr, bytes: &[u8]) -> Told<String> {
    let stream = Stream::connect(peer)?;
    stream.write(bytes)?;
    Ok(String::from_utf8_lossy(&stream.read()?).into_owned())
}

/// So many of what can be opened, all held, and the last error.
fn many<T>(count: u32, open: impl Fn() -> Told<T>) -> (u32, Option<String>) {
    let (mut held, mut last) = (Vec::new(), None);
    for _ in 0..count {
        match open() {
            Ok(opened) => held.push(opened),
            Err(error) => last = Some(error),
        }
    }
    (u32::try_from(held.len()).unwrap_or(u32::MAX), last)
}

fn named<T>(result: Told<T>) -> String {
    result.map_or_else(|error| error, |_| "ok".to_owned())
}

impl Guest for Sockets {
    fn lookup(name: String) -> Told<Vec<String>> {
        Ok(lookup(&name)?.iter().map(ToString::to_string).collect())
    }

    fn talk(host: String, port: u16, text: String) -> Told<String> {
        let found = lookup(&host)?;
        let first = found.first().ok_or("no address")?;
        talk(SocketAddr::new(*first, port), text.as_bytes())
    }

    fn lookup_and_connect(name: String, to: String) -> Told<()> {
        lookup(&name)?;
        Stream::connect(address(&to)?).map(drop)
    }

    fn connect_wrapped(to: String) -> Told<()> {
        let peer = address(&to)?;
        let IpAddr::V4(v4) = peer.ip() else { return Err("not IPv4".to_owned()) };
        Stream::connect(SocketAddr::new(v4.to_ipv6_mapped().into(), peer.port())).map(drop)
    }

    fn connect_many(to: String, count: u32) -> (u32, Option<String>) {
        many(count, || Stream::connect(address(&to)?))
    }

    fn reconnect(to: String, count: u32) -> u32 {
        let connected = (0..count).filter(|_| address(&to).and_then(Stream::connect).is_ok()).count();
        u32::try_from(connected).unwrap_or(u32::MAX)
    }

    fn drain(from: String) -> Told<u64> {
        Stream::connect(address(&from)?)?.drain()
    }

    fn pour(to: String, count: u32) -> Told<String> {
        talk(address(&to)?, &vec![b'x'; usize::try_from(count).unwrap_or(usize::MAX)])
    }

    fn listen(at: String) -> Vec<String> {
        let (Ok(at), Ok(socket)) = (address(&at), told(create_tcp_socket(IpAddressFamily::Ipv4))) else {
            return vec!["no socket".to_owned()];
        };
        let bound = told(socket.start_bind(&instance_network(), wasi(at)));
        let bound = bound.and_then(|()| told(socket.finish_bind()));
        vec![
            named(bound),
            named(told(socket.start_listen())),
            named(told(socket.finish_listen())),
            named(told(socket.accept())),
        ]
    }

    fn exchange(bound: String, to: String, text: String) -> Told<String> {
        let socket = Datagrams::open(address(&bound)?, None)?;
        socket.send(&[datagram(&text, Some(address(&to)?))])?;
        socket.hear()
    }

    fn exchange_connected(to: String, text: String) -> Told<String> {
        let socket = Datagrams::open(ANYWHERE, Some(address(&to)?))?;
        socket.send(&[datagram(&text, None)])?;
        socket.hear()
    }

    fn send_to_two(first: String, second: String) -> Told<Vec<String>> {
        let socket = Datagrams::open(ANYWHERE, None)?;
        let both = [datagram("one", Some(address(&first)?)), datagram("two", Some(address(&second)?))];
        let told = |sent: Told<u64>| sent.map_or_else(|error| error, |sent| sent.to_string());
        Ok(vec![told(socket.send(&both)), told(socket.send(&both[1..]))])
    }

    fn send_large(to: String, bytes: u32) -> Told<u64> {
        let socket = Datagrams::open(ANYWHERE, Some(address(&to)?))?;
        socket.send(&[datagram(&"x".repeat(usize::try_from(bytes).unwrap_or(usize::MAX)), None)])
    }

    fn udp_many(count: u32) -> (u32, Option<String>) {
        many(count, || net::udp(ANYWHERE))
    }

    fn options() -> Told<Vec<String>> {
        let socket = told(create_tcp_socket(IpAddressFamily::Ipv4))?;
        told(socket.set_hop_limit(42))?;
        told(socket.set_keep_alive_enabled(true))?;
        told(socket.set_keep_alive_idle_time(5_000_000_001))?;
        told(socket.set_keep_alive_interval(u64::MAX))?;
        told(socket.set_keep_alive_count(u32::MAX))?;
        told(socket.set_receive_buffer_size(u64::MAX))?;
        told(socket.set_send_buffer_size(20_000))?;
        let set = vec![
            format!("hops {}", told(socket.hop_limit())?),
            format!("keep-alive {}", told(socket.keep_alive_enabled())?),
            format!("idle {}", told(socket.keep_alive_idle_time())?),
            format!("interval {}", told(socket.keep_alive_interval())?),
            format!("count {}", told(socket.keep_alive_count())?),
            format!("large buffer {}", told(socket.receive_buffer_size())? <= 2 << 20),
            format!("small buffer {}", told(socket.send_buffer_size())? >= 20_000),
        ];
        let zeroes = [
            told(socket.set_hop_limit(0)),
            told(socket.set_keep_alive_idle_time(0)),
            told(socket.set_keep_alive_interval(0)),
            told(socket.set_keep_alive_count(0)),
            told(socket.set_receive_buffer_size(0)),
            told(socket.set_send_buffer_size(0)),
            told(socket.set_listen_backlog_size(0)),
        ];
        let before = [
            told(socket.local_address()).map(drop),
            told(socket.remote_address()).map(drop),
            told(socket.finish_connect()).map(drop),
            told(socket.finish_bind()),
            told(socket.shutdown(bindings::wasi::sockets::tcp::ShutdownType::Both)),
        ];
        Ok(set.into_iter().chain(zeroes.into_iter().chain(before).map(named)).collect())
    }
}

bindings::export!(Sockets with_types_in bindings);
