//! Which compiled code is in memory: what was called last, up to a budget.
//!
//! Code is loaded with the first call of its package. When all together is more than
//! [`Limit::LoadedCode`](crate::limits::Limit::LoadedCode), that which was called longest ago is given up, unless a call
//! runs in it, and is loaded from its artifact with the next call. What runs stays, so that the budget is passed by no
//! more than what runs at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::ids::PackageDigest;
use crate::package::CodeHeld;

/// Something loaded, or being loaded by the first who asked.
pub(super) type Cell<T> = Arc<OnceCell<Arc<T>>>;

/// What is loaded of each component.
#[derive(Debug)]
pub(super) struct LoadedCode<T> {
    bytes_max: u64,
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    entries: HashMap<PackageDigest, Entry<T>>,
    /// Those with a size, by when they were called last.
    by_use: BTreeMap<u64, PackageDigest>,
    clock: u64,
    bytes: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Entry<T> {
    cell: Cell<T>,
    /// 0 until it is loaded.
    bytes: u64,
    used: u64,
}

impl<T> LoadedCode<T> {
    pub(super) fn new(bytes_max: u64) -> Self {
        let held = Held { entries: HashMap::new(), by_use: BTreeMap::new(), clock: 0, bytes: 0, dropped: 0 };
        Self { bytes_max, held: Mutex::new(held) }
    }

    /// Where a component is, or will be once who comes first has loaded it.
    pub(super) fn cell(&self, digest: PackageDigest) -> Cell<T> {
        let mut held = self.held();
        held.clock += 1;
        let now = held.clock;
        let Held { entries, by_use, .. } = &mut *held;
        let entry =
            entries.entry(digest).or_insert_with(|| Entry { cell: Cell::default(), bytes: 0, used: now });
        if entry.bytes > 0 {
            by_use.remove(&entry.used);
            by_use.insert(now, digest);
        }
        entry.used = now;
        Arc::clone(&entry.cell)
    }

    /// A component was loaded into its cell and takes so many bytes: others are given up until all fit.
    pub(super) fn loaded(&self, digest: PackageDigest, cell: &Cell<T>, bytes: u64) {
        let mut given_up = Vec::new();
        let mut held = self.held();
        let Held { entries, by_use, .. } = &mut *held;
        // It may have been forgotten meanwhile: then it goes with its call.
        let Some(entry) = entries.get_mut(&digest).filter(|entry| Arc::ptr_eq(&entry.cell, cell)) else {
            return;
        };
        if entry.bytes > 0 {
            return;
        }
        entry.bytes = bytes.max(1);
        by_use.insert(entry.used, digest);
        held.bytes += bytes.max(1);
        let order: Vec<(u64, PackageDigest)> = match held.bytes > self.bytes_max {
            true => held.by_use.iter().map(|(used, digest)| (*used, *digest)).collect(),
            false => Vec::new(),
        };
        for (used, digest) in order {
            if held.bytes <= self.bytes_max {
                break;
            }
            let is_idle = held.entries.get(&digest).is_some_and(Entry::is_idle);
            if let Some(entry) = is_idle.then(|| held.entries.remove(&digest)).flatten() {
                held.by_use.remove(&used);
                held.bytes -= entry.bytes;
                held.dropped += 1;
                given_up.push(entry);
            }
        }
        // Unmapping takes its time, and nobody need wait for it.
        drop(held);
        drop(given_up);
    }

    /// Loading failed: nothing is kept, unless another has begun it anew.
    pub(super) fn failed(&self, digest: PackageDigest, cell: &Cell<T>) {
        let mut held = self.held();
        let is_empty = |entry: &Entry<T>| Arc::ptr_eq(&entry.cell, cell) && entry.cell.get().is_none();
        // Two: the entry's, and that of who failed.
        if held.entries.get(&digest).is_some_and(|entry| is_empty(entry) && Arc::strong_count(cell) <= 2) {
            held.entries.remove(&digest);
        }
    }

