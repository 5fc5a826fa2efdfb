//! Receipts and consistency proofs: each holds with the key alone, and nothing of it can be changed.

use std::time::Duration;

use super::*;
use crate::audit::checkpoint;
use crate::audit::consistency::{ConsistencyError, prove_consistency, verify_consistency};
use crate::audit::prove::{ProveError, prove_call};
use crate::audit::receipt::{Kept, RECEIPT_BYTES_MAX, Receipt, ReceiptError, verify_receipt};
use crate::audit::tree::{Frontier, leaf_of};
use crate::audit::{CheckpointKey, TreeHash, VerifierKey};
use crate::policy::Denial;

fn key() -> CheckpointKey {
    CheckpointKey::new(&[7; 32]).expect("any 32 bytes are a key")
}

fn public() -> VerifierKey {
    key().verifier().expect("its own public half")
}

fn options() -> LogOptions {
    LogOptions { checkpoints: Some(key()), engine: Some("wasmtime 1".to_owned()), ..LogOptions::default() }
}

fn note(folder: &Path) -> Vec<u8> {
    fs::read(checkpoint::path_of(folder)).expect("a checkpoint")
}

/// A log with some calls that went on at once, closed in good order, and their ids.
async fn log_of(calls: usize) -> (tempfile::TempDir, Vec<CallId>) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path(), options()).expect("opened");
    let mut recorders = Vec::new();
    for _ in 0..calls {
        recorders.push(begin(&log).await.expect("begun"));
    }
    let ids = recorders.iter().map(|recorder| recorder.context().call).collect();
    for round in 0..3 {
        for (recorder, number) in recorders.iter_mut().zip(0..) {
            if number % 3 >= round {
                recorder.observe(host_call(Some("/notes")), Instant::now()).expect("noted");
                let attempt = recorder.attempt(attempt("/notes/a")).await.expect("recorded");
                recorder.effect_finished(attempt, result(HostCallOutcome::Ok));
            }
        }
    }
    for recorder in recorders {
        recorder.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
    }
    log.close().await.expect("closed");
    (folder, ids)
}

fn prove(folder: &Path, call: CallId, with_records: bool) -> Result<Receipt, ProveError> {
    prove_call(folder, &public(), call, None, with_records, |_| {})
}

