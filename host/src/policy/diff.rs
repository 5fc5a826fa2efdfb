//! What a change of grants means: which grants begin and end, and what each agent may do more and less.
//!
//! Pure. Judges each tool of each agent by the same union of grants as [`authorize`](super::authorize)
//! does, before the change and after it, and says what differs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authorize::{
    bounded, limit_in, limit_of, united_clock, united_folders, united_limits, united_rules, width,
};
use super::grant::{Access, AgentSelector, ClockRule, FilesystemRule, Grant, Policy};
use super::parse::Diagnostic;
use super::rule::Rule;
use crate::ids::{GrantId, GroupName, PackageDigest, PackageName, PrincipalId, Revision, ToolName};
use crate::limits::{HostLimits, Limit};
use crate::package::{Capability, PackageDescription};

/// The most pairs of agent and grant that are looked at, on each side.
const PAIRS_MAX: usize = 100_000;

/// The most agents, each for one package, whose powers are told.
const AGENTS_MAX: usize = 200;

/// The bytes of each package that may run, and what they are.
pub type Approved<'a> = BTreeMap<&'a PackageName, (PackageDigest, &'a PackageDescription)>;

/// What applying a grants file changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantsDiff {
    /// The revision that the file was compared with.
    pub revision: Revision,
    /// Whether it changes anything.
    pub changes: bool,
    /// Grants that begin.
    pub granted: Vec<GrantHead>,
    /// Grants that end.
    pub ended: Vec<GrantHead>,
    /// Grants of the packages in the file that stay as they are.
    pub unchanged: Vec<GrantId>,
    /// Groups whose members change.
    pub groups: Vec<GroupName>,
    /// What agents may do more and less, by agent and package. Grants may change without that.
    pub agents: Vec<AgentDiff>,
    /// Whether these are all agents whose powers change: more than 200 are not told.
    pub is_whole: bool,
    /// What may be a slip, each with its place in the file.
    pub warnings: Vec<Diagnostic>,
}

/// A grant in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantHead {
    /// Its number. That of a grant which is not in force yet is the one that it would have now.
    pub id: GrantId,
    /// The package it is for.
    pub package: PackageName,
    /// Whom it is for.
    pub agents: Vec<AgentSelector>,
}

/// What changes for one agent and one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentDiff {
    /// The agent.
    pub agent: PrincipalId,
    /// The package.
    pub package: PackageName,
    /// What it may do more.
    pub widens: Vec<ToolChange>,
    /// What it may do less.
    pub narrows: Vec<ToolChange>,
}

/// A change of power, and the tools that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolChange {
    /// The tools; `None` means all that the agent may call in the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolName>>,
    /// The change.
    #[serde(flatten)]
    pub change: PowerChange,
}

/// What changes. `from` is what is in force, `to` what would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "power", rename_all = "snake_case")]
pub enum PowerChange {
    /// Whether the tool can be called at all.
    Call,
    /// A folder that is seen or is not.
    Folder {
        /// Where the guest sees it.
        guest_path: String,
        /// What may, or might, be done there.
        access: Access,
    },
    /// Another folder of the host at the same place: something new is seen, something is not any more.
    HostFolder {
        /// Where the guest sees it.
        guest_path: String,
        /// The folder on the host.
        from: PathBuf,
        /// The folder on the host.
        to: PathBuf,
    },
    /// What may be done in a folder.
    Access {
        /// Where the guest sees it.
        guest_path: String,
        /// What may be done.
        from: Access,
        /// What may be done.
        to: Access,
    },
    /// Room in a folder.
    Quota {
        /// Where the guest sees it.
        guest_path: String,
        /// Bytes or entries.
        limit: Limit,
        /// How many.
        from: u64,
        /// How many.
        to: u64,
    },
    /// A rule of any other kind.
    Rule {
        /// As people read it.
        rule: String,
    },
    /// How exactly the time is told; `None` is as exactly as the host knows it.
    Clock {
        /// How.
        from: Option<ClockRule>,
        /// How.
        to: Option<ClockRule>,
    },
    /// A limit. Durations are in milliseconds.
    Limit {
        /// Which.
        limit: Limit,
        /// Its value.
        from: u64,
        /// Its value.
        to: u64,
    },
    /// When a power ends; `None` means never.
    Expires {
        /// Which power: `call`, `clock`, a guest path, a limit, or a rule as people read it.
        what: String,
        /// When.
        from: Option<Timestamp>,
        /// When.
        to: Option<Timestamp>,
    },
}

