//! One call in a fresh sandbox: make the store, instantiate, call, turn what came of it into an outcome.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use wasmtime::component::{ComponentExportIndex, Instance, InstancePre, ResourceTable, Val};
use wasmtime::{CallHook, Engine, PoolConcurrencyLimitError, Store, StoreContextMut, Trap, UpdateDeadline};

use super::admitted::{Admitted, Spent};
use super::bindings::tool::exports::portcullis::tool::tools as tool_world;
use super::capabilities::CallState;
use super::capabilities::cli::{Exited, Stdio};
use super::capabilities::clocks::Clock;
use super::capabilities::filesystem::{Filesystem, Quotas};
use super::capabilities::gate::Gate;
use super::capabilities::http::{Http, Sender};
use super::capabilities::invoke::Invoke;
use super::capabilities::keyvalue::Stores;
use super::capabilities::logging::Lines;
use super::capabilities::random::Source;
use super::capabilities::sockets::Sockets;
use super::connections::Connections;
use super::control::CallControl;
use super::convert::answer::{ConvertError, ToolResult, ToolValue};
use super::convert::listed::CheckedSchema;
use super::convert::shape::TypedFunction;
use super::limiter::MemoryLimiter;
use super::nested::Nesting;
use super::prepared::{self, Occupied, Prepared, Preparer, Shelf};
use super::screen::{self, Outgoing};
use super::stand_ins::StandIns;
use super::turns::{Turns, Work, in_turn};
use crate::audit::{LogError, Recorder};
use crate::database::KeyValue;
use crate::egress::{Meter, Resolver, Unmetered};
use crate::fairness::Weight;
use crate::ids::SecretName;
use crate::limits::{CallLimits, HostLimits, Limit, LimitReached, Usage};
use crate::policy::{AuthorizedCall, AuthorizedClock, AuthorizedFolder, AuthorizedRule, Stop};
use crate::secrets::CallSecrets;
use crate::text::{CUT, clean};

/// What a byte of `list<u8>` costs where values are converted dynamically: the size of a `Val`.
const DYNAMIC_COST_OF_A_BYTE: u64 = size_of::<Val>() as u64;
/// How long the end of a call waits for its work on a disk that is under way.
const SETTLE_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(1);
/// The most that is kept of what a tool says of its failure.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// What a tool answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolAnswer {
    /// What it said, in order.
    pub content: Vec<Content>,
    /// The same as data, if the tool has an output schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
}

/// One piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// Base64.
        data: String,
        /// Such as `image/png`.
        mime_type: String,
    },
    /// Sound.
    Audio {
        /// Base64.
        data: String,
        /// Such as `audio/wav`.
        mime_type: String,
    },
    /// Something with a name.
    Resource {
        /// Its name.
        uri: String,
        /// Such as `text/plain`, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// Its content, if it is text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Its content in base64, if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blob: Option<String>,
    },
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The arguments don't fit the tool's schema: the agent's fault.
    #[error("{0}")]
    Arguments(String),
    /// A limit ended it.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// The tool said that it failed.
    #[error("{message}")]
    Tool {
        /// What it said.
        message: String,
        /// The same as data, if it said it as data.
        data: Option<Value>,
    },
    /// The tool trapped, or broke the rules of its interface.
    #[error("the tool crashed: {0}")]
    Crashed(String),
    /// What is in force changed, so that the call may not go on: the admin's doing.
    #[error("the call was stopped: {0}")]
    Stopped(Stop),
    /// Whoever waited for it asked it to end, and it did not by itself.
    #[error("the call was cancelled")]
    Cancelled,
    /// What it gave would have given away a secret whose leak is refused.
    #[error("the answer was withheld: it would have given away secret {secret}")]
    Withheld {
        /// Which.
        secret: SecretName,
    },
    /// There is no room for another call now.
    #[error("the host runs as many calls as it can; try again")]
    Busy,
    /// A granted folder can't be opened: the admin's affair.
    #[error("{0}")]
    Grant(String),
    /// The log can't be written, so nothing may happen.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The host failed.
    #[error("{0}")]
    Host(String),
}

