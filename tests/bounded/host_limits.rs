//! The limits of a host: what its admin lowers holds for every package, those granted before included.

use portcullis::gateway::{CallError, HostError, HostOptions};
use portcullis::limits::{HostLimits, Limit, LimitReached};
use portcullis::sandbox::InvokeError;
use serde_json::json;

use crate::harness::process::Cli;
use crate::harness::{World, limit_reached, limited, options, wat};

const PAGE_BYTES: u64 = 64 << 10;

/// A ceiling that is lowered cuts stored grants to it, and refuses new ones above.
#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_ceiling_holds_for_what_was_granted_before() {
    let grant = limited("memory", &format!("memory = {}, fuel = 1_000_000_000", 10 * PAGE_BYTES));
    let world = World::new().await;
    world.add("memory", wat("memory")).await;
    world.grant(&grant).await;
    assert_eq!(world.value("memory", "grow", json!({"pages": 9})).await, 1);

    let World { host, temporary } = world;
    host.close().await.expect("it ends in good order");
    let mut limits = HostLimits::default();
    limits.set_ceiling(Limit::Memory, 3 * PAGE_BYTES).expect("below the table's");
    limits.set_default(Limit::Fuel, 5_000).expect("below the ceiling");
    let world = World::open_in(temporary, HostOptions { limits, ..options() }).await;
    assert_eq!(world.value("memory", "grow", json!({"pages": 2})).await, 1, "just below");
    assert_eq!(world.value("memory", "grow", json!({"pages": 3})).await, -1, "just above");
    match world.try_grant(&grant).await {
        Err(HostError::Grants { diagnostics, .. }) => {
            assert_eq!((diagnostics[0].line, &*diagnostics[0].key), (4, "grant[0].limits.memory"));
            assert!(diagnostics[0].message.contains("above the ceiling of 196608"), "{diagnostics:?}");
        }
        other => panic!("{other:?}"),
    }
    // A silent grant gives the host's default.
    world.grant(&crate::harness::grant("memory")).await;
    let reached = limit_reached(world.call("memory", "compute", json!({"rounds": 1_000_000})).await);
    assert_eq!(reached, LimitReached { limit: Limit::Fuel, value: 5_000, max: 5_000 });
}

/// What no grant can set: the stack and the number of running calls, lowered for the whole host.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_the_host_are_enforced() {
    let mut limits = HostLimits::default();
    limits.set_value(Limit::Stack, 64 << 10).expect("below the table's");
    limits.set_value(Limit::HostConcurrency, 1).expect("below the table's");
    limits.set_value(Limit::QueueTime, 200).expect("below the table's");
    let world = World::within(limits).await;
    world.add("memory", wat("memory")).await;
    world.grant(&crate::harness::grant("memory")).await;
    assert_eq!(world.value("memory", "recurse", json!({"depth": 100})).await, 100);
    // Deep enough for 64 KiB, and not for the default.
    let reached = limit_reached(world.call("memory", "recurse", json!({"depth": 8_000})).await);
    assert_eq!(reached, LimitReached { limit: Limit::Stack, value: 64 << 10, max: 64 << 10 });
    let twin = World::with("memory", wat("memory")).await;
    assert_eq!(twin.value("memory", "recurse", json!({"depth": 8_000})).await, 8_000);

    world.add("clock", wat("clock")).await;
    world.grant(&limited("clock", "wall_time = \"10m\"")).await;
    let sleeping = world.call("clock", "sleep-for-ever", json!({}));
    let refused = async {
        loop {
            match world.call("memory", "recurse", json!({"depth": 1})).await {
                Err(CallError::Busy(busy)) => return busy.waited_for.expect("it waited for a place"),
                Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let reached = tokio::select! {
        ended = sleeping => match ended {
            Err(CallError::Failed { error: InvokeError::LimitReached(reached), .. }) => reached,
            other => panic!("{other:?}"),
        },
        reached = refused => reached,
    };
    assert_eq!(reached, LimitReached { limit: Limit::HostConcurrency, value: 2, max: 1 });
}

/// Case 105 for a host: limits that can't be enforced are named with file, line and key, and nothing runs.
#[test]
fn a_limits_file_is_enforced_or_refused_at_the_start() {
    let cli = Cli::with("memory", &wat("memory"), "");
    let file = cli.data.join("limits.toml");
    for (text, line, told) in [
        ("[limits]\nfule = { ceiling = 5 }\n", 2, "unknown limit"),
        ("[limits]\n\nmemory = { ceiling = \"2GiB\" }\n", 3, "above the ceiling"),
        ("[limits]\nmemory = { ceiling = \"64MB\" }\n", 2, "is not a size"),
        ("[limits\n", 1, "not valid TOML"),
    ] {
        std::fs::write(&file, text).expect("written");
        let ran = cli.run(["package", "list"]).expect(2).says(told).says(&format!("limits.toml:{line}:"));
        assert!(ran.stdout.is_empty(), "{ran:?}");
        let problem = cli.run(["package", "list", "--json"]).expect(2).problem();
        assert_eq!(problem["type"], "urn:portcullis:error:invalid-settings");
        assert_eq!(problem["diagnostics"][0]["line"], line, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("limits.toml")), "{problem}");
    }
    // A file that is no text gives no limits either.
    std::fs::write(&file, b"\xff").expect("written");
    cli.run(["package", "list"]).expect(1).says("limits.toml");
    std::fs::write(&file, "[limits]\nfuel = { default = 1_000, ceiling = 2_000 }\n").expect("written");
    let ran = cli.call("memory", "compute", "{\"rounds\": 100000}").expect(4);
    assert_eq!(ran.problem()["limit"]["max"], 1_000);
    let grants =
        cli.file("more.toml", crate::harness::process::grant("memory", "limits = { fuel = 2_001 }\n"));
    cli.run(["grant", "apply", &grants]).expect(2).says("above the ceiling of 2000");
    // What an admin may raise is named where it is reached.
    std::fs::write(&file, "[limits]\ncompile_time = \"1ms\"\n").expect("written");
    let wasm = cli.file("polite.wasm", wat("polite"));
    let ran = cli.run(["package", "add", &wasm, "--name", "polite"]).expect(2);
    ran.says("compile_time").says("limits.toml");
    std::fs::remove_file(&file).expect("removed");
    cli.call("memory", "compute", "{\"rounds\": 100000}").expect(0);
}
