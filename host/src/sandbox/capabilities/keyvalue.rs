//! `wasi:keyvalue` in the version 0.2.0-draft: the granted stores, kept in the host's database.
//!
//! A store that is not granted answers `access-denied`, whether or not there is one. Writes are effects. One
//! that is under way when the call ends is made all the same; the call's last record waits for it a moment.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::Resource;

use super::gate::{Entered, HostFunction};
use super::{CallState, SUBJECT_BYTES_MAX};
use crate::audit::event::{Decision, HostCallOutcome, LeakPlace};
use crate::database::{DatabaseError, KeyPage, KeyValue, KeyValueError, StoreBounds, StoreId, StoreSize};
use crate::ids::{PackageName, PrincipalId, StoreKey, StoreName};
use crate::limits::{HostLimits, Limit, LimitReached};
use crate::policy::{Access, AuthorizedRule, KeyvalueRule, Rule, StoreScope};
use crate::sandbox::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::secrets::Leak;
use crate::text::clean_line;

/// Why a store that may be read is not written.
const READ_ONLY: &str = "the store may only be read";

mod stores {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:keyvalue/store":
        OPEN = "open";
        GET = "[method]bucket.get";
        SET = "[method]bucket.set", Always;
        DELETE = "[method]bucket.delete", Always;
        EXISTS = "[method]bucket.exists";
        LIST_KEYS = "[method]bucket.list-keys";
    }
}

mod atomic {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:keyvalue/atomics":
        INCREMENT = "increment", Always;
    }
}

mod batches {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:keyvalue/batch":
        GET_MANY = "get-many";
        SET_MANY = "set-many", Always;
        DELETE_MANY = "delete-many", Always;
    }
}

/// The functions of `wasi:keyvalue`.
pub(crate) const FUNCTIONS: &[&[&HostFunction]] = &[stores::ALL, atomic::ALL, batches::ALL];

/// The granted stores of a call, by the names that the guest opens them by.
#[derive(Debug, Default)]
pub(crate) struct Stores(BTreeMap<StoreName, Bucket>);

/// An open store.
#[derive(Clone, Debug)]
pub struct Bucket(Arc<GrantedStore>);

#[derive(Debug)]
struct GrantedStore {
    id: StoreId,
    access: Access,
    bounds: StoreBounds,
    /// The name of the rule.
    rule: String,
    state: KeyValue,
}

impl Stores {
    /// Those that the rules of a call give. Of several rules for one store, the widest counts; no quota is
    /// above the host's ceiling.
    pub(crate) fn new(
        rules: &[AuthorizedRule],
        (package, agent): (&PackageName, &PrincipalId),
        state: &KeyValue,
        limits: &HostLimits,
    ) -> Self {
        let mut widest: BTreeMap<&StoreName, (&KeyvalueRule, &AuthorizedRule)> = BTreeMap::new();
        for given in rules {
            let rule = match &given.rule {
                Rule::Keyvalue(rule) => rule,
                Rule::Http(_)
                | Rule::Invoke(_)
                | Rule::Config(_)
                | Rule::Environment(_)
                | Rule::Arguments(_)
                | Rule::Tcp(_)
                | Rule::Udp(_)
                | Rule::Dns(_)
                | Rule::Secrets(_) => continue,
            };
            if widest.get(&rule.store).is_none_or(|(earlier, _)| rule.width() > earlier.width()) {
                widest.insert(&rule.store, (rule, given));
            }
        }
        let granted = |(name, (rule, given)): (&StoreName, (&KeyvalueRule, &AuthorizedRule))| {
            let agent = match rule.scope {
                StoreScope::Package => None,
                StoreScope::Agent => Some(agent.clone()),
            };
            let store = GrantedStore {
                id: StoreId { package: package.clone(), agent, name: name.clone() },
                access: rule.access,
                bounds: StoreBounds {
                    bytes_max: rule.quota_bytes.min(limits.ceiling_of(Limit::KvBytes)),
                    keys_max: rule.keys_max.min(limits.ceiling_of(Limit::KvKeys)),
                },
                rule: given.name(),
                state: state.clone(),
            };
            (name.clone(), Bucket(Arc::new(store)))
        };
        Self(widest.into_iter().map(granted).collect())
    }
}

