//! What a component is, before and after it is compiled: counts, imports, tools.
//!
//! The counting reads the file's sections and nothing else, so that a file made to hurt the compiler
//! is refused before the compiler sees it.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{ComponentExternalKind, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{self, ComponentItem};

use super::convert::docs::PackageDocs;
use super::convert::schema::function_schemas;
use super::copies::Copies;
use crate::ids::{Names, ToolName};
use crate::limits::{HostLimits, Limit, LimitReached};
use crate::package::{Capability, ComponentSize, ToolDescription, ToolExport};

/// The interface that makes a component a set of listed tools.
pub(super) const TOOLS_INTERFACE: &str = "portcullis:tool/tools@0.1.0";

/// The version of our own interfaces that this host serves.
const TOOL_VERSION: &str = "0.1.0";

/// Why a file can't be a package. The author's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// Neither the binary format nor anything near it.
    #[error("this is not a WebAssembly component: it does not begin as one")]
    NotWasm,
    /// A core module.
    #[error(
        "this is a core module, not a component; build for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Cut off, or not valid.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// More of something than a component may have, its compiler's time and memory included.
    #[error(transparent)]
    TooLarge(#[from] LimitReached),
    /// It ended the compiler's process, which is not to be expected of any component.
    #[error("the compiler died of it: {0}")]
    CompilerDied(String),
    /// It imports what this host does not serve.
    #[error("the component imports what this host does not serve: {}", .0.join(", "))]
    UnknownImports(Vec<String>),
    /// Nothing that can be called.
    #[error("the component exports no tool{}", reasons(.0))]
    NoTools(Vec<String>),
    /// Two tools whose names differ, and can be taken for each other.
    #[error(
        "tools {0} and {1} can be taken for each other: names differ in more than case, or 0 and O, or 1, l and I"
    )]
    AlikeTools(ToolName, ToolName),
    /// Its manifest can't be read.
    #[error("its manifest: {0}")]
    Manifest(String),
    /// `list-tools` failed or answered nonsense.
    #[error("its list-tools failed: {0}")]
    ListTools(String),
}

fn reasons(left_out: &[String]) -> String {
    if left_out.is_empty() { String::new() } else { format!(": {}", left_out.join("; ")) }
}

/// Counts what is in a file and refuses what is too much of anything.
///
/// # Errors
/// [`PackageError`]: not a component, cut off, or beyond a limit.
pub(super) fn measure(bytes: &[u8], limits: &HostLimits) -> Result<ComponentSize, PackageError> {
    let within = |limit, value| within(limits, limit, value);
    let mut size = ComponentSize { bytes: bytes.len() as u64, ..ComponentSize::default() };
    if bytes.is_empty() {
        return Err(PackageError::Empty);
    }
    within(Limit::ComponentBytes, size.bytes)?;
    if Parser::is_core_wasm(bytes) {
        return Err(PackageError::CoreModule);
    }
    if !Parser::is_component(bytes) {
        return Err(PackageError::NotWasm);
    }
    let invalid = |error: wasmparser::BinaryReaderError| PackageError::Invalid(error.to_string());
    let mut copies = Copies::new(limits);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        count(&payload, &mut size);
        copies.read(&payload)?;
        within(Limit::Functions, size.functions)?;
        within(Limit::Types, size.types)?;
        within(Limit::Imports, size.imports)?;
        within(Limit::Modules, size.modules)?;
    }
    // Bounded while they were counted: an instance that only gathers exports is none at run time.
    size.instances = copies.whole.core;
    Ok(size)
}

pub(super) fn within(limits: &HostLimits, limit: Limit, value: u64) -> Result<(), LimitReached> {
    let max = limits.ceiling_of(limit);
    if value > max { Err(LimitReached { limit, value, max }) } else { Ok(()) }
}

fn count(payload: &Payload<'_>, size: &mut ComponentSize) {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "wasmparser's enum: what is not listed is not counted"
    )]
    match payload {
        Payload::CodeSectionStart { count, .. } => size.functions += u64::from(*count),
        Payload::TypeSection(section) => size.types += u64::from(section.count()),
        Payload::CoreTypeSection(section) => size.types += u64::from(section.count()),
        Payload::ComponentTypeSection(section) => size.types += u64::from(section.count()),
        Payload::ComponentCanonicalSection(section) => size.functions += u64::from(section.count()),
        Payload::ImportSection(section) => size.imports += u64::from(section.count()),
        Payload::ComponentImportSection(section) => size.imports += u64::from(section.count()),
        Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => size.modules += 1,
        _ => {}
    }
}

