//! Every bound on a call and on a package, in one closed enum with one table.
//!
//! Plain data: who enforces a limit is said at the place that does. The numbers are
//! explained in `docs/limits.md`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One thing that is bounded. Closed: a new limit does not compile until each place that
/// must know of it (its default, its ceiling, its test) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Calls running at once in this host. Refused as busy.
    Concurrency,
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
    /// The call is refused as busy before it starts.
    Busy,
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
    /// The highest value that a grant may set. Equal to the default where a grant may not set it.
    pub ceiling: u64,
    /// What happens at the limit.
    pub effect: Effect,
    /// Whether a grant's `limits = { … }` may name it.
    pub grantable: bool,
}

const MIB: u64 = 1 << 20;

impl Limit {
    /// All limits, in the order of the table.
    pub const ALL: [Limit; 22] = [
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
        Limit::FileBytes,
        Limit::Files,
        Limit::OpenFiles,
        Limit::DirectoryEntries,
        Limit::RandomBytes,
        Limit::Concurrency,
        Limit::ComponentBytes,
        Limit::Functions,
        Limit::Types,
        Limit::Imports,
        Limit::Modules,
    ];

    /// The limit's row: unit, default, ceiling, effect.
    pub const fn row(self) -> LimitRow {
        use Effect::{Answers, Busy, Cuts, Ends, RefusedAtRegistration};
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
            Limit::FileBytes => ("bytes", 16 * MIB, 1 << 40, Answers, false),
            Limit::Files => ("entries", 10_000, 1_000_000, Answers, false),
            Limit::OpenFiles => ("descriptors", 256, 256, Answers, true),
            Limit::DirectoryEntries => ("entries", 10_000, 100_000, Answers, true),
            Limit::RandomBytes => ("bytes", 64 << 10, 64 << 10, Ends, true),
            Limit::Concurrency => ("calls", 64, 64, Busy, false),
            Limit::ComponentBytes => ("bytes", 64 * MIB, 64 * MIB, RefusedAtRegistration, false),
            Limit::Functions => ("functions", 200_000, 200_000, RefusedAtRegistration, false),
            Limit::Types => ("types", 10_000, 10_000, RefusedAtRegistration, false),
            Limit::Imports => ("imports", 10_000, 10_000, RefusedAtRegistration, false),
            Limit::Modules => ("modules", 128, 128, RefusedAtRegistration, false),
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
            Limit::FileBytes => "file_bytes",
            Limit::Files => "files",
            Limit::OpenFiles => "open_files",
            Limit::DirectoryEntries => "directory_entries",
            Limit::RandomBytes => "random_bytes",
            Limit::Concurrency => "concurrency",
            Limit::ComponentBytes => "component_bytes",
            Limit::Functions => "functions",
            Limit::Types => "types",
            Limit::Imports => "imports",
            Limit::Modules => "modules",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit was reached: which, what was asked or used, and what was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// [`Limit::OpenFiles`].
    pub open_files: u64,
    /// [`Limit::DirectoryEntries`].
    pub directory_entries: u64,
    /// [`Limit::RandomBytes`].
    pub random_bytes: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            fuel: Limit::Fuel.row().default,
            wall_time: Duration::from_millis(Limit::WallTime.row().default),
            memory: Limit::Memory.row().default,
            table_elements: Limit::TableElements.row().default,
            host_calls: Limit::HostCalls.row().default,
            copied_bytes: Limit::CopiedBytes.row().default,
            resources: Limit::Resources.row().default,
            output: Limit::Output.row().default,
            stdio: Limit::Stdio.row().default,
            open_files: Limit::OpenFiles.row().default,
            directory_entries: Limit::DirectoryEntries.row().default,
            random_bytes: Limit::RandomBytes.row().default,
        }
    }
}

/// What one call used. Each field is the measured value of the limit of the same name.
///
/// `stack` is not here: the engine enforces it without counting. `instances`, and the other limits
/// of registration, are properties of the package and are shown by `package inspect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Bytes written to files.
    pub file_bytes_written: u64,
    /// Bytes read from files.
    pub file_bytes_read: u64,
    /// The most descriptors open at once.
    pub open_files_peak: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_no_default_is_above_its_ceiling() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index, "{limit} is out of order in ALL");
            let row = limit.row();
            assert!(row.default <= row.ceiling, "{limit}");
            let json = serde_json::to_value(limit).expect("a unit variant serialises");
            assert_eq!(json, limit.name());
        }
    }
}
