//! One record of the log as one line for people. `--json` shows what the log really says.

use super::show::standing::quotas_text;
use crate::audit::event::{
    AcceptedCall, ApprovalRule, Attempt, CallContext, CallEnd, CallOutcome, CallsRefused, Decision,
    DropReason, Event, HostCall, HostCallOutcome, HostCallResult, LeakAction, OutletTrouble, QuotasSet,
    Record, SecretInjected, SecretLeak, ServeSettingsRead,
};
use crate::ids::IssuerName;
use crate::text::clean_line;

/// How much of any one text is shown.
const TEXT_BYTES_MAX: usize = 300;

/// The record in one line.
pub(super) fn line(record: &Record) -> String {
    let (name, what) = event(&record.event);
    // Milliseconds are enough for people.
    let time = record.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let call = record.event.call().map_or_else(String::new, |call| short(&call.to_string()));
    format!("{:>6}  {time}  {call:>8}  {name:<16} {what}", record.seq).trim_end().to_owned()
}

/// The end of a call's id, which is random; its beginning is a time.
fn short(call: &str) -> String {
    call.chars().skip(call.len().saturating_sub(8)).collect()
}

pub(super) fn event(event: &Event) -> (&'static str, String) {
    match event {
        Event::HostStarted { version, pid, engine } => {
            let engine = engine.as_ref().map(|engine| format!(", {}", text(engine))).unwrap_or_default();
            ("host_started", format!("version {}, process {pid}{engine}", text(version)))
        }
        Event::HostStopped { .. } => ("host_stopped", String::new()),
        Event::Recovered { torn_bytes, quarantine, interrupted } => {
            let calls = interrupted.len();
            let kept =
                quarantine.as_ref().map(|file| format!(", kept in {}", text(file))).unwrap_or_default();
            ("recovered", format!("{torn_bytes} torn bytes{kept}, {calls} calls had been interrupted"))
        }
        Event::SegmentStarted { open, .. } => {
            ("segment_started", format!("{} calls are running", open.len()))
        }
        Event::SegmentSealed { first, last, file, bytes, text_bytes, .. } => {
            let file = text(file);
            ("segment_sealed", format!("records {first} to {last}: {file}, {bytes} bytes of {text_bytes}"))
        }
        Event::TextDropped { through, because } => {
            let because = match because {
                DropReason::Age => "it is old",
                DropReason::Size => "it takes too much room",
            };
            ("text_dropped", format!("up to record {through}: {because}"))
        }
        Event::SegmentsAlarm { reason } => ("segments_alarm", text(reason)),
        Event::SegmentsRecovered => {
            ("segments_recovered", "closed segments are as they should be".to_owned())
        }
        Event::OutletAlarm { name, kind, because, reason } => {
            let because = match because {
                OutletTrouble::Lags => "lags",
                OutletTrouble::Disagrees => "says that the log is not what it was",
            };
            let reason = reason.as_ref().map(|reason| format!(": {}", text(reason))).unwrap_or_default();
            ("outlet_alarm", format!("{} `{name}` {because}{reason}", kind.name()))
        }
        Event::OutletRecovered { name, kind } => {
            ("outlet_recovered", format!("{} `{name}` works again", kind.name()))
        }
        Event::OutletLost { name, records, through } => {
            ("outlet_lost", format!("ship `{name}` never got {records} records, up to {through}"))
        }
        Event::KeyRotated { key, by } => ("key_rotated", format!("to {} by {by}", text(key))),
        Event::PackageAdded { package, version, digest, bytes, signatures, identities, source, by } => {
            let from =
                source.as_ref().map(|source| format!(" from {}", text(source.as_str()))).unwrap_or_default();
            let keys = signatures.iter().map(|key| format!(", signature of key {key}"));
            let named =
                identities.iter().map(|identity| format!(", bundle of {}", text(&identity.to_string())));
            let signed: String = keys.chain(named).collect();
            (
                "package_added",
                format!("{package} {} {digest}, {bytes} bytes{signed}{from}, by {by}", text(version)),
            )
        }
        Event::PackageRefused { digest, reason, by } => {
            ("package_refused", format!("{digest} by {by}: {}", text(reason)))
        }
        Event::PackageApproved { package, digest, signers, downgrade, rule, by } => {
            let signed: String = signers.iter().map(|signer| format!(", signed by {signer}")).collect();
            let back = if *downgrade { ", back to an earlier version" } else { "" };
            let rule = match rule {
                Some(ApprovalRule::SameOrNarrower) => ", by rule: it asks for no more",
                None => "",
            };
            ("package_approved", format!("{package} {digest}{signed}{back}{rule}, by {by}"))
        }
        Event::PackageRemoved { package, digest, by } => {
            let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
            ("package_removed", format!("{package}{digest} by {by}"))
        }
        Event::ArtifactRefused { digest, reason } => {
            ("artifact_refused", format!("{digest}: {}; compiled anew", text(reason)))
        }
        Event::GrantsChanged { revision, granted, revoked, by } => (
            "grants_changed",
            format!("revision {revision}: granted {}, revoked {}, by {by}", list(granted), list(revoked)),
        ),
        Event::HostFrozen { revision, because, by } => {
            ("host_frozen", format!("revision {revision}, by {by}: {}", text(because.as_str())))
        }
        Event::HostThawed { revision, by } => ("host_thawed", format!("revision {revision}, by {by}")),
        Event::PackageQuarantined { revision, package, digest, because, by } => {
            let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
            let what = format!("{package}{digest}, revision {revision}, by {by}: {}", text(because.as_str()));
            ("package_quarantined", what)
        }
        Event::PackageReleased { revision, package, digest, by } => {
            let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
            ("package_released", format!("{package}{digest}, revision {revision}, by {by}"))
        }
        Event::PrincipalAdded { revision, name, role, note, by } => {
            let note = note.as_ref().map(|note| format!(": {}", text(note.as_str()))).unwrap_or_default();
            ("principal_added", format!("{name} as {role}, revision {revision}, by {by}{note}"))
        }
        Event::QuotasSet(set) => {
            let QuotasSet { revision, subject, quotas, by } = &**set;
            ("quotas_set", format!("of {subject}: {}, revision {revision}, by {by}", quotas_text(quotas)))
        }
        Event::PrincipalRemoved { revision, name, by } => {
            ("principal_removed", format!("{name}, revision {revision}, by {by}"))
        }
        Event::TrustChanged { revision, sha256, keys, revoked, by } => {
            let policy = match sha256 {
                Some(sha256) => format!("{keys} keys, {revoked} revoked, SHA-256 {sha256}"),
                None => "no trust policy any more".to_owned(),
            };
            ("trust_changed", format!("revision {revision}: {policy}, by {by}"))
        }
        Event::SecretSet { revision, name, by } => {
            ("secret_set", format!("{name}, revision {revision}, by {by}"))
        }
        Event::SecretRemoved { revision, name, by } => {
            ("secret_removed", format!("{name}, revision {revision}, by {by}"))
        }
        Event::ApiKeyCreated { revision, key, name, role, expires, by } => {
            let until = expires.map(|at| format!(" until {at}")).unwrap_or_default();
            ("api_key_created", format!("{key} for {name} as {role}{until}, revision {revision}, by {by}"))
        }
        Event::ApiKeyRotated { revision, key, replaces, name, by } => (
            "api_key_rotated",
            format!("{key} in place of {replaces}, for {name}, revision {revision}, by {by}"),
        ),
        Event::ApiKeyRevoked { revision, key, name, by } => {
            ("api_key_revoked", format!("{key} of {name}, revision {revision}, by {by}"))
        }
        Event::AuthenticationFailed { reason, peer, key, issuer, tries } => {
            let peer = peer.map_or_else(|| "several addresses".to_owned(), |peer| peer.to_string());
            let key = key.as_ref().map(|key| format!(" with {key}")).unwrap_or_default();
            let of = issuer.as_ref().map(|name| format!(" with a token of {name}")).unwrap_or_default();
            ("authentication_failed", format!("{tries} from {peer}{key}{of}: {reason}"))
        }
        Event::ServeSettingsRead(ServeSettingsRead { cause, issuers, certificates, reason, by, .. }) => {
            let names = issuers.iter().map(IssuerName::as_str).collect::<Vec<_>>().join(", ");
            let believed = match (issuers.is_empty(), certificates) {
                (true, 0) => String::new(),
                (_, certificates) => format!("; tokens of [{names}], {certificates} client certificates"),
            };
            let reason = reason.as_ref().map(|reason| format!(": {}", text(reason))).unwrap_or_default();
            ("serve_settings_read", format!("{}, by {by}{believed}{reason}", cause.name()))
        }
        Event::EvidenceOpened { call, payloads, by } => {
            let whole = if *payloads { "what was kept of " } else { "the salt of " };
            ("evidence_opened", format!("{whole}{call}, by {by}"))
        }
        Event::EvidenceErased { name, keys, by } => {
            let keys = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            ("evidence_erased", format!("of {name}, keys {keys}, by {by}"))
        }
        Event::PayloadErased { call, by } => {
            ("payload_erased", format!("what was kept whole of {call}, by {by}"))
        }
        Event::StateCleared { revision, package, agent, store, by } => {
            let whose =
                agent.as_ref().map_or_else(|| "all agents".to_owned(), |agent| format!("agent {agent}"));
            ("state_cleared", format!("store {store} of {package} for {whose}, revision {revision}, by {by}"))
        }
        Event::BackupTaken { by } => ("backup_taken", format!("up to here, by {by}")),
        Event::Restored { made_at, revision, record, by } => (
            "restored",
            format!("from the backup of {made_at}, record {record}, revision {revision}, by {by}"),
        ),
        Event::CallAccepted(AcceptedCall { call, principal, package, tool, argument_bytes, by }) => (
            "call_accepted",
            format!("{call} {package} {tool} as {principal}, {argument_bytes} bytes, by {by}"),
        ),
        Event::CallCancelled { call, by } => ("call_cancelled", format!("{call}, by {by}")),
        Event::CallDenied { call, principal, package, tool, denial, .. } => {
            ("call_denied", format!("{call} {package} {tool} as {principal}: {}", text(&denial.to_string())))
        }
        Event::CallsRefused(CallsRefused { principal, package, reached, calls }) => {
            let who = match (principal, package) {
                (Some(principal), Some(package)) => format!(" of {package} as {principal}"),
                (principal, _) => principal.as_ref().map(|who| format!(" as {who}")).unwrap_or_default(),
            };
            ("calls_refused", format!("{calls} calls{who}: {reached}"))
        }
        Event::CallAdmitted { context, grants, argument_bytes, .. } => {
            let CallContext { call, principal, package, tool, revision, parent, .. } = &**context;
            let grants = list(grants);
            let parent = parent.map(|parent| format!(", for {parent}")).unwrap_or_default();
            let what = format!(
                "{call} {package} {tool} as {principal}, grants {grants} of revision {revision}, {argument_bytes} bytes{parent}"
            );
            ("call_admitted", what)
        }
        Event::HostCall { host_call, .. } => ("host_call", observed(host_call)),
        Event::EffectAttempted { attempt, .. } => ("effect_attempted", attempted(attempt)),
        Event::EffectFinished { attempt, result, .. } => {
            ("effect_finished", format!("of {attempt}: {}", came(result)))
        }
        Event::SecretInjected { injected, .. } => {
            let SecretInjected { secret, into, replaced } = injected;
            let replaced = if *replaced { ", in place of the tool's own" } else { "" };
            ("secret_injected", format!("secret {secret} into {}{replaced}", text(into)))
        }
        Event::SecretLeak { leak, .. } => {
            let SecretLeak { secret, found_as, place, action } = leak;
            let action = match action {
                LeakAction::Redacted => "redacted",
                LeakAction::Refused => "refused",
            };
            ("secret_leak", format!("secret {secret} in {}, as {}: {action}", place.name(), found_as.name()))
        }
        Event::CallFinished { end, .. } => ("call_finished", ended(end)),
    }
}

