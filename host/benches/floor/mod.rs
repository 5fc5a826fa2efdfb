//! Bare wasmtime, which benchmarks compare with: a fresh store and instance for each call, fuel and epochs counted,
//! WASI linked by wasmtime; it decides and records nothing.

#![allow(dead_code, reason = "each benchmark takes what it needs of it")]
#![allow(clippy::disallowed_methods, reason = "the floor is bare wasmtime, without the gate")]

use std::path::{Path, PathBuf};

use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Lift, Linker, Lower, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

/// The state of a bare store.
pub(crate) struct Bare {
    table: ResourceTable,
    wasi: WasiCtx,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A component on bare wasmtime.
pub(crate) struct Floor {
    pre: InstancePre<Bare>,
    function: ComponentExportIndex,
    folder: Option<PathBuf>,
}

impl Floor {
    /// Its guest finds `folder` at `/data`, read-only; where it needs none, opening one would be work for nothing.
    pub(crate) fn new(
        engine: &Engine,
        guest: &str,
        interface: &str,
        function: &str,
        folder: Option<&Path>,
    ) -> Self {
        let component = Component::new(engine, guest_bytes(guest)).expect("it compiles");
        let mut linker = Linker::<Bare>::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("linked");
        let interface = component.get_export_index(None, interface).expect("exported");
        let function = component.get_export_index(Some(&interface), function).expect("exported");
        let pre = linker.instantiate_pre(&component).expect("all imports are linked");
        Self { pre, function, folder: folder.map(Path::to_owned) }
    }

    /// The guest that gives a text back: the least call.
    pub(crate) fn echo(engine: &Engine) -> Self {
        Self::new(engine, "echo", "test:echo/values@0.1.0", "text", None)
    }

    /// A fresh store and instance, one call, and all of it dropped.
    pub(crate) async fn call<Params, Return>(&self, params: Params) -> Return
    where
        Params: wasmtime::component::ComponentNamedList + Lower + Send + Sync,
        Return: wasmtime::component::ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let mut wasi = WasiCtx::builder();
        if let Some(folder) = &self.folder {
            wasi.preopened_dir(folder, "/data", FsPerms::ReadOnly).expect("opened");
        }
        let bare = Bare { table: ResourceTable::new(), wasi: wasi.build() };
        let mut store = Store::new(self.pre.engine(), bare);
        store.set_fuel(1_000_000_000).expect("fuel is counted");
        store.set_epoch_deadline(1_000_000);
        let instance = self.pre.instantiate_async(&mut store).await.expect("instantiated");
        let function = instance.get_typed_func::<Params, Return>(&mut store, self.function).expect("typed");
        function.call_async(&mut store, params).await.expect("it answers")
    }
}

/// The engine at the pooling allocator's defaults.
pub(crate) fn default_engine() -> Engine {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true);
    config.allocation_strategy(InstanceAllocationStrategy::pooling());
    Engine::new(&config).expect("an engine")
}

/// The engine with our own settings.
pub(crate) fn tuned_engine() -> Engine {
    portcullis::sandbox::tuned_floor_engine().expect("an engine")
}

/// A guest that `cargo xtask guests` built.
pub(crate) fn guest_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name).with_extension("wasm")
}

pub(crate) fn guest_bytes(name: &str) -> Vec<u8> {
    let path = guest_path(name);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
}