/// The interfaces that a component imports, and the kinds of power that they ask for.
///
/// # Errors
/// [`PackageError::UnknownImports`], naming each.
pub(super) fn imports(
    engine: &Engine,
    component: &Component,
) -> Result<(Vec<String>, BTreeSet<Capability>), PackageError> {
    let (mut names, mut capabilities, mut unknown) = (Vec::new(), BTreeSet::new(), Vec::new());
    for (name, _) in component.component_type().imports(engine) {
        names.push(name.to_owned());
        match served(name) {
            Some(capability) => capabilities.extend(capability),
            None => unknown.push(name.to_owned()),
        }
    }
    if unknown.is_empty() { Ok((names, capabilities)) } else { Err(PackageError::UnknownImports(unknown)) }
}

/// The kind of power that an import asks for, `None` inside for those that ask for none; `None` if
/// this host does not serve it. `wasi:…@0.2.z` is served for every z.
fn served(import: &str) -> Option<Option<Capability>> {
    let (interface, version) = import.split_once('@')?;
    let (package, name) = interface.split_once('/')?;
    let stable =
        version.strip_prefix("0.2.").is_some_and(|z| !z.is_empty() && z.bytes().all(|b| b.is_ascii_digit()));
    match (package, name) {
        ("wasi:cli", "environment") if stable => Some(Some(Capability::Config)),
        ("wasi:cli", "stdin" | "stdout" | "stderr") if stable => Some(Some(Capability::Log)),
        ("wasi:cli", "exit") if stable => Some(None),
        ("wasi:cli", name) if stable && name.starts_with("terminal-") => Some(None),
        ("wasi:clocks", "wall-clock" | "monotonic-clock") if stable => Some(Some(Capability::Clock)),
        ("wasi:random", "random" | "insecure" | "insecure-seed") if stable => Some(Some(Capability::Random)),
        ("wasi:io", "error" | "poll" | "streams") if stable => Some(None),
        ("wasi:filesystem", "types" | "preopens") if stable => Some(Some(Capability::Filesystem)),
        ("wasi:http", "types" | "outgoing-handler") if stable => Some(Some(Capability::Http)),
        ("wasi:sockets", "ip-name-lookup") if stable => Some(Some(Capability::Dns)),
        (
            "wasi:sockets",
            "network" | "instance-network" | "tcp" | "tcp-create-socket" | "udp" | "udp-create-socket",
        ) if stable => Some(Some(Capability::Sockets)),
        ("wasi:config", "store") if version == "0.2.0-rc.1" => Some(Some(Capability::Config)),
        ("wasi:keyvalue", "store" | "atomics" | "batch") if version == "0.2.0-draft" => {
            Some(Some(Capability::Keyvalue))
        }
        ("wasi:logging", "logging") if version == "0.1.0-draft" => Some(Some(Capability::Log)),
        ("portcullis:tool", "progress") if version == TOOL_VERSION => Some(None),
        ("portcullis:tool", "secrets") if version == TOOL_VERSION => Some(Some(Capability::Secrets)),
        ("portcullis:tool", "invoke") if version == TOOL_VERSION => Some(Some(Capability::Tools)),
        _ => None,
    }
}

/// What a component exports: typed tools, what can't be one, and whether it lists tools itself.
#[derive(Debug, Default)]
pub(super) struct Exports {
    pub(super) tools: Vec<ToolDescription>,
    pub(super) left_out: Vec<String>,
    pub(super) lists_tools: bool,
    /// Of the first exported interface that has a package, such as `docs:markdown@1.0.0`: name and version.
    pub(super) wit_package: Option<(String, Option<String>)>,
}

/// Finds the tools that a component exports by type.
pub(super) fn exports(engine: &Engine, component: &Component, bytes: &[u8]) -> Exports {
    let docs = PackageDocs::read(bytes);
    let mut exports = Exports::default();
    let mut found = Vec::new();
    let ty = component.component_type();
    let lists_tools = ty.get_export(engine, TOOLS_INTERFACE).is_some();
    let types = exported_types(bytes);
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) if types.contains(name) => {
                exports.left_out.push(format!("{name}: a type of a function, not a function"));
            }
            ComponentItem::ComponentFunc(function) => found.push((None, name.to_owned(), function)),
            ComponentItem::ComponentInstance(_) if name == TOOLS_INTERFACE => exports.lists_tools = true,
            ComponentItem::ComponentInstance(_) if name.starts_with("wasi:") => {
                exports.left_out.push(format!("{name}: an interface for other hosts"));
            }
            // What toolchains add for themselves, as componentize-py does, beside the tools of a world.
            ComponentItem::ComponentInstance(_) if lists_tools && !name.contains(':') => {
                exports.left_out.push(format!("{name}: not in a package, beside {TOOLS_INTERFACE}"));
            }
            ComponentItem::ComponentInstance(interface) if is_interpreters_own(engine, name, &interface) => {
                exports.left_out.push(format!("{name}: how componentize-py starts its interpreter"));
            }
            ComponentItem::ComponentInstance(interface) => {
                exports.wit_package = exports.wit_package.take().or_else(|| wit_package(name));
                for (function_name, item) in interface.exports(engine) {
                    if let ComponentItem::ComponentFunc(function) = item.ty {
                        found.push((Some(name.to_owned()), function_name.to_owned(), function));
                    }
                }
            }
            ComponentItem::CoreFunc(_)
            | ComponentItem::Module(_)
            | ComponentItem::Component(_)
            | ComponentItem::Type(_)
            | ComponentItem::Resource(_) => {}
        }
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (_, function, _) in &found {
        *taken.entry(function.clone()).or_default() += 1;
    }
    for (interface, function, ty) in found {
        let unique = taken.get(&function) == Some(&1);
        match typed_tool(interface.as_deref(), &function, &ty, unique, &docs) {
            Ok(tool) => exports.tools.push(tool),
            Err(reason) => exports.left_out.push(format!("{function}: {reason}")),
        }
    }
    exports.tools.sort_by(|one, other| one.name.cmp(&other.name));
    leave_out_namesakes(&mut exports);
    exports
}

