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
    EMPTY_HASH, Error, HASH_SIZE, Hash, HashReader, record_hash, stored_hash_count, stored_hash_index,
    stored_hashes_for_record_hash, sub_tree_index, tree_hash,
};

use super::log::LogError;
use super::segment::{Found, Lines, Segment};

/// The file of the hashes.
pub(super) fn path_of(folder: &Path) -> PathBuf {
    folder.join("tree")
}

/// A tree that grows at its end. Holds the roots of its complete subtrees, at most 64.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontier {
    size: u64,
    /// The place of each among the stored hashes, and the hash; the largest subtree first.
    roots: Vec<(u64, Hash)>,
}

impl HashReader for Frontier {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let find = |index: &u64| self.roots.iter().find(|(at, _)| at == index).map(|(_, hash)| *hash);
        indexes.iter().map(find).collect::<Option<_>>().ok_or(Error::IndexesNotInTree)
    }
}

impl Frontier {
    /// How many leaves it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; gives the hashes that are known now, the leaf's own first.
    pub(super) fn push(&mut self, leaf: Hash) -> Result<Vec<Hash>, Error> {
        let hashes = stored_hashes_for_record_hash(self.size, leaf, self)?;
        let joined = hashes.len() - 1;
        let level = u8::try_from(joined).map_err(|_| Error::IndexesNotInTree)?;
        self.roots.truncate(self.roots.len().saturating_sub(joined));
        let root = *hashes.last().ok_or(Error::IndexesNotInTree)?;
        self.roots.push((stored_hash_index(level, self.size >> level), root));
        self.size += 1;
        Ok(hashes)
    }

    /// The root over all leaves.
    pub(super) fn root(&self) -> Result<Hash, Error> {
        if self.size == 0 { Ok(EMPTY_HASH) } else { tree_hash(self.size, self) }
    }
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
            let frontier = Frontier { size, roots: places.into_iter().zip(hashes).collect() };
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
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let hashes = self.frontier.push(record_hash(line)).map_err(|error| LogError::Poisoned {
            reason: format!("the tree of the log can't grow: {error}").into(),
        })?;
        hashes.iter().for_each(|hash| self.pending.extend_from_slice(&hash.0));
        Ok(())
    }

    /// Hands the new hashes to the kernel.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Size and root.
    pub(super) fn head(&self) -> Result<TreeHead, Error> {
        Ok(TreeHead { size: self.frontier.size, root: self.frontier.root()? })
    }

    /// The root over the first records.
    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        let stored = StoredHashes { file: self.file.try_clone().ok()? };
        stored.root(size).ok()
    }
}
