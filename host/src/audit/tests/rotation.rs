//! The key of checkpoints, handed over: whoever trusts the first key can go on, and nobody else hands over.

use super::signed::{key, public};
use super::*;
use crate::audit::CheckpointKey;
use crate::audit::verify::{Verified, VerifyError, verify};

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
