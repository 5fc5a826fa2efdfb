//! A tool that misbehaves on request: it shows what a host does about it.
//!
//! Nothing in here can do harm under a host that keeps its promises, and nothing in here would be
//! polite without one: never run it natively.

mod bindings {
    wit_bindgen::generate!({ world: "hostile", path: "wit" });
}

use std::ffi::{CString, c_char, c_int};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use bindings::exports::example::hostile::attacks::{Attempt, Guest};

/// How much is asked for at a time: small enough to come close to any cap.
const CHUNK_BYTES: usize = 1 << 20;

struct Hostile;

impl Guest for Hostile {
    fn spin() -> u64 {
        let mut rounds = 0_u64;
        loop {
            rounds = black_box(rounds.wrapping_add(1));
        }
    }

    fn sleep() {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }

    fn allocate() -> u64 {
        let mut held: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut chunk = Vec::new();
            if held.try_reserve(1).is_err() || chunk.try_reserve_exact(CHUNK_BYTES).is_err() {
                return held.len() as u64 * CHUNK_BYTES as u64;
            }
            // Touched, so that the pages are really taken.
            chunk.resize(CHUNK_BYTES, 1);
            held.push(black_box(chunk));
        }
    }

    fn read_outside() -> Vec<Attempt> {
        let folder = granted_folder();
        let mut attempts: Vec<Attempt> = paths(&folder).into_iter().map(attempt).collect();
        attempts.push(through_own_link(&folder));
        attempts
    }

    fn flood_stdout(bytes: u64) {
        let line = [b'x'; 4096];
        let mut left = bytes;
        let mut out = std::io::stdout().lock();
        while left > 0 {
            let part = left.min(line.len() as u64) as usize;
            if out.write_all(&line[..part]).is_err() {
                return;
            }
            left -= part as u64;
        }
    }

    fn flood_host_calls(calls: u64) {
        for _ in 0..calls {
            black_box(SystemTime::now());
        }
    }

    fn deep_recursion() -> u64 {
        descend(black_box(1))
    }

    fn flood_result(bytes: u64) -> String {
        "x".repeat(usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

#[expect(unconditional_recursion, reason = "that is the attack")]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    // The sum after the call keeps the compiler from making a loop of it.
    descend(depth.wrapping_add(1)).wrapping_add(black_box(frame)[(depth % 16) as usize])
}

/// The first folder that can be listed, of those where grants usually are.
fn granted_folder() -> String {
    let usual = ["/data", "/notes", "/project", "/reports", "/"];
    usual.into_iter().find(|folder| fs::read_dir(folder).is_ok()).unwrap_or("/data").to_owned()
}

fn paths(folder: &str) -> Vec<String> {
    let up = "../".repeat(16);
    vec![
        "/etc/passwd".to_owned(),
        "etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        "../../etc/passwd".to_owned(),
        format!("{folder}/../etc/passwd"),
        format!("{folder}/{up}etc/passwd"),
        format!("{folder}/./{up}etc/passwd/"),
        format!("{folder}2/secret"),
        format!("{folder}//etc/passwd"),
        format!("{folder}/..\\..\\etc\\passwd"),
    ]
}

fn attempt(path: String) -> Attempt {
    let mut start = [0_u8; 64];
    match File::open(&path).and_then(|mut file| file.read(&mut start)) {
        Ok(length) => {
            let answer = String::from_utf8_lossy(&start[..length]).into_owned();
            Attempt { path, succeeded: true, answer }
        }
        Err(error) => Attempt { path, succeeded: false, answer: error.to_string() },
    }
}

/// Makes a symbolic link to the outside, and reads through it.
fn through_own_link(folder: &str) -> Attempt {
    let link = format!("{folder}/innocent.txt");
    match symlink("/etc/passwd", &link) {
        Ok(()) => attempt(link),
        Err(error) => {
            let path = format!("{link} -> /etc/passwd");
            Attempt { path, succeeded: false, answer: format!("no link: {error}") }
        }
    }
}

/// std's own function for this is not stable on WASI.
fn symlink(target: &str, link: &str) -> std::io::Result<()> {
    unsafe extern "C" {
        #[link_name = "symlink"]
        fn libc_symlink(target: *const c_char, link: *const c_char) -> c_int;
    }
    let (target, link) = (CString::new(target)?, CString::new(link)?);
    // SAFETY: both are strings that end in NUL, live until after the call, and are only read.
    let answer = unsafe { libc_symlink(target.as_ptr(), link.as_ptr()) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

bindings::export!(Hostile with_types_in bindings);
