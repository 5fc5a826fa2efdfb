//! `portcullis:tool/secrets`: the values of secrets that a grant lets the tool see.
//!
//! Each use is recorded before the guest has the value, as an effect is: what it does with it later can't
//! be taken back.

use std::borrow::Cow;
use std::sync::Arc;

use super::{CallState, NOT_GRANTED, SUBJECT_BYTES_MAX};
use crate::audit::event::HostCallOutcome;
use crate::policy::{AuthorizedRule, Rule};
use crate::sandbox::bindings::portcullis::tool::secrets;
use crate::text::clean_line;

mod reads {
    crate::sandbox::capabilities::gate::host_functions! { "portcullis:tool/secrets":
        GET = "get", Always;
    }
}

/// The functions of `portcullis:tool/secrets`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[reads::ALL];

impl secrets::Host for CallState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, secrets::SecretError>> {
        let subject = Arc::from(clean_line(&name, SUBJECT_BYTES_MAX));
        let entered = self.gate.enter(reads::GET, Some(subject)).await?;
        let is_given = |given: &&AuthorizedRule| match &given.rule {
            Rule::Secrets(rule) => rule.name.as_str() == name,
            Rule::Http(_)
            | Rule::Invoke(_)
            | Rule::Keyvalue(_)
            | Rule::Config(_)
            | Rule::Environment(_)
            | Rule::Arguments(_)
            | Rule::Tcp(_)
            | Rule::Udp(_)
            | Rule::Dns(_) => false,
        };
        let Some(given) = self.rules.iter().find(is_given) else {
            self.gate.deny(entered, NOT_GRANTED, "not-permitted");
            return Ok(Err(secrets::SecretError::NotPermitted));
        };
        let attempted = self.gate.attempt(entered, Cow::Owned(given.name()), 0).await?;
        let secrets = Arc::clone(self.gate.secrets());
        let value = name.parse().ok().and_then(|name| secrets.value(&name));
        let Some(value) = value else {
            self.gate.finish(attempted, HostCallOutcome::Error(Cow::Borrowed("unavailable")));
            return Ok(Err(secrets::SecretError::Unavailable));
        };
        self.gate.finish(attempted, HostCallOutcome::Ok);
        Ok(Ok(value.expose().to_vec()))
    }
}
