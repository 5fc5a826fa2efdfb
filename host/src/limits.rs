//! Every bound on a call and on a package, in one closed enum with one table.
//!
//! Plain data: who enforces a limit is said at the place that does. The table of
//! `docs/limits.md` is written from it.

mod host;

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use host::{HostLimits, SettingError};

/// One thing that is bounded. Closed: a new limit does not compile until each place that
/// must know of it (its default, its ceiling, its test) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Wasmtime fuel: roughly one unit an instruction. Ends the call.
    Fuel,
    /// Elapsed time, instantiation and host waits included. Ends the call.
    WallTime,
    /// Bytes summed over all linear memories. `memory.grow` answers -1.
    Memory,
    /// Elements summed over all tables. `table.grow` answers -1.
    TableElements,
    /// Core instances in a component. Refused at registration.
    Instances,
    /// Bytes of the guest's call stack. Ends the call.
    Stack,
    /// Calls through the gate. Ends the call.
    HostCalls,
    /// Bytes lifted or lowered in one host call or result. Ends the call.
    CopiedBytes,
    /// Handles held at once. Ends the call.
    Resources,
    /// Bytes of the result. Ends the call.
    Output,
    /// Bytes of stdout and stderr together. Cuts.
    Stdio,
    /// Bytes of lines that the guest logs. Cuts.
    Log,
    /// Bytes held under a granted folder. The write is answered `insufficient-space`.
    FileBytes,
    /// Entries (files, folders, links) held under a granted folder. Answered `insufficient-space`.
    Files,
    /// Open descriptors of one call. Answered `insufficient-memory`.
    OpenFiles,
    /// Entries of one folder listing. Answered `overflow`.
    DirectoryEntries,
    /// Bytes in one request for random numbers. Ends the call.
    RandomBytes,
    /// Bytes held in a key-value store, keys included. Answered `other`.
    KvBytes,
    /// Keys held in a key-value store. Answered `other`.
    KvKeys,
    /// HTTP requests of one call. The request is refused.
    HttpRequests,
    /// Bytes of HTTP responses that one call receives, heads included. The response is cut off with an error.
    HttpBytesIn,
    /// Bytes of HTTP requests that one call sends, heads included. The request is refused, or cut off.
    HttpBytesOut,
    /// Connections of one call at once: HTTP exchanges and sockets. The request or socket is refused.
    Connections,
    /// Connections of all calls of a package at once. The request or socket is refused.
    PackageConnections,
    /// How deep tools call tools: 1 is a tool that an agent called. The nested call is refused.
    Depth,
    /// Calls of other tools that one call makes. The nested call is refused.
    FanOut,
    /// Calls of one package running at once, whoever makes them. The next waits.
    Concurrency,
    /// Calls of one principal running at once. The next waits.
    PrincipalConcurrency,
    /// Calls running at once in this host. The next waits.
    HostConcurrency,
    /// Calls of one principal that wait for a place. Refused as busy.
    PrincipalQueue,
    /// Calls that wait for a place in this host. Refused as busy.
    HostQueue,
    /// How long a call waits for a place. Refused as busy.
    QueueTime,
    /// Calls of one principal that begin within any minute. Refused until there is room.
    PrincipalCallsPerMinute,
    /// Fuel of one principal within any hour. Refused until there is room; a call is given no more than is left.
    PrincipalFuelPerHour,
    /// Bytes that one principal's calls send within any day. Refused until there is room; while a call runs, its request or write is.
    PrincipalEgressPerDay,
    /// The same of one package, whoever calls it.
    PackageCallsPerMinute,
    /// The same of one package, whoever calls it.
    PackageFuelPerHour,
    /// The same of one package, whoever calls it.
    PackageEgressPerDay,
    /// Registrations of one principal that wait or are made at once. Refused as busy.
    Registrations,
    /// Registrations that wait or are made at once in this host. Refused as busy.
    HostRegistrations,
    /// Bytes of a component file. Refused at registration.
    ComponentBytes,
    /// Functions in a component. Refused at registration.
    Functions,
    /// Types in a component. Refused at registration.
    Types,
    /// Imports of a component and of the modules in it. Refused at registration. A Python component has
    /// over a thousand.
    Imports,
    /// Core modules and nested components in a component. Refused at registration.
    Modules,
    /// Elapsed time of compiling a component. Refused at registration.
    CompileTime,
    /// Bytes that the compiler's process may hold. Refused at registration.
    CompileMemory,
    /// Bytes of compiled code that are kept in memory between calls. What was called longest ago is loaded anew.
    LoadedCode,
    /// Sandboxes that are made before their calls come. Those of what was called longest ago are given back.
    PreparedSandboxes,
}

