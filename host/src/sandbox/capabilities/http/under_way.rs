//! Exchanges whose request is with an open connection: the guest's own waiting drives them from there.
//!
//! The connection's task sends the request and reads the answer whatever the guest does, so all that is left is
//! to take the answer's head. A task of its own for that would be two more switches for each request, and has
//! the runtime wake another worker. An exchange that has yet to connect, or has a body to send, gets a task.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi_http::p2::types::HostFutureIncomingResponse;

use super::send::Answer;

/// What is left of an exchange.
pub(super) type Exchange = Pin<Box<dyn Future<Output = Answer> + Send>>;

enum Step {
    Waiting(Exchange),
    Answered(Box<Answer>),
    Taken,
}

/// An exchange, shared by the guest's handle of it and by what the guest waits with.
#[derive(Clone)]
struct Shared(Arc<Mutex<Step>>);

impl Shared {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Step::Waiting(exchange) = &mut *step {
            let answer = std::task::ready!(exchange.as_mut().poll(context));
            *step = Step::Answered(Box::new(answer));
        }
        Poll::Ready(())
    }

    fn take(&self) -> Option<Answer> {
        let mut step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *step, Step::Taken) {
            Step::Answered(answer) => Some(*answer),
            other => {
                *step = other;
                None
            }
        }
    }
}

/// What the guest waits with. A child of its handle.
pub(super) struct Answered(Shared);

#[async_trait]
impl Pollable for Answered {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.0.poll(context)).await;
    }
}

/// The exchanges of a call that its guest drives, by their handle's place in the table. Bounded by the call's
/// connections.
#[derive(Default)]
pub(super) struct UnderWay(HashMap<u32, Shared>);

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnderWay").field(&self.0.len()).finish()
    }
}

impl UnderWay {
    /// Begins to keep an exchange, of which the table has a handle that says nothing yet.
    pub(super) fn keep(&mut self, rep: u32, exchange: Exchange) {
        self.0.insert(rep, Shared(Arc::new(Mutex::new(Step::Waiting(exchange)))));
    }

    /// Breaks an exchange off, once the guest no longer waits for it.
    pub(super) fn forget(&mut self, rep: u32) {
        self.0.remove(&rep);
    }

    /// Breaks all off.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the answer is still awaited. One that has come is put into the handle, and is no longer ours.
    pub(super) fn is_awaited(
        &mut self,
        table: &mut ResourceTable,
        handle: &Resource<HostFutureIncomingResponse>,
    ) -> wasmtime::Result<bool> {
        let Some(shared) = self.0.get(&handle.rep()) else { return Ok(false) };
        // Whoever waits polls again, and is woken then.
        if shared.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(true);
        }
        if let Some(answer) = shared.take() {
            *table.get_mut(handle)? = HostFutureIncomingResponse::Ready(answer);
        }
        self.0.remove(&handle.rep());
        Ok(false)
    }

    /// What the guest waits with, if the exchange is ours still.
    pub(super) fn waiting(&self, rep: u32) -> Option<Answered> {
        self.0.get(&rep).cloned().map(Answered)
    }
}
