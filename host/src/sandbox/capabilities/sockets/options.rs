//! Options of sockets, set at once on the socket of the system, which clamps and rounds.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::Answer;
use super::address::code_of;
use super::network::{ErrorCode, IpAddressFamily};

/// The most seconds of a time of keep-alive that Linux takes.
const KEEP_ALIVE_SECONDS_MAX: u64 = 32_767;
/// The most probes of keep-alive that Linux takes.
const KEEP_ALIVE_COUNT_MAX: u32 = 127;
/// The largest buffer that is asked for. The system has a maximum of its own, which counts.
const BUFFER_BYTES_MAX: u64 = 1 << 20;

/// Zero is no value of any of these options.
fn positive<T: Default + PartialEq>(value: T) -> Answer<T> {
    if value == T::default() { Err(ErrorCode::InvalidArgument) } else { Ok(value) }
}

fn told<T>(result: std::io::Result<T>) -> Answer<T> {
    result.map_err(|error| code_of(&error))
}

pub(super) fn hop_limit(socket: &SockRef<'_>, family: IpAddressFamily) -> Answer<u8> {
    let hops = told(match family {
        IpAddressFamily::Ipv4 => socket.ttl_v4(),
        IpAddressFamily::Ipv6 => socket.unicast_hops_v6(),
    })?;
    u8::try_from(hops).map_err(|_| ErrorCode::Unknown)
}

pub(super) fn set_hop_limit(socket: &SockRef<'_>, family: IpAddressFamily, value: u8) -> Answer<()> {
    let hops = u32::from(positive(value)?);
    told(match family {
        IpAddressFamily::Ipv4 => socket.set_ttl_v4(hops),
        IpAddressFamily::Ipv6 => socket.set_unicast_hops_v6(hops),
    })
}

pub(super) fn receive_buffer(socket: &SockRef<'_>) -> Answer<u64> {
    told(socket.recv_buffer_size()).map(|bytes| bytes as u64)
}

pub(super) fn set_receive_buffer(socket: &SockRef<'_>, value: u64) -> Answer<()> {
    told(socket.set_recv_buffer_size(buffer(value)?))
}

pub(super) fn send_buffer(socket: &SockRef<'_>) -> Answer<u64> {
    told(socket.send_buffer_size()).map(|bytes| bytes as u64)
}

pub(super) fn set_send_buffer(socket: &SockRef<'_>, value: u64) -> Answer<()> {
    told(socket.set_send_buffer_size(buffer(value)?))
}

fn buffer(value: u64) -> Answer<usize> {
    let bytes = positive(value)?.min(BUFFER_BYTES_MAX);
    usize::try_from(bytes).map_err(|_| ErrorCode::InvalidArgument)
}

/// A time of keep-alive, in nanoseconds as WASI has it, in whole seconds as Linux has it.
fn seconds(value: u64) -> Answer<Duration> {
    let seconds = positive(value)?.div_ceil(1_000_000_000);
    Ok(Duration::from_secs(seconds.min(KEEP_ALIVE_SECONDS_MAX)))
}

fn nanoseconds(value: Duration) -> u64 {
    u64::try_from(value.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn keep_alive(socket: &SockRef<'_>) -> Answer<bool> {
    told(socket.keepalive())
}

pub(super) fn set_keep_alive(socket: &SockRef<'_>, value: bool) -> Answer<()> {
    told(socket.set_keepalive(value))
}

pub(super) fn keep_alive_idle(socket: &SockRef<'_>) -> Answer<u64> {
    told(socket.tcp_keepalive_time()).map(nanoseconds)
}

pub(super) fn keep_alive_interval(socket: &SockRef<'_>) -> Answer<u64> {
    told(socket.tcp_keepalive_interval()).map(nanoseconds)
}

pub(super) fn keep_alive_count(socket: &SockRef<'_>) -> Answer<u32> {
    told(socket.tcp_keepalive_retries())
}

pub(super) fn set_keep_alive_idle(socket: &SockRef<'_>, value: u64) -> Answer<()> {
    adjust(socket, TcpKeepalive::new().with_time(seconds(value)?))
}

pub(super) fn set_keep_alive_interval(socket: &SockRef<'_>, value: u64) -> Answer<()> {
    adjust(socket, TcpKeepalive::new().with_interval(seconds(value)?))
}

pub(super) fn set_keep_alive_count(socket: &SockRef<'_>, value: u32) -> Answer<()> {
    adjust(socket, TcpKeepalive::new().with_retries(positive(value)?.min(KEEP_ALIVE_COUNT_MAX)))
}

/// Setting a parameter turns keep-alive on, which is not what was asked for.
fn adjust(socket: &SockRef<'_>, parameters: TcpKeepalive) -> Answer<()> {
    let was_on = keep_alive(socket)?;
    told(socket.set_tcp_keepalive(&parameters))?;
    set_keep_alive(socket, was_on)
}
