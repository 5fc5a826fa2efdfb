//! A push whose connection breaks: through a proxy that cuts it, into Debian's `docker-registry`; and into a registry of
//! the test's own that keeps what it had.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use portcullis::ids::PackageDigest;
use serde_json::{Value, json};

use super::registry::{DockerRegistry, text};
use super::trust::numbered;
use crate::harness::process::Cli;

/// What becomes of a request that begins so, the how-manieth.
type Cut = Arc<dyn Fn(&str, usize) -> Fate + Send + Sync>;

#[derive(Clone, Copy)]
enum Fate {
    Passed,
    /// Nothing of it arrives.
    Dropped,
    /// So many of its bytes arrive.
    CutAfter(usize),
}

/// Stands between the command and a registry, and cuts connections by what a test says of their requests.
struct Cutter {
    port: u16,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Cutter {
    /// Its threads end with the process.
    fn before(registry: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counts = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                let (counts, cut) = (Arc::clone(&counts), Arc::clone(&cut));
                std::thread::spawn(move || relay(client, registry, &counts, &cut));
            }
        });
        Self { port, seen }
    }

    fn seen(&self, method: &str) -> usize {
        self.seen.lock().expect("no panic").get(method).copied().unwrap_or_default()
    }
}

/// Requests come one after the other, each at the beginning of what is read.
fn relay(mut client: TcpStream, registry: u16, counts: &Mutex<BTreeMap<String, usize>>, cut: &Cut) {
    let mut registry = TcpStream::connect(("127.0.0.1", registry)).expect("the registry listens");
    let (mut back, mut answers) =
        (client.try_clone().expect("a stream"), registry.try_clone().expect("a stream"));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 << 10];
    let mut left = usize::MAX;
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let method = ["HEAD ", "GET ", "POST ", "PUT ", "PATCH "]
            .into_iter()
            .find(|method| buffer[..count].starts_with(method.as_bytes()));
        if let Some(method) = method {
            let mut counts = counts.lock().expect("no panic");
            let nth = counts.entry(method.trim().to_owned()).or_default();
            *nth += 1;
            left = match cut(method.trim(), *nth) {
                Fate::Passed => usize::MAX,
                Fate::Dropped => 0,
                Fate::CutAfter(bytes) => bytes,
            };
        }
        let passed = count.min(left);
        if registry.write_all(&buffer[..passed]).is_err() {
            break;
        }
        left = if left == usize::MAX { left } else { left - passed };
        if left == 0 {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = registry.shutdown(Shutdown::Both);
}

/// A component of so many MiB and some.
fn large(mebibytes: usize) -> Vec<u8> {
    let mut bytes = numbered(1, "", "");
    // A custom section that says nothing: id, length in five bytes, name, content.
    let content = mebibytes << 20;
    let mut size = content + 2;
    bytes.push(0);
    for _ in 0..4 {
        bytes.push(u8::try_from(size & 0x7f).expect("seven bits") | 0x80);
        size >>= 7;
    }
    bytes.push(u8::try_from(size).expect("short"));
    bytes.extend(b"\x01x");
    bytes.extend((0..content).map(|at| u8::try_from(at % 251).expect("small")));
    bytes
}

const PART: usize = 8 << 20;

fn pulled(cli: &Cli, reference: &str) -> Vec<u8> {
    cli.run(["pull", reference, "--out", "pulled.wasm", "--force"]).expect(0);
    std::fs::read(cli.path("pulled.wasm")).expect("there")
}

/// Docker's registry keeps the parts that it has whole, and forgets an upload of which a part broke off.
#[test]
fn a_push_that_broke_off_goes_on_where_the_registry_can() {
    let cli = Cli::new();
    let registry = DockerRegistry::start(&cli, "");
    let bytes = large(20);
    let file = cli.file("large.wasm", &bytes);
    let cuts: [(&str, Cut, u64); 4] = [
        ("whole", Arc::new(|_, _| Fate::Passed), 0),
        // Between two parts: nothing of the first is sent again.
        ("between", Arc::new(|method, nth| drop_if(method == "PATCH" && nth == 2)), PART as u64),
        // In the midst of a part: from the beginning, by the registry's own doing.
        (
            "within",
            Arc::new(|method, nth| match (method, nth) {
                ("PATCH", 2) => Fate::CutAfter(3 << 20),
                _ => Fate::Passed,
            }),
            0,
        ),
        // The end: all parts are there.
        ("end", Arc::new(|method, nth| drop_if(method == "PUT" && nth == 1)), bytes.len() as u64),
    ];
    for (name, cut, resumed) in cuts {
        let cutter = Cutter::before(registry.port, cut);
        // Repositories have blobs of their own as long as nobody asks to mount them.
        let reference = format!("oci://127.0.0.1:{}/{name}:1", cutter.port);
        let pushed = cli.json(&["push", &file, &reference]);
        assert_eq!((&pushed["was_there"], &pushed["resumed"]), (&json!(false), &json!(resumed)), "{name}");
        assert_eq!(pulled(&cli, &registry.reference(&format!("{name}:1"))), bytes, "{name}");
        let parts = match name {
            "between" => 4,
            "within" => 5,
            _ => 3,
        };
        assert_eq!(cutter.seen("PATCH"), parts, "{name}");
    }
    // The denied twin: what breaks each time ends, and says so; what is there by then is not sent again.
    let cutter = Cutter::before(registry.port, Arc::new(|method, _| drop_if(method == "PATCH")));
    let reference = format!("oci://127.0.0.1:{}/never:1", cutter.port);
    cli.run(["push", &file, &reference]).expect(1);
    assert_eq!(cutter.seen("PATCH"), 4);
    let direct = registry.reference("whole:2");
    assert_eq!(cli.json(&["push", &file, &direct])["was_there"], json!(true));
}