    /// Forgets a component. Calls that run in it go on.
    pub(super) fn forget(&self, digest: PackageDigest) {
        let mut held = self.held();
        let entry = held.entries.remove(&digest);
        if let Some(entry) = entry.as_ref().filter(|entry| entry.bytes > 0) {
            held.by_use.remove(&entry.used);
            held.bytes -= entry.bytes;
        }
        drop(held);
        drop(entry);
    }

    pub(super) fn count(&self) -> CodeHeld {
        let held = self.held();
        CodeHeld { components: held.by_use.len() as u64, bytes: held.bytes, dropped: held.dropped }
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Entry<T> {
    /// Nobody runs in it or is about to. Asked under the lock that cells are given out under: of an entry that has one
    /// owner nobody else can get another.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.cell) == 1
            && self.cell.get().is_some_and(|loaded| Arc::strong_count(loaded) == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> PackageDigest {
        PackageDigest::of(&[number])
    }

    /// Loads it if it is not there; whether it had to.
    async fn call(code: &LoadedCode<u8>, number: u8, bytes: u64) -> (Arc<u8>, bool) {
        let cell = code.cell(digest(number));
        let mut is_new = false;
        let loaded = cell.get_or_init(|| async {
            is_new = true;
            Arc::new(number)
        });
        let loaded = Arc::clone(loaded.await);
        if is_new {
            code.loaded(digest(number), &cell, bytes);
        }
        (loaded, is_new)
    }

    #[tokio::test]
    async fn what_was_called_longest_ago_goes_first() {
        let code = LoadedCode::new(20);
        for number in [1, 2] {
            assert!(call(&code, number, 10).await.1);
        }
        assert!(!call(&code, 1, 10).await.1, "both fit");
        assert_eq!(code.count(), CodeHeld { components: 2, bytes: 20, dropped: 0 });
        assert!(call(&code, 3, 10).await.1);
        assert_eq!(code.count(), CodeHeld { components: 2, bytes: 20, dropped: 1 });
        assert!(!call(&code, 1, 10).await.1, "it was called after the second");
        assert!(call(&code, 2, 10).await.1, "it was given up");
        code.forget(digest(2));
        code.forget(digest(2));
        assert_eq!(code.count(), CodeHeld { components: 1, bytes: 10, dropped: 2 });
    }

    #[tokio::test]
    async fn what_a_call_runs_in_is_kept_and_what_is_too_large_goes_with_the_next() {
        let code = LoadedCode::new(15);
        let running = call(&code, 1, 10).await.0;
        drop(call(&code, 2, 10).await);
        drop(call(&code, 3, 10).await);
        assert!(!call(&code, 1, 10).await.1, "a call runs in it");
        assert_eq!(code.count(), CodeHeld { components: 2, bytes: 20, dropped: 1 });
        drop(running);
        drop(call(&code, 4, 100).await);
        // What has just been loaded is its caller's, however large.
        assert_eq!(code.count(), CodeHeld { components: 1, bytes: 100, dropped: 3 });
        drop(call(&code, 5, 10).await);
        assert_eq!(code.count(), CodeHeld { components: 1, bytes: 10, dropped: 4 });
    }

    #[tokio::test]
    async fn what_fails_to_load_leaves_nothing_and_what_was_forgotten_meanwhile_is_not_counted() {
        let code = LoadedCode::<u8>::new(10);
        let cell = code.cell(digest(1));
        code.failed(digest(1), &cell);
        assert!(code.held().entries.is_empty());
        let cell = code.cell(digest(2));
        code.forget(digest(2));
        code.loaded(digest(2), &cell, 10);
        assert_eq!(code.count(), CodeHeld::default());
        let (first, second) = (code.cell(digest(3)), code.cell(digest(3)));
        code.failed(digest(3), &first);
        assert!(Arc::ptr_eq(&second, &code.cell(digest(3))), "another loads it");
    }
}
