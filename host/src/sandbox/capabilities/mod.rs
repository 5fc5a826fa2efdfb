//! One file for each family of WASI interfaces, all behind the gate.
//!
//! Each file implements the traits that wasmtime generates from WIT for [`CallState`], so that the
//! compiler refuses a function that is missing. Nothing here asks policy: what a call may use was
//! narrowed to handles before the guest started.

pub(crate) mod cli;
pub(crate) mod clocks;
pub(crate) mod config;
pub(crate) mod filesystem;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod invoke;
pub(crate) mod io;
pub(crate) mod keyvalue;
pub(crate) mod logging;
pub(crate) mod progress;
pub(crate) mod random;
pub(crate) mod secrets;
pub(crate) mod sockets;

use std::borrow::Cow;
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable, ResourceTableError};

use self::gate::{Entered, Gate, HARMLESS, HostFunction};
use super::connections::CallConnections;
use super::control::CallControl;
use super::limiter::MemoryLimiter;
use crate::audit::event::{Decision, HostCallOutcome, LeakAction, LeakPlace};
use crate::egress::Resolver;
use crate::limits::{Limit, LimitReached};
use crate::policy::AuthorizedRule;
use crate::secrets::Leak;

/// The most bytes of a guest's text that name the subject of a refused host call.
const SUBJECT_BYTES_MAX: usize = 1_000;

/// Why a function is refused that no grant can allow yet, or that this call's grants don't.
const NOT_GRANTED: &str = "not granted";

/// What the host keeps for one running call: the data of its store.
pub(crate) struct CallState {
    /// The resources that the guest holds handles of.
    pub(crate) table: ResourceTable,
    /// The door.
    pub(crate) gate: Gate,
    /// Linear memories and tables.
    pub(crate) memory: MemoryLimiter,
    /// Captured stdout and stderr.
    pub(crate) stdio: cli::Stdio,
    /// Captured lines of `wasi:logging`.
    pub(crate) log: logging::Lines,
    /// The granted folders.
    pub(crate) filesystem: filesystem::Filesystem,
    /// What the call may do beside folders.
    pub(crate) rules: Vec<AuthorizedRule>,
    /// The granted stores of key-value state.
    pub(crate) stores: keyvalue::Stores,
    /// What the call needs to call others.
    pub(crate) invoke: invoke::Invoke,
    /// The line to whoever waits for the call.
    pub(crate) control: CallControl,
    /// Requests: made up in memory, and sent as the call's rules allow.
    pub(crate) http: http::Http,
    /// What the call takes a place of for each connection.
    pub(crate) connections: CallConnections,
    /// What lookups found, and streams over sockets.
    pub(crate) sockets: sockets::Sockets,
    /// Is asked before bytes leave.
    pub(crate) meter: Arc<dyn crate::egress::Meter>,
    /// What the call used, for whoever ordered it.
    pub(crate) spent: super::Spent,
    /// Finds the addresses of names.
    pub(crate) resolver: Arc<dyn Resolver>,
    /// How it sees the time.
    pub(crate) clock: clocks::Clock,
    /// Where its random numbers come from.
    pub(crate) random: random::Source,
}

