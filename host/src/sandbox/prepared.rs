//! Sandboxes that are made before their call comes.
//!
//! Making an instance is a good part of a short call, and a third of a Python one; and it needs nothing of the call. So
//! a thread makes some in advance, of components that were called in the last seconds: as many of each as calls found
//! missing, up to [`PACKAGE_MAX`], all together [`Limit::PreparedSandboxes`](crate::limits::Limit::PreparedSandboxes),
//! and only while there is a core that no guest waits for. A call that finds none has its own made, as ever.
//!
//! Such a sandbox has no caller, no power, and a gate that is shut: a host call traps before it comes to a capability,
//! and from then on that component's sandboxes are made with their calls, where what they ask is recorded. A call that
//! takes one is its only owner. It pays for the fuel and the memory that making it took, and nothing is ever put back:
//! the thread takes down what the call leaves.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtime::component::{Instance, ResourceTable};
use wasmtime::{PoolConcurrencyLimitError, Store};

use super::capabilities::CallState;
use super::capabilities::cli::Stdio;
use super::capabilities::clocks::Clock;
use super::capabilities::filesystem::Filesystem;
use super::capabilities::gate::Gate;
use super::capabilities::http::Http;
use super::capabilities::invoke::Invoke;
use super::capabilities::keyvalue::Stores;
use super::capabilities::logging::Lines;
use super::capabilities::random::Source;
use super::capabilities::sockets::Sockets;
use super::control::CallControl;
use super::invocation::{FUEL_STEP, Loaded, Resources, bare_store};
use super::limiter::MemoryLimiter;
use super::nested::Nesting;
use crate::audit::event::CallContext;
use crate::bell::{Bell, LOOK_INTERVAL};
use crate::egress::Unmetered;
use crate::ids::{CallId, PackageDigest, Revision};
use crate::limits::CallLimits;
use crate::package::SandboxesPrepared;

/// The most of one component.
const PACKAGE_MAX: usize = 16;
/// The most that calls left and that are not taken down yet. Who finds so many takes its own down.
pub(super) const LEFT_MAX: usize = 16;
/// The fuel that making one may take: about a millisecond. Python takes 6,000.
const FUEL_MAX: u64 = 1_000_000;
/// After so long without a call of its component one is given back.
const IDLE_TIME: Duration = Duration::from_secs(10);
/// How often that is looked for.
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// The thread looks again when about so many will have been taken, as fast as they were of late, and not more often
/// than the other says.
const TAKEN_MEANWHILE: u32 = 4;
const LOOK_INTERVAL_MIN: Duration = Duration::from_micros(100);
/// What a component may take of the pool and have sandboxes prepared: the share of one call, so that no call finds the
/// pool empty because of them.
pub(super) const MEMORIES_MAX: u32 = 4;
pub(super) const TABLES_MAX: u32 = 32;

/// A sandbox without a call.
pub(super) struct Prepared {
    store: Store<CallState>,
    instance: Instance,
    /// What making it took.
    fuel: u64,
    _counted: Counted,
}

/// Counts a prepared sandbox as long as it has no call.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.ready.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.ready.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A prepared sandbox that a call has moved into.
pub(super) struct Occupied {
    pub(super) store: Store<CallState>,
    pub(super) instance: Instance,
    /// What making it took, which is the call's to pay.
    pub(super) fuel: u64,
    /// What is in the store's place of a call when there is none.
    pub(super) vacant: Box<CallState>,
}

impl Prepared {
    /// Has a call move in. Gives its state back if it may not have what making the sandbox took.
    pub(super) fn occupy(
        mut self,
        mut state: Box<CallState>,
        limits: &CallLimits,
    ) -> Result<Occupied, Box<CallState>> {
        let Some(memory) = state.memory.holding(&self.store.data().memory) else { return Err(state) };
        if self.fuel > limits.fuel {
            return Err(state);
        }
        state.memory = memory;
        std::mem::swap(self.store.data_mut(), &mut *state);
        Ok(Occupied { store: self.store, instance: self.instance, fuel: self.fuel, vacant: state })
    }
}

/// The sandboxes of one component that are ready.
#[derive(Default)]
pub(super) struct Shelf(Mutex<OnShelf>);

#[derive(Default)]
struct OnShelf {
    ready: Vec<Prepared>,
    /// How many there should be.
    wanted: usize,
    /// The thread was asked to make more.
    is_asked: bool,
    /// Making one called the host, or failed: it is not tried again.
    is_refused: bool,
    used: Option<Instant>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, OnShelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sandboxes in advance, and takes down those that calls have left.
pub(super) struct Preparer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    bell: Bell,
    lists: Mutex<Lists>,
    is_over: AtomicBool,
    taken: AtomicU64,
    missed: AtomicU64,
    ready: AtomicU64,
}

#[derive(Default)]
struct Lists {
    /// Components that lack some. Each once.
    asked: VecDeque<Weak<Loaded>>,
    /// What calls left.
    left: Vec<Store<CallState>>,
}

