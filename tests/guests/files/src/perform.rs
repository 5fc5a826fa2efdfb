//! Performs one step on the handles that are open.

use std::collections::BTreeMap;

use crate::bindings::wasi::clocks::wall_clock::Datetime;
use crate::bindings::wasi::filesystem::preopens::get_directories;
use crate::bindings::wasi::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, NewTimestamp, OpenFlags,
    PathFlags, filesystem_error_code,
};
use crate::bindings::wasi::io::streams::{OutputStream, StreamError};
use crate::step::{Data, Step, When};

/// How many bytes of what was read an answer shows.
const SHOWN_BYTES_MAX: usize = 256;
/// The most that `blocking-write-and-flush` takes at a time.
const FLUSH_BYTES_MAX: usize = 4096;

/// Why a step did not work.
pub enum Failure {
    /// The host said so.
    Code {
        /// The code's name in WIT.
        name: String,
        /// How much had been done before.
        after: Option<u64>,
    },
    /// The step makes no sense.
    BadStep(String),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Failure::Code { name: code.name().to_owned(), after: None }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        let name = match error {
            StreamError::Closed => "closed".to_owned(),
            StreamError::LastOperationFailed(error) => match filesystem_error_code(&error) {
                Some(code) => code.name().to_owned(),
                None => format!("unknown ({})", error.to_debug_string()),
            },
        };
        Failure::Code { name, after: None }
    }
}

impl Failure {
    fn after(self, count: u64) -> Self {
        match self {
            Failure::Code { name, after: _ } => Failure::Code { name, after: Some(count) },
            Failure::BadStep(reason) => Failure::BadStep(reason),
        }
    }
}

type Answer = Result<Option<String>, Failure>;

/// The open handles, by name.
pub struct Handles {
    named: BTreeMap<String, Descriptor>,
    unnamed: Vec<Descriptor>,
}

impl Handles {
    /// The granted folders.
    pub fn granted() -> Self {
        let named = get_directories().into_iter().map(|(folder, path)| (path, folder)).collect();
        Self { named, unnamed: Vec::new() }
    }

    fn at(&self, name: &str) -> Result<&Descriptor, Failure> {
        self.named.get(name).ok_or_else(|| Failure::BadStep(format!("no handle {name:?}")))
    }