impl std::fmt::Debug for CallState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallState").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl CallState {
    /// Lets through and records a function that reaches nothing outside the sandbox.
    pub(crate) async fn harmless<T>(
        &mut self,
        function: &'static HostFunction,
        perform: impl FnOnce(&mut Self) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        self.decided(function, HARMLESS, perform).await
    }

    /// The same with another rule.
    async fn decided<T>(
        &mut self,
        function: &'static HostFunction,
        decision: Decision,
        perform: impl FnOnce(&mut Self) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let entered = self.gate.enter(function, None).await?;
        let result = perform(self);
        self.leave_decided(entered, decision, &result);
        result
    }

    /// Records what came of a function that reaches nothing outside the sandbox.
    pub(crate) fn leave_harmless<T>(&mut self, entered: Entered, result: &wasmtime::Result<T>) {
        self.leave_decided(entered, HARMLESS, result);
    }

    fn leave_decided<T>(&mut self, entered: Entered, decision: Decision, result: &wasmtime::Result<T>) {
        let outcome = match result {
            Ok(_) => HostCallOutcome::Ok,
            Err(error) => trapped(error),
        };
        self.gate.leave(entered, decision, outcome, 0, 0);
    }

    /// Refuses and records a function with an error of its interface. The subject is the guest's
    /// text, and is cleaned and cut here.
    pub(crate) async fn refuse(
        &mut self,
        function: &'static HostFunction,
        subject: Option<&str>,
        error: &'static str,
    ) -> wasmtime::Result<()> {
        self.gate.keep_up().await?;
        self.refuse_now(function, subject, error)
    }

    /// The same, for traits that are not async.
    pub(crate) fn refuse_now(
        &mut self,
        function: &'static HostFunction,
        subject: Option<&str>,
        error: &'static str,
    ) -> wasmtime::Result<()> {
        let subject = subject.map(|text| Arc::from(crate::text::clean_line(text, SUBJECT_BYTES_MAX)));
        let entered = self.gate.enter_now(function, subject)?;
        self.gate.deny(entered, NOT_GRANTED, error);
        Ok(())
    }

    /// Why what holds one of the call's secrets may not leave; the find is recorded.
    pub(crate) fn held_secret(&mut self, place: LeakPlace, bytes: &[u8]) -> Option<Cow<'static, str>> {
        let leak = self.gate.secrets().patterns().find(bytes)?;
        Some(self.leak_refused(place, &leak))
    }

    /// The same of a find that was made elsewhere.
    pub(crate) fn leak_refused(&mut self, place: LeakPlace, leak: &Leak) -> Cow<'static, str> {
        self.gate.leaked(place, leak, LeakAction::Refused);
        format!("it holds secret {}", leak.secret).into()
    }

    /// Hands the guest a resource.
    ///
    /// # Errors
    /// [`LimitReached`] for [`Limit::Resources`].
    pub(crate) fn push<T: Send + 'static>(&mut self, value: T) -> wasmtime::Result<Resource<T>> {
        self.gate.count_resource()?;
        self.table.push(value).map_err(|error| self.table_error(error))
    }

    /// Takes a resource back.
    pub(crate) fn delete<T: 'static>(&mut self, resource: Resource<T>) -> wasmtime::Result<T> {
        let value = self.table.delete(resource)?;
        self.gate.discount_resource();
        Ok(value)
    }

    /// Tells a full table from a forged handle.
    pub(crate) fn table_error(&self, error: ResourceTableError) -> wasmtime::Error {
        let max = self.gate.limits().resources;
        match error {
            ResourceTableError::Full => LimitReached { limit: Limit::Resources, value: max + 1, max }.into(),
            ResourceTableError::NotPresent
            | ResourceTableError::WrongType
            | ResourceTableError::HasChildren => error.into(),
        }
    }
}

/// The outcome of a host call that ends the guest.
pub(crate) fn trapped(error: &wasmtime::Error) -> HostCallOutcome {
    let text = match error.downcast_ref::<LimitReached>() {
        Some(reached) => Cow::Borrowed(reached.limit.name()),
        None => Cow::Owned(crate::text::clean(&error.to_string(), 200)),
    };
    HostCallOutcome::Trapped(text)
}

/// Every function that a guest can import, but for the drops of resources, which are no host calls.
#[cfg_attr(not(test), expect(dead_code, reason = "compared with the interfaces in wit/ by a test"))]
pub(crate) fn all_functions() -> impl Iterator<Item = &'static HostFunction> {
    [
        cli::FUNCTIONS,
        clocks::FUNCTIONS,
        config::FUNCTIONS,
        filesystem::FUNCTIONS,
        http::FUNCTIONS,
        invoke::FUNCTIONS,
        io::FUNCTIONS,
        keyvalue::FUNCTIONS,
        logging::FUNCTIONS,
        progress::FUNCTIONS,
        random::FUNCTIONS,
        secrets::FUNCTIONS,
        sockets::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
    .flat_map(|interface| interface.iter().copied())
}

