//! The Merkle tree over the log (RFC 6962, SHA-256): each record's line, without its newline, is a leaf.
//!
//! The hashes of all complete subtrees stand in one file beside the segments, in the order in which they
//! become known (that of `golang.org/x/mod/sumdb/tlog`). They can be made from the segments again at any
//! time; the file saves that, so that a root, and a proof, cost a logarithm.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog_tiles::{
    EMPTY_HASH, Error, HASH_SIZE, Hash, HashReader, node_hash, record_hash, stored_hash_count,
    stored_hash_index, sub_tree_index, tree_hash,
};

use super::disk::{self, Disk, DiskFile};
use super::log::LogError;
use super::segment::{Found, Lines, Segment};

/// The file of the hashes.
pub(super) fn path_of(folder: &Path) -> PathBuf {
    folder.join("tree")
}

/// How much of the file the hashes of the first `size` records are.
pub(super) fn bytes_of(size: u64) -> u64 {
    stored_hash_count(size) * HASH_SIZE as u64
}

/// A tree that grows at its end. Holds the roots of its complete subtrees, at most 64: the largest first,
/// one for each bit of the size. No leaf costs more than the hashes that it completes.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// One that has grown before; none if there is not one root for each bit of the size.
    pub(super) fn of(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (u64::from(size.count_ones()) == roots.len() as u64).then_some(Self { size, roots })
    }

    /// How many leaves it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees.
    pub(super) fn roots(&self) -> &[Hash] {
        &self.roots
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

    /// The tree over the first leaves, to grow on.
    pub(super) fn frontier(&self, size: u64) -> Result<Frontier, Error> {
        let roots = match size {
            0 => Vec::new(),
            _ => self.read_hashes(&sub_tree_index(0, size, Vec::new()))?,
        };
        Frontier::of(size, roots).ok_or(Error::IndexesNotInTree)
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
pub(super) struct Tree {
    frontier: Frontier,
    file: Arc<dyn DiskFile>,
    /// What the file does not have yet.
    pending: Vec<u8>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("size", &self.frontier.size).finish_non_exhaustive()
    }
}

/// How much of the kept hashes a tree is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Believed {
    /// All: the log ended well.
    All,
    /// Those of the segments before the last: they were on disk before that was begun.
    Closed,
    /// Only those whose records' text was dropped.
    Dropped,
}

impl Tree {
    /// The tree over the first `size` records, which the file has afterwards. What is not believed of the
    /// file is made anew from the segments. So a start after a good end reads no lines: whether they are
    /// still what was signed, `verify` says.
    pub(super) fn open(
        disk: &dyn Disk,
        folder: &Path,
        segments: &[Segment],
        size: u64,
        believed: Believed,
    ) -> Result<Self, LogError> {
        let path = path_of(folder);
        let io = |action: &'static str| {
            let path = path.clone();
            move |error| LogError::io(action, &path, error)
        };
        let file = disk.append(&path).map_err(io("open"))?;
        let stored = StoredHashes::open(folder).map_err(io("open"))?;
        let count = stored.count().map_err(io("measure"))?;
        let start = match believed {
            Believed::All if count == stored_hash_count(size) => size,
            Believed::All | Believed::Closed => segments.last().map_or(0, |last| last.first.0),
            Believed::Dropped => segments.first().map_or(0, |first| first.first.0),
        };
        let start = start.min(size);
        if count < stored_hash_count(start) {
            if believed != Believed::Dropped {
                return Self::open(disk, folder, segments, size, Believed::Dropped);
            }
            let reason = format!("the hashes of records before {start} are missing, and so is their text");
            return Err(LogError::Damaged { path, offset: 0, reason });
        }
        let frontier = stored.frontier(start).map_err(|_| LogError::Damaged {
            path: path.clone(),
            offset: 0,
            reason: "hashes are missing".to_owned(),
        })?;
        if count > stored_hash_count(start) {
            disk.truncate(&path, bytes_of(start)).map_err(io("cut"))?;
        }
        let mut tree = Self { frontier, file, pending: Vec::new() };
        for segment in segments.iter().filter(|segment| segment.first.0 >= start) {
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
        let mut lines = Lines::open(segment, 0).map_err(io)?;
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
        disk::write_all(&*self.file, &self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Waits until the hashes that the kernel has are on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Size and root.
    pub(super) fn head(&self) -> TreeHead {
        TreeHead { size: self.frontier.size, root: self.frontier.root() }
    }
}
