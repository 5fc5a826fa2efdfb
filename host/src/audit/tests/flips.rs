//! Case 87, bit by bit: whatever single bit of what was signed is flipped is found, and found where it is; in text, in
//! compressed files, in the checkpoint. Random places from a fixed seed, so that a run is the same as the one before.

use std::path::PathBuf;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::super::checkpoint;
use super::segments::{files, long_log, verified};
use super::*;
use crate::audit::verify::{Place, VerifyError};

/// How many bits are flipped in a run.
const FLIPS: u64 = 1_500;

/// A file of the log with the first record that it has.
struct File {
    path: PathBuf,
    first: u64,
    bytes: Vec<u8>,
}

/// The files of a log, some of which are text.
fn parts(folder: &Path) -> Vec<File> {
    let part = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let first = name.split('.').next().expect("digits").parse().expect("digits");
        File { bytes: fs::read(&path).expect("a file"), first, path }
    };
    files(folder, ".jsonl.zst").into_iter().chain(files(folder, ".jsonl")).map(part).collect()
}

#[tokio::test]
async fn every_flipped_bit_of_a_log_in_segments_is_found_where_it_is() {
    let folder = long_log(10).await;
    // Two are as they were before they were compressed; the records of their files are true of the others.
    for path in files(folder.path(), ".jsonl.zst").into_iter().take(2) {
        let text = zstd::decode_all(&fs::read(&path).expect("a file")[..]).expect("zstd");
        fs::write(path.with_extension(""), text).expect("written");
        fs::remove_file(path).expect("removed");
    }
    let whole = verified(folder.path()).expect("verified");
    assert_eq!(whole.uncovered, 0, "all of it is signed");
    let parts = parts(folder.path());
    let is_text = |file: &File| file.path.extension().is_some_and(|extension| extension == "jsonl");
    assert!(parts.iter().filter(|file| is_text(file)).count() >= 3);
    assert!(parts.iter().filter(|file| !is_text(file)).count() >= 2);
    let last = parts.iter().map(|file| file.first).max().expect("one");
    let total: u64 = parts.iter().map(|file| file.bytes.len() as u64).sum();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for _ in 0..FLIPS {
        let (mut at, bit) = (random.next_u64() % total, random.next_u32() % 8);
        let file = parts.iter().find(|file| {
            let bytes = file.bytes.len() as u64;
            let is_in = at < bytes;
            at -= if is_in { 0 } else { bytes };
            is_in
        });
        let file = file.expect("one of them");
        let at = usize::try_from(at).expect("small");
        let mut flipped = file.bytes.clone();
        flipped[at] ^= 1 << bit;
        fs::write(&file.path, flipped).expect("written");
        let what = format!("bit {bit} of byte {at} of {}", file.path.display());
        let error = verified(folder.path()).expect_err(&what);
        fs::write(&file.path, &file.bytes).expect("as it was");
        if is_text(file) {
            let line = file.bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            let is_end = file.first == last && at + 1 == file.bytes.len();
            if let VerifyError::Changed { place, .. } = &error {
                let found = (&place.path, place.record, place.line);
                assert_eq!(found, (&file.path, Sequence(file.first + line), line + 1), "{what}: {error}");
            } else {
                // Without its last newline the last line is not there.
                assert!(is_end && matches!(error, VerifyError::CutOff { .. }), "{what}: {error}");
            }
        } else {
            // Bytes that are compressed are of no one line: their file is named.
            let (VerifyError::Changed { place: Place { path: named, .. }, .. }
            | VerifyError::OtherFile { path: named, .. }) = &error
            else {
                panic!("{what}: {error}");
            };
            assert_eq!(named, &file.path, "{what}: {error}");
        }
    }
    assert_eq!(verified(folder.path()).expect("as it was"), whole);
}

#[tokio::test]
async fn every_flipped_bit_of_a_checkpoint_is_found() {
    let folder = long_log(1).await;
    let path = checkpoint::path_of(folder.path());
    let whole = fs::read(&path).expect("a checkpoint");
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&path, flipped).expect("written");
            let error = verified(folder.path()).expect_err("found");
            assert!(matches!(error, VerifyError::Checkpoint { .. }), "bit {bit} of byte {at}: {error}");
        }
    }
}
