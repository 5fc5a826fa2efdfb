//! What every function of `wasi:filesystem` has in common: the target that the log names, the way
//! through the gate for what looks and for what changes, and streams over files.

use std::borrow::Cow;
use std::sync::Arc;

use cap_std::fs::Metadata;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{StreamError, StreamResult};

use super::operations::{self, Failure, OpenRequest, Opened};
use super::path::GuestPath;
use super::{Descriptor, FileError, FileHandle, FileResult, FileStream, FolderHandle, HeldFile, Mount};
use crate::audit::event::{Decision, HostCallOutcome};
use crate::policy::Access;
use crate::sandbox::bindings::wasi::filesystem::types::{DescriptorFlags, ErrorCode, PathFlags};
use crate::sandbox::capabilities::gate::{Entered, HARMLESS, HostFunction};
use crate::sandbox::capabilities::{CallState, trapped};

/// What the log calls the thing that a host call is about, and where it lies.
pub(super) struct Target {
    pub(super) subject: Arc<str>,
    pub(super) mount: Arc<Mount>,
}

impl Target {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        Self { subject: descriptor.path(), mount: Arc::clone(descriptor.mount()) }
    }

    /// Something below a folder. The path is named as the guest gave it, whatever it is.
    pub(super) fn below(descriptor: &Descriptor, path: &str) -> Self {
        let subject = match GuestPath::parse(path) {
            Ok(path) => path.below(&descriptor.path()),
            Err(_) => format!("{} {path:?}", descriptor.path()),
        };
        Self { subject: Arc::from(subject), mount: Arc::clone(descriptor.mount()) }
    }
}

/// What an effect is about, as far as a look can tell that the grant forbids it.
pub(super) trait Look: Send + 'static {
    /// Whether there is anything to look at: a handle was judged when it was opened.
    const HAS_PATHS: bool = true;

    /// # Errors
    /// [`Failure::Outside`] and [`Failure::NotRegular`] refuse the effect; others don't.
    fn look(&self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Look for FileHandle {
    const HAS_PATHS: bool = false;
}

impl Look for Descriptor {
    const HAS_PATHS: bool = false;
}

impl Look for (FolderHandle, GuestPath) {
    fn look(&self) -> Result<(), Failure> {
        operations::look(&self.0, &self.1)
    }
}

impl Look for (FolderHandle, GuestPath, FolderHandle, GuestPath) {
    fn look(&self) -> Result<(), Failure> {
        operations::look(&self.0, &self.1)?;
        operations::look(&self.2, &self.3)
    }
}

/// A file or folder whose times are to be set, and whether a symlink in its place is followed.
pub(super) struct Timed(pub(super) FolderHandle, pub(super) GuestPath, pub(super) bool);

impl Look for Timed {
    fn look(&self) -> Result<(), Failure> {
        operations::look_for_regular(&self.0, &self.1, self.2).map(drop)
    }
}

/// A path that is to be made or emptied by opening it.
pub(super) struct Opening(pub(super) FolderHandle, pub(super) GuestPath, pub(super) OpenRequest);

impl Look for Opening {
    fn look(&self) -> Result<(), Failure> {
        operations::look_for_regular(&self.0, &self.1, self.2.follow).map(drop)
    }
}

impl Failure {
    /// What the guest gets.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Failure::Code(code) => code,
            Failure::Outside | Failure::NotRegular | Failure::ReadOnly => ErrorCode::NotPermitted,
            Failure::TooMany(_) => ErrorCode::InsufficientMemory,
            Failure::Full(_) => ErrorCode::InsufficientSpace,
        }
    }

    /// What the log calls it.
    pub(super) fn outcome(self) -> HostCallOutcome {
        let code = self.code();
        HostCallOutcome::Error(match self {
            Failure::Full(limit) | Failure::TooMany(limit) => {
                Cow::Owned(format!("{}: limit {limit}", code_name(code)))
            }
            Failure::Outside | Failure::NotRegular | Failure::ReadOnly | Failure::Code(_) => {
                Cow::Borrowed(code_name(code))
            }
        })
    }

    pub(super) fn decision(self, mount: &Mount) -> Decision {
        match self {
            Failure::Outside => Decision::Denied(Cow::Borrowed("the path leads out of the granted folder")),
            Failure::NotRegular => Decision::Denied(Cow::Borrowed("neither a regular file nor a folder")),
            Failure::ReadOnly => Decision::Denied(Cow::Borrowed("the grant is read-only")),
            Failure::Code(_) | Failure::Full(_) | Failure::TooMany(_) => Decision::Allowed(mount.rule()),
        }
    }
}

/// The code as WIT writes it.
pub(super) fn code_name(code: ErrorCode) -> &'static str {
    code.name()
}

impl CallState {
    pub(super) fn descriptor(&self, descriptor: &Resource<Descriptor>) -> wasmtime::Result<Descriptor> {
        Ok(self.table.get(descriptor)?.clone())
    }

