//! The processor: a principal with many guests that compute gets no more of it than one with few.

use std::sync::Arc;

use serde_json::json;
use tokio::time::timeout;

use super::{PATIENCE, grant, limits, start, until};
use crate::harness::{World, wat};

/// Twelve calls of one agent compute, and then two of another, each as much as each of the first's. Were the
/// processor divided among calls, all would end at about the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn computing_guests_of_one_principal_hold_up_no_other() {
    let world = World::within(limits(&[])).await;
    for package in ["looping", "polite"] {
        world.add(package, wat("memory")).await;
    }
    grant(&world, &["looping"], &["ann"]).await;
    let granted = "limits = { wall_time = \"10m\", fuel = 1_000_000_000_000 }\n";
    world.grant(&format!("[[grant]]\npackage = \"polite\"\nagents = [\"bob\"]\n{granted}")).await;
    let world = Arc::new(world);
    let rounds = json!({"rounds": 60_000_000});
    let looping: Vec<_> =
        (0..12).map(|_| start(&world, "ann", "looping", "compute", rounds.clone())).collect();
    until(&world, 12, 0).await;
    let polite: Vec<_> = (0..2).map(|_| start(&world, "bob", "polite", "compute", rounds.clone())).collect();
    for call in polite {
        timeout(PATIENCE, call).await.expect("bounded").expect("no panic").expect("an answer");
    }
    let ended = looping.iter().filter(|call| call.is_finished()).count();
    assert!(ended <= 6, "{ended} of 12 had ended when the other's two had");
    for call in looping {
        timeout(PATIENCE, call).await.expect("bounded").expect("no panic").expect("an answer");
    }
}
