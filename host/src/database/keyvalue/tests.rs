//! Stores on real files: what is kept, counted and refused, and what many tasks at once make of it.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::database::{Database, NewPackage};
use crate::ids::PackageDigest;
use crate::limits::Limit;
use crate::package::PackageDescription;

const WIDE: StoreBounds = StoreBounds { bytes_max: 1 << 30, keys_max: 1_000_000 };

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("valid")
}

fn store(agent: Option<&str>) -> StoreId {
    StoreId { package: id("counter"), agent: agent.map(id), name: id("default") }
}

/// A database in which the package is registered.
async fn database(folder: &Path) -> Database {
    let database = Database::open(&folder.join("portcullis.db")).await.expect("opens");
    add(&database).await;
    database
}

async fn add(database: &Database) {
    let guard = database.begin_change().await.expect("free");
    let description = PackageDescription {
        tools: Vec::new(),
        imports: Vec::new(),
        capabilities: BTreeSet::new(),
        size: Default::default(),
        compile: None,
        left_out: Vec::new(),
    };
    let new = NewPackage {
        name: &id("counter"),
        digest: PackageDigest::of(b"counter"),
        version: &id("1.0.0"),
        bytes: 7,
        description: &description,
    };
    database.add_package(&guard, new, Timestamp::UNIX_EPOCH).await.expect("added");
}

/// What the store's row says, and what is there.
async fn counted(database: &Database, store: &StoreId) -> ((u64, u64), (u64, u64)) {
    let mut connection = database.readers.acquire().await.expect("free");
    let row = row_of(&mut connection, store).await.expect("read").expect("there");
    let (keys, bytes): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(value) + LENGTH(CAST(key AS BLOB))), 0) FROM kv_entries WHERE store = $1",
    )
    .bind(row.id)
    .fetch_one(&mut *connection)
    .await
    .expect("counted");
    let number = |value| from_integer("kv_entries", value).expect("not negative");
    ((row.keys, row.bytes), (number(keys), number(bytes)))
}

#[tokio::test]
async fn what_is_set_is_there_for_its_store_alone_and_after_a_restart() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let kv = database.key_value();
    let (all, ann, bob) = (store(None), store(Some("ann")), store(Some("bob")));
    let other = StoreId { name: id("other"), ..all.clone() };
    kv.set(&all, WIDE, &id("k"), b"all").await.expect("set");
    kv.set(&ann, WIDE, &id("k"), &[0, 255]).await.expect("set");
    kv.set(&ann, WIDE, &id("k2"), b"").await.expect("set");
    database.close().await;

    let database = Database::open(&temporary.path().join("portcullis.db")).await.expect("opens");
    let kv = database.key_value();
    assert_eq!(kv.get(&all, &id("k")).await.expect("read").as_deref(), Some(&b"all"[..]));
    assert_eq!(kv.get(&ann, &id("k")).await.expect("read").as_deref(), Some(&[0, 255][..]));
    assert_eq!(kv.get(&ann, &id("k2")).await.expect("read").as_deref(), Some(&b""[..]));
    for nobodys in [&bob, &other] {
        assert_eq!(kv.get(nobodys, &id("k")).await.expect("read"), None);
        assert!(!kv.exists(nobodys, &id("k")).await.expect("read"));
        assert_eq!(kv.list_keys(nobodys, None).await.expect("read"), KeyPage::default());
    }
    kv.delete_many(&ann, &[id("k"), id("never")]).await.expect("deleted");
    assert!(!kv.exists(&ann, &id("k")).await.expect("read"));
    assert!(kv.exists(&all, &id("k")).await.expect("read"));
    database.close().await;
}

#[tokio::test]
async fn many_tasks_that_increment_lose_nothing() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let kv = database.key_value();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..25 {
                    seen.push(kv.increment(&store(None), WIDE, &id("n"), 3).await.expect("incremented").0);
                }
                seen
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        seen.extend(task.await.expect("ended"));
    }
    let every: BTreeSet<u64> = (1..=400).map(|count| count * 3).collect();
    assert_eq!(seen, every, "each sum was given once");
    let kv = database.key_value();
    assert_eq!(kv.get(&store(None), &id("n")).await.expect("read").as_deref(), Some(&b"1200"[..]));
}

