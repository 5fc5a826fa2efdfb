//! Vectors that others published, and a model of RFC 6962 written from its text: roots, proofs, notes.

use proptest::prelude::*;
use serde_json::Value;
use signed_note::{Note, Signer as _, StandardSigner};
use tlog_tiles::{
    Error, Hash, HashReader, check_record, check_tree, node_hash, prove_record, prove_tree, record_hash,
};

use crate::audit::consistency::{CONSISTENCY_FORMAT, ConsistencyError, verify_consistency};
use crate::audit::tree::Frontier;
use crate::audit::{CheckpointError, CheckpointKey, TreeHash, VerifierKey};

/// The leaves of Certificate Transparency's own tests, of which the vectors are.
pub(super) const LEAVES: [&[u8]; 8] = [
    b"",
    &[0x00],
    &[0x10],
    &[0x20, 0x21],
    &[0x30, 0x31],
    &[0x40, 0x41, 0x42, 0x43],
    &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
    &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
];

/// The hashes in the order of the file `tree`.
#[derive(Default)]
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let read = |at: &u64| usize::try_from(*at).ok().and_then(|at| self.0.get(at).copied());
        indexes.iter().map(read).collect::<Option<_>>().ok_or(Error::IndexesNotInTree)
    }
}

/// The hashes of a tree as the writer makes them, and its root after each leaf.
fn grown(leaves: &[Hash]) -> (Stored, Vec<Hash>) {
    let (mut tree, mut stored) = (Frontier::default(), Stored::default());
    let root = |leaf: &Hash| {
        tree.push_with(*leaf, |hash| stored.0.push(*hash)).expect("it grows");
        tree.root()
    };
    let roots = leaves.iter().map(root).collect();
    (stored, roots)
}

fn vectors(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).expect("JSON");
    all[kind].as_array().expect("a list").clone()
}

fn hash(value: &Value) -> Hash {
    value.as_str().and_then(|text| text.parse::<TreeHash>().ok()).expect("a hash").to_hash()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().expect("a list").iter().map(hash).collect()
}

/// Each way to change a proof that transparency-dev/merkle has, but for those of sizes.
fn spoiled(proof: &[Hash], roots: &[Hash]) -> Vec<Vec<Hash>> {
    let mut spoiled = vec![proof[..proof.len() - 1].to_vec(), Vec::new()];
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at].0[0] ^= 16;
        spoiled.push(flipped);
    }
    for extra in roots.iter().chain(proof.first()).chain([&Hash([0; 32])]) {
        spoiled.push([&[*extra], proof].concat());
        spoiled.push([proof, &[*extra]].concat());
    }
    spoiled
}

#[test]
fn inclusion_proofs_are_those_of_transparency_dev() {
    let (stored, roots) = grown(&LEAVES.map(record_hash));
    for vector in vectors("inclusion") {
        let number = |key: &str| vector[key].as_u64().expect("a number");
        let (at, size) = (number("leafIdx"), number("treeSize"));
        let (root, leaf, proof) =
            (hash(&vector["root"]), hash(&vector["leafHash"]), hashes(&vector["proof"]));
        assert_eq!(roots[usize::try_from(size).expect("small") - 1], root);
        assert_eq!(prove_record(size, at, &stored).expect("a proof"), proof, "{vector}");
        let holds =
            |proof: &Vec<Hash>, size, root, at, leaf| check_record(proof, size, root, at, leaf).is_ok();
        assert!(holds(&proof, size, root, at, leaf), "{vector}");
        for wrong in spoiled(&proof, &[root, leaf]) {
            assert!(!holds(&wrong, size, root, at, leaf), "{vector}: {wrong:?}");
        }
        for (size, at) in
            [(size, at + 1), (size, at ^ 2), (size * 2, at), (size / 2, at), (0, at), (size, size)]
        {
            assert!(!holds(&proof, size, root, at, leaf), "{vector}: {size} {at}");
        }
        assert!(!holds(&proof, size, leaf, at, root) && !holds(&proof, size, root, at, root), "{vector}");
    }
}

#[test]
fn consistency_proofs_are_those_of_transparency_dev() {
    let key = CheckpointKey::new(&[7; 32]).expect("a key");
    let verifier = key.verifier().expect("its public half");
    let (stored, _) = grown(&LEAVES.map(record_hash));
    let verified = |from: (u64, Hash), to: (u64, Hash), proof: &[Hash]| {
        let note = |(size, root)| String::from_utf8(key.sign(size, root).expect("signed")).expect("text");
        let document = serde_json::json!({
            "format": CONSISTENCY_FORMAT, "origin": verifier.origin(), "from": note(from), "to": note(to),
            "proof": proof.iter().map(|hash| TreeHash::from(*hash)).collect::<Vec<_>>(),
        });
        verify_consistency(document.to_string().as_bytes(), &verifier.clone().into(), None, None)
    };
    for vector in vectors("consistency") {
        let number = |key: &str| vector[key].as_u64().expect("a number");
        let (from, to) =
            ((number("size1"), hash(&vector["root1"])), (number("size2"), hash(&vector["root2"])));
        let proof = hashes(&vector["proof"]);
        assert_eq!(prove_tree(to.0, from.0, &stored).expect("a proof"), proof, "{vector}");
        let holds = verified(from, to, &proof).expect("it holds");
        assert_eq!((holds.from, holds.to), (from.0, to.0));
        for wrong in spoiled(&proof, &[from.1, to.1]) {
            let error = verified(from, to, &wrong).expect_err("refused");
            assert!(matches!(error, ConsistencyError::Inconsistent { .. }), "{vector}: {error}");
        }
        for (one, other) in [
            (from.0 - 1, to.0),
            (from.0 + 1, to.0),
            (from.0 ^ 2, to.0),
            (from.0, to.0 * 2),
            (from.0, to.0 / 2),
        ] {
            assert!(verified((one, from.1), (other, to.1), &proof).is_err(), "{vector}: {one} {other}");
        }
        assert!(verified((from.0, to.1), (to.0, from.1), &proof).is_err(), "{vector}: swapped roots");
        let backwards = verified(to, from, &proof).expect_err("refused");
        assert!(matches!(backwards, ConsistencyError::Backwards { .. }), "{backwards}");
    }
}

