//! Each event as one line: its exact text, the way there and back, and hostile text.

use super::super::event::{
    AcceptedCall, ApprovalRule, CallEnd, CallsRefused, DropReason, LeakAction, LeakPlace, OpenCall,
    OutletKind, OutletTrouble, QuotasSet, Repeats, SecretInjected, SecretLeak, ServeSettingsRead,
    SettingsCause,
};
use super::super::line::{self, Admission, CallEntry, CallText};
use super::super::{LINE_BYTES_MAX, TEXT_BYTES_MAX};
use super::*;
use crate::audit::CheckpointKey;
use crate::audit::commitment::Committed;
use crate::authn::{Credential, Refused};
use crate::limits::{Limit, LimitReached};
use crate::policy::{Denial, Loss, QuotaSubject, Quotas, Role, Stop};
use crate::secrets::Encoding;

fn credential() -> Credential {
    Credential::Key("pcl_0123456789ab".parse().expect("a beginning"))
}

fn secret() -> crate::ids::SecretName {
    "github".parse().expect("a name")
}

fn call_id() -> CallId {
    "01900000-0000-7000-8000-000000000001".parse().expect("a call id")
}

fn committed() -> Committed {
    let commitment = format!("hmac-sha256:{}", "0f".repeat(32)).parse().expect("a commitment");
    Committed { commitment, key: 3 }
}

fn end(outcome: CallOutcome) -> Box<CallEnd> {
    let records_root = Some(tlog_tiles::record_hash(b"a line").into());
    let commitment = Some(committed().commitment);
    Box::new(CallEnd {
        outcome,
        records: 4,
        records_root,
        arguments_commitment: commitment,
        result_commitment: commitment,
        usage: Usage { fuel: 9, host_calls: 2, ..Usage::default() },
    })
}

/// One entry of each kind, with the event that it stands for.
fn entries(context: &Arc<CallContext>) -> Vec<(CallEntry, Event)> {
    let context = || Arc::clone(context);
    let denied = HostCall {
        decision: Decision::Denied(Cow::Borrowed("no grant of wasi:filesystem")),
        result: HostCallResult {
            outcome: HostCallOutcome::Error(Cow::Borrowed("access")),
            status: None,
            bytes_in: 3,
            bytes_out: 4,
            duration_ns: 5,
        },
        ..host_call(Some("/etc/passwd"))
    };
    let mut entries = vec![(
        CallEntry::Admitted(Box::new(Admission {
            grants: vec![GrantId(1), GrantId(7)],
            argument_bytes: 12,
            credential: Some(credential()),
            committed: Some(committed()),
        })),
        Event::CallAdmitted {
            context: context(),
            grants: vec![GrantId(1), GrantId(7)],
            argument_bytes: 12,
            credential: Some(credential()),
            arguments_commitment: Some(committed().commitment),
            salt_key: Some(committed().key),
        },
    )];
    let repeats = Some(Repeats { count: 3, until: Timestamp::UNIX_EPOCH });
    for host_call in [host_call(None), denied, HostCall { repeats, ..host_call(None) }] {
        let event = Event::HostCall { context: context(), host_call: host_call.clone() };
        entries.push((CallEntry::of_host_call(host_call), event));
    }
    let attempt = Attempt { bytes_out: 8, ..attempt("/notes/a") };
    let event = Event::EffectAttempted { context: context(), attempt: attempt.clone() };
    entries.push((CallEntry::EffectAttempted(Box::new(attempt)), event));
    for outcome in [HostCallOutcome::Unknown, HostCallOutcome::Trapped(Cow::Borrowed("fuel"))] {
        let (attempt, result) = (Sequence(4), result(outcome));
        let event = Event::EffectFinished { context: context(), attempt, result: result.clone() };
        entries.push((CallEntry::EffectFinished { attempt, result: Box::new(result) }, event));
    }
    let injected =
        SecretInjected { secret: secret(), into: "header authorization".to_owned(), replaced: true };
    let event = Event::SecretInjected { context: context(), injected: injected.clone() };
    entries.push((CallEntry::SecretInjected(injected), event));
    let leak = SecretLeak {
        secret: secret(),
        found_as: Encoding::Base64,
        place: LeakPlace::Stdout,
        action: LeakAction::Redacted,
    };
    let event = Event::SecretLeak { context: context(), leak: leak.clone() };
    entries.push((CallEntry::SecretLeak(leak), event));
    let outcomes = [
        CallOutcome::Withheld { secret: secret() },
        CallOutcome::Ok,
        CallOutcome::ToolError { message: "no such note".to_owned() },
        CallOutcome::LimitReached(LimitReached { limit: Limit::Fuel, value: 11, max: 10 }),
        CallOutcome::Cancelled,
        CallOutcome::Interrupted,
        CallOutcome::HostFault { message: "disk".to_owned() },
    ];
    for outcome in outcomes {
        let end = end(outcome);
        let event = Event::CallFinished { context: context(), end: end.clone() };
        entries.push((CallEntry::Finished(end), event));
    }
    entries
}

