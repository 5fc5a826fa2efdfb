//! A host for tests, one for each thread: it grants what a test furnished it with, and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use crate::http::{HttpError, Request, Response};
use crate::invoke::InvokeError;
use crate::kv::KvError;
use crate::log::Level;
use crate::secrets::SecretError;

/// Answers a call of another tool: package, tool and arguments to content and structured value, all JSON.
pub(crate) type Tools = Box<dyn Fn(&str, &str, &str) -> Result<(String, Option<String>), InvokeError>>;

/// Answers requests.
pub(crate) type Server = Box<dyn Fn(&Request) -> Result<Response, HttpError>>;

/// The keys of a store in the order in which they were first set, each with its number.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    entries: BTreeMap<String, (u64, Vec<u8>)>,
    next: u64,
}

/// What tests furnish, and what the tool did.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) stores: BTreeMap<String, Entries>,
    pub(crate) config: Vec<(String, String)>,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    pub(crate) tools: Option<Tools>,
    pub(crate) server: Option<Server>,
    pub(crate) lines: Vec<(Level, String, String)>,
    pub(crate) steps: Vec<(f64, Option<f64>, String)>,
    pub(crate) is_cancelled: bool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("stores", &self.stores)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

pub(crate) fn world<T>(use_it: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(use_it)
}

/// How many keys come on one page: few, so that tests see several.
const PAGE_KEYS_MAX: usize = 3;

/// An open store.
#[derive(Debug)]
pub(crate) struct Bucket(String);

impl Bucket {
    pub(crate) fn open(name: &str) -> Result<Self, KvError> {
        let is_granted = world(|world| world.stores.contains_key(name));
        if is_granted { Ok(Self(name.to_owned())) } else { Err(KvError::AccessDenied) }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Entries) -> T) -> T {
        world(|world| use_it(world.stores.entry(self.0.clone()).or_default()))
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.with(|store| store.entries.get(key).map(|(_, value)| value.clone())))
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), KvError> {
        check(key)?;
        self.with(|store| {
            let next = store.next;
            let entry = store.entries.entry(key.to_owned()).or_insert_with(|| (next, Vec::new()));
            entry.1 = value.to_vec();
            store.next += 1;
        });
        Ok(())
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), KvError> {
        self.with(|store| store.entries.remove(key));
        Ok(())
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, KvError> {
        Ok(self.with(|store| store.entries.contains_key(key)))
    }

    pub(crate) fn page(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), KvError> {
        let mut keys: Vec<(u64, String)> = self
            .with(|store| store.entries.iter().map(|(key, (number, _))| (*number, key.clone())).collect());
        keys.retain(|(number, _)| cursor.is_none_or(|cursor| *number >= cursor));
        keys.sort();
        let next = keys.get(PAGE_KEYS_MAX).map(|(number, _)| *number);
        keys.truncate(PAGE_KEYS_MAX);
        Ok((keys.into_iter().map(|(_, key)| key).collect(), next))
    }

    pub(crate) fn increment(&self, key: &str, delta: u64) -> Result<u64, KvError> {
        let held = self.get(key)?.unwrap_or_else(|| b"0".to_vec());
        let number = std::str::from_utf8(&held).ok().and_then(|text| text.parse::<u64>().ok());
        let number = number.ok_or_else(|| KvError::Other("the value is not a decimal number".to_owned()))?;
        let sum =
            number.checked_add(delta).ok_or_else(|| KvError::Other("the sum is too large".to_owned()))?;
        self.set(key, sum.to_string().as_bytes())?;
        Ok(sum)
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    pub(crate) fn set_many(&self, entries: &[(String, Vec<u8>)]) -> Result<(), KvError> {
        entries.iter().try_for_each(|(key, _)| check(key))?;
        entries.iter().try_for_each(|(key, value)| self.set(key, value))
    }

    pub(crate) fn delete_many(&self, keys: &[String]) -> Result<(), KvError> {
        keys.iter().try_for_each(|key| self.delete(key))
    }
}

/// As the host has it.
fn check(key: &str) -> Result<(), KvError> {
    if key.is_empty() || key.len() > 1_024 || key.contains('\0') {
        return Err(KvError::Other(format!("{key:?} is not a valid key")));
    }
    Ok(())
}

pub(crate) fn config(key: &str) -> Result<Option<String>, String> {
    let all = config_all()?;
    Ok(all.into_iter().find(|(name, _)| name == key).map(|(_, value)| value))
}

pub(crate) fn config_all() -> Result<Vec<(String, String)>, String> {
    let all = world(|world| world.config.clone());
    if all.is_empty() { Err("not permitted: no configuration is granted".to_owned()) } else { Ok(all) }
}

pub(crate) fn log(level: Level, context: &str, message: &str) {
    world(|world| world.lines.push((level, context.to_owned(), message.to_owned())));
}

pub(crate) fn report(done: f64, total: Option<f64>, message: &str) {
    world(|world| world.steps.push((done, total, message.to_owned())));
}

pub(crate) fn is_cancelled() -> bool {
    world(|world| world.is_cancelled)
}

pub(crate) fn invoke(
    package: &str,
    tool: &str,
    arguments: &str,
) -> Result<(String, Option<String>), InvokeError> {
    // Taken out meanwhile: what answers may use the world as well.
    let Some(tools) = world(|world| world.tools.take()) else {
        return Err(InvokeError::Denied("no grant of this call names the tool".to_owned()));
    };
    let answer = tools(package, tool, arguments);
    world(|world| drop(world.tools.replace(tools)));
    answer
}

pub(crate) fn secret(name: &str) -> Result<Vec<u8>, SecretError> {
    world(|world| world.secrets.get(name).cloned()).ok_or(SecretError::NotPermitted)
}

pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
    let Some(server) = world(|world| world.server.take()) else { return Err(HttpError::Denied) };
    let answer = server(request);
    world(|world| drop(world.server.replace(server)));
    answer
}
