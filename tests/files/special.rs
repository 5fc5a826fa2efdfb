//! Case 39: FIFOs, sockets and devices are refused, and nobody waits for them.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::json;

use super::{
    Files, NOT_REGULAR, READ_WRITE, at, denied, effect, follow, observed, open, open_with, touch, two,
};

/// Makes a FIFO, a socket and, where this process may, a device. Gives names with their kinds.
fn make(files: &Files) -> (Vec<(&'static str, &'static str)>, UnixListener) {
    let mut made = vec![("fifo", "fifo"), ("socket", "socket")];
    mknodat(CWD, files.path("papers/fifo"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let listener = UnixListener::bind(files.path("papers/socket")).expect("a socket");
    // /dev/null, and a terminal that waits for a line.
    let devices = [("null", rustix::fs::makedev(1, 3)), ("tty", rustix::fs::makedev(5, 0))];
    for (name, number) in devices {
        let path = files.path("papers").join(name);
        match mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, number) {
            Ok(()) => made.push((name, "character-device")),
            Err(error) => println!("no device, this process may not make one: {error}"),
        }
    }
    (made, listener)
}

/// Lets go of a thread that waits for the other end of a FIFO, or a test that fails would never end.
struct FreeFifo(PathBuf);

impl Drop for FreeFifo {
    fn drop(&mut self) {
        drop(rustix::fs::open(&self.0, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_39_special_files_are_refused_without_waiting() {
    let files = Files::with_limits(&[("papers", READ_WRITE)], "wall_time = \"8s\"").await;
    files.file("papers/a.txt", "hello");
    let (made, _listener) = make(&files);
    let _freed = FreeFifo(files.path("papers/fifo"));
    let mut cases = Vec::new();
    for (name, kind) in &made {
        let link = format!("{name}-link");
        files.symlink(name, &format!("papers/{link}"));
        let subject = format!("/papers/{name}");
        for step in [open(name), follow(name), open_with(name, &[]), open(&format!("{name}/"))] {
            cases.push(denied(step, &subject, NOT_REGULAR));
        }
        cases.push(denied(follow(&link), &format!("/papers/{link}"), NOT_REGULAR));
        for flags in [["create"], ["truncate"]] {
            cases.push(denied(open_with(name, &flags), &subject, NOT_REGULAR));
        }
        cases.push(denied(touch(name, true), &subject, NOT_REGULAR));
        cases.push(denied(touch(name, false), &subject, NOT_REGULAR));
        cases.push(denied(touch(&link, true), &format!("/papers/{link}"), NOT_REGULAR));
        let linked = format!("{subject} to /papers/second");
        cases.push(effect(two("link", name, "second"), &linked, "error: not-permitted"));
        cases.push(observed(at("stat-at", name), &subject, &format!("ok: {kind} …")));
    }
    cases.push(observed(open("a.txt"), "/papers/a.txt", "ok"));
    cases.push(effect(touch("a.txt", true), "/papers/a.txt", "ok"));
    files.check(cases).await;
    let ran = files.run(json!([{"op": "open", "at": "/papers", "path": ".", "as": "d"},
                               {"op": "read-directory", "at": "d"}]));
    let listed = ran.await.answers.remove(1);
    for (name, kind) in made {
        assert!(listed.contains(&format!(" {name}:{kind}")), "{listed}");
    }
}
