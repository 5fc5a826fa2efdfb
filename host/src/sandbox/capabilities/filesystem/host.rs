//! The functions of `wasi:filesystem`: each enters the gate, is decided, recorded and performed.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, IoError};

use super::operations::{self, Failure, OpenRequest};
use super::recorded::{
    Opening, Target, Timed, code_name, follows, metadata_of, named_place, nothing, place, readable,
    two_places, writable,
};
use super::{Descriptor, Entries, FileError, FileHandle, FileResult, FolderHandle, Mount};
use crate::audit::event::{Decision, HostCallOutcome};
use crate::limits::Limit;
use crate::policy::Access;
use crate::sandbox::bindings::wasi::filesystem::{preopens, types};
use crate::sandbox::capabilities::CallState;
use crate::sandbox::capabilities::gate::HostFunction;
use crate::sandbox::capabilities::io::FileStreamHandle;
use types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};

mod file {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:filesystem/types":
        READ_VIA_STREAM = "[method]descriptor.read-via-stream";
        WRITE_VIA_STREAM = "[method]descriptor.write-via-stream";
        APPEND_VIA_STREAM = "[method]descriptor.append-via-stream";
        ADVISE = "[method]descriptor.advise";
        SYNC_DATA = "[method]descriptor.sync-data";
        GET_FLAGS = "[method]descriptor.get-flags";
        GET_TYPE = "[method]descriptor.get-type";
        SET_SIZE = "[method]descriptor.set-size", Always;
        SET_TIMES = "[method]descriptor.set-times", Always;
        READ = "[method]descriptor.read";
        WRITE = "[method]descriptor.write", Always;
        READ_DIRECTORY = "[method]descriptor.read-directory";
        SYNC = "[method]descriptor.sync";
        CREATE_DIRECTORY_AT = "[method]descriptor.create-directory-at", Always;
        STAT = "[method]descriptor.stat";
        STAT_AT = "[method]descriptor.stat-at";
        SET_TIMES_AT = "[method]descriptor.set-times-at", Always;
        LINK_AT = "[method]descriptor.link-at", Always;
        OPEN_AT = "[method]descriptor.open-at", ByArguments;
        READLINK_AT = "[method]descriptor.readlink-at";
        REMOVE_DIRECTORY_AT = "[method]descriptor.remove-directory-at", Always;
        RENAME_AT = "[method]descriptor.rename-at", Always;
        SYMLINK_AT = "[method]descriptor.symlink-at", Always;
        UNLINK_FILE_AT = "[method]descriptor.unlink-file-at", Always;
        IS_SAME_OBJECT = "[method]descriptor.is-same-object";
        METADATA_HASH = "[method]descriptor.metadata-hash";
        METADATA_HASH_AT = "[method]descriptor.metadata-hash-at";
        READ_DIRECTORY_ENTRY = "[method]directory-entry-stream.read-directory-entry";
        FILESYSTEM_ERROR_CODE = "filesystem-error-code";
    }
}

mod preopen {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:filesystem/preopens":
        GET_DIRECTORIES = "get-directories";
    }
}

/// The functions of `wasi:filesystem`.
pub(crate) const FUNCTIONS: &[&[&HostFunction]] = &[file::ALL, preopen::ALL];

impl types::Host for CallState {
    async fn filesystem_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.harmless(file::FILESYSTEM_ERROR_CODE, |state| {
            Ok(state.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
        })
        .await
    }

    fn convert_error_code(&mut self, error: FileError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl types::HostDescriptor for CallState {
    async fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: u64,
    ) -> FileResult<Resource<DynInputStream>> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let handle = self.observe_now(file::READ_VIA_STREAM, &descriptor, readable(&descriptor)).await?;
        self.push_file_stream(handle, Some(offset), Box::new(FileStreamHandle) as DynInputStream)
    }

