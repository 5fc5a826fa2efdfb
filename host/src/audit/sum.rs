//! Bytes, counted and summed as they go by.

use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Bytes, and their SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

impl Sum {
    /// Of a whole file.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut sum = Summed::new(io::sink());
        io::copy(&mut std::fs::File::open(path)?, &mut sum)?;
        Ok(sum.finish())
    }
}

/// Counts and sums what is read or written.
#[derive(Debug)]
pub(crate) struct Summed<T> {
    inner: T,
    sum: Sha256,
    bytes: u64,
}

impl<T> Summed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, sum: Sha256::new(), bytes: 0 }
    }

    pub(crate) fn finish(self) -> Sum {
        Sum { bytes: self.bytes, sha256: self.sum.finalize().into() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.take(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.take(&buffer[..count]);
        Ok(count)
    }
}
