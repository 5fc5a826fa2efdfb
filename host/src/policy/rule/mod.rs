//! What a grant gives beside folders: one kind of rule for each capability, as plain data.
//!
//! A running call keeps a rule as long as what is in force has one that covers it. `Display` is the one line
//! that people read of a rule, wherever they meet it.

mod config;
mod http;
mod inject;
mod invoke;
mod keyvalue;
mod secret;
mod sockets;

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use config::{ArgumentsRule, Setting};
pub use http::{HttpMethod, HttpMethodError, HttpMismatch, HttpRule};
pub use inject::{BasicUser, InjectError, InjectedHeader, Injection, QueryKey, Template, TemplateError};
pub use invoke::InvokeRule;
pub use keyvalue::{KeyvalueRule, StoreScope};
pub use secret::{OnLeak, SecretRule};
pub use sockets::{DnsRule, SocketRule};

pub use crate::egress::{HostPattern, HostPatternError, PathPattern, PathPatternError, Scheme, UrlHost};

use crate::ids::SecretName;
use crate::package::Capability;

/// One power beside folders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rule {
    /// To send requests.
    Http(HttpRule),
    /// To call other tools.
    Invoke(InvokeRule),
    /// To keep state in a store.
    Keyvalue(KeyvalueRule),
    /// To be told one value of `wasi:config`.
    Config(Setting),
    /// To be told one variable of its environment.
    Environment(Setting),
    /// To be told its arguments.
    Arguments(ArgumentsRule),
    /// To connect by TCP.
    Tcp(SocketRule),
    /// To exchange datagrams by UDP.
    Udp(SocketRule),
    /// To look up names.
    Dns(DnsRule),
    /// To see the value of a secret.
    Secrets(SecretRule),
}

impl Rule {
    /// The key of its table in a grants file, such as `invoke`.
    pub fn kind(&self) -> &'static str {
        match self {
            Rule::Http(_) => "http",
            Rule::Invoke(_) => "invoke",
            Rule::Keyvalue(_) => "keyvalue",
            Rule::Config(_) => "config",
            Rule::Environment(_) => "environment",
            Rule::Arguments(_) => "arguments",
            Rule::Tcp(_) => "tcp",
            Rule::Udp(_) => "udp",
            Rule::Dns(_) => "dns",
            Rule::Secrets(_) => "secrets",
        }
    }

    /// What a component must declare to be given it.
    pub fn capability(&self) -> Capability {
        match self {
            Rule::Http(_) => Capability::Http,
            Rule::Invoke(_) => Capability::Tools,
            Rule::Keyvalue(_) => Capability::Keyvalue,
            Rule::Secrets(_) => Capability::Secrets,
            Rule::Config(_) | Rule::Environment(_) | Rule::Arguments(_) => Capability::Config,
            Rule::Tcp(_) | Rule::Udp(_) => Capability::Sockets,
            Rule::Dns(_) => Capability::Dns,
        }
    }

    /// Whether it gives all that a rule gives which a running call holds.
    pub fn covers(&self, held: &Rule) -> bool {
        match (self, held) {
            (Rule::Keyvalue(given), Rule::Keyvalue(held)) => given.covers(held),
            (
                Rule::Http(_)
                | Rule::Invoke(_)
                | Rule::Keyvalue(_)
                | Rule::Secrets(_)
                | Rule::Config(_)
                | Rule::Environment(_)
                | Rule::Arguments(_)
                | Rule::Tcp(_)
                | Rule::Udp(_)
                | Rule::Dns(_),
                _,
            ) => self == held,
        }
    }

    /// The rule for whoever made the call that loses it: without what an admin wrote in it.
    pub fn told(&self) -> Cow<'static, str> {
        match self {
            Rule::Http(_)
            | Rule::Invoke(_)
            | Rule::Keyvalue(_)
            | Rule::Tcp(_)
            | Rule::Udp(_)
            | Rule::Dns(_)
            | Rule::Secrets(_) => Cow::Owned(self.to_string()),
            Rule::Config(_) => Cow::Borrowed("a value of its configuration"),
            Rule::Environment(_) => Cow::Borrowed("a variable of its environment"),
            Rule::Arguments(_) => Cow::Borrowed("its arguments"),
        }
    }

    /// The secrets that it gives, to see them or to use them unseen, and what is done where one is about
    /// to leave.
    pub fn secrets(&self) -> Vec<(&SecretName, OnLeak)> {
        match self {
            Rule::Http(rule) => {
                let of_all = rule.inject.iter().flat_map(Injection::secrets);
                of_all.map(|name| (name, rule.on_leak)).collect()
            }
            Rule::Invoke(_)
            | Rule::Keyvalue(_)
            | Rule::Config(_)
            | Rule::Environment(_)
            | Rule::Arguments(_)
            | Rule::Tcp(_)
            | Rule::Udp(_)
            | Rule::Dns(_) => Vec::new(),
            Rule::Secrets(rule) => vec![(&rule.name, rule.on_leak)],
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Http(rule) => rule.fmt(f),
            Rule::Invoke(rule) => rule.fmt(f),
            Rule::Keyvalue(rule) => rule.fmt(f),
            Rule::Config(setting) => write!(f, "configuration {setting}"),
            Rule::Environment(setting) => write!(f, "environment variable {setting}"),
            Rule::Arguments(rule) => rule.fmt(f),
            Rule::Tcp(rule) => write!(f, "TCP {rule}"),
            Rule::Udp(rule) => write!(f, "UDP {rule}"),
            Rule::Dns(rule) => rule.fmt(f),
            Rule::Secrets(rule) => rule.fmt(f),
        }
    }
}

/// Writes a list with commas.
fn listed<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl IntoIterator<Item = T>) -> fmt::Result {
    for (index, item) in items.into_iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}
