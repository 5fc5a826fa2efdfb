//! `wasi:sockets/tcp`: connections to peers that a rule names. Nothing listens.
//!
//! Connecting is an effect: its attempt is in the log before the first packet leaves, and its outcome when
//! the guest asks for it, or drops the socket.

use std::borrow::Cow;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use socket2::{SockAddr, SockRef, Socket};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, subscribe};

use super::address::{bindable, code_of, ip_socket_address, is_a_peer, socket_address};
use super::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use super::reach::{Protocol, subject};
use super::streams::{OpenTcp, SocketInput, SocketOutput, SocketStream};
use super::{Answer, Network, options, outcome_of};
use crate::audit::event::HostCallOutcome;
use crate::egress::Deadlines;
use crate::sandbox::bindings::wasi::sockets::{tcp, tcp_create_socket};
use crate::sandbox::capabilities::gate::{Attempted, HARMLESS, HostFunction};
use crate::sandbox::capabilities::{CallState, NOT_GRANTED};
use crate::sandbox::connections::Connection;

mod create {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/tcp-create-socket":
        CREATE_TCP_SOCKET = "create-tcp-socket";
    }
}

mod functions {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:sockets/tcp":
        START_BIND = "[method]tcp-socket.start-bind";
        FINISH_BIND = "[method]tcp-socket.finish-bind";
        START_CONNECT = "[method]tcp-socket.start-connect", Always;
        FINISH_CONNECT = "[method]tcp-socket.finish-connect";
        START_LISTEN = "[method]tcp-socket.start-listen";
        FINISH_LISTEN = "[method]tcp-socket.finish-listen";
        ACCEPT = "[method]tcp-socket.accept";
        LOCAL_ADDRESS = "[method]tcp-socket.local-address";
        REMOTE_ADDRESS = "[method]tcp-socket.remote-address";
        IS_LISTENING = "[method]tcp-socket.is-listening";
        ADDRESS_FAMILY = "[method]tcp-socket.address-family";
        SET_LISTEN_BACKLOG_SIZE = "[method]tcp-socket.set-listen-backlog-size";
        KEEP_ALIVE_ENABLED = "[method]tcp-socket.keep-alive-enabled";
        SET_KEEP_ALIVE_ENABLED = "[method]tcp-socket.set-keep-alive-enabled";
        KEEP_ALIVE_IDLE_TIME = "[method]tcp-socket.keep-alive-idle-time";
        SET_KEEP_ALIVE_IDLE_TIME = "[method]tcp-socket.set-keep-alive-idle-time";
        KEEP_ALIVE_INTERVAL = "[method]tcp-socket.keep-alive-interval";
        SET_KEEP_ALIVE_INTERVAL = "[method]tcp-socket.set-keep-alive-interval";
        KEEP_ALIVE_COUNT = "[method]tcp-socket.keep-alive-count";
        SET_KEEP_ALIVE_COUNT = "[method]tcp-socket.set-keep-alive-count";
        HOP_LIMIT = "[method]tcp-socket.hop-limit";
        SET_HOP_LIMIT = "[method]tcp-socket.set-hop-limit";
        RECEIVE_BUFFER_SIZE = "[method]tcp-socket.receive-buffer-size";
        SET_RECEIVE_BUFFER_SIZE = "[method]tcp-socket.set-receive-buffer-size";
        SEND_BUFFER_SIZE = "[method]tcp-socket.send-buffer-size";
        SET_SEND_BUFFER_SIZE = "[method]tcp-socket.set-send-buffer-size";
        SUBSCRIBE = "[method]tcp-socket.subscribe";
        SHUTDOWN = "[method]tcp-socket.shutdown", Always;
    }
}
use functions as f;

pub(super) const CREATE_FUNCTIONS: &[&HostFunction] = create::ALL;
pub(super) const FUNCTIONS: &[&HostFunction] = functions::ALL;

/// A TCP socket of a guest.
#[derive(Debug)]
pub struct TcpSocket {
    family: IpAddressFamily,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not connected yet.
    Fresh { socket: Socket, counted: Connection, bound: Bound },
    /// The first packet has left.
    Connecting { open: Arc<OpenTcp>, until: Instant, attempted: Attempted },
    /// The guest has its streams.
    Connected(Arc<OpenTcp>),
    /// It could not be connected.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    No,
    Started,
    Yes,
}

/// How far a connection is.
enum Progress {
    Connecting,
    Connected(Arc<OpenTcp>),
    Failed(ErrorCode),
}

