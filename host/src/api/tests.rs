//! The API as its clients see it: in process, and over a socket where it matters that they go away.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt;

use super::messages::{AddLine, Approved, FROZEN_HEADER, Health};
use super::{ErrorKind, Problem, router, serve};
use crate::audit::event::{CallOutcome, Event, Record};
use crate::audit::query::{self, Filter};
use crate::config::{DataFolder, Ownership};
use crate::gateway::{Blame, FreezeChanged, Host, HostOptions};
use crate::limits::{Limit, LimitReached};
use crate::policy::Freeze;

/// No step of a test takes longer.
const STEP_TIME_MAX: Duration = Duration::from_secs(30);

/// A host in a folder of its own, and its API.
struct Served {
    host: Arc<Host>,
    router: Router,
    stop: watch::Sender<bool>,
    temporary: tempfile::TempDir,
}

impl Served {
    async fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = match DataFolder::take(&temporary.path().join("data")).expect("usable") {
            Ownership::Ours(folder) => folder,
            Ownership::Others { pid, .. } => panic!("owned by {pid:?}"),
        };
        let host = Arc::new(Host::open(folder, HostOptions::default()).await.expect("opens"));
        let (stop, stopping) = watch::channel(false);
        let router = router(Arc::clone(&host), stopping);
        Self { host, router, stop, temporary }
    }

    async fn ask(&self, method: Method, target: &str, body: impl Into<Body>) -> (StatusCode, Bytes) {
        let request = Request::builder().method(method).uri(target).body(body.into()).expect("valid");
        let answer = async {
            let response = self.router.clone().oneshot(request).await.expect("infallible");
            (response.status(), response.into_body().collect().await.expect("a body").to_bytes())
        };
        timeout(STEP_TIME_MAX, answer).await.expect("in time")
    }

    async fn problem(&self, method: Method, target: &str, body: impl Into<Body>) -> Problem {
        let (status, bytes) = self.ask(method, target, body).await;
        let problem: Problem = serde_json::from_slice(&bytes).expect("a problem document");
        assert_eq!((status, status.as_u16()), (problem.kind.status(), problem.status));
        problem
    }

    /// Registers, approves and grants a component that spins until its end of time.
    async fn with_spinner() -> Self {
        let served = Self::new().await;
        let bytes = wat::parse_str(
            r#"(component
                (core module $m (func (export "spin") (loop $again (br $again))))
                (core instance $i (instantiate $m))
                (func (export "spin") (canon lift (core func $i "spin"))))"#,
        )
        .expect("valid");
        let (status, lines) = served.ask(Method::POST, "/v1/packages?name=spinner", bytes).await;
        let last = lines.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).expect("a line");
        let last: AddLine = serde_json::from_slice(last).expect("a line of ours");
        assert!(matches!((status, &last), (StatusCode::OK, AddLine::Result(_))), "{last:?}");
        let (_, approved) = served.ask(Method::POST, "/v1/packages/spinner/approve", "").await;
        let approved: Approved = serde_json::from_slice(&approved).expect("approved");
        assert_eq!(approved.grants_without_effect, []);
        let text = "[[grant]]\npackage = \"spinner\"\nagents = [\"a\"]\n\
                    limits = { wall_time = \"60s\", fuel = 1_000_000_000_000 }\n";
        let (status, _) = served.ask(Method::PUT, "/v1/grants", served.grants(text)).await;
        assert_eq!(status, StatusCode::OK);
        served
    }

    fn grants(&self, text: &str) -> String {
        json!({ "file": "g.toml", "folder": self.temporary.path(), "text": text }).to_string()
    }

    fn records(&self) -> Vec<Record> {
        query::read(&self.host.audit_folder(), Filter::default()).collect::<Result<_, _>>().expect("readable")
    }

    /// Waits until the log has a record of that kind.
    async fn recorded(&self, is_it: impl Fn(&Event) -> bool) {
        let mut grown = self.host.log().subscribe();
        while !self.records().iter().any(|record| is_it(&record.event)) {
            timeout(STEP_TIME_MAX, grown.changed()).await.expect("in time").expect("the log is open");
        }
    }

    /// Serves on a socket; ends when the host is told to stop.
    fn listen(&self) -> (std::path::PathBuf, tokio::task::JoinHandle<()>) {
        let socket = self.temporary.path().join("s");
        let listener = UnixListener::bind(&socket).expect("bound");
        let mut stopping = self.stop.subscribe();
        let shutdown = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
        (socket, tokio::spawn(serve(listener, self.router.clone(), shutdown)))
    }
}

