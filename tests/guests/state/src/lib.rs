//! Keeps state in granted stores, and tells its configuration.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "wit"],
        world: "test:state/state-guest",
        generate_all,
    });
}

use bindings::exports::test::state::state::Guest;
use bindings::wasi::config::store as config;
use bindings::wasi::keyvalue::store::{self, Bucket, Error};
use bindings::wasi::keyvalue::{atomics, batch};

struct State;

fn named(error: Error) -> String {
    match error {
        Error::NoSuchStore => "no-such-store".to_owned(),
        Error::AccessDenied => "access-denied".to_owned(),
        Error::Other(text) => format!("other: {text}"),
    }
}

fn named_config(error: config::Error) -> String {
    match error {
        config::Error::Upstream(text) => format!("upstream: {text}"),
        config::Error::Io(text) => format!("io: {text}"),
    }
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8_lossy(&value).into_owned()
}

fn with<T>(name: &str, work: impl FnOnce(&Bucket) -> Result<T, Error>) -> Result<T, String> {
    let bucket = store::open(name).map_err(named)?;
    work(&bucket).map_err(named)
}

impl Guest for State {
    fn get(store: String, key: String) -> Result<Option<String>, String> {
        with(&store, |bucket| Ok(bucket.get(&key)?.map(text)))
    }

    fn set(store: String, key: String, value: String) -> Result<(), String> {
        with(&store, |bucket| bucket.set(&key, value.as_bytes()))
    }

    fn set_long(store: String, key: String, bytes: u32) -> Result<(), String> {
        with(&store, |bucket| bucket.set(&key, &vec![b'x'; bytes as usize]))
    }

    fn delete(store: String, key: String) -> Result<(), String> {
        with(&store, |bucket| bucket.delete(&key))
    }

    fn exists(store: String, key: String) -> Result<bool, String> {
        with(&store, |bucket| bucket.exists(&key))
    }

    fn keys(store: String) -> Result<(Vec<String>, u32), String> {
        with(&store, |bucket| {
            let (mut keys, mut cursor, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = bucket.list_keys(cursor)?;
                keys.extend(page.keys);
                pages += 1;
                cursor = page.cursor;
                if cursor.is_none() {
                    keys.sort();
                    return Ok((keys, pages));
                }
            }
        })
    }

    fn increment(store: String, key: String, delta: u64, times: u32) -> Result<u64, String> {
        with(&store, |bucket| (0..times).try_fold(0, |_, _| atomics::increment(bucket, &key, delta)))
    }

    fn get_many(store: String, keys: Vec<String>) -> Result<Vec<Option<String>>, String> {
        let pairs = with(&store, |bucket| batch::get_many(bucket, &keys))?;
        let of_key = |(key, pair): (&String, Option<(String, Vec<u8>)>)| match pair {
            Some((other, _)) if other != *key => Err(format!("{other} instead of {key}")),
            pair => Ok(pair.map(|(_, value)| text(value))),
        };
        keys.iter().zip(pairs).map(of_key).collect()
    }

    fn set_many(store: String, keys: Vec<String>, value: String) -> Result<(), String> {
        let pairs: Vec<_> = keys.into_iter().map(|key| (key, value.clone().into_bytes())).collect();
        with(&store, |bucket| batch::set_many(bucket, &pairs))
    }

    fn delete_many(store: String, keys: Vec<String>) -> Result<(), String> {
        with(&store, |bucket| batch::delete_many(bucket, &keys))
    }

    fn read_often(store: String, key: String, times: u32) -> Result<u64, String> {
        with(&store, |bucket| {
            (0..times).try_fold(0, |sum, _| Ok(sum + bucket.get(&key)?.map_or(0, |value| value.len() as u64)))
        })
    }

    fn write_often(store: String, key: String, bytes: u32, times: u32) -> Result<(), String> {
        let value = vec![b'x'; bytes as usize];
        with(&store, |bucket| (0..times).try_for_each(|_| bucket.set(&key, &value)))
    }

    fn config(key: String) -> Result<Option<String>, String> {
        config::get(&key).map_err(named_config)
    }

    fn config_all() -> Result<Vec<(String, String)>, String> {
        config::get_all().map_err(named_config)
    }
}

bindings::export!(State with_types_in bindings);