/// What a guest's argument says, or why it can't be.
type Argument<T> = Result<T, KeyValueFault>;

/// Why a store did not do what the guest asked.
#[derive(Debug, thiserror::Error)]
enum KeyValueFault {
    /// No key is like this.
    #[error(transparent)]
    Key(#[from] crate::ids::IdError),
    #[error(transparent)]
    Store(#[from] KeyValueError),
}

impl KeyValueFault {
    /// What the log calls it, and what the guest is told. What went wrong in the host itself is for its own
    /// log only.
    fn told(&self) -> (&'static str, String) {
        let error = match self {
            KeyValueFault::Key(error) => return ("invalid-key", error.to_string()),
            KeyValueFault::Store(error) => error,
        };
        let name = match error {
            KeyValueError::Full(reached) => reached.limit.name(),
            KeyValueError::ValueTooLong { .. } => "value-too-long",
            KeyValueError::BatchTooLong { .. } => "batch-too-long",
            KeyValueError::AnswerTooLong => "answer-too-long",
            KeyValueError::NotANumber => "not-a-number",
            KeyValueError::Overflow => "overflow",
            KeyValueError::NoPackage => "no-package",
            KeyValueError::Database(DatabaseError::Busy) => {
                return ("busy", "the store is busy; try again".to_owned());
            }
            KeyValueError::Database(error) => {
                tracing::error!(%error, "a store can't be used");
                return ("unavailable", "the host can't use the store now".to_owned());
            }
        };
        (name, error.to_string())
    }
}

impl CallState {
    fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Bucket> {
        Ok(self.table.get(bucket)?.clone())
    }

    /// Lets a read in, performs it and records what came of it.
    async fn read_store<T, F>(
        &mut self,
        function: &'static HostFunction,
        Bucket(store): Bucket,
        subject: &str,
        read: impl FnOnce(Arc<GrantedStore>) -> Argument<F>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> wasmtime::Result<Result<T, store::Error>>
    where
        F: Future<Output = Result<T, KeyValueError>>,
    {
        let entered = self.gate.enter(function, Some(store.subject(subject))).await?;
        let done = match read(Arc::clone(&store)) {
            Ok(reading) => reading.await.map_err(KeyValueFault::from),
            Err(fault) => Err(fault),
        };
        let value = match done {
            Ok(value) => value,
            Err(fault) => return Ok(Err(self.leave_with_fault(entered, &store, &fault))),
        };
        let (bytes, max) = (bytes(&value) as u64, self.gate.limits().copied_bytes);
        if bytes > max {
            let outcome = HostCallOutcome::Trapped(Cow::Borrowed(Limit::CopiedBytes.name()));
            self.gate.leave(entered, store.allowed(), outcome, 0, 0);
            return Err(LimitReached { limit: Limit::CopiedBytes, value: bytes, max }.into());
        }
        self.gate.leave(entered, store.allowed(), HostCallOutcome::Ok, bytes, 0);
        Ok(Ok(value))
    }

    /// The first secret in what is to be kept.
    fn leak_in<'k>(&self, mut kept: impl Iterator<Item = &'k [u8]>) -> Option<Leak> {
        let patterns = self.gate.secrets().patterns();
        kept.find_map(|kept| patterns.find(kept))
    }

    /// Lets a write in if the store may be written and nothing of it is a secret, performs it between its two
    /// records, and has it go to its end even if the call does not. What it gives is the new number of an
    /// increment.
    async fn write_store<F>(
        &mut self,
        function: &'static HostFunction,
        Bucket(store): Bucket,
        subject: &str,
        bytes: usize,
        leak: Option<Leak>,
        write: impl FnOnce(Arc<GrantedStore>) -> Argument<F>,
    ) -> wasmtime::Result<Result<u64, store::Error>>
    where
        F: Future<Output = Result<(u64, StoreSize), KeyValueError>> + Send + 'static,
    {
        let entered = self.gate.enter(function, Some(store.subject(subject))).await?;
        match store.access {
            Access::ReadWrite => {}
            Access::Read => {
                self.gate.deny(entered, READ_ONLY, "access-denied");
                return Ok(Err(store::Error::AccessDenied));
            }
        }
        if let Some(leak) = leak {
            let why = self.leak_refused(LeakPlace::State, &leak);
            self.gate.deny(entered, why, "access-denied");
            return Ok(Err(store::Error::AccessDenied));
        }
        let writing = match write(Arc::clone(&store)) {
            Ok(writing) => writing,
            Err(fault) => return Ok(Err(self.leave_with_fault(entered, &store, &fault))),
        };
        let attempted = self.gate.attempt(entered, Cow::Owned(store.rule.clone()), bytes as u64).await?;
        let settled = self.filesystem.settled();
        let written = tokio::spawn(async move {
            let _settled = settled.acquire_owned().await;
            writing.await
        });
        match written.await? {
            Ok((number, held)) => {
                let usage = self.gate.usage();
                usage.kv_bytes_peak = usage.kv_bytes_peak.max(held.bytes);
                usage.kv_keys_peak = usage.kv_keys_peak.max(held.keys);
                self.gate.finish(attempted, HostCallOutcome::Ok);
                Ok(Ok(number))
            }
            Err(error) => {
                let (name, told) = KeyValueFault::from(error).told();
                self.gate.finish(attempted, HostCallOutcome::Error(Cow::Borrowed(name)));
                Ok(Err(store::Error::Other(told)))
            }
        }
    }

    fn leave_with_fault(
        &mut self,
        entered: Entered,
        store: &GrantedStore,
        fault: &KeyValueFault,
    ) -> store::Error {
        let (name, told) = fault.told();
        self.gate.leave(entered, store.allowed(), HostCallOutcome::Error(Cow::Borrowed(name)), 0, 0);
        store::Error::Other(told)
    }
}

impl GrantedStore {
    /// The store and the key, as people can read them.
    fn subject(&self, key: &str) -> Arc<str> {
        Arc::from(clean_line(&format!("{}/{key}", self.id.name), SUBJECT_BYTES_MAX))
    }

    fn allowed(&self) -> Decision {
        Decision::Allowed(Cow::Owned(self.rule.clone()))
    }
}

/// The keys of a batch as one subject.
fn all<'k>(keys: impl Iterator<Item = &'k String>) -> String {
    let mut subject = String::new();
    for key in keys {
        if subject.len() > SUBJECT_BYTES_MAX {
            break;
        }
        if !subject.is_empty() {
            subject.push_str(", ");
        }
        subject.push_str(key);
    }
    subject
}

fn parse_all(keys: Vec<String>) -> Argument<Vec<StoreKey>> {
    keys.into_iter().map(|key| Ok(StoreKey::try_from(key)?)).collect()
}

impl store::Host for CallState {
    async fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Bucket>, store::Error>> {
        let granted = name.parse().ok().and_then(|name: StoreName| self.stores.0.get(&name));
        let Some(bucket) = granted.cloned() else {
            self.refuse(stores::OPEN, Some(&name), "access-denied").await?;
            return Ok(Err(store::Error::AccessDenied));
        };
        let entered = self.gate.enter(stores::OPEN, Some(Arc::from(name))).await?;
        let allowed = bucket.0.allowed();
        let pushed = self.push(bucket);
        let outcome = match &pushed {
            Ok(_) => HostCallOutcome::Ok,
            Err(error) => super::trapped(error),
        };
        self.gate.leave(entered, allowed, outcome, 0, 0);
        Ok(Ok(pushed?))
    }
}

impl store::HostBucket for CallState {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let read = |store: Arc<GrantedStore>| {
            let key: StoreKey = key.parse()?;
            Ok(async move { store.state.get(&store.id, &key).await })
        };
        self.read_store(stores::GET, bucket, &key, read, |value| value.as_ref().map_or(0, Vec::len)).await
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let bytes = key.len() + value.len();
        let leak = self.leak_in([key.as_bytes(), &value].into_iter());
        let write = |store: Arc<GrantedStore>| {
            let key: StoreKey = key.parse()?;
            Ok(async move { Ok((0, store.state.set(&store.id, store.bounds, &key, &value).await?)) })
        };
        Ok(self.write_store(stores::SET, bucket, &key, bytes, leak, write).await?.map(drop))
    }

