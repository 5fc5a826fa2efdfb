//! Each granted case beside its denied twin, and all cases against a model that is written
//! differently: a flat list of single entitlements.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::ids::GroupName;
use crate::policy::evidence::Evidence;
use crate::policy::grant::{Access, GrantTerms};
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
            expires: Some(moment(100)),
            limits: BTreeMap::from([(Limit::Fuel, 5), (Limit::WallTime, 1_500)]),
            filesystem: vec![folder("/a", Access::Read, 0)],
            rules: vec![invoke("fetch", Some("read"))],
            evidence: Evidence::default(),
        },
    };
    let groups = BTreeMap::from([(id("readers"), BTreeSet::from([id("ann")]))]);
    (question, Policy { revision: Revision(3), grants: vec![grant], groups, ..Policy::default() })
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
    let asks = |durability, fold_reads| Evidence { durability, fold_reads };
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
    )
        .prop_map(|(agents, tools, expires, limits, filesystem, rules)| GrantTerms {
            agents,
            tools,
            expires,
            limits,
            filesystem,
            rules,
            evidence: Evidence::default(),
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

fn set(terms: &mut GrantTerms, limit: Limit, value: u64) {
    terms.limits.insert(limit, value);
}

fn store(quota_bytes: u64, keys_max: u64) -> Rule {
    let (scope, access) = (StoreScope::Package, Access::ReadWrite);
    Rule::Keyvalue(KeyvalueRule { store: id("default"), scope, access, quota_bytes, keys_max })
}

fn own_store() -> Rule {
    let (scope, access) = (StoreScope::Agent, Access::Read);
    Rule::Keyvalue(KeyvalueRule { store: id("default"), scope, access, quota_bytes: 0, keys_max: 0 })
}

fn setting(value: &str) -> Rule {
    Rule::Config(Setting { name: "key".to_owned(), value: value.to_owned() })
}

#[test]
fn a_call_is_within_powers_that_are_the_same_or_wider_and_in_no_others() {
    let (question, mut policy) = granted();
    policy.grants[0].terms.filesystem =
        vec![folder("/a", Access::Read, 0), folder("/b", Access::ReadWrite, 10)];
    policy.grants[0].terms.rules.extend([store(10, 2), setting("held")]);
    let held = question.ask(&policy).expect("granted");
    type Change = fn(&mut GrantTerms);
    let path = |path: &str| path.to_owned();
    let fuel = Loss::Limit { limit: Limit::Fuel, from: 5, to: 4 };
    let cases: Vec<(&str, Change, Option<Loss>)> = vec![
        ("the same", |_| {}, None),
        ("for others too", |terms| terms.agents.push(AgentSelector::Agent(id("bob"))), None),
        ("for ever", |terms| terms.expires = None, None),
        ("more fuel", |terms| set(terms, Limit::Fuel, 6), None),
        ("less fuel", |terms| set(terms, Limit::Fuel, 4), Some(fuel)),
        ("fewer calls at once", |terms| set(terms, Limit::Concurrency, 1), None),
        (
            "the default time, which is more",
            |terms| terms.limits.retain(|limit, _| *limit != Limit::WallTime),
            None,
        ),
        ("another folder more", |terms| terms.filesystem.push(folder("/c", Access::Read, 0)), None),
        ("reading becomes writing", |terms| terms.filesystem[0] = folder("/a", Access::ReadWrite, 1), None),
        (
            "a folder less",
            |terms| drop(terms.filesystem.remove(0)),
            Some(Loss::Folder { guest_path: path("/a") }),
        ),
        (
            "another folder there",
            |terms| terms.filesystem[0].host_path = PathBuf::from("/srv/other"),
            Some(Loss::Folder { guest_path: path("/a") }),
        ),
        (
            "writing becomes reading",
            |terms| terms.filesystem[1] = folder("/b", Access::Read, 0),
            Some(Loss::Write { guest_path: path("/b") }),
        ),
        ("more room", |terms| terms.filesystem[1] = folder("/b", Access::ReadWrite, 11), None),
        (
            "less room",
            |terms| terms.filesystem[1].quota_bytes = 9,
            Some(Loss::Quota { guest_path: path("/b"), limit: Limit::FileBytes, from: 10, to: 9 }),
        ),
        ("another tool more", |terms| terms.rules.push(invoke("fetch", None)), None),
        ("more room in a store", |terms| terms.rules[1] = store(11, 2), None),
        ("a store of its own beside it", |terms| terms.rules.push(own_store()), None),
        (
            "less room in a store",
            |terms| terms.rules[1] = store(9, 2),
            Some(Loss::Rule { rule: store(10, 2).to_string() }),
        ),
        (
            "fewer keys in a store",
            |terms| terms.rules[1] = store(10, 1),
            Some(Loss::Rule { rule: store(10, 2).to_string() }),
        ),
        (
            "another value, which is not told",
            |terms| terms.rules[2] = setting("other"),
            Some(Loss::Rule { rule: "a value of its configuration".to_owned() }),
        ),
        (
            "another tool there",
            |terms| terms.rules[0] = invoke("fetch", Some("write")),
            Some(Loss::Rule { rule: "call read of package fetch".to_owned() }),
        ),
        (
            "fewer entries",
            |terms| terms.filesystem[1].quota_files = 9,
            Some(Loss::Quota { guest_path: path("/b"), limit: Limit::Files, from: 10, to: 9 }),
        ),
    ];
    for (name, change, expected) in cases {
        let mut policy = policy.clone();
        policy.grants[0].id = GrantId(8);
        policy.revision = Revision(4);
        change(&mut policy.grants[0].terms);
        let now = question.ask(&policy).expect("granted");
        assert_eq!(held.first_loss(&now), expected, "{name}");
        assert_eq!(held.is_within(&now), expected.is_none(), "{name}");
    }
    // The same powers for other bytes are another call.
    let mut other = policy.clone();
    other.grants[0].digest = digest(2);
    let now = Question { approved: Some(digest(2)), ..question }.ask(&other).expect("granted");
    assert_eq!(held.first_loss(&now), Some(Loss::Call));
}

#[test]
fn a_call_says_when_the_first_of_its_grants_expires() {
    let (question, mut policy) = granted();
    let mut later = policy.grants[0].clone();
    later.id = GrantId(8);
    later.terms.expires = Some(moment(200));
    policy.grants.push(later);
    assert_eq!(question.ask(&policy).expect("granted").next_expiry(), Some(moment(100)));
    let late = Question { now: moment(150), ..question };
    assert_eq!(late.ask(&policy).expect("granted").next_expiry(), Some(moment(200)));
    policy.grants[1].terms.expires = None;
    assert_eq!(late.ask(&policy).expect("granted").next_expiry(), None);
}

/// A call's powers as a set of single ones, so that "within" is "subset": the model of `is_within`.
///
/// A number is a power for each of the `numbers` up to it.
fn single_powers(allowed_by: &[&Grant], is_declared: bool, numbers: &BTreeSet<u64>) -> BTreeSet<String> {
    let mut powers = BTreeSet::new();
    let mut up_to = |what: &str, most: u64| {
        powers.extend(
            numbers.iter().filter(|number| **number <= most).map(|number| format!("{what} {number}")),
        );
    };
    // How many calls may run at once is no power of one that runs.
    let of_a_call = |limit: &Limit| limit.row().grantable && *limit != Limit::Concurrency;
    for limit in Limit::ALL.into_iter().filter(of_a_call) {
        for grant in allowed_by {
            up_to(limit.name(), *grant.terms.limits.get(&limit).unwrap_or(&limit.row().default));
        }
    }
    let rules = || allowed_by.iter().flat_map(|grant| &grant.terms.filesystem).filter(|_| is_declared);
    for rule in rules() {
        if rule.access == Access::ReadWrite {
            up_to(&format!("bytes in {}", rule.guest_path), rule.quota_bytes);
            up_to(&format!("entries in {}", rule.guest_path), rule.quota_files);
        }
    }
    for rule in rules() {
        powers.insert(format!("read {} as {:?}", rule.guest_path, rule.host_path));
        if rule.access == Access::ReadWrite {
            powers.insert(format!("write {}", rule.guest_path));
        }
    }
    let others = allowed_by.iter().flat_map(|grant| &grant.terms.rules).filter(|_| is_declared);
    powers.extend(others.map(Rule::to_string));
    powers
}

/// Every number that could tell two policies apart.
fn numbers(policies: [&Policy; 2]) -> BTreeSet<u64> {
    let terms = || policies.into_iter().flat_map(|policy| &policy.grants).map(|grant| &grant.terms);
    let quotas = terms().flat_map(|terms| &terms.filesystem).map(|rule| rule.quota_bytes);
    let limits = terms().flat_map(|terms| terms.limits.values().copied());
    let defaults = Limit::ALL.into_iter().map(|limit| limit.row().default);
    quotas.chain(limits).chain(defaults).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// For two random policies, a call of the one is within the other exactly if the model's set is.
    #[test]
    fn a_call_is_within_what_gives_each_of_its_single_powers(one in any_policy(), other in any_policy()) {
        let numbers = numbers([&one, &other]);
        for principal in AGENTS {
            for tool in TOOLS {
                for declared in [BTreeSet::new(), BTreeSet::from([Capability::Filesystem, Capability::Tools])] {
                    let is_declared = !declared.is_empty();
                    let question = Question {
                        principal: id(principal),
                        package: id(PACKAGES[0]),
                        tool: id(tool),
                        approved: Some(digest(0)),
                        declared,
                        now: moment(1),
                    };
                    let (Ok(held), Ok(now)) = (question.ask(&one), question.ask(&other)) else { continue };
                    let powers = |policy| single_powers(&model(&question, policy), is_declared, &numbers);
                    let (had, has) = (powers(&one), powers(&other));
                    prop_assert_eq!(held.is_within(&now), had.is_subset(&has), "{:?}", had.difference(&has));
                    prop_assert!(held.is_within(&held));
                }
            }
        }
    }
}
