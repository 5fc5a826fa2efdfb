//! `wasi:filesystem`, in the first granted folder. It holds `file`, `removable`, an empty folder
//! `empty` and the symlink `link`; the test makes them anew for each function.

use crate::Driver;
use crate::answers::{NoHandle, Outcome, fallible, needed, plain};
use crate::bindings::wasi::filesystem::preopens::get_directories;
use crate::bindings::wasi::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags, filesystem_error_code,
};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::streams::http_error;

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
fn no_follow() -> PathFlags {
    PathFlags::empty()
}

/// The first granted folder.
fn folder() -> Result<Descriptor, NoHandle> {
    match get_directories().into_iter().next() {
        Some((folder, _)) => Ok(folder),
        None => Err(NoHandle("no folder".to_owned())),
    }
}

/// Its file, to be written if that may be, else to be read.
fn file() -> Result<Descriptor, NoHandle> {
    let folder = folder()?;
    let open = |flags| folder.open_at(no_follow(), "file", OpenFlags::empty(), flags);
    match open(DescriptorFlags::READ | DescriptorFlags::WRITE) {
        Ok(file) => Ok(file),
        Err(_) => needed(open(DescriptorFlags::READ)),
    }
}

/// A stream that reads the file. The file stays open as long as it is held.
pub(crate) fn file_input() -> Result<(InputStream, Descriptor), NoHandle> {
    let file = file()?;
    Ok((needed(file.read_via_stream(0))?, file))
}

/// A stream that writes the file.
pub(crate) fn file_output() -> Result<(OutputStream, Descriptor), NoHandle> {
    let file = file()?;
    Ok((needed(file.write_via_stream(0))?, file))
}

/// The error of a write far beyond the quota.
fn file_error_code() -> Outcome {
    let file = file()?;
    let stream = needed(file.write_via_stream(1 << 40))?;
    match stream.blocking_write_and_flush(b"x") {
        Err(StreamError::LastOperationFailed(error)) => plain(filesystem_error_code(&error)),
        other => Err(NoHandle(format!("a write beyond the quota: {other:?}"))),
    }
}

fn with_folder(call: impl FnOnce(&Descriptor) -> Outcome) -> Outcome {
    call(&folder()?)
}

fn with_file(call: impl FnOnce(&Descriptor) -> Outcome) -> Outcome {
    call(&file()?)
}

fn open(name: &str, open_flags: OpenFlags, flags: DescriptorFlags) -> Outcome {
    with_folder(|folder| fallible(folder.open_at(no_follow(), name, open_flags, flags)))
}

/// Calls with a second handle of the same folder.
fn with_two(call: impl FnOnce(&Descriptor, &Descriptor) -> Outcome) -> Outcome {
    call(&folder()?, &folder()?)
}

macro_rules! types {
    ($($function:literal => $call:expr;)*) => {
        pub(crate) const DRIVERS: &[Driver] = &[
            $((concat!("wasi:filesystem/types#", $function), || $call),)*
            ("wasi:filesystem/preopens#get-directories", || plain(get_directories().len())),
        ];
    };
}

types! {
    "filesystem-error-code" => plain(filesystem_error_code(&http_error()?));
    "filesystem-error-code file" => file_error_code();
    "[method]descriptor.read-via-stream" => with_file(|file| fallible(file.read_via_stream(0)));
    "[method]descriptor.write-via-stream" => with_file(|file| fallible(file.write_via_stream(0)));
    "[method]descriptor.append-via-stream" => with_file(|file| fallible(file.append_via_stream()));
    "[method]descriptor.advise" => with_file(|file| fallible(file.advise(0, 1, Advice::Normal)));
    "[method]descriptor.sync-data" => with_file(|file| fallible(file.sync_data()));
    "[method]descriptor.get-flags" => with_file(|file| fallible(file.get_flags()));
    "[method]descriptor.get-type" => with_file(|file| fallible(file.get_type()));
    "[method]descriptor.set-size" => with_file(|file| fallible(file.set_size(3)));
    "[method]descriptor.set-times" =>
        with_file(|file| fallible(file.set_times(NewTimestamp::Now, NewTimestamp::NoChange)));
    "[method]descriptor.read" => with_file(|file| fallible(file.read(10, 0)));
    "[method]descriptor.write" => with_file(|file| fallible(file.write(b"new", 0)));
    "[method]descriptor.read-directory" => with_folder(|folder| fallible(folder.read_directory()));
    "[method]descriptor.sync" => with_file(|file| fallible(file.sync()));
    "[method]descriptor.create-directory-at" =>
        with_folder(|folder| fallible(folder.create_directory_at("made")));
    "[method]descriptor.stat" => with_file(|file| fallible(file.stat()));
    "[method]descriptor.stat-at" => with_folder(|folder| fallible(folder.stat_at(no_follow(), "file")));
    "[method]descriptor.set-times-at" => with_folder(|folder| {
        fallible(folder.set_times_at(FOLLOW, "file", NewTimestamp::NoChange, NewTimestamp::Now))
    });
    "[method]descriptor.link-at" =>
        with_two(|folder, other| fallible(folder.link_at(no_follow(), "file", other, "linked")));
    "[method]descriptor.open-at" => open("file", OpenFlags::empty(), DescriptorFlags::READ);
    "[method]descriptor.open-at create" => open("made", OpenFlags::CREATE, DescriptorFlags::WRITE);
    "[method]descriptor.readlink-at" => with_folder(|folder| fallible(folder.readlink_at("link")));
    "[method]descriptor.remove-directory-at" =>
        with_folder(|folder| fallible(folder.remove_directory_at("empty")));
    "[method]descriptor.rename-at" =>
        with_two(|folder, other| fallible(folder.rename_at("file", other, "renamed")));
    "[method]descriptor.symlink-at" => with_folder(|folder| fallible(folder.symlink_at("file", "made")));
    "[method]descriptor.unlink-file-at" => with_folder(|folder| fallible(folder.unlink_file_at("removable")));
    "[method]descriptor.is-same-object" => with_two(|folder, other| plain(folder.is_same_object(other)));
    "[method]descriptor.metadata-hash" => with_file(|file| fallible(file.metadata_hash()));
    "[method]descriptor.metadata-hash-at" =>
        with_folder(|folder| fallible(folder.metadata_hash_at(no_follow(), "file")));
    "[method]directory-entry-stream.read-directory-entry" => with_folder(|folder| {
        fallible(needed(folder.read_directory())?.read_directory_entry())
    });
}