/// Waits until the newest checkpoint covers a call.
async fn until_covered(folder: &Path, call: CallId) {
    while matches!(prove(folder, call, false), Err(ProveError::NotCovered { .. })) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn text(receipt: &Receipt) -> Vec<u8> {
    serde_json::to_vec(receipt).expect("it serialises")
}

/// Count and root in each last record are those of the call's lines, however the calls' records lie between
/// one another, and so is what the receipt with the records says.
#[tokio::test]
async fn each_call_ends_with_count_and_root_of_its_own_records() {
    let (folder, calls) = log_of(7).await;
    let log = fs::read_to_string(first_segment(folder.path())).expect("text");
    for call in calls {
        let own: Vec<&str> = log.lines().filter(|line| line.contains(&call.to_string())).collect();
        let (last, before) = own.split_last().expect("records");
        let mut tree = Frontier::default();
        before.iter().for_each(|line| tree.push(leaf_of(line.as_bytes())).expect("it grows"));
        let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(last["records"], before.len());
        assert_eq!(last["records_root"], TreeHash::from(tree.root()).to_string());
        let receipt = prove(folder.path(), call, true).expect("proved");
        assert_eq!(receipt.records.as_deref().map(<[_]>::len), Some(before.len()));
        let verified = verify_receipt(&text(&receipt), &public().into(), None).expect("verified");
        assert_eq!(verified.own_records, Some(before.len() as u64));
        assert_eq!(verified.facts.engine.as_deref(), Some("wasmtime 1"));
        let pretty = serde_json::to_vec_pretty(&receipt).expect("JSON");
        assert!(verify_receipt(&pretty, &public().into(), None).is_ok(), "spaces say nothing");
    }
}

#[tokio::test]
async fn a_receipt_with_any_bit_flipped_or_cut_anywhere_is_refused() {
    let (folder, calls) = log_of(3).await;
    let mut whole = text(&prove(folder.path(), calls[1], true).expect("proved"));
    verify_receipt(&whole, &public().into(), None).expect("verified");
    for at in 0..whole.len() {
        for bit in 0..8 {
            whole[at] ^= 1 << bit;
            let verified = verify_receipt(&whole, &public().into(), None);
            assert!(verified.is_err(), "bit {bit} of byte {at}: {}", String::from_utf8_lossy(&whole));
            whole[at] ^= 1 << bit;
        }
    }
    for length in 0..whole.len() {
        assert!(verify_receipt(&whole[..length], &public().into(), None).is_err(), "{length}");
    }
}

#[tokio::test]
async fn a_receipt_that_says_more_than_its_records_is_refused_with_the_reason() {
    let (folder, calls) = log_of(3).await;
    let honest = prove(folder.path(), calls[0], true).expect("proved");
    let other = prove(folder.path(), calls[1], true).expect("proved");
    let refused =
        |receipt: &Receipt| verify_receipt(&text(receipt), &public().into(), None).expect_err("refused");
    let contradicts =
        |receipt: &Receipt| assert!(matches!(refused(receipt), ReceiptError::Contradicts { .. }));
    contradicts(&Receipt { call: other.call, ..honest.clone() });
    let mut altered = honest.clone();
    altered.facts.outcome = "denied".to_owned();
    contradicts(&altered);
    altered.facts = honest.facts.clone();
    altered.facts.engine = None;
    contradicts(&altered);
    // Proofs of other records, and of none.
    let mut altered = honest.clone();
    altered.record.proof = other.record.proof.clone();
    assert!(matches!(refused(&altered), ReceiptError::NotIncluded { .. }));
    let mut altered = honest.clone();
    altered.host.proof = vec![TreeHash::from(leaf_of(b"")); 10_000];
    assert!(matches!(refused(&altered), ReceiptError::NotIncluded { .. }));
    let swapped = Receipt { record: honest.host.clone(), host: honest.record.clone(), ..honest.clone() };
    assert!(matches!(refused(&swapped), ReceiptError::Malformed(_)));
    // Its own records: one missing, two exchanged, one of another call, one altered.
    let records = honest.records.clone().expect("given");
    let mut swapped = records.clone();
    swapped.swap(0, 1);
    let foreign = [&records[1..], &other.records.clone().expect("given")[..1]].concat();
    let edited = records.iter().map(|line| line.replace("/notes", "/other")).collect();
    for wrong in [records[1..].to_vec(), swapped, foreign, edited, Vec::new()] {
        let error = refused(&Receipt { records: Some(wrong), ..honest.clone() });
        assert!(matches!(error, ReceiptError::Records(_)), "{error}");
    }
    // Without them it holds as well.
    let short = text(&Receipt { records: None, ..honest.clone() });
    assert_eq!(verify_receipt(&short, &public().into(), None).expect("verified").own_records, None);
    // Of another key, of another form, and too large.
    let stranger = CheckpointKey::new(&[8; 32]).expect("a key").verifier().expect("a key");
    let error = verify_receipt(&text(&honest), &stranger.clone().into(), None).expect_err("refused");
    assert!(matches!(error, ReceiptError::OtherLog { .. }), "{error}");
    let renamed = Receipt { origin: stranger.origin().to_owned(), ..honest.clone() };
    let error = verify_receipt(&text(&renamed), &stranger.clone().into(), None).expect_err("refused");
    assert!(matches!(error, ReceiptError::Checkpoint { .. }), "{error}");
    let form = Receipt { format: "portcullis-receipt/2".to_owned(), ..honest.clone() };
    assert!(matches!(refused(&form), ReceiptError::Format { .. }));
    let huge = vec![b' '; RECEIPT_BYTES_MAX + 1];
    let error = verify_receipt(&huge, &public().into(), None).expect_err("refused");
    assert_eq!(error, ReceiptError::TooLarge { bytes: RECEIPT_BYTES_MAX + 1 });
    let deep = [b"{\"format\":".as_slice(), &b"[".repeat(1_000_000)].concat();
    assert!(matches!(verify_receipt(&deep, &public().into(), None), Err(ReceiptError::Malformed(_))));
}

/// The same records under another log's checkpoint, signed with the same key, as a host that forks would have it.
#[tokio::test]
async fn a_receipt_of_a_forked_log_is_held_against_a_checkpoint_that_was_kept() {
    let ((honest, calls), (fork, forked)) = (log_of(3).await, log_of(3).await);
    let kept = note(honest.path());
    let against =
        |receipt: &Receipt, kept: Kept<'_>| verify_receipt(&text(receipt), &public().into(), Some(kept));
    let receipt = prove(honest.path(), calls[0], false).expect("proved");
    let plain = |checkpoint| Kept { checkpoint, consistency: None };
    let held = against(&receipt, plain(&kept)).expect("the same log");
    assert_eq!(held.held_against, Some(held.covered));
    let lie = prove(fork.path(), forked[0], false).expect("proved");
    verify_receipt(&text(&lie), &public().into(), None).expect("by itself it holds");
    let error = against(&lie, plain(&kept)).expect_err("refused");
    assert!(matches!(error, ReceiptError::Forked { .. }), "{error}");
    let moved = Receipt { checkpoint: String::from_utf8(kept.clone()).expect("text"), ..lie };
    let error = verify_receipt(&text(&moved), &public().into(), None).expect_err("refused");
    assert!(matches!(error, ReceiptError::NotIncluded { .. }), "{error}");

    // The log grows: what was kept is bridged by a proof, in both directions.
    let log = Log::open(honest.path(), options()).expect("opened");
    whole_call(&log).await.expect("recorded");
    log.close().await.expect("closed");
    let later = prove(honest.path(), calls[0], false).expect("proved");
    let error = against(&later, plain(&kept)).expect_err("refused");
    assert!(matches!(error, ReceiptError::NeedsConsistency { .. }), "{error}");
    let proof = prove_consistency(honest.path(), &public(), &kept, None).expect("proved");
    let proof = serde_json::to_vec(&proof).expect("JSON");
    let bridged = Kept { checkpoint: &kept, consistency: Some(&proof) };
    assert!(against(&later, bridged).expect("bridged").covered > held.covered);
    let newest = note(honest.path());
    against(&receipt, Kept { checkpoint: &newest, consistency: Some(&proof) }).expect("the other way");
    // Against an earlier checkpoint, as long as it covers the call.
    let earlier = prove_call(honest.path(), &public(), calls[0], Some(&kept), false, |_| {}).expect("proved");
    assert_eq!(earlier, receipt);
    // A proof of the forked log bridges nothing.
    let log = Log::open(fork.path(), options()).expect("opened");
    let before = note(fork.path());
    whole_call(&log).await.expect("recorded");
    log.close().await.expect("closed");
    let lie = serde_json::to_vec(&prove_consistency(fork.path(), &public(), &before, None).expect("proved"));
    let error = against(&later, Kept { checkpoint: &kept, consistency: Some(&lie.expect("JSON")) });
    assert!(matches!(error, Err(ReceiptError::Consistency(_))), "{error:?}");
    let fresh = prove_consistency(honest.path(), &public(), &before, None);
    assert!(
        matches!(fresh, Err(ProveError::Consistency(ConsistencyError::Inconsistent { .. }))),
        "{fresh:?}"
    );
}

#[tokio::test]
async fn what_can_not_be_proved_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path(), options()).expect("opened");
    let early = note(folder.path());
    let unknown = CallId::generate();
    assert!(matches!(prove(folder.path(), unknown, false), Err(ProveError::NoSuchCall { .. })));
    let mut running = begin(&log).await.expect("begun");
    let call = running.context().call;
    running.flush().await.expect("handed over");
    whole_call(&log).await.expect("recorded");
    assert!(matches!(prove(folder.path(), call, false), Err(ProveError::NotFinished { .. })));
    running.finish(CallOutcome::Ok, Usage::default()).await.expect("recorded");
    // Beside a running host, a checkpoint follows soon after the answer.
    until_covered(folder.path(), call).await;
    prove(folder.path(), call, true).expect("proved");
    let before = prove_call(folder.path(), &public(), call, Some(&early), false, |_| {});
    assert!(matches!(before, Err(ProveError::NotCovered { .. })), "{before:?}");
    // A denial is a call's only record.
    let denied = CallId::generate();
    let event = Event::CallDenied {
        call: denied,
        principal: "ann".parse().expect("a name"),
        package: "notes".parse().expect("a name"),
        digest: Some(PackageDigest::of(b"component")),
        tool: "search".parse().expect("a name"),
        revision: Revision(3),
        parent: None,
        denial: Denial::Frozen { because: "an audit".parse().expect("a remark") },
    };
    log.append(event).await.expect("recorded");
    let receipt = prove(folder.path(), denied, true).expect("proved");
    let verified = verify_receipt(&text(&receipt), &public().into(), None).expect("verified");
    assert_eq!((verified.facts.outcome.as_str(), verified.facts.records), ("denied", None));
    log.close().await.expect("closed");

    // A line that was changed is not proved, nor one whose hash was changed with it.
    let (path, tree) = (first_segment(folder.path()), folder.path().join("tree"));
    let (lines, hashes) = (fs::read_to_string(&path).expect("text"), fs::read(&tree).expect("hashes"));
    let changed =
        lines.replace("\"ok\",\"records\"", "\"ko\",\"records\"").replace("\"ko\"", "\"cancelled\"");
    fs::write(&path, changed).expect("written");
    assert!(matches!(prove(folder.path(), call, false), Err(ProveError::Changed { .. })));
    fs::write(&path, &lines).expect("as it was");
    fs::write(&tree, &hashes[..64]).expect("cut");
    assert!(matches!(prove(folder.path(), call, false), Err(ProveError::HashesMissing)));
    fs::write(&tree, hashes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).expect("written");
    assert!(matches!(prove(folder.path(), call, false), Err(ProveError::Changed { .. })));
    fs::write(checkpoint::path_of(folder.path()), b"").expect("emptied");
    assert!(matches!(prove(folder.path(), call, false), Err(ProveError::NoCheckpoint { .. })));
}

