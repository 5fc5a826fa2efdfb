//! The Merkle tree over the log (RFC 6962, SHA-256): each record's line, without its newline, is a leaf.
//!
//! The hashes of all complete subtrees stand in one file beside the segments, in the order in which they
//! become known (that of `golang.org/x/mod/sumdb/tlog`). They can be made from the segments again at any
//! time; the file saves that, so that a root, and a proof, cost a logarithm.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tlog_tiles::{
    EMPTY_HASH, Error, HASH_SIZE, Hash, HashReader, node_hash, record_hash, stored_hash_count,
    stored_hash_index, sub_tree_index, tree_hash,
};

use super::log::LogError;
use super::segment::{Found, Lines, Segment};

/// The file of the hashes.
pub(super) fn path_of(folder: &Path) -> PathBuf {
    folder.join("tree")
}

/// A tree that grows at its end. Holds the roots of its complete subtrees, at most 64: the largest first,
/// one for each bit of the size. No leaf costs more than the hashes that it completes.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// How many leaves it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. `known` is told the hashes that are known now: the leaf, and each subtree that it completes.
    pub(super) fn push_with(&mut self, leaf: Hash, mut known: impl FnMut(&Hash)) -> Result<(), Error> {
        let size = self.size.checked_add(1).ok_or(Error::IndexesNotInTree)?;
        known(&leaf);
        let mut subtree = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.roots.pop().ok_or(Error::IndexesNotInTree)?;
            subtree = node_hash(left, subtree);
            known(&subtree);
        }
        self.roots.push(subtree);
        self.size = size;
        Ok(())
    }

    /// Adds a leaf.
    pub(super) fn push(&mut self, leaf: Hash) -> Result<(), Error> {
        self.push_with(leaf, |_| {})
    }

    /// The root over all leaves.
    pub(super) fn root(&self) -> Hash {
        let joined = self.roots.iter().rev().copied().reduce(|right, left| node_hash(left, right));
        joined.unwrap_or(EMPTY_HASH)
    }
}

/// The leaf of a record: the hash of its line without the newline.
pub(super) fn leaf_of(line: &[u8]) -> Hash {
    record_hash(line.strip_suffix(b"\n").unwrap_or(line))
}

/// The hashes as they stand in the file.
#[derive(Debug)]
pub(super) struct StoredHashes {
    file: File,
}

impl HashReader for StoredHashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let read = |index: &u64| {
            let mut hash = [0; HASH_SIZE];
            self.file.read_exact_at(&mut hash, index * HASH_SIZE as u64)?;
            Ok(Hash(hash))
        };
        let hashes: io::Result<_> = indexes.iter().map(read).collect();
        hashes.map_err(|_| Error::IndexesNotInTree)
    }
}

impl StoredHashes {
    /// Opens the file to be read.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path_of(folder))? })
    }

    /// How many there are.
    pub(super) fn count(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len() / HASH_SIZE as u64)
    }

    /// The hash of one leaf.
    pub(super) fn leaf(&self, number: u64) -> Option<Hash> {
        self.read_hashes(&[stored_hash_index(0, number)]).ok()?.pop()
    }

    /// The root over the first leaves.
    pub(super) fn root(&self, size: u64) -> Result<Hash, Error> {
        if size == 0 { Ok(EMPTY_HASH) } else { tree_hash(size, self) }
    }
}

/// A tree in short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TreeHead {
    pub(super) size: u64,
    pub(super) root: Hash,
}

/// The tree of an open log: in memory, and in its file.
#[derive(Debug)]
pub(super) struct Tree {
    frontier: Frontier,
    file: File,
    /// What the file does not have yet.
    pending: Vec<u8>,
}

impl Tree {
    /// The tree over the first `size` records. If the file has exactly these, and the log ended well, it is
    /// believed, as far as the caller's checkpoint goes; else the file is made anew from the segments. So a
    /// start after a good end reads no lines: whether they are still what was signed, `verify` says.
    pub(super) fn open(
        folder: &Path,
        segments: &[Segment],
        size: u64,
        ended_well: bool,
    ) -> Result<Self, LogError> {
        let path = path_of(folder);
        let io = |action: &'static str| {
            let path = path.clone();
            move |error| LogError::io(action, &path, error)
        };
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(io("open"))?;
        let stored = StoredHashes { file: file.try_clone().map_err(io("open"))? };
        let is_whole = stored.count().map_err(io("measure"))? == stored_hash_count(size);
        if ended_well && is_whole {
            let places = sub_tree_index(0, size, Vec::new());
            let hashes = stored.read_hashes(&places).map_err(|_| LogError::Damaged {
                path: path.clone(),
                offset: 0,
                reason: "hashes are missing".to_owned(),
            })?;
            let frontier = Frontier { size, roots: hashes };
            return Ok(Self { frontier, file, pending: Vec::new() });
        }
        file.set_len(0).map_err(io("empty"))?;
        let mut tree = Self { frontier: Frontier::default(), file, pending: Vec::new() };
        for segment in segments {
            tree.read(segment, size)?;
        }
        if tree.frontier.size != size {
            let reason = format!("it has {} records, and the log {size}", tree.frontier.size);
            return Err(LogError::Damaged { path, offset: 0, reason });
        }
        Ok(tree)
    }

    fn read(&mut self, segment: &Segment, size: u64) -> Result<(), LogError> {
        let io = |error| LogError::io("read", &segment.path, error);
        let mut lines = Lines::open(&segment.path, 0).map_err(io)?;
        while self.frontier.size < size && lines.next().map_err(io)? == Found::Line {
            self.push(lines.line())?;
            if self.pending.len() >= 1 << 20 {
                self.flush().map_err(|error| LogError::io("write", &segment.path, error))?;
            }
        }
        self.flush().map_err(|error| LogError::io("write", &segment.path, error))
    }

    /// Adds a record's line.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<(), LogError> {
        self.push_leaf(leaf_of(line))
    }

    /// Adds a record whose leaf was made before.
    pub(super) fn push_leaf(&mut self, leaf: Hash) -> Result<(), LogError> {
        let Self { frontier, pending, .. } = self;
        frontier.push_with(leaf, |hash| pending.extend_from_slice(&hash.0)).map_err(|error| {
            LogError::Poisoned { reason: format!("the tree of the log can't grow: {error}").into() }
        })
    }

    /// Hands the new hashes to the kernel.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Size and root.
    pub(super) fn head(&self) -> Result<TreeHead, Error> {
        Ok(TreeHead { size: self.frontier.size, root: self.frontier.root() })
    }

    /// The root over the first records.
    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        let stored = StoredHashes { file: self.file.try_clone().ok()? };
        stored.root(size).ok()
    }
}