/// What happens at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The call ends with [`LimitReached`].
    Ends,
    /// The guest gets the interface's own error and goes on.
    Answers,
    /// The text is cut and marked.
    Cuts,
    /// The package is not registered.
    RefusedAtRegistration,
    /// The call, or the registration, is refused as busy before it starts.
    Busy,
    /// The call is refused before it starts, until its principal or package has used less. What is left is given to
    /// calls that run.
    Refused,
    /// The call waits for its turn. One that a tool makes is refused as busy.
    Waits,
    /// What was used longest ago is given up, and had again when it is needed.
    GivesUp,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct LimitRow {
    /// Which limit.
    pub limit: Limit,
    /// What its number counts.
    pub unit: &'static str,
    /// The value when nobody says otherwise. Durations are in milliseconds.
    pub default: u64,
    /// The highest value that a host's limits may set, and so the highest of any grant.
    pub ceiling: u64,
    /// What happens at the limit.
    pub effect: Effect,
    /// Whether a grant's `limits = { … }` may name it.
    pub grantable: bool,
}

const MIB: u64 = 1 << 20;

impl Limit {
    /// All limits, in the order of the table.
    pub const ALL: [Limit; 49] = [
        Limit::Fuel,
        Limit::WallTime,
        Limit::Memory,
        Limit::TableElements,
        Limit::Instances,
        Limit::Stack,
        Limit::HostCalls,
        Limit::CopiedBytes,
        Limit::Resources,
        Limit::Output,
        Limit::Stdio,
        Limit::Log,
        Limit::FileBytes,
        Limit::Files,
        Limit::OpenFiles,
        Limit::DirectoryEntries,
        Limit::RandomBytes,
        Limit::KvBytes,
        Limit::KvKeys,
        Limit::HttpRequests,
        Limit::HttpBytesIn,
        Limit::HttpBytesOut,
        Limit::Connections,
        Limit::PackageConnections,
        Limit::Depth,
        Limit::FanOut,
        Limit::Concurrency,
        Limit::PrincipalConcurrency,
        Limit::HostConcurrency,
        Limit::PrincipalQueue,
        Limit::HostQueue,
        Limit::QueueTime,
        Limit::PrincipalCallsPerMinute,
        Limit::PrincipalFuelPerHour,
        Limit::PrincipalEgressPerDay,
        Limit::PackageCallsPerMinute,
        Limit::PackageFuelPerHour,
        Limit::PackageEgressPerDay,
        Limit::Registrations,
        Limit::HostRegistrations,
        Limit::ComponentBytes,
        Limit::Functions,
        Limit::Types,
        Limit::Imports,
        Limit::Modules,
        Limit::CompileTime,
        Limit::CompileMemory,
        Limit::LoadedCode,
        Limit::PreparedSandboxes,
    ];