const SPIN: &str = "/v1/calls?as=a&package=spinner&tool=spin";

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let served = Served::new().await;
    for (method, target, kind) in [
        (Method::GET, "/", ErrorKind::NotFound),
        (Method::GET, "/v2/packages", ErrorKind::NotFound),
        (Method::GET, "/v1/packages/nothing", ErrorKind::NotFound),
        (Method::DELETE, "/v1/packages/nothing", ErrorKind::NotFound),
        (Method::POST, "/v1/packages/nothing/approve", ErrorKind::NotFound),
        (Method::GET, "/v1/grants?package=nothing", ErrorKind::NotFound),
        (Method::DELETE, "/v1/grants/7", ErrorKind::NotFound),
        (Method::POST, "/v1/calls?as=a&package=nothing&tool=t", ErrorKind::NotFound),
        (Method::PATCH, "/v1/packages", ErrorKind::MethodNotAllowed),
    ] {
        let body = if target.starts_with("/v1/calls") { "{}" } else { "" };
        let problem = served.problem(method, target, body).await;
        assert_eq!(problem.kind, kind, "{target}: {problem:?}");
    }
    let (status, bytes) = served.ask(Method::GET, "/v1/health", "").await;
    let health: Health = serde_json::from_slice(&bytes).expect("health");
    assert_eq!((status, health.pid), (StatusCode::OK, std::process::id()));
}

/// Threats 75 and 77: names and documents are parsed by one parser, and refused where they are not valid.
#[tokio::test]
async fn what_can_not_be_read_is_bad_input_and_says_why() {
    let served = Served::new().await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (method, target, body, why) in [
        (Method::GET, "/v1/packages/..%2f..%2fetc", "", "package name"),
        (Method::GET, "/v1/packages/a%00b", "", "package name"),
        (Method::DELETE, "/v1/grants/seven", "", "seven"),
        (Method::GET, "/v1/grants?packages=a", "", "packages"),
        (Method::GET, "/v1/audit?last=many", "", "last"),
        (Method::GET, "/v1/audit?last=1000001", "", "at most"),
        (Method::GET, "/v1/audit?call=01890a5d-ac96-774b-bcce-b302099a8057&last=1", "", "not both"),
        (Method::POST, "/v1/packages?version=1", "", "version"),
        (Method::POST, "/v1/packages/a/approve", "{\"digest\":7}", "expected a string"),
        (Method::PUT, "/v1/grants", "{", "EOF"),
        (Method::PUT, "/v1/grants", "{\"file\":\"x\",\"file\":\"y\"}", "twice"),
        (Method::POST, "/v1/calls?as=a&package=p", "{}", "tool"),
        (Method::POST, SPIN, "", "not valid JSON"),
        (Method::POST, SPIN, "[]", "must be a JSON object"),
        (Method::POST, SPIN, "{\"a\":1,\"a\":2}", "twice"),
        (Method::POST, SPIN, "{\"a\":1e999}", "out of range"),
        (Method::POST, SPIN, &deep, "deeper"),
    ] {
        let problem = served.problem(method, target, body.to_owned()).await;
        assert_eq!((problem.kind, problem.blame), (ErrorKind::BadInput, Blame::Agent), "{target} {body:.40}");
        assert!(problem.detail.contains(why), "{target}: {}", problem.detail);
    }
}

