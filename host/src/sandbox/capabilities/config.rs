//! `wasi:config`: the granted values.
//!
//! Without any, every question is refused: the interface has no error for that, and an empty answer would
//! say that the tool was set up without this key, which is something else; so the guest gets `upstream`, with the
//! reason as its text. Once some are granted, they are the tool's whole configuration: it is told that there is
//! no other key, so that a tool can ask for what it can do without, and the log says that it was refused.

use std::borrow::Cow;
use std::sync::Arc;

use super::{CallState, NOT_GRANTED, SUBJECT_BYTES_MAX};
use crate::audit::event::{Decision, HostCallOutcome};
use crate::policy::{AuthorizedRule, Rule, Setting};
use crate::sandbox::bindings::wasi::config::store;
use crate::text::clean_line;

mod reads {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:config/store":
        GET = "get";
        GET_ALL = "get-all";
    }
}

/// The functions of `wasi:config`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[reads::ALL];

/// What the log says that a guest got which asked for a key that is not among those granted.
const NONE: &str = "none";

fn refused() -> store::Error {
    store::Error::Upstream("not permitted: no configuration is granted".to_owned())
}

impl CallState {
    /// The granted values, with the rule of each. Of several for one key, the first counts.
    fn configuration(&self) -> Vec<(&Setting, &AuthorizedRule)> {
        let mut settings: Vec<(&Setting, &AuthorizedRule)> = Vec::new();
        for given in &self.rules {
            let setting = match &given.rule {
                Rule::Config(setting) => setting,
                Rule::Http(_)
                | Rule::Invoke(_)
                | Rule::Keyvalue(_)
                | Rule::Environment(_)
                | Rule::Arguments(_)
                | Rule::Tcp(_)
                | Rule::Udp(_)
                | Rule::Dns(_)
                | Rule::Secrets(_) => continue,
            };
            if !settings.iter().any(|(earlier, _)| earlier.name == setting.name) {
                settings.push((setting, given));
            }
        }
        settings
    }
}

impl store::Host for CallState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        let settings = self.configuration();
        let found = settings.iter().find(|(setting, _)| setting.name == key);
        let found = found.map(|(setting, given)| (setting.value.clone(), given.name()));
        if settings.is_empty() {
            self.refuse(reads::GET, Some(&key), "upstream").await?;
            return Ok(Err(refused()));
        }
        let subject = Arc::from(clean_line(&key, SUBJECT_BYTES_MAX));
        let entered = self.gate.enter(reads::GET, Some(subject)).await?;
        match found {
            Some((value, rule)) => {
                let allowed = Decision::Allowed(Cow::Owned(rule));
                self.gate.leave(entered, allowed, HostCallOutcome::Ok, value.len() as u64, 0);
                Ok(Ok(Some(value)))
            }
            None => {
                self.gate.deny(entered, NOT_GRANTED, NONE);
                Ok(Ok(None))
            }
        }
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        let settings = self.configuration();
        let Some((_, first)) = settings.first() else {
            self.refuse(reads::GET_ALL, None, "upstream").await?;
            return Ok(Err(refused()));
        };
        let rule = first.name();
        let pairs: Vec<_> =
            settings.iter().map(|(setting, _)| (setting.name.clone(), setting.value.clone())).collect();
        let entered = self.gate.enter(reads::GET_ALL, None).await?;
        let bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() as u64;
        self.gate.leave(entered, Decision::Allowed(Cow::Owned(rule)), HostCallOutcome::Ok, bytes, 0);
        Ok(Ok(pairs))
    }
}
