//! `wasi:cli`: the granted environment and arguments and nothing of the host's own, no terminal, an empty
//! stdin, and stdout and stderr that are captured up to a bound.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use super::CallState;
use super::gate::{HARMLESS, HostFunction};
use crate::audit::event::{Decision, HostCallOutcome};
use crate::policy::Rule;
use crate::sandbox::bindings::wasi::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
    terminal_stdin, terminal_stdout,
};

macro_rules! functions {
    ($($module:ident $interface:literal { $($constant:ident = $name:literal;)* })*) => {
        $(mod $module {
            crate::sandbox::capabilities::gate::host_functions! { $interface: $($constant = $name;)* }
        })*
        /// The functions of `wasi:cli`.
        pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[$($module::ALL),*];
    };
}

functions! {
    env "wasi:cli/environment" {
        GET_ENVIRONMENT = "get-environment";
        GET_ARGUMENTS = "get-arguments";
        INITIAL_CWD = "initial-cwd";
    }
    leave "wasi:cli/exit" { EXIT = "exit"; EXIT_WITH_CODE = "exit-with-code"; }
    input "wasi:cli/stdin" { GET_STDIN = "get-stdin"; }
    output "wasi:cli/stdout" { GET_STDOUT = "get-stdout"; }
    errors "wasi:cli/stderr" { GET_STDERR = "get-stderr"; }
    tty_input "wasi:cli/terminal-stdin" { GET_TERMINAL_STDIN = "get-terminal-stdin"; }
    tty_output "wasi:cli/terminal-stdout" { GET_TERMINAL_STDOUT = "get-terminal-stdout"; }
    tty_errors "wasi:cli/terminal-stderr" { GET_TERMINAL_STDERR = "get-terminal-stderr"; }
}

/// The guest asked to end. A tool answers instead, so this is its error, whatever the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tool exited with status {0} instead of answering")]
pub(crate) struct Exited(pub(crate) u8);

/// What a guest wrote to stdout and stderr, up to the bound that both share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stdio(Arc<Mutex<Captured>>);

/// The captured bytes.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Bytes written, those beyond the bound included.
    pub(crate) written: u64,
    bytes_max: u64,
}

/// Which of the two.
#[derive(Clone, Copy, Debug)]
enum Channel {
    Stdout,
    Stderr,
}

impl Stdio {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Captured { bytes_max, ..Captured::default() })))
    }

    /// Bytes written so far, those beyond the bound included.
    pub(crate) fn written(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).written
    }

    /// Takes what was captured.
    pub(crate) fn take(&self) -> Captured {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, channel: Channel, bytes: &[u8]) {
        let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = captured.bytes_max.saturating_sub(captured.written);
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        captured.written = captured.written.saturating_add(bytes.len() as u64);
        match channel {
            Channel::Stdout => captured.stdout.extend_from_slice(&bytes[..kept]),
            Channel::Stderr => captured.stderr.extend_from_slice(&bytes[..kept]),
        }
    }
}

impl Captured {
    /// Whether some of it was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.written > self.bytes_max
    }
}

/// A guest's stdout or stderr.
struct CapturedStream(Stdio, Channel);

#[async_trait]
impl Pollable for CapturedStream {
    async fn ready(&mut self) {}
}

impl OutputStream for CapturedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(self.1, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(super::io::WRITE_BYTES_MAX)
    }
}

/// A guest's stdin: at its end from the beginning.
struct EmptyStream;

#[async_trait]
impl Pollable for EmptyStream {
    async fn ready(&mut self) {}
}

impl InputStream for EmptyStream {
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        Err(StreamError::Closed)
    }
}

