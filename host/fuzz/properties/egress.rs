//! What must hold of the judge of URLs for any text: shared by the fuzz target and by a test, which
//! gives it texts from a seed.

use std::net::IpAddr;

use portcullis::egress::{
    AddressClass, CanonicalUrl, HostPattern, PathPattern, Scheme, UrlHost, classify, judge_address,
};

/// Reads lines: an authority, a path, a pattern of hosts, a pattern of paths, an address.
pub(crate) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (authority, path, hosts, paths, address) = (line(), line(), line(), line(), line());
    let hosts = hosts.parse::<HostPattern>().ok();
    let paths = paths.parse::<PathPattern>().ok();
    if let Some(pattern) = &hosts {
        assert_eq!(pattern.to_string().parse::<HostPattern>().as_ref(), Ok(pattern));
    }
    if let Some(pattern) = &paths {
        assert_eq!(pattern.to_string().parse::<PathPattern>().as_ref(), Ok(pattern));
    }
    for scheme in Scheme::ALL {
        if let Ok(url) = CanonicalUrl::from_parts(scheme, authority, path) {
            canonical(&url);
            matched(&url, hosts.as_ref(), paths.as_ref());
        }
    }
    let _ = CanonicalUrl::parse(&text);
    if let Ok(address) = address.parse::<IpAddr>() {
        judged(address);
    }
}

/// A canonical URL is its own canonical form, and says its path in one way.
fn canonical(url: &CanonicalUrl) {
    assert_eq!(CanonicalUrl::parse(&url.to_string()).as_ref(), Ok(url));
    let again = CanonicalUrl::from_parts(url.scheme(), &url.authority(), &url.path_and_query());
    assert_eq!(again.as_ref(), Ok(url));
    assert!(url.path().starts_with('/') && !url.path().contains("//") && !url.path().contains('\\'));
    assert!(!url.path().split('/').any(|segment| segment == "." || segment == ".."));
    assert!(url.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(url.port() != 0 && !url.authority().contains('@'));
    if let UrlHost::Address(address) = url.host() {
        assert_eq!(*address, address.to_canonical());
    }
}

/// A pattern says of a host what its text says.
fn matched(url: &CanonicalUrl, hosts: Option<&HostPattern>, paths: Option<&PathPattern>) {
    match hosts {
        Some(HostPattern::Exactly(host)) => {
            assert_eq!(url.host() == host, hosts.is_some_and(|p| p.matches(url.host())))
        }
        Some(pattern @ HostPattern::Below(suffix)) if pattern.matches(url.host()) => {
            let host = url.host().to_string();
            assert!(host.ends_with(&format!(".{suffix}")) && host.len() > suffix.len() + 1);
        }
        Some(HostPattern::Below(_)) | None => {}
    }
    if let Some(pattern) = paths {
        let text = pattern.to_string();
        if !text.contains('*') {
            assert_eq!(pattern.matches(url.path()), text == url.path());
        }
    }
    assert!(PathPattern::all().matches(url.path()));
}

/// Without a CIDR only public addresses pass, and wrapping one in IPv6 never makes it pass.
fn judged(address: IpAddr) {
    let passes = judge_address(address, &[]).is_ok();
    assert_eq!(passes, classify(address) == AddressClass::Public);
    if let IpAddr::V4(v4) = address {
        assert_eq!(judge_address(v4.to_ipv6_mapped().into(), &[]).is_ok(), passes);
        assert!(judge_address(v4.to_ipv6_compatible().into(), &[]).is_err());
    }
}
