//! Patterns of hosts and paths.

use proptest::prelude::*;

use super::super::{CanonicalUrl, HostPattern, HostPatternError, PathPattern, PathPatternError, UrlHost};

fn host(text: &str) -> UrlHost {
    UrlHost::parse(text).expect("a host")
}

fn hosts(pattern: &str) -> HostPattern {
    pattern.parse().expect("a pattern")
}

fn paths(pattern: &str) -> PathPattern {
    pattern.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_pattern_of_hosts_matches_whole_labels_in_canonical_form() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("ok.com", &["ok.com", "OK.com.", "%6fk.com"], &["a.ok.com", "evilok.com", "ok.com.evil", "ok.co"]),
        // Case 53.
        ("*.ok.com", &["a.ok.com", "b.a.OK.com."], &["ok.com", "evilok.com", "a.ok.com.evil", "a.ok.co"]),
        ("*.MÜNCHEN.example.", &["a.xn--mnchen-3ya.example"], &["xn--mnchen-3ya.example"]),
        ("127.0.0.1", &["2130706433", "127.1", "[::ffff:127.0.0.1]"], &["127.0.0.2", "[::1]"]),
        ("::1", &["[::1]", "[0:0::1]"], &["127.0.0.1"]),
        ("[2001:db8::1]", &["[2001:DB8:0::1]"], &["[2001:db8::2]"]),
        ("*.1.com", &["1.1.com"], &["1.1.1.1"]),
    ];
    for (pattern, matching, others) in cases {
        for text in *matching {
            assert!(hosts(pattern).matches(&host(text)), "{pattern} {text}");
        }
        for text in *others {
            assert!(!hosts(pattern).matches(&host(text)), "{pattern} {text}");
        }
        assert_eq!(hosts(&hosts(pattern).to_string()), hosts(pattern));
    }
}

#[test]
fn what_names_no_host_is_refused_with_what_to_write() {
    let error = |text: &str| text.parse::<HostPattern>().expect_err(text);
    // Case 104.
    for text in ["api.example.com:443", "localhost:8080", "*.example.com:443", "[::1]:80", "127.0.0.1:80"] {
        let error = error(text);
        assert_eq!(error, HostPatternError::Port(text.to_owned()));
        assert!(error.to_string().contains("`ports`"), "{error}");
    }
    for text in ["https://ok.com", "ok.com/", "ok.com/path", "user@ok.com", "ok.com?x"] {
        assert_eq!(error(text), HostPatternError::MoreThanHost(text.to_owned()));
    }
    for text in ["*", "*ok.com", "a.*.com", "*.*.com", "**", "ok.*", "*.1.2.3.4"] {
        assert!(matches!(error(text), HostPatternError::Star(_)), "{text}");
    }
    for text in ["", ".", "*.", "a..b", "a b", "%61.com", "a,b", "1.2.3.400", "\u{202e}", "-\\"] {
        assert!(matches!(error(text), HostPatternError::Malformed(_)), "{text}: {:?}", error(text));
    }
}

#[test]
fn a_pattern_of_paths_is_a_glob_over_segments() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("/", &["/"], &["/a"]),
        ("/a", &["/a"], &["/a/", "/A", "/ab", "/a/b"]),
        ("/**", &["/", "/a", "/a/b/"], &[]),
        ("/a/**", &["/a/", "/a/b", "/a/b/c"], &["/a", "/ab/c", "/b/a/c"]),
        ("/a/*", &["/a/b"], &["/a/", "/a/b/", "/a/b/c", "/a"]),
        ("/a/*/c", &["/a/b/c"], &["/a/c", "/a/b/b/c"]),
        ("/a/**/c", &["/a/c", "/a/b/c", "/a/b/c/c"], &["/a/b", "/a/c/"]),
        ("/a/**/**", &["/a/", "/a/b/c"], &["/a"]),
        ("/v*/x.*.json", &["/v/x.a.json", "/v1/x..json"], &["/1/x.a.json", "/v1/x.json", "/v1/y/x.a.json"]),
        ("/*a*b*", &["/ab", "/xaxbx", "/aab"], &["/ba", "/a/b"]),
        ("/é", &["/%C3%A9"], &[]),
        ("/%7euser/%3a", &["/~user/%3A"], &["/~user/:"]),
    ];
    for (pattern, matching, others) in cases {
        for path in *matching {
            assert!(paths(pattern).matches(path), "{pattern} {path}");
        }
        for path in *others {
            assert!(!paths(pattern).matches(path), "{pattern} {path}");
        }
        assert_eq!(paths(&paths(pattern).to_string()), paths(pattern));
    }
    assert_eq!(PathPattern::all(), paths("/**"));
}

