//! Which addresses may be connected to: those of the public internet, and what a CIDR grants. Pure.
//!
//! By the special-purpose registries of IANA for IPv4 and IPv6 (RFC 6890 and what updated it), and by
//! the addresses at which clouds serve credentials to their machines.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressClass {
    /// Routed on the public internet: the only class that needs no CIDR.
    Public,
    /// This machine.
    Loopback,
    /// "This network", 0.0.0.0/8 and `::`: many systems connect it to themselves.
    Unspecified,
    /// RFC 1918, and unique local addresses of IPv6 (fc00::/7).
    Private,
    /// One link: 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// Where a cloud hands credentials and settings to its machines.
    Metadata,
    /// Between a provider and its customers (CGNAT, RFC 6598).
    Shared,
    /// For benchmarks (RFC 2544, RFC 5180).
    Benchmarking,
    /// For documents.
    Documentation,
    /// Many receivers.
    Multicast,
    /// All receivers of a link.
    Broadcast,
    /// IPv6 that carries an IPv4 address: compatible, translated (NAT64), 6to4, Teredo.
    Embedding,
    /// For protocols, for the future, or for nothing.
    Reserved,
}

impl AddressClass {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            AddressClass::Public => "public",
            AddressClass::Loopback => "loopback",
            AddressClass::Unspecified => "unspecified",
            AddressClass::Private => "private",
            AddressClass::LinkLocal => "link-local",
            AddressClass::Metadata => "cloud metadata",
            AddressClass::Shared => "shared (CGNAT)",
            AddressClass::Benchmarking => "benchmarking",
            AddressClass::Documentation => "documentation",
            AddressClass::Multicast => "multicast",
            AddressClass::Broadcast => "broadcast",
            AddressClass::Embedding => "IPv6 that embeds IPv4",
            AddressClass::Reserved => "reserved",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An address that may not be connected to, because no granted CIDR contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is a {class} address, and no granted CIDR contains it")]
pub struct RefusedAddress {
    /// It, in its canonical form.
    pub address: IpAddr,
    /// What it is for.
    pub class: AddressClass,
}

/// Lets a public address through, and any other that a granted CIDR contains.
///
/// An address of IPv6 that only wraps one of IPv4 (`::ffff:0:0/96`) is judged as that one, by CIDRs
/// of IPv4. One that embeds an address of IPv4 in another way needs a CIDR for itself, and the embedded
/// address is judged as well: granting 64:ff9b::/96 gives the public internet through NAT64, and not
/// what is private behind it.
///
/// # Errors
/// [`RefusedAddress`].
pub fn judge_address(address: IpAddr, granted: &[IpNet]) -> Result<(), RefusedAddress> {
    let address = address.to_canonical();
    judge_one(address, granted)?;
    let embedded = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => embedded(address),
    };
    match embedded {
        Some(embedded) => judge_one(embedded.into(), granted),
        None => Ok(()),
    }
}

fn judge_one(address: IpAddr, granted: &[IpNet]) -> Result<(), RefusedAddress> {
    let class = classify(address);
    if class == AddressClass::Public || granted.iter().any(|net| net.contains(&address)) {
        Ok(())
    } else {
        Err(RefusedAddress { address, class })
    }
}

/// What an address is for.
pub fn classify(address: IpAddr) -> AddressClass {
    match address.to_canonical() {
        IpAddr::V4(address) => first_of(V4, |net: &Ipv4Net| net.contains(&address)),
        IpAddr::V6(address) => first_of(V6, |net: &Ipv6Net| net.contains(&address)),
    }
}

fn first_of<N>(table: &[(N, AddressClass)], contains: impl Fn(&N) -> bool) -> AddressClass {
    table.iter().find(|(net, _)| contains(net)).map_or(AddressClass::Public, |(_, class)| *class)
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// The first that contains an address says what it is.
const V4: &[(Ipv4Net, AddressClass)] = &[
    (v4(0, 0, 0, 0, 8), AddressClass::Unspecified),
    (v4(10, 0, 0, 0, 8), AddressClass::Private),
    // Alibaba Cloud, in the shared block.
    (v4(100, 100, 100, 200, 32), AddressClass::Metadata),
    (v4(100, 64, 0, 0, 10), AddressClass::Shared),
    (v4(127, 0, 0, 0, 8), AddressClass::Loopback),
    // Azure's wire server: a public address, and yet another customer's machine never answers there.
    (v4(168, 63, 129, 16, 32), AddressClass::Metadata),
    // Most clouds; the next two are of AWS, for containers.
    (v4(169, 254, 169, 254, 32), AddressClass::Metadata),
    (v4(169, 254, 170, 2, 32), AddressClass::Metadata),
    (v4(169, 254, 170, 23, 32), AddressClass::Metadata),
    (v4(169, 254, 0, 0, 16), AddressClass::LinkLocal),
    (v4(172, 16, 0, 0, 12), AddressClass::Private),
    // Oracle Cloud, in the block for protocols.
    (v4(192, 0, 0, 192, 32), AddressClass::Metadata),
    (v4(192, 0, 0, 0, 24), AddressClass::Reserved),
    (v4(192, 0, 2, 0, 24), AddressClass::Documentation),
    // Relays of 6to4, deprecated.
    (v4(192, 88, 99, 0, 24), AddressClass::Reserved),
    (v4(192, 168, 0, 0, 16), AddressClass::Private),
    (v4(198, 18, 0, 0, 15), AddressClass::Benchmarking),
    (v4(198, 51, 100, 0, 24), AddressClass::Documentation),
    (v4(203, 0, 113, 0, 24), AddressClass::Documentation),
    (v4(224, 0, 0, 0, 4), AddressClass::Multicast),
    (v4(255, 255, 255, 255, 32), AddressClass::Broadcast),
    (v4(240, 0, 0, 0, 4), AddressClass::Reserved),
];

/// The first that contains an address says what it is. Outside of 2000::/3 nothing is public.
const V6: &[(Ipv6Net, AddressClass)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), AddressClass::Loopback),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), AddressClass::Unspecified),
    // IPv4-compatible, deprecated; translated for stateless NAT (RFC 2765); NAT64 (RFC 6052, RFC 8215).
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), AddressClass::Embedding),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), AddressClass::Embedding),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), AddressClass::Embedding),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), AddressClass::Embedding),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), AddressClass::Embedding),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), AddressClass::Benchmarking),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), AddressClass::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), AddressClass::Documentation),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), AddressClass::Embedding),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), AddressClass::Documentation),
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), AddressClass::Public),
    // AWS, in the block of unique local addresses.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), AddressClass::Metadata),
    // Google Cloud.
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), AddressClass::Metadata),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), AddressClass::Private),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), AddressClass::LinkLocal),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), AddressClass::Multicast),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 0), AddressClass::Reserved),
];

/// The address of IPv4 that one of IPv6 carries.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = address.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match [s0, s1, s2, s3, s4, s5] {
        // `::` and `::1` carry nothing.
        [0, 0, 0, 0, 0, 0] if (s6, s7) != (0, 0) && (s6, s7) != (0, 1) => Some(from(s6, s7)),
        [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(from(s6, s7)),
        // RFC 8215 lets a network choose any length of RFC 6052 in its /48; that of /96 is usual.
        [0x64, 0xff9b, 1, ..] => Some(from(s6, s7)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        // Teredo hides the client's address by inverting it (RFC 4380).
        [0x2001, 0, ..] => Some(from(!s6, !s7)),
        _ => None,
    }
}