    async fn delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let write = |store: Arc<GrantedStore>| {
            let key: StoreKey = key.parse()?;
            Ok(async move { Ok((0, store.state.delete_many(&store.id, &[key]).await?)) })
        };
        Ok(self.write_store(stores::DELETE, bucket, &key, key.len(), None, write).await?.map(drop))
    }

    async fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let read = |store: Arc<GrantedStore>| {
            let key: StoreKey = key.parse()?;
            Ok(async move { store.state.exists(&store.id, &key).await })
        };
        self.read_store(stores::EXISTS, bucket, &key, read, |_| 0).await
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> wasmtime::Result<Result<store::KeyResponse, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let read =
            |store: Arc<GrantedStore>| Ok(async move { store.state.list_keys(&store.id, cursor).await });
        let bytes = |page: &KeyPage| page.keys.iter().map(String::len).sum();
        let page = self.read_store(stores::LIST_KEYS, bucket, "", read, bytes).await?;
        Ok(page.map(|KeyPage { keys, cursor }| store::KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        CallState::delete(self, bucket).map(drop)
    }
}

impl atomics::Host for CallState {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> wasmtime::Result<Result<u64, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let write = |store: Arc<GrantedStore>| {
            let key: StoreKey = key.parse()?;
            Ok(async move { store.state.increment(&store.id, store.bounds, &key, delta).await })
        };
        let leak = self.leak_in(std::iter::once(key.as_bytes()));
        self.write_store(atomic::INCREMENT, bucket, &key, key.len(), leak, write).await
    }
}

