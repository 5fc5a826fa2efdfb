//! Every function that the host serves: a guest can't reach it, and `docs/completeness.md` says why; or
//! it is called here, with a folder to write, with one to read, and with none, and each time the guest
//! gets what it should, and the log has exactly the records that it should.
//!
//! The list of functions comes from `wit/`. One that is new fails here until the guest `every-function`
//! has a driver for it.

mod expected;
mod served;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use portcullis::audit::event::{Decision, Event, HostCallOutcome, Record};
use portcullis::gateway::{CallError, HostOptions};
use portcullis::sandbox::InvokeError;
use serde_json::{Value, json};

use self::expected::{Expected, Granted, expected, named};
use self::served::{Name, Served};
use crate::harness::network::{Manner, Names, Peer};
use crate::harness::web::Server;
use crate::harness::{AGENT, World, grant, guest, options, spans, wat};

/// The function that a driver is about: what stands before the space, if there is one.
fn function(driver: &str) -> &str {
    driver.split(' ').next().unwrap_or(driver)
}

/// The functions that are refused whatever is granted, and so give no handle.
fn refused(served: &Served) -> BTreeSet<Name> {
    let is_refused = |(name, signature): (&Name, _)| {
        let answer = expected(name, signature, Granted::ReadWrite);
        matches!(answer, Expected::Denied(_)).then(|| name.clone())
    };
    served.functions.iter().filter_map(is_refused).collect()
}

/// The part of `docs/completeness.md` that is derived from `wit/`.
fn unreached(served: &Served) -> String {
    let refused = refused(served);
    let (reached, held) = served.reachable(&refused);
    let mut resources: Vec<(&String, Vec<&Name>)> = Vec::new();
    for (name, signature) in served.functions.iter().filter(|(name, _)| !reached.contains(*name)) {
        let missing = signature.takes.difference(&held).next().expect("a handle is missing");
        match resources.iter_mut().find(|(resource, _)| *resource == missing) {
            Some((_, functions)) => functions.push(name),
            None => resources.push((missing, vec![name])),
        }
    }
    let mut text = format!(
        "{} functions are served; a guest can reach {} of them.\n",
        served.functions.len(),
        reached.len()
    );
    resources.sort();
    for (resource, functions) in resources {
        let givers = served.givers(resource).into_iter().map(|giver| {
            let why = if refused.contains(giver) { "is refused" } else { "can't be reached itself" };
            format!("`{giver}`, which {why}")
        });
        let givers: Vec<String> = givers.collect();
        let why = if givers.is_empty() { "nothing".to_owned() } else { givers.join(", and by ") };
        write!(text, "\n**`{resource}`** is given by {why}:\n").expect("text grows");
        let short = |name: &&Name| format!("`{}`", name.split('#').next_back().unwrap_or(name));
        writeln!(text, "{}", functions.iter().map(short).collect::<Vec<_>>().join(", ")).expect("text grows");
    }
    text
}

#[test]
fn what_can_not_be_reached_is_written_down() {
    let text = unreached(&Served::read());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/completeness.md");
    let document = std::fs::read_to_string(&path).expect("docs/completeness.md");
    let written = document.split("<!-- derived from wit/ -->\n").nth(1).unwrap_or_default();
    assert!(written.trim() == text.trim(), "docs/completeness.md must end, below its mark, with:\n\n{text}");
}

/// A granted folder as each driver finds it.
fn furnish(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a kind").is_dir() {
            std::fs::remove_dir(entry.path()).expect("it is empty");
        } else {
            std::fs::remove_file(entry.path()).expect("removed");
        }
    }
    std::fs::write(folder.join("file"), "some text in a file").expect("written");
    std::fs::write(folder.join("removable"), "").expect("written");
    std::fs::create_dir(folder.join("empty")).expect("made");
    std::os::unix::fs::symlink("file", folder.join("link")).expect("linked");
}

/// The records of one function: decisions and outcomes of what had no effect, and of what had.
#[derive(Debug, Default, PartialEq)]
struct Recorded {
    calls: Vec<(Decision, HostCallOutcome)>,
    attempts: Vec<Decision>,
    outcomes: Vec<HostCallOutcome>,
}