impl fmt::Display for PowerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = |access: &Access| match access {
            Access::Read => "read",
            Access::ReadWrite => "read and write",
        };
        let moment = |moment: &Option<Timestamp>| match moment {
            Some(moment) => moment.to_string(),
            None => "never".to_owned(),
        };
        match self {
            PowerChange::Call => f.write_str("call"),
            PowerChange::Folder { guest_path, access: may } => write!(f, "{} {guest_path}", access(may)),
            PowerChange::HostFolder { guest_path, from, to } => {
                write!(f, "{guest_path} is {} instead of {}", to.display(), from.display())
            }
            PowerChange::Access { guest_path, from, to } => {
                write!(f, "{guest_path}: {} instead of {}", access(to), access(from))
            }
            PowerChange::Quota { guest_path, limit, from, to } => {
                write!(f, "{guest_path}: {to} {} instead of {from}", limit.row().unit)
            }
            PowerChange::Rule { rule } => f.write_str(rule),
            PowerChange::Clock { from, to } => {
                let told = |clock: &Option<ClockRule>| {
                    clock.map_or_else(|| "the exact time".to_owned(), |clock| clock.to_string())
                };
                write!(f, "{} instead of {}", told(to), told(from))
            }
            PowerChange::Limit { limit, from, to } => {
                write!(f, "{limit}: {to} {} instead of {from}", limit.row().unit)
            }
            PowerChange::Expires { what, from, to } => {
                write!(f, "{what} expires: {} instead of {}", moment(to), moment(from))
            }
        }
    }
}

/// Compares what is in force with what would be.
///
/// Of the agents' powers, [`AGENTS_MAX`] are told. A grant that is bound to other bytes than those
/// approved, or has expired, gives nothing on either side.
pub fn diff(
    before: &Policy,
    after: &Policy,
    approved: &Approved<'_>,
    packages: &BTreeSet<&PackageName>,
    limits: &HostLimits,
    now: Timestamp,
) -> GrantsDiff {
    let has =
        |policy: &Policy, id: GrantId| policy.grants.binary_search_by_key(&id, |grant| grant.id).is_ok();
    let granted: Vec<GrantHead> =
        after.grants.iter().filter(|grant| !has(before, grant.id)).map(head).collect();
    let ended: Vec<GrantHead> =
        before.grants.iter().filter(|grant| !has(after, grant.id)).map(head).collect();
    let unchanged = before.grants.iter().filter(|grant| packages.contains(&grant.package));
    let groups: BTreeSet<&GroupName> = before.groups.keys().chain(after.groups.keys()).collect();
    let groups: Vec<GroupName> = groups
        .into_iter()
        .filter(|name| before.groups.get(*name) != after.groups.get(*name))
        .cloned()
        .collect();
    let (agents, is_whole) = agents(before, after, approved, limits, now);
    GrantsDiff {
        revision: before.revision,
        changes: !(granted.is_empty() && ended.is_empty() && groups.is_empty()),
        unchanged: unchanged.map(|grant| grant.id).filter(|id| has(after, *id)).collect(),
        granted,
        ended,
        groups,
        agents,
        is_whole,
        warnings: Vec::new(),
    }
}

fn head(grant: &Grant) -> GrantHead {
    GrantHead { id: grant.id, package: grant.package.clone(), agents: grant.terms.agents.clone() }
}

/// What changes for each agent, and whether that is all.
fn agents(
    before: &Policy,
    after: &Policy,
    approved: &Approved<'_>,
    limits: &HostLimits,
    now: Timestamp,
) -> (Vec<AgentDiff>, bool) {
    let (before, before_is_whole) = before.grants_by_agent(PAIRS_MAX);
    let (after, after_is_whole) = after.grants_by_agent(PAIRS_MAX);
    let names: BTreeSet<&PrincipalId> = before.keys().chain(after.keys()).copied().collect();
    let mut changed = Vec::new();
    for agent in names {
        let before = before.get(agent).map_or(&[][..], Vec::as_slice);
        let after = after.get(agent).map_or(&[][..], Vec::as_slice);
        if ids(before) == ids(after) {
            continue;
        }
        let packages: BTreeSet<&PackageName> =
            before.iter().chain(after).map(|grant| &grant.package).collect();
        for package in packages {
            let Some((digest, description)) = approved.get(package) else { continue };
            let before = live(before, package, *digest, now);
            let after = live(after, package, *digest, now);
            if ids(&before) == ids(&after) {
                continue;
            }
            if changed.len() == AGENTS_MAX {
                return (changed, false);
            }
            let (widens, narrows) = compare(&before, &after, description, limits);
            if !(widens.is_empty() && narrows.is_empty()) {
                changed.push(AgentDiff { agent: agent.clone(), package: package.clone(), widens, narrows });
            }
        }
    }
    (changed, before_is_whole && after_is_whole)
}

