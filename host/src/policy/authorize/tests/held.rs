//! What a running call holds, against what would be given now: cases, and a model that is a set of single
//! powers.

use super::*;

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
            "a coarse clock",
            |terms| terms.clock = Some(ClockRule { resolution_ms: 5 }),
            Some(Loss::Clock { to: ClockRule { resolution_ms: 5 } }),
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
    for grant in allowed_by {
        let exactness = grant.terms.clock.map_or(0, |clock| clock.resolution_ms);
        powers.extend((exactness..4).map(|step| format!("a clock with steps of {step} ms")));
    }
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
                        groups: brought(principal),
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