    /// The limit's row: unit, default, ceiling, effect.
    pub const fn row(self) -> LimitRow {
        use Effect::{Answers, Busy, Cuts, Ends, GivesUp, Refused, RefusedAtRegistration, Waits};
        let (unit, default, ceiling, effect, grantable) = match self {
            Limit::Fuel => ("wasmtime fuel", 1_000_000_000, 1_000_000_000_000, Ends, true),
            Limit::WallTime => ("milliseconds", 10_000, 600_000, Ends, true),
            Limit::Memory => ("bytes", 128 * MIB, 1024 * MIB, Answers, true),
            Limit::TableElements => ("elements", 100_000, 100_000, Answers, true),
            Limit::Instances => ("core instances", 64, 64, RefusedAtRegistration, false),
            Limit::Stack => ("bytes", 512 << 10, 512 << 10, Ends, false),
            Limit::HostCalls => ("calls", 100_000, 1_000_000, Ends, true),
            Limit::CopiedBytes => ("bytes", 4 * MIB, 64 * MIB, Ends, true),
            Limit::Resources => ("handles", 1_024, 1_024, Ends, true),
            Limit::Output => ("bytes", MIB, 16 * MIB, Ends, true),
            Limit::Stdio => ("bytes", 64 << 10, 4 * MIB, Cuts, true),
            Limit::Log => ("bytes", 64 << 10, 4 * MIB, Cuts, true),
            Limit::FileBytes => ("bytes", 16 * MIB, 1 << 40, Answers, false),
            Limit::Files => ("entries", 10_000, 1_000_000, Answers, false),
            Limit::OpenFiles => ("descriptors", 256, 256, Answers, true),
            Limit::DirectoryEntries => ("entries", 10_000, 100_000, Answers, true),
            Limit::RandomBytes => ("bytes", 64 << 10, 64 << 10, Ends, true),
            Limit::KvBytes => ("bytes", MIB, 1024 * MIB, Answers, false),
            Limit::KvKeys => ("keys", 10_000, 1_000_000, Answers, false),
            Limit::HttpRequests => ("requests", 50, 10_000, Answers, true),
            Limit::HttpBytesIn => ("bytes", 8 * MIB, 1024 * MIB, Answers, true),
            Limit::HttpBytesOut => ("bytes", MIB, 1024 * MIB, Answers, true),
            Limit::Connections => ("connections", 8, 64, Answers, true),
            Limit::PackageConnections => ("connections", 64, 4_096, Answers, false),
            Limit::Depth => ("calls", 4, 16, Answers, true),
            Limit::FanOut => ("calls", 16, 256, Answers, true),
            Limit::Concurrency => ("calls", 16, 4_096, Waits, true),
            Limit::PrincipalConcurrency => ("calls", 16, 4_096, Waits, false),
            Limit::HostConcurrency => ("calls", 64, 4_096, Waits, false),
            Limit::PrincipalQueue => ("calls", 64, 4_096, Busy, false),
            Limit::HostQueue => ("calls", 1_024, 4_096, Busy, false),
            Limit::QueueTime => ("milliseconds", 10_000, 300_000, Busy, false),
            Limit::PrincipalCallsPerMinute => ("calls", 1_000_000_000, 1_000_000_000, Refused, false),
            Limit::PrincipalFuelPerHour => {
                ("wasmtime fuel", 1_000_000_000_000_000, 1_000_000_000_000_000, Refused, false)
            }
            Limit::PrincipalEgressPerDay => ("bytes", 1 << 50, 1 << 50, Refused, false),
            Limit::PackageCallsPerMinute => ("calls", 1_000_000_000, 1_000_000_000, Refused, false),
            Limit::PackageFuelPerHour => {
                ("wasmtime fuel", 1_000_000_000_000_000, 1_000_000_000_000_000, Refused, false)
            }
            Limit::PackageEgressPerDay => ("bytes", 1 << 50, 1 << 50, Refused, false),
            Limit::Registrations => ("registrations", 4, 8, Busy, false),
            Limit::HostRegistrations => ("registrations", 8, 8, Busy, false),
            Limit::ComponentBytes => ("bytes", 64 * MIB, 64 * MIB, RefusedAtRegistration, false),
            Limit::Functions => ("functions", 200_000, 200_000, RefusedAtRegistration, false),
            Limit::Types => ("types", 10_000, 10_000, RefusedAtRegistration, false),
            Limit::Imports => ("imports", 10_000, 10_000, RefusedAtRegistration, false),
            Limit::Modules => ("modules", 128, 128, RefusedAtRegistration, false),
            Limit::CompileTime => ("milliseconds", 120_000, 600_000, RefusedAtRegistration, false),
            Limit::CompileMemory => ("bytes", 2048 * MIB, 16 * 1024 * MIB, RefusedAtRegistration, false),
            Limit::LoadedCode => ("bytes", 1024 * MIB, 1 << 40, GivesUp, false),
            Limit::PreparedSandboxes => ("sandboxes", 32, 256, GivesUp, false),
        };
        LimitRow { limit: self, unit, default, ceiling, effect, grantable }
    }

