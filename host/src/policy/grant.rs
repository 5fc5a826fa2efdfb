//! What an admin allowed: the checked form of a grant, as plain data.
//!
//! Made by [`parse`](super::parse) from a grants file, kept by the database, read by
//! [`authorize`](super::authorize). Touches no file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::OnceLock;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::ids::{
    GrantId, GroupName, PackageDigest, PackageName, PrincipalId, Revision, SecretName, ToolName,
};
use crate::limits::Limit;
use crate::policy::evidence::Evidence;
use crate::policy::quotas::{QuotaSubject, Quotas};
use crate::policy::rule::Rule;
use crate::policy::standing::{Distrusted, Freeze, Principal, Quarantine};
use crate::policy::trust::TrustPolicy;

/// One `[[grant]]` that is in force, bound to the bytes that were approved when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its number.
    pub id: GrantId,
    /// The package it is for.
    pub package: PackageName,
    /// The approved digest it is bound to. Other bytes under the name get nothing from it.
    pub digest: PackageDigest,
    /// What it says.
    #[serde(flatten)]
    pub terms: GrantTerms,
}

/// What a grant says, before it is bound to a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantTerms {
    /// Who may use it. Never empty.
    pub agents: Vec<AgentSelector>,
    /// Which of the package's tools; `None` means all.
    pub tools: Option<BTreeSet<ToolName>>,
    /// What agents see tools as, where that is not `package__tool`. Each name is one tool's on the whole host,
    /// and has no `__` in it, so that it can't be taken for another package's tool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<ToolName, ToolName>,
    /// The moment from which it is void.
    pub expires: Option<Timestamp>,
    /// Limits that differ from the defaults. Durations are in milliseconds.
    pub limits: BTreeMap<Limit, u64>,
    /// Folders.
    pub filesystem: Vec<FilesystemRule>,
    /// Powers of any other kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What it asks of the log.
    #[serde(default, skip_serializing_if = "Evidence::is_silent")]
    pub evidence: Evidence,
    /// How exactly the time is told; `None` is as exactly as the host knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockRule>,
}

/// A coarse clock: not a power, but less of one that every tool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ClockRule {
    /// The milliseconds from one told moment to the next: 1 to [`CLOCK_RESOLUTION_MS_MAX`].
    pub resolution_ms: u64,
}

/// The coarsest clock: a day.
pub const CLOCK_RESOLUTION_MS_MAX: u64 = 24 * 3_600_000;

impl fmt::Display for ClockRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the time in steps of {} ms", self.resolution_ms)
    }
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentSelector {
    /// One agent by name.
    Agent(PrincipalId),
    /// Each member of a group.
    Group(GroupName),
}

impl fmt::Display for AgentSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentSelector::Agent(agent) => agent.fmt(f),
            AgentSelector::Group(group) => write!(f, "group:{group}"),
        }
    }
}

/// One granted folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilesystemRule {
    /// The folder on the host: absolute, without symlinks, `.` or `..` when it was granted.
    pub host_path: PathBuf,
    /// Where the guest sees it: absolute, `/`-separated, no `.` or `..`, no trailing slash.
    pub guest_path: String,
    /// What may be done there.
    pub access: Access,
    /// The most bytes held under the folder; only for `read-write`.
    pub quota_bytes: u64,
    /// The most entries held under the folder; only for `read-write`.
    pub quota_files: u64,
}

/// What may be done in a granted folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read files, list folders, read metadata.
    Read,
    /// That, and create, write, rename and delete.
    ReadWrite,
}

/// Grants in the order of their ids, and which are of which package: a call is judged without a look at all.
///
/// Whoever changes them does so through `DerefMut`, which forgets the order by packages; it is made when it is next
/// asked for.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    list: Vec<Grant>,
    /// Places in the list, by package and then by place.
    by_package: OnceLock<Vec<usize>>,
}

impl Grants {
    /// Those of a package, in the order of their ids.
    pub fn of<'g>(&'g self, package: &PackageName) -> impl Iterator<Item = &'g Grant> {
        let order = self.by_package.get_or_init(|| {
            let mut order: Vec<usize> = (0..self.list.len()).collect();
            // Stable, so that ids stay in order.
            order.sort_by(|one, other| self.list[*one].package.cmp(&self.list[*other].package));
            order
        });
        let from = order.partition_point(|index| self.list[*index].package < *package);
        let count = order[from..].partition_point(|index| self.list[*index].package == *package);
        order[from..from + count].iter().map(|index| &self.list[*index])
    }
}

