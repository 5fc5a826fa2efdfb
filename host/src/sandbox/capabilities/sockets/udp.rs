//! `wasi:sockets/udp`: datagrams to and from peers that a rule names.
//!
//! What comes from anyone else is dropped unseen. Sending is an effect: one attempt and one outcome for
//! each call of `send`, which sends to one peer. The queues are the system's own.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::PollFlags;
use socket2::{SockAddr, SockRef};
use tokio::io::Interest;
use tokio::net;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::address::{bindable, code_of, ip_socket_address, is_a_peer, socket_address};
use super::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use super::reach::{Protocol, subject};
use super::{Answer, Network, options, outcome_of, ready_now};
use crate::audit::event::{Decision, HostCallOutcome, LeakPlace};
use crate::sandbox::bindings::wasi::sockets::{udp, udp_create_socket};
use crate::sandbox::capabilities::gate::{HARMLESS, HostFunction};
use crate::sandbox::capabilities::{CallState, NOT_GRANTED, trapped};
use crate::sandbox::connections::Connection;

mod create {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/udp-create-socket":
        CREATE_UDP_SOCKET = "create-udp-socket";
    }
}

mod functions {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/udp":
        START_BIND = "[method]udp-socket.start-bind";
        FINISH_BIND = "[method]udp-socket.finish-bind";
        STREAM = "[method]udp-socket.stream";
        LOCAL_ADDRESS = "[method]udp-socket.local-address";
        REMOTE_ADDRESS = "[method]udp-socket.remote-address";
        ADDRESS_FAMILY = "[method]udp-socket.address-family";
        UNICAST_HOP_LIMIT = "[method]udp-socket.unicast-hop-limit";
        SET_UNICAST_HOP_LIMIT = "[method]udp-socket.set-unicast-hop-limit";
        RECEIVE_BUFFER_SIZE = "[method]udp-socket.receive-buffer-size";
        SET_RECEIVE_BUFFER_SIZE = "[method]udp-socket.set-receive-buffer-size";
        SEND_BUFFER_SIZE = "[method]udp-socket.send-buffer-size";
        SET_SEND_BUFFER_SIZE = "[method]udp-socket.set-send-buffer-size";
        SUBSCRIBE = "[method]udp-socket.subscribe";
        RECEIVE = "[method]incoming-datagram-stream.receive";
        SUBSCRIBE_INCOMING = "[method]incoming-datagram-stream.subscribe";
        CHECK_SEND = "[method]outgoing-datagram-stream.check-send";
        SEND = "[method]outgoing-datagram-stream.send", Always;
        SUBSCRIBE_OUTGOING = "[method]outgoing-datagram-stream.subscribe";
    }
}
use functions as f;

pub(super) const CREATE_FUNCTIONS: &[&HostFunction] = create::ALL;
pub(super) const FUNCTIONS: &[&HostFunction] = functions::ALL;

/// The most datagrams of one `send` or `receive`.
const DATAGRAMS_MAX: usize = 16;
/// The most datagrams that one `receive` takes from the system, those of strangers included.
const LOOKED_AT_MAX: usize = 64;
/// The most bytes of a datagram: what UDP can carry.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A UDP socket of a guest.
#[derive(Debug)]
pub struct UdpSocket {
    family: IpAddressFamily,
    bound: Bound,
    remote: Option<SocketAddr>,
    open: Arc<OpenUdp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    No,
    Started,
    Yes,
}

#[derive(Debug)]
struct OpenUdp {
    socket: net::UdpSocket,
    /// How often streams were asked for: the last pair works.
    pairs: AtomicU64,
    _counted: Connection,
}

/// One of a pair of streams.
#[derive(Clone, Debug)]
struct Half {
    open: Arc<OpenUdp>,
    family: IpAddressFamily,
    /// The one peer, if there is one.
    remote: Option<SocketAddr>,
    pair: u64,
}

impl Half {
    fn working(&self) -> Answer<()> {
        if self.open.pairs.load(Ordering::Relaxed) == self.pair {
            Ok(())
        } else {
            Err(ErrorCode::InvalidState)
        }
    }

