//! The judge of addresses against the registries of IANA.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::super::{AddressClass, classify, judge_address};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// First and last of each block, with what it is for: cases 45 and 46.
const REFUSED: &[(&str, &str, AddressClass)] = &[
    ("0.0.0.0", "0.255.255.255", AddressClass::Unspecified),
    ("10.0.0.0", "10.255.255.255", AddressClass::Private),
    ("100.64.0.0", "100.127.255.255", AddressClass::Shared),
    ("127.0.0.0", "127.255.255.255", AddressClass::Loopback),
    ("169.254.0.0", "169.254.255.255", AddressClass::LinkLocal),
    ("172.16.0.0", "172.31.255.255", AddressClass::Private),
    ("192.0.0.0", "192.0.0.255", AddressClass::Reserved),
    ("192.0.2.0", "192.0.2.255", AddressClass::Documentation),
    ("192.88.99.0", "192.88.99.255", AddressClass::Reserved),
    ("192.168.0.0", "192.168.255.255", AddressClass::Private),
    ("198.18.0.0", "198.19.255.255", AddressClass::Benchmarking),
    ("198.51.100.0", "198.51.100.255", AddressClass::Documentation),
    ("203.0.113.0", "203.0.113.255", AddressClass::Documentation),
    ("224.0.0.0", "239.255.255.255", AddressClass::Multicast),
    ("240.0.0.0", "255.255.255.254", AddressClass::Reserved),
    ("255.255.255.255", "255.255.255.255", AddressClass::Broadcast),
    ("169.254.169.254", "169.254.169.254", AddressClass::Metadata),
    ("100.100.100.200", "100.100.100.200", AddressClass::Metadata),
    ("168.63.129.16", "168.63.129.16", AddressClass::Metadata),
    ("::", "::", AddressClass::Unspecified),
    ("::1", "::1", AddressClass::Loopback),
    ("::2", "::ffff:ffff", AddressClass::Embedding),
    ("::ffff:7f00:1", "::ffff:127.255.255.255", AddressClass::Loopback),
    ("::ffff:10.0.0.0", "::ffff:10.255.255.255", AddressClass::Private),
    ("::ffff:0:0:0", "::ffff:0:ffff:ffff", AddressClass::Embedding),
    ("64:ff9b::", "64:ff9b::ffff:ffff", AddressClass::Embedding),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", AddressClass::Embedding),
    ("100::", "100::ffff:ffff:ffff:ffff", AddressClass::Reserved),
    ("1fff:ffff::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Reserved),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Embedding),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", AddressClass::Benchmarking),
    ("2001:10::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Reserved),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Documentation),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Embedding),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Documentation),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Reserved),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Reserved),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Private),
    ("fd00:ec2::254", "fd00:ec2::254", AddressClass::Metadata),
    ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Reserved),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::LinkLocal),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Reserved),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass::Multicast),
];

/// Neighbours of the blocks above, and addresses of well-known servers.
const PUBLIC: &[&str] = &[
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "8.8.8.8",
    "::ffff:8.8.8.8",
    "2000::",
    "2001:200::",
    "2001:4860:4860::8888",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::",
    "2606:4700::1111",
    "3ffe::",
    "3fff:1000::",
];

#[test]
fn each_block_of_the_registries_is_refused_to_its_edges() {
    for (first, last, class) in REFUSED {
        for text in [first, last] {
            let refused = judge_address(address(text), &[]).expect_err(text);
            assert_eq!((classify(address(text)), refused.class), (*class, *class), "{text}");
            assert_eq!(refused.address, address(text).to_canonical());
        }
    }
    for text in PUBLIC {
        assert_eq!(judge_address(address(text), &[]), Ok(()), "{text}");
    }
}

#[test]
fn a_granted_cidr_lets_its_own_addresses_through_and_no_others() {
    let granted = |cidrs: &[&str], text: &str| {
        let cidrs: Vec<IpNet> = cidrs.iter().map(|cidr| cidr.parse().expect("a CIDR")).collect();
        judge_address(address(text), &cidrs).is_ok()
    };
    assert!(granted(&["10.1.0.0/16"], "10.1.2.3"));
    assert!(granted(&["10.1.0.0/16"], "::ffff:10.1.2.3"), "judged as what it wraps");
    assert!(!granted(&["10.1.0.0/16"], "10.2.0.0"));
    assert!(!granted(&["10.1.0.0/16"], "::10.1.2.3"));
    assert!(!granted(&["::ffff:10.1.0.0/112"], "10.1.2.3"), "what wraps is not what is judged");
    assert!(granted(&["::1/128", "127.0.0.0/8"], "::1"));
    // Embedded addresses are judged as well.
    assert!(granted(&["64:ff9b::/96"], "64:ff9b::8.8.8.8"));
    assert!(!granted(&["64:ff9b::/96"], "64:ff9b::10.0.0.1"));
    assert!(granted(&["64:ff9b::/96", "10.0.0.0/8"], "64:ff9b::10.0.0.1"));
    assert!(!granted(&["10.0.0.0/8"], "64:ff9b::10.0.0.1"));
    assert!(!granted(&["2002::/16"], "2002:7f00:1::"));
    assert!(granted(&["2002::/16"], "2002:808:808::"));
    let teredo_of_loopback = "2001:0:1:2:3:4:80ff:fffe";
    assert!(!granted(&["2001::/32"], teredo_of_loopback));
    assert!(granted(&["2001::/32", "127.0.0.1/32"], teredo_of_loopback));
}

proptest! {
    #[test]
    fn every_way_to_wrap_a_refused_address_is_refused(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        let [high, low] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
        let wrapped = [
            v4.to_ipv6_mapped(),
            v4.to_ipv6_compatible(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        ];
        let plain = judge_address(v4.into(), &[]);
        prop_assert_eq!(judge_address(wrapped[0].into(), &[]), plain);
        for other in &wrapped[1..] {
            prop_assert!(judge_address((*other).into(), &[]).is_err(), "{}", other);
        }
    }

    #[test]
    fn what_is_judged_public_is_public_by_the_standard_librarys_tests(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        if classify(v4.into()) == AddressClass::Public {
            prop_assert!(!(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()));
            prop_assert!(!(v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified()));
        }
    }

    #[test]
    fn a_cidr_never_makes_an_address_worse(bits in any::<u128>(), v4 in any::<u32>(), length in 0u8..=128) {
        for address in [IpAddr::from(Ipv6Addr::from(bits)), Ipv4Addr::from(v4).into()] {
            let cidr = IpNet::new(Ipv6Addr::from(bits).into(), length).expect("a length");
            if judge_address(address, &[]).is_ok() {
                prop_assert_eq!(judge_address(address, &[cidr]), Ok(()));
            }
        }
    }
}