    pub(super) fn record_failure(&mut self, entered: Entered, failure: Failure, mount: &Mount) -> FileError {
        self.gate.leave(entered, failure.decision(mount), failure.outcome(), 0, 0);
        failure.code().into()
    }

    /// Does blocking work on a disk, off the threads that run guests.
    pub(super) fn on_disk<T: Send + 'static, Work>(
        &self,
        work: Work,
    ) -> impl Future<Output = wasmtime::Result<Result<T, Failure>>> + Send + use<T, Work>
    where
        Work: FnOnce() -> Result<T, Failure> + Send + 'static,
    {
        let (workers, settled) = (Arc::clone(&self.filesystem.disk_workers), self.filesystem.settled());
        async move {
            let held = (workers.acquire_owned().await?, settled.acquire_owned().await?);
            let done = tokio::task::spawn_blocking(move || {
                let result = work();
                drop(held);
                result
            });
            Ok(done.await?)
        }
    }

    /// A function that changes nothing: performed, then recorded.
    pub(super) async fn observe<T: Send + 'static>(
        &mut self,
        function: &'static HostFunction,
        target: Target,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
        bytes_in: impl FnOnce(&T) -> u64,
    ) -> FileResult<T> {
        let entered = self.gate.enter(function, Some(target.subject)).await.map_err(FileError::trap)?;
        match self.on_disk(work).await {
            Ok(Ok(value)) => {
                let rule = Decision::Allowed(target.mount.rule());
                self.gate.leave(entered, rule, HostCallOutcome::Ok, bytes_in(&value), 0);
                Ok(value)
            }
            Ok(Err(failure)) => Err(self.record_failure(entered, failure, &target.mount)),
            Err(error) => {
                self.gate.leave(entered, HARMLESS, trapped(&error), 0, 0);
                Err(FileError::trap(error))
            }
        }
    }

    /// A function that changes the disk: refused without a writable grant, else recorded, performed
    /// and recorded again. `check`, and a look at the disk, may still refuse it before anything is
    /// recorded as an attempt.
    pub(super) async fn effect<T: Send + 'static, Checked: Look>(
        &mut self,
        function: &'static HostFunction,
        target: Target,
        bytes_out: u64,
        check: Result<Checked, Failure>,
        work: impl FnOnce(Checked) -> Result<T, Failure> + Send + 'static,
    ) -> FileResult<T> {
        let entered = self.gate.enter(function, Some(target.subject)).await.map_err(FileError::trap)?;
        let checked = match check {
            Ok(checked) => checked,
            Err(failure) => return Err(self.record_failure(entered, failure, &target.mount)),
        };
        if target.mount.access == Access::Read {
            return Err(self.record_failure(entered, Failure::ReadOnly, &target.mount));
        }
        let checked = match self.look(checked).await.map_err(FileError::trap)? {
            Ok(checked) => checked,
            Err(failure) => return Err(self.record_failure(entered, failure, &target.mount)),
        };
        let attempted =
            self.gate.attempt(entered, target.mount.rule(), bytes_out).await.map_err(FileError::trap)?;
        match self.on_disk(move || work(checked)).await {
            Ok(Ok(value)) => {
                self.gate.finish(attempted, HostCallOutcome::Ok);
                Ok(value)
            }
            Ok(Err(failure)) => {
                self.gate.finish(attempted, failure.outcome());
                Err(failure.code().into())
            }
            Err(error) => {
                self.gate.finish(attempted, trapped(&error));
                Err(FileError::trap(error))
            }
        }
    }

    /// Looks at what an effect is about. Only what the grant forbids is refused here: any other error is
    /// the effect's own, and who swaps a path after this look meets the same rule in the effect.
    async fn look<Checked: Look>(&mut self, checked: Checked) -> wasmtime::Result<Result<Checked, Failure>> {
        if !Checked::HAS_PATHS {
            return Ok(Ok(checked));
        }
        let work = move || match checked.look() {
            Err(failure @ (Failure::Outside | Failure::NotRegular)) => Err(failure),
            Ok(()) | Err(_) => Ok(checked),
        };
        self.on_disk(work).await
    }

    /// A function that only looks at the handle.
    pub(super) async fn observe_now<T>(
        &mut self,
        function: &'static HostFunction,
        descriptor: &Descriptor,
        result: Result<T, Failure>,
    ) -> FileResult<T> {
        let target = Target::of(descriptor);
        let entered = self.gate.enter(function, Some(target.subject)).await.map_err(FileError::trap)?;
        match result {
            Ok(value) => {
                self.gate.leave(entered, Decision::Allowed(target.mount.rule()), HostCallOutcome::Ok, 0, 0);
                Ok(value)
            }
            Err(failure) => Err(self.record_failure(entered, failure, &target.mount)),
        }
    }

    pub(super) fn push_file_stream<T: Send + 'static>(
        &mut self,
        handle: FileHandle,
        offset: Option<u64>,
        stands_for: T,
    ) -> FileResult<Resource<T>> {
        let resource = self.push(stands_for).map_err(FileError::trap)?;
        self.filesystem.streams.insert(resource.rep(), FileStream { handle, offset });
        Ok(resource)
    }

    /// Reads on from where a stream over a file stands.
    pub(crate) async fn read_file_stream(&mut self, rep: u32, length: u64) -> StreamResult<Vec<u8>> {
        let Some(stream) = self.filesystem.streams.get(&rep) else {
            return Err(StreamError::trap("no such stream"));
        };
        let (file, offset) = (Arc::clone(&stream.handle.file), stream.offset.unwrap_or(0));
        if length == 0 {
            return Ok(Vec::new());
        }
        let bytes = self
            .on_disk(move || operations::read(&file, offset, length))
            .await
            .map_err(StreamError::Trap)?
            .map_err(stream_failure)?;
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        if let Some(stream) = self.filesystem.streams.get_mut(&rep) {
            stream.offset = Some(offset.saturating_add(bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// Writes where a stream over a file stands. The caller has recorded the attempt.
    pub(crate) async fn write_file_stream(&mut self, rep: u32, bytes: Vec<u8>) -> StreamResult<()> {
        let Some(stream) = self.filesystem.streams.get(&rep) else {
            return Err(StreamError::trap("no such stream"));
        };
        let (handle, offset) = (stream.handle.clone(), stream.offset);
        let count = bytes.len() as u64;
        self.on_disk(move || operations::write(&handle, offset, &bytes))
            .await
            .map_err(StreamError::Trap)?
            .map_err(stream_failure)?;
        if let Some(offset) = self.filesystem.streams.get_mut(&rep).and_then(|stream| stream.offset.as_mut())
        {
            *offset = offset.saturating_add(count);
        }
        Ok(())
    }

    pub(super) fn opened(
        &mut self,
        opened: Opened,
        path: Arc<str>,
        mount: Arc<Mount>,
        flags: DescriptorFlags,
    ) -> Descriptor {
        self.filesystem.open_files += 1;
        let usage = self.gate.usage();
        usage.open_files_peak = usage.open_files_peak.max(self.filesystem.open_files);
        match opened {
            Opened::Folder(dir) => Descriptor::Folder(FolderHandle { dir: Arc::new(dir), path, mount }),
            Opened::File(file) => Descriptor::File(FileHandle {
                file: Arc::new(HeldFile { file: Some(file), mount: Arc::clone(&mount) }),
                path,
                mount,
                readable: flags.contains(DescriptorFlags::READ),
                writable: flags.contains(DescriptorFlags::WRITE),
            }),
        }
    }
}

pub(super) fn stream_failure(failure: Failure) -> StreamError {
    StreamError::LastOperationFailed(failure.code().into())
}

pub(super) fn readable(descriptor: &Descriptor) -> Result<FileHandle, Failure> {
    let file = descriptor.file()?;
    if file.readable { Ok(file.clone()) } else { Err(Failure::Code(ErrorCode::BadDescriptor)) }
}

pub(super) fn writable(descriptor: &Descriptor) -> Result<FileHandle, Failure> {
    let file = descriptor.file()?;
    if file.mount.access == Access::Read {
        return Err(Failure::ReadOnly);
    }
    if file.writable { Ok(file.clone()) } else { Err(Failure::Code(ErrorCode::BadDescriptor)) }
}

/// A folder and a checked path below it.
pub(super) fn place(descriptor: &Descriptor, path: &str) -> Result<(FolderHandle, GuestPath), Failure> {
    Ok((descriptor.folder()?.clone(), GuestPath::parse(path)?))
}

/// The same, for functions that make, move or remove the name itself.
pub(super) fn named_place(descriptor: &Descriptor, path: &str) -> Result<(FolderHandle, GuestPath), Failure> {
    let (folder, path) = place(descriptor, path)?;
    if path.is_named() { Ok((folder, path)) } else { Err(Failure::Code(ErrorCode::Invalid)) }
}

pub(super) fn two_places(
    from: &Descriptor,
    from_path: &str,
    to: &Descriptor,
    to_path: &str,
) -> Result<(FolderHandle, GuestPath, FolderHandle, GuestPath), Failure> {
    let (from, from_path) = named_place(from, from_path)?;
    let (to, to_path) = named_place(to, to_path)?;
    Ok((from, from_path, to, to_path))
}

pub(super) fn metadata_of(descriptor: &Descriptor) -> Result<Metadata, Failure> {
    Ok(match descriptor {
        Descriptor::Folder(folder) => folder.dir.dir_metadata()?,
        Descriptor::File(file) => file.file.metadata()?,
    })
}

pub(super) fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

pub(super) fn nothing<T>(_: &T) -> u64 {
    0
}