impl TcpSocket {
    fn socket(&self) -> Answer<SockRef<'_>> {
        match &self.state {
            State::Fresh { socket, .. } => Ok(SockRef::from(socket)),
            State::Connecting { open, .. } | State::Connected(open) => Ok(SockRef::from(&open.stream)),
            State::Closed => Err(ErrorCode::InvalidState),
        }
    }

    fn start_bind(&mut self, to: SocketAddr) -> Answer<()> {
        match &mut self.state {
            State::Fresh { socket, bound: bound @ Bound::No, .. } => {
                let to = bindable(self.family, to)?;
                socket.bind(&SockAddr::from(to)).map_err(|error| code_of(&error))?;
                *bound = Bound::Started;
                Ok(())
            }
            State::Fresh { .. } | State::Connecting { .. } | State::Connected(_) | State::Closed => {
                Err(ErrorCode::InvalidState)
            }
        }
    }

    fn finish_bind(&mut self) -> Answer<()> {
        match &mut self.state {
            State::Fresh { bound: bound @ Bound::Started, .. } => {
                *bound = Bound::Yes;
                Ok(())
            }
            State::Fresh { .. } | State::Connecting { .. } | State::Connected(_) | State::Closed => {
                Err(ErrorCode::NotInProgress)
            }
        }
    }

    fn may_connect(&self) -> bool {
        matches!(self.state, State::Fresh { bound: Bound::No | Bound::Yes, .. })
    }

    /// Sends the first packet.
    ///
    /// # Errors
    /// Why that is impossible, with the attempt, which is over: then the socket is closed.
    fn start_connect(
        &mut self,
        peer: SocketAddr,
        subject: Arc<str>,
        rule: Arc<str>,
        attempted: Attempted,
    ) -> Result<(), (Attempted, ErrorCode)> {
        let State::Fresh { socket, counted, .. } = std::mem::replace(&mut self.state, State::Closed) else {
            return Err((attempted, ErrorCode::InvalidState));
        };
        let begun = match socket.connect(&SockAddr::from(peer)) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
            Ok(()) | Err(_) => TcpStream::from_std(socket.into()),
        };
        let stream = match begun.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => stream,
            Err(error) => return Err((attempted, code_of(&error))),
        };
        let (receives_no_more, sends_no_more, scanner) = Default::default();
        let open =
            OpenTcp { stream, subject, rule, receives_no_more, sends_no_more, scanner, _counted: counted };
        let until = Instant::now() + Deadlines::default().connect;
        self.state = State::Connecting { open: Arc::new(open), until, attempted };
        Ok(())
    }

    /// Looks how far the connection is. `None` if there is none under way.
    fn progress(&self) -> Option<Progress> {
        let State::Connecting { open, until, .. } = &self.state else { return None };
        Some(match open.stream.take_error() {
            Ok(Some(error)) | Err(error) => Progress::Failed(code_of(&error)),
            Ok(None) if open.stream.peer_addr().is_ok() => Progress::Connected(Arc::clone(open)),
            Ok(None) if Instant::now() >= *until => Progress::Failed(ErrorCode::Timeout),
            Ok(None) => Progress::Connecting,
        })
    }

    /// Ends the attempt to connect, with what came of it.
    fn end_attempt(&mut self, then: State) -> Option<Attempted> {
        match std::mem::replace(&mut self.state, then) {
            State::Connecting { attempted, .. } => Some(attempted),
            State::Fresh { .. } | State::Connected(_) | State::Closed => None,
        }
    }

    fn local_address(&self) -> Answer<SocketAddr> {
        if let State::Fresh { bound: Bound::No | Bound::Started, .. } = self.state {
            return Err(ErrorCode::InvalidState);
        }
        let address = self.socket()?.local_addr().map_err(|error| code_of(&error))?;
        address.as_socket().ok_or(ErrorCode::Unknown)
    }

    fn remote_address(&self) -> Answer<SocketAddr> {
        match &self.state {
            State::Connected(open) => open.stream.peer_addr().map_err(|error| code_of(&error)),
            State::Fresh { .. } | State::Connecting { .. } | State::Closed => Err(ErrorCode::InvalidState),
        }
    }

    /// Nothing listens, so that a backlog has no effect.
    fn set_backlog(&self, value: u64) -> Answer<()> {
        match self.state {
            State::Fresh { .. } if value == 0 => Err(ErrorCode::InvalidArgument),
            State::Fresh { .. } => Ok(()),
            State::Connecting { .. } | State::Connected(_) | State::Closed => Err(ErrorCode::InvalidState),
        }
    }
}