impl Preparer {
    /// Starts the thread.
    pub(super) fn start(max: u64, resources: Arc<Resources>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let maker = Maker { shared: Arc::clone(&shared), resources, max, stocked: Vec::new(), made: 0 };
        let thread = std::thread::Builder::new().name("preparer".into()).spawn(move || maker.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes a sandbox of the component, if one is ready.
    pub(super) fn take(&self, loaded: &Arc<Loaded>) -> Option<Prepared> {
        let mut shelf = loaded.shelf.lock();
        shelf.used = Some(Instant::now());
        if shelf.is_refused {
            return None;
        }
        let prepared = shelf.ready.pop();
        if prepared.is_none() {
            shelf.wanted = (2 * shelf.wanted).clamp(1, PACKAGE_MAX);
        }
        let is_to_ask = shelf.ready.len() < shelf.wanted && !shelf.is_asked;
        shelf.is_asked |= is_to_ask;
        drop(shelf);
        let shared = &self.shared;
        let count = if prepared.is_some() { &shared.taken } else { &shared.missed };
        count.fetch_add(1, Ordering::Relaxed);
        if is_to_ask {
            shared.lists().asked.push_back(Arc::downgrade(loaded));
            // Not urgent: no call is to make a system call for those that come after it.
            shared.bell.sent(false);
        }
        prepared
    }

    /// Takes the sandbox of a call that is over, whose state was taken out of it.
    pub(super) fn leave(&self, store: Store<CallState>) {
        let mut lists = self.shared.lists();
        if lists.left.len() >= LEFT_MAX {
            drop(lists);
            return;
        }
        lists.left.push(store);
        drop(lists);
        self.shared.bell.sent(false);
    }

    pub(super) fn count(&self) -> SandboxesPrepared {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { ready, taken, missed, .. } = &*self.shared;
        SandboxesPrepared { ready: count(ready), taken: count(taken), missed: count(missed) }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was said where it did.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// The thread.
struct Maker {
    shared: Arc<Shared>,
    resources: Arc<Resources>,
    max: usize,
    /// Components of which some are ready.
    stocked: Vec<Weak<Loaded>>,
    /// How many were made.
    made: usize,
}

/// Why a component has not as many sandboxes ready as it should.
enum Lacking {
    /// None can be made now.
    ForNow,
    /// None ever will be.
    Forever,
}

impl Maker {
    fn run(mut self) {
        self.shared.bell.attend();
        let context = Arc::new(nobody());
        let (mut looks, mut looked, mut idle_looked) = (0, Instant::now(), Instant::now());
        let mut interval = LOOK_INTERVAL;
        while !self.shared.is_over() {
            let has_taken_down = self.take_down();
            let made_before = self.made;
            let is_done = self.stock(&context);
            let since = looked.elapsed();
            looked += since;
            interval = match u32::try_from(self.made - made_before) {
                Ok(0) | Err(_) => interval * 2,
                Ok(made) => since / made * TAKEN_MEANWHILE,
            };
            interval = interval.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL);
            if idle_looked.elapsed() >= IDLE_LOOK {
                self.give_back_idle();
                idle_looked = Instant::now();
            }
            looks = if has_taken_down || !is_done { 0 } else { looks + 1 };
            if interval < LOOK_INTERVAL {
                std::thread::park_timeout(interval);
                continue;
            }
            let longest = (!self.stocked.is_empty()).then_some(IDLE_LOOK);
            self.shared.bell.sleep(looks, longest, || {
                let lists = self.shared.lists();
                lists.asked.is_empty() && lists.left.is_empty() && !self.shared.is_over()
            });
        }
    }

    /// Whether there was anything.
    fn take_down(&self) -> bool {
        let left = std::mem::take(&mut self.shared.lists().left);
        !left.is_empty()
    }

    /// Makes what is asked for. Whether nothing is left to be made.
    fn stock(&mut self, context: &Arc<CallContext>) -> bool {
        let asked = self.shared.lists().asked.len();
        for _ in 0..asked {
            let Some(next) = self.shared.lists().asked.pop_front() else { break };
            let Some(loaded) = next.upgrade() else { continue };
            match self.fill(&loaded, context) {
                Ok(()) => loaded.shelf.lock().is_asked = false,
                Err(Lacking::Forever) => {
                    let mut shelf = loaded.shelf.lock();
                    shelf.is_refused = true;
                    shelf.ready.clear();
                }
                Err(Lacking::ForNow) => {
                    self.shared.lists().asked.push_back(next);
                    return false;
                }
            }
        }
        self.shared.lists().asked.is_empty()
    }

    fn fill(&mut self, loaded: &Arc<Loaded>, context: &Arc<CallContext>) -> Result<(), Lacking> {
        if !loaded.is_modest {
            return Err(Lacking::Forever);
        }
        loop {
            let shelf = loaded.shelf.lock();
            if shelf.ready.len() >= shelf.wanted {
                return Ok(());
            }
            let used = shelf.used;
            drop(shelf);
            self.take_down();
            if self.shared.is_over() || !self.resources.turns.has_room() {
                return Err(Lacking::ForNow);
            }
            let ready = usize::try_from(self.shared.ready.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
            if ready >= self.max && !self.give_back_older_than(used, loaded) {
                // Others were called later: there are as many as there may be.
                return Ok(());
            }
            let prepared = self.make(loaded, context)?;
            loaded.shelf.lock().ready.push(prepared);
            self.made += 1;
            if !self.stocked.iter().any(|stocked| std::ptr::eq(stocked.as_ptr(), Arc::as_ptr(loaded))) {
                self.stocked.push(Arc::downgrade(loaded));
            }
        }
    }

    fn make(&self, loaded: &Arc<Loaded>, context: &Arc<CallContext>) -> Result<Prepared, Lacking> {
        let state = vacant(&self.resources, context).ok_or(Lacking::Forever)?;
        let mut store = bare_store(loaded.pre.engine(), state);
        store.set_epoch_deadline(1);
        let fuelled =
            store.fuel_async_yield_interval(Some(FUEL_STEP)).and_then(|()| store.set_fuel(FUEL_MAX));
        fuelled.map_err(|_| Lacking::Forever)?;
        let instance = {
            let mut making = pin!(loaded.pre.instantiate_async(&mut store));
            // It waits for nothing, since it can call nothing: it yields, as often as its fuel lets it.
            loop {
                if let Poll::Ready(made) = making.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    break made;
                }
            }
        };
        match instance {
            Ok(instance) => {
                let fuel = FUEL_MAX.saturating_sub(store.get_fuel().map_err(|_| Lacking::Forever)?);
                Ok(Prepared { store, instance, fuel, _counted: Counted::new(&self.shared) })
            }
            Err(error) if error.is::<PoolConcurrencyLimitError>() => Err(Lacking::ForNow),
            Err(error) => {
                tracing::debug!(%error, "sandboxes of this component are made with their calls");
                Err(Lacking::Forever)
            }
        }
    }

    /// Gives one back that was called longest ago, if that is before `used`. Whether there was one.
    fn give_back_older_than(&mut self, used: Option<Instant>, than: &Arc<Loaded>) -> bool {
        self.stocked.retain(|loaded| loaded.strong_count() > 0);
        let others =
            self.stocked.iter().filter_map(Weak::upgrade).filter(|loaded| !Arc::ptr_eq(loaded, than));
        let with_use = others.filter_map(|loaded| {
            let shelf = loaded.shelf.lock();
            let used = (!shelf.ready.is_empty()).then_some(shelf.used);
            drop(shelf);
            used.map(|used| (used, loaded))
        });
        let Some((oldest, loaded)) = with_use.min_by_key(|(used, _)| *used) else { return false };
        if oldest >= used {
            return false;
        }
        give_back(&loaded, 1);
        true
    }

    fn give_back_idle(&mut self) {
        let stocked = std::mem::take(&mut self.stocked);
        self.stocked = stocked
            .into_iter()
            .filter(|loaded| {
                let Some(loaded) = loaded.upgrade() else { return false };
                let is_idle = loaded.shelf.lock().used.is_none_or(|used| used.elapsed() >= IDLE_TIME);
                if is_idle {
                    loaded.shelf.lock().wanted = 0;
                    give_back(&loaded, usize::MAX);
                }
                !is_idle
            })
            .collect();
    }
}

fn give_back(loaded: &Loaded, most: usize) {
    let mut shelf = loaded.shelf.lock();
    let left = shelf.ready.len().saturating_sub(most);
    let given_back = shelf.ready.split_off(left);
    // Taking them down needs no lock.
    drop(shelf);
    drop(given_back);
}

/// What stands in the place of a caller where there is none.
fn nobody() -> CallContext {
    CallContext {
        call: CallId::generate(),
        principal: "nobody".parse().expect("the constant is a name"),
        package: "nothing".parse().expect("the constant is a name"),
        digest: PackageDigest::of(b""),
        tool: "nothing".parse().expect("the constant is a name"),
        revision: Revision(0),
        parent: None,
        trace: None,
    }
}

/// The state of a sandbox without a call: nothing may be done in it.
fn vacant(resources: &Resources, context: &Arc<CallContext>) -> Option<CallState> {
    let limits = CallLimits::of(&resources.limits);
    let package = context.package.clone();
    let disk_workers = Arc::clone(&resources.disk_workers);
    let meter = Arc::new(Unmetered);
    Some(CallState {
        table: ResourceTable::new(),
        memory: MemoryLimiter::new(&limits),
        stdio: Stdio::new(0),
        log: Lines::new(0),
        filesystem: Filesystem::open(&[], &resources.quotas, disk_workers).ok()?,
        rules: Vec::new(),
        stores: Stores::default(),
        invoke: Invoke::new(Nesting::alone(package.clone(), context.tool.clone()), 0),
        control: CallControl::default(),
        http: Http::new(resources.http.clone(), Arc::clone(context), &limits, meter.clone()),
        connections: resources.connections.of_call(package, 0),
        sockets: Sockets::default(),
        meter,
        spent: super::Spent::default(),
        resolver: Arc::clone(&resources.resolver),
        clock: Clock::new(Instant::now(), None, None),
        random: Source::new(None),
        gate: Gate::shut(limits),
    })
}