    async fn ready(&self, interest: Interest, flags: PollFlags) {
        let look = || ready_now(&self.open.socket, flags);
        // An error is an answer too: the next operation tells it.
        let _ = self.open.socket.async_io(interest, look).await;
    }
}

/// What comes in through a UDP socket.
#[derive(Debug)]
pub struct IncomingDatagrams(Half);

/// What goes out through a UDP socket.
#[derive(Debug)]
pub struct OutgoingDatagrams {
    half: Half,
    /// What `check-send` permitted.
    permitted: usize,
}

#[async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {}
}

#[async_trait]
impl Pollable for IncomingDatagrams {
    async fn ready(&mut self) {
        self.0.ready(Interest::READABLE, PollFlags::IN).await;
    }
}

#[async_trait]
impl Pollable for OutgoingDatagrams {
    async fn ready(&mut self) {
        self.half.ready(Interest::WRITABLE, PollFlags::OUT).await;
    }
}

impl UdpSocket {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.open.socket)
    }

    fn start_bind(&mut self, to: SocketAddr) -> Answer<()> {
        if self.bound != Bound::No {
            return Err(ErrorCode::InvalidState);
        }
        let to = bindable(self.family, to)?;
        self.socket().bind(&SockAddr::from(to)).map_err(|error| code_of(&error))?;
        self.bound = Bound::Started;
        Ok(())
    }

    fn finish_bind(&mut self) -> Answer<()> {
        if self.bound != Bound::Started {
            return Err(ErrorCode::NotInProgress);
        }
        self.bound = Bound::Yes;
        Ok(())
    }

    fn local_address(&self) -> Answer<IpSocketAddress> {
        if self.bound != Bound::Yes {
            return Err(ErrorCode::InvalidState);
        }
        self.open.socket.local_addr().map(ip_socket_address).map_err(|error| code_of(&error))
    }

    /// A new pair of streams, after which earlier ones do nothing any more.
    fn pair(&mut self, remote: Option<SocketAddr>) -> (IncomingDatagrams, OutgoingDatagrams) {
        self.remote = remote;
        let pair = self.open.pairs.fetch_add(1, Ordering::Relaxed) + 1;
        let half = Half { open: Arc::clone(&self.open), family: self.family, remote, pair };
        (IncomingDatagrams(half.clone()), OutgoingDatagrams { half, permitted: 0 })
    }
}

impl udp_create_socket::Host for CallState {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> wasmtime::Result<Answer<Resource<UdpSocket>>> {
        self.create_socket(create::CREATE_UDP_SOCKET, Protocol::Udp, family, |socket, counted| {
            let socket = net::UdpSocket::from_std(socket.into())?;
            let open = Arc::new(OpenUdp { socket, pairs: AtomicU64::new(0), _counted: counted });
            Ok(UdpSocket { family, bound: Bound::No, remote: None, open })
        })
        .await
    }
}

/// The datagrams of one `send` that go: those at its beginning with the same peer.
struct Sending {
    peer: SocketAddr,
    datagrams: Vec<Vec<u8>>,
}

impl Sending {
    /// # Errors
    /// What the guest is told if the first can't be sent.
    fn of(half: &Half, datagrams: Vec<udp::OutgoingDatagram>) -> Answer<Self> {
        let peer_of = |datagram: &udp::OutgoingDatagram| {
            let named = datagram.remote_address.map(socket_address);
            match (half.remote, named) {
                (Some(remote), None) => Ok(remote),
                (Some(remote), Some(named)) if remote == named => Ok(remote),
                (None, Some(named)) if is_a_peer(half.family, named) => Ok(named),
                (Some(_), Some(_)) | (None, Some(_) | None) => Err(ErrorCode::InvalidArgument),
            }
        };
        let peer = datagrams.first().map(peer_of).unwrap_or(Err(ErrorCode::InvalidArgument))?;
        let same = datagrams.into_iter().take_while(|datagram| peer_of(datagram) == Ok(peer));
        Ok(Self { peer, datagrams: same.map(|datagram| datagram.data).collect() })
    }

    fn bytes(&self) -> u64 {
        self.datagrams.iter().map(|datagram| datagram.len() as u64).sum()
    }