    async fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: u64,
    ) -> FileResult<Resource<DynOutputStream>> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let handle = self.observe_now(file::WRITE_VIA_STREAM, &descriptor, writable(&descriptor)).await?;
        self.push_file_stream(handle, Some(offset), Box::new(FileStreamHandle) as DynOutputStream)
    }

    async fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FileResult<Resource<DynOutputStream>> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let handle = self.observe_now(file::APPEND_VIA_STREAM, &descriptor, writable(&descriptor)).await?;
        self.push_file_stream(handle, None, Box::new(FileStreamHandle) as DynOutputStream)
    }

    async fn advise(&mut self, fd: Resource<Descriptor>, _: u64, _: u64, _: Advice) -> FileResult<()> {
        // Advice may be ignored, and the host's cache is not a guest's to tune.
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        self.observe_now(file::ADVISE, &descriptor, descriptor.file().map(|_| ())).await
    }

    async fn sync_data(&mut self, fd: Resource<Descriptor>) -> FileResult<()> {
        self.sync_descriptor(file::SYNC_DATA, fd, false).await
    }

    async fn get_flags(&mut self, fd: Resource<Descriptor>) -> FileResult<DescriptorFlags> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let mut flags = DescriptorFlags::empty();
        match &descriptor {
            Descriptor::Folder(folder) => {
                flags |= DescriptorFlags::READ;
                if folder.mount.access == Access::ReadWrite {
                    flags |= DescriptorFlags::MUTATE_DIRECTORY;
                }
            }
            Descriptor::File(file) => {
                if file.readable {
                    flags |= DescriptorFlags::READ;
                }
                if file.writable {
                    flags |= DescriptorFlags::WRITE;
                }
            }
        }
        self.observe_now(file::GET_FLAGS, &descriptor, Ok(flags)).await
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FileResult<DescriptorType> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let kind = match &descriptor {
            Descriptor::Folder(_) => DescriptorType::Directory,
            Descriptor::File(_) => DescriptorType::RegularFile,
        };
        self.observe_now(file::GET_TYPE, &descriptor, Ok(kind)).await
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: u64) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::of(&descriptor);
        self.effect(file::SET_SIZE, target, 0, writable(&descriptor), move |handle| {
            operations::set_size(&handle, size)
        })
        .await
    }

    async fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::of(&descriptor);
        self.effect(file::SET_TIMES, target, 0, Ok(descriptor), move |descriptor| match &descriptor {
            Descriptor::Folder(folder) => operations::set_times(&*folder.dir, accessed, modified),
            Descriptor::File(file) => operations::set_times(&**file.file, accessed, modified),
        })
        .await
    }

    async fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: u64,
        offset: u64,
    ) -> FileResult<(Vec<u8>, bool)> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::of(&descriptor);
        let work = move || {
            let bytes = operations::read(&readable(&descriptor)?.file, offset, length)?;
            let at_end = bytes.is_empty() && length > 0;
            Ok((bytes, at_end))
        };
        let read = self.observe(file::READ, target, work, |(bytes, _)| bytes.len() as u64).await?;
        self.gate.usage().file_bytes_read += read.0.len() as u64;
        Ok(read)
    }

    async fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: u64) -> FileResult<u64> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::of(&descriptor);
        let count = bytes.len() as u64;
        let work = move |handle: FileHandle| operations::write(&handle, Some(offset), &bytes);
        self.effect(file::WRITE, target, count, writable(&descriptor), work).await?;
        self.gate.usage().file_bytes_written += count;
        Ok(count)
    }

    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> FileResult<Resource<Entries>> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::of(&descriptor);
        let (path, rule) = (Arc::clone(&target.subject), Arc::clone(&target.mount.rule));
        let entries_max = self.gate.limits().directory_entries;
        let work = move || operations::list(descriptor.folder()?, entries_max);
        let entries = self.observe(file::READ_DIRECTORY, target, work, nothing).await?;
        let usage = self.gate.usage();
        usage.directory_entries_peak = usage.directory_entries_peak.max(entries.len() as u64);
        self.push(Entries(entries.into_iter(), path, rule)).map_err(FileError::trap)
    }

    async fn sync(&mut self, fd: Resource<Descriptor>) -> FileResult<()> {
        self.sync_descriptor(file::SYNC, fd, true).await
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, place) = (Target::below(&descriptor, &path), named_place(&descriptor, &path));
        self.effect(file::CREATE_DIRECTORY_AT, target, 0, place, |(folder, path)| {
            operations::create_folder(&folder, &path)
        })
        .await
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FileResult<DescriptorStat> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::of(&descriptor);
        let work = move || Ok(operations::stat(&metadata_of(&descriptor)?));
        let status = self.observe(file::STAT, target, work, nothing).await?;
        Ok(self.coarsened(status))
    }

    async fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FileResult<DescriptorStat> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, place) = (Target::below(&descriptor, &path), place(&descriptor, &path));
        let work = move || {
            let (folder, path) = place?;
            Ok(operations::stat(&operations::stat_at(&folder, &path, follows(flags))?))
        };
        let status = self.observe(file::STAT_AT, target, work, nothing).await?;
        Ok(self.coarsened(status))
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, place) = (Target::below(&descriptor, &path), place(&descriptor, &path));
        let place = place.map(|(folder, path)| Timed(folder, path, follows(flags)));
        let work = move |Timed(folder, path, follow)| {
            operations::set_times_at(&folder, &path, follow, accessed, modified)
        };
        self.effect(file::SET_TIMES_AT, target, 0, place, work).await
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let new = self.descriptor(&new).map_err(FileError::trap)?;
        let (target, readonly) = self.two_targets(&descriptor, &path, &new, &new_path);
        let places = match follows(flags) {
            true => Err(Failure::Code(ErrorCode::Invalid)),
            false => readonly.and_then(|()| two_places(&descriptor, &path, &new, &new_path)),
        };
        self.effect(file::LINK_AT, target, 0, places, |(from, from_path, to, to_path)| {
            operations::link(&from, &from_path, &to, &to_path)
        })
        .await
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FileResult<Resource<Descriptor>> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::below(&descriptor, &path);
        let (subject, mount) = (Arc::clone(&target.subject), Arc::clone(&target.mount));
        let request = OpenRequest { follow: follows(path_flags), open_flags, flags };
        let place = self.may_open(&mount, request).and_then(|()| place(&descriptor, &path));
        let opened = if request.is_effect() {
            let place = place.map(|(folder, path)| Opening(folder, path, request));
            let work = |Opening(folder, path, request)| operations::open(&folder, &path, request);
            self.effect(file::OPEN_AT, target, 0, place, work).await?
        } else {
            let work = move || {
                let (folder, path) = place?;
                operations::open(&folder, &path, request)
            };
            self.observe(file::OPEN_AT, target, work, nothing).await?
        };
        let descriptor = self.opened(opened, subject, mount, flags);
        self.push(descriptor).map_err(FileError::trap)
    }

    async fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FileResult<String> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, place) = (Target::below(&descriptor, &path), place(&descriptor, &path));
        let work = move || {
            let (folder, path) = place?;
            operations::read_link(&folder, &path)
        };
        self.observe(file::READLINK_AT, target, work, |text| text.len() as u64).await
    }

    async fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, place) = (Target::below(&descriptor, &path), named_place(&descriptor, &path));
        self.effect(file::REMOVE_DIRECTORY_AT, target, 0, place, |(folder, path)| {
            operations::remove_folder(&folder, &path)
        })
        .await
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let new = self.descriptor(&new).map_err(FileError::trap)?;
        let (target, readonly) = self.two_targets(&descriptor, &path, &new, &new_path);
        let places = readonly.and_then(|()| two_places(&descriptor, &path, &new, &new_path));
        self.effect(file::RENAME_AT, target, 0, places, |(from, from_path, to, to_path)| {
            operations::rename(&from, &from_path, &to, &to_path)
        })
        .await
    }

    async fn symlink_at(&mut self, fd: Resource<Descriptor>, _: String, path: String) -> FileResult<()> {
        // A symlink is a trap for whoever follows it later outside the sandbox, and can be moved to
        // where it points elsewhere than it did when it was made: guests make none.
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::below(&descriptor, &path);
        let entered =
            self.gate.enter(file::SYMLINK_AT, Some(target.subject)).await.map_err(FileError::trap)?;
        self.gate.deny(entered, "guests make no symlinks", code_name(ErrorCode::NotPermitted));
        Err(ErrorCode::NotPermitted.into())
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, place) = (Target::below(&descriptor, &path), place(&descriptor, &path));
        self.effect(file::UNLINK_FILE_AT, target, 0, place, |(folder, path)| {
            operations::unlink(&folder, &path)
        })
        .await
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        let (one, other) = (self.descriptor(&one)?, self.descriptor(&other)?);
        self.harmless(file::IS_SAME_OBJECT, |_| {
            let id =
                |descriptor| metadata_of(descriptor).ok().map(|metadata| super::quota::file_id(&metadata));
            Ok(id(&one).is_some() && id(&one) == id(&other))
        })
        .await
    }

    async fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FileResult<MetadataHashValue> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, key) = (Target::of(&descriptor), self.filesystem.hash_key);
        let work = move || Ok(operations::metadata_hash(&metadata_of(&descriptor)?, &key));
        self.observe(file::METADATA_HASH, target, work, nothing).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FileResult<MetadataHashValue> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let (target, place) = (Target::below(&descriptor, &path), place(&descriptor, &path));
        let key = self.filesystem.hash_key;
        let work = move || {
            let (folder, path) = place?;
            Ok(operations::metadata_hash(&operations::stat_at(&folder, &path, follows(flags))?, &key))
        };
        self.observe(file::METADATA_HASH_AT, target, work, nothing).await
    }

    async fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        let descriptor = self.delete(fd)?;
        self.filesystem.open_files = self.filesystem.open_files.saturating_sub(1);
        drop(descriptor);
        Ok(())
    }
}

