//! Files of authors, each read within a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a file of at most `bytes_max`.
///
/// # Errors
/// Those of the operating system, and `InvalidData` if it is longer.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let message = format!("it is longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// Also `InvalidData` if it is not UTF-8.
pub(crate) fn read_text(path: &Path, bytes_max: usize) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