#[tokio::test]
async fn a_quota_holds_when_many_tasks_fill_the_store_at_once() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let bounds = StoreBounds { bytes_max: 1_000, keys_max: 20 };
    let tasks: Vec<_> = (0..40)
        .map(|task| {
            let kv = database.key_value();
            tokio::spawn(async move {
                let key = id(&format!("key-{task:02}"));
                kv.set(&store(None), bounds, &key, &[7; 94]).await
            })
        })
        .collect();
    let (mut set, mut refused) = (0, 0);
    for task in tasks {
        match task.await.expect("ended") {
            Ok(StoreSize { bytes, .. }) => {
                assert!(bytes <= 1_000);
                set += 1;
            }
            Err(KeyValueError::Full(reached)) => {
                assert_eq!((reached.limit, reached.value, reached.max), (Limit::KvBytes, 1_100, 1_000));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    // A key of 6 bytes and a value of 94: ten are exactly the quota.
    assert_eq!((set, refused), (10, 30));
    let (row, there) = counted(&database, &store(None)).await;
    assert_eq!((row, there), ((10, 1_000), (10, 1_000)));
}

#[tokio::test]
async fn a_full_store_takes_what_makes_it_no_larger() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let (kv, store) = (database.key_value(), store(None));
    let bounds = StoreBounds { bytes_max: 10, keys_max: 2 };
    kv.set(&store, bounds, &id("a"), &[0; 4]).await.expect("fits");
    kv.set(&store, bounds, &id("b"), &[0; 4]).await.expect("fits exactly");
    let limit = |result: Answer<StoreSize>| match result {
        Err(KeyValueError::Full(reached)) => reached.limit,
        other => panic!("{other:?}"),
    };
    assert_eq!(limit(kv.set(&store, bounds, &id("a"), &[0; 5]).await), Limit::KvBytes);
    assert_eq!(limit(kv.set_many(&store, bounds, &[(id("c"), vec![])]).await), Limit::KvBytes);
    kv.set(&store, bounds, &id("a"), &[0; 2]).await.expect("it is less");
    assert_eq!(limit(kv.set(&store, bounds, &id("c"), &[]).await), Limit::KvKeys);
    // The quota came down below what is held: less is taken, more is not.
    let less = StoreBounds { bytes_max: 1, keys_max: 1 };
    kv.set(&store, less, &id("b"), &[0; 3]).await.expect("it is less");
    assert_eq!(limit(kv.set(&store, less, &id("b"), &[0; 4]).await), Limit::KvBytes);
    kv.delete_many(&store, &[id("a"), id("b")]).await.expect("deleted");
    kv.set(&store, bounds, &id("c"), &[0; 9]).await.expect("there is room again");
    assert_eq!(counted(&database, &store).await, ((1, 10), (1, 10)));
}

#[tokio::test]
async fn a_batch_is_made_whole_or_not_at_all() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let (kv, store) = (database.key_value(), store(None));
    kv.set(&store, WIDE, &id("a"), b"1").await.expect("set");
    let too_long = vec![0; VALUE_BYTES_MAX + 1];
    let entries = [(id("a"), b"2".to_vec()), (id("b"), too_long)];
    let refused = kv.set_many(&store, WIDE, &entries).await;
    assert!(matches!(refused, Err(KeyValueError::ValueTooLong { .. })), "{refused:?}");
    let bounds = StoreBounds { bytes_max: 1 << 20, keys_max: 2 };
    let entries: Vec<(StoreKey, Vec<u8>)> = ["a", "b", "c"].map(|key| (id(key), b"3".to_vec())).into();
    assert!(kv.set_many(&store, bounds, &entries).await.is_err());
    let keys: Vec<StoreKey> = ["a", "b", "c"].map(id).into();
    assert_eq!(kv.get_many(&store, &keys).await.expect("read"), [Some(b"1".to_vec()), None, None]);
    // The same key twice: the last one counts.
    let entries = [(id("b"), b"4444".to_vec()), (id("b"), b"5".to_vec())];
    kv.set_many(&store, WIDE, &entries).await.expect("set");
    assert_eq!(
        kv.get_many(&store, &keys).await.expect("read"),
        [Some(b"1".to_vec()), Some(b"5".to_vec()), None]
    );
    assert_eq!(counted(&database, &store).await, ((2, 4), (2, 4)));
    let many: Vec<StoreKey> = (0..=BATCH_KEYS_MAX).map(|number| id(&number.to_string())).collect();
    assert!(matches!(kv.get_many(&store, &many).await, Err(KeyValueError::BatchTooLong { keys: 1_001 })));
    assert!(matches!(kv.delete_many(&store, &many).await, Err(KeyValueError::BatchTooLong { keys: 1_001 })));
}

#[tokio::test]
async fn an_answer_holds_no_more_than_its_bound() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let (kv, store) = (database.key_value(), store(None));
    kv.set(&store, WIDE, &id("a"), &vec![1; VALUE_BYTES_MAX]).await.expect("set");
    let twice = kv.get_many(&store, &[id("a"), id("a")]).await.expect("exactly the bound");
    assert_eq!(twice.iter().flatten().map(Vec::len).sum::<usize>(), BATCH_BYTES_MAX);
    kv.set(&store, WIDE, &id("b"), b"1").await.expect("set");
    let more = kv.get_many(&store, &[id("a"), id("a"), id("b")]).await;
    assert!(matches!(more, Err(KeyValueError::AnswerTooLong)), "{more:?}");
}