#[async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        if let State::Connecting { open, until, .. } = &self.state {
            // How it ended, in time or not, is what `finish-connect` is asked for.
            let _ = timeout_at(*until, open.stream.writable()).await;
        }
    }
}

impl tcp_create_socket::Host for CallState {
    async fn create_tcp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> wasmtime::Result<Answer<Resource<TcpSocket>>> {
        self.create_socket(create::CREATE_TCP_SOCKET, Protocol::Tcp, family, |socket, counted| {
            Ok(TcpSocket { family, state: State::Fresh { socket, counted, bound: Bound::No } })
        })
        .await
    }
}

impl CallState {
    /// A function that reads the socket.
    async fn of_tcp<T>(
        &mut self,
        function: &'static HostFunction,
        socket: &Resource<TcpSocket>,
        perform: impl FnOnce(&mut TcpSocket) -> Answer<T>,
    ) -> wasmtime::Result<Answer<T>> {
        self.of_socket(function, |state| Ok(perform(state.table.get_mut(socket)?))).await
    }

    /// A function that reads or sets an option.
    async fn tcp_option<T>(
        &mut self,
        function: &'static HostFunction,
        socket: &Resource<TcpSocket>,
        perform: impl FnOnce(&SockRef<'_>, IpAddressFamily) -> Answer<T>,
    ) -> wasmtime::Result<Answer<T>> {
        self.of_tcp(function, socket, |socket| perform(&socket.socket()?, socket.family)).await
    }

    /// A function that would have something listen.
    async fn never_listens<T>(&mut self, function: &'static HostFunction) -> wasmtime::Result<Answer<T>> {
        let entered = self.gate.enter(function, None).await?;
        self.gate.deny(entered, "nothing may listen", ErrorCode::AccessDenied.name());
        Ok(Err(ErrorCode::AccessDenied))
    }

    fn connected(
        &mut self,
        open: Arc<OpenTcp>,
    ) -> wasmtime::Result<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let input: DynInputStream = Box::new(SocketInput(Arc::clone(&open)));
        let input = self.push(input)?;
        self.sockets.streams.insert(input.rep(), SocketStream(Arc::clone(&open)));
        let output: DynOutputStream = Box::new(SocketOutput(Arc::clone(&open)));
        let output = self.push(output)?;
        self.sockets.streams.insert(output.rep(), SocketStream(open));
        Ok((input, output))
    }
}

impl tcp::Host for CallState {}

impl tcp::HostTcpSocket for CallState {
    async fn start_bind(
        &mut self,
        socket: Resource<TcpSocket>,
        _: Resource<Network>,
        address: IpSocketAddress,
    ) -> wasmtime::Result<Answer<()>> {
        self.bind_socket(f::START_BIND, Protocol::Tcp, address, |state, address| {
            Ok(state.table.get_mut(&socket)?.start_bind(address))
        })
        .await
    }