/// RFC 6962, 2.1: MTH.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(below(leaves.len()));
            node_hash(root_of(left), root_of(right))
        }
    }
}

/// RFC 6962, 2.1.1: PATH.
fn path(at: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let split = below(leaves.len());
    let (left, right) = leaves.split_at(split);
    let (mut path, other) =
        if at < split { (path(at, left), right) } else { (path(at - split, right), left) };
    path.push(root_of(other));
    path
}

/// RFC 6962, 2.1.2: SUBPROOF.
fn subproof(size: usize, leaves: &[Hash], is_whole: bool) -> Vec<Hash> {
    if size == leaves.len() {
        return if is_whole { Vec::new() } else { vec![root_of(leaves)] };
    }
    let split = below(leaves.len());
    let (left, right) = leaves.split_at(split);
    let (mut proof, other) = if size <= split {
        (subproof(size, left, is_whole), right)
    } else {
        (subproof(size - split, right, false), left)
    };
    proof.push(root_of(other));
    proof
}

/// The largest power of two below a size.
fn below(size: usize) -> usize {
    size.next_power_of_two() / 2
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn roots_and_proofs_of_any_size_are_those_of_the_rfc(
        size in 1_usize..400, at in any::<prop::sample::Index>(), from in any::<prop::sample::Index>(),
    ) {
        let leaves: Vec<Hash> = (0..size).map(|number| record_hash(&number.to_le_bytes())).collect();
        let (stored, roots) = grown(&leaves);
        let (at, from) = (at.index(size), from.index(size) + 1);
        let root = root_of(&leaves);
        prop_assert_eq!(roots[size - 1], root);
        prop_assert_eq!(roots[from - 1], root_of(&leaves[..from]));
        let proof = prove_record(size as u64, at as u64, &stored).expect("a proof");
        prop_assert_eq!(&proof, &path(at, &leaves));
        prop_assert!(check_record(&proof, size as u64, root, at as u64, leaves[at]).is_ok());
        let proof = prove_tree(size as u64, from as u64, &stored).expect("a proof");
        prop_assert_eq!(&proof, &subproof(from, &leaves, true));
        prop_assert!(check_tree(&proof, size as u64, root, from as u64, roots[from - 1]).is_ok());
    }
}

const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_SIGNED: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_SIGNED: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/// The note in the documentation of golang.org/x/mod/sumdb/note, where the form comes from. What is no
/// checkpoint is refused for that only once its signature holds.
#[test]
fn notes_are_those_of_the_reference_implementation() {
    let mut note = Note::new(TEXT.as_bytes(), &[]).expect("a note");
    let peter = StandardSigner::new(PETER_SECRET).expect("a key");
    assert_eq!(peter.name(), "PeterNeumann");
    note.add_sigs(&[&peter]).expect("signed");
    assert_eq!(String::from_utf8(note.to_bytes()).expect("text"), format!("{TEXT}\n{PETER_SIGNED}"));
    let check = |key: &str, note: String| {
        VerifierKey::parse(key).expect("a key").check(note.as_bytes()).expect_err("no checkpoint")
    };
    let both = format!("{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}");
    for key in [PETER, ENOCH] {
        let error = check(key, both.clone());
        assert!(matches!(error, CheckpointError::Malformed(_)), "the signature holds: {error}");
    }
    let wrong = both.replace("cryptography", "Cryptography");
    assert!(matches!(check(PETER, wrong), CheckpointError::Signature { .. }));
    assert!(matches!(check(ENOCH, format!("{TEXT}\n{PETER_SIGNED}")), CheckpointError::Signature { .. }));
}

/// What Go's checksum database signed of its log on a day in 2026: a checkpoint in our form, of a log whose
/// origin is not its key's name, which ours always is.
#[test]
fn a_checkpoint_of_the_go_checksum_database_is_read_and_is_of_another_log() {
    let note = "go.sum database tree\n63096908\n8lHrQPRYe4KT4WQ9/Qk8/taKnD6IRHbFgfN7vQE2Y54=\n\n\
        — sum.golang.org Az3gri/oVBN1jAhNZ/iS+W31psFAWRT20/GyrhpU6taFwulQGetBkH5S7wpGXdS935jiIGiUUAXBVHzT/P6fYhqAmAk=\n";
    let key = VerifierKey::parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8");
    let key = key.expect("a key");
    let error = key.check(note.as_bytes()).expect_err("of another log");
    let (found, expected) = ("go.sum database tree".to_owned(), "sum.golang.org".to_owned());
    assert_eq!(error, CheckpointError::Origin { found, expected });
    let grown = note.replace("63096908", "63096909");
    assert!(matches!(key.check(grown.as_bytes()), Err(CheckpointError::Signature { .. })));
}
