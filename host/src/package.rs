//! What is known of a package once it was looked at: plain data that the sandbox makes, the
//! registry keeps and everyone else reads.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::ToolName;

/// A kind of power that a component can ask for by its imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// `wasi:filesystem`.
    Filesystem,
    /// `wasi:http`.
    Http,
    /// `wasi:keyvalue`.
    Keyvalue,
    /// `wasi:config`, and the environment and arguments of `wasi:cli`.
    Config,
    /// `wasi:logging`, and stdio of `wasi:cli`.
    Log,
    /// `wasi:clocks`.
    Clock,
    /// `wasi:random`.
    Random,
    /// TCP and UDP of `wasi:sockets`.
    Sockets,
    /// `wasi:sockets/ip-name-lookup`.
    Dns,
    /// `portcullis:tool/secrets`: to see the value of a secret.
    Secrets,
    /// `portcullis:tool/invoke`: to call other tools.
    Tools,
}

/// What a component is and asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PackageDescription {
    /// The tools, in the order of their names.
    pub tools: Vec<ToolDescription>,
    /// Each imported interface with its version, such as `wasi:clocks/wall-clock@0.2.6`.
    pub imports: Vec<String>,
    /// The kinds of power that the imports ask for.
    pub capabilities: BTreeSet<Capability>,
    /// What was counted before compiling.
    pub size: ComponentSize,
    /// What compiling it took, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile: Option<CompileCost>,
    /// Exports that can't be tools, each with the reason.
    pub left_out: Vec<String>,
}

/// What is counted in a component before it is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentSize {
    /// Bytes of the file.
    pub bytes: u64,
    /// Core functions with a body.
    pub functions: u64,
    /// Core and component types.
    pub types: u64,
    /// Core and component imports.
    pub imports: u64,
    /// Core modules and nested components.
    pub modules: u64,
    /// Core instances that an instance of it makes.
    pub instances: u64,
}

/// How much compiled code is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeHeld {
    /// Components.
    pub components: u64,
    /// Bytes of their code.
    pub bytes: u64,
    /// How often one was given up for another since the start.
    pub dropped: u64,
}

/// How sandboxes are prepared before their calls come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SandboxesPrepared {
    /// They are ready now.
    pub ready: u64,
    /// Calls that found one, since the start.
    pub taken: u64,
    /// Calls that found none.
    pub missed: u64,
}

/// What compiling a component took at its registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompileCost {
    /// Elapsed milliseconds, of at most [`Limit::CompileTime`](crate::limits::Limit::CompileTime).
    pub time_ms: u64,
    /// The most bytes that the compiler's process had in memory, its program included; none if it was a
    /// thread of the host. [`Limit::CompileMemory`](crate::limits::Limit::CompileMemory) bounds what it may
    /// ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
}

/// One callable of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolDescription {
    /// Its name.
    pub name: ToolName,
    /// What it does, by its author: untrusted text. Empty if the component does not say.
    pub description: String,
    /// JSON Schema (2020-12) of its arguments: always an object.
    pub input_schema: serde_json::Value,
    /// JSON Schema of its structured result, if it has one.
    pub output_schema: Option<serde_json::Value>,
    /// How it is reached in the component.
    pub export: ToolExport,
}

/// How a tool is reached in its component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToolExport {
    /// A typed function: directly exported, or in an exported interface.
    Typed {
        /// The exported interface, such as `docs:markdown/render@1.0.0`; `None` for a function of the world.
        interface: Option<String>,
        /// The function.
        function: String,
    },
    /// A tool that `list-tools` of `portcullis:tool` announced.
    Listed,
}
