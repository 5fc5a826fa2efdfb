//! Whom a call may reach: the judge of addresses of sockets. Pure.
//!
//! An address may be connected to if a rule names it and the port, or if a name that the rule names was
//! looked up in this very call, and the answer, judged as a whole, had it. Nothing is looked up between
//! that judgement and the connection, so that an answer that changes changes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::egress::{RefusedAddress, UrlHost, judge_address};
use crate::policy::{AuthorizedRule, Rule, SocketRule};

/// The most addresses that a call remembers of its lookups.
const FOUND_MAX: usize = 4_096;

/// Which kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    fn rule_of(self, rule: &Rule) -> Option<&SocketRule> {
        match (self, rule) {
            (Protocol::Tcp, Rule::Tcp(rule)) | (Protocol::Udp, Rule::Udp(rule)) => Some(rule),
            (Protocol::Tcp | Protocol::Udp, _) => None,
        }
    }

    /// The first rule for this kind of socket.
    pub(super) fn any_rule(self, rules: &[AuthorizedRule]) -> Option<&AuthorizedRule> {
        rules.iter().find(|given| self.rule_of(&given.rule).is_some())
    }
}

/// The judged answers of this call's lookups: by the place of the rule that allowed one and by address,
/// the name.
#[derive(Debug, Default)]
pub(crate) struct Found(BTreeMap<(usize, IpAddr), Arc<str>>);

/// A rule that names a host, and the ranges that its addresses may lie in.
#[derive(Debug)]
pub(super) struct Naming {
    index: usize,
    pub(super) granted: Vec<IpNet>,
}

/// The rules by which a name may be looked up.
pub(super) fn naming(rules: &[AuthorizedRule], host: &UrlHost) -> Vec<Naming> {
    let naming = |(index, given): (usize, &AuthorizedRule)| match &given.rule {
        Rule::Tcp(rule) | Rule::Udp(rule) => {
            rule.names(host).then(|| Naming { index, granted: ranges(rule) })
        }
        Rule::Dns(rule) => rule.names(host).then(|| Naming { index, granted: Vec::new() }),
        Rule::Http(_)
        | Rule::Invoke(_)
        | Rule::Keyvalue(_)
        | Rule::Config(_)
        | Rule::Environment(_)
        | Rule::Arguments(_)
        | Rule::Secrets(_) => None,
    };
    rules.iter().enumerate().filter_map(naming).collect()
}

impl Naming {
    /// The rule's name in the log.
    pub(super) fn rule(&self, rules: &[AuthorizedRule]) -> Cow<'static, str> {
        Cow::Owned(rules[self.index].name())
    }
}

fn ranges(rule: &SocketRule) -> Vec<IpNet> {
    rule.addresses.iter().copied().collect()
}

impl Found {
    /// Whether there is no room for another answer.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= FOUND_MAX
    }

    /// Remembers an answer for each rule by which all of its addresses may be connected to.
    ///
    /// # Errors
    /// [`RefusedAddress`] if there is no such rule: one address of the answer is enough to refuse all.
    pub(super) fn remember(
        &mut self,
        name: &str,
        answer: &[IpAddr],
        naming: &[Naming],
    ) -> Result<(), RefusedAddress> {
        let mut refused = None;
        let mut is_reachable = false;
        let name = Arc::<str>::from(name);
        for Naming { index, granted } in naming {
            match answer.iter().try_for_each(|address| judge_address(*address, granted)) {
                Ok(()) => {
                    is_reachable = true;
                    self.0.extend(answer.iter().map(|address| ((*index, *address), Arc::clone(&name))));
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(refused) if !is_reachable => Err(refused),
            Some(_) | None => Ok(()),
        }
    }

    /// By which rule a peer may be reached, and by which name it was found.
    pub(super) fn reach<'r>(
        &self,
        rules: &'r [AuthorizedRule],
        protocol: Protocol,
        peer: SocketAddr,
    ) -> Option<(&'r AuthorizedRule, Option<&Arc<str>>)> {
        let address = peer.ip().to_canonical();
        let host = UrlHost::Address(address);
        rules.iter().enumerate().find_map(|(index, given)| {
            let rule = protocol.rule_of(&given.rule)?;
            if !rule.ports.contains(&peer.port()) {
                return None;
            }
            if let Some(name) = self.0.get(&(index, address)) {
                return Some((given, Some(name)));
            }
            (rule.names(&host) && judge_address(address, &ranges(rule)).is_ok()).then_some((given, None))
        })
    }
}