/// Both ways of keeping a host call are among [`entries`], so that the tests of lines hold for both.
#[test]
fn what_says_no_more_of_a_host_call_than_most_is_kept_small() {
    let host_calls = entries(&context())
        .into_iter()
        .filter(|(_, event)| matches!(event, Event::HostCall { .. }))
        .map(|(entry, _)| matches!(entry, CallEntry::PlainHostCall(_)));
    let kept: Vec<bool> = host_calls.collect();
    assert_eq!(kept, [true, false, false]);
}

/// One of each event that is not part of a call.
fn other_events() -> Vec<Event> {
    let by = || "root".parse().expect("a valid name");
    let key = CheckpointKey::new(&[7; 32]).expect("a key").public().to_owned();
    let package = || "notes".parse().expect("a valid name");
    let digest = PackageDigest::of(b"component");
    vec![
        Event::HostStarted {
            version: "1.2.3".to_owned(),
            pid: 77,
            engine: Some("wasmtime 48.0.8".to_owned()),
        },
        Event::HostStopped { latest: Timestamp::UNIX_EPOCH, revision: Revision(8) },
        Event::KeyRotated { key, by: by() },
        Event::Recovered {
            torn_bytes: 5,
            quarantine: Some("quarantine/9-1.torn".to_owned()),
            interrupted: vec![call_id()],
        },
        added(),
        Event::PackageRefused { digest, reason: "an unknown import".to_owned(), by: by() },
        Event::PackageApproved {
            package: package(),
            digest,
            signers: vec!["alice".parse().expect("a valid name")],
            downgrade: true,
            rule: Some(ApprovalRule::SameOrNarrower),
            by: by(),
        },
        Event::PackageRemoved { package: package(), digest: None, by: by() },
        Event::ArtifactRefused { digest, reason: "its MAC does not fit".to_owned() },
        Event::GrantsChanged {
            revision: Revision(4),
            granted: vec![GrantId(8)],
            revoked: vec![GrantId(7)],
            by: by(),
        },
        Event::SegmentStarted {
            latest: Timestamp::UNIX_EPOCH,
            revision: Revision(4),
            open: vec![OpenCall {
                context: context_of(call_id()),
                records: 1,
                roots: vec![tlog_tiles::record_hash(b"a line").into()],
                arguments_commitment: Some(committed().commitment),
            }],
        },
        Event::SegmentSealed {
            first: Sequence(0),
            last: Sequence(6),
            file: "00000000000000000000.jsonl.zst".to_owned(),
            bytes: 100,
            sha256: "0f".repeat(32),
            text_bytes: 1_000,
        },
        Event::TextDropped { through: Sequence(6), because: DropReason::Size },
        Event::SegmentsAlarm { reason: "the disk is full".to_owned() },
        Event::SegmentsRecovered,
        Event::OutletAlarm {
            name: "siem".parse().expect("a name"),
            kind: OutletKind::Ship,
            because: OutletTrouble::Lags,
            reason: Some("refused".to_owned()),
        },
        Event::OutletRecovered { name: "vault".parse().expect("a name"), kind: OutletKind::Anchor },
        Event::OutletLost { name: "siem".parse().expect("a name"), records: 3, through: Sequence(6) },
        Event::BackupTaken { by: by() },
        Event::Restored {
            made_at: Timestamp::UNIX_EPOCH,
            revision: Revision(4),
            record: Sequence(7),
            by: by(),
        },
        Event::EvidenceOpened { call: call_id(), payloads: true, by: by() },
        Event::EvidenceErased { name: by(), keys: vec![3, 7], by: by() },
        Event::PayloadErased { call: call_id(), by: by() },
        Event::AuthenticationFailed {
            reason: Refused::Expired,
            peer: Some("192.0.2.7".parse().expect("an address")),
            key: Some("pcl_0123456789ab".parse().expect("a beginning")),
            issuer: Some("corp".parse().expect("a name")),
            tries: 3,
        },
        Event::CallsRefused(CallsRefused {
            principal: Some("ann".parse().expect("a valid name")),
            package: Some(package()),
            reached: LimitReached { limit: Limit::PrincipalQueue, value: 65, max: 64 },
            calls: 3,
        }),
        Event::ServeSettingsRead(ServeSettingsRead {
            cause: SettingsCause::Refused,
            sha256: Some("0123456789abcdef".repeat(4)),
            issuers: vec!["corp".parse().expect("a name")],
            certificates: 2,
            reason: Some("line 3".to_owned()),
            by: by(),
        }),
        Event::CallAccepted(AcceptedCall {
            call: call_id(),
            principal: "ann".parse().expect("a valid name"),
            package: package(),
            tool: "search".parse().expect("a valid name"),
            argument_bytes: 2,
            by: "ann".parse().expect("a valid name"),
        }),
        Event::CallCancelled { call: call_id(), by: "ann".parse().expect("a valid name") },
        Event::CallDenied {
            call: call_id(),
            principal: "ann".parse().expect("a valid name"),
            package: package(),
            digest: Some(PackageDigest::of(b"component")),
            tool: "search".parse().expect("a valid name"),
            revision: Revision(4),
            parent: None,
            denial: Denial::Expired { grant: GrantId(7), expires: Timestamp::UNIX_EPOCH },
        },
    ]
}

