//! Files and stdin that a command is given, each read within a bound.
//!
//! Reads on a thread of its own, so that a signal ends the wait for a slow one.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};

use super::failure::Failure;
use crate::api::Problem;
use crate::arguments::ARGUMENT_BYTES_MAX;
use crate::gateway::GrantsSource;
use crate::limits::{Limit, LimitReached};
use crate::policy::parse::GRANTS_FILE_BYTES_MAX;
use crate::secrets::{SECRET_BYTES_MAX, ValueError};

/// The name that stands for stdin.
const STDIN: &str = "-";

/// The bytes of a component.
pub(super) async fn component(file: PathBuf) -> Result<Bytes, Failure> {
    let max = Limit::ComponentBytes.row().ceiling;
    let bytes_max = usize::try_from(max).unwrap_or(usize::MAX);
    match read(file.clone(), bytes_max).await? {
        Input::All(bytes) => Ok(bytes.into()),
        Input::TooLong { bytes } => {
            let reached = LimitReached { limit: Limit::ComponentBytes, value: bytes, max };
            Err(Problem::component_too_large(reached).into())
        }
    }
}

/// A file of text, such as a key or a signature.
pub(super) async fn text(file: PathBuf, bytes_max: usize) -> Result<String, Failure> {
    let name = file.display().to_string();
    match read(file, bytes_max).await? {
        Input::All(bytes) => String::from_utf8(bytes).map_err(|error| {
            Failure::input(format!(
                "{name} is not UTF-8 text, from byte {} on",
                error.utf8_error().valid_up_to()
            ))
        }),
        Input::TooLong { bytes } => {
            Err(Failure::input(format!("{name} has {bytes} bytes or more, at most {bytes_max} are read")))
        }
    }
}

/// The text of a call's arguments: as they stand, `@FILE`, or `-`.
pub(super) async fn arguments(given: String) -> Result<Bytes, Failure> {
    let file = match given.strip_prefix('@') {
        Some(file) => PathBuf::from(file),
        None if given == STDIN => PathBuf::from(given),
        None => return Ok(given.into()),
    };
    match read(file, ARGUMENT_BYTES_MAX).await? {
        Input::All(bytes) => Ok(bytes.into()),
        Input::TooLong { bytes } => {
            let detail = format!(
                "the arguments are {bytes} bytes long or longer, at most {ARGUMENT_BYTES_MAX} are read"
            );
            Err(Failure::input(detail))
        }
    }
}

/// A grants file, with the folder that its relative paths begin at.
pub(super) async fn grants(file: PathBuf) -> Result<GrantsSource, Failure> {
    let is_stdin = file == Path::new(STDIN);
    let name = if is_stdin { "stdin".to_owned() } else { file.to_string_lossy().into_owned() };
    let bytes = match read(file.clone(), GRANTS_FILE_BYTES_MAX).await? {
        Input::All(bytes) => bytes,
        Input::TooLong { bytes } => {
            let detail = format!(
                "the grants file {name} has {bytes} bytes or more, at most {GRANTS_FILE_BYTES_MAX} are read"
            );
            return Err(Failure::input(detail));
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::input(format!("the grants file {name} is not UTF-8 text, from byte {at} on"))
    })?;
    let folder = if is_stdin { Path::new(".") } else { parent(&file) };
    let folder = std::path::absolute(folder)
        .map_err(|error| Failure::input(format!("the folder of {name}: {error}")))?;
    if folder.to_str().is_none() {
        let detail = format!("the folder of {name} has a name that is not UTF-8, which grants can't name");
        return Err(Failure::input(detail));
    }
    Ok(GrantsSource { file: name, folder, text })
}

/// The value of a secret, without the newline that a file or an `echo` ends with.
/// From a terminal it is typed, after `prompt`, and not shown.
pub(super) async fn secret(file: Option<PathBuf>, prompt: &str) -> Result<Bytes, Failure> {
    let file = file.unwrap_or_else(|| PathBuf::from(STDIN));
    let is_typed = file == Path::new(STDIN) && io::stdin().is_terminal();
    // With the newline that is cut.
    let bytes_max = SECRET_BYTES_MAX + 2;
    let given = if is_typed { typed(prompt, bytes_max).await? } else { read(file, bytes_max).await? };
    match given {
        Input::All(mut bytes) => {
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            }
            Ok(bytes.into())
        }
        Input::TooLong { bytes } => {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Err(Failure::input(ValueError::TooLong(bytes).to_string()))
        }
    }
}

