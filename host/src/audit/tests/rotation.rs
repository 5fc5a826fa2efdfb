//! The key of checkpoints, handed over: whoever trusts the first key can go on, and nobody else hands over.

use super::signed::{key, public};
use super::*;
use crate::audit::trust::{ROTATIONS_BYTES_MAX, Rotations, RotationsError, TrustedKeys, rotations_of};
use crate::audit::verify::{Verified, VerifyError, verify};
use crate::audit::{CheckpointKey, VerifierKey};

fn options(key: CheckpointKey) -> LogOptions {
    LogOptions { checkpoints: Some(key), ..LogOptions::default() }
}

fn verified(folder: &Path, key: &CheckpointKey) -> Result<Verified, VerifyError> {
    verify(folder, &key.verifier().expect("its public half"), None, |_| {})
}

/// A log whose key was rotated twice, with calls before, between and after; and its keys.
async fn rotated() -> (tempfile::TempDir, [CheckpointKey; 3], Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path(), options(key())).expect("opened");
    whole_call(&log).await.expect("recorded");
    let early = fs::read(folder.path().join("checkpoint")).expect("a checkpoint");
    let second = key().successor().expect("a key");
    let third = second.successor().expect("a key");
    for next in [&second, &third] {
        log.record_rotation(next, "root".parse().expect("a name")).await.expect("recorded");
        log.sign_with(next.clone());
        whole_call(&log).await.expect("recorded");
    }
    log.close().await.expect("closed");
    (folder, [key(), second, third], early)
}

#[tokio::test]
async fn whoever_trusts_one_key_can_verify_what_the_next_ones_signed() {
    let (folder, keys, early) = rotated().await;
    for (key, rotations) in keys.iter().zip([2, 1, 0]) {
        let whole = verified(folder.path(), key).expect("verified");
        assert_eq!((whole.rotations, whole.uncovered), (rotations, 0));
    }
    let held = verify(folder.path(), &public(), Some(&early), |_| {}).expect("verified");
    assert_eq!((held.earlier.is_some(), held.rotations), (true, 2));
    let stranger = key().successor().expect("a key");
    let error = verified(folder.path(), &stranger).expect_err("not signed by it");
    assert!(matches!(error, VerifyError::Checkpoint { .. }), "{error}");

    // The host goes on with the last key, and no other.
    let [_, second, third] = keys;
    let log = Log::open(folder.path(), options(third)).expect("opened");
    log.close().await.expect("closed");
    let refused = Log::open(folder.path(), options(second)).expect_err("refused");
    assert!(matches!(refused, LogError::Damaged { .. }), "{refused}");
}

/// The host died between the rotation and the next checkpoint: the old key's is the newest.
#[tokio::test]
async fn a_checkpoint_of_the_key_before_is_taken_from_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path(), options(key())).expect("opened");
    let next = key().successor().expect("a key");
    log.record_rotation(&next, "root".parse().expect("a name")).await.expect("recorded");
    log.close().await.expect("closed");
    assert_eq!(verified(folder.path(), &key()).expect("verified").rotations, 1);
    Log::open(folder.path(), options(next)).expect("opened").close().await.expect("closed");
    assert_eq!(verified(folder.path(), &key()).expect("verified").rotations, 1);
}

