//! URLs: one spelling, and what is refused.

use proptest::prelude::*;
use serde::Deserialize;

use super::super::{CanonicalUrl, Scheme, URL_BYTES_MAX, UrlError, UrlHost};

fn parsed(text: &str) -> Result<String, UrlError> {
    CanonicalUrl::parse(text).map(|url| url.to_string())
}

#[test]
fn all_spellings_of_a_url_become_one() {
    let same = |spellings: &[&str]| {
        let canonical = parsed(spellings[0]).expect("the first is canonical");
        assert_eq!(canonical, spellings[0]);
        for spelling in &spellings[1..] {
            assert_eq!(parsed(spelling), Ok(canonical.clone()), "{spelling}");
        }
    };
    // Case 47.
    same(&[
        "http://127.0.0.1/",
        "http://0177.1/",
        "http://2130706433",
        "http://0x7f000001/",
        "http://127.1",
        "http://127.0.0.1./",
        "http://[::ffff:127.0.0.1]/",
        "http://[::FFFF:7F00:1]:80",
        "http://１２７.0.0.1/",
    ]);
    // Case 52.
    same(&[
        "https://xn--mnchen-3ya.example/",
        "https://münchen.example",
        "HTTPS://MÜNCHEN.EXAMPLE.:443/",
        "https://xn--mnchen-3ya.example./",
    ]);
    same(&["http://example.com:443/", "http://Example.COM:0443"]);
    // Case 55.
    same(&[
        "https://ok.example/admin",
        "https://ok.example/v1/../admin",
        "https://ok.example/v1/%2e%2e/admin",
        "https://ok.example/v1/.%2E/%61dmin",
        "https://ok.example/./adm%69n",
        "https://ok.example/../../admin",
    ]);
    same(&["https://ok.example/a%3Ab/~c?d=%2f", "https://ok.example/a%3ab/%7Ec?d=%2f"]);
    same(&["https://ok.example/%25zz", "https://ok.example/%zz"]);
}

#[test]
fn what_servers_read_in_more_than_one_way_is_refused() {
    let cases: &[(&str, UrlError)] = &[
        // Case 51.
        ("https://ok.example@evil.example/", UrlError::UserInfo),
        ("http://:@host/", UrlError::UserInfo),
        ("http://@host/", UrlError::UserInfo),
        ("https://ok.example/\\@evil.example", UrlError::Ambiguous),
        // Case 55.
        ("https://ok.example//admin", UrlError::EmptySegment),
        ("https://ok.example/v1//admin", UrlError::EmptySegment),
        ("https://ok.example/v1%2fadmin", UrlError::Hidden),
        ("https://ok.example/v1/..%2Fadmin", UrlError::Hidden),
        ("https://ok.example/v1%5c..%5cadmin", UrlError::Hidden),
        ("https://ok.example/v1%252fadmin", UrlError::Hidden),
        ("https://ok.example/v1/%252e%252e/admin", UrlError::Hidden),
        ("https://ok.example/v1/..;/admin", UrlError::Hidden),
        ("https://ok.example/v1/..%3bx/admin", UrlError::Hidden),
        ("https://ok.example/%00", UrlError::Hidden),
        // Case 57.
        ("https://ok.example/%0d%0aX:1", UrlError::Hidden),
        ("https://ok.example/\r\nX: 1", UrlError::Ambiguous),
        ("https://ok.example\r\n/", UrlError::Ambiguous),
        ("https://ok.example/a b", UrlError::Ambiguous),
        ("https://ok.example/\u{2028}", UrlError::Ambiguous),
        ("ht\ntp://ok.example/", UrlError::Scheme),
        ("https://ok.example/#part", UrlError::Fragment),
        ("https://ok.example#part", UrlError::Fragment),
        ("ftp://ok.example/", UrlError::Scheme),
        ("https:ok.example/", UrlError::Scheme),
        ("//ok.example/", UrlError::Scheme),
        ("https:///ok.example", UrlError::Host),
        ("https://", UrlError::Host),
        ("https://:443/", UrlError::Host),
        ("https://./", UrlError::Host),
        ("https://a..b/", UrlError::Host),
        ("https://ok.example../", UrlError::Host),
        ("https://*.ok.example/", UrlError::Host),
        ("https://a,b/", UrlError::Host),
        ("https://[::1/", UrlError::Host),
        ("https://[fe80::1%25eth0]/", UrlError::Host),
        ("https://256.1.1.1/", UrlError::Host),
        ("https://ok.example:0/", UrlError::Port),
        ("https://ok.example:65536/", UrlError::Port),
        ("https://ok.example:x/", UrlError::Port),
    ];
    for (text, error) in cases {
        assert_eq!(parsed(text), Err(*error), "{text:?}");
    }
    let name = |length: usize| format!("https://{}/", vec!["a"; length / 2].join("."));
    assert!(CanonicalUrl::parse(&name(253)).is_ok());
    assert_eq!(parsed(&name(256)), Err(UrlError::Host));
    assert_eq!(parsed(&format!("https://{}.b/", "a".repeat(64))), Err(UrlError::Host));
    let long = |bytes: usize| format!("https://a/{}", "b".repeat(bytes - 10));
    assert_eq!(parsed(&long(URL_BYTES_MAX)).map(|url| url.len()), Ok(URL_BYTES_MAX));
    assert_eq!(parsed(&long(URL_BYTES_MAX + 20)), Err(UrlError::TooLong));
    // What grows by its encoding.
    assert_eq!(parsed(&format!("https://a/{}", "é".repeat(3_000))), Err(UrlError::TooLong));
}