/// Threat 76: a body beyond its bound is refused, whether or not it says how long it is.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_naming_the_limit() {
    let served = Served::new().await;
    let max = Limit::ComponentBytes.row().ceiling;
    let announced = Request::builder()
        .method(Method::POST)
        .uri("/v1/packages")
        .header("content-length", "209715200")
        .body(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()))
        .expect("valid");
    let response = timeout(STEP_TIME_MAX, served.router.clone().oneshot(announced)).await;
    let response = response.expect("refused before the body came").expect("infallible");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let problem: Problem = serde_json::from_slice(&body).expect("a problem");
    let reached = LimitReached { limit: Limit::ComponentBytes, value: 209_715_200, max };
    assert_eq!((problem.kind, problem.limit), (ErrorKind::TooLarge, Some(reached)));

    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1 << 16])));
    let problem = served.problem(Method::POST, "/v1/packages", Body::from_stream(endless)).await;
    assert_eq!(problem.kind, ErrorKind::TooLarge);
    assert_eq!(problem.limit.map(|limit| limit.value), Some(max + 1));

    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(10_000_000));
    let problem = served.problem(Method::POST, SPIN, long).await;
    assert_eq!(problem.kind, ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_fifth_upload_at_once_is_refused_as_busy_and_finds_room_later() {
    let served = Served::new().await;
    let slow = || {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        Request::builder().method(Method::POST).uri("/v1/packages?name=x").body(never).expect("valid")
    };
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..4 {
        uploads.spawn(served.router.clone().oneshot(slow()));
    }
    tokio::task::yield_now().await;
    let problem = served.problem(Method::POST, "/v1/packages?name=x", "x").await;
    assert_eq!(problem.kind, ErrorKind::Busy);
    uploads.shutdown().await;
    let (status, lines) = served.ask(Method::POST, "/v1/packages?name=x", "x").await;
    assert_eq!(status, StatusCode::OK);
    let last = lines.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).expect("a line");
    let AddLine::Error(problem) = serde_json::from_slice(last).expect("a line of ours") else {
        panic!("{lines:?}");
    };
    assert_eq!((problem.kind, problem.blame), (ErrorKind::InvalidPackage, Blame::Tool));
}

#[tokio::test]
async fn errors_of_a_grants_file_come_with_their_places() {
    let served = Served::new().await;
    let body = served.grants("[[grant]]\npackage = \"nothing\"\nagnets = []\n");
    let problem = served.problem(Method::PUT, "/v1/grants", body).await;
    assert_eq!(problem.kind, ErrorKind::InvalidGrants);
    assert!(problem.diagnostics.iter().any(|diagnostic| diagnostic.line == 3), "{problem:?}");
}

/// Threat 83: a client that goes away cancels its call, and the log says so.
#[tokio::test]
async fn a_client_that_goes_away_cancels_its_call() {
    let served = Served::with_spinner().await;
    let (socket, server) = served.listen();
    let mut client = UnixStream::connect(&socket).await.expect("connected");
    let request = format!("POST {SPIN} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}");
    client.write_all(request.as_bytes()).await.expect("sent");
    served.recorded(|event| matches!(event, Event::CallAdmitted { .. })).await;
    drop(client);
    served
        .recorded(
            |event| matches!(event, Event::CallFinished { end, .. } if end.outcome == CallOutcome::Cancelled),
        )
        .await;
    served.stop.send_replace(true);
    timeout(STEP_TIME_MAX, server).await.expect("in time").expect("ended well");
}

#[tokio::test]
async fn a_denied_call_is_a_problem_that_names_its_call() {
    let served = Served::with_spinner().await;
    let problem = served.problem(Method::POST, "/v1/calls?as=b&package=spinner&tool=spin", "{}").await;
    assert_eq!((problem.kind, problem.blame), (ErrorKind::Denied, Blame::Admin));
    let call = problem.call.expect("named");
    assert!(
        served
            .records()
            .iter()
            .any(|record| matches!(&record.event, Event::CallDenied { call: denied, .. } if *denied == call))
    );
}

#[tokio::test]
async fn a_follower_sees_what_happens_until_the_host_stops() {
    let served = Served::new().await;
    let request = Request::builder().uri("/v1/audit?last=0&follow=true").body(Body::empty()).expect("valid");
    let response = served.router.clone().oneshot(request).await.expect("infallible");
    let mut body = response.into_body();
    let (status, _) = served.ask(Method::POST, "/v1/packages?name=x", "x").await;
    assert_eq!(status, StatusCode::OK);
    let frame =
        timeout(STEP_TIME_MAX, body.frame()).await.expect("in time").expect("a frame").expect("whole");
    let record: Value = serde_json::from_slice(&frame.into_data().expect("data")).expect("one record");
    assert_eq!(record["event"], "package_refused");
    served.stop.send_replace(true);
    assert!(timeout(STEP_TIME_MAX, body.frame()).await.expect("in time").is_none(), "it goes on");
}

