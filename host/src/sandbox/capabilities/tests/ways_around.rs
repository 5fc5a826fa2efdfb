//! Clippy knows the ways around the gate: each function of the engine's crates that `clippy.toml` forbids
//! is named here, where the lint is expected. Clippy fails if it does not fire, because a path in
//! `clippy.toml` leads nowhere; `cargo xtask tidy` fails if a path has no line here. Nothing of it runs.

use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime::{Engine, Module};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiView};
use wasmtime_wasi_http::WasiHttpView;

macro_rules! forbidden {
    ($($way:expr;)*) => {$(
        #[expect(clippy::disallowed_methods, reason = "that it is forbidden is what is tested")]
        let _ = $way;
    )*};
}

/// All of WASI, or much of it, served by wasmtime instead of the gate.
#[expect(dead_code, reason = "it is there for clippy to look at")]
fn whole_interfaces<T: WasiView + WasiHttpView + 'static>() {
    forbidden! {
        wasmtime_wasi::p2::add_to_linker_sync::<T>;
        wasmtime_wasi::p2::add_to_linker_async::<T>;
        wasmtime_wasi::p2::add_to_linker_with_options_sync::<T>;
        wasmtime_wasi::p2::add_to_linker_with_options_async::<T>;
        wasmtime_wasi::p2::add_to_linker_proxy_interfaces_sync::<T>;
        wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async::<T>;
        wasmtime_wasi_http::p2::add_to_linker_sync::<T>;
        wasmtime_wasi_http::p2::add_to_linker_async::<T>;
        wasmtime_wasi_http::p2::add_only_http_to_linker_sync::<T>;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async::<T>;
    }
}

/// Single functions that no capability serves.
#[expect(dead_code, reason = "it is there for clippy to look at")]
fn single_functions(
    linker: &mut Linker<()>,
    instance: &mut LinkerInstance<'_, ()>,
    component: &Component,
    module: &Module,
) {
    let ty = ResourceType::host::<()>();
    forbidden! {
        linker.define_unknown_imports_as_traps(component);
        linker.allow_shadowing(true);
        instance.func_wrap("f", |_, (): ()| Ok(()));
        instance.func_wrap_async("f", |_, (): ()| Box::new(async { Ok(()) }));
        instance.func_new("f", |_, _, _, _| Ok(()));
        instance.func_new_async("f", |_, _, _, _| Box::new(async { Ok(()) }));
        instance.resource("r", ty, |_, _| Ok(()));
        instance.resource_async("r", ty, |_, _| Box::new(async { Ok(()) }));
        instance.module("m", module);
    }
}

/// What the host has, handed to a guest.
#[expect(dead_code, reason = "it is there for clippy to look at")]
fn ambient_powers(context: &mut WasiCtxBuilder) {
    forbidden! {
        context.inherit_stdio();
        context.inherit_stdin();
        context.inherit_stdout();
        context.inherit_stderr();
        context.inherit_env();
        context.inherit_args();
        context.inherit_network();
        context.allow_tcp(true);
        context.allow_udp(true);
        context.allow_ip_name_lookup(true);
        context.socket_addr_check(|_, _| Box::pin(async { true }));
        context.preopened_dir("folder", "/", FsPerms::ReadOnly);
    }
}

/// Native code that nobody checked.
#[expect(dead_code, reason = "it is there for clippy to look at")]
fn native_code(engine: &Engine) {
    // SAFETY: never called; a file that nobody checked may hold anything, which is why it is forbidden.
    unsafe {
        forbidden! {
            Component::deserialize_file(engine, "file");
        }
    }
}