#[test]
fn a_path_of_a_request_begins_with_a_slash_and_its_authority_is_one() {
    let made = |authority, path| CanonicalUrl::from_parts(Scheme::Https, authority, path);
    // Case 56: absolute form, and `OPTIONS *`.
    assert_eq!(made("a", "https://evil.example/"), Err(UrlError::Path));
    assert_eq!(made("a", "*"), Err(UrlError::Path));
    assert_eq!(made("a", ""), Err(UrlError::Path));
    assert_eq!(made("a", "?q=1"), Err(UrlError::Path));
    for authority in ["", "a/b", "a?b", "a#b"] {
        assert_eq!(made(authority, "/"), Err(UrlError::Host), "{authority}");
    }
    assert_eq!(made("a:", "/").map(|url| url.port()), Ok(443));
}

#[test]
fn keys_of_a_query_are_read_as_any_server_may_read_them() {
    let keys = |query: &str| {
        let url = CanonicalUrl::parse(&format!("https://a/?{query}")).expect("a URL");
        let mut keys: Vec<String> = url.query_keys().map(Into::into).collect();
        keys.sort();
        keys.dedup();
        keys
    };
    assert_eq!(keys("a=1&b=2&a=3"), ["a", "b"]);
    assert_eq!(keys("%61dmin=1&b%20c&d+e="), ["admin", "b c", "d e"]);
    assert_eq!(keys("a=1;admin=2"), ["a", "admin"]);
    assert_eq!(keys("=1&&"), [""]);
    assert_eq!(keys(""), [""; 0]);
}

#[test]
fn a_new_query_is_encoded_and_changes_nothing_else() {
    let url = CanonicalUrl::parse("https://a:8443/b?c=d").expect("a URL");
    let with = |query| url.with_query(query).map(|url| url.to_string());
    assert_eq!(with(Some("k=%20é")).as_deref(), Ok("https://a:8443/b?k=%20%C3%A9"));
    assert_eq!(with(None).as_deref(), Ok("https://a:8443/b"));
    assert_eq!(with(Some("a#b")), Err(UrlError::Fragment));
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vector {
    Comment(#[expect(dead_code, reason = "for people")] String),
    Case(Case),
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Case {
    input: String,
    failure: bool,
    protocol: String,
    username: String,
    password: String,
    hostname: String,
    port: String,
    pathname: String,
    search: String,
    hash: String,
}

impl Case {
    /// Why we refuse what browsers take, told from the text or from what it means to them.
    fn is_refused_by_us(&self) -> bool {
        let text = &self.input;
        let after_scheme = text.split_once("://").map(|(_, rest)| rest);
        text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\')
            || after_scheme.is_none_or(|rest| rest.starts_with('/'))
            || text.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@'))
            || !(self.username.is_empty() && self.password.is_empty())
            || text.contains('#')
            || self.port == "0"
            || self.pathname.contains("//")
            || ["%2f", "%5c", "%0", "%1", "%7f"]
                .iter()
                .any(|hidden| self.pathname.to_lowercase().contains(hidden))
            || self.has_a_name_of_other_characters()
    }

    /// Names that IDNA lets through and no resolver is asked for.
    fn has_a_name_of_other_characters(&self) -> bool {
        let name = self.hostname.strip_suffix('.').unwrap_or(&self.hostname);
        !name.starts_with('[')
            && (name.split('.').any(|label| label.is_empty() || label.len() > 63)
                || name.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))))
    }
}