impl CallState {
    /// The times of a file as exactly as the call's clocks tell the time: a file that a guest has just written
    /// would be a clock.
    fn coarsened(&self, mut status: DescriptorStat) -> DescriptorStat {
        let times = [
            &mut status.data_access_timestamp,
            &mut status.data_modification_timestamp,
            &mut status.status_change_timestamp,
        ];
        for time in times.into_iter().flatten() {
            let told = self.clock.told(Duration::new(time.seconds, time.nanoseconds));
            (time.seconds, time.nanoseconds) = (told.as_secs(), told.subsec_nanos());
        }
        status
    }

    async fn sync_descriptor(
        &mut self,
        function: &'static HostFunction,
        fd: Resource<Descriptor>,
        metadata_too: bool,
    ) -> FileResult<()> {
        let descriptor = self.descriptor(&fd).map_err(FileError::trap)?;
        let target = Target::of(&descriptor);
        let work = move || {
            match &descriptor {
                Descriptor::Folder(folder) => rustix::fs::fsync(&*folder.dir)?,
                Descriptor::File(file) if metadata_too => file.file.sync_all()?,
                Descriptor::File(file) => file.file.sync_data()?,
            }
            Ok(())
        };
        self.observe(function, target, work, nothing).await
    }

    /// The target of a function with two paths, and whether the other grant allows writing too.
    fn two_targets(
        &self,
        from: &Descriptor,
        from_path: &str,
        to: &Descriptor,
        to_path: &str,
    ) -> (Target, Result<(), Failure>) {
        let (from, to) = (Target::below(from, from_path), Target::below(to, to_path));
        let readonly = match (from.mount.access, to.mount.access) {
            (Access::ReadWrite, Access::Read) => Err(Failure::ReadOnly),
            (Access::Read | Access::ReadWrite, _) => Ok(()),
        };
        let subject = Arc::from(format!("{} to {}", from.subject, to.subject));
        (Target { subject, mount: from.mount }, readonly)
    }