/// What came of a call, and what it used. The recorder is given back for the final record.
#[derive(Debug)]
#[must_use]
pub struct Invoked {
    /// The answer, or why there is none.
    pub result: Result<ToolAnswer, InvokeError>,
    /// What it used.
    pub usage: Usage,
    /// What it wrote to stdout, cleaned and cut.
    pub stdout: String,
    /// What it wrote to stderr, cleaned and cut.
    pub stderr: String,
    /// The lines that it logged, cleaned and cut.
    pub log: String,
    /// For the final record.
    pub recorder: Recorder,
}

/// A component that is ready to be called.
pub(crate) struct Loaded {
    pub(super) pre: InstancePre<CallState>,
    /// Sandboxes of it that are ready.
    pub(super) shelf: Shelf,
    /// Whether it takes no more of the pool than the share of one call.
    pub(super) is_modest: bool,
}

impl Loaded {
    pub(super) fn new(pre: InstancePre<CallState>) -> Self {
        let needs = pre.component().resources_required();
        let is_modest = needs.is_some_and(|needs| {
            needs.num_memories <= prepared::MEMORIES_MAX && needs.num_tables <= prepared::TABLES_MAX
        });
        Self { pre, shelf: Shelf::default(), is_modest }
    }
}

/// How a tool is called in a component.
pub(crate) enum Entry {
    /// A typed function.
    Typed { function: ComponentExportIndex, shape: TypedFunction },
    /// `call-tool` of `portcullis:tool`.
    Listed { tools: tool_world::GuestIndices, name: String, schema: Arc<CheckedSchema> },
}

/// A call that may run.
pub(super) struct Running<'a> {
    pub(super) call: &'a AuthorizedCall,
    pub(super) admitted: Admitted,
    pub(super) control: CallControl,
    pub(super) nesting: Nesting,
    pub(super) secrets: CallSecrets,
    pub(super) meter: Arc<dyn Meter>,
    pub(super) spent: Spent,
}

/// Everything that a sandbox needs beside the component.
pub(super) struct Resources {
    pub(super) turns: Turns,
    pub(super) quotas: Quotas,
    pub(super) connections: Arc<Connections>,
    pub(super) resolver: Arc<dyn Resolver>,
    /// Sends requests of HTTP.
    pub(super) http: Sender,
    pub(super) disk_workers: Arc<Semaphore>,
    /// Where packages keep state.
    pub(super) state: KeyValue,
    pub(super) limits: Arc<HostLimits>,
    pub(super) stand_ins: StandIns,
    /// Counts the host calls that the engine sees, if a test asked for that.
    pub(super) host_calls_seen: OnceLock<Arc<AtomicU64>>,
}

/// How much fuel is used between two counts of it. The guest's own count is in a register until it calls
/// out, and is lost where the guest is cut off by its deadline or its caller. It yields there too, and its turn on the
/// processor ends: about a quarter of a millisecond of computing, which is what others wait for it.
pub(super) const FUEL_STEP: u64 = 250_000;

/// Runs one authorized call to its end, or until `stopped` ends. Dropping the future ends it too, and its
/// record says cancelled.
pub(super) async fn invoke(
    (loaded, preparer): (&Arc<Loaded>, Option<&Preparer>),
    entry: &Entry,
    Running { call, admitted, control, nesting, secrets, meter, spent }: Running<'_>,
    arguments: &Value,
    recorder: Recorder,
    resources: &Resources,
    stopped: impl Future<Output = Stop>,
) -> Invoked {
    let output_max = call.limits().output;
    let bounds = Bounds {
        limits: call.limits(),
        folders: call.filesystem(),
        rules: call.rules(),
        clock: call.clock(),
        weight: admitted.weight,
        control,
        nesting,
        secrets,
        meter,
        spent,
        stopped,
    };
    let prepared = preparer.map(|preparer| (preparer, preparer.take(loaded)));
    run((loaded, prepared), bounds, recorder, resources, async |store, instance| {
        admitted.note(store.data_mut().gate.usage());
        call_tool(store, instance, entry, arguments, output_max).await
    })
    .await
}

/// What a call may do, and until when.
struct Bounds<'a, S> {
    limits: &'a CallLimits,
    folders: &'a [AuthorizedFolder],
    rules: &'a [AuthorizedRule],
    clock: Option<&'a AuthorizedClock>,
    weight: Weight,
    control: CallControl,
    nesting: Nesting,
    secrets: CallSecrets,
    meter: Arc<dyn Meter>,
    spent: Spent,
    stopped: S,
}