fn recorded(records: &[Record], function: &str) -> Recorded {
    let mut recorded = Recorded::default();
    let mut sequences = Vec::new();
    for record in records {
        match &record.event {
            Event::HostCall { host_call, .. }
                if format!("{}#{}", host_call.interface, host_call.function) == function =>
            {
                recorded.calls.push((host_call.decision.clone(), host_call.result.outcome.clone()));
            }
            Event::EffectAttempted { attempt, .. }
                if format!("{}#{}", attempt.interface, attempt.function) == function =>
            {
                recorded.attempts.push(attempt.decision.clone());
                sequences.push(record.seq);
            }
            Event::EffectFinished { attempt, result, .. } if sequences.contains(attempt) => {
                recorded.outcomes.push(result.outcome.clone());
            }
            _ => {}
        }
    }
    recorded
}

/// What a driver answered: the tag and the text.
fn said(answer: &Value) -> (&str, &str) {
    (answer["tag"].as_str().expect("a tag"), answer["value"].as_str().expect("a text"))
}

/// Why what came of a driver is not what was expected of it. `ended` says that the guest ended itself
/// instead of answering.
fn mistake(
    expected: Expected,
    answer: Option<(&str, &str)>,
    ended: bool,
    recorded: &Recorded,
) -> Option<&'static str> {
    let as_expected = match expected {
        Expected::Allowed | Expected::Effect => matches!(answer, Some(("ok", _))),
        Expected::Answers(error) | Expected::Denied(error) => answer == Some(("error", error)),
        Expected::NoHandle => matches!(answer, Some(("no-handle", _))),
        Expected::Ends => ended,
    };
    if !as_expected {
        return Some("the guest got something else");
    }
    let Recorded { calls, attempts, outcomes } = recorded;
    let well_recorded = match (expected, calls.as_slice(), attempts.as_slice(), outcomes.as_slice()) {
        (Expected::Allowed, [(Decision::Allowed(_), HostCallOutcome::Ok)], [], []) => true,
        (Expected::Answers(_), [(Decision::Allowed(_), HostCallOutcome::Error(_))], [], []) => true,
        (Expected::Denied(error), [(Decision::Denied(_), HostCallOutcome::Error(recorded))], [], []) => {
            *recorded == error
        }
        (Expected::Ends, [(Decision::Allowed(_), HostCallOutcome::Trapped(_))], [], []) => true,
        (Expected::Effect, [], [Decision::Allowed(_)], [HostCallOutcome::Ok]) => true,
        (Expected::NoHandle, [], [], []) => true,
        _ => false,
    };
    (!well_recorded).then_some("the records are others")
}

/// The comparison itself: what has no record, too many, or another decision is a mistake.
#[test]
fn a_mistake_is_seen() {
    let allowed = || (Decision::Allowed("a rule".into()), HostCallOutcome::Ok);
    let denied =
        |error: &'static str| (Decision::Denied("not granted".into()), HostCallOutcome::Error(error.into()));
    let of = |calls| Recorded { calls, ..Recorded::default() };
    let answered = |tag: &'static str, text: &'static str| Some((tag, text));
    let ok = answered("ok", "()");
    assert_eq!(mistake(Expected::Allowed, ok, false, &of(vec![allowed()])), None);
    for wrong in [vec![], vec![allowed(), allowed()], vec![denied("access-denied")]] {
        assert!(mistake(Expected::Allowed, ok, false, &of(wrong)).is_some());
    }
    let refused = answered("error", "access-denied");
    let expected = Expected::Denied("access-denied");
    assert_eq!(mistake(expected, refused, false, &of(vec![denied("access-denied")])), None);
    assert!(mistake(expected, ok, false, &of(vec![denied("access-denied")])).is_some());
    assert!(mistake(expected, answered("error", "other"), false, &of(vec![denied("other")])).is_some());
    assert!(mistake(expected, refused, false, &of(vec![allowed()])).is_some());
    let no_outcome = Recorded { attempts: vec![allowed().0], ..Recorded::default() };
    assert!(mistake(Expected::Effect, ok, false, &no_outcome).is_some());
    let whole = Recorded { outcomes: vec![HostCallOutcome::Ok], ..no_outcome };
    assert_eq!(mistake(Expected::Effect, ok, false, &whole), None);
    assert!(mistake(Expected::NoHandle, ok, false, &Recorded::default()).is_some());
    assert!(mistake(Expected::Ends, None, false, &Recorded::default()).is_some());
}

/// Three packages of the same bytes, each with what it is granted.
const PACKAGES: [(&str, Granted, &str); 3] = [
    ("read-write", Granted::ReadWrite, "access = \"read-write\"\nquota = \"1MiB\"\n"),
    ("read", Granted::Read, "access = \"read\"\n"),
    ("nothing", Granted::Nothing, ""),
];

