//! The conversions against real components: text is compiled by the engine, values go through a guest.

mod bounds;
mod cases;
mod properties;
mod wit;

use std::sync::LazyLock;

use serde_json::Value;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, Store};

use super::answer::{ToolResult, ToolValue};
use super::shape::{TypedFunction, Unconvertible};

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::default);

fn compile(engine: &Engine, text: &str) -> Component {
    let binary = wat::parse_str(text).expect("the text is well formed");
    Component::new(engine, binary).expect("the text is a component")
}

/// The function that a component imports as `f`.
fn imported(engine: &Engine, component: &str) -> ComponentFunc {
    let component = compile(engine, component);
    typed_func(component.component_type().get_import(engine, "f").expect("it imports `f`").ty)
}

fn typed_func(item: ComponentItem) -> ComponentFunc {
    let ComponentItem::ComponentFunc(func) = item else { panic!("not a function: {item:?}") };
    func
}

/// The typed function `f` of a component that imports it: `types` declares what `signature` uses.
fn function(types: &str, signature: &str) -> Result<TypedFunction, Unconvertible> {
    TypedFunction::new(&imported(&ENGINE, &format!("(component {types} (import \"f\" (func {signature})))")))
}

/// A guest whose function `echo` takes a list and returns it.
struct Echo {
    store: Store<()>,
    func: wasmtime::component::Func,
    typed: TypedFunction,
}

impl Echo {
    /// `types` declares what `list` names.
    fn new(types: &str, list: &str) -> Self {
        let text = format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 64)
                    (global $next (mut i32) (i32.const 1024))
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                        (local $at i32)
                        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                        (global.set $next (i32.add (local.get $at) (local.get 3)))
                        (local.get $at))
                    (func (export "echo") (param i32 i32) (result i32)
                        (i32.store (i32.const 16) (local.get 0))
                        (i32.store (i32.const 20) (local.get 1))
                        (i32.const 16)))
                (core instance $i (instantiate $m))
                (alias core export $i "memory" (core memory $memory))
                (alias core export $i "realloc" (core func $realloc))
                (alias core export $i "echo" (core func $echo))
                {types}
                (func (export "echo") (param "value" {list}) (result {list})
                    (canon lift (core func $echo) (memory $memory) (realloc $realloc))))"#
        );
        let component = compile(&ENGINE, &text);
        let item = component.component_type().get_export(&ENGINE, "echo").expect("it exports `echo`").ty;
        let typed = TypedFunction::new(&typed_func(item)).expect("the types have a JSON form");
        let mut store = Store::new(&ENGINE, ());
        let instance = Linker::new(&ENGINE).instantiate(&mut store, &component).expect("it instantiates");
        let func = instance.get_func(&mut store, "echo").expect("it exports `echo`");
        Self { store, func, typed }
    }

    /// Sends values through the guest.
    fn call(&mut self, arguments: &[Val]) -> ToolResult {
        let mut results = [Val::Bool(false)];
        self.func.call(&mut self.store, arguments, &mut results).expect("the engine takes the values");
        self.typed.vals_to_result(&results, 1 << 20).expect("the answer has a JSON form")
    }
}

/// The value of an answer that is no tool error.
fn plain(result: ToolResult) -> Value {
    match result.value {
        ToolValue::Ok(value) => value.expect("there is a value"),
        ToolValue::ToolError(error) => panic!("a tool error: {error}"),
    }
}