/// Asks a component for its tools, without any power.
pub(super) async fn list_tools(
    loaded: &Loaded,
    indices: &tool_world::GuestIndices,
    limits: &CallLimits,
    recorder: Recorder,
    resources: &Resources,
    stopped: impl Future<Output = Stop>,
) -> (Result<Vec<tool_world::ToolDefinition>, InvokeError>, Invoked) {
    let mut listed = Err(InvokeError::Crashed("it did not answer".to_owned()));
    let context = recorder.context();
    let nesting = Nesting::alone(context.package.clone(), context.tool.clone());
    let control = CallControl::default();
    let secrets = CallSecrets::default();
    let (folders, rules, clock) = (&[][..], &[][..], None);
    let (weight, meter, spent) = (Weight::default(), Arc::new(Unmetered), Spent::default());
    let bounds =
        Bounds { limits, folders, rules, clock, weight, control, nesting, secrets, meter, spent, stopped };
    let invoked = run((loaded, None), bounds, recorder, resources, async |store, instance| {
        let guest = indices.load(&mut *store, &instance).map_err(|error| failure(store, error))?;
        listed = Ok(guest.call_list_tools(&mut *store).await.map_err(|error| failure(store, error))?);
        Ok(ToolAnswer::default())
    })
    .await;
    (listed, invoked)
}

async fn run(
    (loaded, prepared): (&Loaded, Option<(&Preparer, Option<Prepared>)>),
    bounds: Bounds<'_, impl Future<Output = Stop>>,
    recorder: Recorder,
    resources: &Resources,
    body: impl AsyncFnOnce(&mut Store<CallState>, Instance) -> Result<ToolAnswer, InvokeError>,
) -> Invoked {
    let Bounds { limits, folders, rules, clock, weight, control, nesting, secrets, meter, spent, stopped } =
        bounds;
    let started = Instant::now();
    let opened = Filesystem::open(folders, &resources.quotas, Arc::clone(&resources.disk_workers));
    let filesystem = match opened {
        Ok(filesystem) => filesystem,
        Err(error) => {
            let error = InvokeError::Grant(error.to_string());
            return Invoked { result: Err(error), ..Invoked::not_started(recorder) };
        }
    };
    let context = recorder.context();
    let principal = context.principal.clone();
    let caller = (&context.package, &context.principal);
    let stores = Stores::new(rules, caller, &resources.state, &resources.limits);
    let connections = resources.connections.of_call(context.package.clone(), limits.connections);
    let http = Http::new(resources.http.clone(), Arc::clone(context), limits, Arc::clone(&meter));
    let state = Box::new(CallState {
        table: ResourceTable::new(),
        gate: Gate::new(recorder, limits.clone(), Arc::new(secrets)),
        memory: MemoryLimiter::new(limits),
        stdio: Stdio::new(limits.stdio),
        log: Lines::new(limits.log),
        filesystem,
        rules: rules.to_vec(),
        stores,
        invoke: Invoke::new(nesting, limits.fuel),
        control: control.clone(),
        http,
        connections,
        sockets: Sockets::default(),
        meter,
        spent,
        resolver: Arc::clone(&resources.resolver),
        clock: Clock::new(started, clock, resources.stand_ins.time_of_day),
        random: Source::new(resources.stand_ins.random_seed),
    });
    let (preparer, prepared) = prepared.unzip();
    let occupied = match prepared.flatten() {
        Some(prepared) => prepared.occupy(state, limits),
        None => Err(state),
    };
    let (mut store, fuel_used, instance, vacant) = match occupied {
        Ok(Occupied { store, instance, fuel, vacant }) => (store, fuel, Some(instance), Some(vacant)),
        Err(state) => (bare_store(loaded.pre.engine(), *state), 0, None, None),
    };
    if let Err(error) = bind(&mut store, limits, fuel_used, resources.host_calls_seen.get()) {
        let error = InvokeError::Host(error.to_string());
        return finish(&mut store.into_data(), None, started, Err(error));
    }
    let mut open = OpenStore { store: Some(store), started };
    let store = open.store();
    let work = async {
        let instance = match instance {
            Some(instance) => instance,
            None => match loaded.pre.instantiate_async(&mut *store).await {
                Ok(instance) => instance,
                Err(error) => return Err(instantiation_failure(store, error)),
            },
        };
        body(store, instance).await
    };
    let work = in_turn(&resources.turns, &principal, weight, Work::Guest, work);
    let (result, was_cut_short) = tokio::select! {
        // In this order, so that what is stopped before it begins does not begin.
        biased;
        stop = stopped => (Err(InvokeError::Stopped(stop)), true),
        () = control.grace_is_over() => (Err(InvokeError::Cancelled), true),
        ended = tokio::time::timeout(limits.wall_time, work) => match ended {
            Ok(result) => (result, false),
            Err(_) => (Err(wall_time_reached(limits, started).into()), true),
        }
    };
    if was_cut_short {
        let settled = open.store().data().filesystem.settled();
        // What is under way on a disk can't be stopped; it is given a moment to end before the
        // call's last record says that it is over.
        let _ = tokio::time::timeout(SETTLE_TIME_MAX, settled.acquire()).await;
    }
    // Whatever the guest left under way ends with it.
    open.store().data_mut().close_exchanges().await;
    let mut store = open.take();
    let fuel_left = store.get_fuel().ok();
    match (preparer, vacant) {
        (Some(preparer), Some(mut vacant)) => {
            std::mem::swap(store.data_mut(), &mut *vacant);
            preparer.leave(store);
            finish(&mut vacant, fuel_left, started, result)
        }
        _ => finish(&mut store.into_data(), fuel_left, started, result),
    }
}