#[tokio::test]
async fn nobody_else_hands_a_key_over() {
    let (folder, keys, _) = rotated().await;
    let file = fs::read_dir(folder.path().join("keys"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .min()
        .expect("a rotation");
    let kept = fs::read_to_string(&file).expect("a rotation");
    let rotation: serde_json::Value = serde_json::from_str(&kept).expect("JSON");
    let thief = key().successor().expect("a key");
    let record = rotation["record"].as_str().expect("a line").replace(keys[1].public(), thief.public());

    // A record that the log does not have, under a checkpoint that the old key did sign.
    let mut forged = rotation.clone();
    forged["record"] = record.clone().into();
    forged["to"] = thief.public().into();
    fs::write(&file, forged.to_string()).expect("written");
    verified(folder.path(), &key()).expect_err("refused");
    let note = fs::read(folder.path().join("checkpoint")).expect("a checkpoint");
    let size = keys[2].verifier().expect("a key").check(&note).expect("its own");
    let signed = thief.sign(size.size, size.root).expect("signed");
    fs::write(folder.path().join("checkpoint"), &signed).expect("written");
    let error = verified(folder.path(), &key()).expect_err("refused");
    assert!(matches!(error, VerifyError::OtherRotation { .. }), "{error}");
    fs::write(folder.path().join("checkpoint"), &note).expect("written");

    // Its word, changed in any of its parts.
    for (part, value) in [
        ("checkpoint", String::from_utf8(signed).expect("text").into()),
        ("to", thief.public().into()),
        ("record", "{}".into()),
        ("from", thief.public().into()),
    ] {
        let mut forged = rotation.clone();
        forged[part] = value;
        fs::write(&file, forged.to_string()).expect("written");
        verified(folder.path(), &key()).expect_err(part);
    }
    fs::write(&file, kept).expect("written");
    verified(folder.path(), &key()).expect("as it was");
}

/// What leads whoever has no log from one key to the next ones.
#[tokio::test]
async fn rotations_prove_themselves_and_nobody_else_is_handed_over_to() {
    let (folder, keys, early) = rotated().await;
    let [first, second, third] = keys.each_ref().map(|key| key.verifier().expect("a key"));
    let document = rotations_of(folder.path(), &third).expect("rotations");
    assert_eq!(document.rotations.len(), 2);
    let text = |document: &Rotations| serde_json::to_vec(document).expect("JSON");
    let trusted =
        |key: &VerifierKey, document: &Rotations| TrustedKeys::with_rotations(key.clone(), &text(document));
    let newest = fs::read(folder.path().join("checkpoint")).expect("a checkpoint");
    for key in [&first, &second, &third] {
        let trusted = trusted(key, &document).expect("it holds");
        assert_eq!(trusted.newest().text(), third.text());
        trusted.check(&newest).expect("the last key signed it");
        // Forwards only: what the first key signed, the later ones do not vouch for.
        assert_eq!(trusted.check(&early).is_ok(), key.text() == first.text());
    }
    TrustedKeys::from(first.clone()).check(&newest).expect_err("without the rotations it is not known");
    // A rotation that is missing leads nowhere.
    let mut cut = document.clone();
    cut.rotations.remove(0);
    trusted(&first, &cut).expect("it holds").check(&newest).expect_err("no way to the last key");

    // A record that no log has, of a thief who has a checkpoint that the old key did sign.
    let thief = keys[0].successor().expect("a key");
    let refused = |change: &dyn Fn(&mut Rotations)| {
        let mut forged = document.clone();
        change(&mut forged);
        trusted(&first, &forged).expect_err("refused")
    };
    let forged_line = |line: &str| line.replace(second.text(), thief.public());
    let error = refused(&|forged| {
        forged.rotations[0].to = thief.public().to_owned();
        forged.rotations[0].record.line = forged_line(&forged.rotations[0].record.line);
    });
    assert!(matches!(error, RotationsError::Record { .. }), "{error}");
    let error = refused(&|forged| forged.rotations[0].to = thief.public().to_owned());
    assert!(matches!(error, RotationsError::OtherKey { .. }), "{error}");
    // Another record of the log, with its own proof.
    let error = refused(&|forged| forged.rotations[0].record = forged.rotations[1].record.clone());
    assert!(matches!(error, RotationsError::Record { .. } | RotationsError::OtherKey { .. }), "{error}");
    let error =
        refused(&|forged| forged.rotations[0].checkpoint = String::from_utf8(newest.clone()).expect("text"));
    assert!(matches!(error, RotationsError::Checkpoint { .. }), "{error}");
    let error = refused(&|forged| forged.origin = "portcullis/other".to_owned());
    assert!(matches!(error, RotationsError::OtherLog { .. }), "{error}");
    let error = refused(&|forged| forged.format = "portcullis-rotations/2".to_owned());
    assert!(matches!(error, RotationsError::Format { .. }), "{error}");
    // Whatever bit is flipped, no other key is believed.
    let whole = text(&document);
    let known = [first.text(), second.text(), third.text()];
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        if let Ok(trusted) = TrustedKeys::with_rotations(first.clone(), &flipped) {
            assert!(known.contains(&trusted.newest().text()), "byte {at}");
        }
    }
    let huge = vec![b' '; ROTATIONS_BYTES_MAX + 1];
    let error = TrustedKeys::with_rotations(first, &huge).expect_err("refused");
    assert!(matches!(error, RotationsError::TooLarge { .. }), "{error}");
}