/// One of each event that sets something beside grants and packages, and both ways of stopping a call.
fn standing_events() -> Vec<Event> {
    let by = || "root".parse().expect("a valid name");
    let (package, name) = (|| "notes".parse().expect("a name"), || "ann".parse().expect("a name"));
    let remark = || "it \"leaks\"".parse().expect("a remark");
    let digest = Some(PackageDigest::of(b"component"));
    let revision = Revision(4);
    let denial = Denial::Frozen { because: remark() };
    let lost = Loss::Quota { guest_path: "/notes".to_owned(), limit: Limit::FileBytes, from: 9, to: 8 };
    let stopped = |stop| Event::CallFinished {
        context: context_of(call_id()),
        end: end(CallOutcome::Stopped { stop }),
    };
    vec![
        Event::HostFrozen { revision, because: remark(), by: by() },
        Event::HostThawed { revision, by: by() },
        Event::PackageQuarantined { revision, package: package(), digest, because: remark(), by: by() },
        Event::PackageReleased { revision, package: package(), digest: None, by: by() },
        Event::PrincipalAdded { revision, name: name(), role: Role::Auditor, note: Some(remark()), by: by() },
        Event::PrincipalRemoved { revision, name: name(), by: by() },
        Event::QuotasSet(Box::new(QuotasSet {
            revision,
            subject: QuotaSubject::Principal(name()),
            quotas: Quotas {
                weight: Some(2.try_into().expect("a weight")),
                calls_per_minute: Some(60),
                ..Quotas::default()
            },
            by: by(),
        })),
        Event::SecretSet { revision, name: secret(), by: by() },
        Event::SecretRemoved { revision, name: secret(), by: by() },
        Event::ApiKeyCreated {
            revision,
            key: "pcl_0123456789ab".parse().expect("a beginning"),
            name: name(),
            role: Role::Agent,
            expires: Some(Timestamp::UNIX_EPOCH),
            by: by(),
        },
        Event::ApiKeyRotated {
            revision,
            key: "pcl_0123456789ab".parse().expect("a beginning"),
            replaces: "pcl_ba9876543210".parse().expect("a beginning"),
            name: name(),
            by: by(),
        },
        Event::ApiKeyRevoked {
            revision,
            key: "pcl_0123456789ab".parse().expect("a beginning"),
            name: name(),
            by: by(),
        },
        Event::StateCleared {
            revision,
            package: package(),
            agent: Some(name()),
            store: "cache".parse().expect("a name"),
            by: by(),
        },
        stopped(Stop::Denied { revision, denial }),
        stopped(Stop::Narrowed { revision, lost }),
        stopped(Stop::CredentialRevoked { revision }),
        Event::TrustChanged { revision, sha256: Some("0".repeat(64)), keys: 2, revoked: 1, by: by() },
        Event::TrustChanged { revision, sha256: None, keys: 0, revoked: 0, by: by() },
    ]
}