fn observed(call: &HostCall) -> String {
    let HostCall { interface, function, subject, decision, result, repeats, fuel: _ } = call;
    let repeats = repeats.map(|repeats| format!(", {} times", repeats.count)).unwrap_or_default();
    let subject = subject.as_deref().map(|subject| format!(" {}", text(subject))).unwrap_or_default();
    let (decided, came) = (decided(decision), came(result));
    format!("{} {}{subject}: {decided}, {came}{repeats}", text(interface), text(function))
}

fn attempted(attempt: &Attempt) -> String {
    let Attempt { interface, function, subject, decision, bytes_out, fuel: _ } = attempt;
    let subject = subject.as_deref().map(|subject| format!(" {}", text(subject))).unwrap_or_default();
    let bytes = if *bytes_out == 0 { String::new() } else { format!(", {bytes_out} bytes out") };
    format!("{} {}{subject}: {}{bytes}", text(interface), text(function), decided(decision))
}

pub(super) fn decided(decision: &Decision) -> String {
    match decision {
        Decision::Allowed(rule) => format!("allowed by {}", text(rule)),
        Decision::Denied(rule) => format!("denied by {}", text(rule)),
    }
}

pub(super) fn came(result: &HostCallResult) -> String {
    let mut came = match &result.outcome {
        HostCallOutcome::Ok => "ok".to_owned(),
        HostCallOutcome::Error(error) => format!("error {}", text(error)),
        HostCallOutcome::Unknown => "unknown".to_owned(),
        HostCallOutcome::Trapped(reason) => format!("trapped: {}", text(reason)),
    };
    for (bytes, way) in [(result.bytes_in, "in"), (result.bytes_out, "out")] {
        if bytes > 0 {
            came.push_str(&format!(", {bytes} bytes {way}"));
        }
    }
    came
}

