//! Components in registries: Debian's `docker-registry`, which has no API for referrers, and registries that lie.
//! Case 102: where a registry leads to is judged like anything else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use portcullis::audit::event::Event;
use portcullis::ids::PackageDigest;
use serde_json::{Value, json};

use super::trust::{apply, numbered, signed, with_keys};
use crate::harness::AGENT;
use crate::harness::process::{Cli, Running, grant, wait_until};

/// A registry on this machine, until it is dropped.
pub(crate) struct DockerRegistry {
    pub(crate) port: u16,
    _process: Running,
}

impl DockerRegistry {
    /// Keeps its files beside the data folder of `cli`; `more` is in its settings.
    pub(crate) fn start(cli: &Cli, more: &str) -> Self {
        Self::start_with(cli, "", more)
    }

    /// The same with more in its settings of `http`.
    pub(crate) fn start_with(cli: &Cli, http: &str, more: &str) -> Self {
        let there = Command::new("docker-registry").arg("--version").output();
        assert!(
            there.is_ok(),
            "this test needs docker-registry: run `cargo xtask programs`, or apt-get install docker-registry"
        );
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let folder = cli.path("registry");
        std::fs::create_dir_all(&folder).expect("a folder");
        let settings = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"{http}}}\n{more}",
            folder.display().to_string()
        );
        let settings = cli.file("registry.yml", settings);
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(settings).current_dir(cli.temporary.path());
        let process = Running::start(command);
        wait_until("the registry listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, _process: process }
    }

    pub(super) fn reference(&self, rest: &str) -> String {
        format!("oci://localhost:{}/{rest}", self.port)
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// From an author's file to a call on a host that has never seen it, by way of a registry.
#[test]
fn what_is_pushed_signed_is_added_by_digest_approved_and_called() {
    let author = with_keys();
    let registry = DockerRegistry::start(&author, "");
    let file = signed(&author, "tool.wasm", &numbered(7, "", ""), &["alice", "bob"]);
    let tagged = registry.reference("tools/tool:1.0.0");
    let pushed = author.json(&["push", &file, &tagged]);
    assert_eq!(pushed["signatures"], json!(2), "{pushed}");
    let pinned = text(&pushed["reference"]);
    assert!(pinned.contains("/tools/tool@sha256:"), "{pinned}");
    assert_eq!(author.json(&["push", &file, &tagged])["was_there"], json!(true));

    // Another host, with a policy: what is unsigned there is refused, so the signatures came along.
    let host = Cli::new();
    for key in ["alice.pub", "bob.pub"] {
        std::fs::copy(author.path(key), host.path(key)).expect("copied");
    }
    apply(&host, "");
    host.run(["package", "add", &pinned, "--name", "tool", "--version", "1.0.0"]).expect(0);
    host.run(["package", "approve", "tool"]).expect(0);
    let grants = host.file("grants.toml", grant("tool", ""));
    host.run(["grant", "apply", &grants]).expect(0);
    assert_eq!(host.json(&["call", "tool", "run", "--as", AGENT])["structured"], json!(7));
    let source = host.log().into_iter().find_map(|record| match record.event {
        Event::PackageAdded { source, .. } => source,
        _ => None,
    });
    assert_eq!(source.expect("where from").as_str(), pinned);
    // The denied twin: other bytes, pushed without signatures.
    let bare = author.file("bare.wasm", numbered(8, "", ""));
    let bare = text(&author.json(&["push", &bare, &registry.reference("tools/bare:1.0.0")])["reference"]);
    host.run(["package", "add", &bare, "--name", "tool-bare"]).expect(3).says("it needs 1 of the signatures");

    // Pulled, it is what was pushed, and minisign has the last word.
    let pulled = host.json(&["pull", &pinned, "--out", "pulled.wasm"]);
    assert_eq!(std::fs::read(host.path("pulled.wasm")).expect("there"), numbered(7, "", ""));
    assert_eq!(pulled["signatures"].as_array().map(Vec::len), Some(2), "{pulled}");
    let keys = ["--public-key", "alice.pub", "--public-key", "bob.pub"];
    host.run(["verify", "pulled.wasm"].into_iter().chain(keys)).expect(0);
    host.run(["pull", &pinned, "--out", "pulled.wasm"]).expect(2).says("--force replaces it");
}

/// A tag may be moved; what was named by its digest may not.
#[test]
fn a_tag_is_shown_as_the_digest_that_it_is_now() {
    let cli = Cli::new();
    let registry = DockerRegistry::start(&cli, "");
    let tagged = registry.reference("tool:latest");
    let (one, two) = (cli.file("1.wasm", numbered(1, "", "")), cli.file("2.wasm", numbered(2, "", "")));
    let first = text(&cli.json(&["push", &one, &tagged])["reference"]);
    let second = text(&cli.json(&["push", &two, &tagged])["reference"]);
    assert_ne!(first, second);
    let pulled =
        cli.run(["pull", &tagged, "--out", "now.wasm"]).expect(0).says(&format!("{tagged} is {second}"));
    assert!(pulled.stdout.contains(&second), "{pulled:?}");
    cli.run(["pull", &first, "--out", "then.wasm"]).expect(0);
    assert_eq!(std::fs::read(cli.path("then.wasm")).expect("there"), numbered(1, "", ""));
    cli.run(["pull", &registry.reference("tool:gone"), "--out", "gone.wasm"]).expect(2).says("is not there");
    cli.run(["push", &one, "oci://localhost/Tool:1"]).expect(2).says("repository's name");
}

/// bcrypt of `open sesame`, for the registry's own file of passwords.
pub(super) const PASSWORDS: &str = "author:$2b$04$RUn7gLRQEGkKok28sc4IAOqlMUP47TDPddIPaAmuU1xVusSwMGs3S\n";

#[test]
fn a_private_registry_is_told_who_asks_and_nobody_else_is() {
    let cli = Cli::new();
    let passwords = cli.file("htpasswd", PASSWORDS);
    let registry =
        DockerRegistry::start(&cli, &format!("auth: {{htpasswd: {{realm: tests, path: {passwords:?}}}}}\n"));
    let file = cli.file("tool.wasm", numbered(1, "", ""));
    let tagged = registry.reference("tool:1");
    let config = |name: &str, password: &str| {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("author:{password}"));
        let auths = json!({"auths": {format!("localhost:{}", registry.port): {"auth": auth}}});
        cli.file(name, auths.to_string())
    };
    let (right, wrong) = (config("right.json", "open sesame"), config("wrong.json", "password"));
    let push = ["push", &file, &tagged];
    cli.run(push).expect(3).says("wants credentials");
    cli.run(push.into_iter().chain(["--docker-config", &wrong])).expect(3).says("were refused");
    cli.run(push.into_iter().chain(["--docker-config", &right])).expect(0);
    cli.run(["pull", &tagged, "--out", "a.wasm", "--docker-config", &right]).expect(0);
    cli.run(["pull", &tagged, "--out", "b.wasm"]).expect(3);
}

/// What a registry of ours answers: a head's first line and fields, and a body; it is cut after so many bytes.
struct Answer {
    head: String,
    body: Vec<u8>,
    cut_at: Option<usize>,
}

fn answer(status: &str, fields: &str, body: impl Into<Vec<u8>>) -> Answer {
    let body = body.into();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{fields}\r\n", body.len());
    Answer { head, body, cut_at: None }
}

/// A registry that says what a test wants, and notes what it is asked.
struct Liar {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    /// Its thread ends with the process.
    fn start(answers: impl Fn(&str, &str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0)
                {
                }
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().expect("no panic").push(head.clone());
                let Answer { head, body, cut_at } = answers(&path, &head);
                let sent = &body[..cut_at.unwrap_or(body.len())];
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read(&mut [0; 1]);
            }
        });
        Self { port, heads }
    }

    fn reference(&self) -> String {
        format!("oci://127.0.0.1:{}/tool:1", self.port)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

fn manifest(component: &[u8], size: usize) -> String {
    let digest = PackageDigest::of(component);
    let config = PackageDigest::of(b"{}");
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": config.to_string(), "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": digest.to_string(), "size": size}],
    })
    .to_string()
}

