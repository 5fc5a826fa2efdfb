//! Each granted case beside its denied twin, and all cases against a model that is written
//! differently: a flat list of single entitlements.

mod held;

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::ids::GroupName;
use crate::policy::evidence::Evidence;
use crate::policy::grant::{Access, AgentSelector, ClockRule, GrantTerms};
use crate::policy::rule::{InvokeRule, KeyvalueRule, Setting, StoreScope};
use crate::policy::standing::{Freeze, Principal, Quarantine, Standing};

const PACKAGES: [&str; 2] = ["notes", "fetch"];
const AGENTS: [&str; 3] = ["ann", "bob", "cleo"];
const GROUPS: [&str; 2] = ["readers", "writers"];
const TOOLS: [&str; 2] = ["read", "write"];
const GUEST_PATHS: [&str; 3] = ["/a", "/b", "/a/b"];

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a valid name")
}

fn digest(number: u8) -> PackageDigest {
    PackageDigest::of(&[number])
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// What a test asks; the borrowed request is made from it.
#[derive(Clone, Debug)]
struct Question {
    principal: PrincipalId,
    groups: BTreeSet<GroupName>,
    package: PackageName,
    tool: ToolName,
    approved: Option<PackageDigest>,
    declared: BTreeSet<Capability>,
    now: Timestamp,
}

impl Question {
    fn ask(&self, policy: &Policy) -> Result<AuthorizedCall, Denial> {
        self.ask_within(policy, &HostLimits::default())
    }

    fn ask_within(&self, policy: &Policy, limits: &HostLimits) -> Result<AuthorizedCall, Denial> {
        let request = AuthorizationRequest {
            call: CallId::generate(),
            principal: &self.principal,
            groups: &self.groups,
            package: &self.package,
            tool: &self.tool,
            approved: self.approved,
            declared: &self.declared,
            now: self.now,
            limits,
        };
        authorize(&request, policy)
    }
}

fn folder(guest_path: &str, access: Access, quota_bytes: u64) -> FilesystemRule {
    FilesystemRule {
        host_path: PathBuf::from(format!("/srv{guest_path}")),
        guest_path: guest_path.to_owned(),
        access,
        quota_bytes,
        quota_files: quota_bytes,
    }
}

fn invoke(package: &str, tool: Option<&str>) -> Rule {
    Rule::Invoke(InvokeRule { package: id(package), tools: tool.map(|tool| BTreeSet::from([id(tool)])) })
}

/// Ann may call `read` of `notes`, as bytes 1, until second 100, with one folder and one other tool.
fn granted() -> (Question, Policy) {
    let question = Question {
        principal: id("ann"),
        groups: BTreeSet::new(),
        package: id("notes"),
        tool: id("read"),
        approved: Some(digest(1)),
        declared: BTreeSet::from([
            Capability::Filesystem,
            Capability::Tools,
            Capability::Keyvalue,
            Capability::Config,
        ]),
        now: moment(99),
    };
    let grant = Grant {
        id: GrantId(7),
        package: id("notes"),
        digest: digest(1),
        terms: GrantTerms {
            agents: vec![AgentSelector::Group(id("readers"))],
            tools: Some(BTreeSet::from([id("read")])),
            names: BTreeMap::new(),
            expires: Some(moment(100)),
            limits: BTreeMap::from([(Limit::Fuel, 5), (Limit::WallTime, 1_500)]),
            filesystem: vec![folder("/a", Access::Read, 0)],
            rules: vec![invoke("fetch", Some("read"))],
            evidence: Evidence::default(),
            clock: None,
        },
    };
    let groups = BTreeMap::from([(id("readers"), BTreeSet::from([id("ann")]))]);
    (question, Policy { revision: Revision(3), grants: vec![grant].into(), groups, ..Policy::default() })
}

#[test]
fn what_is_granted_is_allowed_with_exactly_the_granted_powers() {
    let (question, policy) = granted();
    let call = question.ask(&policy).expect("granted");
    assert_eq!(call.principal(), &question.principal);
    assert_eq!((call.digest(), call.revision()), (digest(1), Revision(3)));
    assert_eq!(call.grants(), [GrantId(7)]);
    let expected = CallLimits { fuel: 5, wall_time: Duration::from_millis(1_500), ..CallLimits::default() };
    assert_eq!(call.limits(), &expected);
    let rule = folder("/a", Access::Read, 0);
    assert_eq!(call.filesystem(), [AuthorizedFolder { grant: GrantId(7), index: 0, rule }]);
    assert_eq!(call.filesystem()[0].rule_name(), "grant 7 filesystem 0");
    let rule = invoke("fetch", Some("read"));
    assert_eq!(call.rules(), [AuthorizedRule { grant: GrantId(7), index: 0, rule }]);
    assert_eq!(call.rules()[0].name(), "grant 7 invoke 0");
}

#[test]
fn nothing_is_the_default() {
    let (question, _) = granted();
    let denial = question.ask(&Policy::default()).expect_err("no grants");
    assert_eq!(denial, Denial::NotGranted { package: id("notes"), principal: id("ann") });
}

#[test]
fn each_condition_alone_denies_and_says_so() {
    let (package, tool, ann) =
        (id::<PackageName>("notes"), id::<ToolName>("write"), id::<PrincipalId>("ann"));
    type Change = fn(&mut Question, &mut Policy);
    let twins: [(&str, Change, Denial); 9] = [
        (
            "not approved",
            |question, _| question.approved = None,
            Denial::NotApproved { package: package.clone() },
        ),
        (
            "another agent",
            |question, _| question.principal = id("bob"),
            Denial::NotGranted { package: package.clone(), principal: id("bob") },
        ),
        (
            "out of the group",
            |_, policy| policy.groups.clear(),
            Denial::NotGranted { package: package.clone(), principal: ann.clone() },
        ),
        (
            "an agent called like the group",
            |question, _| question.principal = id("readers"),
            Denial::NotGranted { package: package.clone(), principal: id("readers") },
        ),
        (
            "another package",
            |question, _| question.package = id("notes2"),
            Denial::NotGranted { package: id("notes2"), principal: ann.clone() },
        ),
        (
            "another tool",
            |question, _| question.tool = id("write"),
            Denial::ToolNotGranted { package: package.clone(), principal: ann.clone(), tool },
        ),
        (
            "other bytes",
            |question, _| question.approved = Some(digest(2)),
            Denial::OtherBytes { package: package.clone() },
        ),
        (
            "expired this instant",
            |question, _| question.now = moment(100),
            Denial::Expired { grant: GrantId(7), expires: moment(100) },
        ),
        (
            "expired long ago",
            |question, _| question.now = moment(1_000_000),
            Denial::Expired { grant: GrantId(7), expires: moment(100) },
        ),
    ];
    for (name, change, expected) in twins {
        let (mut question, mut policy) = granted();
        assert!(question.ask(&policy).is_ok(), "the twin of {name} is granted");
        change(&mut question, &mut policy);
        assert_eq!(question.ask(&policy), Err(expected), "{name}");
    }
}

#[test]
fn what_is_not_declared_is_not_given() {
    let (mut question, policy) = granted();
    assert_eq!(question.ask(&policy).expect("granted").filesystem().len(), 1);
    question.declared = BTreeSet::from([Capability::Clock]);
    let call = question.ask(&policy).expect("granted");
    assert_eq!((call.filesystem(), call.rules()), (&[][..], &[][..]));
}

#[test]
fn grants_add_up_and_the_wider_one_wins() {
    let (question, mut policy) = granted();
    let mut wider = policy.grants[0].clone();
    wider.id = GrantId(8);
    wider.terms.limits = BTreeMap::from([(Limit::Fuel, 9)]);
    wider.terms.filesystem = vec![folder("/b", Access::Read, 0), folder("/a", Access::ReadWrite, 10)];
    policy.grants.push(wider.clone());
    wider.id = GrantId(9);
    wider.terms.filesystem = vec![folder("/a", Access::ReadWrite, 20)];
    policy.grants.push(wider);
    let call = question.ask(&policy).expect("granted");
    assert_eq!(call.limits().fuel, 9);
    assert_eq!(
        call.limits().wall_time,
        Duration::from_millis(Limit::WallTime.row().default),
        "a silent grant gives the default"
    );
    let rules: Vec<String> = call.filesystem().iter().map(AuthorizedFolder::rule_name).collect();
    assert_eq!(rules, ["grant 9 filesystem 0", "grant 8 filesystem 0"]);
}

#[test]
fn a_stored_value_above_its_ceiling_is_cut_to_it() {
    let (question, mut policy) = granted();
    policy.grants[0].terms.limits = Limit::ALL.into_iter().map(|limit| (limit, u64::MAX)).collect();
    policy.grants[0].terms.filesystem = vec![folder("/a", Access::ReadWrite, u64::MAX)];
    let call = question.ask(&policy).expect("granted");
    assert_eq!(call.limits().memory, Limit::Memory.row().ceiling);
    assert_eq!(call.limits().wall_time, Duration::from_millis(Limit::WallTime.row().ceiling));
    assert_eq!(call.filesystem()[0].rule.quota_bytes, Limit::FileBytes.row().ceiling);
    assert_eq!(call.filesystem()[0].rule.quota_files, Limit::Files.row().ceiling);
}

/// A grant that was stored before the admin lowered the ceilings gives no more than they allow now.
#[test]
fn the_hosts_own_ceilings_and_defaults_hold_for_stored_grants() {
    let (question, mut policy) = granted();
    policy.grants[0].terms.limits = BTreeMap::from([(Limit::Memory, 1 << 30), (Limit::Concurrency, 40)]);
    policy.grants[0].terms.filesystem = vec![folder("/a", Access::ReadWrite, 1 << 30)];
    let mut host = HostLimits::default();
    for (limit, ceiling) in
        [(Limit::Memory, 1 << 20), (Limit::Concurrency, 3), (Limit::FileBytes, 10), (Limit::Files, 5)]
    {
        host.set_ceiling(limit, ceiling).expect("below the table's");
    }
    host.set_default(Limit::Fuel, 77).expect("below the ceiling");
    host.set_value(Limit::Stack, 100_000).expect("below the table's");
    let call = question.ask_within(&policy, &host).expect("granted");
    let limits = call.limits();
    assert_eq!((limits.memory, limits.concurrency, limits.fuel), (1 << 20, 3, 77));
    assert_eq!(limits.stack, 100_000);
    let rule = &call.filesystem()[0].rule;
    assert_eq!((rule.quota_bytes, rule.quota_files), (10, 5));
    assert_eq!(question.ask(&policy).expect("granted").limits().memory, 1 << 30, "its twin");
}

// The model: every grant is multiplied out into single entitlements, each for one agent and one
// tool. A question is then answered by counting those that fit; nothing is narrowed or merged.

/// One agent may call one tool of one package as these bytes before a moment, with one power.
#[derive(Debug)]
struct Entitlement<'p> {
    agent: &'static str,
    tool: &'static str,
    package: &'p str,
    digest: PackageDigest,
    until: i64,
    grant: &'p Grant,
}

