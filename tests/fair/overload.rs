//! Far more than a host can do: it holds no more than its bounds say, tells all others so, and goes on.

use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;

use super::door::{call, door, start, until};
use crate::harness::process::wait_until;

/// Calls of each of three agents.
const EACH: usize = 40;
const PLACES: usize = 2;
const WAITING: u64 = 6;

/// With two places and six that may wait, of 120 calls six wait and 114 are refused at once, each told when to come
/// again; those six are answered once there is room, and the host is as it was. Twice, so that nothing is left over.
#[test]
fn a_flood_is_bounded_refused_and_over() {
    let (door, agents) = door(&format!(
        "host_concurrency = {PLACES}\nprincipal_queue = 4\nhost_queue = {WAITING}\nqueue_time = \"5m\"\n"
    ));
    let metric = |name: &str| -> u64 {
        let metrics = door.admin.get("/metrics").expect(200);
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let values = text.lines().filter(|line| line.starts_with(name));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    for round in 1..=2 {
        let held: Vec<_> =
            (0..PLACES).map(|_| start(&agents[0], "sleep", json!({"milliseconds": 600_000}))).collect();
        until(&door, PLACES, 0);
        let (told, answers) = mpsc::channel();
        let flood: Vec<_> = agents
            .iter()
            .flat_map(|agent| std::iter::repeat_n(agent.clone(), EACH))
            .map(|agent| {
                let told = told.clone();
                std::thread::spawn(move || told.send(call(&agent, "compute", json!({"rounds": 1}))))
            })
            .collect();
        let sent = flood.len();
        let refused_in_all = sent - usize::try_from(WAITING).expect("small");
        for _ in 0..refused_in_all {
            // The places are held and nobody who waits is served: whatever comes was refused.
            let answer = answers.recv_timeout(Duration::from_secs(120)).expect("refused at once");
            assert!([429, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert!(["busy", "too-many-requests"].contains(&&*answer.problem().1), "{:?}", answer.problem());
        }
        until(&door, PLACES, WAITING);
        assert!(answers.try_recv().is_err(), "the others wait");
        let running = door.admin.get("/v1/status").expect(200).json()["running"].clone();
        for call in running.as_array().expect("a list") {
            let call = call["call"].as_str().expect("an id");
            door.admin.ask("DELETE", &format!("/v1/calls/{call}"), b"").expect(200);
        }
        for _ in 0..WAITING {
            answers.recv_timeout(Duration::from_secs(120)).expect("its turn").expect(200);
        }
        for call in flood {
            call.join().expect("no panic").expect("heard");
        }
        for call in held {
            call.join().expect("answered").expect(409);
        }
        until(&door, 0, 0);
        let expected = round * refused_in_all as u64;
        wait_until("all refusals are in the log", || metric("portcullis_calls_refused_total") == expected);
        assert_eq!(metric("portcullis_calls_waiting"), 0);
    }
    // Nobody's share was used up by it.
    call(&agents[2], "compute", json!({"rounds": 1})).expect(200);
}
