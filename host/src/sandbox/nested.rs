//! A tool that calls a tool: what a guest asks, and what it is told.
//!
//! The sandbox lets a guest ask for what its rules name, and the gateway, which waits for the guest's own
//! call, makes the other one. They speak by messages of plain data, so that a sandbox can live elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::invocation::ToolAnswer;
use crate::audit::LogError;
use crate::ids::{PackageName, ToolName};
use crate::limits::LimitReached;

/// A tool that is running, as an ancestor of a nested call.
pub type Ancestor = (PackageName, ToolName);

/// What a call knows of the calls around it.
#[derive(Clone, Debug)]
pub struct Nesting {
    /// The calls that led to this one, the agent's own first, and itself last: never empty.
    pub ancestors: Arc<[Ancestor]>,
    /// The most calls within each other: what the strictest of the ancestors' grants allows.
    pub depth_max: u64,
    /// Where to ask for another call; `None` if no rule allows one.
    pub orders: Option<mpsc::Sender<NestedOrder>>,
}

impl Nesting {
    /// Of a call that may call no other.
    pub fn alone(package: PackageName, tool: ToolName) -> Self {
        Self { ancestors: Arc::new([(package, tool)]), depth_max: 1, orders: None }
    }
}

/// What a nested call may use: what its caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Wasmtime fuel.
    pub fuel: u64,
    /// Elapsed time.
    pub wall_time: Duration,
}

/// A call that a guest asks for, as its rules allow.
#[derive(Debug)]
pub struct NestedOrder {
    /// The package.
    pub package: PackageName,
    /// Its tool.
    pub tool: ToolName,
    /// The guest's text: a JSON object, if it is good.
    pub arguments: String,
    /// What it may use.
    pub budget: Budget,
    /// Where the outcome goes.
    pub answer: oneshot::Sender<NestedOutcome>,
}

/// What came of a nested call.
#[derive(Debug)]
pub struct NestedOutcome {
    /// The fuel that it used, which is its caller's.
    pub fuel: u64,
    /// The answer, or why there is none.
    pub result: Result<ToolAnswer, NestedError>,
}

/// Why a nested call gave no answer. The texts are for the guest.
#[derive(Debug, thiserror::Error)]
pub enum NestedError {
    /// The agent may not call it.
    #[error("{0}")]
    Denied(String),
    /// There is no such package or tool.
    #[error("{0}")]
    NotFound(String),
    /// The arguments do not fit.
    #[error("{0}")]
    Arguments(String),
    /// No room for it now.
    #[error("{0}")]
    Refused(String),
    /// A limit ended it.
    #[error(transparent)]
    LimitReached(LimitReached),
    /// It failed, or was stopped.
    #[error("{0}")]
    Failed(String),
    /// The log can't be written: the caller ends too.
    #[error(transparent)]
    Log(LogError),
}