    /// The limit's name as grants, errors and the log write it.
    pub const fn name(self) -> &'static str {
        match self {
            Limit::Fuel => "fuel",
            Limit::WallTime => "wall_time",
            Limit::Memory => "memory",
            Limit::TableElements => "table_elements",
            Limit::Instances => "instances",
            Limit::Stack => "stack",
            Limit::HostCalls => "host_calls",
            Limit::CopiedBytes => "copied_bytes",
            Limit::Resources => "resources",
            Limit::Output => "output",
            Limit::Stdio => "stdio",
            Limit::Log => "log",
            Limit::FileBytes => "file_bytes",
            Limit::Files => "files",
            Limit::OpenFiles => "open_files",
            Limit::DirectoryEntries => "directory_entries",
            Limit::RandomBytes => "random_bytes",
            Limit::KvBytes => "kv_bytes",
            Limit::KvKeys => "kv_keys",
            Limit::HttpRequests => "http_requests",
            Limit::HttpBytesIn => "http_bytes_in",
            Limit::HttpBytesOut => "http_bytes_out",
            Limit::Connections => "connections",
            Limit::PackageConnections => "package_connections",
            Limit::Depth => "depth",
            Limit::FanOut => "fan_out",
            Limit::Concurrency => "concurrency",
            Limit::PrincipalConcurrency => "principal_concurrency",
            Limit::HostConcurrency => "host_concurrency",
            Limit::PrincipalQueue => "principal_queue",
            Limit::HostQueue => "host_queue",
            Limit::QueueTime => "queue_time",
            Limit::PrincipalCallsPerMinute => "principal_calls_per_minute",
            Limit::PrincipalFuelPerHour => "principal_fuel_per_hour",
            Limit::PrincipalEgressPerDay => "principal_egress_per_day",
            Limit::PackageCallsPerMinute => "package_calls_per_minute",
            Limit::PackageFuelPerHour => "package_fuel_per_hour",
            Limit::PackageEgressPerDay => "package_egress_per_day",
            Limit::Registrations => "registrations",
            Limit::HostRegistrations => "host_registrations",
            Limit::ComponentBytes => "component_bytes",
            Limit::Functions => "functions",
            Limit::Types => "types",
            Limit::Imports => "imports",
            Limit::Modules => "modules",
            Limit::CompileTime => "compile_time",
            Limit::CompileMemory => "compile_memory",
            Limit::LoadedCode => "loaded_code",
            Limit::PreparedSandboxes => "prepared_sandboxes",
        }
    }

    /// What it counts, in words.
    pub const fn about(self) -> &'static str {
        match self {
            Limit::Fuel => {
                "wasmtime fuel: about one for an instruction, one for a byte or element of a bulk operation"
            }
            Limit::WallTime => "elapsed time; instantiation and host waits included",
            Limit::Memory => "bytes, summed over all linear memories",
            Limit::TableElements => "elements, summed over all tables",
            Limit::Instances => "core instances in a component; a Python one has 14",
            Limit::Stack => "bytes of the guest's call stack",
            Limit::HostCalls => "calls through the gate",
            Limit::CopiedBytes => "bytes lifted or lowered in one host call or result, see below",
            Limit::Resources => "handles held at once",
            Limit::Output => "bytes of the result",
            Limit::Stdio => "bytes of stdout and stderr together",
            Limit::Log => "bytes of the lines that the guest logs (`wasi:logging`)",
            Limit::FileBytes => "bytes held under a writable folder: `quota`",
            Limit::Files => "entries held under a writable folder: `files_max`",
            Limit::OpenFiles => "descriptors open at once",
            Limit::DirectoryEntries => "entries of one listing",
            Limit::RandomBytes => "bytes of random numbers in one request",
            Limit::KvBytes => "bytes held in a key-value store, keys included: `quota`",
            Limit::KvKeys => "keys held in a key-value store: `keys_max`",
            Limit::HttpRequests => "HTTP requests of one call",
            Limit::HttpBytesIn => "bytes of HTTP responses to one call, heads included",
            Limit::HttpBytesOut => "bytes of HTTP requests of one call, heads included",
            Limit::Connections => "connections of one call at once, HTTP and sockets",
            Limit::PackageConnections => "connections of all calls of a package at once",
            Limit::Depth => "calls within each other, the agent's own included",
            Limit::FanOut => "calls of other tools that one call makes",
            Limit::Concurrency => "calls of one package running at once, whoever makes them",
            Limit::PrincipalConcurrency => "calls of one principal running at once",
            Limit::HostConcurrency => "calls running at once in this host",
            Limit::PrincipalQueue => "calls of one principal that wait for a place",
            Limit::HostQueue => "calls that wait for a place in this host",
            Limit::QueueTime => "elapsed time of waiting for a place; it is not part of `wall_time`",
            Limit::PrincipalCallsPerMinute => "calls of one agent that begin within any minute",
            Limit::PrincipalFuelPerHour => {
                "fuel of one agent's calls within any hour; a call begins with no more than is left"
            }
            Limit::PrincipalEgressPerDay => {
                "bytes of HTTP requests and sockets that one agent's calls send within any day"
            }
            Limit::PackageCallsPerMinute => {
                "calls of one package that begin within any minute, whoever makes them"
            }
            Limit::PackageFuelPerHour => "fuel of one package within any hour, whoever calls it",
            Limit::PackageEgressPerDay => {
                "bytes that calls of one package send within any day, whoever makes them"
            }
            Limit::Registrations => "registrations of one principal that wait or are made",
            Limit::HostRegistrations => {
                "registrations that wait or are made in this host; each may hold `component_bytes`"
            }
            Limit::ComponentBytes => "bytes of the file",
            Limit::Functions => "core functions with a body",
            Limit::Types => "core and component types",
            Limit::Imports => "core and component imports; a Python component has some 2,300",
            Limit::Modules => "core modules and nested components",
            Limit::CompileTime => "elapsed time of the compiler's process",
            Limit::CompileMemory => "bytes of writable private memory of the compiler's process",
            Limit::LoadedCode => "bytes of compiled code that are kept in memory between calls",
            Limit::PreparedSandboxes => {
                "sandboxes that are made before their calls come; each serves one call"
            }
        }
    }

    /// Whether a host's limits have a default and a ceiling for it, instead of one value: grants, or the
    /// folders in them, choose below the ceiling.
    pub const fn has_two_bounds(self) -> bool {
        self.row().grantable
            || matches!(self, Limit::FileBytes | Limit::Files | Limit::KvBytes | Limit::KvKeys)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit was reached: which, what was asked or used, and what was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("limit reached: {limit} {value}, at most {max} {unit}", unit = limit.row().unit)]
