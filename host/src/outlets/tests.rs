//! Outlets against loopback servers of our own, which refuse, break off, hang and lie.

#![expect(clippy::disallowed_methods, reason = "tests prepare files, and look at small ones")]

mod alarms;

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;
use signed_note::Note;
use tempfile::TempDir;
use tlog_tiles::{Checkpoint as Head, Hash, check_tree};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::{OutletHealth, Outlets, Surroundings};
use crate::audit::event::Event;
use crate::audit::{AuditSettings, CheckpointKey, Log, LogOptions, parse_audit_settings};
use crate::egress::{Roots, SystemResolver};

/// The longest that a test waits, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log in a data folder, and a folder beside it.
struct World {
    temporary: TempDir,
    log: Log,
}

impl World {
    fn new() -> Self {
        Self::with(AuditSettings::default())
    }

    /// With a log that is kept as said.
    fn with(settings: AuditSettings) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(temporary.path().join("data")).expect("made");
        let log = open(temporary.path(), settings);
        Self { temporary, log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    fn audit(&self) -> PathBuf {
        self.path("data/audit")
    }

    fn start(&self, settings: &str) -> Outlets {
        let settings = parse_audit_settings(settings).unwrap_or_else(|errors| panic!("{errors:#?}"));
        self.try_start(&settings).expect("they start")
    }

    fn try_start(&self, settings: &AuditSettings) -> Result<Outlets, super::OutletError> {
        let surroundings = Surroundings {
            root: fs::canonicalize(self.path("data")).expect("there"),
            audit: self.audit(),
            origin: "portcullis/test".to_owned(),
            resolver: Arc::new(SystemResolver::default()),
            roots: Roots::Given(Vec::new()),
        };
        Outlets::start(settings, &surroundings, &self.log)
    }

    /// Appends records, and gives how many the log has.
    async fn append(&self, count: usize) -> u64 {
        let mut last = None;
        for _ in 0..count {
            let event = Event::BackupTaken { by: "root".parse().expect("a name") };
            last = Some(self.log.append(event).await.expect("recorded"));
        }
        last.expect("at least one").0 + 1
    }

    fn health(&self, outlets: &Outlets) -> OutletHealth {
        outlets.health(*self.log.subscribe_durable().borrow()).remove(0)
    }

    async fn wait(
        &self,
        outlets: &Outlets,
        what: &str,
        done: impl Fn(&OutletHealth) -> bool,
    ) -> OutletHealth {
        let until = Instant::now() + PATIENCE;
        loop {
            let health = self.health(outlets);
            if done(&health) {
                return health;
            }
            assert!(Instant::now() < until, "not in time: {what}: {health:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn open(root: &Path, settings: AuditSettings) -> Log {
    let checkpoints = Some(CheckpointKey::new(&[7; 32]).expect("a key"));
    let options = LogOptions { checkpoints, settings, ..LogOptions::default() };
    Log::open(&root.join("data/audit"), options).expect("opened")
}

/// The sequence numbers of events, one a line.
fn sequences(text: &str) -> Vec<u64> {
    let event = |line: &str| -> Value { serde_json::from_str(line).expect("an event") };
    text.lines().map(|line| event(line)["metadata"]["sequence"].as_u64().expect("a number")).collect()
}

/// What a server does with a connection.
#[derive(Clone, Debug)]
enum Reply {
    /// Answers an HTTP request.
    Answer(u16, String),
    /// Reads everything, and closes without a word: what syslog takes for yes, and HTTP for a broken connection.
    Close,
    /// Reads some, and breaks the connection.
    Break,
    /// Never answers.
    Hang,
}

type Handler = Arc<dyn Fn(&[u8]) -> Reply + Send + Sync>;

/// A server that reads a request, or all that there is, and replies.
async fn serve(is_http: bool, handler: Handler) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let handler = Arc::clone(&handler);
            tokio::spawn(async move {
                let mut read = Vec::new();
                let mut some = [0; 4096];
                loop {
                    let count = stream.read(&mut some).await.unwrap_or(0);
                    read.extend_from_slice(&some[..count]);
                    if count == 0 || (is_http && is_whole(&read)) {
                        break;
                    }
                }
                let body = if is_http { body(&read) } else { &read[..] };
                match handler(body) {
                    Reply::Answer(status, text) => {
                        let length = text.len();
                        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{text}");
                        let _ = stream.write_all(head.as_bytes()).await;
                    }
                    Reply::Close => {}
                    Reply::Break => drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
                    Reply::Hang => sleep(PATIENCE).await,
                }
            });
        }
    });
    port
}

