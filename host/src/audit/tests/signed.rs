//! The tree and its checkpoints: what was signed can't be changed, cut or taken back without being seen.

use proptest::prelude::*;
use tlog_tiles::{Hash, check_record, check_tree, prove_record, prove_tree, record_hash};

use super::vectors::LEAVES;
use super::*;
use crate::audit::checkpoint;
use crate::audit::tree::{Frontier, StoredHashes};
use crate::audit::verify::{Verified, VerifyError, verify};
use crate::audit::{CheckpointKey, VerifierKey};
use crate::ids::hex;

pub(super) fn key() -> CheckpointKey {
    CheckpointKey::new(&[7; 32]).expect("any 32 bytes are a key")
}

pub(super) fn public() -> VerifierKey {
    key().verifier().expect("its own public half")
}

fn options() -> LogOptions {
    LogOptions { checkpoints: Some(key()), ..LogOptions::default() }
}

fn verified(folder: &Path) -> Result<Verified, VerifyError> {
    verify(folder, &public(), None, |_| {})
}

/// A log with some calls, closed in good order.
async fn signed_log(calls: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path(), options()).expect("opened");
    for _ in 0..calls {
        whole_call(&log).await.expect("recorded");
    }
    log.close().await.expect("closed");
    folder
}

fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join("00000000000000000000.jsonl")
}

/// The published vectors of Certificate Transparency (transparency-dev/merkle, `testonly`): leaves, and the
/// roots over the first of them.
#[test]
fn roots_are_those_of_certificate_transparency() {
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Frontier::default();
    assert_eq!(hex(&tree.root().0), roots[0]);
    for (leaf, root) in LEAVES.iter().zip(&roots[1..]) {
        tree.push(record_hash(leaf)).expect("it grows");
        assert_eq!(hex(&tree.root().0), *root);
    }
}

#[tokio::test]
async fn a_log_is_verified_and_goes_on_being_so_over_restarts() {
    let folder = signed_log(20).await;
    let first = verified(folder.path()).expect("verified");
    assert_eq!((first.covered, first.uncovered), (records(folder.path()).len() as u64, 0));
    let monday = fs::read(checkpoint::path_of(folder.path())).expect("a checkpoint");
    let log = Log::open(folder.path(), options()).expect("opened again");
    whole_call(&log).await.expect("recorded");
    log.close().await.expect("closed");
    let second = verify(folder.path(), &public(), Some(&monday), |_| {}).expect("verified");
    assert_eq!(second.earlier, Some(first.covered));
    assert!(second.covered > first.covered);
    // Each record is in the tree, and the earlier tree in the later one, by proofs that need no log.
    let stored = StoredHashes::open(folder.path()).expect("hashes");
    let size = second.covered;
    let root = stored.root(size).expect("a root");
    for (number, line) in fs::read_to_string(segment(folder.path())).expect("text").lines().enumerate() {
        let number = number as u64;
        let proof = prove_record(size, number, &stored).expect("a proof");
        check_record(&proof, size, root, number, record_hash(line.as_bytes())).expect("it holds");
        assert!(check_record(&proof, size, root, number, record_hash(b"another")).is_err());
    }
    let proof = prove_tree(size, first.covered, &stored).expect("a proof");
    let earlier = public().check(&monday).expect("a checkpoint");
    check_tree(&proof, size, root, earlier.size, earlier.root).expect("it holds");
}

/// Whoever ends without saying so: the tree is made anew, and held against what was signed.
#[tokio::test]
async fn a_log_that_was_torn_goes_on_and_is_verified() {
    let folder = signed_log(3).await;
    let log = Log::open(folder.path(), options()).expect("opened");
    whole_call(&log).await.expect("recorded");
    std::mem::forget(log);
    let mut torn = fs::OpenOptions::new().append(true).open(segment(folder.path())).expect("opened");
    std::io::Write::write_all(&mut torn, b"{\"seq\":9").expect("torn");
    let log = Log::open(folder.path(), options()).expect("mended");
    whole_call(&log).await.expect("recorded");
    log.close().await.expect("closed");
    assert_eq!(verified(folder.path()).expect("verified").uncovered, 0);
}