/// A call that the host's death ended has count and root as well, without what an admin's record says of it.
#[tokio::test]
async fn a_call_that_was_interrupted_has_its_receipt_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path(), options()).expect("opened");
    let mut running = begin(&log).await.expect("begun");
    let call = running.context().call;
    running.attempt(attempt("/notes/a")).await.expect("recorded");
    log.append(Event::CallCancelled { call, by: "root".parse().expect("a name") }).await.expect("recorded");
    running.observe(host_call(None), Instant::now()).expect("noted");
    running.attempt(attempt("/notes/b")).await.expect("recorded");
    std::mem::forget((running, log));
    Log::open(folder.path(), options()).expect("mended").close().await.expect("closed");
    let receipt = prove(folder.path(), call, true).expect("proved");
    let verified = verify_receipt(&text(&receipt), &public().into(), None).expect("verified");
    assert_eq!((verified.facts.outcome.as_str(), verified.own_records), ("interrupted", Some(4)));
    assert_eq!(receipt.host.sequence, Sequence(0), "the host that ran it, not the one that mended");
}

#[tokio::test]
async fn consistency_holds_between_all_checkpoints_and_with_no_bit_flipped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut notes = Vec::new();
    for calls in 0..4 {
        let log = Log::open(folder.path(), options()).expect("opened");
        for _ in 0..calls {
            whole_call(&log).await.expect("recorded");
        }
        log.close().await.expect("closed");
        notes.push(note(folder.path()));
    }
    let prove = |from: &[u8], to: &[u8]| prove_consistency(folder.path(), &public(), from, Some(to));
    for (at, from) in notes.iter().enumerate() {
        for to in &notes[at..] {
            let proof = serde_json::to_vec(&prove(from, to).expect("proved")).expect("JSON");
            let verified =
                verify_consistency(&proof, &public().into(), Some(from), Some(to)).expect("verified");
            assert!(verified.from <= verified.to);
        }
        for to in &notes[..at] {
            assert!(matches!(
                prove(from, to),
                Err(ProveError::Consistency(ConsistencyError::Backwards { .. }))
            ));
        }
    }
    let mut proof = serde_json::to_vec(&prove(&notes[1], &notes[3]).expect("proved")).expect("JSON");
    let other = verify_consistency(&proof, &public().into(), Some(&notes[0]), None).expect_err("another");
    assert!(matches!(other, ConsistencyError::OtherCheckpoint { which: "earlier" }), "{other}");
    let other = verify_consistency(&proof, &public().into(), None, Some(&notes[2])).expect_err("another");
    assert!(matches!(other, ConsistencyError::OtherCheckpoint { which: "later" }), "{other}");
    for at in 0..proof.len() {
        for bit in 0..8 {
            proof[at] ^= 1 << bit;
            assert!(
                verify_consistency(&proof, &public().into(), None, None).is_err(),
                "bit {bit} of byte {at}"
            );
            proof[at] ^= 1 << bit;
        }
    }
    for length in 0..proof.len() {
        assert!(verify_consistency(&proof[..length], &public().into(), None, None).is_err(), "{length}");
    }
}