fn head_end(request: &[u8]) -> Option<usize> {
    request.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn body(request: &[u8]) -> &[u8] {
    head_end(request).map_or(&[], |at| &request[at..])
}

fn is_whole(request: &[u8]) -> bool {
    let Some(at) = head_end(request) else { return false };
    let head = String::from_utf8_lossy(&request[..at]).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    request.len() >= at + length.unwrap_or(0)
}

/// Gives replies one after the other, the last for ever, and keeps the bodies of those that were taken.
fn scripted(replies: Vec<Reply>) -> (Handler, Arc<Mutex<Vec<Vec<u8>>>>) {
    let taken: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let replies = Mutex::new(VecDeque::from(replies));
    let kept = Arc::clone(&taken);
    let handler: Handler = Arc::new(move |body: &[u8]| {
        let mut replies = replies.lock().expect("no panic");
        let reply = if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
        kept.lock().expect("no panic").push(body.to_vec());
        reply.expect("at least one")
    });
    (handler, taken)
}

#[tokio::test]
async fn records_are_shipped_to_a_file_once_and_go_on_after_a_restart() {
    let world = World::new();
    let path = world.path("ocsf.jsonl");
    let settings = format!("[[ship]]\nname = \"f\"\nkind = \"file\"\npath = \"{}\"", path.display());
    let total = world.append(1_200).await;
    let mut outlets = world.start(&settings);
    world.wait(&outlets, "shipped", |health| health.records == total).await;
    outlets.close().await;
    assert_eq!(sequences(&fs::read_to_string(&path).expect("text")), (0..total).collect::<Vec<_>>());
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    // A crash tore off the end of what another process was writing.
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, format!("{text}{{\"torn\":")).expect("written");
    let more = world.append(3).await;
    let mut outlets = world.start(&settings);
    let health = world.wait(&outlets, "shipped", |health| health.records == more).await;
    assert_eq!((health.behind, health.alarm, health.failure, health.lost), (0, false, None, 0));
    outlets.close().await;
    let text = fs::read_to_string(&path).expect("text");
    let lines: Vec<&str> = text.lines().filter(|line| *line != "{\"torn\":").collect();
    assert_eq!(sequences(&lines.join("\n")), (0..more).collect::<Vec<_>>());
    // What the host writes when it stops is shipped too.
    let World { temporary, log } = world;
    let world = World { log: log.clone(), temporary };
    let mut outlets = world.start(&settings);
    log.close().await.expect("closed");
    outlets.close().await;
    assert!(fs::read_to_string(&path).expect("text").contains("host_stopped"));
}

#[tokio::test]
async fn a_cursor_of_another_log_ships_nothing_and_says_so() {
    let world = World::new();
    let path = world.path("ocsf.jsonl");
    fs::create_dir(world.audit().join("ship")).expect("made");
    let settings = format!("[[ship]]\nname = \"f\"\nkind = \"file\"\npath = \"{}\"", path.display());
    for (cursor, says) in [("{\"next\":1000}", "another log"), ("{\"next\":", "not what this host wrote")] {
        fs::write(world.audit().join("ship/f.cursor"), cursor).expect("written");
        let mut outlets = world.start(&settings);
        let health = world.wait(&outlets, "failed", |health| health.failure.is_some()).await;
        assert!(health.failure.as_deref().is_some_and(|failure| failure.contains(says)), "{health:?}");
        outlets.close().await;
    }
    assert!(!path.exists());
    fs::remove_file(world.audit().join("ship/f.cursor")).expect("removed");
    let mut outlets = world.start(&settings);
    world.wait(&outlets, "shipped", |health| health.records == 1).await;
    outlets.close().await;
}

#[tokio::test]
async fn no_outlet_writes_into_the_data_folder() {
    let world = World::new();
    fs::create_dir(world.path("elsewhere")).expect("made");
    std::os::unix::fs::symlink(world.path("data"), world.path("elsewhere/link")).expect("made");
    for path in [world.path("data/ocsf.jsonl"), world.audit().join("a"), world.path("elsewhere/link/a")] {
        for sort in ["ship", "anchor"] {
            let settings =
                format!("[[{sort}]]\nname = \"f\"\nkind = \"file\"\npath = \"{}\"", path.display());
            let settings = parse_audit_settings(&settings).expect("well-formed");
            let error = world.try_start(&settings).expect_err("refused").to_string();
            assert!(error.contains("in the data folder"), "{error}");
        }
    }
}