    /// Opening for writing needs a grant that allows it, and a call has a bounded number of handles.
    fn may_open(&self, mount: &Mount, request: OpenRequest) -> Result<(), Failure> {
        if request.needs_write() && mount.access == Access::Read {
            return Err(Failure::ReadOnly);
        }
        if self.filesystem.open_files >= self.gate.limits().open_files {
            return Err(Failure::TooMany(Limit::OpenFiles));
        }
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for CallState {
    async fn read_directory_entry(
        &mut self,
        entries: Resource<Entries>,
    ) -> FileResult<Option<DirectoryEntry>> {
        let stream = self.table.get_mut(&entries).map_err(FileError::trap)?;
        let (subject, rule) = (Arc::clone(&stream.1), stream.2.to_string());
        let entered =
            self.gate.enter(file::READ_DIRECTORY_ENTRY, Some(subject)).await.map_err(FileError::trap)?;
        let next = self.table.get_mut(&entries).map_err(FileError::trap)?.0.next().transpose();
        let (outcome, bytes_in) = match &next {
            Ok(entry) => (HostCallOutcome::Ok, entry.as_ref().map_or(0, |entry| entry.name.len() as u64)),
            Err(code) => (HostCallOutcome::Error(Cow::Borrowed(code_name(*code))), 0),
        };
        self.gate.leave(entered, Decision::Allowed(Cow::Owned(rule)), outcome, bytes_in, 0);
        Ok(next?)
    }

    async fn drop(&mut self, entries: Resource<Entries>) -> wasmtime::Result<()> {
        self.delete(entries).map(drop)
    }
}

impl preopens::Host for CallState {
    async fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.harmless(preopen::GET_DIRECTORIES, |state| {
            let mounts = state.filesystem.mounts.clone();
            let mut directories = Vec::with_capacity(mounts.len());
            for mount in mounts {
                let dir = Arc::clone(&mount.root);
                let (path, name) = (Arc::clone(&mount.guest_path), mount.guest_path.to_string());
                state.filesystem.open_files += 1;
                let folder = Descriptor::Folder(FolderHandle { dir, path, mount });
                directories.push((state.push(folder)?, name));
            }
            Ok(directories)
        })
        .await
    }
}
