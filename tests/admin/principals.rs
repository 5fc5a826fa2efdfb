//! Principals: a grant is what lets a name call; one that an admin removed is barred whatever grants say.

use portcullis::gateway::PrincipalStatus;
use portcullis::ids::GrantId;
use portcullis::policy::{Role, Standing};

use super::*;

async fn named_by_a_grant() -> Arc<World> {
    let world = World::new().await;
    world.add("polite", wat("polite")).await;
    world.grant("[[grant]]\npackage = \"polite\"\nagents = [\"ann\", \"bob\"]\n").await;
    Arc::new(world)
}

async fn call_as(world: &World, agent: &str) -> Result<CallAnswer, CallError> {
    world.call_as(agent, "polite", "answer", json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_principal_is_denied_until_it_is_added_again() {
    let world = named_by_a_grant().await;
    let admin = local_admin();
    call_as(&world, "ann").await.expect("a grant names it, which is enough");
    let removed = world.host.remove_principal(&admin, named("ann")).await.expect("removed");
    assert!(removed.taken.changed && removed.principal.is_removed());
    assert_eq!(removed.principal.grants, [GrantId(1)]);
    let expected = Denial::PrincipalRemoved { principal: named("ann") };
    assert_eq!(denial(&world, call_as(&world, "ann").await), expected);
    call_as(&world, "bob").await.expect("the grant still gives to others");
    assert!(!world.host.remove_principal(&admin, named("ann")).await.expect("answered").taken.changed);

    // A file that still names it is an error with its place, so nobody comes back by an old file.
    let refused = world.try_grant("[[grant]]\npackage = \"polite\"\nagents = [\"bob\", \"ann\"]\n").await;
    let Err(HostError::Grants { diagnostics, .. }) = refused else { panic!("{refused:?}") };
    let told: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["3:18: grant[0].agents[1]: principal ann was removed by an admin, and may call nothing"]
    );

    let world = restarted(world).await;
    assert_eq!(denial(&world, call_as(&world, "ann").await), expected, "after a restart");
    let added = world.host.add_principal(&admin, named("ann"), Role::Agent, Some(id("back"))).await;
    assert!(added.expect("added").taken.changed);
    call_as(&world, "ann").await.expect("its grant is there still");
    let again = world.host.add_principal(&admin, named("ann"), Role::Agent, Some(id("back"))).await;
    assert!(!again.expect("answered").taken.changed);
    let told = |event: &Event| match event {
        Event::PrincipalRemoved { name, .. } => Some(format!("removed {name}")),
        Event::PrincipalAdded { name, role, .. } => Some(format!("added {name} {role}")),
        _ => None,
    };
    let records: Vec<String> = world.all_records().iter().filter_map(|record| told(&record.event)).collect();
    assert_eq!(records, ["removed ann", "added ann agent"], "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_agents_call_and_nobody_is_removed_by_a_slip() {
    let world = named_by_a_grant().await;
    let admin = local_admin();
    for (role, allowed) in [(Role::Auditor, false), (Role::Admin, false), (Role::Agent, true)] {
        world.host.add_principal(&admin, named("ann"), role, None).await.expect("added");
        let called = call_as(&world, "ann").await;
        if allowed {
            called.expect("an agent calls");
        } else {
            assert_eq!(denial(&world, called), Denial::NotAnAgent { principal: named("ann"), role });
        }
    }
    let unknown = world.host.remove_principal(&admin, named("anne")).await.expect_err("nobody's name");
    assert!(unknown.to_string().contains("did you mean ann?"), "{unknown}");
    // A name that only `principal add` knows can't call: no grant names it.
    world.host.add_principal(&admin, named("zed"), Role::Agent, None).await.expect("added");
    assert!(matches!(denial(&world, call_as(&world, "zed").await), Denial::NotGranted { .. }));
    let told = |principal: PrincipalStatus| {
        let standing = principal.known.map(|known| known.standing);
        (principal.name.to_string(), standing, principal.grants)
    };
    let listed: Vec<_> = world.host.principals().into_iter().map(told).collect();
    let one = vec![GrantId(1)];
    let expected = [
        ("ann", Some(Standing::Added), one.clone()),
        ("bob", None, one),
        ("zed", Some(Standing::Added), Vec::new()),
    ];
    assert_eq!(listed, expected.map(|(name, standing, grants)| (name.to_owned(), standing, grants)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_is_pointed_out_once_and_a_known_one_is_not() {
    let world = named_by_a_grant().await;
    world.host.add_principal(&local_admin(), named("zed"), Role::Agent, None).await.expect("added");
    let text = "[[grant]]\npackage = \"polite\"\nagents = [\"ann\", \"bbo\", \"zed\"]\n";
    let warnings = |changed: portcullis::gateway::GrantsChanged| -> Vec<String> {
        changed.diff.expect("a file was applied").warnings.iter().map(ToString::to_string).collect()
    };
    let first = world.grant(text).await;
    assert_eq!(warnings(first), ["3:18: grant[0].agents[1]: agent bbo is new: no grant has named it before"]);
    assert_eq!(warnings(world.grant(text).await), [""; 0]);
}

/// Case 71: an agent that passes for another one.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_can_be_taken_for_each_other_are_refused() {
    let world = named_by_a_grant().await;
    let admin = local_admin();
    for (name, other) in [("Ann", "ann"), ("B0b", "bob"), ("ANN", "ann")] {
        let refused = world.host.add_principal(&admin, named(name), Role::Agent, None).await;
        let told = refused.expect_err(name).to_string();
        assert!(
            told.starts_with(&format!("principal {name} can be taken for {other}, which is known")),
            "{told}"
        );
    }
    let refused = world.host.add_principal(&admin, named("Local-Admin"), Role::Admin, None).await;
    assert!(refused.expect_err("the admin's own").to_string().contains("can be taken for local-admin"));
    world
        .host
        .add_principal(&admin, named("ann"), Role::Agent, None)
        .await
        .expect("it is known by its grant");
    world.host.add_principal(&admin, named("anna"), Role::Agent, None).await.expect("another name");

    world.add("spin", wat("spin")).await;
    let file = "[groups]\nTeam = []\n[[grant]]\npackage = \"spin\"\nagents = [\"ann\", \"Bob\", \"zed\", \"zed1\", \"zedl\"]\n";
    let refused = world.try_grant(file).await;
    let Err(HostError::Grants { diagnostics, .. }) = refused else { panic!("{refused:?}") };
    let told: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "5:18: grant[0].agents[1]: agent Bob can be taken for bob, which is another one",
            "5:40: grant[0].agents[4]: agent zedl can be taken for zed1, which is another one",
        ]
    );
    // The name that goes with its grant is no other one any more.
    world.grant("[[grant]]\npackage = \"polite\"\nagents = [\"Bob\", \"ann\"]\n").await;
    call_as(&world, "Bob").await.expect("granted");
    assert!(matches!(denial(&world, call_as(&world, "bob").await), Denial::NotGranted { .. }));
}