impl batch::Host for CallState {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<(String, Vec<u8>)>>, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let subject = all(keys.iter());
        let read = |store: Arc<GrantedStore>| {
            let checked = parse_all(keys.clone())?;
            Ok(async move { store.state.get_many(&store.id, &checked).await })
        };
        let bytes = |values: &Vec<Option<Vec<u8>>>| values.iter().flatten().map(Vec::len).sum();
        let values = self.read_store(batches::GET_MANY, bucket, &subject, read, bytes).await?;
        let pairs = |values: Vec<Option<Vec<u8>>>| {
            keys.into_iter().zip(values).map(|(key, value)| value.map(|value| (key, value))).collect()
        };
        Ok(values.map(pairs))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let subject = all(entries.iter().map(|(key, _)| key));
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        let leak = self.leak_in(entries.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_slice()]));
        let write = |store: Arc<GrantedStore>| {
            let parsed = entries.into_iter().map(|(key, value)| Ok((StoreKey::try_from(key)?, value)));
            let entries = parsed.collect::<Argument<Vec<_>>>()?;
            Ok(async move { Ok((0, store.state.set_many(&store.id, store.bounds, &entries).await?)) })
        };
        Ok(self.write_store(batches::SET_MANY, bucket, &subject, bytes, leak, write).await?.map(drop))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let subject = all(keys.iter());
        let bytes = keys.iter().map(String::len).sum();
        let write = |store: Arc<GrantedStore>| {
            let keys = parse_all(keys)?;
            Ok(async move { Ok((0, store.state.delete_many(&store.id, &keys).await?)) })
        };
        Ok(self.write_store(batches::DELETE_MANY, bucket, &subject, bytes, None, write).await?.map(drop))
    }
}
