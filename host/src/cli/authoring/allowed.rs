//! `--allow-…`: flags to the text of a grants file, which the one parser of grants files then reads.

use std::path::Path;

use toml::{Table, Value};

use super::scratch::AGENT;
use crate::cli::arguments::Allowed;
use crate::cli::failure::Failure;
use crate::ids::PackageName;

/// A grants file with one grant, for [`AGENT`].
pub(super) fn grants(package: &PackageName, allowed: &Allowed) -> Result<String, Failure> {
    let mut grant = Table::new();
    grant.insert("package".to_owned(), package.as_str().into());
    grant.insert("agents".to_owned(), Value::Array(vec![AGENT.into()]));
    let Allowed { http, dir, env, config, keyvalue, tcp, udp, dns, limit } = allowed;
    let limits = limit.iter().map(|text| {
        let (name, value) = pair(text, "--limit")?;
        let value = value.parse::<i64>().map_or_else(|_| value.into(), Value::Integer);
        Ok((name.to_owned(), value))
    });
    let settings = |flag: &'static str, given: &[String]| -> Result<Table, Failure> {
        given
            .iter()
            .map(|text| pair(text, flag).map(|(name, value)| (name.to_owned(), Value::from(value))))
            .collect()
    };
    let lists: [(&str, Vec<Value>); 6] = [
        ("filesystem", rules(dir, folder)?),
        ("http", rules(http, request)?),
        ("keyvalue", rules(keyvalue, store)?),
        ("tcp", rules(tcp, |text| peer(text, "--allow-tcp"))?),
        ("udp", rules(udp, |text| peer(text, "--allow-udp"))?),
        ("dns", rules(dns, |text| Ok(Table::from_iter([("names".to_owned(), list([text]))])))?),
    ];
    let tables = [
        ("limits", limits.collect::<Result<Table, Failure>>()?),
        ("environment", settings("--allow-env", env)?),
        ("config", settings("--allow-config", config)?),
    ];
    let lists = lists.into_iter().filter(|(_, rules)| !rules.is_empty());
    let tables = tables.into_iter().filter(|(_, table)| !table.is_empty());
    grant.extend(lists.map(|(kind, rules)| (kind.to_owned(), Value::Array(rules))));
    grant.extend(tables.map(|(kind, table)| (kind.to_owned(), Value::Table(table))));
    let file = Table::from_iter([("grant".to_owned(), Value::Array(vec![Value::Table(grant)]))]);
    toml::to_string(&file).map_err(|error| Failure::input(format!("the flags make no grant: {error}")))
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Value {
    Value::Array(items.into_iter().map(Value::from).collect())
}

/// A rule in the words of a grants file, or what its short form stands for.
fn rules(given: &[String], short: impl Fn(&str) -> Result<Table, Failure>) -> Result<Vec<Value>, Failure> {
    let rule = |text: &String| {
        if !text.trim_start().starts_with('{') {
            return short(text).map(Value::Table);
        }
        let read = format!("rule = {text}").parse::<Table>();
        let table =
            read.map_err(|error| Failure::input(format!("{text} is no table: {}", error.message())))?;
        let rule = table.into_iter().next().map(|(_, rule)| rule).filter(Value::is_table);
        rule.ok_or_else(|| Failure::input(format!("{text} is no table")))
    };
    given.iter().map(rule).collect()
}

fn pair<'t>(text: &'t str, flag: &str) -> Result<(&'t str, &'t str), Failure> {
    let help = || Failure::input(format!("{flag} takes NAME=VALUE, not {text:?}"));
    text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(help)
}

/// `/reports=HOST_FOLDER`, perhaps with `,read-write`.
fn folder(text: &str) -> Result<Table, Failure> {
    let (guest, host) = pair(text, "--allow-dir")?;
    let (host, access) = match host.rsplit_once(',') {
        Some((host, access @ ("read" | "read-write"))) => (host, access),
        Some(_) | None => (host, "read"),
    };
    // Links on the way are the shell's and its user's here: what is granted is where they lead.
    let host = std::fs::canonicalize(Path::new(host))
        .map_err(|error| Failure::input(format!("--allow-dir {host}: {error}")))?;
    let host = host.to_string_lossy().into_owned();
    let keys = [("host_path", host.as_str()), ("guest_path", guest), ("access", access)];
    Ok(keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect())
}