/// The store of a call that runs. Dropped with the call's future, it hands what was used to the gate,
/// whose last record says that the call was cancelled.
struct OpenStore {
    /// `None` once it was taken for the ordinary end.
    store: Option<Store<CallState>>,
    started: Instant,
}

impl OpenStore {
    fn store(&mut self) -> &mut Store<CallState> {
        self.store.as_mut().expect("it is taken once, at the end")
    }

    fn take(mut self) -> Store<CallState> {
        self.store.take().expect("it is taken once, at the end")
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        if let Some(store) = &mut self.store {
            let fuel_left = store.get_fuel().ok();
            store.data_mut().close_exchanges_now();
            measure(store.data_mut(), fuel_left, self.started);
        }
    }
}

impl Invoked {
    /// A call that did not begin: give it its own reason.
    pub(super) fn not_started(recorder: Recorder) -> Self {
        let result = Err(InvokeError::Host("the call did not begin".to_owned()));
        let (stdout, stderr, log) = Default::default();
        Self { result, usage: Usage::default(), stdout, stderr, log, recorder }
    }
}

fn wall_time_reached(limits: &CallLimits, started: Instant) -> LimitReached {
    let milliseconds =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let max = milliseconds(limits.wall_time);
    LimitReached { limit: Limit::WallTime, value: milliseconds(started.elapsed()).max(max), max }
}

