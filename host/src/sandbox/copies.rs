//! How often each component inside a file is instantiated, before anything is.
//!
//! The compiler makes a copy of a nested component for each time that it is instantiated. A few lines
//! can so stand for any number of copies; this counts them as the file is read, and never makes one.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef,
    Instance, Payload,
};

use super::inspect::{PackageError, within};
use crate::limits::{HostLimits, Limit};

/// What one instantiation of a component makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Core instances.
    pub(super) core: u64,
    /// Instances of components.
    components: u64,
}

/// A component that is being read.
#[derive(Debug, Default)]
struct Level {
    cost: Cost,
    /// Its index space of components; `None` for those that are known only when it runs.
    known: Vec<Option<Cost>>,
}

/// The components that are open, from the outermost, and what the whole file makes.
#[derive(Debug)]
pub(super) struct Copies<'a> {
    limits: &'a HostLimits,
    open: Vec<Level>,
    /// Core modules have an end too.
    modules: usize,
    /// What an instance of the file makes.
    pub(super) whole: Cost,
}

impl<'a> Copies<'a> {
    pub(super) fn new(limits: &'a HostLimits) -> Self {
        Self { limits, open: Vec::new(), modules: 0, whole: Cost::default() }
    }

    /// Reads one payload, in the order of the file.
    ///
    /// # Errors
    /// If it makes more than [`Limit::Instances`] core instances or [`Limit::Modules`] instances of
    /// components, or instantiates a component that is an argument of its own: no toolchain does, and
    /// it can't be counted.
    pub(super) fn read(&mut self, payload: &Payload<'_>) -> Result<(), PackageError> {
        let invalid = |error: wasmparser::BinaryReaderError| PackageError::Invalid(error.to_string());
        #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser's enum: the rest makes nothing")]
        match payload {
            Payload::Version { encoding: wasmparser::Encoding::Component, .. } => {
                self.open.push(Level::default());
            }
            Payload::Version { encoding: wasmparser::Encoding::Module, .. } => self.modules += 1,
            Payload::End(_) => self.end(),
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { .. } = instance.map_err(invalid)? {
                        self.add(Cost { core: 1, components: 0 })?;
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } =
                        instance.map_err(invalid)?
                    {
                        let cost = self.known(0, component_index)?;
                        self.add(Cost { components: cost.components.saturating_add(1), ..cost })?;
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    if let ComponentTypeRef::Component(_) = import.map_err(invalid)?.ty {
                        self.push(None);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias.map_err(invalid)?);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(invalid)?;
                    if export.kind == ComponentExternalKind::Component {
                        let known = self.known(0, export.index).ok();
                        self.push(known);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => self.push(None),
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let known = self.known(*count, *index).ok();
                self.push(known);
            }
            ComponentAlias::InstanceExport { .. }
            | ComponentAlias::CoreInstanceExport { .. }
            | ComponentAlias::Outer { .. } => {}
        }
    }

    fn end(&mut self) {
        if self.modules > 0 {
            self.modules -= 1;
            return;
        }
        let Some(level) = self.open.pop() else { return };
        if self.open.is_empty() {
            self.whole = level.cost;
        } else {
            self.push(Some(level.cost));
        }
    }

    fn push(&mut self, known: Option<Cost>) {
        if let Some(level) = self.open.last_mut() {
            level.known.push(known);
        }
    }

    /// The cost of a component, by its index so many components further out.
    fn known(&self, outwards: u32, index: u32) -> Result<Cost, PackageError> {
        let level = self.open.iter().rev().nth(usize::try_from(outwards).unwrap_or(usize::MAX));
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        level.and_then(|level| level.known.get(index).copied().flatten()).ok_or_else(|| {
            PackageError::Invalid(
                "it instantiates a component that is not written down inside it, which this host does not serve"
                    .to_owned(),
            )
        })
    }

    fn add(&mut self, more: Cost) -> Result<(), PackageError> {
        let Some(level) = self.open.last_mut() else { return Ok(()) };
        level.cost.core = level.cost.core.saturating_add(more.core);
        level.cost.components = level.cost.components.saturating_add(more.components);
        within(self.limits, Limit::Instances, level.cost.core)?;
        within(self.limits, Limit::Modules, level.cost.components)?;
        Ok(())
    }
}