/// Those of the package that give something.
fn live<'p>(
    grants: &[&'p Grant],
    package: &PackageName,
    digest: PackageDigest,
    now: Timestamp,
) -> Vec<&'p Grant> {
    let gives = |grant: &&&Grant| {
        let lives = grant.terms.expires.is_none_or(|expires| now < expires);
        lives && grant.package == *package && grant.digest == digest
    };
    grants.iter().filter(gives).copied().collect()
}

fn ids(grants: &[&Grant]) -> Vec<GrantId> {
    grants.iter().map(|grant| grant.id).collect()
}

/// Changes of power with the tools that each is about, by whether they widen.
type Changes = BTreeMap<(Way, PowerChange), Vec<ToolName>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Widens,
    Narrows,
}

/// Compares what one agent may do with one package.
fn compare(
    before: &[&Grant],
    after: &[&Grant],
    description: &PackageDescription,
    limits: &HostLimits,
) -> (Vec<ToolChange>, Vec<ToolChange>) {
    let mut changes = Changes::new();
    let (mut all, mut callable) = (0, 0);
    for tool in &description.tools {
        let of_tool = |grants: &[&'_ Grant]| -> Option<Powers> {
            let names =
                |grant: &&&Grant| grant.terms.tools.as_ref().is_none_or(|tools| tools.contains(&tool.name));
            Powers::of(
                &grants.iter().filter(names).copied().collect::<Vec<_>>(),
                &description.capabilities,
                limits,
            )
        };
        let (before, after) = (of_tool(before), of_tool(after));
        all += 1;
        callable += usize::from(before.is_some() || after.is_some());
        let mut note = |way, change| changes.entry((way, change)).or_default().push(tool.name.clone());
        match (before, after) {
            (None, None) => {}
            (None, Some(gained)) => gained.whole(&mut |change| note(Way::Widens, change)),
            (Some(lost), None) => lost.whole(&mut |change| note(Way::Narrows, change)),
            (Some(before), Some(after)) => before.compare(&after, &mut note),
        }
    }
    let (mut widens, mut narrows) = (Vec::new(), Vec::new());
    for ((way, change), tools) in changes {
        let whole = if change == PowerChange::Call { all } else { callable };
        let change = ToolChange { tools: (tools.len() < whole).then_some(tools), change };
        match way {
            Way::Widens => widens.push(change),
            Way::Narrows => narrows.push(change),
        }
    }
    (widens, narrows)
}

/// When a power ends, ordered so that later is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Moment(Timestamp),
    Never,
}

impl Until {
    fn of<'g>(grants: impl Iterator<Item = &'g &'g Grant>) -> Self {
        let until = |grant: &&Grant| grant.terms.expires.map_or(Until::Never, Until::Moment);
        grants.map(until).max().unwrap_or(Until::Never)
    }

    fn moment(self) -> Option<Timestamp> {
        match self {
            Until::Moment(moment) => Some(moment),
            Until::Never => None,
        }
    }
}

/// What one agent may do with one tool, and until when.
struct Powers {
    until: Until,
    limits: BTreeMap<Limit, (u64, Until)>,
    folders: BTreeMap<String, (FilesystemRule, Until)>,
    rules: BTreeMap<Rule, Until>,
    clock: (Option<ClockRule>, Until),
}

impl Powers {
    /// The union of grants, which all allow the tool; `None` if there are none.
    fn of(grants: &[&Grant], declared: &BTreeSet<Capability>, host: &HostLimits) -> Option<Self> {
        if grants.is_empty() {
            return None;
        }
        let united = united_limits(grants, host);
        let limits = Limit::ALL.into_iter().filter_map(|limit| {
            let value = limit_of(&united, limit)?;
            let givers = grants.iter().filter(|grant| limit_in(grant, limit, host) >= value);
            Some((limit, (value, Until::of(givers))))
        });
        let has_files = declared.contains(&Capability::Filesystem);
        let folders = united_folders(grants, host).into_iter().filter(|_| has_files).map(|folder| {
            let same = |rule: &FilesystemRule| {
                rule.guest_path == folder.rule.guest_path
                    && width(&bounded(rule, host)) == width(&folder.rule)
            };
            let givers = grants.iter().filter(|grant| grant.terms.filesystem.iter().any(same));
            let until = Until::of(givers);
            (folder.rule.guest_path.clone(), (folder.rule, until))
        });
        let rules = united_rules(grants, declared).into_iter().map(|given| {
            let givers = grants.iter().filter(|grant| grant.terms.rules.contains(&given.rule));
            let until = Until::of(givers);
            (given.rule, until)
        });
        // No rule is the exact clock, and so less than any.
        let clock = united_clock(grants).map(|given| given.rule);
        let clock_until = Until::of(grants.iter().filter(|grant| grant.terms.clock <= clock));
        Some(Self {
            until: Until::of(grants.iter()),
            limits: limits.collect(),
            folders: folders.collect(),
            rules: rules.collect(),
            clock: (clock, clock_until),
        })
    }