    async fn finish_bind(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<()>> {
        self.of_tcp(f::FINISH_BIND, &socket, TcpSocket::finish_bind).await
    }

    async fn start_connect(
        &mut self,
        socket: Resource<TcpSocket>,
        _: Resource<Network>,
        address: IpSocketAddress,
    ) -> wasmtime::Result<Answer<()>> {
        let peer = socket_address(address);
        let reached = self.sockets.found.reach(&self.rules, Protocol::Tcp, peer);
        let name = subject(Protocol::Tcp, reached.and_then(|(_, name)| name), peer);
        let rule = reached.map(|(given, _)| given.name());
        let entered = self.gate.enter(f::START_CONNECT, Some(Arc::clone(&name))).await?;
        let TcpSocket { family, .. } = *self.table.get(&socket)?;
        if !is_a_peer(family, peer) {
            self.gate.deny(entered, "no address of a peer", ErrorCode::InvalidArgument.name());
            return Ok(Err(ErrorCode::InvalidArgument));
        }
        let Some(rule) = rule else {
            self.gate.deny(entered, NOT_GRANTED, ErrorCode::AccessDenied.name());
            return Ok(Err(ErrorCode::AccessDenied));
        };
        if !self.table.get(&socket)?.may_connect() {
            let result = Err(ErrorCode::InvalidState);
            self.gate.leave(entered, HARMLESS, outcome_of(&Ok(result)), 0, 0);
            return Ok(result);
        }
        let attempted = self.gate.attempt(entered, Cow::Owned(rule.clone()), 0).await?;
        let begun = self.table.get_mut(&socket)?.start_connect(peer, name, Arc::from(rule), attempted);
        Ok(begun.map_err(|(attempted, code)| {
            self.gate.finish(attempted, HostCallOutcome::Error(Cow::Borrowed(code.name())));
            code
        }))
    }

    async fn finish_connect(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> wasmtime::Result<Answer<(Resource<DynInputStream>, Resource<DynOutputStream>)>> {
        self.of_socket(f::FINISH_CONNECT, |state| {
            let held = state.table.get_mut(&socket)?;
            let (then, outcome, result) = match held.progress() {
                None => return Ok(Err(ErrorCode::NotInProgress)),
                Some(Progress::Connecting) => return Ok(Err(ErrorCode::WouldBlock)),
                Some(Progress::Failed(code)) => {
                    (State::Closed, HostCallOutcome::Error(Cow::Borrowed(code.name())), Err(code))
                }
                Some(Progress::Connected(open)) => {
                    (State::Connected(Arc::clone(&open)), HostCallOutcome::Ok, Ok(open))
                }
            };
            if let Some(attempted) = held.end_attempt(then) {
                state.gate.finish(attempted, outcome);
            }
            match result {
                Ok(open) => state.connected(open).map(Ok),
                Err(code) => Ok(Err(code)),
            }
        })
        .await
    }

    async fn start_listen(&mut self, _: Resource<TcpSocket>) -> wasmtime::Result<Answer<()>> {
        self.never_listens(f::START_LISTEN).await
    }

    async fn finish_listen(&mut self, _: Resource<TcpSocket>) -> wasmtime::Result<Answer<()>> {
        self.never_listens(f::FINISH_LISTEN).await
    }

    async fn accept(
        &mut self,
        _: Resource<TcpSocket>,
    ) -> wasmtime::Result<Answer<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)>>
    {
        self.never_listens(f::ACCEPT).await
    }

    async fn local_address(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> wasmtime::Result<Answer<IpSocketAddress>> {
        self.of_tcp(f::LOCAL_ADDRESS, &socket, |socket| socket.local_address().map(ip_socket_address)).await
    }

    async fn remote_address(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> wasmtime::Result<Answer<IpSocketAddress>> {
        self.of_tcp(f::REMOTE_ADDRESS, &socket, |socket| socket.remote_address().map(ip_socket_address)).await
    }

    async fn is_listening(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        self.harmless(f::IS_LISTENING, |state| state.table.get(&socket).map(|_| false).map_err(Into::into))
            .await
    }

    async fn address_family(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        self.harmless(f::ADDRESS_FAMILY, |state| Ok(state.table.get(&socket)?.family)).await
    }

    async fn set_listen_backlog_size(
        &mut self,
        socket: Resource<TcpSocket>,
        value: u64,
    ) -> wasmtime::Result<Answer<()>> {
        self.of_tcp(f::SET_LISTEN_BACKLOG_SIZE, &socket, |socket| socket.set_backlog(value)).await
    }

    async fn keep_alive_enabled(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<bool>> {
        self.tcp_option(f::KEEP_ALIVE_ENABLED, &socket, |socket, _| options::keep_alive(socket)).await
    }

    async fn set_keep_alive_enabled(
        &mut self,
        socket: Resource<TcpSocket>,
        value: bool,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &SockRef<'_>, _| options::set_keep_alive(socket, value);
        self.tcp_option(f::SET_KEEP_ALIVE_ENABLED, &socket, set).await
    }

    async fn keep_alive_idle_time(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<u64>> {
        self.tcp_option(f::KEEP_ALIVE_IDLE_TIME, &socket, |socket, _| options::keep_alive_idle(socket)).await
    }

    async fn set_keep_alive_idle_time(
        &mut self,
        socket: Resource<TcpSocket>,
        value: u64,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &SockRef<'_>, _| options::set_keep_alive_idle(socket, value);
        self.tcp_option(f::SET_KEEP_ALIVE_IDLE_TIME, &socket, set).await
    }

    async fn keep_alive_interval(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<u64>> {
        self.tcp_option(f::KEEP_ALIVE_INTERVAL, &socket, |socket, _| options::keep_alive_interval(socket))
            .await
    }

    async fn set_keep_alive_interval(
        &mut self,
        socket: Resource<TcpSocket>,
        value: u64,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &SockRef<'_>, _| options::set_keep_alive_interval(socket, value);
        self.tcp_option(f::SET_KEEP_ALIVE_INTERVAL, &socket, set).await
    }

    async fn keep_alive_count(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<u32>> {
        self.tcp_option(f::KEEP_ALIVE_COUNT, &socket, |socket, _| options::keep_alive_count(socket)).await
    }

    async fn set_keep_alive_count(
        &mut self,
        socket: Resource<TcpSocket>,
        value: u32,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &SockRef<'_>, _| options::set_keep_alive_count(socket, value);
        self.tcp_option(f::SET_KEEP_ALIVE_COUNT, &socket, set).await
    }

    async fn hop_limit(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<u8>> {
        self.tcp_option(f::HOP_LIMIT, &socket, options::hop_limit).await
    }

    async fn set_hop_limit(
        &mut self,
        socket: Resource<TcpSocket>,
        value: u8,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &SockRef<'_>, family| options::set_hop_limit(socket, family, value);
        self.tcp_option(f::SET_HOP_LIMIT, &socket, set).await
    }

    async fn receive_buffer_size(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<u64>> {
        self.tcp_option(f::RECEIVE_BUFFER_SIZE, &socket, |socket, _| options::receive_buffer(socket)).await
    }

    async fn set_receive_buffer_size(
        &mut self,
        socket: Resource<TcpSocket>,
        value: u64,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &SockRef<'_>, _| options::set_receive_buffer(socket, value);
        self.tcp_option(f::SET_RECEIVE_BUFFER_SIZE, &socket, set).await
    }

    async fn send_buffer_size(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Answer<u64>> {
        self.tcp_option(f::SEND_BUFFER_SIZE, &socket, |socket, _| options::send_buffer(socket)).await
    }

    async fn set_send_buffer_size(
        &mut self,
        socket: Resource<TcpSocket>,
        value: u64,
    ) -> wasmtime::Result<Answer<()>> {
        let set = |socket: &SockRef<'_>, _| options::set_send_buffer(socket, value);
        self.tcp_option(f::SET_SEND_BUFFER_SIZE, &socket, set).await
    }

    async fn subscribe(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        self.harmless(f::SUBSCRIBE, |state| {
            state.gate.count_resource()?;
            subscribe(&mut state.table, socket)
        })
        .await
    }

    async fn shutdown(
        &mut self,
        socket: Resource<TcpSocket>,
        kind: tcp::ShutdownType,
    ) -> wasmtime::Result<Answer<()>> {
        let open = match &self.table.get(&socket)?.state {
            State::Connected(open) => Some(Arc::clone(open)),
            State::Fresh { .. } | State::Connecting { .. } | State::Closed => None,
        };
        let name = open.as_ref().map(|open| Arc::clone(&open.subject));
        let entered = self.gate.enter(f::SHUTDOWN, name).await?;
        let Some(open) = open else {
            let result = Err(ErrorCode::InvalidState);
            self.gate.leave(entered, HARMLESS, outcome_of(&Ok(result)), 0, 0);
            return Ok(result);
        };
        let attempted = self.gate.attempt(entered, Cow::Owned(open.rule.to_string()), 0).await?;
        let result = shut_down(&open, kind).map_err(|error| code_of(&error));
        self.gate.finish(attempted, outcome_of(&Ok(result)));
        Ok(result)
    }

    async fn drop(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<()> {
        let mut socket = self.delete(socket)?;
        let outcome = match socket.progress() {
            Some(Progress::Connected(_)) => HostCallOutcome::Ok,
            Some(Progress::Failed(code)) => HostCallOutcome::Error(Cow::Borrowed(code.name())),
            Some(Progress::Connecting) | None => HostCallOutcome::Error(Cow::Borrowed("abandoned")),
        };
        if let Some(attempted) = socket.end_attempt(State::Closed) {
            self.gate.finish(attempted, outcome);
        }
        Ok(())
    }
}

fn shut_down(open: &OpenTcp, kind: tcp::ShutdownType) -> io::Result<()> {
    let close = |flag: &AtomicBool| flag.store(true, Ordering::Relaxed);
    let how = match kind {
        tcp::ShutdownType::Receive => {
            close(&open.receives_no_more);
            Shutdown::Read
        }
        tcp::ShutdownType::Send => {
            close(&open.sends_no_more);
            Shutdown::Write
        }
        tcp::ShutdownType::Both => {
            close(&open.receives_no_more);
            close(&open.sends_no_more);
            Shutdown::Both
        }
    };
    match SockRef::from(&open.stream).shutdown(how) {
        // The peer was first.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}
