//! The one door: every import of every tool comes through here to be counted, decided, recorded,
//! performed and recorded again.
//!
//! A capability asks the gate before it does anything ([`Gate::enter`]) and tells it what came of it
//! ([`Gate::leave`], or [`Gate::attempt`] and [`Gate::finish`] around an effect). The gate never
//! performs anything itself, and never asks policy: powers are handles that were narrowed before the
//! guest started.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use crate::audit::event::{
    Attempt, CallOutcome, Decision, HostCall, HostCallOutcome, HostCallResult, LeakAction, LeakPlace,
    SecretInjected, SecretLeak,
};
use crate::audit::{LogError, Recorder};
use crate::ids::Sequence;
use crate::limits::{CallLimits, Limit, LimitReached, Usage};
use crate::secrets::{CallSecrets, Ending, Leak};

/// One function that a guest can import.
#[derive(Debug)]
pub(crate) struct HostFunction {
    /// Without the version, such as `wasi:clocks/wall-clock`.
    pub(crate) interface: &'static str,
    /// As WIT writes it, such as `[method]descriptor.read`.
    pub(crate) name: &'static str,
    /// Whether it changes the world outside the sandbox.
    pub(crate) effect: EffectClass,
}

/// Whether a function changes the world outside the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EffectClass {
    /// It never does: one record, after it.
    Never,
    /// It does unless it is refused: a record before it and one after it.
    Always,
    /// Its arguments say: `open-at` with `create` or `truncate`.
    ByArguments,
}

/// Declares the functions of one interface as constants.
macro_rules! host_functions {
    ($interface:literal: $($constant:ident = $name:literal $(, $effect:ident)?;)*) => {
        $(
            pub(crate) const $constant: &crate::sandbox::capabilities::gate::HostFunction =
                &crate::sandbox::capabilities::gate::HostFunction {
                    interface: $interface,
                    name: $name,
                    effect: $crate::sandbox::capabilities::gate::host_functions!(@effect $($effect)?),
                };
        )*
        /// All functions of the interface.
        pub(crate) const ALL: &[&crate::sandbox::capabilities::gate::HostFunction] = &[$($constant),*];
    };
    (@effect) => { crate::sandbox::capabilities::gate::EffectClass::Never };
    (@effect $effect:ident) => { crate::sandbox::capabilities::gate::EffectClass::$effect };
}
pub(crate) use host_functions;

/// The rule that lets through what reaches nothing outside the sandbox.
pub(crate) const HARMLESS: Decision = Decision::Allowed(Cow::Borrowed("harmless"));

/// A host call that was let in and must be let out again.
#[derive(Debug)]
#[must_use = "each host call that enters must leave, or it has no record"]
pub(crate) struct Entered(());

/// An effect whose attempt is in the log, and whose outcome must follow.
#[derive(Debug)]
#[must_use = "an attempt without its outcome reads \"unknown\""]
pub(crate) struct Attempted {
    sequence: Sequence,
    started: Instant,
    bytes_out: u64,
}

/// The host call that is under way. A guest has one at most.
#[derive(Debug)]
struct UnderWay {
    function: &'static HostFunction,
    subject: Option<Arc<str>>,
    started: Instant,
}

/// The door of one call.
#[derive(Debug)]
pub(crate) struct Gate {
    /// `None` before there is a call, and once its final record was handed over.
    recorder: Option<Recorder>,
    limits: CallLimits,
    /// What must not be in a record, nor leave in any other way that is looked at.
    secrets: Arc<CallSecrets>,
    usage: Usage,
    /// What the guest had when it called the host last.
    fuel_left: u64,
    resources: u64,
    under_way: Option<UnderWay>,
    /// The log did not take a record: the guest goes no further.
    failed: Option<LogError>,
}

impl Gate {
    pub(crate) fn new(recorder: Recorder, limits: CallLimits, secrets: Arc<CallSecrets>) -> Self {
        Self::of(Some(recorder), limits, secrets)
    }

    /// The door of a sandbox that has no call: nothing is let in.
    pub(crate) fn shut(limits: CallLimits) -> Self {
        Self::of(None, limits, Arc::default())
    }

    fn of(recorder: Option<Recorder>, limits: CallLimits, secrets: Arc<CallSecrets>) -> Self {
        Self {
            recorder,
            fuel_left: limits.fuel,
            limits,
            secrets,
            usage: Usage::default(),
            resources: 0,
            under_way: None,
            failed: None,
        }
    }

    /// The secrets that the call was given.
    pub(crate) fn secrets(&self) -> &Arc<CallSecrets> {
        &self.secrets
    }

    /// Records that a secret was about to leave, and what was done about it. A log that does not take the
    /// record ends the guest at its next host call, and its answer does not leave.
    pub(crate) fn leaked(&mut self, place: LeakPlace, leak: &Leak, action: LeakAction) {
        let Some(recorder) = &mut self.recorder else { return };
        let (secret, found_as) = (leak.secret.clone(), leak.encoding);
        if let Err(error) = recorder.leak(SecretLeak { secret, found_as, place, action }) {
            self.failed.get_or_insert(error);
        }
    }