pub struct LimitReached {
    /// Which limit.
    pub limit: Limit,
    /// What was asked for or used, in the limit's unit.
    pub value: u64,
    /// The most that was allowed.
    pub max: u64,
}

/// The bounds of one call: the table's defaults with what grants changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CallLimits {
    /// [`Limit::Fuel`].
    pub fuel: u64,
    /// [`Limit::WallTime`].
    pub wall_time: Duration,
    /// [`Limit::Memory`].
    pub memory: u64,
    /// [`Limit::TableElements`].
    pub table_elements: u64,
    /// [`Limit::HostCalls`].
    pub host_calls: u64,
    /// [`Limit::CopiedBytes`].
    pub copied_bytes: u64,
    /// [`Limit::Resources`].
    pub resources: u64,
    /// [`Limit::Output`].
    pub output: u64,
    /// [`Limit::Stdio`].
    pub stdio: u64,
    /// [`Limit::Log`].
    pub log: u64,
    /// [`Limit::OpenFiles`].
    pub open_files: u64,
    /// [`Limit::DirectoryEntries`].
    pub directory_entries: u64,
    /// [`Limit::RandomBytes`].
    pub random_bytes: u64,
    /// [`Limit::HttpRequests`].
    pub http_requests: u64,
    /// [`Limit::HttpBytesIn`].
    pub http_bytes_in: u64,
    /// [`Limit::HttpBytesOut`].
    pub http_bytes_out: u64,
    /// [`Limit::Connections`].
    pub connections: u64,
    /// [`Limit::Depth`].
    pub depth: u64,
    /// [`Limit::FanOut`].
    pub fan_out: u64,
    /// [`Limit::Stack`]: the same for all calls of a host.
    pub stack: u64,
    /// [`Limit::Concurrency`].
    pub concurrency: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self::of(&HostLimits::default())
    }
}

