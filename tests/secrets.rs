//! Secrets: stored encrypted, seen by a tool only where a grant says so, and kept from leaving in what the
//! host looks at.

mod injected;
mod leaving;
mod server;
mod stored;

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis::audit::event::{
    CallOutcome, Decision, Event, HostCallOutcome, LeakAction, LeakPlace, Record, SecretLeak,
};
use portcullis::authn::local_admin;
use portcullis::gateway::{CallAnswer, CallError, CallReport, HostError};
use portcullis::ids::CallId;
use portcullis::policy::{Loss, Stop};
use portcullis::sandbox::InvokeError;
use portcullis::secrets::{Encoding, SecretValue};
use serde_json::{Value, json};

use crate::harness::{World, end, grant, guest, read_log};

/// Its encodings differ in all that they can.
pub(crate) const VALUE: &str = "t0ken-\"with\\quotes\" & sl/sh+~?>";

pub(crate) const FORMS: [(&str, Encoding); 7] = [
    ("exact", Encoding::Exact),
    ("base64", Encoding::Base64),
    ("base64-url", Encoding::Base64),
    ("hex", Encoding::Hex),
    ("hex-upper", Encoding::Hex),
    ("percent", Encoding::Percent),
    ("json", Encoding::Json),
];

pub(crate) fn value(text: &str) -> SecretValue {
    SecretValue::new(text.as_bytes().to_vec()).expect("within the bounds")
}

impl World {
    pub(crate) async fn set_secret(&self, name: &str, text: &str) {
        let name = name.parse().expect("a name");
        self.host.set_secret(&local_admin(), name, &value(text)).await.expect("stored");
    }
}

/// A host with a stored secret, and a tool that may do what `rules` say.
async fn world(rules: &str) -> World {
    let world = World::new().await;
    world.add("secret-holder", guest("secret-holder")).await;
    world.set_secret("github", VALUE).await;
    world.grant(&format!("{}{rules}", grant("secret-holder"))).await;
    world
}

const SEES: &str = "[[grant.secrets]]\nname = \"github\"\n";
const SEES_AND_REFUSES: &str = "[[grant.secrets]]\nname = \"github\"\non_leak = \"refuse\"\n";

fn report(result: &Result<CallAnswer, CallError>) -> &CallReport {
    match result {
        Ok(answer) => &answer.report,
        Err(CallError::Failed { report, .. }) => report,
        Err(error) => panic!("{error}"),
    }
}

/// The leaks of a call, as the log has them.
pub(crate) fn leaks(records: &[Record]) -> Vec<SecretLeak> {
    let leak = |record: &Record| match &record.event {
        Event::SecretLeak { leak, .. } => Some(leak.clone()),
        _ => None,
    };
    records.iter().filter_map(leak).collect()
}

/// What the log says of `portcullis:tool/secrets`.
fn uses(records: &[Record]) -> Vec<String> {
    let mut lines = Vec::new();
    for record in records {
        match &record.event {
            Event::EffectAttempted { attempt, .. } if attempt.interface == "portcullis:tool/secrets" => {
                let Decision::Allowed(rule) = &attempt.decision else { panic!("{attempt:?}") };
                lines.push(format!("{} by {rule}", attempt.subject.as_deref().unwrap_or_default()));
            }
            Event::EffectFinished { result, .. } => lines.push(match &result.outcome {
                HostCallOutcome::Error(error) => error.to_string(),
                other => format!("{other:?}"),
            }),
            Event::HostCall { host_call, .. } if host_call.interface == "portcullis:tool/secrets" => {
                lines.push(format!("{:?} {:?}", host_call.decision, host_call.result.outcome));
            }
            _ => {}
        }
    }
    lines
}