#[tokio::test]
async fn only_a_decimal_number_is_incremented() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let (kv, store) = (database.key_value(), store(None));
    for bad in ["", "x", "-1", "+1", " 1", "1.0", "18446744073709551616", "1\u{0}"] {
        kv.set(&store, WIDE, &id("n"), bad.as_bytes()).await.expect("set");
        let refused = kv.increment(&store, WIDE, &id("n"), 1).await;
        assert!(matches!(refused, Err(KeyValueError::NotANumber)), "{bad:?}: {refused:?}");
        assert_eq!(kv.get(&store, &id("n")).await.expect("read").as_deref(), Some(bad.as_bytes()));
    }
    kv.set(&store, WIDE, &id("n"), &[0xff]).await.expect("set");
    assert!(matches!(kv.increment(&store, WIDE, &id("n"), 1).await, Err(KeyValueError::NotANumber)));
    kv.set(&store, WIDE, &id("n"), b"007").await.expect("set");
    assert_eq!(kv.increment(&store, WIDE, &id("n"), 0).await.expect("a number").0, 7);
    assert_eq!(kv.increment(&store, WIDE, &id("new"), u64::MAX).await.expect("from 0").0, u64::MAX);
    assert!(matches!(kv.increment(&store, WIDE, &id("new"), 1).await, Err(KeyValueError::Overflow)));
    assert_eq!(kv.increment(&store, WIDE, &id("new"), 0).await.expect("as it was").0, u64::MAX);
}

#[tokio::test]
async fn a_key_that_stays_is_on_one_page_whatever_changes_meanwhile() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let (kv, store) = (database.key_value(), store(None));
    let key = |number: usize| id::<StoreKey>(&format!("k{number}"));
    for batch in (0..1_200).collect::<Vec<_>>().chunks(400) {
        let entries: Vec<_> = batch.iter().map(|number| (key(*number), vec![1])).collect();
        kv.set_many(&store, WIDE, &entries).await.expect("set");
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = kv.list_keys(&store, cursor).await.expect("listed");
        assert!(page.keys.len() <= PAGE_KEYS_MAX);
        pages += 1;
        seen.extend(page.keys);
        // Behind the cursor one goes; ahead of it, one gets another value and one is new.
        kv.delete_many(&store, &[key(pages)]).await.expect("deleted");
        kv.set(&store, WIDE, &key(1_199), b"again").await.expect("set");
        kv.set(&store, WIDE, &key(2_000 + pages), b"new").await.expect("set");
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    let of_old: Vec<&String> = seen.iter().filter(|key| key.len() < 5 || key.as_str() < "k2").collect();
    assert_eq!(of_old.len(), 1_200);
    assert_eq!(of_old.iter().collect::<BTreeSet<_>>().len(), 1_200);
    for beyond in [1_000_000, u64::MAX] {
        assert_eq!(kv.list_keys(&store, Some(beyond)).await.expect("listed"), KeyPage::default());
    }
}

#[tokio::test]
async fn what_a_package_kept_goes_with_it_and_does_not_come_back() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let kv = database.key_value();
    kv.set(&store(Some("ann")), WIDE, &id("k"), b"old").await.expect("set");
    let guard = database.begin_change().await.expect("free");
    let removal = database
        .prepare_removal(guard, &id("counter"), &id("root"), Timestamp::UNIX_EPOCH)
        .await
        .expect("planned");
    drop(removal.commit().await.expect("removed"));
    let late = kv.set(&store(Some("ann")), WIDE, &id("late"), b"x").await;
    assert!(matches!(late, Err(KeyValueError::NoPackage)), "{late:?}");
    add(&database).await;
    assert_eq!(kv.list_keys(&store(Some("ann")), None).await.expect("listed"), KeyPage::default());
    kv.set(&store(Some("ann")), WIDE, &id("k"), b"new").await.expect("set");
    assert_eq!(counted(&database, &store(Some("ann"))).await, ((1, 4), (1, 4)));
}

#[tokio::test]
async fn state_is_part_of_a_copy_and_is_read_while_one_is_made() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let kv = database.key_value();
    kv.set(&store(None), WIDE, &id("k"), b"kept").await.expect("set");
    // As a backup does: whoever writes has the one connection meanwhile.
    let busy = database.pool.acquire().await.expect("free");
    assert_eq!(kv.get(&store(None), &id("k")).await.expect("read").as_deref(), Some(&b"kept"[..]));
    drop(busy);
    let target = temporary.path().join("copy.db");
    std::fs::File::create(&target).expect("made");
    database.copy_into(&target).await.expect("copied");
    let copy = Database::open(&target).await.expect("opens");
    assert_eq!(
        copy.key_value().get(&store(None), &id("k")).await.expect("read").as_deref(),
        Some(&b"kept"[..])
    );
}