    /// Performs one step.
    pub fn perform(&mut self, step: Step) -> Answer {
        match step {
            Step::Preopens => {
                let names: Vec<String> = get_directories().into_iter().map(|(_, path)| path).collect();
                Ok(Some(names.join(" ")))
            }
            Step::Open { at, path, follow, open, flags, name } => {
                let opened =
                    self.at(&at)?.open_at(path_flags(follow), &path, open_flags(&open)?, access(&flags)?)?;
                self.named.insert(name, opened);
                Ok(None)
            }
            Step::OpenMany { at, path, count } => self.open_many(&at, count, |_| path.clone(), false),
            Step::CreateMany { at, prefix, count } => {
                self.open_many(&at, count, |number| format!("{prefix}{number}"), true)
            }
            Step::Close { at } => {
                self.at(&at)?;
                self.named.remove(&at);
                Ok(None)
            }
            Step::Read { at, length, offset } => shown(&self.at(&at)?.read(length, offset)?.0),
            Step::ReadStream { at, length, offset } => read_stream(self.at(&at)?, length, offset),
            Step::Write { at, data, offset } => {
                Ok(Some(self.at(&at)?.write(&data.bytes(), offset)?.to_string()))
            }
            Step::WriteStream { at, data, offset } => {
                write_stream(&self.at(&at)?.write_via_stream(offset)?, data)
            }
            Step::AppendStream { at, data } => write_stream(&self.at(&at)?.append_via_stream()?, data),
            Step::WriteAndLeave { at, data } => write_and_leave(self.at(&at)?, data),
            Step::SetSize { at, size } => done(self.at(&at)?.set_size(size)),
            Step::SetTimes { at, accessed, modified } => {
                done(self.at(&at)?.set_times(timestamp(accessed), timestamp(modified)))
            }
            Step::SetTimesAt { at, path, follow, accessed, modified } => done(self.at(&at)?.set_times_at(
                path_flags(follow),
                &path,
                timestamp(accessed),
                timestamp(modified),
            )),
            Step::Sync { at } => done(self.at(&at)?.sync()),
            Step::SyncData { at } => done(self.at(&at)?.sync_data()),
            Step::Advise { at } => done(self.at(&at)?.advise(0, 0, Advice::WillNeed)),
            Step::GetFlags { at } => Ok(Some(flag_names(self.at(&at)?.get_flags()?))),
            Step::GetType { at } => Ok(Some(type_name(self.at(&at)?.get_type()?).to_owned())),
            Step::Stat { at } => Ok(Some(status(&self.at(&at)?.stat()?))),
            Step::StatAt { at, path, follow } => {
                Ok(Some(status(&self.at(&at)?.stat_at(path_flags(follow), &path)?)))
            }
            Step::MetadataHash { at } => {
                let hash = self.at(&at)?.metadata_hash()?;
                Ok(Some(format!("{:016x}{:016x}", hash.upper, hash.lower)))
            }
            Step::MetadataHashAt { at, path, follow } => {
                let hash = self.at(&at)?.metadata_hash_at(path_flags(follow), &path)?;
                Ok(Some(format!("{:016x}{:016x}", hash.upper, hash.lower)))
            }
            Step::IsSameObject { at, other } => {
                Ok(Some(self.at(&at)?.is_same_object(self.at(&other)?).to_string()))
            }
            Step::ReadDirectory { at } => read_directory(self.at(&at)?),
            Step::Mkdir { at, path } => done(self.at(&at)?.create_directory_at(&path)),
            Step::Rmdir { at, path } => done(self.at(&at)?.remove_directory_at(&path)),
            Step::Unlink { at, path } => done(self.at(&at)?.unlink_file_at(&path)),
            Step::Rename { at, path, to, new_path } => {
                done(self.at(&at)?.rename_at(&path, self.at(&to)?, &new_path))
            }
            Step::Link { at, path, follow, to, new_path } => {
                done(self.at(&at)?.link_at(path_flags(follow), &path, self.at(&to)?, &new_path))
            }
            Step::Symlink { at, target, path } => done(self.at(&at)?.symlink_at(&target, &path)),
            Step::Readlink { at, path } => Ok(Some(self.at(&at)?.readlink_at(&path)?)),
        }
    }

    fn open_many(&mut self, at: &str, count: u32, path: impl Fn(u32) -> String, create: bool) -> Answer {
        let (open, flags) = if create {
            (OpenFlags::CREATE | OpenFlags::EXCLUSIVE, DescriptorFlags::READ | DescriptorFlags::WRITE)
        } else {
            (OpenFlags::empty(), DescriptorFlags::READ)
        };
        for number in 0..count {
            match self.at(at)?.open_at(PathFlags::empty(), &path(number), open, flags) {
                // A created file is closed again; what is only opened is there to be held.
                Ok(opened) if create => drop(opened),
                Ok(opened) => self.unnamed.push(opened),
                Err(code) => return Err(Failure::from(code).after(number.into())),
            }
        }
        Ok(Some(count.to_string()))
    }
}

fn done(result: Result<(), ErrorCode>) -> Answer {
    result?;
    Ok(None)
}

fn shown(bytes: &[u8]) -> Answer {
    let start = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    Ok(Some(format!("{} bytes: {}", bytes.len(), String::from_utf8_lossy(start))))
}

fn read_stream(file: &Descriptor, length: u64, offset: u64) -> Answer {
    let stream = file.read_via_stream(offset)?;
    let mut bytes = Vec::new();
    loop {
        let left = length.saturating_sub(bytes.len() as u64);
        if left == 0 {
            return shown(&bytes);
        }
        match stream.blocking_read(left) {
            Ok(part) => bytes.extend(part),
            Err(StreamError::Closed) => return shown(&bytes),
            Err(error @ StreamError::LastOperationFailed(_)) => {
                return Err(Failure::from(error).after(bytes.len() as u64));
            }
        }
    }
}

fn write_stream(stream: &OutputStream, data: Data) -> Answer {
    let mut written = 0_u64;
    for part in data.bytes().chunks(FLUSH_BYTES_MAX) {
        stream.blocking_write_and_flush(part).map_err(|error| Failure::from(error).after(written))?;
        written += part.len() as u64;
    }
    Ok(Some(written.to_string()))
}