/// The groups that an agent's credential says: one of them has one.
fn brought(agent: &str) -> BTreeSet<GroupName> {
    (agent == AGENTS[2]).then(|| id(GROUPS[1])).into_iter().collect()
}

fn multiply_out(policy: &Policy) -> Vec<Entitlement<'_>> {
    let mut entitlements = Vec::new();
    for grant in &policy.grants {
        let mut named: Vec<String> = Vec::new();
        for selector in &grant.terms.agents {
            let written = selector.to_string();
            match written.split_once(':') {
                None => named.push(written),
                Some((_, group)) => {
                    let members = policy.groups.iter().filter(|(name, _)| name.as_str() == group);
                    named.extend(members.flat_map(|(_, members)| members).map(ToString::to_string));
                    let brings = |agent: &&str| brought(agent).iter().any(|name| name.as_str() == group);
                    named.extend(AGENTS.into_iter().filter(brings).map(str::to_owned));
                }
            }
        }
        for agent in AGENTS.into_iter().filter(|agent| named.iter().any(|name| name == agent)) {
            for tool in TOOLS {
                let listed = match &grant.terms.tools {
                    None => true,
                    Some(tools) => tools.iter().any(|name| name.as_str() == tool),
                };
                if listed {
                    entitlements.push(Entitlement {
                        agent,
                        tool,
                        package: grant.package.as_str(),
                        digest: grant.digest,
                        until: grant.terms.expires.map_or(i64::MAX, Timestamp::as_second),
                        grant,
                    });
                }
            }
        }
    }
    entitlements
}

