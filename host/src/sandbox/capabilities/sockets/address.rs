//! Addresses and errors, between the guest's types and the system's. Pure.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use rustix::io::Errno;

use super::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};

/// An error of a connection, as the error of a stream holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkError(pub(crate) ErrorCode);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl std::error::Error for NetworkError {}

/// What the guest is told of an error of the system. Closed: what is not listed is `unknown`.
pub(super) fn code_of(error: &io::Error) -> ErrorCode {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => ErrorCode::AccessDenied,
        Some(Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT) => ErrorCode::NotSupported,
        Some(Errno::INVAL | Errno::DESTADDRREQ) => ErrorCode::InvalidArgument,
        Some(Errno::NOMEM | Errno::NOBUFS) => ErrorCode::OutOfMemory,
        Some(Errno::MFILE | Errno::NFILE) => ErrorCode::NewSocketLimit,
        Some(Errno::ADDRINUSE) => ErrorCode::AddressInUse,
        Some(Errno::ADDRNOTAVAIL) => ErrorCode::AddressNotBindable,
        Some(Errno::TIMEDOUT) => ErrorCode::Timeout,
        Some(Errno::CONNREFUSED) => ErrorCode::ConnectionRefused,
        Some(Errno::CONNRESET) => ErrorCode::ConnectionReset,
        Some(Errno::CONNABORTED) => ErrorCode::ConnectionAborted,
        Some(Errno::MSGSIZE) => ErrorCode::DatagramTooLarge,
        Some(Errno::NOTCONN | Errno::ISCONN) => ErrorCode::InvalidState,
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NETUNREACH | Errno::NETDOWN | Errno::NONET) => {
            ErrorCode::RemoteUnreachable
        }
        Some(_) | None => ErrorCode::Unknown,
    }
}

pub(super) fn socket_address(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }) => {
            SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port).into()
        }
        IpSocketAddress::Ipv6(v6) => {
            let (a, b, c, d, e, f, g, h) = v6.address;
            let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
            SocketAddrV6::new(address, v6.port, v6.flow_info, v6.scope_id).into()
        }
    }
}

pub(super) fn ip_socket_address(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(v6) => IpSocketAddress::Ipv6(Ipv6SocketAddress {
            port: v6.port(),
            flow_info: v6.flowinfo(),
            address: v6.ip().segments().into(),
            scope_id: v6.scope_id(),
        }),
    }
}

pub(super) fn ip_address(address: IpAddr) -> IpAddress {
    match address {
        IpAddr::V4(v4) => IpAddress::Ipv4(v4.octets().into()),
        IpAddr::V6(v6) => IpAddress::Ipv6(v6.segments().into()),
    }
}

fn is_of(family: IpAddressFamily, address: SocketAddr) -> bool {
    match family {
        IpAddressFamily::Ipv4 => address.is_ipv4(),
        IpAddressFamily::Ipv6 => address.is_ipv6(),
    }
}

/// Whether a socket could send anything there, granted or not. An address that only wraps one of IPv4 has
/// none of its own.
pub(super) fn is_a_peer(family: IpAddressFamily, address: SocketAddr) -> bool {
    let is_wrapped = match address.ip() {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    is_of(family, address) && address.port() != 0 && !address.ip().is_unspecified() && !is_wrapped
}

/// Where a socket may be bound: to no address and no port in particular, so that binding says nothing.
///
/// # Errors
/// What the guest is told of another address.
pub(super) fn bindable(family: IpAddressFamily, address: SocketAddr) -> Result<SocketAddr, ErrorCode> {
    if !is_of(family, address) {
        return Err(ErrorCode::InvalidArgument);
    }
    match address.ip().is_unspecified() && address.port() == 0 {
        true => Ok(SocketAddr::new(address.ip(), 0)),
        false => Err(ErrorCode::AccessDenied),
    }
}