#[test]
fn a_registry_that_gives_other_bytes_is_not_believed() {
    let cli = Cli::new();
    let good = numbered(1, "", "");
    let size = good.len();
    let pull = |name: &str, liar: &Liar| cli.run(["pull", &liar.reference(), "--out", name]);
    let with_blob = |blob: Vec<u8>, said: usize| {
        let manifest = manifest(&good, said);
        Liar::start(move |path, _| match path {
            "/v2/tool/manifests/1" => answer("200 OK", "", manifest.clone()),
            _ if path.contains("/blobs/") => answer("200 OK", "", blob.clone()),
            _ => answer("404 Not Found", "", ""),
        })
    };
    let mut other = good.clone();
    other[size - 1] ^= 1;
    pull("other.wasm", &with_blob(other, size)).expect(2).says("gives other bytes");
    assert!(!cli.path("other.wasm").exists() && !cli.path("other.wasm.partial").exists());
    let longer = [&good[..], &[0; 10]].concat();
    pull("longer.wasm", &with_blob(longer, size)).expect(2).says("are taken");
    pull("huge.wasm", &with_blob(good.clone(), 200 << 20)).expect(2).says("at most 67108864 are taken");
    // A manifest that is not the one of the digest.
    let liar = with_blob(good.clone(), size);
    let elsewhere = format!("oci://127.0.0.1:{}/tool@{}", liar.port, PackageDigest::of(b"another"));
    cli.run(["pull", &elsewhere, "--out", "none.wasm"]).expect(2);
    // No component at all, or an index of several.
    for text in [
        r#"{"schemaVersion": 2, "config": {"mediaType": "x", "digest": "x", "size": 2}, "layers": []}"#,
        r#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}"#,
        "no JSON",
    ] {
        let liar = Liar::start(move |_, _| answer("200 OK", "", text));
        pull("none.wasm", &liar).expect(2);
    }
    // The granted twin.
    pull("good.wasm", &with_blob(good.clone(), size)).expect(0);
    assert_eq!(std::fs::read(cli.path("good.wasm")).expect("there"), good);
}