impl CallLimits {
    /// The defaults of a host.
    pub fn of(host: &HostLimits) -> Self {
        let default = |limit| host.default_of(limit);
        Self {
            fuel: default(Limit::Fuel),
            wall_time: Duration::from_millis(default(Limit::WallTime)),
            memory: default(Limit::Memory),
            table_elements: default(Limit::TableElements),
            host_calls: default(Limit::HostCalls),
            copied_bytes: default(Limit::CopiedBytes),
            resources: default(Limit::Resources),
            output: default(Limit::Output),
            stdio: default(Limit::Stdio),
            log: default(Limit::Log),
            open_files: default(Limit::OpenFiles),
            directory_entries: default(Limit::DirectoryEntries),
            random_bytes: default(Limit::RandomBytes),
            http_requests: default(Limit::HttpRequests),
            http_bytes_in: default(Limit::HttpBytesIn),
            http_bytes_out: default(Limit::HttpBytesOut),
            connections: default(Limit::Connections),
            depth: default(Limit::Depth),
            fan_out: default(Limit::FanOut),
            stack: default(Limit::Stack),
            concurrency: default(Limit::Concurrency),
        }
    }
}

/// What one call used. Each field is the measured value of the limit of the same name.
///
/// `stack` is not here: the engine enforces it without counting. `instances`, `compile_time` and the other
/// limits of registration are properties of the package, which `package inspect` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Fuel consumed.
    pub fuel: u64,
    /// Elapsed time in microseconds, from before instantiation to the end.
    pub wall_time_us: u64,
    /// The most bytes of linear memory held at once, summed over all memories.
    pub memory_peak: u64,
    /// The most table elements held at once, summed over all tables.
    pub table_elements_peak: u64,
    /// Calls through the gate.
    pub host_calls: u64,
    /// The most bytes copied across the boundary by one host call or result, as far as it is counted.
    pub copied_bytes_peak: u64,
    /// The most handles that capabilities held at once.
    pub resources_peak: u64,
    /// Bytes of the result.
    pub output: u64,
    /// Bytes that the guest wrote to stdout and stderr, before any cut.
    pub stdio: u64,
    /// Bytes of the lines that the guest logged, before any cut.
    pub log: u64,
    /// Bytes written to files.
    pub file_bytes_written: u64,
    /// Bytes read from files.
    pub file_bytes_read: u64,
    /// The most descriptors open at once.
    pub open_files_peak: u64,
    /// The most entries of one listing.
    pub directory_entries_peak: u64,
    /// The most bytes of random numbers in one request.
    pub random_bytes_peak: u64,
    /// The most bytes that a key-value store held after a write, keys included.
    pub kv_bytes_peak: u64,
    /// The most keys that a key-value store held after a write.
    pub kv_keys_peak: u64,
    /// HTTP requests.
    pub http_requests: u64,
    /// Bytes of HTTP responses.
    pub http_bytes_in: u64,
    /// Bytes of HTTP requests.
    pub http_bytes_out: u64,
    /// The most connections at once.
    pub connections_peak: u64,
    /// How deep it ran: 1 if an agent called it.
    pub depth: u64,
    /// Calls of other tools.
    pub fan_out: u64,
    /// Calls of the package that were running when it began, itself included.
    pub concurrency: u64,
    /// Calls of its principal that were running when it began, itself included.
    pub principal_concurrency: u64,
    /// Calls of the host that were running when it began, itself included.
    pub host_concurrency: u64,
    /// Elapsed time in microseconds that it waited for its place. Not part of `wall_time_us`.
    pub queue_time_us: u64,
}

#[cfg(test)]
mod tests;