/// How the log names a peer: `tcp db.example.com 10.1.2.3:5432`, and without the name where there is none.
pub(super) fn subject(protocol: Protocol, name: Option<&Arc<str>>, peer: SocketAddr) -> Arc<str> {
    let protocol = protocol.name();
    Arc::from(match name {
        Some(name) => format!("{protocol} {name} {peer}"),
        None => format!("{protocol} {peer}"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::DnsRule;

    fn set<T: std::str::FromStr + Ord>(items: &[&str]) -> BTreeSet<T>
    where
        T::Err: std::fmt::Debug,
    {
        items.iter().map(|item| item.parse().expect("well formed")).collect()
    }

    fn rule(hosts: &[&str], ports: &[u16], addresses: &[&str]) -> SocketRule {
        SocketRule { hosts: set(hosts), ports: ports.iter().copied().collect(), addresses: set(addresses) }
    }

    fn given(rules: Vec<Rule>) -> Vec<AuthorizedRule> {
        let given = |(index, rule)| AuthorizedRule { grant: crate::ids::GrantId(1), index, rule };
        rules.into_iter().enumerate().map(given).collect()
    }

    fn name(text: &str) -> UrlHost {
        UrlHost::parse(text).expect("a name")
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    /// Whether a peer may be reached after a name was found to have some addresses.
    fn reaches(
        rules: &[AuthorizedRule],
        host: &str,
        answer: &[&str],
        protocol: Protocol,
        peer: &str,
    ) -> bool {
        let mut found = Found::default();
        // What is refused is not remembered.
        let _ = found.remember(host, &ips(answer), &naming(rules, &name(host)));
        found.reach(rules, protocol, peer.parse().expect("a peer")).is_some()
    }

    #[test]
    fn an_answer_is_reached_by_the_rule_that_named_it_at_its_ports() {
        let rules = given(vec![Rule::Tcp(rule(&["db.example.com"], &[5432], &[]))]);
        let tcp = Protocol::Tcp;
        assert!(reaches(&rules, "db.example.com", &["8.8.8.8"], tcp, "8.8.8.8:5432"));
        assert!(!reaches(&rules, "db.example.com", &["8.8.8.8"], tcp, "8.8.8.8:5433"), "another port");
        assert!(!reaches(&rules, "db.example.com", &["8.8.8.8"], tcp, "8.8.4.4:5432"), "another address");
        assert!(!reaches(&rules, "db.example.com", &["8.8.8.8"], Protocol::Udp, "8.8.8.8:5432"));
        assert!(!reaches(&rules, "evil.example.com", &["8.8.8.8"], tcp, "8.8.8.8:5432"), "another name");
        assert!(Found::default().reach(&rules, tcp, "8.8.8.8:5432".parse().expect("a peer")).is_none());
    }

    #[test]
    fn one_refused_address_refuses_the_whole_answer() {
        let rules = given(vec![Rule::Tcp(rule(&["*.example.com"], &[80], &[]))]);
        for refused in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "0.0.0.0"]
        {
            let answer = ["8.8.8.8", refused];
            assert!(!reaches(&rules, "a.example.com", &answer, Protocol::Tcp, "8.8.8.8:80"), "{refused}");
        }
    }

    #[test]
    fn the_ranges_of_one_rule_are_not_those_of_another() {
        let rules = given(vec![
            Rule::Tcp(rule(&["a.example.com"], &[80], &["10.0.0.0/8"])),
            Rule::Tcp(rule(&["*.example.com"], &[81], &["127.0.0.0/8"])),
            Rule::Dns(DnsRule { names: set(&["*.example.com"]) }),
        ]);
        let tcp = Protocol::Tcp;
        assert!(reaches(&rules, "a.example.com", &["10.0.0.1"], tcp, "10.0.0.1:80"));
        assert!(!reaches(&rules, "a.example.com", &["10.0.0.1"], tcp, "10.0.0.1:81"));
        assert!(reaches(&rules, "a.example.com", &["127.0.0.1"], tcp, "127.0.0.1:81"));
        // Each has its range, and no rule has both.
        let mut found = Found::default();
        let refused = found.remember(
            "a.example.com",
            &ips(&["10.0.0.1", "127.0.0.1"]),
            &naming(&rules, &name("a.example.com")),
        );
        assert!(refused.is_err() && found.0.is_empty());
        // A name that may only be looked up can't be connected to.
        let rules = given(vec![Rule::Dns(DnsRule { names: set(&["*.example.com"]) })]);
        assert!(!reaches(&rules, "a.example.com", &["8.8.8.8"], tcp, "8.8.8.8:80"));
    }

    #[test]
    fn an_address_is_reached_if_a_rule_names_it() {
        let rules = given(vec![Rule::Udp(rule(&["10.1.2.3", "::1"], &[53], &["10.1.2.3/32", "::1/128"]))]);
        let reach = |peer: &str| {
            let peer = peer.parse().expect("a peer");
            Found::default().reach(&rules, Protocol::Udp, peer).is_some()
        };
        assert!(reach("10.1.2.3:53") && reach("[::1]:53") && reach("[::ffff:10.1.2.3]:53"));
        assert!(!reach("10.1.2.4:53") && !reach("10.1.2.3:54") && !reach("127.0.0.1:53"));
        // Named, and in no range: the judge has the last word.
        let rules = given(vec![Rule::Tcp(rule(&["127.0.0.1"], &[80], &["10.0.0.0/8"]))]);
        assert!(
            Found::default().reach(&rules, Protocol::Tcp, "127.0.0.1:80".parse().expect("one")).is_none()
        );
    }
}