/// Rules of every kind, for a package that has a folder.
fn rules(port: u16) -> String {
    let peer =
        format!("hosts = [\"127.0.0.1\", \"*.test\"]\nports = [{port}]\naddresses = [\"127.0.0.0/8\"]\n");
    format!(
        "[[grant.invoke]]\npackage = \"polite\"\n[[grant.secrets]]\nname = \"token\"\n[grant.config]\nkey = \"value\"\n[[grant.tcp]]\n{peer}[[grant.udp]]\n{peer}"
    )
}

/// All is done on one thread, so that wasmtime's own count of host calls can be compared as well.
#[tokio::test(flavor = "current_thread")]
async fn every_function_is_decided_and_recorded_granted_and_not() {
    let served = Served::read();
    let (peer, names) = (Peer::new(Manner::Echo), Arc::new(Names::default()));
    let server = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let authority = format!("echo.test:{}", server.port());
    names.answer("echo.test", &[&["127.0.0.1"]]);
    names.answer("port.test", &[&[&peer.port_as_address()]]);
    let options = HostOptions { resolver: names, ..options() };
    let world = World::open_in(tempfile::tempdir().expect("a temporary folder"), options).await;
    let folder = world.folder("papers");
    let mut grants = String::new();
    for (package, _, access) in PACKAGES {
        world.add(package, guest("every-function")).await;
        write!(grants, "[[grant]]\npackage = \"{package}\"\nagents = [\"{AGENT}\"]\n").expect("text grows");
        if !access.is_empty() {
            write!(
                grants,
                "[[grant.filesystem]]\nhost_path = \"papers\"\nguest_path = \"/papers\"\n{access}\
                 [[grant.keyvalue]]\nstore = \"store\"\nscope = \"agent\"\n{access}"
            )
            .expect("text grows");
            grants.push_str(&rules(peer.port));
            write!(
                grants,
                "[[grant.http]]\nhosts = [\"echo.test\"]\nschemes = [\"http\"]\nports = [{}]\nmethods = [\"GET\"]\n\
                 addresses = [\"127.0.0.1/32\"]\n",
                server.port()
            )
            .expect("text grows");
        }
    }
    // What is called by a guest calls nothing itself, so that the engine's count is the caller's alone.
    world.add("polite", wat("polite")).await;
    grants.push_str(&grant("polite"));
    world.set_secret("token", "the value of the token").await;
    world.grant(&grants).await;
    let drivers = world.value("nothing", "all", json!({})).await;
    let drivers: Vec<&str> = drivers.as_array().expect("a list").iter().filter_map(Value::as_str).collect();

    let driven: BTreeSet<Name> = drivers.iter().map(|driver| function(driver).to_owned()).collect();
    let (reachable, _) = served.reachable(&refused(&served));
    let (missing, useless): (Vec<_>, Vec<_>) =
        (reachable.difference(&driven).collect(), driven.difference(&reachable).collect());
    assert!(missing.is_empty() && useless.is_empty(), "without a driver: {missing:?}; useless: {useless:?}");
    let misnamed: Vec<_> = named().filter(|name| !drivers.contains(name)).collect();
    assert!(misnamed.is_empty(), "the table names what has no driver: {misnamed:?}");

    let mut mistakes = Vec::new();
    spans::collect();
    for driver in &drivers {
        let signature = &served.functions[function(driver)];
        for (package, granted, _) in PACKAGES {
            furnish(&folder);
            spans::take();
            let result = world.call(package, "call", json!({ "function": driver, "peer": authority })).await;
            let traced = spans::take();
            let call = match &result {
                Ok(answer) => answer.report.call,
                Err(CallError::Failed { report, .. }) => report.call,
                Err(error) => panic!("{driver}: {error}"),
            };
            let records = world.records(call);
            let recorded = recorded(&records, function(driver));
            let expected = expected(driver, signature, granted);
            let value = result.as_ref().ok().and_then(|answer| answer.answer.structured.as_ref());
            let answer = value.map(said);
            let ended = matches!(result, Err(CallError::Failed { error: InvokeError::Tool { .. }, .. }));
            let mistake = match traced == spans::recorded(&records) {
                true => mistake(expected, answer, ended, &recorded),
                false => Some("the engine saw other host calls than the log has"),
            };
            if let Some(mistake) = mistake {
                mistakes.push(format!(
                    "{driver}, {granted:?}: {mistake}. Expected {expected:?}: {result:?} {recorded:?}"
                ));
            }
        }
    }
    assert!(mistakes.is_empty(), "{} mistakes:\n{}", mistakes.len(), mistakes.join("\n"));
}