/// The names of exported types: the engine tells an exported type of a function as a function.
fn exported_types(bytes: &[u8]) -> BTreeSet<&str> {
    let (mut names, mut depth) = (BTreeSet::new(), 0_usize);
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser's enum: the rest exports nothing")]
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                let exports = section.into_iter().map_while(Result::ok);
                let types = exports.filter(|export| export.kind == ComponentExternalKind::Type);
                names.extend(types.map(|export| export.name.name));
            }
            _ => {}
        }
    }
    names
}

/// Refuses tools whose names can be taken for each other.
///
/// # Errors
/// [`PackageError::AlikeTools`].
pub(super) fn tell_apart(tools: &[ToolDescription]) -> Result<(), PackageError> {
    let mut names = Names::default();
    for tool in tools {
        if let Some(other) = names.insert(tool.name.as_str()) {
            let other = tools.iter().find(|tool| tool.name.as_str() == other).unwrap_or(tool);
            return Err(PackageError::AlikeTools(other.name.clone(), tool.name.clone()));
        }
    }
    Ok(())
}

/// Whether this is the interface that componentize-py exports for its own build, which a component keeps afterwards:
/// `init`, in no package, with the module's name and its symbols. No author wrote it, and no agent should see it.
fn is_interpreters_own(engine: &Engine, name: &str, interface: &types::ComponentInstance) -> bool {
    let mut functions = interface.exports(engine).filter_map(|(name, item)| match item.ty {
        ComponentItem::ComponentFunc(function) => Some((name, function)),
        ComponentItem::ComponentInstance(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Type(_)
        | ComponentItem::Resource(_) => None,
    });
    match (functions.next(), functions.next()) {
        (Some(("init", init)), None) if name == "exports" => {
            init.params().map(|(name, _)| name).eq(["app-name", "symbols", "stub-wasi"])
        }
        _ => false,
    }
}

/// Tools that still have one name after their interface's was put before it can't be told apart.
fn leave_out_namesakes(exports: &mut Exports) {
    let mut names: BTreeMap<ToolName, usize> = BTreeMap::new();
    for tool in &exports.tools {
        *names.entry(tool.name.clone()).or_default() += 1;
    }
    let (kept, out) = std::mem::take(&mut exports.tools)
        .into_iter()
        .partition(|tool: &ToolDescription| names.get(&tool.name) == Some(&1));
    exports.tools = kept;
    exports
        .left_out
        .extend(out.iter().map(|tool| format!("{}: several functions have this name", tool.name)));
}

fn typed_tool(
    interface: Option<&str>,
    function: &str,
    ty: &types::ComponentFunc,
    unique: bool,
    docs: &PackageDocs,
) -> Result<ToolDescription, String> {
    // Two interfaces may have a function of the same name: then the interface's goes before it.
    let name = match interface.filter(|_| !unique) {
        Some(interface) => format!("{}_{function}", interface_name(interface)),
        None => function.to_owned(),
    };
    let name: ToolName = name.parse().map_err(|_| "its name can't be a tool's".to_owned())?;
    let schemas = function_schemas(ty).map_err(|error| error.to_string())?;
    Ok(ToolDescription {
        name,
        description: docs.function(interface, function),
        input_schema: schemas.input,
        output_schema: schemas.output,
        export: ToolExport::Typed { interface: interface.map(str::to_owned), function: function.to_owned() },
    })
}

/// `render` of `docs:markdown/render@1.0.0`.
fn interface_name(interface: &str) -> &str {
    let without_version = interface.split('@').next().unwrap_or(interface);
    without_version.rsplit('/').next().unwrap_or(without_version)
}

/// Name and version of `docs:markdown/render@1.0.0`.
fn wit_package(interface: &str) -> Option<(String, Option<String>)> {
    let (path, version) = match interface.split_once('@') {
        Some((path, version)) => (path, Some(version.to_owned())),
        None => (interface, None),
    };
    let name = path.split_once(':')?.1.split('/').next()?;
    Some((name.to_owned(), version))
}
