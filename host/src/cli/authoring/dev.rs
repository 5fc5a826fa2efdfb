//! `portcullis dev`: builds a project again when its sources change, and serves what was built last, over MCP on
//! loopback and to lines on stdin, in a host that nothing is kept of.
//!
//! A build that fails changes nothing: what was built before it is served on.

use std::io::{self, BufRead, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::building::made;
use super::scratch::{AGENT, Scratch};
use super::{allowed, build_failure};
use crate::api::Problem;
use crate::arguments::parse_arguments;
use crate::authoring::build::{MANIFEST_FILE, manifest_of};
use crate::authoring::watch::Seen;
use crate::cli::arguments::{Allowed, DevArguments};
use crate::cli::door::Door;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::input;
use crate::cli::output::Output;
use crate::cli::show;
use crate::cli::signals::Signals;
use crate::gateway::{AddedPackage, CallAnswer, GrantsSource};
use crate::ids::{PackageDigest, PackageName, ToolName};

/// How often the sources are looked at. A change is built when they stayed as they are for so long.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// The longest line of stdin, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Lines that wait.
const LINES_MAX: usize = 16;
/// The most builds that the host keeps: an interpreter with its compiled code is a hundred megabytes.
const BUILDS_MAX: usize = 8;

const HELP: &str = "\
TOOL {json}   call a tool, such as: count {\"text\": \"a b\"}
:tools        the tools of the last good build
:build        build again
:quit         end (also the end of stdin, or Ctrl-C)";

/// What happens, one JSON document a line with `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Happened<'a> {
    /// Where agents reach it, with which key, from now on and until it ends.
    Serving { url: &'a str, key: &'a str, agent: &'a str },
    /// A build is served from now on.
    Built { package: &'a PackageName, digest: PackageDigest, tools: Vec<&'a str>, elapsed_ms: u64 },
    /// A build came to the same bytes.
    Unchanged { elapsed_ms: u64 },
    /// It failed; what was served is served on.
    BuildFailed { error: String, still_served: bool },
    /// The grant for trying it changed, and is in force.
    Granted { grants: &'a str },
    /// It can't be in force; what was is on.
    GrantsRefused { error: String },
    /// A line was a call, which was answered.
    Answer { tool: &'a ToolName, answer: &'a CallAnswer },
    /// Or was not.
    CallFailed { error: String },
}

/// Builds, serves and watches until stdin or a signal says to end.
pub(in crate::cli) async fn dev(arguments: DevArguments, output: &Output, signals: &mut Signals) -> Exit {
    let scratch = match Scratch::open().await {
        Ok(scratch) => scratch,
        Err(failure) => return failure.report(output),
    };
    let done = tokio::select! {
        done = develop(&scratch, arguments, output) => done,
        () = signals.next() => Ok(()),
    };
    let closed = scratch.close().await;
    match done.and(closed) {
        Ok(()) => Exit::Ok,
        Err(failure) => failure.report(output),
    }
}

async fn develop(scratch: &Scratch, arguments: DevArguments, output: &Output) -> Result<(), Failure> {
    let DevArguments { folder, port, no_repl, allowed } = arguments;
    // A folder that is no project does not become one by waiting; a manifest with errors may be mended.
    if !folder.join(MANIFEST_FILE).is_file() {
        manifest_of(&folder).map_err(build_failure)?;
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::input(format!("{address} can't be listened on: {error}; name another --port"))
    })?;
    let door = Door::on_loopback(listener)?;
    // Flags that make no grant never will.
    allowed::grants(&"tool".parse().expect("the constant is a name"), &allowed)?;
    let key = scratch.key().await?;
    let url = format!("{}/mcp", door.url);
    say(output, &Happened::Serving { url: &url, key: &key, agent: AGENT }, || {
        format!("MCP over HTTP:  {url}\nkey:            {key}   (Authorization: Bearer; for this run only)")
    })?;
    let (stop, stopping) = watch::channel(false);
    let mut stopped = stopping.clone();
    let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
    let serving = tokio::spawn(door.serve(scratch.host(), stopping, until));
    let lines = if no_repl { None } else { Some(lines()?) };
    let project = Project { folder, allowed, scratch, output };
    let done = project.watch(lines).await;
    stop.send_replace(true);
    if let Err(error) = serving.await {
        tracing::warn!(%error, "the server ended early");
    }
    done
}

/// Tells one thing that happened: as a line of JSON on stdout, or for people on stderr.
fn say(output: &Output, happened: &Happened<'_>, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if output.json {
        return output.answer(happened, |_| String::new());
    }
    output.note(&text());
    Ok(())
}