#[test]
fn what_an_admin_sets_and_what_it_stops_survives_its_line() {
    let mut text = String::new();
    for (seq, event) in (0..).zip(standing_events()) {
        let mut buffer = Vec::new();
        line::push_event(&mut buffer, Sequence(seq), Timestamp::UNIX_EPOCH, &event).expect("a line");
        let record = Record { seq: Sequence(seq), time: Timestamp::UNIX_EPOCH, event };
        assert!(record.event.revision().is_some(), "{record:?}");
        assert_eq!(serde_json::from_slice::<Record>(&buffer).expect("a record"), record);
        text += std::str::from_utf8(&buffer).expect("UTF-8");
    }
    let digest = PackageDigest::of(b"component").to_string();
    let usage =
        serde_json::to_string(&Usage { fuel: 9, host_calls: 2, ..Usage::default() }).expect("a usage");
    let text =
        text.replace(&digest, "DIGEST").replace("1970-01-01T00:00:00Z", "TIME").replace(&usage, "USAGE");
    insta::assert_snapshot!(text, @r#"
    {"seq":0,"time":"TIME","event":"host_frozen","revision":4,"because":"it \"leaks\"","by":"root"}
    {"seq":1,"time":"TIME","event":"host_thawed","revision":4,"by":"root"}
    {"seq":2,"time":"TIME","event":"package_quarantined","revision":4,"package":"notes","digest":"DIGEST","because":"it \"leaks\"","by":"root"}
    {"seq":3,"time":"TIME","event":"package_released","revision":4,"package":"notes","by":"root"}
    {"seq":4,"time":"TIME","event":"principal_added","revision":4,"name":"ann","role":"auditor","note":"it \"leaks\"","by":"root"}
    {"seq":5,"time":"TIME","event":"principal_removed","revision":4,"name":"ann","by":"root"}
    {"seq":6,"time":"TIME","event":"quotas_set","revision":4,"of_principal":"ann","quotas":{"weight":2,"calls_per_minute":60},"by":"root"}
    {"seq":7,"time":"TIME","event":"secret_set","revision":4,"name":"github","by":"root"}
    {"seq":8,"time":"TIME","event":"secret_removed","revision":4,"name":"github","by":"root"}
    {"seq":9,"time":"TIME","event":"api_key_created","revision":4,"key":"pcl_0123456789ab","name":"ann","role":"agent","expires":"TIME","by":"root"}
    {"seq":10,"time":"TIME","event":"api_key_rotated","revision":4,"key":"pcl_0123456789ab","replaces":"pcl_ba9876543210","name":"ann","by":"root"}
    {"seq":11,"time":"TIME","event":"api_key_revoked","revision":4,"key":"pcl_0123456789ab","name":"ann","by":"root"}
    {"seq":12,"time":"TIME","event":"state_cleared","revision":4,"package":"notes","agent":"ann","store":"cache","by":"root"}
    {"seq":13,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"stopped","stop":{"why":"denied","revision":4,"denial":{"reason":"frozen","because":"it \"leaks\""}},"records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":USAGE}
    {"seq":14,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"stopped","stop":{"why":"narrowed","revision":4,"lost":{"power":"quota","guest_path":"/notes","limit":"file_bytes","from":9,"to":8}},"records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":USAGE}
    {"seq":15,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"stopped","stop":{"why":"credential_revoked","revision":4},"records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":USAGE}
    {"seq":16,"time":"TIME","event":"trust_changed","revision":4,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","keys":2,"revoked":1,"by":"root"}
    {"seq":17,"time":"TIME","event":"trust_changed","revision":4,"keys":0,"revoked":0,"by":"root"}
    "#);
}

fn line_of(entry: &CallEntry, call: &CallText, seq: u64) -> String {
    let mut buffer = Vec::new();
    line::push_entry(&mut buffer, Sequence(seq), Timestamp::UNIX_EPOCH, call, entry).expect("a line");
    String::from_utf8(buffer).expect("UTF-8")
}

#[test]
fn every_event_survives_its_line_and_entries_are_what_serde_writes() {
    let context = context_of(call_id());
    let call = CallText::new(Arc::clone(&context));
    let mut text = String::new();
    for (seq, event) in (0..).zip(other_events()) {
        let mut buffer = Vec::new();
        line::push_event(&mut buffer, Sequence(seq), Timestamp::UNIX_EPOCH, &event).expect("a line");
        let record = Record { seq: Sequence(seq), time: Timestamp::UNIX_EPOCH, event };
        assert_eq!(serde_json::from_slice::<Record>(&buffer).expect("a record"), record);
        assert_eq!(line::sequence_of(&buffer), Some(Sequence(seq)));
        text += std::str::from_utf8(&buffer).expect("UTF-8");
    }
    for (seq, (entry, event)) in (10..).zip(entries(&context)) {
        let line = line_of(&entry, &call, seq);
        let record = Record { seq: Sequence(seq), time: Timestamp::UNIX_EPOCH, event };
        assert_eq!(line, format!("{}\n", serde_json::to_string(&record).expect("a line")));
        assert_eq!(serde_json::from_str::<Record>(&line).expect("a record"), record);
        text += &line;
    }
    let digest = PackageDigest::of(b"component").to_string();
    let text = text.replace(&digest, "DIGEST").replace("1970-01-01T00:00:00Z", "TIME");
    insta::assert_snapshot!(text, @r#"
    {"seq":0,"time":"TIME","event":"host_started","version":"1.2.3","pid":77,"engine":"wasmtime 48.0.8"}
    {"seq":1,"time":"TIME","event":"host_stopped","latest":"TIME","revision":8}
    {"seq":2,"time":"TIME","event":"key_rotated","key":"portcullis/ea4a6c63e29c520a+cc0940d0+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs","by":"root"}
    {"seq":3,"time":"TIME","event":"recovered","torn_bytes":5,"quarantine":"quarantine/9-1.torn","interrupted":["01900000-0000-7000-8000-000000000001"]}
    {"seq":4,"time":"TIME","event":"package_added","package":"notes","version":"1.0.0","digest":"DIGEST","bytes":9,"signatures":["0123456789ABCDEF"],"source":"oci://registry.example/notes","by":"root"}
    {"seq":5,"time":"TIME","event":"package_refused","digest":"DIGEST","reason":"an unknown import","by":"root"}
    {"seq":6,"time":"TIME","event":"package_approved","package":"notes","digest":"DIGEST","signers":["alice"],"downgrade":true,"rule":"same-or-narrower","by":"root"}
    {"seq":7,"time":"TIME","event":"package_removed","package":"notes","digest":null,"by":"root"}
    {"seq":8,"time":"TIME","event":"artifact_refused","digest":"DIGEST","reason":"its MAC does not fit"}
    {"seq":9,"time":"TIME","event":"grants_changed","revision":4,"granted":[8],"revoked":[7],"by":"root"}
    {"seq":10,"time":"TIME","event":"segment_started","latest":"TIME","revision":4,"open":[{"call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"records":1,"roots":["6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4="],"arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"}]}
    {"seq":11,"time":"TIME","event":"segment_sealed","first":0,"last":6,"file":"00000000000000000000.jsonl.zst","bytes":100,"sha256":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","text_bytes":1000}
    {"seq":12,"time":"TIME","event":"text_dropped","through":6,"because":"size"}
    {"seq":13,"time":"TIME","event":"segments_alarm","reason":"the disk is full"}
    {"seq":14,"time":"TIME","event":"segments_recovered"}
    {"seq":15,"time":"TIME","event":"outlet_alarm","name":"siem","kind":"ship","because":"lags","reason":"refused"}
    {"seq":16,"time":"TIME","event":"outlet_recovered","name":"vault","kind":"anchor"}
    {"seq":17,"time":"TIME","event":"outlet_lost","name":"siem","records":3,"through":6}
    {"seq":18,"time":"TIME","event":"backup_taken","by":"root"}
    {"seq":19,"time":"TIME","event":"restored","made_at":"TIME","revision":4,"record":7,"by":"root"}
    {"seq":20,"time":"TIME","event":"evidence_opened","call":"01900000-0000-7000-8000-000000000001","payloads":true,"by":"root"}
    {"seq":21,"time":"TIME","event":"evidence_erased","name":"root","keys":[3,7],"by":"root"}
    {"seq":22,"time":"TIME","event":"payload_erased","call":"01900000-0000-7000-8000-000000000001","by":"root"}
    {"seq":23,"time":"TIME","event":"authentication_failed","reason":"expired","peer":"192.0.2.7","key":"pcl_0123456789ab","issuer":"corp","tries":3}
    {"seq":24,"time":"TIME","event":"calls_refused","principal":"ann","package":"notes","limit":"principal_queue","value":65,"max":64,"calls":3}
    {"seq":25,"time":"TIME","event":"serve_settings_read","cause":"refused","sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","issuers":["corp"],"certificates":2,"reason":"line 3","by":"root"}
    {"seq":26,"time":"TIME","event":"call_accepted","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","tool":"search","argument_bytes":2,"by":"ann"}
    {"seq":27,"time":"TIME","event":"call_cancelled","call":"01900000-0000-7000-8000-000000000001","by":"ann"}
    {"seq":28,"time":"TIME","event":"call_denied","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":4,"denial":{"reason":"expired","grant":7,"expires":"TIME"}}
    {"seq":10,"time":"TIME","event":"call_admitted","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"grants":[1,7],"argument_bytes":12,"credential":{"key":"pcl_0123456789ab"},"arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","salt_key":3}
    {"seq":11,"time":"TIME","event":"host_call","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"interface":"wasi:clocks/wall-clock","function":"now","decision":"allowed","rule":"harmless","outcome":"ok","duration_ns":120,"fuel":0}
    {"seq":12,"time":"TIME","event":"host_call","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"interface":"wasi:clocks/wall-clock","function":"now","subject":"/etc/passwd","decision":"denied","rule":"no grant of wasi:filesystem","outcome":"error","error":"access","bytes_in":3,"bytes_out":4,"duration_ns":5,"fuel":0}
    {"seq":13,"time":"TIME","event":"host_call","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"interface":"wasi:clocks/wall-clock","function":"now","decision":"allowed","rule":"harmless","outcome":"ok","duration_ns":120,"fuel":0,"repeats":{"count":3,"until":"TIME"}}
    {"seq":14,"time":"TIME","event":"effect_attempted","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"interface":"wasi:filesystem/types","function":"[method]descriptor.unlink-file-at","subject":"/notes/a","decision":"allowed","rule":"grant 7 filesystem 0","bytes_out":8,"fuel":11}
    {"seq":15,"time":"TIME","event":"effect_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"attempt":4,"outcome":"unknown","duration_ns":120}
    {"seq":16,"time":"TIME","event":"effect_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"attempt":4,"outcome":"trapped","error":"fuel","duration_ns":120}
    {"seq":17,"time":"TIME","event":"secret_injected","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"secret":"github","into":"header authorization","replaced":true}
    {"seq":18,"time":"TIME","event":"secret_leak","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"secret":"github","found_as":"base64","place":"stdout","action":"redacted"}
    {"seq":19,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"withheld","secret":"github","records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":{"fuel":9,"wall_time_us":0,"memory_peak":0,"table_elements_peak":0,"host_calls":2,"copied_bytes_peak":0,"resources_peak":0,"output":0,"stdio":0,"log":0,"file_bytes_written":0,"file_bytes_read":0,"open_files_peak":0,"directory_entries_peak":0,"random_bytes_peak":0,"kv_bytes_peak":0,"kv_keys_peak":0,"http_requests":0,"http_bytes_in":0,"http_bytes_out":0,"connections_peak":0,"depth":0,"fan_out":0,"concurrency":0,"principal_concurrency":0,"host_concurrency":0,"queue_time_us":0}}
    {"seq":20,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"ok","records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":{"fuel":9,"wall_time_us":0,"memory_peak":0,"table_elements_peak":0,"host_calls":2,"copied_bytes_peak":0,"resources_peak":0,"output":0,"stdio":0,"log":0,"file_bytes_written":0,"file_bytes_read":0,"open_files_peak":0,"directory_entries_peak":0,"random_bytes_peak":0,"kv_bytes_peak":0,"kv_keys_peak":0,"http_requests":0,"http_bytes_in":0,"http_bytes_out":0,"connections_peak":0,"depth":0,"fan_out":0,"concurrency":0,"principal_concurrency":0,"host_concurrency":0,"queue_time_us":0}}
    {"seq":21,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"tool_error","message":"no such note","records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":{"fuel":9,"wall_time_us":0,"memory_peak":0,"table_elements_peak":0,"host_calls":2,"copied_bytes_peak":0,"resources_peak":0,"output":0,"stdio":0,"log":0,"file_bytes_written":0,"file_bytes_read":0,"open_files_peak":0,"directory_entries_peak":0,"random_bytes_peak":0,"kv_bytes_peak":0,"kv_keys_peak":0,"http_requests":0,"http_bytes_in":0,"http_bytes_out":0,"connections_peak":0,"depth":0,"fan_out":0,"concurrency":0,"principal_concurrency":0,"host_concurrency":0,"queue_time_us":0}}
    {"seq":22,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"limit_reached","limit":"fuel","value":11,"max":10,"records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":{"fuel":9,"wall_time_us":0,"memory_peak":0,"table_elements_peak":0,"host_calls":2,"copied_bytes_peak":0,"resources_peak":0,"output":0,"stdio":0,"log":0,"file_bytes_written":0,"file_bytes_read":0,"open_files_peak":0,"directory_entries_peak":0,"random_bytes_peak":0,"kv_bytes_peak":0,"kv_keys_peak":0,"http_requests":0,"http_bytes_in":0,"http_bytes_out":0,"connections_peak":0,"depth":0,"fan_out":0,"concurrency":0,"principal_concurrency":0,"host_concurrency":0,"queue_time_us":0}}
    {"seq":23,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"cancelled","records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":{"fuel":9,"wall_time_us":0,"memory_peak":0,"table_elements_peak":0,"host_calls":2,"copied_bytes_peak":0,"resources_peak":0,"output":0,"stdio":0,"log":0,"file_bytes_written":0,"file_bytes_read":0,"open_files_peak":0,"directory_entries_peak":0,"random_bytes_peak":0,"kv_bytes_peak":0,"kv_keys_peak":0,"http_requests":0,"http_bytes_in":0,"http_bytes_out":0,"connections_peak":0,"depth":0,"fan_out":0,"concurrency":0,"principal_concurrency":0,"host_concurrency":0,"queue_time_us":0}}
    {"seq":24,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"interrupted","records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":{"fuel":9,"wall_time_us":0,"memory_peak":0,"table_elements_peak":0,"host_calls":2,"copied_bytes_peak":0,"resources_peak":0,"output":0,"stdio":0,"log":0,"file_bytes_written":0,"file_bytes_read":0,"open_files_peak":0,"directory_entries_peak":0,"random_bytes_peak":0,"kv_bytes_peak":0,"kv_keys_peak":0,"http_requests":0,"http_bytes_in":0,"http_bytes_out":0,"connections_peak":0,"depth":0,"fan_out":0,"concurrency":0,"principal_concurrency":0,"host_concurrency":0,"queue_time_us":0}}
    {"seq":25,"time":"TIME","event":"call_finished","call":"01900000-0000-7000-8000-000000000001","principal":"ann","package":"notes","digest":"DIGEST","tool":"search","revision":3,"outcome":"host_fault","message":"disk","records":4,"records_root":"6cW4MQHBWkueZXT4L5Xw8FXqy5Yp5MOQz7ZwcttMgu4=","arguments_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","result_commitment":"hmac-sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","usage":{"fuel":9,"wall_time_us":0,"memory_peak":0,"table_elements_peak":0,"host_calls":2,"copied_bytes_peak":0,"resources_peak":0,"output":0,"stdio":0,"log":0,"file_bytes_written":0,"file_bytes_read":0,"open_files_peak":0,"directory_entries_peak":0,"random_bytes_peak":0,"kv_bytes_peak":0,"kv_keys_peak":0,"http_requests":0,"http_bytes_in":0,"http_bytes_out":0,"connections_peak":0,"depth":0,"fan_out":0,"concurrency":0,"principal_concurrency":0,"host_concurrency":0,"queue_time_us":0}}
    "#);
}

#[test]
fn hostile_text_stays_within_one_line() {
    let texts = [
        "a\nb\r\nc",
        "{\"seq\":9}\n{\"event\":\"host_stopped\"}",
        "\u{1b}]52;c;aGk=\u{7}\u{1b}[2J",
        "\u{2028}\u{2029}\u{85}\u{202e}\u{e0041}\u{0}",
        "ünï😀",
    ];
    let call = CallText::new(context());
    for text in texts {
        let entry = CallEntry::of_host_call(host_call(Some(text)));
        let line = line_of(&entry, &call, 1);
        assert_eq!(line.matches('\n').count(), 1, "{text:?}");
        assert!(!line.contains('\u{1b}') && !line.contains('\0') && !line.contains('\r'), "{line:?}");
        let record: Record = serde_json::from_str(&line).expect("a record");
        let Event::HostCall { host_call, .. } = record.event else { panic!("{line}") };
        assert_eq!(host_call.subject.as_deref(), Some(text));
    }
}

#[test]
fn long_text_is_cut_at_a_character_so_that_every_record_fits_a_line() {
    // A control character takes six bytes of JSON, the most that any does.
    let long = "\u{1}".repeat(100_000);
    let cow = || Cow::<'static, str>::Owned(long.clone());
    let mut entries = [
        CallEntry::of_host_call(HostCall {
            fuel: u64::MAX,
            interface: cow(),
            function: cow(),
            subject: Some(long.as_str().into()),
            decision: Decision::Denied(cow()),
            result: result(HostCallOutcome::Error(cow())),
            repeats: Some(Repeats { count: u64::MAX, until: Timestamp::MAX }),
        }),
        CallEntry::EffectAttempted(Box::new(Attempt {
            fuel: u64::MAX,
            interface: cow(),
            function: cow(),
            subject: Some("ä".repeat(50_000).into()),
            decision: Decision::Allowed(cow()),
            bytes_out: u64::MAX,
        })),
        CallEntry::EffectFinished {
            attempt: Sequence(1),
            result: Box::new(result(HostCallOutcome::Trapped(cow()))),
        },
        CallEntry::Finished(end(CallOutcome::ToolError { message: long.clone() })),
        CallEntry::Admitted(Box::new(Admission {
            grants: vec![GrantId(u64::MAX); line::GRANTS_MAX],
            argument_bytes: u64::MAX,
            credential: Some(Credential::Certificate("f".repeat(64).parse().expect("a digest"))),
            committed: Some(Committed { key: u64::MAX, ..committed() }),
        })),
    ];
    let call = CallText::new(context());
    for entry in &mut entries {
        line::bound(entry);
        let line = line_of(entry, &call, u64::MAX);
        assert!(line.len() <= LINE_BYTES_MAX, "{} bytes", line.len());
        assert!(matches!(entry, CallEntry::Admitted(_)) || line.contains("…[cut]"));
        assert!(serde_json::from_str::<Record>(&line).is_ok());
    }
    let CallEntry::EffectAttempted(attempt) = &entries[1] else { panic!() };
    let subject = attempt.subject.as_ref().expect("a subject");
    assert!(subject.len() <= TEXT_BYTES_MAX && subject.len() > TEXT_BYTES_MAX - 4);
}

/// Each event fits the published schema, and with anything more it does not.
#[test]
fn the_schema_has_all_that_records_have_and_nothing_else() {
    let schema = crate::audit::schema::record_schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let of_calls = entries(&context_of(call_id())).into_iter().map(|(_, event)| event);
    let mut kinds = std::collections::BTreeSet::new();
    for event in of_calls.chain(other_events()).chain(standing_events()) {
        let record = Record { seq: Sequence(7), time: Timestamp::UNIX_EPOCH, event };
        let mut json = serde_json::to_value(&record).expect("JSON");
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{json}: {errors:?}");
        kinds.insert(json["event"].as_str().expect("a kind").to_owned());
        json["more"] = true.into();
        assert!(!validator.is_valid(&json), "{json}");
        json.as_object_mut().expect("an object").remove("more");
        for member in json.as_object().expect("an object").keys() {
            let mut wrong = json.clone();
            wrong[member] = serde_json::json!([[]]);
            assert!(!validator.is_valid(&wrong), "{member} of {json}");
        }
    }
    let listed = schema["oneOf"].as_array().expect("a list").iter();
    let name = |kind: &serde_json::Value| {
        kind["$ref"].as_str().and_then(|path| path.rsplit('/').next()).expect("a reference").to_owned()
    };
    let listed: std::collections::BTreeSet<String> = listed.map(name).collect();
    assert!(kinds.is_subset(&listed), "{kinds:?}");
    let without_example: Vec<_> = listed.difference(&kinds).collect();
    assert!(without_example.is_empty(), "give an example of each kind of record: {without_example:?}");
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit-record.schema.json");
    let published = fs::read_to_string(published).expect("it is published");
    let published: serde_json::Value = serde_json::from_str(&published).expect("JSON");
    assert_eq!(published, schema, "run `portcullis audit schema > docs/audit-record.schema.json`");
}