/// A store whose memories and tables are counted, and whose guest yields when it is interrupted.
pub(super) fn bare_store(engine: &Engine, state: CallState) -> Store<CallState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_callback(|_| {
        // Tokio may run a task that merely wakes itself again at once; `yield_now` lets others have
        // their turn, the timer of this call's deadline among them.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

/// Holds a store to the limits of its call, of whose fuel some was used already.
fn bind(
    store: &mut Store<CallState>,
    limits: &CallLimits,
    fuel_used: u64,
    seen: Option<&Arc<AtomicU64>>,
) -> wasmtime::Result<()> {
    bound_copies(store, limits, seen);
    // The gate counts what the guest is given. Some of it is two entries in the table, a lent handle
    // counts twice for the engine, and handles of the guest's own resources are the engine's alone.
    let handles_max = usize::try_from(limits.resources.saturating_mul(2)).unwrap_or(usize::MAX);
    store.data_mut().table.set_max_capacity(handles_max);
    store.set_max_component_handles(handles_max);
    store.set_epoch_deadline(1);
    store.fuel_async_yield_interval(Some(FUEL_STEP))?;
    store.set_fuel(limits.fuel.saturating_sub(fuel_used))
}

/// Bounds what is copied out of the guest: by [`Limit::CopiedBytes`] in host calls, where a byte costs
/// one unit, and by what the output may cost where a result is converted dynamically. A store has one
/// hook, so a test's count of the host calls that the engine sees is made here as well, what nested calls cost
/// is paid here, and the gate is told what fuel is left.
fn bound_copies(store: &mut Store<CallState>, limits: &CallLimits, seen: Option<&Arc<AtomicU64>>) {
    let units = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let in_host_calls = units(limits.copied_bytes);
    let in_result = in_host_calls.max(units(limits.output.saturating_mul(DYNAMIC_COST_OF_A_BYTE)));
    store.set_hostcall_fuel(in_result);
    let may_invoke = store.data().may_invoke_any();
    let seen = seen.cloned();
    store.call_hook(move |mut store, hook| {
        if may_invoke {
            settle_fuel(&mut store, hook)?;
        }
        if matches!(hook, CallHook::CallingHost) {
            let fuel_left = store.get_fuel()?;
            store.data_mut().gate.note_fuel(fuel_left);
        }
        store.set_hostcall_fuel(match hook {
            CallHook::CallingHost => {
                if let Some(seen) = &seen {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                in_host_calls
            }
            CallHook::CallingWasm | CallHook::ReturningFromWasm | CallHook::ReturningFromHost => in_result,
        });
        Ok(())
    });
}

/// Tells a call that makes others what fuel it has left, and has it pay for them.
fn settle_fuel(store: &mut StoreContextMut<'_, CallState>, hook: CallHook) -> wasmtime::Result<()> {
    match hook {
        CallHook::CallingHost => {
            let left = store.get_fuel()?;
            let invoke = &mut store.data_mut().invoke;
            if invoke.host_depth == 0 {
                invoke.fuel_left = left;
            }
            invoke.host_depth += 1;
        }
        CallHook::ReturningFromHost => {
            let invoke = &mut store.data_mut().invoke;
            invoke.host_depth = invoke.host_depth.saturating_sub(1);
            // While a result is handed over, the guest's allocator runs, and may be interrupted: what is
            // set then is lost, because the guest has its fuel in a register.
            let owed = if invoke.host_depth == 0 { std::mem::take(&mut invoke.fuel_owed) } else { 0 };
            if owed > 0 {
                let left = store.get_fuel()?.saturating_sub(owed);
                store.set_fuel(left)?;
            }
        }
        CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
    }
    Ok(())
}

/// Gathers what was used and lets the recorder go.
fn finish(
    state: &mut CallState,
    fuel_left: Option<u64>,
    started: Instant,
    result: Result<ToolAnswer, InvokeError>,
) -> Invoked {
    measure(state, fuel_left, started);
    let captured = state.stdio.take();
    let lines = std::mem::take(&mut state.log);
    let usage = state.gate.usage();
    if let Ok(answer) = &result {
        usage.output = answer_bytes(answer);
    }
    let text = |bytes: &[u8]| {
        let mut text = clean(&String::from_utf8_lossy(bytes), usize::MAX);
        if captured.is_cut() {
            text.push_str(CUT);
        }
        text
    };
    let (stdout, stderr, log) = (text(&captured.stdout), text(&captured.stderr), lines.into_text());
    state.settle_leaks();
    let outgoing = screen::outgoing(&mut state.gate, Outgoing { result, stdout, stderr, log });
    let Outgoing { result, stdout, stderr, log } = outgoing;
    let (recorder, usage) = state.gate.close().expect("the gate is closed here and nowhere before");
    Invoked { result, usage, stdout, stderr, log, recorder }
}

/// Tells the gate what the engine, the clock and the limiter counted.
fn measure(state: &mut CallState, fuel_left: Option<u64>, started: Instant) {
    let fuel_max = state.gate.limits().fuel;
    let (stdio, log) = (state.stdio.written(), state.log.written());
    let (depth, connections_peak) = (state.invoke.depth(), state.connections.peak());
    let (bytes_in, bytes_out) = (state.http.traffic.bytes_in(), state.http.traffic.bytes_out());
    let usage = state.gate.usage();
    (usage.http_bytes_in, usage.http_bytes_out) = (bytes_in, bytes_out);
    let fuel = fuel_left.map_or(0, |left| fuel_max.saturating_sub(left));
    usage.fuel = fuel;
    usage.wall_time_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    usage.memory_peak = state.memory.memory_peak();
    usage.table_elements_peak = state.memory.table_elements_peak();
    usage.stdio = stdio;
    usage.log = log;
    usage.depth = depth;
    usage.connections_peak = connections_peak;
    state.spent.note(fuel);
}

fn answer_bytes(answer: &ToolAnswer) -> u64 {
    let part = |content: &Content| match content {
        Content::Text { text } => text.len(),
        Content::Image { data, .. } | Content::Audio { data, .. } => data.len(),
        Content::Resource { text, blob, .. } => {
            text.as_ref().map_or(0, String::len) + blob.as_ref().map_or(0, String::len)
        }
    };
    answer.content.iter().map(part).sum::<usize>() as u64
}

async fn call_tool(
    store: &mut Store<CallState>,
    instance: Instance,
    entry: &Entry,
    arguments: &Value,
    output_max: u64,
) -> Result<ToolAnswer, InvokeError> {
    match entry {
        Entry::Typed { function, shape } => {
            let function = instance.get_func(&mut *store, function).ok_or_else(|| {
                InvokeError::Crashed("what it exports here is a type, not a function".into())
            })?;
            let values = shape
                .arguments_to_vals(arguments)
                .map_err(|error| InvokeError::Arguments(error.to_string()))?;
            let mut results = vec![Val::Bool(false); shape.result_count()];
            if let Err(error) = function.call_async(&mut *store, &values, &mut results).await {
                return Err(failure(store, error));
            }
            typed_answer(shape.vals_to_result(&results, output_max))
        }
        Entry::Listed { tools, name, schema } => {
            schema.check(arguments).map_err(|error| InvokeError::Arguments(error.to_string()))?;
            let guest = tools.load(&mut *store, &instance).map_err(|error| failure(store, error))?;
            let answer = guest.call_call_tool(&mut *store, name, &arguments.to_string()).await;
            super::listed::answer(answer.map_err(|error| failure(store, error))?, output_max)
        }
    }
}

fn typed_answer(converted: Result<ToolResult, ConvertError>) -> Result<ToolAnswer, InvokeError> {
    let value = match converted {
        Ok(result) => result.value,
        Err(ConvertError::LimitReached(reached)) => return Err(reached.into()),
        Err(error) => return Err(InvokeError::Crashed(error.to_string())),
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        ToolValue::Ok(None) => Ok(ToolAnswer::default()),
        ToolValue::Ok(Some(value)) => {
            Ok(ToolAnswer { content: vec![Content::Text { text: text(&value) }], structured: Some(value) })
        }
        ToolValue::ToolError(data) => {
            Err(InvokeError::Tool { message: clean(&text(&data), MESSAGE_BYTES_MAX), data: Some(data) })
        }
    }
}

/// Whose fault an error of the engine is.
fn failure(store: &Store<CallState>, error: wasmtime::Error) -> InvokeError {
    let state = store.data();
    let limits = state.gate.limits();
    if let Some(reached) = error.downcast_ref::<LimitReached>() {
        return (*reached).into();
    }
    if let Some(exited) = error.downcast_ref::<Exited>() {
        return InvokeError::Tool { message: exited.to_string(), data: None };
    }
    if error.downcast_ref::<LogError>().is_some() {
        return match error.downcast::<LogError>() {
            Ok(error) => error.into(),
            Err(error) => InvokeError::Host(error.to_string()),
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            return LimitReached { limit: Limit::Fuel, value: limits.fuel, max: limits.fuel }.into();
        }
        Some(Trap::StackOverflow) => {
            let max = limits.stack;
            return LimitReached { limit: Limit::Stack, value: max, max }.into();
        }
        _ => {}
    }
    let reason = error.root_cause().to_string();
    if reason.starts_with("too much data is being copied") {
        let max = limits.copied_bytes;
        return LimitReached { limit: Limit::CopiedBytes, value: max + 1, max }.into();
    }
    if reason.ends_with("store handle limit exceeded") {
        let max = limits.resources;
        return LimitReached { limit: Limit::Resources, value: max + 1, max }.into();
    }
    let after = match state.memory.refused() {
        Some(reached) => format!(" (after this was refused: {reached})"),
        None => String::new(),
    };
    InvokeError::Crashed(clean(&format!("{reason}{after}"), MESSAGE_BYTES_MAX))
}

fn instantiation_failure(store: &Store<CallState>, error: wasmtime::Error) -> InvokeError {
    if error.is::<PoolConcurrencyLimitError>() {
        return InvokeError::Busy;
    }
    match store.data().memory.refused() {
        // The component's own minimum is more than the call may have.
        Some(reached) if !error.is::<Trap>() => reached.into(),
        _ => failure(store, error),
    }
}