/// Links every interface that the host serves.
///
/// # Errors
/// If an interface is defined twice, which is a fault of this host.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    type This = HasSelf<CallState>;
    fn this(state: &mut CallState) -> &mut CallState {
        state
    }
    use super::bindings::portcullis::tool;
    use super::bindings::wasi;
    use wasmtime_wasi_http::p2::bindings::http as wasmtime_http;
    let l = linker;
    wasi::clocks::wall_clock::add_to_linker::<_, This>(l, this)?;
    wasi::clocks::monotonic_clock::add_to_linker::<_, This>(l, this)?;
    wasi::random::random::add_to_linker::<_, This>(l, this)?;
    wasi::random::insecure::add_to_linker::<_, This>(l, this)?;
    wasi::random::insecure_seed::add_to_linker::<_, This>(l, this)?;
    wasi::cli::environment::add_to_linker::<_, This>(l, this)?;
    wasi::cli::exit::add_to_linker::<_, This>(l, this)?;
    wasi::cli::stdin::add_to_linker::<_, This>(l, this)?;
    wasi::cli::stdout::add_to_linker::<_, This>(l, this)?;
    wasi::cli::stderr::add_to_linker::<_, This>(l, this)?;
    wasi::cli::terminal_input::add_to_linker::<_, This>(l, this)?;
    wasi::cli::terminal_output::add_to_linker::<_, This>(l, this)?;
    wasi::cli::terminal_stdin::add_to_linker::<_, This>(l, this)?;
    wasi::cli::terminal_stdout::add_to_linker::<_, This>(l, this)?;
    wasi::cli::terminal_stderr::add_to_linker::<_, This>(l, this)?;
    wasi::io::error::add_to_linker::<_, This>(l, this)?;
    wasi::io::poll::add_to_linker::<_, This>(l, this)?;
    wasi::io::streams::add_to_linker::<_, This>(l, this)?;
    wasi::filesystem::types::add_to_linker::<_, This>(l, this)?;
    wasi::filesystem::preopens::add_to_linker::<_, This>(l, this)?;
    // Functions that WASI still calls unstable are linked too: what is not linked can't be imported.
    let mut unstable = wasi::sockets::network::LinkOptions::default();
    wasi::sockets::network::add_to_linker::<_, This>(l, unstable.network_error_code(true), this)?;
    wasi::sockets::instance_network::add_to_linker::<_, This>(l, this)?;
    wasi::sockets::ip_name_lookup::add_to_linker::<_, This>(l, this)?;
    wasi::sockets::tcp::add_to_linker::<_, This>(l, this)?;
    wasi::sockets::tcp_create_socket::add_to_linker::<_, This>(l, this)?;
    wasi::sockets::udp::add_to_linker::<_, This>(l, this)?;
    wasi::sockets::udp_create_socket::add_to_linker::<_, This>(l, this)?;
    let mut unstable = wasmtime_http::types::LinkOptions::default();
    wasmtime_http::types::add_to_linker::<_, This>(l, unstable.informational_outbound_responses(true), this)?;
    wasi::http::outgoing_handler::add_to_linker::<_, This>(l, this)?;
    wasi::config::store::add_to_linker::<_, This>(l, this)?;
    wasi::keyvalue::store::add_to_linker::<_, This>(l, this)?;
    wasi::keyvalue::atomics::add_to_linker::<_, This>(l, this)?;
    wasi::keyvalue::batch::add_to_linker::<_, This>(l, this)?;
    wasi::logging::logging::add_to_linker::<_, This>(l, this)?;
    tool::progress::add_to_linker::<_, This>(l, this)?;
    tool::secrets::add_to_linker::<_, This>(l, this)?;
    tool::invoke::add_to_linker::<_, This>(l, this)?;
    Ok(())
}

#[cfg(test)]
mod tests;
