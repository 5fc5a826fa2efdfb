//! Which peers a tool may reach by TCP and UDP, and which names it may look up. What they resolve to is
//! judged where they are connected to.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listed;
use crate::egress::{HostPattern, UrlHost};

/// Peers of TCP or UDP: any of the hosts, at any of the ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SocketRule {
    /// Names and addresses: 1 to 256. The lookup of a name is allowed with it.
    pub hosts: BTreeSet<HostPattern>,
    /// Ports: 1 to 256, never 0.
    pub ports: BTreeSet<u16>,
    /// Ranges that the addresses may lie in, beside the public internet: at most 256.
    #[schemars(with = "BTreeSet<String>")]
    pub addresses: BTreeSet<IpNet>,
}

impl SocketRule {
    /// Whether it names a host, whatever the port.
    pub fn names(&self, host: &UrlHost) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

impl fmt::Display for SocketRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("to ")?;
        listed(f, &self.hosts)?;
        f.write_str(if self.ports.len() == 1 { " at port " } else { " at ports " })?;
        listed(f, &self.ports)?;
        if !self.addresses.is_empty() {
            f.write_str(", also in ")?;
            listed(f, &self.addresses)?;
        }
        Ok(())
    }
}

/// Names that may be looked up, without connecting to what they stand for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct DnsRule {
    /// The names: 1 to 256, and no addresses.
    pub names: BTreeSet<HostPattern>,
}

impl DnsRule {
    /// Whether it names a host.
    pub fn names(&self, host: &UrlHost) -> bool {
        self.names.iter().any(|pattern| pattern.matches(host))
    }
}

impl fmt::Display for DnsRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("look up ")?;
        listed(f, &self.names)
    }
}
