//! Good files, and what is said of bad ones.

use std::path::Path;

use super::*;
use crate::limits::Limit;
use crate::policy::grant::{Access, AgentSelector, ClockRule};

/// Folders as a table: no file system is touched here.
struct Folders;

impl PathCheck for Folders {
    fn check(&self, host_path: &str) -> Result<PathBuf, PathProblem> {
        let path = Path::new("/home/ann").join(host_path);
        match host_path {
            "missing" => Err(PathProblem::Missing { path }),
            "link" => Err(PathProblem::Symlink { path }),
            "/home" => Err(PathProblem::Contains { path, forbidden: PathBuf::from("/home/ann/.portcullis") }),
            _ => Ok(path),
        }
    }
}

fn parse(text: &str) -> Result<GrantsFile, Vec<Diagnostic>> {
    parse_grants(text, &Folders)
}

/// The errors of a file, three lines each: place, key and the marked text; the message; the help.
fn errors(text: &str) -> String {
    let diagnostics = parse(text).expect_err("the file is bad");
    let lines = |diagnostic: &Diagnostic| {
        let Diagnostic { line, column, key, message, help, span } = diagnostic;
        let marked = text.get(span.clone()).expect("the span lies on character boundaries");
        let help = help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default();
        format!("{line}:{column} {key} `{marked}`\n  {message}{help}")
    };
    diagnostics.iter().map(lines).collect::<Vec<_>>().join("\n")
}

/// A grant with a body after the two lines that each grant needs; the body begins at line 4.
fn with(body: &str) -> String {
    format!("[[grant]]\npackage = \"notes\"\nagents = [\"ann\"]\n{body}")
}