/// Whether somebody is there who can be asked: who types on stdin, and sees stderr.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for yes or no at the terminal. Anything but a yes is a no, and so is the end of the input.
pub(super) async fn confirmed(question: &str) -> Result<bool, Failure> {
    const ANSWER_BYTES_MAX: usize = 80;
    let unusable = |error: io::Error| Failure::input(format!("the terminal can't be read: {error}"));
    // What was typed before the question is no answer to it.
    tcflush(io::stdin(), FlushArg::TCIFLUSH).map_err(|error| unusable(error.into()))?;
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(unusable)?;
    let read = tokio::task::spawn_blocking(|| line_from(io::stdin().lock(), ANSWER_BYTES_MAX)).await;
    match read {
        Ok(Ok(Input::All(line))) => {
            let answer = String::from_utf8_lossy(&line).trim().to_ascii_lowercase();
            Ok(matches!(answer.as_str(), "y" | "yes"))
        }
        Ok(Ok(Input::TooLong { .. })) => Ok(false),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Ok(Err(error)) => Err(unusable(error)),
        Err(error) => Err(Failure::host(format!("stdin was not read to its end: {error}"))),
    }
}

/// A terminal that does not show what is typed, until this is dropped: at the end, and when a signal ends the wait.
struct Unseen {
    before: Termios,
}

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_flags.remove(LocalFlags::ECHO);
        // The newline is shown, so that what follows begins a line.
        unseen.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &unseen)?;
        Ok(Self { before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // What was typed and not read goes: nobody else is to find it. A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.before);
    }
}

/// A line that is typed and not shown.
async fn typed(prompt: &str, bytes_max: usize) -> Result<Input, Failure> {
    let unusable = |error: io::Error| Failure::input(format!("the terminal can't be read: {error}"));
    let unseen = Unseen::begin().map_err(unusable)?;
    // What else is on stderr is not what is asked for.
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}").and_then(|()| stderr.flush()).map_err(unusable)?;
    let read = tokio::task::spawn_blocking(move || line_from(io::stdin().lock(), bytes_max)).await;
    drop(unseen);
    match read {
        Ok(read) => read.map_err(unusable),
        Err(error) => Err(Failure::host(format!("stdin was not read to its end: {error}"))),
    }
}

fn line_from(source: impl BufRead, bytes_max: usize) -> io::Result<Input> {
    let mut bytes = Vec::new();
    source.take(bytes_max as u64 + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before a line was typed"));
    }
    if bytes.len() > bytes_max {
        return Ok(Input::TooLong { bytes: bytes_max as u64 + 1 });
    }
    Ok(Input::All(bytes))
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

enum Input {
    All(Vec<u8>),
    /// At least so many bytes.
    TooLong {
        bytes: u64,
    },
}

async fn read(file: PathBuf, bytes_max: usize) -> Result<Input, Failure> {
    let name = file.display().to_string();
    let read = tokio::task::spawn_blocking(move || {
        if file == Path::new(STDIN) {
            read_from(io::stdin().lock(), None, bytes_max)
        } else {
            let file = File::open(&file)?;
            let metadata = file.metadata()?;
            let length = metadata.is_file().then_some(metadata.len());
            read_from(file, length, bytes_max)
        }
    });
    match read.await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(Failure::input(format!("{name} can't be read: {error}"))),
        Err(error) => Err(Failure::host(format!("{name} was not read to its end: {error}"))),
    }
}

fn read_from(source: impl Read, length: Option<u64>, bytes_max: usize) -> io::Result<Input> {
    let max = bytes_max as u64;
    if let Some(bytes) = length.filter(|length| *length > max) {
        return Ok(Input::TooLong { bytes });
    }
    let mut bytes = Vec::new();
    source.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max { Ok(Input::TooLong { bytes: max + 1 }) } else { Ok(Input::All(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_bound_and_says_how_long_the_rest_is() {
        let read = |text: &'static str, length, max| match read_from(text.as_bytes(), length, max) {
            Ok(Input::All(bytes)) => Ok(bytes.len()),
            Ok(Input::TooLong { bytes }) => Err(bytes),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(read("abc", None, 3), Ok(3));
        assert_eq!(read("abcd", None, 3), Err(4));
        assert_eq!(read("abcdefgh", Some(8), 3), Err(8));
        assert_eq!(read("abcdefgh", Some(2), 3), Err(4), "a file that grows while it is read");
    }

    #[test]
    fn a_typed_value_is_one_line() {
        let typed = |text: &'static str, max| match line_from(text.as_bytes(), max) {
            Ok(Input::All(bytes)) => String::from_utf8(bytes).map_err(|error| error.to_string()),
            Ok(Input::TooLong { bytes }) => Err(bytes.to_string()),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(typed("abc\ndef\n", 9), Ok("abc\n".to_owned()));
        assert_eq!(typed("abc", 9), Ok("abc".to_owned()), "an end of the input ends it");
        assert_eq!(typed("abcd\n", 4), Err("5".to_owned()));
        assert!(typed("", 9).is_err_and(|error| error.contains("before a line")));
    }

    #[test]
    fn the_folder_of_a_bare_file_name_is_the_current_one() {
        assert_eq!(parent(Path::new("grants.toml")), Path::new("."));
        assert_eq!(parent(Path::new("a/grants.toml")), Path::new("a"));
        assert_eq!(parent(Path::new("/grants.toml")), Path::new("/"));
    }
}