#[tokio::test]
async fn who_waits_too_long_for_its_turn_is_told_and_nothing_is_changed() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let writer = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(std::time::Duration::from_millis(50));
    let options = database.pool.connect_options();
    let kv = KeyValue::new(writer.connect_lazy_with((*options).clone()), database.readers.clone());
    let busy = kv.writer.acquire().await.expect("free");
    let late = kv.set(&store(None), WIDE, &id("k"), b"late").await;
    assert!(matches!(late, Err(KeyValueError::Database(DatabaseError::Busy))), "{late:?}");
    drop(busy);
    assert_eq!(kv.get(&store(None), &id("k")).await.expect("read"), None);
    kv.set(&store(None), WIDE, &id("k"), b"in time").await.expect("its turn");
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, usize),
    Many(Vec<(usize, usize)>),
    Delete(Vec<usize>),
    Increment(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, length) = (0..6_usize, 0..40_usize);
    let step = prop_oneof![
        (key.clone(), length.clone()).prop_map(|(key, length)| Step::Set(key, length)),
        proptest::collection::vec((key.clone(), length), 0..4).prop_map(Step::Many),
        proptest::collection::vec(key.clone(), 0..4).prop_map(Step::Delete),
        (key, any::<u64>()).prop_map(|(key, delta)| Step::Increment(key, delta)),
    ];
    proptest::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Against a map in memory: the same answers, and counts that are what is there.
    #[test]
    fn a_store_is_a_map_with_a_quota(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(against_a_map(steps));
    }
}

async fn against_a_map(steps: Vec<Step>) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let database = database(temporary.path()).await;
    let (kv, store) = (database.key_value(), store(None));
    let bounds = StoreBounds { bytes_max: 120, keys_max: 4 };
    let key = |number: usize| id::<StoreKey>(&"k".repeat(number + 1));
    let bytes_of = |map: &std::collections::BTreeMap<String, Vec<u8>>| {
        map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
    };
    let mut model = std::collections::BTreeMap::<String, Vec<u8>>::new();
    for step in steps {
        let mut next = model.clone();
        let (done, fits) = match step {
            Step::Set(number, length) => {
                next.insert(key(number).to_string(), vec![b'x'; length]);
                (kv.set(&store, bounds, &key(number), &vec![b'x'; length]).await, true)
            }
            Step::Many(entries) => {
                let entries: Vec<_> =
                    entries.into_iter().map(|(number, length)| (key(number), vec![b'y'; length])).collect();
                next.extend(entries.iter().map(|(key, value)| (key.to_string(), value.clone())));
                (kv.set_many(&store, bounds, &entries).await, true)
            }
            Step::Delete(numbers) => {
                let keys: Vec<StoreKey> = numbers.into_iter().map(key).collect();
                next.retain(|name, _| !keys.iter().any(|key| key.as_str() == name));
                (kv.delete_many(&store, &keys).await, true)
            }
            Step::Increment(number, delta) => {
                let held = next.get(key(number).as_str()).map_or(Some(0), |value| parse_number(value));
                let sum = held.and_then(|held| held.checked_add(delta));
                if let Some(sum) = sum {
                    next.insert(key(number).to_string(), sum.to_string().into_bytes());
                }
                let done = kv.increment(&store, bounds, &key(number), delta).await;
                if let Ok((done, _)) = &done {
                    assert_eq!(Some(*done), sum);
                }
                (done.map(|(_, size)| size), sum.is_some())
            }
        };
        let grows = |before: usize, after: usize, max: usize| after > before && after > max;
        let full = grows(bytes_of(&model), bytes_of(&next), 120) || grows(model.len(), next.len(), 4);
        assert_eq!(done.is_ok(), fits && !full, "{done:?}");
        if let Ok(size) = done {
            model = next;
            let held = StoreSize { bytes: bytes_of(&model) as u64, keys: model.len() as u64 };
            assert_eq!(size, held);
        }
        for number in 0..6 {
            let found = kv.get(&store, &key(number)).await.expect("read");
            assert_eq!(found.as_ref(), model.get(key(number).as_str()));
        }
        let listed = kv.list_keys(&store, None).await.expect("listed").keys;
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), model.keys().cloned().collect());
    }
    if !model.is_empty() {
        let there = (model.len() as u64, bytes_of(&model) as u64);
        assert_eq!(counted(&database, &store).await, (there, there));
    }
}