pub(super) fn ended(end: &CallEnd) -> String {
    let outcome = match &end.outcome {
        CallOutcome::Ok => "ok".to_owned(),
        CallOutcome::ToolError { message } => format!("tool error: {}", text(message)),
        CallOutcome::BadInput { message } => format!("bad input: {}", text(message)),
        CallOutcome::LimitReached(reached) => reached.to_string(),
        CallOutcome::Cancelled => "cancelled".to_owned(),
        CallOutcome::Stopped { stop } => format!("stopped: {}", text(&stop.to_string())),
        CallOutcome::Withheld { secret } => format!("withheld: it would have given away secret {secret}"),
        CallOutcome::Interrupted => "interrupted".to_owned(),
        CallOutcome::HostFault { message } => format!("host fault: {}", text(message)),
    };
    let usage = super::show::usage(&end.usage);
    format!("{outcome} · {usage} · {} records before", end.records)
}

pub(super) fn text(text: &str) -> String {
    clean_line(text, TEXT_BYTES_MAX)
}

pub(super) fn list(ids: &[crate::ids::GrantId]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        line(&serde_json::from_str(json).expect("a record"))
    }

    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let context = r#""call":"01890a5d-ac96-774b-bcce-b302099a8057","principal":"a","package":"p","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","tool":"t","revision":3"#;
        let admitted = format!(
            r#"{{"seq":7,"time":"2026-01-02T03:04:05.678901Z","event":"call_admitted",{context},"grants":[1,2],"argument_bytes":12}}"#
        );
        insta::assert_snapshot!(shown(&admitted), @r##"     7  2026-01-02T03:04:05.678Z  099a8057  call_admitted    01890a5d-ac96-774b-bcce-b302099a8057 p t as a, grants 1 2 of revision 3, 12 bytes"##);
        let read = format!(
            r#"{{"seq":8,"time":"2026-01-02T03:04:05.679Z","event":"host_call",{context},"interface":"wasi:filesystem/types","function":"[method]descriptor.open-at","subject":"/p/\u001b]52;c;x\u0007\nevil","decision":"denied","rule":"no grant","outcome":"error","error":"access","duration_ns":5}}"#
        );
        insta::assert_snapshot!(shown(&read), @r##"     8  2026-01-02T03:04:05.679Z  099a8057  host_call        wasi:filesystem/types [method]descriptor.open-at /p/ evil: denied by no grant, error access"##);
    }
}
