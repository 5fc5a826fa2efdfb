//! Paths that a guest gives: checked and made canonical before anything looks at the disk.
//!
//! Purely lexical. Symlinks are `cap-std`'s business, which resolves beneath the granted folder's
//! handle and never outside it.

use std::path::Path;

use super::operations::Failure;
use crate::sandbox::bindings::wasi::filesystem::types::ErrorCode;

/// The longest path that a guest may give, in bytes: Linux's `PATH_MAX` without its NUL.
const PATH_BYTES_MAX: usize = 4095;

/// A relative path that, symlinks aside, stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuestPath {
    /// Without a trailing slash; `.` for the folder itself.
    text: String,
    /// It ended with a slash or a dot, so only a folder will do.
    pub(super) must_be_folder: bool,
}

impl GuestPath {
    /// # Errors
    /// `no-entry` for an empty path, `illegal-byte-sequence` for a NUL, `name-too-long`; and
    /// [`Failure::Outside`] for an absolute path and for one that `..` leads out.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if text.is_empty() {
            return Err(Failure::Code(ErrorCode::NoEntry));
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(Failure::Code(ErrorCode::NameTooLong));
        }
        if text.contains('\0') {
            return Err(Failure::Code(ErrorCode::IllegalByteSequence));
        }
        if text.starts_with('/') {
            return Err(Failure::Outside);
        }
        // `a/../b` is left to the kernel, which knows where `a` leads: only the count matters here.
        let mut depth: i32 = 0;
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => depth -= 1,
                _ => depth += 1,
            }
            if depth < 0 {
                return Err(Failure::Outside);
            }
        }
        let trimmed = text.trim_end_matches('/');
        let last = trimmed.rsplit('/').next().unwrap_or(trimmed);
        let must_be_folder = trimmed.len() < text.len() || matches!(last, "." | "..");
        Ok(Self { text: trimmed.to_owned(), must_be_folder })
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.text)
    }

    /// The path as the log names it, below the folder `parent`.
    pub(super) fn below(&self, parent: &str) -> String {
        match self.text.as_str() {
            "." => parent.to_owned(),
            text => format!("{}/{text}", parent.trim_end_matches('/')),
        }
    }

    /// For functions whose last component must be a name: not `.`, not `..`.
    pub(super) fn is_named(&self) -> bool {
        !matches!(self.text.rsplit('/').next(), Some("." | "..") | None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_folder_are_refused_and_others_kept() {
        for outside in ["/", "/etc/passwd", "..", "../x", "a/../../x", "./../x", "a/b/../../../x"] {
            assert!(matches!(GuestPath::parse(outside), Err(Failure::Outside)), "{outside}");
        }
        for (text, below, folder) in [
            ("a", "/data/a", false),
            ("a/", "/data/a", true),
            ("a//", "/data/a", true),
            (".", "/data", true),
            ("a/..", "/data/a/..", true),
            ("a/../b", "/data/a/../b", false),
            ("..a", "/data/..a", false),
        ] {
            let path = GuestPath::parse(text).expect("inside");
            assert_eq!((path.below("/data").as_str(), path.must_be_folder), (below, folder), "{text}");
        }
        assert!(matches!(GuestPath::parse(""), Err(Failure::Code(ErrorCode::NoEntry))));
        assert!(matches!(GuestPath::parse("a\0b"), Err(Failure::Code(ErrorCode::IllegalByteSequence))));
        assert!(matches!(GuestPath::parse(&"x/".repeat(3000)), Err(Failure::Code(ErrorCode::NameTooLong))));
    }
}