impl environment::Host for CallState {
    async fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        let mut variables: Vec<(String, String)> = Vec::new();
        let mut rule = None;
        for given in &self.rules {
            let variable = match &given.rule {
                Rule::Environment(variable) => variable,
                Rule::Http(_)
                | Rule::Invoke(_)
                | Rule::Keyvalue(_)
                | Rule::Config(_)
                | Rule::Arguments(_)
                | Rule::Tcp(_)
                | Rule::Udp(_)
                | Rule::Dns(_)
                | Rule::Secrets(_) => continue,
            };
            // Of several for one name, the first counts.
            if !variables.iter().any(|(name, _)| *name == variable.name) {
                variables.push((variable.name.clone(), variable.value.clone()));
                rule.get_or_insert_with(|| given.name());
            }
        }
        let bytes = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.told(env::GET_ENVIRONMENT, rule, bytes).await?;
        Ok(variables)
    }

    async fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        // Of several lists, the first counts.
        let given = self.rules.iter().find_map(|given| match &given.rule {
            Rule::Arguments(rule) => Some((rule.arguments.clone(), given.name())),
            Rule::Http(_)
            | Rule::Invoke(_)
            | Rule::Keyvalue(_)
            | Rule::Config(_)
            | Rule::Environment(_)
            | Rule::Tcp(_)
            | Rule::Udp(_)
            | Rule::Dns(_)
            | Rule::Secrets(_) => None,
        });
        let (arguments, rule) = given.unzip();
        let arguments: Vec<String> = arguments.unwrap_or_default();
        let bytes = arguments.iter().map(String::len).sum();
        self.told(env::GET_ARGUMENTS, rule, bytes).await?;
        Ok(arguments)
    }

    async fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        self.harmless(env::INITIAL_CWD, |_| Ok(None)).await
    }
}

impl exit::Host for CallState {
    async fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        self.harmless(leave::EXIT, |_| Err(Exited(u8::from(status.is_err())).into())).await
    }

    async fn exit_with_code(&mut self, status: u8) -> wasmtime::Result<()> {
        self.harmless(leave::EXIT_WITH_CODE, |_| Err(Exited(status).into())).await
    }
}

impl stdin::Host for CallState {
    async fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        self.harmless(input::GET_STDIN, |state| state.push(Box::new(EmptyStream) as DynInputStream)).await
    }
}

impl CallState {
    /// Lets in and records a question of which something was granted, by this rule, or nothing, which is
    /// harmless.
    async fn told(
        &mut self,
        function: &'static HostFunction,
        rule: Option<String>,
        bytes: usize,
    ) -> wasmtime::Result<()> {
        let entered = self.gate.enter(function, None).await?;
        let decision = rule.map_or(HARMLESS, |rule| Decision::Allowed(Cow::Owned(rule)));
        self.gate.leave(entered, decision, HostCallOutcome::Ok, bytes as u64, 0);
        Ok(())
    }

    fn captured_stream(&mut self, channel: Channel) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream = CapturedStream(self.stdio.clone(), channel);
        self.push(Box::new(stream) as DynOutputStream)
    }
}

impl stdout::Host for CallState {
    async fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.harmless(output::GET_STDOUT, |state| state.captured_stream(Channel::Stdout)).await
    }
}

impl stderr::Host for CallState {
    async fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.harmless(errors::GET_STDERR, |state| state.captured_stream(Channel::Stderr)).await
    }
}

impl terminal_input::Host for CallState {}

impl terminal_input::HostTerminalInput for CallState {
    async fn drop(&mut self, terminal: Resource<terminal_input::TerminalInput>) -> wasmtime::Result<()> {
        self.delete(terminal).map(drop)
    }
}

impl terminal_output::Host for CallState {}

impl terminal_output::HostTerminalOutput for CallState {
    async fn drop(&mut self, terminal: Resource<terminal_output::TerminalOutput>) -> wasmtime::Result<()> {
        self.delete(terminal).map(drop)
    }
}

impl terminal_stdin::Host for CallState {
    async fn get_terminal_stdin(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<terminal_input::TerminalInput>>> {
        self.harmless(tty_input::GET_TERMINAL_STDIN, |_| Ok(None)).await
    }
}

impl terminal_stdout::Host for CallState {
    async fn get_terminal_stdout(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<terminal_output::TerminalOutput>>> {
        self.harmless(tty_output::GET_TERMINAL_STDOUT, |_| Ok(None)).await
    }
}

impl terminal_stderr::Host for CallState {
    async fn get_terminal_stderr(
        &mut self,
    ) -> wasmtime::Result<Option<Resource<terminal_output::TerminalOutput>>> {
        self.harmless(tty_errors::GET_TERMINAL_STDERR, |_| Ok(None)).await
    }
}