/// The grants of which an entitlement answers the question.
fn model<'p>(question: &Question, policy: &'p Policy) -> Vec<&'p Grant> {
    let fits = |entitlement: &Entitlement<'_>| {
        entitlement.agent == question.principal.as_str()
            && entitlement.tool == question.tool.as_str()
            && entitlement.package == question.package.as_str()
            && Some(entitlement.digest) == question.approved
            && question.now.as_second() < entitlement.until
    };
    multiply_out(policy).into_iter().filter(fits).map(|entitlement| entitlement.grant).collect()
}

/// The limit as the call would feel it.
fn field(limits: &CallLimits, limit: Limit) -> Option<u64> {
    let json = serde_json::to_value(limits).expect("plain data");
    let value = json.get(limit.name())?;
    // A `Duration` is written as seconds and nanoseconds.
    let milliseconds = || Some(value["secs"].as_u64()? * 1_000 + value["nanos"].as_u64()? / 1_000_000);
    value.as_u64().or_else(milliseconds)
}

fn check_against_model(question: &Question, policy: &Policy) -> Result<(), TestCaseError> {
    let allowed_by = model(question, policy);
    let call = match question.ask(policy) {
        Err(denial) => {
            prop_assert!(allowed_by.is_empty(), "denied ({denial}), but allowed by {allowed_by:?}");
            return Ok(());
        }
        Ok(call) => call,
    };
    prop_assert!(!allowed_by.is_empty(), "allowed by nothing");
    let ids: Vec<GrantId> = allowed_by.iter().map(|grant| grant.id).collect();
    prop_assert_eq!(call.grants(), ids);
    prop_assert_eq!(Some(call.digest()), question.approved);
    for limit in Limit::ALL {
        let row = limit.row();
        if row.grantable {
            let mut most = 0;
            for grant in &allowed_by {
                most = most.max(*grant.terms.limits.get(&limit).unwrap_or(&row.default));
            }
            prop_assert_eq!(field(call.limits(), limit), Some(most), "{}", limit);
        }
    }
    let declared = question.declared.contains(&Capability::Filesystem);
    for guest_path in GUEST_PATHS {
        let rules: Vec<&FilesystemRule> = allowed_by
            .iter()
            .flat_map(|grant| &grant.terms.filesystem)
            .filter(|rule| declared && rule.guest_path == guest_path)
            .collect();
        let given: Vec<_> =
            call.filesystem().iter().filter(|given| given.rule.guest_path == guest_path).collect();
        prop_assert_eq!(given.len(), usize::from(!rules.is_empty()), "{}", guest_path);
        let Some(given) = given.first() else { continue };
        prop_assert!(rules.contains(&&given.rule), "a rule that nobody wrote");
        let named = allowed_by.iter().find(|grant| grant.id == given.grant);
        prop_assert_eq!(named.and_then(|grant| grant.terms.filesystem.get(given.index)), Some(&given.rule));
        let writable = rules.iter().any(|rule| rule.access == Access::ReadWrite);
        prop_assert_eq!(given.rule.access == Access::ReadWrite, writable);
        let quota = rules.iter().filter(|rule| (rule.access == Access::ReadWrite) == writable);
        prop_assert_eq!(Some(given.rule.quota_bytes), quota.map(|rule| rule.quota_bytes).max());
    }
    let written: Vec<&Rule> =
        allowed_by.iter().flat_map(|grant| &grant.terms.rules).filter(|_| declared).collect();
    let given: Vec<&Rule> = call.rules().iter().map(|given| &given.rule).collect();
    prop_assert!(given.iter().all(|rule| written.contains(rule)), "a rule that nobody wrote");
    prop_assert!(written.iter().all(|rule| given.contains(rule)), "a rule that is lost");
    for AuthorizedRule { grant, index, rule } in call.rules() {
        let named = allowed_by.iter().find(|allowing| allowing.id == *grant);
        prop_assert_eq!(named.and_then(|grant| grant.terms.rules.get(*index)), Some(rule));
    }
    let exactness = |clock: Option<ClockRule>| clock.map_or(0, |clock| clock.resolution_ms);
    let most_exact = allowed_by.iter().map(|grant| exactness(grant.terms.clock)).min();
    prop_assert_eq!(Some(exactness(call.clock().map(|given| given.rule))), most_exact);
    if let Some(given) = call.clock() {
        let named = allowed_by.iter().find(|allowing| allowing.id == given.grant);
        prop_assert_eq!(named.and_then(|grant| grant.terms.clock), Some(given.rule));
    }
    prop_assert!(call.filesystem().iter().all(|given| GUEST_PATHS.contains(&given.rule.guest_path.as_str())));
    Ok(())
}

