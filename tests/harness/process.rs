//! The built program, as a user starts it: a data folder of its own, real processes, the real socket.
//!
//! Every wait has a deadline, and no process outlives its test.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis::audit::event::Record;
use portcullis::audit::query::{self, Filter};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::log::Folder;
use super::{AGENT, guest, wat};

/// The longest that a command may take on a machine that does other things too.
pub(crate) const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// A data folder, and the folder around it.
#[derive(Debug)]
pub(crate) struct Cli {
    pub(crate) data: PathBuf,
    /// What each command finds in its environment besides the tests' own.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Where commands run; removed at the end.
    pub(crate) temporary: Folder,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that runs. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Cli {
    /// An empty data folder that is not made yet.
    pub(crate) fn new() -> Self {
        let temporary = Folder::new();
        Self { data: temporary.path().join("data"), environment: Vec::new(), temporary }
    }

    /// With a package, approved and granted to [`AGENT`]; `more` follows in its grant.
    pub(crate) fn with(name: &str, bytes: &[u8], more: &str) -> Self {
        let cli = Self::new();
        cli.install(name, bytes, more);
        cli
    }

    /// With the notes tool, which keeps its files in the folder that is returned.
    pub(crate) fn with_notes() -> (Self, PathBuf) {
        let cli = Self::new();
        let folder = cli.install_notes();
        (cli, folder)
    }

    pub(crate) fn install_notes(&self) -> PathBuf {
        let folder = self.path("notes");
        std::fs::create_dir_all(&folder).expect("a folder");
        self.install("notes", &guest("notes"), &notes_folder("notes"));
        folder
    }

    pub(crate) fn install(&self, name: &str, bytes: &[u8], more: &str) {
        let file = self.file(&format!("{name}.wasm"), bytes);
        self.run(["package", "add", &file, "--name", name]).expect(0);
        self.run(["package", "approve", name]).expect(0);
        let grants = self.file(&format!("{name}.toml"), grant(name, more));
        self.run(["grant", "apply", &grants]).expect(0);
    }

    /// A path beside the data folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Writes a file beside the data folder, and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path.to_str().expect("a path of ours is UTF-8").to_owned()
    }

    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.start(arguments).end()
    }

    /// Runs a command that succeeds with `--json`, and reads its answer.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments.iter().copied().chain(["--json"])).expect(0);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Calls a tool as [`AGENT`].
    #[track_caller]
    pub(crate) fn call(&self, package: &str, tool: &str, arguments: &str) -> Ran {
        self.start_call(package, tool, arguments).end()
    }

    pub(crate) fn start_call(&self, package: &str, tool: &str, arguments: &str) -> Running {
        self.start(["call", package, tool, "--as", AGENT, "--args", arguments, "--json"])
    }

    /// Starts a command.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.command(arguments);
        command.env("NO_COLOR", "1").envs(self.environment.iter().cloned());
        Running::start(command)
    }

    /// A command that was not started yet, without what is said about colour.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program());
        command.arg("--data-dir").arg(&self.data).args(arguments).current_dir(self.temporary.path());
        for name in ["PORTCULLIS_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command
    }

    /// A process that serves this user's commands, once it is ready.
    pub(crate) fn serve(&self) -> Running {
        let owner = self.start(["serve", "--listen", "none"]);
        self.wait_for_owner(&owner);
        owner
    }

    /// A process that serves agents and programs as well, at a port that was free; with more arguments. Its port.
    pub(crate) fn serve_network(&self, more: &[&str]) -> (Running, u16) {
        let owner = self.start(["serve", "--listen", "127.0.0.1:0"].iter().chain(more));
        self.wait_for_owner(&owner);
        (owner, self.port())
    }

    /// Where the process that serves is reached.
    pub(crate) fn port(&self) -> u16 {
        let text = std::fs::read(self.data.join("serving.json")).expect("a process serves");
        let serving: Value = serde_json::from_slice(&text).expect("JSON");
        let url = serving["urls"][0].as_str().expect("a URL");
        url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{url}"))
    }

    /// A process that owns the folder until it is ended: it follows the log.
    pub(crate) fn owner(&self) -> Running {
        let owner = self.start(["audit", "tail", "--follow"]);
        self.wait_for_owner(&owner);
        owner
    }

    fn wait_for_owner(&self, owner: &Running) {
        let pid = owner.child.id().to_string();
        wait_until("the folder is owned", || {
            let owner = std::fs::read_to_string(self.data.join("owner.lock")).unwrap_or_default();
            owner.trim() == pid && self.data.join("owner.sock").exists()
        });
        // It is answered once the host is open.
        self.run(["package", "list"]).expect(0);
    }

    /// The log as it is on disk, without a host.
    pub(crate) fn log(&self) -> Vec<Record> {
        super::read_log(&self.data.join("audit"))
    }

    /// Waits for a record that fits.
    #[track_caller]
    pub(crate) fn wait_for_record<T>(&self, what: &str, fits: impl Fn(&Record) -> Option<T>) -> T {
        let mut found = None;
        wait_until(what, || {
            let records = query::read(&self.data.join("audit"), Filter::default());
            found = records.map_while(Result::ok).find_map(|record| fits(&record));
            found.is_some()
        });
        found.expect("it was waited for")
    }

    /// The revision of the grants in force, and their number.
    pub(crate) fn grants(&self) -> (u64, usize) {
        let list = self.json(&["grant", "list"]);
        let revision = list["revision"].as_u64().expect("a revision");
        (revision, list["grants"].as_array().expect("grants").len())
    }
}