    /// Records that a secret is put into a request, whose attempt takes this along to the kernel.
    pub(crate) fn injected(&mut self, injected: SecretInjected) {
        let Some(recorder) = &mut self.recorder else { return };
        if let Err(error) = recorder.injected(injected) {
            self.failed.get_or_insert(error);
        }
    }

    fn screened_decision(&mut self, decision: Decision) -> Decision {
        match decision {
            Decision::Denied(Cow::Owned(why)) => {
                Decision::Denied(Cow::Owned(self.screened(&why).unwrap_or(why)))
            }
            // A rule's name.
            Decision::Allowed(_) | Decision::Denied(Cow::Borrowed(_)) => decision,
        }
    }

    /// A text for a record, without secrets.
    fn screened(&mut self, text: &str) -> Option<String> {
        let (clean, leaks) = self.secrets.patterns().redact(text.as_bytes(), Ending::Whole)?;
        for leak in &leaks {
            self.leaked(LeakPlace::Record, leak, LeakAction::Redacted);
        }
        Some(String::from_utf8_lossy(&clean).into_owned())
    }

    fn screened_outcome(&mut self, outcome: HostCallOutcome) -> HostCallOutcome {
        match outcome {
            HostCallOutcome::Error(Cow::Owned(text)) => {
                HostCallOutcome::Error(Cow::Owned(self.screened(&text).unwrap_or(text)))
            }
            HostCallOutcome::Trapped(Cow::Owned(text)) => {
                HostCallOutcome::Trapped(Cow::Owned(self.screened(&text).unwrap_or(text)))
            }
            HostCallOutcome::Error(Cow::Borrowed(_))
            | HostCallOutcome::Trapped(Cow::Borrowed(_))
            | HostCallOutcome::Ok
            | HostCallOutcome::Unknown => outcome,
        }
    }

    /// The call's bounds.
    pub(crate) fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// Notes what fuel the guest has left as it calls the host: the records of that call say what was used.
    pub(crate) fn note_fuel(&mut self, left: u64) {
        self.fuel_left = left;
    }

    /// What was used so far.
    pub(crate) fn used(&self) -> &Usage {
        &self.usage
    }

    /// The same, to be counted on.
    pub(crate) fn usage(&mut self) -> &mut Usage {
        &mut self.usage
    }

    /// Lets a host call in, if the budget allows. Waits while the log is behind with this call's records.
    ///
    /// # Errors
    /// [`LimitReached`] for [`Limit::HostCalls`], which ends the call and is recorded; [`LogError`] if the
    /// log can't be written.
    pub(crate) async fn enter(
        &mut self,
        function: &'static HostFunction,
        subject: Option<Arc<str>>,
    ) -> wasmtime::Result<Entered> {
        self.keep_up().await?;
        self.enter_now(function, subject)
    }

    /// Waits while the log is behind with this call's records.
    ///
    /// # Errors
    /// If the log can't be written.
    pub(crate) async fn keep_up(&mut self) -> Result<(), LogError> {
        match self.recorder.as_mut().filter(|recorder| recorder.is_behind()) {
            // Seldom, and its future is large: inside those of all host calls it would be moved with each.
            Some(recorder) => Box::pin(recorder.flush()).await,
            None => Ok(()),
        }
    }

    /// The same without waiting, for traits that are not async. A guest that is too fast for the log
    /// then ends with [`LogError::Overloaded`].
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub(crate) fn enter_now(
        &mut self,
        function: &'static HostFunction,
        subject: Option<Arc<str>>,
    ) -> wasmtime::Result<Entered> {
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        if self.recorder.is_none() {
            wasmtime::bail!("a host call without a call");
        }
        let subject = subject.map(|subject| self.screened(&subject).map_or(subject, Arc::from));
        self.under_way = Some(UnderWay { function, subject, started: Instant::now() });
        if self.usage.host_calls >= self.limits.host_calls {
            let max = self.limits.host_calls;
            let denied = Decision::Denied(Cow::Borrowed("limit host_calls"));
            self.leave(Entered(()), denied, HostCallOutcome::Trapped(Cow::Borrowed("host_calls")), 0, 0);
            return Err(LimitReached { limit: Limit::HostCalls, value: max + 1, max }.into());
        }
        self.usage.host_calls += 1;
        Ok(Entered(()))
    }

    /// When the host call began that is under way.
    pub(crate) fn began(&self) -> Instant {
        self.under_way.as_ref().map_or_else(Instant::now, |call| call.started)
    }

