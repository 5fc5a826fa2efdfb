//! Two grants files, and what the second means for each agent.

use super::*;
use crate::package::{ToolDescription, ToolExport};
use crate::policy::agents::{new_agents, unusable_agents};
use crate::policy::parse::{GrantsFile, PathCheck, PathProblem, parse_grants};
use crate::policy::standing::{Principal, Role, Standing};

struct AnyFolder;

impl PathCheck for AnyFolder {
    fn check(&self, host_path: &str) -> Result<PathBuf, PathProblem> {
        Ok(PathBuf::from("/srv").join(host_path))
    }
}

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: fmt::Debug,
{
    text.parse().expect("a valid name")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

fn file(text: &str) -> GrantsFile {
    parse_grants(text, &AnyFolder).expect("a good file")
}

/// The file in force, its grants numbered from `first`.
fn policy(text: &str, first: u64) -> Policy {
    let GrantsFile { grants, groups, .. } = file(text);
    let grant = |(id, entry): (u64, crate::policy::GrantEntry)| Grant {
        id: GrantId(id),
        digest: PackageDigest::of(entry.package.as_str().as_bytes()),
        package: entry.package,
        terms: entry.terms,
    };
    let grants = (first..).zip(grants).map(grant).collect();
    Policy { revision: Revision(1), grants, groups, ..Policy::default() }
}

fn description(capabilities: BTreeSet<Capability>) -> PackageDescription {
    let tool = |name: &str| ToolDescription {
        name: id(name),
        description: String::new(),
        input_schema: serde_json::json!({}),
        output_schema: None,
        export: ToolExport::Listed,
    };
    PackageDescription {
        tools: vec![tool("read"), tool("write")],
        imports: Vec::new(),
        capabilities,
        size: Default::default(),
        compile: None,
        left_out: Vec::new(),
    }
}

/// What changes, one line each: `agent package + what` or `- what`.
fn told(before: &Policy, after: &Policy) -> Vec<String> {
    let files = description(BTreeSet::from([Capability::Filesystem, Capability::Tools]));
    let (notes, fetch): (PackageName, PackageName) = (id("notes"), id("fetch"));
    let bytes = |name: &PackageName| PackageDigest::of(name.as_str().as_bytes());
    let approved = Approved::from([(&notes, (bytes(&notes), &files)), (&fetch, (bytes(&fetch), &files))]);
    let diff =
        diff(before, after, &approved, &BTreeSet::from([&notes, &fetch]), &HostLimits::default(), now());
    let mut lines = Vec::new();
    for AgentDiff { agent, package, widens, narrows } in diff.agents {
        for (sign, changes) in [('+', widens), ('-', narrows)] {
            for ToolChange { tools, change } in changes {
                let tools = tools.map_or_else(String::new, |tools| format!(" ({tools:?})"));
                lines.push(format!("{agent} {package} {sign} {change}{tools}"));
            }
        }
    }
    lines
}

fn grant(more: &str) -> String {
    format!("[[grant]]\npackage = \"notes\"\nagents = [\"ann\"]\n{more}\n")
}

fn change(before: &str, after: &str) -> Vec<String> {
    told(&policy(&grant(before), 1), &policy(&grant(after), 2))
}

#[test]
fn what_is_the_same_under_other_numbers_changes_nothing_for_anyone() {
    assert_eq!(change("limits = { fuel = 5 }", "limits = { fuel = 5 }"), [""; 0]);
}

#[test]
fn each_change_of_power_is_told_in_its_direction() {
    let read = "[[grant.filesystem]]\nhost_path = \"a\"\nguest_path = \"/a\"\naccess = \"read\"";
    let write = "[[grant.filesystem]]\nhost_path = \"a\"\nguest_path = \"/a\"\naccess = \"read-write\"";
    let other = "[[grant.filesystem]]\nhost_path = \"b\"\nguest_path = \"/a\"\naccess = \"read\"";
    let small = format!("{write}\nquota = 10");
    let large = format!("{write}\nquota = 11");
    let early = "expires = 2030-01-01T00:00:00Z";
    let late = "expires = 2031-01-01T00:00:00Z";
    let one = "[[grant.invoke]]\npackage = \"fetch\"\ntools = [\"read\"]";
    let (second, hour) = ("[grant.clock]\nresolution = \"1s\"", "[grant.clock]\nresolution = \"1h\"");
    let pairs: [(&str, &str, &[&str], &[&str]); 10] = [
        (
            "limits = { fuel = 5 }",
            "limits = { fuel = 6 }",
            &["fuel: 6 wasmtime fuel instead of 5"],
            &["fuel: 5 wasmtime fuel instead of 6"],
        ),
        (
            early,
            late,
            &["call expires: 2031-01-01T00:00:00Z instead of 2030-01-01T00:00:00Z"],
            &["call expires: 2030-01-01T00:00:00Z instead of 2031-01-01T00:00:00Z"],
        ),
        (
            early,
            "",
            &["call expires: never instead of 2030-01-01T00:00:00Z"],
            &["call expires: 2030-01-01T00:00:00Z instead of never"],
        ),
        ("", read, &["read /a"], &["read /a"]),
        ("", one, &["call read of package fetch"], &["call read of package fetch"]),
        (read, write, &["/a: read and write instead of read"], &["/a: read instead of read and write"]),
        (&small, &large, &["/a: 11 bytes instead of 10"], &["/a: 10 bytes instead of 11"]),
        ("tools = [\"read\"]", "", &["call ([\"write\"])"], &["call ([\"write\"])"]),
        (
            second,
            "",
            &["the exact time instead of the time in steps of 1000 ms"],
            &["the time in steps of 1000 ms instead of the exact time"],
        ),
        (
            hour,
            second,
            &["the time in steps of 1000 ms instead of the time in steps of 3600000 ms"],
            &["the time in steps of 3600000 ms instead of the time in steps of 1000 ms"],
        ),
    ];
    for (less, more, widens, narrows) in pairs {
        let line = |sign: char, text: &&str| format!("ann notes {sign} {text}");
        let expected: Vec<String> = widens.iter().map(|text| line('+', text)).collect();
        assert_eq!(change(less, more), expected, "{less} to {more}");
        let expected: Vec<String> = narrows.iter().map(|text| line('-', text)).collect();
        assert_eq!(change(more, less), expected, "{more} to {less}");
    }
    assert_eq!(
        change(read, other),
        ["ann notes + /a is /srv/b instead of /srv/a", "ann notes - /a is /srv/b instead of /srv/a"]
    );
    assert_eq!(
        change("tools = [\"read\"]", "tools = [\"write\"]"),
        ["ann notes + call ([\"write\"])", "ann notes - call ([\"read\"])"]
    );
}

/// Grants add up, so that a grant which begins may change nothing, and one that ends neither.
#[test]
fn the_sum_of_grants_is_compared_not_their_texts() {
    let small = grant("limits = { fuel = 5 }");
    let large = grant("limits = { fuel = 9 }");
    let both = format!("{small}{large}");
    assert_eq!(told(&policy(&large, 2), &policy(&both, 1)), [""; 0]);
    assert_eq!(
        told(&policy(&both, 1), &policy(&small, 1)),
        ["ann notes - fuel: 5 wasmtime fuel instead of 9"]
    );
    // What the larger one gives ends sooner, although the call does not.
    let sooner = format!("{small}{}", grant("limits = { fuel = 9 }\nexpires = 2030-01-01T00:00:00Z"));
    assert_eq!(
        told(&policy(&both, 1), &policy(&sooner, 3)),
        ["ann notes - fuel expires: 2030-01-01T00:00:00Z instead of never"]
    );
    // The exact clock ends sooner, although the call does not.
    let coarse = grant("[grant.clock]\nresolution = \"1s\"");
    let exact = format!("{coarse}{}", grant(""));
    let sooner = format!("{coarse}{}", grant("expires = 2030-01-01T00:00:00Z"));
    assert_eq!(
        told(&policy(&exact, 1), &policy(&sooner, 3)),
        ["ann notes - clock expires: 2030-01-01T00:00:00Z instead of never"]
    );
}

#[test]
fn groups_bring_agents_in_and_out() {
    let with = |members: &str| {
        format!(
            "[groups]\nreaders = [{members}]\n[[grant]]\npackage = \"fetch\"\nagents = [\"group:readers\"]\n"
        )
    };
    let (before, after) = (policy(&with("\"ann\", \"bob\""), 1), policy(&with("\"bob\", \"cleo\""), 1));
    assert_eq!(told(&before, &after), ["ann fetch - call", "cleo fetch + call"]);
    let found = diff(&before, &after, &Approved::new(), &BTreeSet::new(), &HostLimits::default(), now());
    assert_eq!((found.changes, found.groups), (true, vec![id("readers")]));
}

#[test]
fn what_gives_nothing_is_not_told() {
    let expired = grant("expires = 2020-01-01T00:00:00Z");
    assert_eq!(told(&Policy::default(), &policy(&expired, 1)), [""; 0]);
    let mut other_bytes = policy(&grant(""), 1);
    other_bytes.grants[0].digest = PackageDigest::of(b"former bytes");
    assert_eq!(told(&other_bytes, &policy(&grant(""), 2)), ["ann notes + call"]);
}

#[test]
fn removed_principals_and_auditors_are_errors_and_new_names_are_pointed_out() {
    let mut policy = policy(&grant(""), 1);
    for (name, role, standing) in [
        ("gone", Role::Agent, Standing::Removed),
        ("watcher", Role::Auditor, Standing::Added),
        ("bob", Role::Agent, Standing::Added),
    ] {
        let (name, by): (PrincipalId, _) = (id(name), id("root"));
        let principal = Principal { name: name.clone(), role, note: None, standing, by, since: now() };
        policy.principals.insert(name, principal);
    }
    let file = file(
        "[groups]\ng = [\"watcher\"]\n[[grant]]\npackage = \"notes\"\n\
         agents = [\"ann\", \"bob\", \"anne\", \"gone\", \"group:g\", \"zed\"]\n\
         [[grant]]\npackage = \"fetch\"\nagents = [\"zed\"]\n",
    );
    let lines = |diagnostics: Vec<Diagnostic>| -> String {
        let line = |found: &Diagnostic| format!("{found} ({})", found.help.as_deref().unwrap_or("-"));
        diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(lines(unusable_agents(&file, &policy)), @r#"
    2:6: groups.g[0]: principal watcher is registered as auditor; only agents call tools (leave it out, or give it the role of an agent first)
    5:33: grant[0].agents[3]: principal gone was removed by an admin, and may call nothing (leave it out, or let it call again first: portcullis principal add gone)
    "#);
    insta::assert_snapshot!(lines(new_agents(&file, &policy)), @r#"
    5:25: grant[0].agents[2]: agent anne is new: no grant has named it before (did you mean `ann`?)
    5:52: grant[0].agents[5]: agent zed is new: no grant has named it before (-)
    "#);
}