#[test]
fn a_whole_file_becomes_terms() {
    let text = r#"
[groups]
analysts = ["bob", "cleo"]

[[grant]]
package = "notes"
agents = ["ann", "group:analysts"]
tools = ["read", "search"]
expires = 2027-01-01T00:00:00+01:00
limits = { fuel = 500_000_000, wall_time = "5s", memory = "64MiB", output = 1_000 }

[[grant.filesystem]]
host_path = "notes"
guest_path = "/notes"
access = "read-write"
quota = "1MiB"

[[grant.filesystem]]
host_path = "reports"
guest_path = "/notes/reports"
access = "read"

[[grant.invoke]]
package = "fetch"

[[grant.invoke]]
package = "other"
tools = ["b", "a"]

[[grant]]
package = "fetch"
agents = ["ann"]
"#;
    let file = parse(text).expect("a good file");
    assert_eq!(file.source, text);
    let members: Vec<String> =
        file.groups.iter().map(|(group, members)| format!("{group} {members:?}")).collect();
    assert_eq!(members, [r#"analysts {"bob", "cleo"}"#]);
    assert_eq!(file.grants.len(), 2);
    let GrantEntry { package, terms, span, tool_spans, names } = &file.grants[0];
    assert!(names.is_empty() && terms.names.is_empty());
    assert_eq!((package.as_str(), &text[span.clone()]), ("notes", "\"notes\""));
    assert_eq!(
        terms.agents.iter().map(AgentSelector::to_string).collect::<Vec<_>>(),
        ["ann", "group:analysts"]
    );
    assert_eq!(terms.expires, Some("2026-12-31T23:00:00Z".parse().expect("timestamp")));
    assert_eq!(
        terms.limits,
        BTreeMap::from([
            (Limit::Fuel, 500_000_000),
            (Limit::WallTime, 5_000),
            (Limit::Memory, 64 << 20),
            (Limit::Output, 1_000)
        ])
    );
    let tools: Vec<&str> = tool_spans.values().map(|span| &text[span.clone()]).collect();
    assert_eq!(tools, ["\"read\"", "\"search\""]);
    let [notes, reports] = terms.filesystem.as_slice() else { panic!("two folders") };
    assert_eq!(notes.host_path, Path::new("/home/ann/notes"));
    assert_eq!((notes.access, notes.quota_bytes), (Access::ReadWrite, 1 << 20));
    assert_eq!(notes.quota_files, Limit::Files.row().default);
    let rules: Vec<String> = terms.rules.iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["call any tool of package fetch", "call a, b of package other"]);
    assert_eq!((reports.access, reports.quota_bytes, reports.quota_files), (Access::Read, 0, 0));
    let rest = &file.grants[1].terms;
    assert_eq!((rest.tools.as_ref(), rest.expires, rest.limits.len()), (None, None, 0));
}

#[test]
fn every_grantable_limit_is_taken_up_to_its_ceiling_and_refused_above() {
    for limit in Limit::ALL {
        let row = limit.row();
        let written = |value: u64| {
            let value = if row.unit == "milliseconds" { format!("\"{value}ms\"") } else { value.to_string() };
            parse(&with(&format!("limits = {{ {limit} = {value} }}")))
        };
        if row.grantable {
            let file = written(row.ceiling).expect("at the ceiling");
            assert_eq!(file.grants[0].terms.limits, BTreeMap::from([(limit, row.ceiling)]));
            let above = written(row.ceiling + 1).expect_err("above the ceiling");
            assert!(above[0].message.contains(&row.ceiling.to_string()), "{limit}: {}", above[0].message);
            assert!(written(0).is_err(), "{limit}");
        } else {
            assert!(written(1).is_err(), "{limit}");
        }
    }
}

#[test]
fn unknown_and_doubled_keys() {
    insta::assert_snapshot!(errors(&with("agent = [\"bob\"]\nfrobnicate = 1\n")), @r#"
    4:1 grant[0].agent `agent`
      unknown key agent
      help: did you mean `agents`?
    5:1 grant[0].frobnicate `frobnicate`
      unknown key frobnicate
      help: known keys: package, agents, tools, names, expires, limits, filesystem, http, invoke, keyvalue, config, environment, arguments, tcp, udp, dns, secrets, durability, fold_reads, record, clock
    "#);
    insta::assert_snapshot!(errors("grants = 1\n"), @r#"
    1:1 grants `grants`
      unknown key grants
      help: did you mean `grant`?
    "#);
    insta::assert_snapshot!(errors(&with("agents = [\"bob\"]\n")), @r#"
    4:1 grant[0].agents `agents`
      `grant[0].agents` is given twice
      help: it was first given in line 3
    "#);
    insta::assert_snapshot!(errors(&with("limits = { fuel = 1, fuel = 2 }\nexpires = 1\n")), @r#"
    4:22 grant[0].limits.fuel `fuel`
      `grant[0].limits.fuel` is given twice
      help: it was first given in line 4
    5:11 grant[0].expires `1`
      expected a date-time without quotes, such as 2027-01-01T00:00:00Z, found an integer
    "#);
    insta::assert_snapshot!(errors("[groups]\na = []\n[groups]\nb = []\n"), @r#"
    3:2 groups `groups`
      a key is given twice
      help: leave one out
    "#);
    insta::assert_snapshot!(errors("[grant]\npackage = \"notes\"\n"), @r#"
    1:1 grant `[grant]`
      expected a list of tables, found a table
      help: write it in double brackets: [[grant]]
    "#);
}

#[test]
fn keys_of_later_versions() {
    insta::assert_snapshot!(
        errors(&with(
            "calls_max = 3\nlimits = { kv_keys = 1, host_concurrency = 8, file_bytes = 1 }\n[[grant.log]]\nlines = []\n"
        )),
        @r#"
    4:1 grant[0].calls_max `calls_max`
      `calls_max` is not supported by this version
      help: leave it out: what is not enforced is not accepted
    5:12 grant[0].limits.kv_keys `kv_keys`
      `kv_keys` can't be set by a grant
      help: it belongs to a store: use `quota` or `keys_max` in [[grant.keyvalue]]
    5:25 grant[0].limits.host_concurrency `host_concurrency`
      `host_concurrency` can't be set by a grant
      help: it is the same for all packages of this host: `limits.toml` in the data folder sets it
    5:47 grant[0].limits.file_bytes `file_bytes`
      `file_bytes` can't be set by a grant
      help: it belongs to a folder: use `quota` or `files_max` in [[grant.filesystem]]
    6:9 grant[0].log `log`
      `log` is not supported by this version
      help: leave it out: what is not enforced is not accepted
    "#
    );
}

#[test]
fn peers_and_names() {
    let text = with(
        "[[grant.tcp]]\nhosts = [\"*.Internal.Example\", \"db.example.com\", \"10.1.2.3\"]\nports = [5432, 443]\n\
         addresses = [\"10.0.0.0/8\"]\n\
         [[grant.udp]]\nhosts = [\"time.example.com\"]\nports = [123]\n\
         [[grant.dns]]\nnames = [\"*.example.com\"]\n",
    );
    let rules: Vec<String> =
        parse(&text).expect("a good file").grants[0].terms.rules.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(rules.join("\n"), @r#"
    TCP to db.example.com, 10.1.2.3, *.internal.example at ports 443, 5432, also in 10.0.0.0/8
    UDP to time.example.com at port 123
    look up *.example.com
    "#);
    insta::assert_snapshot!(
        errors(&with(
            "[[grant.tcp]]\nhosts = [\"db.test:5432\"]\nports = [0]\n\
             [[grant.udp]]\nhosts = [\"192.168.1.1\"]\nports = [53]\n\
             [[grant.dns]]\nnames = [\"8.8.8.8\", \"a.test\", \"A.test.\"]\n"
        )),
        @r#"
    5:10 grant[0].tcp[0].hosts[0] `"db.test:5432"`
      "db.test:5432" names a port: write the host here, and the port in `ports`
    6:10 grant[0].tcp[0].ports[0] `0`
      a port is a number from 1 to 65535
    8:9 grant[0].udp[0].hosts `["192.168.1.1"]`
      192.168.1.1 is a private address, and `addresses` has no network with it
      help: add it: addresses = ["192.168.1.1/32"]
    11:10 grant[0].dns[0].names[0] `"8.8.8.8"`
      "8.8.8.8" is an address, which is never looked up
      help: write a name, or use [[grant.tcp]] to connect
    11:31 grant[0].dns[0].names[2] `"A.test."`
      this is in the list twice
    "#
    );
}

#[test]
fn a_coarse_clock() {
    let clock = |text: &str| with(&format!("[grant.clock]\n{text}\n"));
    for (text, resolution_ms) in [("1ms", 1), ("2s", 2_000), ("24h", 86_400_000)] {
        let file = parse(&clock(&format!("resolution = \"{text}\""))).expect("a good file");
        assert_eq!(file.grants[0].terms.clock, Some(ClockRule { resolution_ms }));
    }
    assert_eq!(parse(&with("")).expect("a good file").grants[0].terms.clock, None);
    let refused = [
        "",
        "resolution = 5",
        "resolution = \"0s\"\nstep = 1",
        "resolution = \"25h\"",
        "resolution = \"1us\"",
    ];
    let errors: String = refused.iter().map(|text| errors(&clock(text))).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(errors, @r#"
    4:1 grant[0].clock.resolution `[grant.clock]`
      `resolution` is missing
    5:14 grant[0].clock.resolution `5`
      expected a string, found an integer
    5:14 grant[0].clock.resolution `"0s"`
      a clock is coarsened to 1ms at least and 24h at most
      help: write resolution = "1s", or leave [grant.clock] out for the exact time
    6:1 grant[0].clock.step `step`
      unknown key step
      help: known keys: resolution
    5:14 grant[0].clock.resolution `"25h"`
      a clock is coarsened to 1ms at least and 24h at most
      help: write resolution = "1s", or leave [grant.clock] out for the exact time
    5:14 grant[0].clock.resolution `"1us"`
      "1us" is not a duration
      help: write a duration such as "500ms", "5s", "2m", "1h" or "90d", without a fraction
    "#);
}

/// Case 71.
#[test]
fn groups_and_stores_that_can_be_taken_for_each_other() {
    let store = |name: &str| {
        format!("[[grant.keyvalue]]\nstore = \"{name}\"\nscope = \"agent\"\naccess = \"read\"\n")
    };
    let text = with(&format!("{}{}[groups]\nteam = []\nTEAM = []\n", store("Cache"), store("cache")));
    insta::assert_snapshot!(errors(&text), @r#"
    9:9 grant[0].keyvalue[1].store `"cache"`
      cache can be taken for Cache, which this grant gives as well
      help: give one of the two another name
    14:1 groups.TEAM `TEAM`
      group "TEAM" can be taken for group team
      help: give one of the two another name
    "#);
    assert!(parse(&with(&format!("{}{}", store("cache"), store("cache-2")))).is_ok());
}

#[test]
fn stores_and_settings() {
    let text = with(
        "arguments = [\"tool\", \"-v\"]\n\
         [[grant.keyvalue]]\nstore = \"default\"\nscope = \"package\"\naccess = \"read-write\"\nquota = \"2MiB\"\n\
         [[grant.keyvalue]]\nstore = \"mine\"\nscope = \"agent\"\naccess = \"read-write\"\nkeys_max = 5\n\
         [[grant.keyvalue]]\nstore = \"old\"\nscope = \"agent\"\naccess = \"read\"\n\
         [grant.config]\nbase_url = \"https://example.test\"\n\"a key\" = \"\"\n\
         [grant.environment]\nLANG = \"C\"\n",
    );
    let rules: Vec<String> =
        parse(&text).expect("a good file").grants[0].terms.rules.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(rules.join("\n"), @r#"
    read and write the store default, shared by its agents, up to 2097152 bytes in 10000 keys
    read and write the store mine, one for each agent, up to 1048576 bytes in 5 keys
    read the store old, one for each agent
    configuration "base_url" is "https://example.test"
    configuration "a key" is ""
    environment variable "LANG" is "C"
    arguments "tool" "-v"
    "#);
    insta::assert_snapshot!(
        errors(&with(
            "arguments = []\n\
             [[grant.keyvalue]]\nstore = \"a/b\"\nscope = \"host\"\naccess = \"read-write\"\nquota = \"2GiB\"\n\
             [[grant.keyvalue]]\nstore = \"a\"\nscope = \"agent\"\naccess = \"read\"\nquota = \"1MiB\"\n\
             [[grant.keyvalue]]\nstore = \"a\"\nscope = \"agent\"\naccess = \"write\"\nkeys_max = 2_000_000\nttl = 1\n\
             [grant.config]\n\"\" = \"x\"\n\"a\\nb\" = \"x\"\nport = 80\n\
             [grant.environment]\n\"A=B\" = \"x\"\nNUL = \"a\\u0000\"\n"
        )),
        @r#"
    4:13 grant[0].arguments `[]`
      `arguments` is empty
      help: leave it out: a tool has none then
    6:9 grant[0].keyvalue[0].store `"a/b"`
      "a/b" is not a valid store name: use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit
    7:9 grant[0].keyvalue[0].scope `"host"`
      "host" is not a scope
      help: write scope = "agent" for a store of each agent's own, or scope = "package" for one that all share
    9:9 grant[0].keyvalue[0].quota `"2GiB"`
      `quota` is 2147483648 bytes, above the ceiling of 1073741824
      help: write at most "1GiB"
    14:9 grant[0].keyvalue[1].quota `"1MiB"`
      `quota` is unenforceable where nothing can be written
      help: leave it out, or write access = "read-write"
    16:9 grant[0].keyvalue[2].store `"a"`
      a is given twice in this grant
      help: leave one out
    18:10 grant[0].keyvalue[2].access `"write"`
      "write" is not an access
      help: write access = "read" or access = "read-write"
    19:12 grant[0].keyvalue[2].keys_max `2_000_000`
      `keys_max` is 2000000 keys, above the ceiling of 1000000
      help: write at most 1000000
    20:1 grant[0].keyvalue[2].ttl `ttl`
      unknown key ttl
      help: known keys: store, scope, access, quota, keys_max
    22:1 grant[0].config."" `""`
      "" is not a name here: it is empty
    23:1 grant[0].config."a\nb" `"a\nb"`
      "a\nb" is not a name here: it has a control character
    24:8 grant[0].config.port `80`
      expected a string, found an integer
    26:1 grant[0].environment."A=B" `"A=B"`
      "A=B" is not a name here: it has a '='
    27:7 grant[0].environment.NUL `"a\u0000"`
      the text has a NUL character
    "#
    );
    let many = |count: usize, bytes: usize| {
        let lines = (0..count).map(|number| format!("k{number:03} = \"{}\"\n", "x".repeat(bytes)));
        with(&format!("[grant.config]\n{}", lines.collect::<String>()))
    };
    assert!(parse(&many(256, 252)).is_ok());
    assert!(errors(&many(257, 1)).contains("there are 257 entries, at most 256"));
    assert!(errors(&many(256, 253)).contains("it has 65792 bytes in all, at most 65536"));
}

#[test]
fn sizes_durations_and_limits() {
    insta::assert_snapshot!(
        errors(&with("limits = { memory = \"64MB\", output = -1, wall_time = 5, fuel = \"1KiB\", stdio = 1.5 }")),
        @r#"
    4:21 grant[0].limits.memory `"64MB"`
      "64MB" is not a size
      help: write a number of bytes, or a size such as "64MiB" (B, KiB, MiB, GiB or TiB, no fraction)
    4:38 grant[0].limits.output `-1`
      "-1" is not a number from 0 to 2^64 - 1
    4:54 grant[0].limits.wall_time `5`
      `wall_time` is a duration
      help: write it as text with its unit: "500ms", "5s", "2m" or "1h"
    4:64 grant[0].limits.fuel `"1KiB"`
      expected a whole number, found a string
    4:80 grant[0].limits.stdio `1.5`
      expected a number of bytes or a size such as "64MiB", found a float
    "#
    );
    insta::assert_snapshot!(errors(&with("limits = { memory = \"2GiB\", wall_time = \"1h\", fuel = 0 }")), @r#"
    4:21 grant[0].limits.memory `"2GiB"`
      `memory` is 2147483648 bytes, above the ceiling of 1073741824
      help: write at most "1GiB"
    4:41 grant[0].limits.wall_time `"1h"`
      `wall_time` is 3600000 milliseconds, above the ceiling of 600000
      help: write at most "10m"
    4:54 grant[0].limits.fuel `0`
      `fuel` is 0, which would allow nothing
      help: write at least 1, or leave it out for the default
    "#);
    insta::assert_snapshot!(errors(&with("limits = { memroy = 1, frobnicate = 2 }")), @r#"
    4:12 grant[0].limits.memroy `memroy`
      unknown limit "memroy"
      help: did you mean `memory`?
    4:24 grant[0].limits.frobnicate `frobnicate`
      unknown limit "frobnicate"
      help: known limits: fuel, wall_time, memory, table_elements, host_calls, copied_bytes, resources, output, stdio, log, open_files, directory_entries, random_bytes, http_requests, http_bytes_in, http_bytes_out, connections, depth, fan_out, concurrency
    "#);
    insta::assert_snapshot!(errors(&with("limits = 3")), @r#"
    4:10 grant[0].limits `3`
      expected a table, found an integer
    "#);
}

#[test]
fn dates() {
    insta::assert_snapshot!(errors(&with("expires = 2027-01-01T00:00:00\n")), @r#"
    4:11 grant[0].expires `2027-01-01T00:00:00`
      2027-01-01T00:00:00 has no offset, so it names no moment
      help: write Z for UTC, or an offset such as +01:00, after the time
    "#);
    insta::assert_snapshot!(errors(&with("expires = 2027-01-01\n")), @r#"
    4:11 grant[0].expires `2027-01-01`
      2027-01-01 does not say a date and a time
      help: write a date, a time and an offset: 2027-01-01T00:00:00Z
    "#);
    insta::assert_snapshot!(errors(&with("expires = \"2027-01-01T00:00:00Z\"\n")), @r#"
    4:11 grant[0].expires `"2027-01-01T00:00:00Z"`
      expected a date-time without quotes, such as 2027-01-01T00:00:00Z, found a string
    "#);
    insta::assert_snapshot!(errors(&with("expires = 2027-02-30T00:00:00Z\n")), @r#"
    4:11 grant[0].expires `2027-02-30T00:00:00Z`
      not valid TOML: invalid date, expected day between 01 and 28
    "#);
    insta::assert_snapshot!(errors(&with("expires = 2027-13-01T00:00:00Z\n")), @r#"
    4:11 grant[0].expires `2027-13-01T00:00:00Z`
      not valid TOML: invalid date, expected month between 01 and 12
    "#);
}

#[test]
fn agents_groups_and_tools() {
    insta::assert_snapshot!(errors("[[grant]]\npackage = \"notes\"\nagents = []\ntools = []\n"), @r#"
    3:10 grant[0].agents `[]`
      `agents` is empty, so the grant would be for nobody
      help: name who may use it: agents = ["researcher", "group:analysts"]
    4:9 grant[0].tools `[]`
      `tools` is empty, so the grant would allow nothing
      help: leave `tools` out to grant all tools of the package
    "#);
    insta::assert_snapshot!(errors("[[grant]]\n"), @r#"
    1:1 grant[0].package `[[grant]]`
      `package` is missing
    1:1 grant[0].agents `[[grant]]`
      `agents` is missing
    "#);
    let text = r#"
[groups]
analysts = ["ann", "ann", 7]
"a b" = []

[[grant]]
package = "No_tes"
agents = ["group:analyst", "group:x", "ann", "ann", "a b"]
tools = ["read", "read"]
"#;
    insta::assert_snapshot!(errors(text), @r#"
    3:20 groups.analysts[1] `"ann"`
      ann is named twice
      help: leave one out
    3:27 groups.analysts[2] `7`
      expected a string, found an integer
    4:1 groups."a b" `"a b"`
      "a b" is not a valid group name: use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit
    7:11 grant[0].package `"No_tes"`
      "No_tes" is not a valid package name: use 1 to 64 of a-z, 0-9 and '-', beginning with a letter or digit
    8:11 grant[0].agents[0] `"group:analyst"`
      group analyst is not in this file's [groups]
      help: did you mean `group:analysts`?
    8:28 grant[0].agents[1] `"group:x"`
      group x is not in this file's [groups]
      help: add it to this file: [groups] x = ["…"]
    8:46 grant[0].agents[3] `"ann"`
      ann is named twice
      help: leave one out
    8:53 grant[0].agents[4] `"a b"`
      "a b" is not a valid principal name: use 1 to 64 of A-Z, a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit
    9:18 grant[0].tools[1] `"read"`
      read is named twice
      help: leave one out
    "#);
}

#[test]
fn folders() {
    let folder = |host: &str, guest: &str, rest: &str| {
        format!("[[grant.filesystem]]\nhost_path = \"{host}\"\nguest_path = \"{guest}\"\n{rest}\n")
    };
    let bad = |host, guest, rest| errors(&with(&folder(host, guest, rest)));
    let read = "access = \"read\"";
    insta::assert_snapshot!(bad("missing", "/a", read), @r#"
    5:13 grant[0].filesystem[0].host_path `"missing"`
      "/home/ann/missing" does not exist
      help: make the folder first; a relative host_path begins at the folder of the grants file
    "#);
    insta::assert_snapshot!(bad("link", "/a", read), @r#"
    5:13 grant[0].filesystem[0].host_path `"link"`
      "/home/ann/link" is a symlink
      help: write the path that the symlink leads to
    "#);
    insta::assert_snapshot!(bad("/home", "/a", read), @r#"
    5:13 grant[0].filesystem[0].host_path `"/home"`
      "/home" contains "/home/ann/.portcullis", which no tool may reach
      help: grant a folder further down
    "#);
    insta::assert_snapshot!(bad("a", "/../a", "access = \"write\""), @r#"
    6:14 grant[0].filesystem[0].guest_path `"/../a"`
      "/../a" is not a guest path: it has a '.' or '..' component
      help: write an absolute path such as "/reports"
    7:10 grant[0].filesystem[0].access `"write"`
      "write" is not an access
      help: write access = "read" or access = "read-write"
    "#);
    insta::assert_snapshot!(bad("a", "/a", "access = \"read\"\nquota = \"1MiB\"\nfiles_max = 3"), @r#"
    8:9 grant[0].filesystem[0].quota `"1MiB"`
      `quota` is unenforceable where nothing can be written
      help: leave it out, or write access = "read-write"
    9:13 grant[0].filesystem[0].files_max `3`
      `files_max` is unenforceable where nothing can be written
      help: leave it out, or write access = "read-write"
    "#);
    insta::assert_snapshot!(bad("a", "/a", "access = \"read-write\"\nquota = \"2TiB\"\nfiles_max = 0"), @r#"
    8:9 grant[0].filesystem[0].quota `"2TiB"`
      `quota` is 2199023255552 bytes, above the ceiling of 1099511627776
      help: write at most "1TiB"
    9:13 grant[0].filesystem[0].files_max `0`
      `files_max` is 0, which would allow nothing
      help: write at least 1, or leave it out for the default
    "#);
    insta::assert_snapshot!(errors(&with(&format!("{}{}", folder("a", "/a", read), folder("b", "/a", read)))), @r#"
    10:14 grant[0].filesystem[1].guest_path `"/a"`
      "/a" is given twice in this grant
      help: leave one out
    "#);
    insta::assert_snapshot!(errors(&with("[grant.filesystem]\nhost_path = \"a\"\n")), @r#"
    4:1 grant[0].filesystem `[grant.filesystem]`
      expected a list of tables, found a table
      help: write it in double brackets: [[grant.filesystem]]
    "#);
    insta::assert_snapshot!(errors(&with("[[grant.filesystem]]\n")), @r#"
    4:1 grant[0].filesystem[0].host_path `[[grant.filesystem]]`
      `host_path` is missing
    4:1 grant[0].filesystem[0].guest_path `[[grant.filesystem]]`
      `guest_path` is missing
    4:1 grant[0].filesystem[0].access `[[grant.filesystem]]`
      `access` is missing
    "#);
}

#[test]
fn host_folders_overlap_only_where_the_outer_one_is_read() {
    let two = |outer: &str, inner: &str| {
        with(&format!(
            "[[grant.filesystem]]\nhost_path = \"a/b\"\nguest_path = \"/inner\"\naccess = \"{inner}\"\n\
             [[grant.filesystem]]\nhost_path = \"a\"\nguest_path = \"/outer\"\naccess = \"{outer}\"\n"
        ))
    };
    for inner in ["read", "read-write"] {
        assert!(parse(&two("read", inner)).is_ok(), "{inner}");
        assert!(parse(&two("read-write", inner)).is_err(), "{inner}");
    }
    let beside = two("read-write", "read-write").replace("\"a/b\"", "\"ab\"");
    assert!(parse(&beside).is_ok(), "a name that begins alike is not inside");
    insta::assert_snapshot!(errors(&two("read-write", "read")), @r#"
    9:13 grant[0].filesystem[1].host_path `"a"`
      "/home/ann/a/b" lies inside "/home/ann/a", which "/outer" lets the tool write: access and quota could not be enforced
      help: grant folders that do not overlap, or give the outer one access = "read"
    "#);
}

#[test]
fn a_guest_path_is_one_folder_in_all_grants_of_a_package() {
    let grant = |package: &str, host: &str| {
        format!(
            "[[grant]]\npackage = \"{package}\"\nagents = [\"ann\"]\n\
             filesystem = [{{ host_path = \"{host}\", guest_path = \"/a\", access = \"read\" }}]\n"
        )
    };
    assert!(parse(&format!("{}{}", grant("notes", "a"), grant("notes", "a"))).is_ok());
    assert!(parse(&format!("{}{}", grant("notes", "a"), grant("fetch", "b"))).is_ok());
    insta::assert_snapshot!(errors(&format!("{}{}", grant("notes", "a"), grant("notes", "b"))), @r#"
    8:29 grant[1].filesystem[0].host_path `"b"`
      /a is "/home/ann/b" here, but "/home/ann/a" in grant[0].filesystem[0]
      help: the grants of one package add up: give each folder a guest path of its own
    "#);
}

#[test]
fn what_is_not_toml_and_what_is_too_much() {
    insta::assert_snapshot!(errors(""), @r#"
    1:1  ``
      the file has neither [[grant]] nor [groups]
      help: write a [[grant]] with package and agents
    "#);
    insta::assert_snapshot!(errors("[[grant]]\npackage = notes\nagents = [\"ann\"\n"), @r#"
    2:11 grant[0].package `notes`
      not valid TOML: invalid float, expected `nan`
      help: texts are written in quotes
    3:16 grant[0].agents ``
      not valid TOML: unclosed array, expected `]`
    "#);
    let long = "#".repeat(GRANTS_FILE_BYTES_MAX + 1);
    insta::assert_snapshot!(errors(&long), @r#"
    1:1  ``
      the file has 1048577 bytes, at most 1048576 are read
      help: split it by package
    "#);
    assert!(parse(&format!("[groups]\n#{}", "x".repeat(GRANTS_FILE_BYTES_MAX - 10))).is_ok());
    let many = |count: usize| "[[grant]]\npackage = \"a\"\nagents = [\"b\"]\n".repeat(count);
    assert_eq!(parse(&many(GRANTS_PER_FILE_MAX)).map(|file| file.grants.len()), Ok(GRANTS_PER_FILE_MAX));
    insta::assert_snapshot!(errors(&many(GRANTS_PER_FILE_MAX + 1)), @r#"
    3001:1 grant[1000] `[[grant]]`
      the file has 1001 grants, at most 1000 are read
      help: split it by package
    "#);
    let deep = format!("a = {}", "[".repeat(10_000));
    assert!(parse(&deep).is_err());
    let keys: String = (0..500).map(|number| format!("k{number} = 1\n")).collect();
    assert_eq!(parse(&keys).map_err(|errors| errors.len()), Err(reader::DIAGNOSTICS_MAX));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// No text makes the parser panic or point outside of the text.
    #[test]
    fn any_text_is_answered(text in "(\\[\\[?(grant|groups|grant\\.filesystem)\\]?\\]|[a-z_é]{1,9}( = |\\.)|[\\[\\]{}\"',=#\n \\PC]|\"group:[a-z]\"|[0-9:TZ-]{1,9}){0,40}") {
        if let Err(diagnostics) = parse(&text) {
            for diagnostic in diagnostics {
                assert!(text.get(diagnostic.span.clone()).is_some(), "{diagnostic:?}");
            }
        }
    }
}

/// The worst texts of the largest size are answered within seconds, not minutes.
#[test]
fn a_large_bad_file_is_answered_soon() {
    let agents: String = (0..100_000).map(|number| format!("\"a{number}\",")).collect();
    let groups: String = (0..60_000).map(|number| format!("g{number}=[]\n")).collect();
    let selectors: String = (0..20_000).map(|number| format!("\"group:h{number}\",")).collect();
    let texts = [
        "]\n".repeat(500_000),
        "a=1\n".repeat(250_000),
        format!("[[grant]]\npackage = \"a\"\nagents = [{agents}]\n"),
        format!("[groups]\n{groups}[[grant]]\npackage = \"a\"\nagents = [{selectors}]\n"),
        format!("a{} = 1\n", ".a".repeat(400_000)),
    ];
    for text in texts {
        assert!(text.len() <= GRANTS_FILE_BYTES_MAX, "{}", text.len());
        let start = std::time::Instant::now();
        let _ = parse(&text);
        let seconds = start.elapsed().as_secs();
        assert!(seconds < 20, "{seconds} s for {}", &text[..20]);
    }
}

#[test]
fn rules_of_http_have_defaults_and_one_line() {
    let shown = |rule: &str| {
        let text = with(&format!("[[grant.http]]\n{rule}\n"));
        parse(&text).unwrap_or_else(|error| panic!("{error:?}")).grants[0].terms.rules[0].to_string()
    };
    assert_eq!(
        shown("hosts = ['API.example.com.']\nmethods = ['GET']"),
        "GET https://{api.example.com}:443 /**"
    );
    assert_eq!(
        shown("hosts = ['a.test']\nschemes = ['http']\nmethods = ['GET']"),
        "GET http://{a.test}:80 /**"
    );
    assert_eq!(
        shown(
            "hosts = ['*.a.test', '127.1']\nschemes = ['https', 'http']\nmethods = ['PUT', 'GET']\n\
             paths = ['/v1/**', '/%7euser']\nquery = ['page']\naddresses = ['10.0.0.0/8']\nrequests_per_minute = 60"
        ),
        "GET, PUT http, https://{127.0.0.1, *.a.test}:80, 443 /v1/**, /~user, query keys: page, \
         also in 10.0.0.0/8, 60 a minute"
    );
    assert_eq!(
        shown("hosts = ['a.test']\nmethods = ['GET']\nquery = []"),
        "GET https://{a.test}:443 /**, query keys: none"
    );
}

#[test]
fn what_a_rule_of_http_can_not_mean_is_refused_with_what_to_write() {
    let refused = |rule: &str, expected: &str| {
        let errors = errors(&with(&format!("[[grant.http]]\n{rule}\n")));
        assert!(errors.contains(expected), "{rule}: {errors}");
    };
    let with_host = |more: &str| format!("hosts = ['a.test']\nmethods = ['GET']\n{more}");
    refused("methods = ['GET']", "`hosts` is missing");
    refused("hosts = ['a.test']", "`methods` is missing");
    refused("hosts = []\nmethods = ['GET']", "the list is empty, so the rule would allow nothing");
    // Case 104.
    refused("hosts = ['a.test:443']\nmethods = ['GET']", "write the host here, and the port in `ports`");
    refused("hosts = ['https://a.test']\nmethods = ['GET']", "write only the host");
    refused("hosts = ['*']\nmethods = ['GET']", "has a star where none can be");
    refused("hosts = ['a.test', 'A.test.']\nmethods = ['GET']", "this is in the list twice");
    refused("hosts = ['a.test']\nmethods = ['get']", "write it in capitals");
    refused("hosts = ['a.test']\nmethods = ['CONNECT']", "CONNECT makes a tunnel");
    refused("hosts = ['a.test']\nmethods = ['*']", "there is no word for all");
    refused(&with_host("schemes = ['ftp']"), "is not a scheme");
    refused(&with_host("ports = [0]"), "a port is a number from 1 to 65535");
    refused(&with_host("ports = [65536]"), "a port is a number from 1 to 65535");
    refused(&with_host("ports = []"), "the list is empty");
    refused(&with_host("paths = ['v1']"), "does not begin with a slash");
    refused(&with_host("paths = ['/a/../b']"), "matches no request");
    refused(&with_host("paths = ['/a?b']"), "query keys are given in `query`");
    refused(&with_host("addresses = ['10.0.0.1']"), "is not a network in CIDR notation");
    refused(&with_host("addresses = ['10.0.0.1/8']"), "write \"10.0.0.0/8\"");
    refused(&with_host("requests_per_minute = 0"), "this is a number from 1 to 4294967295");
    refused(&with_host("host = 'a'"), "did you mean `hosts`?");
    refused(&with_host("inject = {}"), "this is not one place to inject a secret into");
}