/// The messages of frames by octet counting.
fn messages(mut frames: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while !frames.is_empty() {
        let space = frames.iter().position(|byte| *byte == b' ').expect("a length");
        let length: usize = std::str::from_utf8(&frames[..space]).expect("digits").parse().expect("digits");
        let rest = &frames[space + 1..];
        messages.push(String::from_utf8(rest[..length].to_vec()).expect("text"));
        frames = &rest[length..];
    }
    messages
}

#[tokio::test]
async fn a_syslog_server_that_breaks_off_gets_everything_again() {
    let world = World::new();
    let total = world.append(40).await;
    let (handler, taken) = scripted(vec![Reply::Break, Reply::Break, Reply::Close]);
    let port = serve(false, handler).await;
    let settings =
        format!("[[ship]]\nname = \"s\"\nkind = \"syslog\"\naddress = \"127.0.0.1:{port}\"\ntls = false");
    let mut outlets = world.start(&settings);
    world.wait(&outlets, "shipped", |health| health.records == total).await;
    outlets.close().await;
    let taken = taken.lock().expect("no panic");
    assert_eq!(taken.len(), 3, "each try had all of it, and nothing was sent after it was taken");
    let messages = messages(&taken[2]);
    let events: Vec<&str> =
        messages.iter().map(|message| message.split_once(" - ").expect("a message").1).collect();
    assert_eq!(sequences(&events.join("\n")), (0..total).collect::<Vec<_>>());
    for message in &messages {
        let fields: Vec<&str> = message.splitn(8, ' ').collect();
        assert!(fields[0] == "<110>1" && fields[1].ends_with('Z'), "{message}");
        assert_eq!((fields[3], fields[6]), ("portcullis", "-"), "{message}");
        assert!(["host_started", "backup_taken"].contains(&fields[5]), "{message}");
    }
}

#[tokio::test]
async fn syslog_over_tls_needs_a_certificate_that_is_believed() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a key of its certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let read: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&read);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            kept.lock().expect("no panic").extend_from_slice(&bytes);
            let _ = stream.shutdown().await;
        }
    });
    let world = World::new();
    let total = world.append(2).await;
    fs::write(world.path("roots.pem"), made.cert.pem()).expect("written");
    let settings = |roots: &str| {
        format!(
            "[[ship]]\nname = \"s\"\nkind = \"syslog\"\naddress = \"localhost:{port}\"\naddresses = [\"127.0.0.0/8\", \"::1/128\"]\n{roots}"
        )
    };
    let mut outlets = world.start(&settings(""));
    let health = world.wait(&outlets, "failed", |health| health.failure.is_some()).await;
    assert_eq!(health.records, 0, "{health:?}");
    outlets.close().await;
    assert!(read.lock().expect("no panic").is_empty(), "nothing is sent to who can't prove who it is");
    let mut outlets = world.start(&settings(&format!("roots = \"{}\"", world.path("roots.pem").display())));
    world.wait(&outlets, "shipped", |health| health.records == total).await;
    outlets.close().await;
    assert_eq!(messages(&read.lock().expect("no panic")).len() as u64, total);
}