/// What is under way, of which there is at most one of a kind.
type Work<'a, T> = Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

/// What came of a call, and of which tool.
type Called = (ToolName, Result<CallAnswer, Failure>);

/// Ends with what is under way; never, if nothing is.
async fn done<T>(work: &mut Work<'_, T>) -> T {
    let result = match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    };
    *work = None;
    result
}

/// A build that is served.
struct Served {
    package: AddedPackage,
    /// How many builds the host holds.
    held: usize,
}

struct Project<'a> {
    folder: PathBuf,
    allowed: Allowed,
    scratch: &'a Scratch,
    output: &'a Output,
}

impl Project<'_> {
    /// Ends with the lines, if there are any.
    async fn watch(&self, mut lines: Option<mpsc::Receiver<Line>>) -> Result<(), Failure> {
        let mut served: Option<Arc<Served>> = None;
        let mut built = Seen::default();
        let mut last = self.look()?;
        let (mut building, mut serving, mut calling): (Work<'_, _>, Work<'_, _>, Work<'_, _>) =
            (None, None, None);
        let (mut is_wanted, mut is_settled) = (true, false);
        let mut started = Instant::now();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            if is_wanted && serving.is_none() {
                is_wanted = false;
                built.clone_from(&last);
                started = Instant::now();
                // One that is under way is of sources that are no more: it is stopped.
                building = Some(Box::pin(made(self.folder.clone(), self.output)));
            }
            tokio::select! {
                result = done(&mut building) => match result {
                    Ok(made) => serving = Some(Box::pin(self.serve(Bytes::from(made.component), served.clone()))),
                    Err(failure) => {
                        is_settled = true;
                        self.failed(failure, served.is_some())?;
                    }
                },
                (now, result) = done(&mut serving) => {
                    served = now;
                    is_settled = true;
                    match result {
                        Ok(is_new) => self.tell(served.as_deref(), is_new, started.elapsed())?,
                        Err(failure) => self.failed(failure, served.is_some())?,
                    }
                }
                result = done(&mut calling) => self.answered(result)?,
                // Lines wait for the first build, so that they can be piped in.
                line = next(&mut lines), if is_settled && calling.is_none() => match line {
                    Some(Line::Call(tool, text)) => calling = self.call(served.as_deref(), tool, text)?,
                    Some(Line::Build) => is_wanted = true,
                    Some(Line::Tools) => self.output.text(&tools(served.as_deref()).join("\n"))?,
                    Some(Line::Help) => self.output.note(HELP),
                    Some(Line::Unknown(said)) => self.output.note(&format!("{said}; :help says what is")),
                    Some(Line::Quit) | None => return Ok(()),
                },
                _ = ticks.tick() => {
                    // Between two looks an editor may be writing.
                    let now = self.look().unwrap_or_else(|_| last.clone());
                    let is_still = now == last;
                    last = now;
                    if is_still && last.sources != built.sources && serving.is_none() {
                        is_wanted = true;
                    } else if is_still && last.grants != built.grants && building.is_none() && serving.is_none() {
                        built.grants = last.grants;
                        if let Some(served) = &served {
                            self.grant(&served.package.package).await?;
                        }
                    }
                }
            }
        }
    }

    fn look(&self) -> Result<Seen, Failure> {
        Seen::look(&self.folder)
            .map_err(|error| Failure::input(format!("the project can't be watched: {error}")))
    }

    /// Has a component served in the place of the one before it. One that can't be leaves that one in its place.
    async fn serve(
        &self,
        component: Bytes,
        before: Option<Arc<Served>>,
    ) -> (Option<Arc<Served>>, Result<bool, Failure>) {
        let digest = PackageDigest::of(&component);
        if before.as_ref().is_some_and(|before| before.package.digest == digest) {
            return (before, Ok(false));
        }
        let added = match self.scratch.add(component.clone(), None).await {
            Ok(added) => added,
            Err(failure) => return (before, Err(failure)),
        };
        let held = before.as_ref().map_or(1, |before| before.held + 1);
        match self.replace(component, added, before.as_deref(), held).await {
            Ok(served) => (Some(Arc::new(served)), Ok(true)),
            Err(failure) => (None, Err(failure)),
        }
    }

    async fn replace(
        &self,
        component: Bytes,
        mut added: AddedPackage,
        before: Option<&Served>,
        mut held: usize,
    ) -> Result<Served, Failure> {
        if let Some(before) = before {
            let is_renamed = before.package.package != added.package;
            if is_renamed {
                self.scratch.remove(&before.package.package).await?;
            }
            if is_renamed || held > BUILDS_MAX {
                // Those before it go with their name; it alone comes back, after a moment without it.
                if !is_renamed {
                    self.scratch.remove(&added.package).await?;
                    added = self.scratch.add(component, None).await?;
                }
                held = 1;
            }
        }
        self.scratch.approve(&added).await?;
        self.grant(&added.package).await?;
        Ok(Served { package: added, held })
    }

    /// Puts the grant for trying it in force: that of the flags if there are any, else the project's own.
    async fn grant(&self, package: &PackageName) -> Result<(), Failure> {
        let file = self.folder.join("grants.toml");
        let (granted, from) = if self.allowed.is_empty() && file.is_file() {
            let granted = match input::grants(file.clone()).await {
                Ok(source) => self.applied(source).await,
                Err(failure) => Err(failure),
            };
            (granted, "grants.toml")
        } else {
            let text = allowed::grants(package, &self.allowed)?;
            let source = GrantsSource { file: "--allow-…".to_owned(), folder: PathBuf::from("."), text };
            (self.applied(source).await, "the flags")
        };
        match granted {
            Ok(()) => {
                say(self.output, &Happened::Granted { grants: from }, || format!("granted         by {from}"))
            }
            Err(failure) => {
                let error = failure.detail();
                if self.output.json {
                    return say(self.output, &Happened::GrantsRefused { error }, String::new);
                }
                let _ = failure.report(self.output);
                self.output.note("the grant is refused; it is read again when it changes");
                Ok(())
            }
        }
    }

    async fn applied(&self, source: GrantsSource) -> Result<(), Failure> {
        let (file, text) = (source.file.clone(), source.text.clone());
        let applied = self.scratch.apply(source).await;
        applied.map_err(|error| Failure::from(error).about(file, text))
    }

    fn tell(&self, served: Option<&Served>, is_new: bool, elapsed: Duration) -> Result<(), Failure> {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let Some(served) = served.filter(|_| is_new) else {
            return say(self.output, &Happened::Unchanged { elapsed_ms }, || {
                "built           the same bytes".to_owned()
            });
        };
        let package = &served.package;
        let tools = tools(Some(served));
        let happened = Happened::Built {
            package: &package.package,
            digest: package.digest,
            tools: tools.clone(),
            elapsed_ms,
        };
        say(self.output, &happened, || {
            format!(
                "built           {} {} in {elapsed_ms} ms: {}",
                package.package,
                package.version,
                tools.join(", ")
            )
        })
    }

    fn failed(&self, failure: Failure, still_served: bool) -> Result<(), Failure> {
        if self.output.json {
            let happened = Happened::BuildFailed { error: failure.detail(), still_served };
            return say(self.output, &happened, String::new);
        }
        let _ = failure.report(self.output);
        let next =
            if still_served { "what was built before it is served on" } else { "nothing is served yet" };
        self.output.note(&format!("{next}; it is built again when a source changes"));
        Ok(())
    }

    fn call<'s>(
        &'s self,
        served: Option<&Served>,
        tool: String,
        text: String,
    ) -> Result<Work<'s, Called>, Failure> {
        let Some(served) = served else {
            self.refused("nothing is served yet".to_owned())?;
            return Ok(None);
        };
        let given = tool.parse::<ToolName>().map_err(|error| error.to_string()).and_then(|tool| {
            Ok((tool, parse_arguments(text.as_bytes()).map_err(|error| format!("arguments: {error}"))?))
        });
        let (tool, given) = match given {
            Ok(given) => given,
            Err(error) => {
                self.refused(error)?;
                return Ok(None);
            }
        };
        let package = served.package.package.clone();
        Ok(Some(Box::pin(async move {
            let called = self.scratch.call(&package, &tool, given).await;
            let called = called.map_err(|error| Failure::from(Problem::from(error)));
            (tool, called)
        })))
    }

    fn answered(&self, (tool, called): Called) -> Result<(), Failure> {
        match called {
            Ok(answer) if self.output.json => {
                say(self.output, &Happened::Answer { tool: &tool, answer: &answer }, String::new)
            }
            Ok(answer) => {
                show::printed(&answer.report, self.output);
                self.output.text(&show::answer(&answer.answer))
            }
            Err(failure) if self.output.json => self.refused(failure.detail()),
            Err(failure) => {
                let _ = failure.report(self.output);
                Ok(())
            }
        }
    }

    fn refused(&self, error: String) -> Result<(), Failure> {
        let text = error.clone();
        say(self.output, &Happened::CallFailed { error }, || {
            format!("{} {text}", self.output.alarming("error:"))
        })
    }
}

