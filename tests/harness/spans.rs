//! What wasmtime itself says that a guest called: the bindings that it generates open a tracing span
//! for each call of an import. A count that does not come from the gate.
//!
//! Only the thread that asks is watched, so a test that uses this runs all on one thread.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Once;

use portcullis::audit::event::{Event, Record};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Interface, without its package, and function.
pub(crate) type Called = (String, String);

/// The name of the spans that wasmtime's bindings open.
const SPAN: &str = "wit-bindgen import";

thread_local! {
    /// Each host call that this thread made, in order, once it collects them.
    static SPANS: RefCell<Option<Vec<Called>>> = const { RefCell::new(None) };
}

/// Collects them. It is the subscriber of the whole process: one that is set for a thread races with
/// other threads' first use of the same spans.
struct Spans;

#[derive(Default)]
struct Names {
    module: String,
    function: String,
}

impl Visit for Names {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "module" => self.module = value.into(),
            "function" => self.function = value.into(),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl<S: tracing::Subscriber> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() != SPAN {
            return;
        }
        let mut names = Names::default();
        attributes.record(&mut names);
        SPANS.with_borrow_mut(|spans| {
            if let Some(spans) = spans {
                spans.push((names.module, names.function));
            }
        });
    }
}

/// Collects the host calls of this thread from now on.
pub(crate) fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Spans);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
    });
    SPANS.set(Some(Vec::new()));
}

/// The host calls since they are collected, or were last taken, in order.
pub(crate) fn take() -> Vec<Called> {
    SPANS.replace(Some(Vec::new())).expect("they are collected")
}

/// An interface as spans name it: without its package.
fn short(interface: &str) -> String {
    interface.rsplit('/').next().unwrap_or(interface).to_owned()
}

/// Interface and function of each record of a host call, in order, as spans name them. An effect
/// counts once, with its attempt.
pub(crate) fn recorded(records: &[Record]) -> Vec<Called> {
    let named = |record: &Record| match &record.event {
        Event::HostCall { host_call, .. } => {
            Some((short(&host_call.interface), host_call.function.to_string()))
        }
        Event::EffectAttempted { attempt, .. } => {
            Some((short(&attempt.interface), attempt.function.to_string()))
        }
        _ => None,
    };
    records.iter().filter_map(named).collect()
}