fn write_and_leave(file: &Descriptor, data: Data) -> Answer {
    let stream = file.write_via_stream(0)?;
    let mut bytes = data.bytes();
    bytes.truncate(usize::try_from(stream.check_write()?).unwrap_or(usize::MAX));
    stream.write(&bytes)?;
    Ok(Some(bytes.len().to_string()))
}

fn read_directory(folder: &Descriptor) -> Answer {
    let entries = folder.read_directory()?;
    let mut names = Vec::new();
    loop {
        match entries.read_directory_entry() {
            Ok(Some(entry)) => names.push(format!("{}:{}", entry.name, type_name(entry.type_))),
            Ok(None) => break,
            Err(code) => return Err(Failure::from(code).after(names.len() as u64)),
        }
    }
    names.sort();
    Ok(Some(format!("{}: {}", names.len(), names.join(" "))))
}

fn path_flags(follow: bool) -> PathFlags {
    if follow { PathFlags::SYMLINK_FOLLOW } else { PathFlags::empty() }
}

fn open_flags(names: &[String]) -> Result<OpenFlags, Failure> {
    names.iter().try_fold(OpenFlags::empty(), |flags, name| {
        Ok(flags
            | match name.as_str() {
                "create" => OpenFlags::CREATE,
                "directory" => OpenFlags::DIRECTORY,
                "exclusive" => OpenFlags::EXCLUSIVE,
                "truncate" => OpenFlags::TRUNCATE,
                other => return Err(Failure::BadStep(format!("no open flag {other:?}"))),
            })
    })
}

/// The flags of a descriptor, by their names in WIT.
const ACCESS: [(&str, DescriptorFlags); 6] = [
    ("read", DescriptorFlags::READ),
    ("write", DescriptorFlags::WRITE),
    ("file-integrity-sync", DescriptorFlags::FILE_INTEGRITY_SYNC),
    ("data-integrity-sync", DescriptorFlags::DATA_INTEGRITY_SYNC),
    ("requested-write-sync", DescriptorFlags::REQUESTED_WRITE_SYNC),
    ("mutate-directory", DescriptorFlags::MUTATE_DIRECTORY),
];

fn access(names: &[String]) -> Result<DescriptorFlags, Failure> {
    names.iter().try_fold(DescriptorFlags::empty(), |flags, name| {
        let found = ACCESS.iter().find(|(known, _)| known == name);
        let (_, flag) = found.ok_or_else(|| Failure::BadStep(format!("no flag {name:?}")))?;
        Ok(flags | *flag)
    })
}

fn flag_names(flags: DescriptorFlags) -> String {
    let names = ACCESS.iter().filter(|(_, flag)| (flags & *flag) == *flag).map(|(name, _)| *name);
    names.collect::<Vec<_>>().join(" ")
}

fn timestamp(when: When) -> NewTimestamp {
    match when {
        When::NoChange => NewTimestamp::NoChange,
        When::Now => NewTimestamp::Now,
        When::At(seconds, nanoseconds) => NewTimestamp::Timestamp(Datetime { seconds, nanoseconds }),
    }
}

fn type_name(kind: DescriptorType) -> &'static str {
    match kind {
        DescriptorType::Unknown => "unknown",
        DescriptorType::BlockDevice => "block-device",
        DescriptorType::CharacterDevice => "character-device",
        DescriptorType::Directory => "directory",
        DescriptorType::Fifo => "fifo",
        DescriptorType::SymbolicLink => "symbolic-link",
        DescriptorType::RegularFile => "regular-file",
        DescriptorType::Socket => "socket",
    }
}

fn status(status: &DescriptorStat) -> String {
    let time = |time: Option<Datetime>| match time {
        Some(time) => format!("{}.{:09}", time.seconds, time.nanoseconds),
        None => "-".to_owned(),
    };
    format!(
        "{} size={} links={} accessed={} modified={}",
        type_name(status.type_),
        status.size,
        status.link_count,
        time(status.data_access_timestamp),
        time(status.data_modification_timestamp),
    )
}