#[tokio::test]
async fn a_collector_that_refuses_or_loses_its_answer_gets_records_again_and_slows_nobody() {
    let world = World::new();
    let (handler, taken) = scripted(vec![
        Reply::Answer(503, String::new()),
        // It took them, and the answer is lost: they come twice.
        Reply::Close,
        Reply::Answer(200, "{}".to_owned()),
    ]);
    let port = serve(true, handler).await;
    let settings =
        format!("[[ship]]\nname = \"o\"\nkind = \"otlp\"\nurl = \"http://127.0.0.1:{port}/v1/logs\"");
    let mut outlets = world.start(&settings);
    let total = world.append(20).await;
    world.wait(&outlets, "shipped", |health| health.records == total).await;
    outlets.close().await;
    let bodies = taken.lock().expect("no panic");
    assert!(bodies.len() >= 3);
    let records = |body: &Vec<u8>| {
        let body: Value = serde_json::from_slice(body).expect("JSON");
        body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("records").clone()
    };
    assert_eq!(records(&bodies[1])[0]["attributes"], records(&bodies[2])[0]["attributes"]);
    let all: Vec<Value> = bodies[2..].iter().flat_map(records).collect();
    assert_eq!(all.len() as u64, total);
    let first = &all[0];
    assert_eq!((&first["eventName"], &first["severityText"]), (&"host_started".into(), &"INFO".into()));
    assert!(first["timeUnixNano"].as_str().is_some_and(|time| time.parse::<u64>().is_ok()), "{first}");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_nobody_up_and_becomes_an_alarm() {
    let world = World::new();
    let port = serve(true, Arc::new(|_: &[u8]| Reply::Hang)).await;
    let settings = format!(
        "[[ship]]\nname = \"o\"\nkind = \"otlp\"\nurl = \"http://127.0.0.1:{port}/v1/logs\"\nlag_max = \"1s\""
    );
    let mut outlets = world.start(&settings);
    let total = world.append(500).await;
    // Where that takes longer than a second, the alarm is a record among them.
    assert!((501..=502).contains(&total), "the log goes on: {total}");
    let health = world.wait(&outlets, "an alarm", |health| health.alarm).await;
    assert!(health.records == 0 && health.behind >= total, "{health:?}");
    outlets.check().expect("records that are not shipped stop nobody");
    let begun = Instant::now();
    outlets.close().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "it is left");
}

#[tokio::test]
async fn calls_are_sent_as_spans_and_what_makes_none_is_not_sent() {
    let world = World::new();
    let (handler, taken) = scripted(vec![Reply::Close, Reply::Answer(200, "{}".to_owned())]);
    let port = serve(true, handler).await;
    let settings = format!(
        "[[ship]]\nname = \"t\"\nkind = \"otlp\"\nsignal = \"traces\"\nurl = \"http://127.0.0.1:{port}/v1/traces\""
    );
    let mut outlets = world.start(&settings);
    let total = world.append(5).await;
    world.wait(&outlets, "passed over", |health| health.records == total).await;
    assert!(taken.lock().expect("no panic").is_empty(), "there is no call in it");
    let event = Event::CallDenied {
        call: crate::ids::CallId::generate(),
        principal: "bob".parse().expect("a name"),
        package: "evil".parse().expect("a name"),
        digest: None,
        tool: "search".parse().expect("a name"),
        revision: crate::ids::Revision(3),
        parent: None,
        denial: crate::policy::Denial::NotApproved { package: "evil".parse().expect("a name") },
    };
    let total = world.log.append(event).await.expect("recorded").0 + 1;
    world.wait(&outlets, "sent", |health| health.records == total).await;
    outlets.close().await;
    let bodies = taken.lock().expect("no panic");
    assert_eq!(bodies.len(), 2, "the first answer was lost");
    assert_eq!(bodies[0], bodies[1], "it is the same span");
    let body: Value = serde_json::from_slice(&bodies[1]).expect("JSON");
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    assert_eq!((spans.len(), &spans[0]["name"]), (1, &"tools/call search".into()));
}

fn anchor(lines: &str) -> String {
    format!("[[anchor]]\nname = \"a\"\nevery = \"100ms\"\nlag_max = \"1s\"\n{lines}")
}

#[tokio::test]
async fn checkpoints_are_appended_to_a_file_and_are_the_logs_own() {
    let world = World::new();
    let path = world.path("checkpoints.jsonl");
    let settings = anchor(&format!("kind = \"file\"\npath = \"{}\"", path.display()));
    let mut outlets = world.start(&settings);
    world.append(1).await;
    world.wait(&outlets, "anchored", |health| health.records > 0).await;
    let total = world.append(5).await;
    world.wait(&outlets, "anchored", |health| health.records == total).await;
    outlets.close().await;
    let verifier = CheckpointKey::new(&[7; 32]).expect("a key").verifier().expect("a key");
    let mut sizes = Vec::new();
    for line in fs::read_to_string(&path).expect("text").lines() {
        let kept: Value = serde_json::from_str(line).expect("JSON");
        let note = kept["checkpoint"].as_str().expect("a note");
        sizes.push(verifier.check(note.as_bytes()).expect("signed").size);
        assert_eq!(kept["size"].as_u64(), sizes.last().copied());
    }
    assert_eq!(sizes.last(), Some(&total));
    assert!(sizes.is_sorted());
}