#[tokio::test]
async fn whoever_connected_before_the_end_is_still_answered() {
    let served = Served::new().await;
    let socket = served.temporary.path().join("s");
    let listener = UnixListener::bind(&socket).expect("bound");
    let mut client = UnixStream::connect(&socket).await.expect("queued");
    // Told to stop before it accepted anybody.
    let server = tokio::spawn(serve(listener, served.router.clone(), std::future::ready(())));
    client.write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    timeout(STEP_TIME_MAX, client.read_to_string(&mut answer)).await.expect("in time").expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    timeout(STEP_TIME_MAX, server).await.expect("in time").expect("ended well");
    assert!(UnixStream::connect(&socket).await.is_err(), "nobody listens any more");
}

/// Case 15: who floods the host with components is refused before their bytes are held in memory.
#[tokio::test]
async fn a_registration_beyond_its_places_is_busy_before_its_body_is_read() {
    let served = Served::new().await;
    let admin = crate::authn::local_admin();
    let places: Vec<_> = (0..4).map(|_| served.host.reserve_registration(&admin).expect("a place")).collect();
    // A body that never comes.
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let problem = served.problem(Method::POST, "/v1/packages?name=flood", body).await;
    assert_eq!(problem.kind, ErrorKind::Busy);
    assert_eq!(problem.limit, Some(LimitReached { limit: Limit::Registrations, value: 5, max: 4 }));
    drop(places);
    let (status, lines) = served.ask(Method::POST, "/v1/packages?name=flood", "not wasm").await;
    assert_eq!(status, StatusCode::OK, "its body is read: {lines:?}");
}

#[tokio::test]
async fn a_frozen_host_says_so_in_each_answer_and_no_other_does() {
    let served = Served::new().await;
    let header = async |target: &str| {
        let request = Request::builder().uri(target).body(Body::empty()).expect("valid");
        let response = served.router.clone().oneshot(request).await.expect("infallible");
        let told = response.headers().get(FROZEN_HEADER)?;
        Some(serde_json::from_slice::<Freeze>(told.as_bytes()).expect("a freeze"))
    };
    assert_eq!(header("/v1/packages").await, None);
    for wrong in
        ["", "{}", r#"{"because":" "}"#, r#"{"because":"x","by":"me"}"#, r#"{"because":"two\nlines"}"#]
    {
        let problem = served.problem(Method::PUT, "/v1/freeze", wrong).await;
        assert_eq!(problem.kind, ErrorKind::BadInput, "{wrong}");
    }
    let because = json!({ "because": "prüfen: \"notes\"" }).to_string();
    let (status, bytes) = served.ask(Method::PUT, "/v1/freeze", because).await;
    let changed: FreezeChanged = serde_json::from_slice(&bytes).expect("an answer");
    assert_eq!((status, changed.taken.changed), (StatusCode::OK, true));
    for target in ["/v1/packages", "/v1/health", "/v1/nothing", "/v1/grants?package=nothing"] {
        let told = header(target).await.expect("each answer says so");
        assert_eq!(
            (told.because.as_str(), told.by.as_str()),
            ("prüfen: \"notes\"", "local-admin"),
            "{target}"
        );
    }
    served.ask(Method::DELETE, "/v1/freeze", "").await;
    assert_eq!(header("/v1/packages").await, None);
    for (method, target, body, kind) in [
        (Method::POST, "/v1/packages/nothing/quarantine", r#"{"because":"x"}"#, ErrorKind::NotFound),
        (Method::POST, "/v1/packages/nothing/release", "", ErrorKind::NotFound),
        (Method::DELETE, "/v1/principals/nobody", "", ErrorKind::NotFound),
        (Method::PUT, "/v1/principals/local-admin", r#"{"role":"agent"}"#, ErrorKind::BadInput),
        (Method::PUT, "/v1/principals/a", r#"{"role":"owner"}"#, ErrorKind::BadInput),
        (Method::POST, "/v1/grants/diff", "{}", ErrorKind::BadInput),
    ] {
        let problem = served.problem(method, target, body).await;
        assert_eq!(problem.kind, kind, "{target}: {problem:?}");
    }
}