/// Case 102.
#[test]
fn where_a_registry_leads_is_judged() {
    let cli = Cli::new();
    let good = numbered(1, "", "");
    let inner = Liar::start(|_, _| answer("200 OK", "", "what nobody outside may see"));
    for (place, why) in [
        (format!("http://127.0.0.1:{}/blob", inner.port), "it is not TLS"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "it is not TLS"),
        ("https://169.254.169.254/latest/meta-data".to_owned(), "cloud metadata address"),
        ("https://127.0.0.1/blob".to_owned(), "loopback address"),
        ("https://10.0.0.1/blob".to_owned(), "private address"),
        ("file:///etc/passwd".to_owned(), "not followed"),
        ("https://user:password@example.com/".to_owned(), "a user or password"),
    ] {
        let (manifest, location) = (manifest(&good, good.len()), format!("location: {place}\r\n"));
        let liar = Liar::start(move |path, _| match path {
            "/v2/tool/manifests/1" => answer("200 OK", "", manifest.clone()),
            _ => answer("307 Temporary Redirect", &location, ""),
        });
        let ran = cli.run(["pull", &liar.reference(), "--out", "led.wasm"]);
        assert_ne!(ran.status.code(), Some(0), "{place}");
        ran.says(why);
    }
    // A token service that is not there by TLS, a name that stands for this machine.
    let realm =
        format!("www-authenticate: Bearer realm=\"http://127.0.0.1:{}/token\",service=\"x\"\r\n", inner.port);
    let liar = Liar::start(move |_, _| answer("401 Unauthorized", &realm, ""));
    cli.run(["pull", &liar.reference(), "--out", "led.wasm"]).expect(3).says("over TLS only");
    cli.run(["pull", "oci://10.0.0.1/tool:1", "--out", "led.wasm"]).expect(1).says("private address");
    assert_eq!(inner.heads(), Vec::<String>::new());
    // The granted twin: a redirect within the registry.
    let (manifest, blob) = (manifest(&good, good.len()), good.clone());
    let liar = Liar::start(move |path, _| match path {
        "/v2/tool/manifests/1" => answer("200 OK", "", manifest.clone()),
        "/store/blob" => answer("200 OK", "", blob.clone()),
        _ if path.contains("/blobs/") => answer("307 Temporary Redirect", "location: /store/blob\r\n", ""),
        _ => answer("404 Not Found", "", ""),
    });
    cli.run(["pull", &liar.reference(), "--out", "led.wasm"]).expect(0);
}

/// What broke off goes on from there: in the same command, and in the next.
#[test]
fn a_pull_that_broke_off_goes_on() {
    let cli = Cli::new();
    let good = numbered(1, "", "");
    let half = good.len() / 2;
    for is_gone_meanwhile in [false, true] {
        let tries = Arc::new(Mutex::new(0));
        let (manifest, blob, count) = (manifest(&good, good.len()), good.clone(), Arc::clone(&tries));
        let liar = Liar::start(move |path, head| {
            if path == "/v2/tool/manifests/1" {
                return answer("200 OK", "", manifest.clone());
            }
            if !path.contains("/blobs/") {
                return answer("404 Not Found", "", "");
            }
            let mut tries = count.lock().expect("no panic");
            *tries += 1;
            match *tries {
                1 => Answer { cut_at: Some(half), ..answer("200 OK", "", blob.clone()) },
                2 if is_gone_meanwhile => answer("503 Service Unavailable", "", ""),
                _ => {
                    assert!(head.to_lowercase().contains(&format!("range: bytes={half}-")), "{head}");
                    let range = format!("content-range: bytes {half}-{}/{}\r\n", blob.len() - 1, blob.len());
                    answer("206 Partial Content", &range, &blob[half..])
                }
            }
        });
        let reference = liar.reference();
        let out = format!("{is_gone_meanwhile}.wasm");
        if is_gone_meanwhile {
            cli.run(["pull", &reference, "--out", &out]).expect(1).says("503");
            assert!(!cli.path(&out).exists());
            assert_eq!(cli.json(&["pull", &reference, "--out", &out])["resumed"], json!(half));
        } else {
            cli.run(["pull", &reference, "--out", &out]).expect(0);
        }
        assert_eq!(std::fs::read(cli.path(&out)).expect("there"), good);
        assert!(liar.heads().len() >= 3);
    }
}