#[test]
fn what_no_request_can_match_is_refused_with_what_to_write() {
    let error = |text: &str| text.parse::<PathPattern>().expect_err(text);
    assert!(matches!(error("repos/**"), PathPatternError::NoSlash(_)));
    assert!(matches!(error("/a?b=c"), PathPatternError::MoreThanPath(_)));
    assert!(matches!(error("/a**"), PathPatternError::Stars(_)));
    assert!(matches!(error("/***"), PathPatternError::Stars(_)));
    for text in ["/a//b", "/a/../b", "/a/%2e%2E/b", "/.", "/a%2Fb", "/a b", "/a\\b", "/..;a"] {
        assert!(matches!(error(text), PathPatternError::NeverSent(..)), "{text}: {:?}", error(text));
    }
    assert_eq!(error(&format!("/{}", "a".repeat(1_024))), PathPatternError::TooLong);
    assert_eq!(error(&format!("/{}", "é".repeat(400))), PathPatternError::TooLong);
}

#[test]
fn a_long_path_of_traps_is_matched_in_time() {
    let pattern = paths(&format!("/{}b", "*a".repeat(500)));
    let path = format!("/{}", "a".repeat(8_000));
    let segments = paths(&"/**/a*a*c".repeat(100));
    let started = std::time::Instant::now();
    assert!(!pattern.matches(&path));
    assert!(!segments.matches(&"/aa".repeat(2_600)));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

/// The glob by its definition: tries everything, and takes exponential time.
fn model(pattern: &[&str], path: &[&str]) -> bool {
    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|taken| glob(rest, &text[taken..])),
            Some((byte, rest)) => {
                text.split_first().is_some_and(|(first, left)| first == byte && glob(rest, left))
            }
        }
    }
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", [])) => !path.is_empty(),
        Some((&"**", rest)) => (0..=path.len()).any(|taken| model(rest, &path[taken..])),
        Some((&segment, rest)) => path.split_first().is_some_and(|(first, left)| {
            (segment != "*" || !first.is_empty())
                && glob(segment.as_bytes(), first.as_bytes())
                && model(rest, left)
        }),
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_the_definition(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "*", "**", "a*", "*b*a", "ab", "*a"]), 1..6),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "ba", "aba"]), 0..6),
        slash in any::<bool>(),
    ) {
        let text = format!("/{}", pattern.join("/"));
        let mut segments = path.clone();
        if slash || segments.is_empty() {
            segments.push("");
        }
        let whole = format!("/{}", segments.join("/"));
        prop_assert_eq!(paths(&text).matches(&whole), model(&pattern, &segments), "{} {}", text, whole);
    }

    #[test]
    fn no_text_makes_a_pattern_panic(text in any::<String>(), path in any::<String>()) {
        if let Ok(pattern) = text.parse::<HostPattern>() {
            prop_assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
        }
        let pattern = format!("/{text}").parse::<PathPattern>();
        if let Ok(pattern) = pattern {
            pattern.matches(&path);
            prop_assert_eq!(pattern.to_string().parse::<PathPattern>(), Ok(pattern));
        }
    }

    /// A rule for one host lets no URL through that would be sent to another.
    #[test]
    fn an_exact_rule_lets_its_host_through_only(authority in "[a-zA-Z0-9.:@%\\[\\]-]{1,24}", path in "/[a-z./%2eE]{0,12}") {
        if let Ok(url) = CanonicalUrl::from_parts(super::super::Scheme::Https, &authority, &path)
            && hosts("ok.com").matches(url.host())
        {
            let sent: http::Uri = url.to_string().parse().expect("a URI");
            prop_assert_eq!(sent.host(), Some("ok.com"));
        }
    }
}
