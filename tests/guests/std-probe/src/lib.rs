//! Says what the standard library sees of the world: environment, arguments, clocks, random
//! numbers, stdio, files. Knows no interface of WASI itself.

mod bindings {
    wit_bindgen::generate!({ world: "std-probe", path: "wit" });
}

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::io::{self, Read};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bindings::exports::test::std_probe::probe::Guest;

struct Probe;

impl Guest for Probe {
    fn environment() -> Vec<(String, String)> {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(key, value)| (lossy(key), lossy(value))).collect()
    }

    fn arguments() -> Vec<String> {
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    fn current_directory() -> Result<String, String> {
        std::env::current_dir().map(|path| path.display().to_string()).map_err(|error| error.to_string())
    }

    fn wall_clock() -> (u64, u32) {
        let since = UNIX_EPOCH.elapsed().unwrap_or_default();
        (since.as_secs(), since.subsec_nanos())
    }

    fn elapsed() -> u64 {
        let start = Instant::now();
        u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn read_clock(times: u32) {
        for _ in 0..times {
            black_box(Instant::now());
        }
    }

    fn sleep(milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }

    fn random() -> (u64, u64) {
        (RandomState::new().hash_one(0), RandomState::new().hash_one(0))
    }

    fn stdin() -> Result<String, String> {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn print(out: String, err: String) {
        print!("{out}");
        eprint!("{err}");
    }

    fn print_lines(times: u32) {
        for _ in 0..times {
            eprintln!("a line of the log");
        }
    }

    fn read_file(path: String, bytes_max: u64) -> Result<u64, String> {
        let file = fs::File::open(path).map_err(|error| error.to_string())?;
        io::copy(&mut file.take(bytes_max), &mut io::sink()).map_err(|error| error.to_string())
    }

    fn list_folder(path: String) -> Result<Vec<String>, String> {
        let entries: io::Result<Vec<String>> = fs::read_dir(path)
            .map_err(|error| error.to_string())?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect();
        let mut names = entries.map_err(|error| error.to_string())?;
        names.sort();
        Ok(names)
    }

    fn allocate(bytes: u64) -> Result<(), String> {
        let bytes = usize::try_from(bytes).map_err(|error| error.to_string())?;
        let mut held: Vec<u8> = Vec::new();
        held.try_reserve_exact(bytes).map_err(|error| error.to_string())?;
        held.resize(bytes, 1);
        black_box(held);
        Ok(())
    }

    fn recurse(depth: u32) -> u32 {
        descend(depth)
    }

    fn compute(rounds: u64) -> u64 {
        (0..rounds).fold(1, |sum, round| black_box(sum ^ round))
    }

    fn fresh_memory_is_zero(bytes: u64) -> bool {
        let Some(grown) = usize::try_from(bytes).ok().and_then(grow) else { return false };
        let mut zero = true;
        for place in grown {
            let place = place as *mut u8;
            // SAFETY: inside of pages that were just added to the linear memory, which nobody else
            // uses. Volatile, because what they hold comes from outside of the program.
            unsafe {
                zero &= place.read_volatile() == 0;
                place.write_volatile(0xA5);
            }
        }
        zero
    }

    fn exit(success: bool) {
        std::process::exit(if success { 0 } else { 1 });
    }

    fn panic(message: String) {
        panic!("{message}");
    }
}

/// Adds at least so many bytes to the linear memory, and gives their addresses.
#[cfg(target_arch = "wasm32")]
fn grow(bytes: usize) -> Option<std::ops::Range<usize>> {
    const PAGE_BYTES: usize = 64 << 10;
    let pages = bytes.div_ceil(PAGE_BYTES);
    let start = core::arch::wasm32::memory_grow(0, pages).checked_mul(PAGE_BYTES)?;
    Some(start..start + pages * PAGE_BYTES)
}

/// Other machines have no linear memory.
#[cfg(not(target_arch = "wasm32"))]
fn grow(_: usize) -> Option<std::ops::Range<usize>> {
    None
}

fn descend(depth: u32) -> u32 {
    let frame = black_box([depth; 24]);
    if depth == 0 { frame[0] } else { descend(depth - 1) + black_box(frame)[1].min(1) }
}

bindings::export!(Probe with_types_in bindings);