    /// The call itself, each folder and each rule, where there was or will be nothing.
    fn whole(self, note: &mut impl FnMut(PowerChange)) {
        note(PowerChange::Call);
        for (guest_path, (rule, _)) in self.folders {
            note(PowerChange::Folder { guest_path, access: rule.access });
        }
        for rule in self.rules.keys() {
            note(PowerChange::Rule { rule: rule.to_string() });
        }
    }

    /// Each difference, with which way it goes.
    fn compare(&self, after: &Self, note: &mut impl FnMut(Way, PowerChange)) {
        let way = |widens| if widens { Way::Widens } else { Way::Narrows };
        self.compare_until("call", self.until, after, after.until, note);
        for (limit, (from, from_until)) in &self.limits {
            let Some((to, to_until)) = after.limits.get(limit) else { continue };
            if to != from {
                note(way(to > from), PowerChange::Limit { limit: *limit, from: *from, to: *to });
            } else {
                self.compare_until(limit.name(), *from_until, after, *to_until, note);
            }
        }
        for (guest_path, (from, from_until)) in &self.folders {
            match after.folders.get(guest_path) {
                None => {
                    let (guest_path, access) = (guest_path.clone(), from.access);
                    note(Way::Narrows, PowerChange::Folder { guest_path, access });
                }
                Some((to, to_until)) if from == to => {
                    self.compare_until(guest_path, *from_until, after, *to_until, note);
                }
                Some((to, _)) => compare_folder(from, to, note),
            }
        }
        for (guest_path, (rule, _)) in &after.folders {
            if !self.folders.contains_key(guest_path) {
                let (guest_path, access) = (guest_path.clone(), rule.access);
                note(Way::Widens, PowerChange::Folder { guest_path, access });
            }
        }
        self.compare_rules(after, note);
        let ((from, from_until), (to, to_until)) = (self.clock, after.clock);
        match to.cmp(&from) {
            Ordering::Less => note(Way::Widens, PowerChange::Clock { from, to }),
            Ordering::Equal => self.compare_until("clock", from_until, after, to_until, note),
            Ordering::Greater => note(Way::Narrows, PowerChange::Clock { from, to }),
        }
    }

    fn compare_rules(&self, after: &Self, note: &mut impl FnMut(Way, PowerChange)) {
        let covered = |rule: &Rule, by: &Self| by.rules.keys().any(|given| given.covers(rule));
        for (rule, from_until) in &self.rules {
            match after.rules.get(rule) {
                None if covered(rule, after) => {}
                None => note(Way::Narrows, PowerChange::Rule { rule: rule.to_string() }),
                Some(to_until) => {
                    self.compare_until(&rule.to_string(), *from_until, after, *to_until, note);
                }
            }
        }
        for rule in after.rules.keys().filter(|rule| !covered(rule, self)) {
            note(Way::Widens, PowerChange::Rule { rule: rule.to_string() });
        }
    }

    /// Tells when a power ends, unless it ends with the call's own permission on both sides, which is told
    /// once.
    fn compare_until(
        &self,
        what: &str,
        from: Until,
        after: &Self,
        to: Until,
        note: &mut impl FnMut(Way, PowerChange),
    ) {
        let is_told_with_call = what != "call" && from == self.until && to == after.until;
        if from == to || is_told_with_call {
            return;
        }
        let way = if to > from { Way::Widens } else { Way::Narrows };
        note(way, PowerChange::Expires { what: what.to_owned(), from: from.moment(), to: to.moment() });
    }
}

fn compare_folder(from: &FilesystemRule, to: &FilesystemRule, note: &mut impl FnMut(Way, PowerChange)) {
    let guest_path = || from.guest_path.clone();
    if from.host_path != to.host_path {
        let change = PowerChange::HostFolder {
            guest_path: guest_path(),
            from: from.host_path.clone(),
            to: to.host_path.clone(),
        };
        note(Way::Widens, change.clone());
        note(Way::Narrows, change);
    }
    if from.access != to.access {
        let way = if to.access > from.access { Way::Widens } else { Way::Narrows };
        note(way, PowerChange::Access { guest_path: guest_path(), from: from.access, to: to.access });
        return;
    }
    for (limit, from, to) in [
        (Limit::FileBytes, from.quota_bytes, to.quota_bytes),
        (Limit::Files, from.quota_files, to.quota_files),
    ] {
        if from != to {
            let way = if to > from { Way::Widens } else { Way::Narrows };
            note(way, PowerChange::Quota { guest_path: guest_path(), limit, from, to });
        }
    }
}

#[cfg(test)]
mod tests;