/// Nothing that was written or answered has the value in any form that is looked for.
#[track_caller]
pub(crate) fn is_nowhere_in(text: &[u8], secret: &str) {
    let (name, value) = ("any".parse().expect("a name"), value(secret));
    let patterns = portcullis::secrets::Patterns::new([(&name, &value, Default::default())]);
    let found = std::sync::Arc::new(patterns.expect("one")).find(text);
    assert_eq!(found, None, "{}", String::from_utf8_lossy(text));
    assert!(!text.windows(secret.len()).any(|window| window == secret.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_sees_what_a_grant_lets_it_see_and_each_use_is_recorded() {
    let world = world(SEES).await;
    let answer = world.call("secret-holder", "length", json!({"name": "github"})).await;
    assert_eq!(answer.as_ref().expect("an answer").answer.structured, Some(json!(VALUE.len())));
    let records = world.records(report(&answer).call);
    assert_eq!(uses(&records), ["github by grant 1 secrets 0", "Ok"]);
    // The denied twin: another name, and a name that is none.
    world.set_secret("other", "another value").await;
    for name in ["other", "nothing", "", "GitHub", "github\u{1b}[31m", "a b"] {
        let answer = world.call("secret-holder", "length", json!({"name": name})).await;
        let Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) = &answer else {
            panic!("{name}: {answer:?}")
        };
        assert_eq!(message, "not-permitted");
        let [line] = &uses(&world.records(report(&answer).call))[..] else { panic!("one record") };
        assert!(line.starts_with("Denied(\"not granted\")"), "{line}");
    }
    let log: Vec<u8> =
        world.all_records().iter().flat_map(|r| serde_json::to_vec(r).expect("json")).collect();
    is_nowhere_in(&log, VALUE);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grant_for_this_agent_a_tool_sees_nothing() {
    let world = world("").await;
    let answer = world.call("secret-holder", "length", json!({"name": "github"})).await;
    let Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) = &answer else {
        panic!("{answer:?}")
    };
    assert_eq!(message, "not-permitted");
    let [line] = &uses(&world.records(report(&answer).call))[..] else { panic!("one record") };
    assert!(line.starts_with("Denied"), "{line}");
    // Another agent's grant is not this one's.
    let others = format!("[[grant]]\npackage = \"secret-holder\"\nagents = [\"somebody\"]\n{SEES}");
    world.grant(&format!("{}{others}", grant("secret-holder"))).await;
    let answer = world.call("secret-holder", "length", json!({"name": "github"})).await;
    assert!(answer.is_err(), "{answer:?}");
    let answer = world.call_as("somebody", "secret-holder", "length", json!({"name": "github"})).await;
    assert!(answer.is_ok(), "{answer:?}");
}

/// Threat 64, where a grant says to redact: in each place and form a mark stands for the secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_given_away_is_redacted_in_each_place_and_form() {
    let world = world(SEES).await;
    for (place, told) in [
        ("result", LeakPlace::Result),
        ("error", LeakPlace::Error),
        ("stdout", LeakPlace::Stdout),
        ("stderr", LeakPlace::Stderr),
        ("log", LeakPlace::Log),
        ("subject", LeakPlace::Record),
        ("name", LeakPlace::Record),
        ("panic", LeakPlace::Stderr),
    ] {
        for (form, encoding) in FORMS {
            // Of the name of a secret, a record keeps what is legible.
            for before in ["", "a", "ab"] {
                let arguments = json!({"name": "github", "form": form, "place": place, "before": before});
                let answer = world.call("secret-holder", "give", arguments).await;
                let shown = shown(&answer);
                is_nowhere_in(shown.as_bytes(), VALUE);
                let call = report(&answer).call;
                let found = leaks(&world.records(call));
                let fits = |leak: &SecretLeak| {
                    (leak.secret.as_str(), leak.found_as, leak.place, leak.action)
                        == ("github", encoding, told, LeakAction::Redacted)
                };
                assert!(found.iter().any(fits), "{place} {form} after {before:?}: {found:?} {shown}");
                if told != LeakPlace::Record {
                    assert!(shown.contains("[secret github]"), "{place} {form}: {shown}");
                }
            }
        }
    }
    let log: Vec<u8> =
        world.all_records().iter().flat_map(|r| serde_json::to_vec(r).expect("json")).collect();
    is_nowhere_in(&log, VALUE);
}

/// All that an agent is given of a call.
fn shown(answer: &Result<CallAnswer, CallError>) -> String {
    let report = report(answer);
    let mut shown = format!("{}\n{}\n{}\n", report.stdout, report.stderr, report.log);
    match answer {
        Ok(answer) => shown.push_str(&serde_json::to_string(&answer.answer).expect("json")),
        Err(CallError::Failed { error: InvokeError::Tool { message, data }, .. }) => {
            shown
                .push_str(&format!("{message}\n{}", data.as_ref().map(Value::to_string).unwrap_or_default()));
        }
        Err(error) => shown.push_str(&error.to_string()),
    }
    shown
}

/// Threat 64, where a grant says to refuse: nothing of the call's answer leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_must_not_be_given_away_takes_the_answer_with_it() {
    let world = world(SEES_AND_REFUSES).await;
    for place in ["result", "error", "stdout", "stderr", "log", "panic"] {
        for (form, _) in FORMS {
            let arguments = json!({"name": "github", "form": form, "place": place, "before": "x"});
            let answer = world.call("secret-holder", "give", arguments).await;
            let Err(CallError::Failed { error: InvokeError::Withheld { secret }, .. }) = &answer else {
                panic!("{place} {form}: {answer:?}")
            };
            assert_eq!(secret.as_str(), "github");
            let shown = shown(&answer);
            is_nowhere_in(shown.as_bytes(), VALUE);
            let records = world.records(report(&answer).call);
            let found = leaks(&records);
            assert!(!found.is_empty() && found.iter().all(|leak| leak.action == LeakAction::Refused));
            assert_eq!(end(&records).outcome, CallOutcome::Withheld { secret: secret.clone() });
        }
    }
    // The twin: what gives nothing away is answered.
    let answer = world.call("secret-holder", "length", json!({"name": "github"})).await;
    let answer = answer.expect("an answer");
    assert!(leaks(&world.records(answer.report.call)).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_redacted_is_withheld() {
    let world = world(SEES).await;
    world.set_secret("pin", "9007199254").await;
    world.grant(&format!("{}[[grant.secrets]]\nname = \"pin\"\n", grant("secret-holder"))).await;
    let answer = world.call("secret-holder", "give-number", json!({"name": "pin"})).await;
    assert!(
        matches!(&answer, Err(CallError::Failed { error: InvokeError::Withheld { .. }, .. })),
        "{answer:?}"
    );
    is_nowhere_in(shown(&answer).as_bytes(), "9007199254");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_for_other_tools() {
    let world = world(&format!("{SEES}[[grant.invoke]]\npackage = \"secret-holder\"\n")).await;
    let arguments = json!({"name": "github", "form": "exact", "place": "arguments", "before": ""});
    let answer = world.call("secret-holder", "give", arguments).await;
    let Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) = &answer else {
        panic!("{answer:?}")
    };
    assert!(message.contains("not for other tools"), "{message}");
    let found = leaks(&world.records(report(&answer).call));
    assert!(
        found.iter().any(|leak| (leak.place, leak.action) == (LeakPlace::Arguments, LeakAction::Refused))
    );
    let calls: BTreeSet<CallId> =
        world.all_records().iter().filter_map(|record| record.event.call()).collect();
    assert_eq!(calls.len(), 1, "the other tool was not called");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_holds_a_secret_ends_when_that_is_replaced_or_removed() {
    let world = world(SEES).await;
    for change in ["replace", "remove"] {
        let hold = world.call("secret-holder", "hold", json!({"name": "github"}));
        let change = async {
            while !world.all_records().iter().any(|record| {
                matches!(&record.event, Event::EffectFinished { context, .. }
                    if world.host.running().iter().any(|call| call.context.call == context.call))
            }) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let started = std::time::Instant::now();
            let name = "github".parse().expect("a name");
            let changed = match change {
                "replace" => world.host.set_secret(&local_admin(), name, &value("a new value")).await,
                _ => world.host.remove_secret(&local_admin(), name).await,
            };
            (changed.expect("changed"), started)
        };
        let (answer, (changed, started)) = tokio::join!(hold, change);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let Err(CallError::Failed { error: InvokeError::Stopped(stop), report }) = answer else {
            panic!("{answer:?}")
        };
        let Stop::Narrowed { lost: Loss::Secret { name }, .. } = &stop else { panic!("{stop:?}") };
        assert_eq!((name.as_str(), changed.taken.stopped), ("github", vec![report.call]));
    }
    // A grant that names a secret which is gone gives nothing of it.
    let answer = world.call("secret-holder", "length", json!({"name": "github"})).await;
    let Err(CallError::Failed { error: InvokeError::Tool { message, .. }, .. }) = &answer else {
        panic!("{answer:?}")
    };
    assert_eq!(message, "unavailable");
    assert_eq!(uses(&world.records(report(&answer).call)), ["github by grant 1 secrets 0", "unavailable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grants_file_that_names_an_unknown_secret_is_refused_with_its_place() {
    let world = world("").await;
    let refused = |rules: &str| {
        let text = format!("{}{rules}", grant("secret-holder"));
        let world = &world;
        async move {
            match world.try_grant(&text).await {
                Err(HostError::Grants { diagnostics, .. }) => diagnostics
                    .iter()
                    .map(|found| {
                        format!(
                            "{} {}: {} ({})",
                            found.line,
                            found.key,
                            found.message,
                            found.help.clone().unwrap_or_default()
                        )
                    })
                    .collect::<Vec<_>>()
                    .join("\n"),
                other => panic!("{other:?}"),
            }
        }
    };
    for (rules, wanted) in [
        (
            "[[grant.secrets]]\nname = \"gihub\"\n",
            &["5 grant[0].secrets[0].name: there is no secret gihub (did you mean `github`?)"][..],
        ),
        (
            "[[grant.secrets]]\nname = \"stripe-key\"\n",
            &[
                "5 grant[0].secrets[0].name: there is no secret stripe-key (store it first: portcullis secret set stripe-key)",
            ],
        ),
        (
            "[[grant.secrets]]\nname = \"git hub\"\non_leak = \"warn\"\nvalue = \"x\"\n",
            &[
                "5 grant[0].secrets[0].name: \"git hub\" is not a valid secret name",
                "7 grant[0].secrets[0].value: unknown key",
            ],
        ),
        ("[[grant.secrets]]\non_leak = 1\n", &["grant[0].secrets[0].name: `name` is missing"]),
        (
            "[[grant.secrets]]\nname = \"github\"\non_leak = \"warn\"\n",
            &["6 grant[0].secrets[0].on_leak: \"warn\" is not what"],
        ),
        (
            &format!("{SEES}{SEES_AND_REFUSES}"),
            &["7 grant[0].secrets[1].name: secret github is given twice (leave one out)"],
        ),
    ] {
        let told = refused(rules).await;
        for wanted in wanted {
            assert!(told.contains(wanted), "{wanted}\nis not in\n{told}");
        }
    }
    assert!(read_log(&world.host.audit_folder()).iter().all(|record| record.event.call().is_none()));
}