#[tokio::test]
async fn a_program_gets_the_checkpoint_and_nothing_of_the_host() {
    let world = World::new();
    let total = world.append(1).await;
    let got = world.path("got");
    let script = format!("cat > {0}; env > {0}.env; pwd > {0}.pwd", got.display());
    let settings = anchor(&format!("kind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]"));
    let mut outlets = world.start(&settings);
    world.wait(&outlets, "anchored", |health| health.records == total).await;
    outlets.close().await;
    let note = fs::read(&got).expect("a checkpoint");
    let verifier = CheckpointKey::new(&[7; 32]).expect("a key").verifier().expect("a key");
    assert_eq!(verifier.check(&note).expect("signed").size, total);
    let environment = fs::read_to_string(got.with_extension("env")).expect("text");
    // What a shell sets by itself.
    let own = ["PWD=", "SHLVL=", "_=", "OLDPWD="];
    assert!(environment.lines().all(|line| own.iter().any(|name| line.starts_with(name))), "{environment}");
    assert_eq!(fs::read_to_string(got.with_extension("pwd")).expect("text").trim(), "/");
}

#[tokio::test]
async fn a_program_that_fails_or_hangs_is_an_alarm_and_is_killed_with_what_it_started() {
    let world = World::new();
    world.append(1).await;
    let settings = anchor("kind = \"command\"\ncommand = [\"/bin/false\"]");
    let mut outlets = world.start(&settings);
    let health = world.wait(&outlets, "an alarm", |health| health.alarm).await;
    assert!(health.failure.as_deref().is_some_and(|why| why.contains("ended with")), "{health:?}");
    outlets.check().expect("not required");
    outlets.close().await;
    let pid = world.path("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let settings = anchor(&format!(
        "kind = \"command\"\ntimeout = \"500ms\"\nrequired = true\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]"
    ));
    let mut outlets = world.start(&settings);
    outlets.check().expect("it has its time");
    let health = world.wait(&outlets, "an alarm", |health| health.alarm && health.failure.is_some()).await;
    assert!(health.failure.as_deref().is_some_and(|why| why.contains("did not end")), "{health:?}");
    let refused = outlets.check().expect_err("it is required");
    assert!(refused.contains("`a` is required"), "{refused}");
    outlets.close().await;
    let pid = fs::read_to_string(&pid).expect("written").trim().to_owned();
    // Each try starts one; it is killed before the next is.
    let until = Instant::now() + PATIENCE;
    loop {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            break;
        }
        let now = fs::read_to_string(world.path("pid")).unwrap_or_default();
        if now.trim() != pid {
            break;
        }
        assert!(Instant::now() < until, "it lives: {state}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A witness: what it knows of the log, and how it answers.
#[derive(Default)]
struct Memory {
    size: u64,
    root: Option<Hash>,
    cosigned: usize,
}

fn witness_key() -> (SigningKey, String) {
    let key = SigningKey::from_bytes(&[9; 32]);
    let bytes = [&[4], key.verifying_key().as_bytes().as_slice()].concat();
    let id = signed_note::key_id("witness.example", &bytes);
    (key, format!("witness.example+{id:08x}+{}", STANDARD.encode(bytes)))
}

/// What a witness answers to `add-checkpoint`, by C2SP `tlog-witness`.
fn witness(memory: &Mutex<Memory>, request: &[u8]) -> Reply {
    let mut memory = memory.lock().expect("no panic");
    let text = std::str::from_utf8(request).expect("text");
    let (head, note) = text.split_once("\n\n").expect("a proof and a checkpoint");
    let mut lines = head.lines();
    let old: u64 =
        lines.next().and_then(|line| line.strip_prefix("old ")).expect("old").parse().expect("a size");
    let proof: Vec<Hash> = lines
        .map(|line| Hash(STANDARD.decode(line).expect("base64").try_into().expect("32 bytes")))
        .collect();
    let verifier = CheckpointKey::new(&[7; 32]).expect("a key").verifier().expect("a key");
    let Ok(checkpoint) = verifier.check(note.as_bytes()) else { return Reply::Answer(403, String::new()) };
    let note = Note::from_bytes(note.as_bytes()).expect("a note");
    let root = *Head::from_bytes(note.text()).expect("a checkpoint").hash();
    if old != memory.size || (old == checkpoint.size && memory.root.is_some_and(|known| known != root)) {
        return Reply::Answer(409, format!("{}\n", memory.size));
    }
    if let Some(known) = memory.root.filter(|_| old > 0 && old < checkpoint.size)
        && check_tree(&proof, checkpoint.size, root, old, known).is_err()
    {
        return Reply::Answer(422, "the proof is wrong".to_owned());
    }
    *memory = Memory { size: checkpoint.size, root: Some(root), cosigned: memory.cosigned + 1 };
    let (key, public) = witness_key();
    let time = 1_800_000_000_u64;
    let mut message = format!("cosignature/v1\ntime {time}\n").into_bytes();
    message.extend_from_slice(note.text());
    let id = u32::from_str_radix(public.split('+').nth(1).expect("an id"), 16).expect("hex");
    let signature = [&id.to_be_bytes()[..], &time.to_be_bytes(), &key.sign(&message).to_bytes()].concat();
    Reply::Answer(200, format!("\u{2014} witness.example {}\n", STANDARD.encode(signature)))
}

fn witness_settings(port: u16, more: &str) -> String {
    let (_, key) = witness_key();
    anchor(&format!(
        "kind = \"witness\"\nurl = \"http://127.0.0.1:{port}/add-checkpoint\"\nkey = \"{key}\"\n{more}"
    ))
}

#[tokio::test]
async fn a_witness_cosigns_a_log_that_only_grows_also_after_a_restart() {
    let world = World::new();
    let memory: Arc<Mutex<Memory>> = Arc::default();
    let shared = Arc::clone(&memory);
    let port = serve(true, Arc::new(move |body: &[u8]| witness(&shared, body))).await;
    let settings = witness_settings(port, "");
    let kept = world.audit().join("anchors/a.checkpoint");
    for round in 0..3 {
        let total = world.append(7).await;
        let mut outlets = world.start(&settings);
        world.wait(&outlets, "cosigned", |health| health.records == total).await;
        let total = world.append(4).await;
        world.wait(&outlets, "cosigned", |health| health.records == total).await;
        outlets.close().await;
        let note = Note::from_bytes(&fs::read(&kept).expect("kept")).expect("a note with two signatures");
        assert_eq!(Head::from_bytes(note.text()).expect("a checkpoint").size(), total);
        if round == 1 {
            // The host lost what the witness said: it asks, and is told.
            fs::remove_file(&kept).expect("removed");
        }
    }
    assert!(memory.lock().expect("no panic").cosigned >= 6);
    assert!(fs::read_to_string(&kept).expect("text").contains("witness.example"));
}

#[tokio::test]
async fn a_witness_that_knows_another_log_is_an_alarm_at_once_and_stops_calls_if_it_is_required() {
    for (size, says) in [(10_000, "its end is missing"), (3, "does not find the 3 records")] {
        let world = World::new();
        world.append(8).await;
        let memory = Mutex::new(Memory { size, root: Some(Hash([1; 32])), cosigned: 0 });
        let port = serve(true, Arc::new(move |body: &[u8]| witness(&memory, body))).await;
        let mut outlets = world.start(&witness_settings(port, "required = true").replace("\"1s\"", "\"1h\""));
        let health = world.wait(&outlets, "an alarm", |health| health.alarm).await;
        assert!(health.failure.as_deref().is_some_and(|why| why.contains(says)), "{health:?}");
        assert!(outlets.check().is_err());
        world.append(1).await;
        outlets.close().await;
    }
}

#[tokio::test]
async fn an_answer_that_the_witness_did_not_sign_is_not_kept() {
    let world = World::new();
    world.append(1).await;
    for answer in [
        String::new(),
        "garbage\n".repeat(100),
        format!("\u{2014} witness.example {}\n", STANDARD.encode([0; 76])),
        format!("\u{2014} someone.else {}\n", STANDARD.encode([0; 76])),
    ] {
        let port = serve(true, Arc::new(move |_: &[u8]| Reply::Answer(200, answer.clone()))).await;
        let mut outlets = world.start(&witness_settings(port, ""));
        let health = world.wait(&outlets, "failed", |health| health.failure.is_some()).await;
        assert_eq!(health.records, 0, "{health:?}");
        outlets.close().await;
        assert!(!world.audit().join("anchors/a.checkpoint").exists());
    }
}