/// A checkpoint whose bytes a power loss took, or half of them, says nothing, and the next one is signed; a whole
/// one that somebody else signed is refused.
#[tokio::test]
async fn a_checkpoint_that_a_power_loss_tore_stops_no_host() {
    let folder = signed_log(2).await;
    let path = checkpoint::path_of(folder.path());
    let note = fs::read(&path).expect("a checkpoint");
    for length in [0, note.len() / 2, note.len() - 5] {
        fs::write(&path, &note[..length]).expect("torn");
        verified(folder.path()).expect_err("nothing to verify by");
        Log::open(folder.path(), options()).expect("opened").close().await.expect("closed");
        assert_eq!(verified(folder.path()).expect("verified").uncovered, 0);
    }
    let other = CheckpointKey::new(&[8; 32]).expect("a key");
    fs::write(&path, other.sign(3, Hash([1; 32])).expect("signed")).expect("written");
    assert!(matches!(Log::open(folder.path(), options()), Err(LogError::Damaged { .. })));
}

#[tokio::test]
async fn each_way_to_change_a_log_is_seen_and_named() {
    let folder = signed_log(5).await;
    let (path, tree) = (segment(folder.path()), folder.path().join("tree"));
    let (text, hashes) = (fs::read_to_string(&path).expect("text"), fs::read(&tree).expect("hashes"));
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    let mut without = lines.clone();
    without.remove(6);
    let mut doubled = lines.clone();
    doubled.insert(6, lines[6]);
    let flipped: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| if at == 4 { line.replace("ann", "eve") } else { (*line).to_owned() })
        .collect();
    let flipped: Vec<&str> = flipped.iter().map(String::as_str).collect();
    for (name, changed, expected) in [
        ("swapped", &swapped, 3),
        ("deleted", &without, 6),
        ("inserted", &doubled, 7),
        ("changed", &flipped, 4),
    ] {
        fs::write(&path, joined(changed)).expect("written");
        match verified(folder.path()) {
            Err(VerifyError::Changed { place, .. }) => {
                assert_eq!((place.record, place.line), (Sequence(expected), expected + 1), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    fs::write(&path, joined(&lines[..lines.len() - 1])).expect("written");
    assert!(matches!(verified(folder.path()), Err(VerifyError::CutOff { .. })));
    assert!(matches!(Log::open(folder.path(), options()), Err(LogError::Damaged { .. })));
    fs::write(&path, &text).expect("as it was");
    fs::write(&tree, &hashes).expect("as it was");
    assert!(verified(folder.path()).is_ok());
    // Another key says nothing of this log.
    let other = CheckpointKey::new(&[8; 32]).expect("a key").verifier().expect("a key");
    assert!(matches!(verify(folder.path(), &other, None, |_| {}), Err(VerifyError::Checkpoint { .. })));
}

/// A host that rewrites its whole log, and signs it anew, is caught by any earlier checkpoint.
#[tokio::test]
async fn a_log_that_was_made_anew_is_not_the_one_of_an_earlier_checkpoint() {
    let (honest, forged) = (signed_log(5).await, signed_log(6).await);
    let monday = fs::read(checkpoint::path_of(honest.path())).expect("a checkpoint");
    assert!(verified(forged.path()).is_ok());
    let held = verify(forged.path(), &public(), Some(&monday), |_| {});
    assert!(matches!(held, Err(VerifyError::OtherRoot { .. })), "{held:?}");
    let longer = fs::read(checkpoint::path_of(forged.path())).expect("a checkpoint");
    let held = verify(honest.path(), &public(), Some(&longer), |_| {});
    assert!(matches!(held, Err(VerifyError::CutOff { .. })), "{held:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Every flip of one bit in what was signed is found, in its line or where it tears two apart.
    #[test]
    fn every_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = runtime.block_on(signed_log(2));
        let path = segment(folder.path());
        let mut bytes = fs::read(&path).expect("bytes");
        let at = at.index(bytes.len());
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).expect("written");
        match verified(folder.path()) {
            Err(VerifyError::Changed { place, .. }) => prop_assert_eq!(place.record, Sequence(line)),
            // Without its last newline the last line is not there.
            Err(VerifyError::CutOff { .. }) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