impl Ran {
    /// The exit code was this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Stderr says this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in:\n{}", self.stderr);
        self
    }

    /// Stdout as a JSON document.
    #[track_caller]
    pub(crate) fn answer(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem document on stderr.
    #[track_caller]
    pub(crate) fn problem(&self) -> Value {
        serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Running {
    /// Starts any command.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Some(collect(child.stdout.take().expect("piped")));
        let stderr = Some(collect(child.stderr.take().expect("piped")));
        Self { child, stdout, stderr }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself, and is not reaped yet.
        kill_process(pid, signal).expect("a child of ours can be sent signals");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(self) -> Ran {
        self.end_within(COMMAND_TIME_MAX)
    }

    /// Waits for the end of one that may take longer than a command.
    #[track_caller]
    pub(crate) fn end_within(mut self, time_max: Duration) -> Ran {
        let mut status = None;
        wait_within(time_max, "the command ends", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        let text = |thread: Option<JoinHandle<Vec<u8>>>| {
            let bytes = thread.expect("read once").join().expect("reading does not panic");
            String::from_utf8(bytes).expect("the program writes UTF-8")
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        Ran { status: status.expect("it was waited for"), stdout, stderr }
    }

    /// `kill -9`, and waits for its end.
    #[track_caller]
    pub(crate) fn kill(self) -> Ran {
        self.signal(Signal::KILL);
        self.end()
    }

    /// Ctrl-C, and waits for its end.
    #[track_caller]
    pub(crate) fn interrupt(self) -> Ran {
        self.signal(Signal::INT);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends the text.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

#[track_caller]
pub(crate) fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_within(COMMAND_TIME_MAX, what, done);
}

#[track_caller]
fn wait_within(time_max: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + time_max;
    while !done() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", time_max.as_secs());
        std::thread::sleep(POLL);
    }
}

/// The built program, beside this test's own.
pub(crate) fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("a test has a program");
    let built = tests.ancestors().nth(2).map(|folder| folder.join("portcullis"));
    let built = built.filter(|built| built.is_file());
    built
        .unwrap_or_else(|| panic!("run `cargo build --workspace --bins` first: none for {}", tests.display()))
}

/// A grant to [`AGENT`] with more lines.
pub(crate) fn grant(package: &str, more: &str) -> String {
    format!("[[grant]]\npackage = \"{package}\"\nagents = [\"{AGENT}\"]\n{more}")
}

/// The folder of the notes tool, as lines of a grant.
pub(crate) fn notes_folder(host_path: &str) -> String {
    format!(
        "[[grant.filesystem]]\nhost_path = \"{host_path}\"\nguest_path = \"/notes\"\naccess = \"read-write\"\n"
    )
}

/// A guest that never ends by itself.
pub(crate) fn spin() -> Vec<u8> {
    wat("spin")
}

/// Whether a path is there.
pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().expect("a folder of ours can be looked into")
}