/// `GET https://api.example.com/v1/**`, several methods with commas.
fn request(text: &str) -> Result<Table, Failure> {
    let help = || {
        Failure::input(format!(
            "--allow-http takes \"GET https://api.example.com/v1/**\" or {{ hosts = […], methods = […] }}, not {text:?}"
        ))
    };
    let (methods, url) = text.trim().split_once(' ').ok_or_else(help)?;
    let (scheme, rest) = url.trim().split_once("://").ok_or_else(help)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<i64>().map_err(|_| help())?)),
        Some(_) | None => (authority, None),
    };
    let mut rule = Table::new();
    rule.insert("hosts".to_owned(), list([host.trim_matches(['[', ']'])]));
    rule.insert("methods".to_owned(), list(methods.split(',')));
    rule.insert("schemes".to_owned(), list([scheme]));
    if let Some(port) = port {
        rule.insert("ports".to_owned(), Value::Array(vec![Value::Integer(port)]));
    }
    rule.insert("paths".to_owned(), list([if path.is_empty() { "/**" } else { path }]));
    // Whoever names an address of this machine or its network means it.
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        rule.insert("addresses".to_owned(), list([ipnet::IpNet::from(address).to_string().as_str()]));
    }
    Ok(rule)
}

fn store(text: &str) -> Result<Table, Failure> {
    let keys = [("store", text), ("scope", "agent"), ("access", "read-write")];
    Ok(keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect())
}

fn peer(text: &str, flag: &str) -> Result<Table, Failure> {
    let help =
        || Failure::input(format!("{flag} takes HOST:PORT or {{ hosts = […], ports = […] }}, not {text:?}"));
    let (host, port) = text.rsplit_once(':').ok_or_else(help)?;
    let port = port.parse::<i64>().map_err(|_| help())?;
    let host = host.trim_matches(['[', ']']);
    let mut rule = Table::new();
    rule.insert("hosts".to_owned(), list([host]));
    rule.insert("ports".to_owned(), Value::Array(vec![Value::Integer(port)]));
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        rule.insert("addresses".to_owned(), list([ipnet::IpNet::from(address).to_string().as_str()]));
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_a_grant_in_the_words_of_a_grants_file() {
        let allowed = Allowed {
            http: vec![
                "GET,HEAD https://api.example.com/v1/**".to_owned(),
                "POST http://127.0.0.1:8080".to_owned(),
                "{ hosts = [\"b.example\"], methods = [\"PUT\"] }".to_owned(),
            ],
            env: vec!["TZ=UTC=0".to_owned()],
            keyvalue: vec!["counts".to_owned()],
            tcp: vec!["[::1]:5432".to_owned()],
            limit: vec!["fuel=5".to_owned(), "memory=64MiB".to_owned()],
            ..Allowed::default()
        };
        let text = grants(&"a".parse().expect("a name"), &allowed).expect("a grant");
        let parsed = crate::policy::parse_grants(&text, &Nowhere).expect("a grants file");
        assert_eq!(parsed.grants.len(), 1);
        let told: Vec<String> = parsed.grants[0].terms.rules.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        GET, HEAD https://{api.example.com}:443 /v1/**
        POST http://{127.0.0.1}:8080 /**, also in 127.0.0.1/32
        PUT https://{b.example}:443 /**
        read and write the store counts, one for each agent, up to 1048576 bytes in 10000 keys
        environment variable "TZ" is "UTC=0"
        TCP to [::1] at port 5432, also in ::1/128
        "#);
        assert_eq!(parsed.grants[0].terms.limits.len(), 2);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let package = "a".parse().expect("a name");
        for allowed in [
            Allowed { http: vec!["https://a.example".to_owned()], ..Allowed::default() },
            Allowed { http: vec!["{ hosts = ".to_owned()], ..Allowed::default() },
            Allowed { env: vec!["TZ".to_owned()], ..Allowed::default() },
            Allowed { dir: vec!["/a=/there/is/none".to_owned()], ..Allowed::default() },
            Allowed { tcp: vec!["a.example".to_owned()], ..Allowed::default() },
        ] {
            assert!(grants(&package, &allowed).is_err(), "{allowed:?}");
        }
    }

    struct Nowhere;

    impl crate::policy::PathCheck for Nowhere {
        fn check(&self, host_path: &str) -> Result<std::path::PathBuf, crate::policy::PathProblem> {
            Err(crate::policy::PathProblem::Missing { path: host_path.into() })
        }
    }
}
