//! Memory that compiled code is read into, checked in, and run from, so that what was checked is what runs and none of
//! it is copied.
//!
//! It is this process's own and no file's, so nobody else can change it; it is read-only from the moment its bytes were
//! believed. Where it is large it is in large pages, as far as the kernel has such: giving out, taking back and running
//! through thousands of small ones was most of what loading a Python component took.
//!
//! Never decides whether code may run: [`artifact`](super::artifact) does.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use wasmtime::component::Component;
use wasmtime::{CustomCodeMemory, Engine};

/// A large page of x86-64, and of the other processors as they are mostly set.
pub(super) const LARGE_PAGE_BYTES: usize = 2 << 20;
/// From here on an image is laid out for large pages. What is smaller is read in a fraction of a millisecond.
const LARGE_IMAGE_BYTES_MIN: usize = 2 * LARGE_PAGE_BYTES;

/// Whether code runs where it was read. On other processors than this one caches must be told of new code, which the
/// engine does for memory of its own only: there the engine copies it, as it does with what was just compiled.
const RUNS_IN_PLACE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// The images that code runs in, by their first address. Each is there until the engine lets go of its code.
static RUNNING: Mutex<BTreeMap<usize, (u64, Image)>> = Mutex::new(BTreeMap::new());

/// Pages with the bytes of one artifact, which are given back when it is dropped.
#[derive(Debug)]
pub(super) struct Image {
    start: NonNull<u8>,
    /// The bytes of code; what follows them in the last page is zero.
    length: usize,
    /// The bytes that are mapped.
    mapped: usize,
}

// SAFETY: it is the only owner of its pages, as a Box is of its memory.
unsafe impl Send for Image {}

impl Image {
    /// Memory for so many bytes, all zero.
    ///
    /// # Errors
    /// If the kernel gives none.
    pub(super) fn new(length: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
        let mapped = length.max(1).checked_next_multiple_of(page).ok_or_else(too_long)?;
        if mapped < LARGE_IMAGE_BYTES_MIN {
            return Ok(Self { start: map(mapped)?, length, mapped });
        }
        // A large page begins at a multiple of its size: more is reserved, and both ends are given back.
        let reserved = mapped.checked_add(LARGE_PAGE_BYTES).ok_or_else(too_long)?;
        let whole = Self { start: map(reserved)?, length, mapped: reserved };
        let before = whole.start.addr().get().next_multiple_of(LARGE_PAGE_BYTES) - whole.start.addr().get();
        let image = whole.cut(before, mapped)?;
        // A kernel without large pages serves small ones.
        // SAFETY: the pages are the image's own, and the advice changes nothing of what is in them.
        let _ = unsafe { madvise(image.address(), image.mapped, Advice::LinuxHugepage) };
        Ok(image)
    }

    /// Keeps `mapped` bytes from the `before`th on, and gives back the others.
    fn cut(self, before: usize, mapped: usize) -> io::Result<Self> {
        let Self { start, length, mapped: reserved } = self;
        std::mem::forget(self);
        let unmap = |from: usize, to: usize| {
            if from == to {
                return Ok(());
            }
            // SAFETY: from..to lies in the mapping that `self` owned, at borders of pages, and nothing refers to it.
            unsafe { munmap(start.as_ptr().add(from).cast(), to - from) }
        };
        let kept = before..before + mapped;
        // If the kernel can't split the mapping, it is left whole and lost: that is address space, and no memory.
        unmap(0, kept.start)?;
        unmap(kept.end, reserved)?;
        // SAFETY: `before` is less than what was reserved, so it is an address of the same mapping.
        Ok(Self { start: unsafe { start.add(before) }, length, mapped })
    }

    /// The bytes, to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the pages are mapped, readable and writable, as long as the image is; they are nobody else's.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the pages are mapped and readable as long as the image is, and written only through `&mut`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Makes a component of the bytes, which nobody can change any more from here on. The pages are given back when
    /// the engine lets go of the last of it.
    ///
    /// # Errors
    /// If the kernel can't protect them, or the engine does not take them.
    ///
    /// # Safety
    /// The bytes must be what `serialize` of a compatible engine gave. The engine must be one of
    /// [`engine`](super::engine::engine), whose settings leave out what reads an image while it is dropped.
    pub(super) unsafe fn load(self, engine: &Engine) -> wasmtime::Result<Component> {
        if !RUNS_IN_PLACE {
            // SAFETY: the caller's word for the bytes.
            return unsafe { Component::deserialize(engine, self.bytes()) };
        }
        // SAFETY: the pages are the image's own, whole, and no reference to its bytes is left.
        unsafe { mprotect(self.address(), self.mapped, MprotectFlags::READ) }?;
        let memory = NonNull::slice_from_raw_parts(self.start, self.length);
        let (start, number) = (self.start.addr().get(), next_number());
        running().insert(start, (number, self));
        // SAFETY: the caller's word for the bytes. They live until the engine says by `unpublish_executable` that
        // it drops its code, and nobody writes to them: nothing does through `RUNNING`, and the pages are read-only.
        let loaded = unsafe { Component::deserialize_raw(engine, memory) };
        if loaded.is_err() {
            // Unless the engine had come as far as to let go of it; then another may have the address by now.
            let mut running = running();
            if running.get(&start).is_some_and(|(of, _)| *of == number) {
                running.remove(&start);
            }
        }
        loaded
    }

    fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: the pages are the image's own, and nothing refers to them: `bytes` borrows it, and the engine has
        // let go of it, if it ever had it.
        let _ = unsafe { munmap(self.address(), self.mapped) };
    }
}

fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at an address that the kernel chooses: it replaces none.
    let start = unsafe {
        mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn running() -> MutexGuard<'static, BTreeMap<usize, (u64, Image)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// What the engine asks to make code executable, if it may run where it was read.
///
/// The engine serves its own memory by itself only as long as nobody else does, so this does it for both kinds.
pub(super) fn publisher() -> Option<std::sync::Arc<dyn CustomCodeMemory>> {
    RUNS_IN_PLACE.then(|| std::sync::Arc::new(Publisher) as std::sync::Arc<dyn CustomCodeMemory>)
}

struct Publisher;

impl CustomCodeMemory for Publisher {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
        // SAFETY: the engine gives the code's whole pages, which it has just made, or were made, read-only.
        unsafe { mprotect(start.cast_mut().cast(), length, MprotectFlags::READ | MprotectFlags::EXEC) }?;
        Ok(())
    }

    /// The engine drops the code: this is its last use of an image (`Drop for CodeMemory` of wasmtime 48.0.8, which
    /// after this only takes back unwind tables; ours has none). Memory of its own it unmaps by itself right after.
    fn unpublish_executable(&self, start: *const u8, _length: usize) -> wasmtime::Result<()> {
        let mut running = running();
        let found = running.range(..=start.addr()).next_back();
        let first = found
            .filter(|(first, (_, image))| start.addr() - **first < image.mapped)
            .map(|(first, _)| *first);
        let image = first.and_then(|first| running.remove(&first));
        // Unmapping takes its time, and nobody need wait for it.
        drop(running);
        drop(image);
        Ok(())
    }
}

/// Whether code of a component is in an image.
#[cfg(test)]
pub(super) fn is_running(component: &Component) -> bool {
    let range = component.image_range();
    running().contains_key(&range.start.addr())
}

#[cfg(test)]
mod tests {
    use super::super::engine;
    use super::*;
    use crate::limits::HostLimits;

    #[test]
    fn an_image_holds_what_was_put_into_it_whatever_its_size() {
        for length in
            [0, 1, 4_096, 4_097, LARGE_IMAGE_BYTES_MIN - 1, LARGE_IMAGE_BYTES_MIN, 3 * LARGE_PAGE_BYTES + 5]
        {
            let mut image = Image::new(length).expect("memory");
            assert_eq!(image.bytes().len(), length);
            assert!(image.bytes().iter().all(|byte| *byte == 0));
            if length >= LARGE_IMAGE_BYTES_MIN {
                assert_eq!(image.start.addr().get() % LARGE_PAGE_BYTES, 0);
            }
            image.bytes_mut().fill(7);
            assert!(image.bytes().iter().all(|byte| *byte == 7));
        }
    }

    /// How the kernel lists the mapping that an address is in.
    fn mapping(address: usize) -> Option<String> {
        let maps = std::fs::File::open("/proc/self/maps").expect("Linux");
        std::io::BufRead::lines(std::io::BufReader::new(maps)).map(|line| line.expect("text")).find(|line| {
            let (first, rest) = line.split_once('-').expect("a range");
            let (last, _) = rest.split_once(' ').expect("a range");
            let parsed = |text| usize::from_str_radix(text, 16).expect("a number");
            (parsed(first)..parsed(last)).contains(&address)
        })
    }

    #[test]
    fn code_runs_where_it_was_read_and_its_pages_go_with_the_last_of_it() {
        let engine = engine::engine(&HostLimits::default()).expect("an engine");
        let wat = wat::parse_str("(component (core module (func (export \"f\"))))").expect("a component");
        let code = engine.precompile_component(&wat);
        let code = code.expect("it compiles");
        let mut image = Image::new(code.len()).expect("memory");
        image.bytes_mut().copy_from_slice(&code);
        let start = image.start.addr().get();
        // SAFETY: the bytes are what this engine has just made.
        let component = unsafe { image.load(&engine) }.expect("it loads");
        if !RUNS_IN_PLACE {
            return;
        }
        assert_eq!(component.image_range().start.addr(), start);
        assert!(is_running(&component));
        let second = component.clone();
        drop(component);
        let flags = |address| mapping(address).map(|line| line.split(' ').nth(1).expect("flags").to_owned());
        assert_eq!(flags(start).as_deref(), Some("r--p"), "what is no code is read-only");
        let listed = (0..code.len()).step_by(4_096).filter_map(|offset| flags(start + offset));
        let listed: Vec<String> = listed.collect();
        assert!(
            listed.iter().any(|flags| flags == "r-xp") && listed.iter().all(|flags| !flags.contains('w'))
        );
        drop(second);
        assert!(!running().contains_key(&start), "the engine has let go of it");
    }

    #[test]
    fn what_the_engine_does_not_take_is_given_back() {
        let engine = engine::engine(&HostLimits::default()).expect("an engine");
        let mut image = Image::new(10_000).expect("memory");
        image.bytes_mut().fill(1);
        let start = image.start.addr().get();
        // SAFETY: the engine looks at the head of the bytes, which is that of no artifact, and goes no further.
        assert!(unsafe { image.load(&engine) }.is_err());
        assert!(!running().contains_key(&start));
    }
}