    /// Sends what can be sent without waiting, and counts it.
    ///
    /// # Errors
    /// If not even the first can be sent.
    fn send(&self, open: &OpenUdp) -> Answer<u64> {
        let socket = SockRef::from(&open.socket);
        let peer = SockAddr::from(self.peer);
        let mut sent = 0;
        for datagram in &self.datagrams {
            let result = match datagram.len() {
                0..=DATAGRAM_BYTES_MAX => socket.send_to(datagram, &peer).map_err(|error| not_sent(&error)),
                _ => Err(ErrorCode::DatagramTooLarge),
            };
            match result {
                Ok(_) => sent += 1,
                Err(ErrorCode::WouldBlock) => return Ok(sent),
                Err(code) if sent == 0 => return Err(code),
                Err(_) => return Ok(sent),
            }
        }
        Ok(sent)
    }
}

fn not_sent(error: &io::Error) -> ErrorCode {
    if error.kind() == io::ErrorKind::WouldBlock { ErrorCode::WouldBlock } else { code_of(error) }
}

impl CallState {
    /// A function that reads the socket.
    async fn of_udp<T>(
        &mut self,
        function: &'static HostFunction,
        socket: &Resource<UdpSocket>,
        perform: impl FnOnce(&mut UdpSocket) -> Answer<T>,
    ) -> wasmtime::Result<Answer<T>> {
        self.of_socket(function, |state| Ok(perform(state.table.get_mut(socket)?))).await
    }

    async fn datagram_subscription<T: Pollable>(
        &mut self,
        function: &'static HostFunction,
        of: Resource<T>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.harmless(function, |state| {
            state.gate.count_resource()?;
            subscribe(&mut state.table, of)
        })
        .await
    }

    /// By which rule a peer may be sent to, and how the log names it.
    fn udp_peer(&self, peer: SocketAddr) -> (Option<String>, Arc<str>) {
        let reached = self.sockets.found.reach(&self.rules, Protocol::Udp, peer);
        let name = subject(Protocol::Udp, reached.and_then(|(_, name)| name), peer);
        (reached.map(|(given, _)| given.name()), name)
    }

    /// What has come from peers that may be heard.
    fn receive_datagrams(&self, half: &Half, count_max: usize) -> Answer<Vec<udp::IncomingDatagram>> {
        half.working()?;
        let mut received = Vec::new();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        for _ in 0..LOOKED_AT_MAX {
            if received.len() >= count_max {
                break;
            }
            let (length, from) = match half.open.socket.try_recv_from(&mut buffer) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if received.is_empty() => return Err(code_of(&error)),
                Err(_) => break,
            };
            let is_expected = match half.remote {
                Some(remote) => remote.ip() == from.ip() && remote.port() == from.port(),
                None => self.sockets.found.reach(&self.rules, Protocol::Udp, from).is_some(),
            };
            if is_expected {
                let remote_address = ip_socket_address(from);
                received.push(udp::IncomingDatagram { data: buffer[..length].to_vec(), remote_address });
            }
        }
        Ok(received)
    }
}

impl udp::Host for CallState {}

impl udp::HostUdpSocket for CallState {
    async fn start_bind(
        &mut self,
        socket: Resource<UdpSocket>,
        _: Resource<Network>,
        address: IpSocketAddress,
    ) -> wasmtime::Result<Answer<()>> {
        self.bind_socket(f::START_BIND, Protocol::Udp, address, |state, address| {
            Ok(state.table.get_mut(&socket)?.start_bind(address))
        })
        .await
    }

