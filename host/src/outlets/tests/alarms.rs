//! What becomes of outlets is in the log: once for each change, and records about shipping do not feed themselves.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::audit::event::{OutletKind, OutletTrouble};
use crate::audit::query::{self, Filter};
use crate::ids::Sequence;

/// Longer than two records about one outlet are apart, with the shortest `lag_max`.
const A_WHILE: Duration = Duration::from_millis(2_500);

impl World {
    /// What the log says of outlets, in order.
    fn told(&self) -> Vec<Event> {
        let records =
            query::read(&self.audit(), Filter::default()).map(|record| record.expect("reads").event);
        let is_told = |event: &Event| {
            matches!(
                event,
                Event::OutletAlarm { .. } | Event::OutletRecovered { .. } | Event::OutletLost { .. }
            )
        };
        records.filter(is_told).collect()
    }

    async fn wait_for_told(&self, count: usize) -> Vec<Event> {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.told();
            if told.len() >= count {
                return told;
            }
            assert!(Instant::now() < until, "not in time: {told:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn recovered(kind: OutletKind, name: &str) -> Event {
    Event::OutletRecovered { name: name.parse().expect("a name"), kind }
}

#[tokio::test]
async fn a_sink_that_lags_and_recovers_is_one_record_each() {
    let world = World::new();
    let works = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&works);
    let answer =
        move |_: &[u8]| Reply::Answer(if shared.load(Ordering::SeqCst) { 200 } else { 503 }, "{}".into());
    let port = serve(true, Arc::new(answer)).await;
    let settings = format!(
        "[[ship]]\nname = \"o\"\nkind = \"otlp\"\nurl = \"http://127.0.0.1:{port}/v1/logs\"\nlag_max = \"1s\""
    );
    let mut outlets = world.start(&settings);
    world.append(1).await;
    world.wait_for_told(1).await;
    // It is tried again and again, and stays one alarm.
    sleep(A_WHILE).await;
    let told = world.told();
    let [Event::OutletAlarm { name, kind: OutletKind::Ship, because: OutletTrouble::Lags, reason }] =
        &told[..]
    else {
        panic!("{told:?}");
    };
    assert!(name.as_str() == "o" && reason.as_ref().is_some_and(|reason| reason.contains("503")), "{told:?}");
    works.store(true, Ordering::SeqCst);
    let told = world.wait_for_told(2).await;
    assert_eq!(told[1], recovered(OutletKind::Ship, "o"));
    // The records that say so are shipped, and nothing is said of that.
    world.wait(&outlets, "shipped", |health| health.behind == 0).await;
    sleep(A_WHILE).await;
    assert_eq!(world.told().len(), 2);
    let health = world.health(&outlets);
    assert_eq!((health.records, health.alarm), (4, false), "start, backup, alarm, recovery: {health:?}");
    outlets.close().await;
}

#[tokio::test]
async fn an_anchor_that_disagrees_or_fails_is_a_record_and_one_that_works_is_none() {
    let world = World::new();
    world.append(8).await;
    let memory = Mutex::new(Memory { size: 3, root: Some(Hash([1; 32])), cosigned: 0 });
    let port = serve(true, Arc::new(move |body: &[u8]| witness(&memory, body))).await;
    let kept = world.path("checkpoints.jsonl");
    let works =
        anchor(&format!("kind = \"file\"\npath = \"{}\"", kept.display())).replace("\"a\"", "\"works\"");
    let settings = format!("{}\n{works}", witness_settings(port, "").replace("\"1s\"", "\"1h\""));
    let mut outlets = world.start(&settings);
    let told = world.wait_for_told(1).await;
    sleep(A_WHILE).await;
    assert_eq!(world.told(), told);
    let [Event::OutletAlarm { name, kind: OutletKind::Anchor, because: OutletTrouble::Disagrees, reason }] =
        &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(name.as_str(), "a");
    assert!(reason.as_ref().is_some_and(|reason| reason.contains("does not find the 3 records")), "{told:?}");
    outlets.close().await;

    let world = World::new();
    let flag = world.path("works");
    let script = format!("test -e {}", flag.display());
    let settings = anchor(&format!("kind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]"));
    let mut outlets = world.start(&settings);
    world.append(1).await;
    let told = world.wait_for_told(1).await;
    assert!(matches!(told[0], Event::OutletAlarm { because: OutletTrouble::Lags, .. }), "{told:?}");
    fs::write(&flag, "").expect("written");
    assert_eq!(world.wait_for_told(2).await[1], recovered(OutletKind::Anchor, "a"));
    sleep(A_WHILE).await;
    assert_eq!(world.told().len(), 2);
    outlets.close().await;
}

#[tokio::test]
async fn text_that_was_dropped_before_it_was_shipped_is_counted_and_recorded_and_shipping_goes_on() {
    let settings =
        AuditSettings { segment_bytes: 4_000, keep_bytes: Some(1_000), ..AuditSettings::default() };
    let world = World::with(settings);
    let path = world.path("ocsf.jsonl");
    let ship = format!("[[ship]]\nname = \"f\"\nkind = \"file\"\npath = \"{}\"", path.display());
    let first = || query::read(&world.audit(), Filter::default()).next().expect("one").expect("reads").seq;
    let drop_text = async |beyond: u64| {
        let until = Instant::now() + PATIENCE;
        while first().0 <= beyond {
            assert!(Instant::now() < until, "retention drops nothing");
            world.append(20).await;
        }
    };
    // One that is new begins with what is there, and has lost nothing.
    drop_text(10).await;
    let mut outlets = world.start(&ship);
    let health = world.wait(&outlets, "shipped", |health| health.behind == 0).await;
    assert_eq!(health.lost, 0);
    outlets.close().await;
    let cursor = fs::read_to_string(world.audit().join("ship/f.cursor")).expect("a cursor");
    let next = serde_json::from_str::<Value>(&cursor).expect("JSON")["next"].as_u64().expect("a number");
    assert_eq!(world.told(), []);

    drop_text(next + 10).await;
    let before = fs::read_to_string(&path).expect("text").lines().count();
    let mut outlets = world.start(&ship);
    world.wait(&outlets, "shipped", |health| health.behind == 0).await;
    let told = world.wait_for_told(1).await;
    let [Event::OutletLost { name, records, through }] = &told[..] else { panic!("{told:?}") };
    // From the first record that was dropped to the last.
    assert_eq!((name.as_str(), *records), ("f", through.0 + 1 - next));
    let health = world.wait(&outlets, "shipped", |health| health.behind == 0).await;
    assert_eq!((health.lost, health.alarm), (*records, false));
    outlets.close().await;
    let text = fs::read_to_string(&path).expect("text");
    let shipped = sequences(&text.lines().skip(before).collect::<Vec<_>>().join("\n"));
    assert_eq!(shipped, (through.0 + 1..health.records).collect::<Vec<_>>(), "all that was there, once");
    assert!(text.contains("outlet_lost"), "the SIEM is told as well");

    // Once, and not by each start.
    let mut outlets = world.start(&ship);
    let total = Sequence(world.append(1).await);
    world.wait(&outlets, "shipped", |health| health.records == total.0).await;
    outlets.close().await;
    assert_eq!(world.told().len(), 1);
}