fn any_agent() -> impl Strategy<Value = PrincipalId> {
    proptest::sample::select(&AGENTS[..]).prop_map(id)
}

fn any_tool() -> impl Strategy<Value = ToolName> {
    proptest::sample::select(&TOOLS[..]).prop_map(id)
}

fn any_package() -> impl Strategy<Value = PackageName> {
    proptest::sample::select(&PACKAGES[..]).prop_map(id)
}

fn any_selector() -> impl Strategy<Value = AgentSelector> {
    let group = proptest::sample::select(&GROUPS[..]).prop_map(|name| AgentSelector::Group(id(name)));
    prop_oneof![any_agent().prop_map(AgentSelector::Agent), group]
}

fn any_folder() -> impl Strategy<Value = FilesystemRule> {
    let guest_path = proptest::sample::select(&GUEST_PATHS[..]);
    let access = prop_oneof![Just(Access::Read), Just(Access::ReadWrite)];
    (guest_path, access, 1..5_u64).prop_map(|(guest_path, access, quota)| match access {
        Access::Read => folder(guest_path, access, 0),
        Access::ReadWrite => folder(guest_path, access, quota),
    })
}

fn any_limits() -> impl Strategy<Value = BTreeMap<Limit, u64>> {
    let grantable: Vec<Limit> = Limit::ALL.into_iter().filter(|limit| limit.row().grantable).collect();
    let one =
        proptest::sample::select(grantable).prop_flat_map(|limit| (Just(limit), 1..=limit.row().ceiling));
    proptest::collection::vec(one, 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

#[test]
fn of_what_grants_ask_of_the_log_the_strictest_holds() {
    use crate::policy::evidence::Durability::{Committed, Strict};
    let united = |asked: &[Evidence]| {
        let (question, mut policy) = granted();
        let grant = policy.grants[0].clone();
        policy.grants = asked
            .iter()
            .map(|evidence| Grant {
                terms: GrantTerms { evidence: *evidence, ..grant.terms.clone() },
                ..grant.clone()
            })
            .collect();
        question.ask(&policy).expect("granted").evidence()
    };
    let asks = |durability, fold_reads| Evidence { durability, fold_reads, payloads: false };
    assert_eq!(united(&[asks(None, false)]), Evidence::default());
    assert_eq!(united(&[asks(Some(Strict), true)]), asks(Some(Strict), true));
    assert_eq!(united(&[asks(Some(Committed), true), asks(Some(Strict), true)]), asks(Some(Strict), true));
    assert_eq!(united(&[asks(None, true), asks(Some(Committed), false)]), asks(Some(Committed), false));
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let tool = proptest::option::of(proptest::sample::select(&TOOLS[..]));
    (proptest::sample::select(&PACKAGES[..]), tool).prop_map(|(package, tool)| invoke(package, tool))
}

fn any_terms() -> impl Strategy<Value = GrantTerms> {
    (
        proptest::collection::vec(any_selector(), 1..3),
        proptest::option::of(proptest::collection::btree_set(any_tool(), 1..3)),
        proptest::option::of((0..4_i64).prop_map(moment)),
        any_limits(),
        proptest::collection::vec(any_folder(), 0..4),
        proptest::collection::vec(any_rule(), 0..3),
        proptest::option::of((1..4_u64).prop_map(|resolution_ms| ClockRule { resolution_ms })),
    )
        .prop_map(|(agents, tools, expires, limits, filesystem, rules, clock)| GrantTerms {
            agents,
            tools,
            names: BTreeMap::new(),
            expires,
            limits,
            filesystem,
            rules,
            evidence: Evidence::default(),
            clock,
        })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let grant = (any_package(), 0..2_u8, any_terms());
    let members = || proptest::collection::btree_set(any_agent(), 0..3);
    (proptest::collection::vec(grant, 0..6), members(), members(), any::<bool>()).prop_map(
        |(grants, readers, writers, both)| {
            let number = |(index, (package, bytes, terms)): (u64, (PackageName, u8, GrantTerms))| Grant {
                id: GrantId(index),
                package,
                digest: digest(bytes),
                terms,
            };
            let mut groups = BTreeMap::from([(id::<GroupName>(GROUPS[0]), readers)]);
            if both {
                groups.insert(id(GROUPS[1]), writers);
            }
            let grants = (0..).zip(grants).map(number).collect();
            Policy { revision: Revision(1), grants, groups, ..Policy::default() }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// For a random policy, every question that can be asked gets the model's answer.
    #[test]
    fn effective_power_is_declared_and_granted_and_allowed_neither_more_nor_less(policy in any_policy()) {
        for principal in AGENTS {
            for package in PACKAGES {
                for tool in TOOLS {
                    for approved in [None, Some(digest(0)), Some(digest(1))] {
                        for declared in [BTreeSet::new(), BTreeSet::from([Capability::Filesystem, Capability::Tools])] {
                            for second in [0, 2] {
                                let question = Question {
                                    principal: id(principal),
                                    groups: brought(principal),
                                    package: id(package),
                                    tool: id(tool),
                                    approved,
                                    declared: declared.clone(),
                                    now: moment(second),
                                };
                                check_against_model(&question, &policy)?;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_an_admin_barred_is_denied_before_anything_else_and_its_twin_is_granted() {
    let (question, policy) = granted();
    let remark: Remark = id("an incident");
    let by: PrincipalId = id("root");
    let since = moment(0);
    let frozen = Freeze { because: remark.clone(), by: by.clone(), since };
    let quarantine = |package: &str, digest| Quarantine {
        package: id(package),
        digest,
        because: remark.clone(),
        by: by.clone(),
        since,
    };
    let principal = |role, standing| {
        let (name, by) = (id("ann"), by.clone());
        BTreeMap::from([(id("ann"), Principal { name, role, note: None, standing, by, since })])
    };
    let quarantined = |digest| Denial::Quarantined { package: id("notes"), digest, because: remark.clone() };
    let not_an_agent = |role| Denial::NotAnAgent { principal: id("ann"), role };
    let cases: Vec<(&str, Policy, Option<Denial>)> = vec![
        (
            "frozen",
            Policy { frozen: Some(frozen), ..policy.clone() },
            Some(Denial::Frozen { because: remark.clone() }),
        ),
        (
            "the package is quarantined",
            Policy { quarantines: vec![quarantine("notes", None)], ..policy.clone() },
            Some(quarantined(None)),
        ),
        (
            "its bytes are, under another name",
            Policy { quarantines: vec![quarantine("fetch", Some(digest(1)))], ..policy.clone() },
            Some(quarantined(Some(digest(1)))),
        ),
        (
            "other bytes of it are",
            Policy { quarantines: vec![quarantine("notes", Some(digest(2)))], ..policy.clone() },
            None,
        ),
        (
            "another package is",
            Policy { quarantines: vec![quarantine("fetch", None)], ..policy.clone() },
            None,
        ),
        (
            "removed",
            Policy { principals: principal(Role::Agent, Standing::Removed), ..policy.clone() },
            Some(Denial::PrincipalRemoved { principal: id("ann") }),
        ),
        ("an agent", Policy { principals: principal(Role::Agent, Standing::Added), ..policy.clone() }, None),
        (
            "an auditor",
            Policy { principals: principal(Role::Auditor, Standing::Added), ..policy.clone() },
            Some(not_an_agent(Role::Auditor)),
        ),
        (
            "an admin",
            Policy { principals: principal(Role::Admin, Standing::Added), ..policy.clone() },
            Some(not_an_agent(Role::Admin)),
        ),
    ];
    for (name, policy, expected) in cases {
        assert_eq!(question.ask(&policy).err(), expected, "{name}");
    }
    let text = quarantined(None).to_string();
    assert!(!text.contains("incident"), "whoever calls is not told an admin's words: {text}");
}