    async fn finish_bind(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<Answer<()>> {
        self.of_udp(f::FINISH_BIND, &socket, UdpSocket::finish_bind).await
    }

    async fn stream(
        &mut self,
        socket: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> wasmtime::Result<Answer<(Resource<IncomingDatagrams>, Resource<OutgoingDatagrams>)>> {
        let remote = remote.map(socket_address);
        let (rule, name) = match remote {
            Some(remote) => {
                let (rule, name) = self.udp_peer(remote);
                (rule, Some(name))
            }
            None => (Some("harmless".to_owned()), None),
        };
        let entered = self.gate.enter(f::STREAM, name).await?;
        let held = self.table.get_mut(&socket)?;
        if remote.is_some_and(|remote| !is_a_peer(held.family, remote)) {
            self.gate.deny(entered, "no address of a peer", ErrorCode::InvalidArgument.name());
            return Ok(Err(ErrorCode::InvalidArgument));
        }
        let Some(rule) = rule else {
            self.gate.deny(entered, NOT_GRANTED, ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        };
        let result = if held.bound == Bound::Yes {
            let (incoming, outgoing) = held.pair(remote);
            self.push(incoming).and_then(|incoming| Ok(Ok((incoming, self.push(outgoing)?))))
        } else {
            Ok(Err(ErrorCode::InvalidState))
        };
        self.gate.leave(entered, Decision::Allowed(Cow::Owned(rule)), outcome_of(&result), 0, 0);
        result
    }

    async fn local_address(
        &mut self,
        socket: Resource<UdpSocket>,
    ) -> wasmtime::Result<Answer<IpSocketAddress>> {
        self.of_udp(f::LOCAL_ADDRESS, &socket, |socket| socket.local_address()).await
    }

    async fn remote_address(
        &mut self,
        socket: Resource<UdpSocket>,
    ) -> wasmtime::Result<Answer<IpSocketAddress>> {
        let remote =
            |socket: &mut UdpSocket| socket.remote.map(ip_socket_address).ok_or(ErrorCode::InvalidState);
        self.of_udp(f::REMOTE_ADDRESS, &socket, remote).await
    }

    async fn address_family(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        self.harmless(f::ADDRESS_FAMILY, |state| Ok(state.table.get(&socket)?.family)).await
    }

    async fn unicast_hop_limit(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<Answer<u8>> {
        let hop_limit = |socket: &mut UdpSocket| options::hop_limit(&socket.socket(), socket.family);
        self.of_udp(f::UNICAST_HOP_LIMIT, &socket, hop_limit).await
    }

    async fn set_unicast_hop_limit(
        &mut self,
        socket: Resource<UdpSocket>,
        value: u8,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &mut UdpSocket| options::set_hop_limit(&socket.socket(), socket.family, value);
        self.of_udp(f::SET_UNICAST_HOP_LIMIT, &socket, set).await
    }

    async fn receive_buffer_size(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<Answer<u64>> {
        self.of_udp(f::RECEIVE_BUFFER_SIZE, &socket, |socket| options::receive_buffer(&socket.socket())).await
    }

    async fn set_receive_buffer_size(
        &mut self,
        socket: Resource<UdpSocket>,
        value: u64,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &mut UdpSocket| options::set_receive_buffer(&socket.socket(), value);
        self.of_udp(f::SET_RECEIVE_BUFFER_SIZE, &socket, set).await
    }

    async fn send_buffer_size(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<Answer<u64>> {
        self.of_udp(f::SEND_BUFFER_SIZE, &socket, |socket| options::send_buffer(&socket.socket())).await
    }

    async fn set_send_buffer_size(
        &mut self,
        socket: Resource<UdpSocket>,
        value: u64,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &mut UdpSocket| options::set_send_buffer(&socket.socket(), value);
        self.of_udp(f::SET_SEND_BUFFER_SIZE, &socket, set).await
    }

    async fn subscribe(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        self.datagram_subscription(f::SUBSCRIBE, socket).await
    }

    async fn drop(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.delete(socket).map(drop)
    }
}

impl udp::HostIncomingDatagramStream for CallState {
    async fn receive(
        &mut self,
        stream: Resource<IncomingDatagrams>,
        count_max: u64,
    ) -> wasmtime::Result<Answer<Vec<udp::IncomingDatagram>>> {
        let half = self.table.get(&stream)?.0.clone();
        let (rule, name) = match half.remote {
            Some(remote) => {
                let (rule, name) = self.udp_peer(remote);
                (rule, Some(name))
            }
            None => (None, None),
        };
        let entered = self.gate.enter(f::RECEIVE, name).await?;
        let count_max = usize::try_from(count_max).unwrap_or(usize::MAX).min(DATAGRAMS_MAX);
        let result = self.receive_datagrams(&half, count_max);
        let bytes_in = result.iter().flatten().map(|datagram| datagram.data.len() as u64).sum();
        let decision = rule.map_or(HARMLESS, |rule| Decision::Allowed(Cow::Owned(rule)));
        let result = Ok(result);
        self.gate.leave(entered, decision, outcome_of(&result), bytes_in, 0);
        result
    }

    async fn subscribe(
        &mut self,
        stream: Resource<IncomingDatagrams>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.datagram_subscription(f::SUBSCRIBE_INCOMING, stream).await
    }

    async fn drop(&mut self, stream: Resource<IncomingDatagrams>) -> wasmtime::Result<()> {
        self.delete(stream).map(drop)
    }
}

impl udp::HostOutgoingDatagramStream for CallState {
    async fn check_send(&mut self, stream: Resource<OutgoingDatagrams>) -> wasmtime::Result<Answer<u64>> {
        self.of_socket(f::CHECK_SEND, |state| {
            let stream = state.table.get_mut(&stream)?;
            let ready = stream.half.working().map(|()| ready_now(&stream.half.open.socket, PollFlags::OUT));
            stream.permitted = match &ready {
                Ok(Ok(())) => DATAGRAMS_MAX,
                Ok(Err(_)) | Err(_) => 0,
            };
            Ok(ready.map(|_| stream.permitted as u64))
        })
        .await
    }

    async fn send(
        &mut self,
        stream: Resource<OutgoingDatagrams>,
        datagrams: Vec<udp::OutgoingDatagram>,
    ) -> wasmtime::Result<Answer<u64>> {
        let held = self.table.get_mut(&stream)?;
        let (half, permitted) = (held.half.clone(), std::mem::take(&mut held.permitted));
        let (count, sending) = (datagrams.len(), Sending::of(&half, datagrams));
        let (rule, name) = match &sending {
            Ok(sending) => {
                let (rule, name) = self.udp_peer(sending.peer);
                (rule, Some(name))
            }
            Err(_) => (None, None),
        };
        let entered = self.gate.enter(f::SEND, name).await?;
        if count > permitted {
            let error = wasmtime::format_err!("{count} datagrams, at most {permitted} were allowed");
            self.gate.leave(entered, HARMLESS, trapped(&error), 0, 0);
            return Err(error);
        }
        let nothing = match (count, half.working(), &sending) {
            (_, Err(code), _) => Some(Err(code)),
            (0, Ok(()), _) => Some(Ok(0)),
            (_, Ok(()), Err(code)) => Some(Err(*code)),
            (_, Ok(()), Ok(_)) => None,
        };
        if let Some(result) = nothing {
            self.gate.leave(entered, HARMLESS, outcome_of(&Ok(result)), 0, 0);
            return Ok(result);
        }
        let (Ok(sending), Some(rule)) = (sending, rule) else {
            self.gate.deny(entered, NOT_GRANTED, ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        };
        let held = sending.datagrams.iter().find_map(|data| self.held_secret(LeakPlace::Socket, data));
        if let Some(why) = held {
            self.gate.deny(entered, why, ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        }
        if let Err(reached) = self.meter.take(sending.bytes()) {
            self.gate.deny(entered, format!("limit {}", reached.limit), ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        }
        let attempted = self.gate.attempt(entered, Cow::Owned(rule), sending.bytes()).await?;
        let result = sending.send(&half.open);
        let outcome = match result {
            // Fewer than were given is no error, and yet worth a word.
            Ok(sent) if sent < sending.datagrams.len() as u64 => {
                HostCallOutcome::Error(Cow::Owned(format!("{sent} of {} sent", sending.datagrams.len())))
            }
            Ok(_) | Err(_) => outcome_of(&Ok(result)),
        };
        self.gate.finish(attempted, outcome);
        Ok(result)
    }

    async fn subscribe(
        &mut self,
        stream: Resource<OutgoingDatagrams>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.datagram_subscription(f::SUBSCRIBE_OUTGOING, stream).await
    }

    async fn drop(&mut self, stream: Resource<OutgoingDatagrams>) -> wasmtime::Result<()> {
        self.delete(stream).map(drop)
    }
}