fn tools(served: Option<&Served>) -> Vec<&str> {
    let tools = served.into_iter().flat_map(|served| &served.package.description.tools);
    tools.map(|tool| tool.name.as_str()).collect()
}

/// What a line of stdin asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// A tool, and its arguments as JSON text.
    Call(String, String),
    Tools,
    Build,
    Help,
    Quit,
    Unknown(String),
}

/// Reads a line; `None` for one with nothing in it.
fn line(text: &str) -> Option<Line> {
    let text = text.trim();
    Some(match text {
        "" => return None,
        ":tools" => Line::Tools,
        ":build" => Line::Build,
        ":help" | "help" | "?" => Line::Help,
        ":quit" => Line::Quit,
        _ if text.starts_with(':') => Line::Unknown(format!("{text:?} is nothing that is known here")),
        _ => {
            let (tool, given) = text.split_once(char::is_whitespace).unwrap_or((text, "{}"));
            Line::Call(tool.to_owned(), given.trim().to_owned())
        }
    })
}

/// The next line; never, if stdin is not read.
async fn next(lines: &mut Option<mpsc::Receiver<Line>>) -> Option<Line> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// Reads stdin on a thread of its own, which a program that ends does not wait for.
fn lines() -> Result<mpsc::Receiver<Line>, Failure> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let read = move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut text = Vec::new();
            match (&mut stdin).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut text) {
                Ok(0) | Err(_) => return,
                Ok(bytes) => {
                    let is_cut = bytes == LINE_BYTES_MAX && !text.ends_with(b"\n");
                    let told = match String::from_utf8(text) {
                        Ok(_) if is_cut => Some(Line::Unknown("the line is too long".to_owned())),
                        Ok(text) => line(&text),
                        Err(_) => Some(Line::Unknown("the line is no UTF-8".to_owned())),
                    };
                    if is_cut && stdin.skip_until(b'\n').is_err() {
                        return;
                    }
                    if told.is_some_and(|told| sender.blocking_send(told).is_err()) {
                        return;
                    }
                }
            }
        }
    };
    let started = thread::Builder::new().name("stdin".to_owned()).spawn(read);
    started.map_err(|error| Failure::host(format!("a thread can't be started: {error}")))?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_call_or_a_word_with_a_colon() {
        let call = |tool: &str, given: &str| Some(Line::Call(tool.to_owned(), given.to_owned()));
        assert_eq!(line("count {\"text\": \"a b\"}\n"), call("count", "{\"text\": \"a b\"}"));
        assert_eq!(line("  count  "), call("count", "{}"));
        assert_eq!(line(" \n"), None);
        assert_eq!(line(":tools"), Some(Line::Tools));
        assert!(matches!(line(":cuont"), Some(Line::Unknown(_))));
    }
}