    /// Records a host call that had no effect, with what came of it.
    pub(crate) fn leave(
        &mut self,
        entered: Entered,
        decision: Decision,
        outcome: HostCallOutcome,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let Entered(()) = entered;
        let (decision, outcome) = (self.screened_decision(decision), self.screened_outcome(outcome));
        let (Some(call), Some(recorder)) = (self.under_way.take(), &mut self.recorder) else { return };
        self.usage.copied_bytes_peak = self.usage.copied_bytes_peak.max(bytes_in).max(bytes_out);
        let fuel = self.limits.fuel.saturating_sub(self.fuel_left);
        let ended = Instant::now();
        let duration_ns = nanoseconds(call.started, ended);
        let host_call = HostCall {
            interface: Cow::Borrowed(call.function.interface),
            function: Cow::Borrowed(call.function.name),
            subject: call.subject,
            decision,
            result: HostCallResult { outcome, status: None, bytes_in, bytes_out, duration_ns },
            fuel,
            repeats: None,
        };
        if let Err(error) = recorder.observe(host_call, ended) {
            self.failed.get_or_insert(error);
        }
    }

    /// Records a host call that was refused with an error of its interface.
    pub(crate) fn deny(&mut self, entered: Entered, why: impl Into<Cow<'static, str>>, error: &'static str) {
        let outcome = HostCallOutcome::Error(Cow::Borrowed(error));
        self.leave(entered, Decision::Denied(why.into()), outcome, 0, 0);
    }

    /// Records that an effect is about to happen, and waits until the kernel has that record.
    ///
    /// # Errors
    /// If the log can't be written: the effect must not happen, and the call ends.
    pub(crate) async fn attempt(
        &mut self,
        entered: Entered,
        rule: Cow<'static, str>,
        bytes_out: u64,
    ) -> wasmtime::Result<Attempted> {
        let Entered(()) = entered;
        let (Some(call), Some(recorder)) = (self.under_way.take(), &mut self.recorder) else {
            wasmtime::bail!("a host call after the end of the call");
        };
        debug_assert_ne!(call.function.effect, EffectClass::Never, "{:?}", call.function);
        let attempt = Attempt {
            interface: Cow::Borrowed(call.function.interface),
            function: Cow::Borrowed(call.function.name),
            subject: call.subject,
            decision: Decision::Allowed(rule),
            bytes_out,
            fuel: self.limits.fuel.saturating_sub(self.fuel_left),
        };
        self.usage.copied_bytes_peak = self.usage.copied_bytes_peak.max(bytes_out);
        let sequence = recorder.attempt(attempt).await?;
        Ok(Attempted { sequence, started: call.started, bytes_out })
    }

    /// Records what came of an effect.
    pub(crate) fn finish(&mut self, attempted: Attempted, outcome: HostCallOutcome) {
        let outcome = self.screened_outcome(outcome);
        if let Some(recorder) = &mut self.recorder {
            let result = HostCallResult {
                outcome,
                status: None,
                bytes_in: 0,
                bytes_out: attempted.bytes_out,
                duration_ns: nanoseconds(attempted.started, Instant::now()),
            };
            recorder.effect_finished(attempted.sequence, result);
        }
    }

    /// Records what came of an exchange with another host, which ended some time ago.
    pub(crate) fn finish_exchange(
        &mut self,
        attempted: Attempted,
        outcome: HostCallOutcome,
        status: Option<u16>,
        (bytes_in, bytes_out): (u64, u64),
        ended: Instant,
    ) {
        let outcome = self.screened_outcome(outcome);
        if let Some(recorder) = &mut self.recorder {
            let duration_ns = nanoseconds(attempted.started, ended);
            let result = HostCallResult { outcome, status, bytes_in, bytes_out, duration_ns };
            recorder.effect_finished(attempted.sequence, result);
        }
    }

    /// Counts a handle that the guest is given.
    ///
    /// # Errors
    /// [`LimitReached`] for [`Limit::Resources`], which ends the call.
    pub(crate) fn count_resource(&mut self) -> Result<(), LimitReached> {
        let max = self.limits.resources;
        if self.resources >= max {
            return Err(LimitReached { limit: Limit::Resources, value: max + 1, max });
        }
        self.resources += 1;
        self.usage.resources_peak = self.usage.resources_peak.max(self.resources);
        Ok(())
    }

    /// Counts a handle that the guest dropped. Drops are not host calls and have no records.
    pub(crate) fn discount_resource(&mut self) {
        self.resources = self.resources.saturating_sub(1);
    }

    /// Takes the recorder for the final record, with what was used. A host call that is under way
    /// is recorded as unknown first.
    pub(crate) fn close(&mut self) -> Option<(Recorder, Usage)> {
        if self.under_way.is_some() {
            self.leave(
                Entered(()),
                Decision::Allowed(Cow::Borrowed("unfinished")),
                HostCallOutcome::Unknown,
                0,
                0,
            );
        }
        Some((self.recorder.take()?, self.usage.clone()))
    }
}

/// A call that is dropped in its midst is closed as cancelled.
impl Drop for Gate {
    fn drop(&mut self) {
        if let Some((recorder, usage)) = self.close() {
            recorder.cancel(CallOutcome::Cancelled, usage);
        }
    }
}

fn nanoseconds(started: Instant, ended: Instant) -> u64 {
    u64::try_from(ended.saturating_duration_since(started).as_nanos()).unwrap_or(u64::MAX)
}