impl From<Vec<Grant>> for Grants {
    fn from(list: Vec<Grant>) -> Self {
        Self { list, by_package: OnceLock::new() }
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Vec::from_iter(grants).into()
    }
}

impl IntoIterator for Grants {
    type Item = Grant;
    type IntoIter = std::vec::IntoIter<Grant>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'g> IntoIterator for &'g Grants {
    type Item = &'g Grant;
    type IntoIter = std::slice::Iter<'g, Grant>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl Deref for Grants {
    type Target = Vec<Grant>;

    fn deref(&self) -> &Vec<Grant> {
        &self.list
    }
}

impl DerefMut for Grants {
    fn deref_mut(&mut self) -> &mut Vec<Grant> {
        self.by_package.take();
        &mut self.list
    }
}

impl PartialEq for Grants {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Grants {}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

/// All that is in force at one revision: what [`authorize`](super::authorize) judges by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Policy {
    /// The number of this state.
    pub revision: Revision,
    /// The grants in force, in the order of their ids.
    #[schemars(with = "Vec<Grant>")]
    pub grants: Grants,
    /// Who is in which group.
    pub groups: BTreeMap<GroupName, BTreeSet<PrincipalId>>,
    /// Nothing runs while this is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Freeze>,
    /// Components that may not run, whatever was approved and granted.
    pub quarantines: Vec<Quarantine>,
    /// Principals that an admin has added or removed. An agent need not be among them: what lets it
    /// call is a grant that names it.
    pub principals: BTreeMap<PrincipalId, Principal>,
    /// What an admin has said of how much principals and packages may use; none is empty.
    #[serde(skip)]
    pub quotas: BTreeMap<QuotaSubject, Quotas>,
    /// The stored secrets, each with the revision that has set its value.
    pub secrets: BTreeMap<SecretName, Revision>,
    /// Whose signatures packages need; none: no signatures are asked for. `portcullis trust show` has its text.
    #[serde(skip)]
    pub trust: Option<TrustPolicy>,
    /// The approved components that the trust policy does not trust: they may not run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub distrusted: BTreeMap<PackageName, Distrusted>,
}

impl Policy {
    /// Each principal that is known: that was added or removed, or that a group or a grant names.
    pub fn principal_names(&self) -> BTreeSet<&PrincipalId> {
        let in_grants = self.grants.iter().flat_map(|grant| &grant.terms.agents);
        let named = in_grants.filter_map(|selector| match selector {
            AgentSelector::Agent(agent) => Some(agent),
            AgentSelector::Group(_) => None,
        });
        self.principals.keys().chain(self.groups.values().flatten()).chain(named).collect()
    }

    /// Whether the grant names the agent, by itself or by a group: one of grants files, or one that its credential
    /// says.
    pub(super) fn names(&self, grant: &Grant, agent: &PrincipalId, groups: &BTreeSet<GroupName>) -> bool {
        grant.terms.agents.iter().any(|selector| match selector {
            AgentSelector::Agent(named) => named == agent,
            AgentSelector::Group(group) => {
                groups.contains(group)
                    || self.groups.get(group).is_some_and(|members| members.contains(agent))
            }
        })
    }

    /// Whether a grant of the package names the agent: if none does, [`authorize`](super::authorize) allows none of
    /// its tools.
    pub fn grants_name(
        &self,
        package: &PackageName,
        agent: &PrincipalId,
        groups: &BTreeSet<GroupName>,
    ) -> bool {
        self.grants.of(package).any(|grant| self.names(grant, agent, groups))
    }

    /// The grants that name each agent, by itself or by a group, in the order of their ids; and whether
    /// these are all: it stops at `pairs_max` of agent and grant.
    pub fn grants_by_agent(&self, pairs_max: usize) -> (BTreeMap<&PrincipalId, Vec<&Grant>>, bool) {
        let mut by_agent: BTreeMap<&PrincipalId, Vec<&Grant>> = BTreeMap::new();
        let mut pairs = 0;
        for grant in &self.grants {
            for selector in &grant.terms.agents {
                let named: Box<dyn Iterator<Item = &PrincipalId>> = match selector {
                    AgentSelector::Agent(agent) => Box::new(std::iter::once(agent)),
                    AgentSelector::Group(group) => Box::new(self.groups.get(group).into_iter().flatten()),
                };
                for agent in named {
                    if pairs == pairs_max {
                        return (by_agent, false);
                    }
                    pairs += 1;
                    let grants = by_agent.entry(agent).or_default();
                    // Named by itself and by a group, it is one grant.
                    if grants.last().is_none_or(|last| last.id != grant.id) {
                        grants.push(grant);
                    }
                }
            }
        }
        (by_agent, true)
    }
}