#[test]
fn the_vectors_of_the_web_platform_tests_are_met_or_refused_for_a_reason() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("wpt.json")).expect("vectors");
    let (mut met, mut failed, mut refused) = (0, 0, 0);
    for vector in vectors {
        let Vector::Case(case) = vector else { continue };
        let ours = CanonicalUrl::parse(&case.input);
        if case.failure {
            assert!(ours.is_err(), "{:?} is {ours:?}", case.input);
            failed += 1;
        } else if case.is_refused_by_us() {
            assert!(ours.is_err(), "{:?} is {ours:?}", case.input);
            refused += 1;
        } else {
            let url = ours.unwrap_or_else(|error| panic!("{:?}: {error}", case.input));
            let expected = UrlHost::parse(&case.hostname).expect("a host");
            assert_eq!(format!("{}:", url.scheme()), case.protocol, "{:?}", case.input);
            assert_eq!(*url.host(), expected, "{:?}", case.input);
            let port = if url.port() == url.scheme().default_port() {
                String::new()
            } else {
                url.port().to_string()
            };
            assert_eq!(port, case.port, "{:?}", case.input);
            assert_eq!(plain(url.path()), plain(&case.pathname), "{:?}", case.input);
            let search = url.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
            assert_eq!(search.unwrap_or_default(), case.search, "{:?}", case.input);
            assert_eq!(case.hash, "");
            met += 1;
        }
    }
    assert!(met > 40 && failed > 100 && refused > 30, "{met} met, {failed} failed, {refused} refused");
}

/// What a path says when all of its escapes are undone.
fn plain(path: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = path.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let value = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match rest.get(..2).and_then(value).filter(|_| byte == b'%') {
            Some(value) => {
                decoded.push(value);
                bytes.nth(1);
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

/// Texts that are nearly URLs: parts that were trouble somewhere, in any order.
fn nearly_a_url() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "/",
        "//",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        "%2f",
        "%5c",
        "\\",
        "@",
        ":",
        "?",
        "#",
        ";",
        "&",
        "=",
        "%",
        "%25",
        "a",
        "B",
        "é",
        "ok.example",
        "127.1",
        "0x7f.1",
        "[::1]",
        "[::ffff:1.2.3.4]",
        ":80",
        ":443",
        "%41",
        "%00",
        "*",
        "~",
        "\t",
        "\r\n",
        " ",
        "xn--",
        "\u{ff0e}",
        "\u{3002}",
    ]);
    let scheme = prop::sample::select(vec!["http://", "https://", "HTTPS://", "http:", ""]);
    (scheme, prop::collection::vec(part, 0..12))
        .prop_map(|(scheme, parts)| scheme.to_owned() + &parts.concat())
}

proptest! {
    #[test]
    fn a_canonical_url_is_its_own_canonical_form(text in nearly_a_url()) {
        if let Ok(url) = CanonicalUrl::parse(&text) {
            prop_assert_eq!(CanonicalUrl::parse(&url.to_string()), Ok(url.clone()), "{}", text);
            let parts = CanonicalUrl::from_parts(url.scheme(), &url.authority(), &url.path_and_query());
            prop_assert_eq!(parts, Ok(url.clone()));
            // What is sent is understood by the sender as what was judged.
            let sent: http::Uri = url.to_string().parse().expect("a URI");
            prop_assert_eq!(sent.path(), url.path());
            prop_assert_eq!(sent.query(), url.query());
            prop_assert!(!url.path().contains("//"));
            prop_assert!(!url.path().split('/').any(|segment| segment == "." || segment == ".."));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = CanonicalUrl::parse(&text);
        let _ = CanonicalUrl::from_parts(Scheme::Http, &text, &text);
        let _ = UrlHost::parse(&text);
    }
}