fn drop_if(is_so: bool) -> Fate {
    if is_so { Fate::Dropped } else { Fate::Passed }
}

/// A small component goes in one request.
#[test]
fn a_small_push_that_broke_off_begins_anew() {
    let cli = Cli::new();
    let registry = DockerRegistry::start(&cli, "");
    let bytes = numbered(1, "", "");
    let file = cli.file("small.wasm", &bytes);
    let cutter = Cutter::before(
        registry.port,
        Arc::new(|method, nth| match (method, nth) {
            ("PUT", 1) => Fate::CutAfter(700),
            _ => Fate::Passed,
        }),
    );
    let reference = format!("oci://127.0.0.1:{}/small:1", cutter.port);
    assert_eq!(cli.json(&["push", &file, &reference])["resumed"], json!(0));
    assert_eq!(cutter.seen("PATCH"), 0);
    assert_eq!(pulled(&cli, &registry.reference("small:1")), bytes);
}

/// A registry that keeps each byte that it was sent, and wants parts of 9 MiB, or no parts at all.
struct Keeping {
    takes_parts: bool,
    blobs: Vec<String>,
    upload: Vec<u8>,
    /// How many bytes of bodies came.
    came: usize,
    parts: Vec<String>,
}

fn keep(keeping: &Mutex<Keeping>, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0) {}
    let mut words = head.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let field = |name: &str| -> Option<String> {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length: usize = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut keeping = keeping.lock().expect("no panic");
    // The first part breaks off after a third.
    let is_cut = method == "PATCH" && keeping.parts.is_empty() && keeping.takes_parts;
    let mut body = vec![0; if is_cut { length / 3 } else { length }];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    keeping.came += body.len();
    let place = "location: /v2/tool/blobs/uploads/one\r\n";
    let (status, fields) = match method {
        "HEAD" if keeping.blobs.iter().any(|blob| path.ends_with(blob.as_str())) => ("200 OK", String::new()),
        "POST" => {
            keeping.upload.clear();
            ("202 Accepted", format!("{place}oci-chunk-min-length: {}\r\n", 9 << 20))
        }
        "PATCH" => {
            keeping.parts.push(field("content-range").expect("a range"));
            if !keeping.takes_parts {
                ("405 Method Not Allowed", String::new())
            } else {
                keeping.upload.extend(&body);
                if is_cut {
                    return;
                }
                ("202 Accepted", place.to_owned())
            }
        }
        "GET" if path.contains("/uploads/") => {
            ("204 No Content", format!("{place}range: 0-{}\r\n", keeping.upload.len() - 1))
        }
        "PUT" if path.contains("/uploads/") => {
            keeping.upload.extend(&body);
            let digest = PackageDigest::of(&keeping.upload).to_string();
            assert!(path.ends_with(&digest.replace(':', "%3A")), "{path} is not of {digest}");
            keeping.blobs.push(digest);
            ("201 Created", String::new())
        }
        "PUT" => ("201 Created", "oci-subject: x\r\n".to_owned()),
        _ => ("404 Not Found", String::new()),
    };
    let mut stream = stream;
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n{fields}\r\n");
    let _ = stream.shutdown(Shutdown::Write);
}

/// Its thread ends with the process.
fn keeping(takes_parts: bool) -> (u16, Arc<Mutex<Keeping>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (blobs, upload, parts) = (Vec::new(), Vec::new(), Vec::new());
    let kept = Arc::new(Mutex::new(Keeping { takes_parts, blobs, upload, came: 0, parts }));
    let shared = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            keep(&shared, stream);
        }
    });
    (port, kept)
}

#[test]
fn a_part_that_broke_off_is_gone_on_with_where_the_registry_has_it() {
    let cli = Cli::new();
    let bytes = large(10);
    let file = cli.file("large.wasm", &bytes);
    let part = 9 << 20;
    let push = |port: u16| -> Value { cli.json(&["push", &file, &format!("oci://127.0.0.1:{port}/tool:1")]) };
    let (port, kept) = keeping(true);
    let pushed = push(port);
    let had = part / 3;
    assert_eq!(pushed["resumed"], json!(had), "{pushed}");
    assert!(text(&pushed["digest"]) == PackageDigest::of(&bytes).to_string());
    {
        let kept = kept.lock().expect("no panic");
        let ranges = [format!("0-{}", part - 1), format!("{had}-{}", bytes.len() - 1)];
        assert_eq!(kept.parts, ranges, "parts are as long as the registry wants");
        // Each byte came once; the rest is the config.
        assert!((bytes.len()..bytes.len() + 2_000).contains(&kept.came), "{} came", kept.came);
    }
    // One that takes no parts gets it in one.
    let (port, kept) = keeping(false);
    assert_eq!(push(port)["resumed"], json!(0));
    assert_eq!(kept.lock().expect("no panic").parts.len(), 1);
}
