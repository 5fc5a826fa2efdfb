//! API keys: who is let in by them, what an admin does with them, and what is written down of their use.
//!
//! Making, rotating and revoking one is a revision like any other change, so that a database that was put back
//! does not let a revoked key in again. That keys are used, and that others are refused, is noted in memory and
//! written by [`Host::write_access`], which the server calls about once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Host, HostError, Taken};
use crate::audit::event::Event;
use crate::authn::{
    Caller, KeyHasher, KeyText, Refusal, Tries, TriesEntry, Trust, authenticate, local_admin,
};
use crate::database::{ApiKey, ChangeError, NewKey, Step};
use crate::egress::{Resolver, Roots};
use crate::ids::{KeyPrefix, PrincipalId};
use crate::policy::{Principal, Role, Standing};

/// The principal of the key that a host makes when it first listens for others.
pub const FIRST_ADMIN: &str = "first-admin";

/// How often it is written down when keys were last used.
const USES_INTERVAL: Duration = Duration::from_secs(60);

/// Why an API key can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// Its principal is something else, or nothing yet.
    #[error(
        "{principal} is {}, not {}; `portcullis principal add {principal} --role {asked}` makes it that",
        known.map_or("an agent, since nothing else was said", Role::with_article),
        asked.with_article()
    )]
    OtherRole {
        /// The principal.
        principal: PrincipalId,
        /// What it was added as, if it was.
        known: Option<Role>,
        /// What was asked for.
        asked: Role,
    },
    /// Its principal was removed: it would let nobody in.
    #[error("principal {principal} was removed; `portcullis principal add {principal}` lets it act again")]
    Removed {
        /// The principal.
        principal: PrincipalId,
    },
    /// It would be over already.
    #[error("the key would have expired before it was made")]
    Expired,
    /// The owner of the data folder needs no key.
    #[error(
        "local-admin is whoever can open the data folder, and has no key; make one for a principal of its own"
    )]
    Owner,
}

/// A key that was made. This is the only time that all of it is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyMade {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// What is known of it from now on.
    pub key: ApiKey,
    /// All of it. A secret.
    pub token: String,
}

impl std::fmt::Debug for KeyMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMade").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What came of revoking a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRevoked {
    /// What came of it.
    #[serde(flatten)]
    pub taken: Taken,
    /// Its public beginning.
    pub key: KeyPrefix,
    /// Whose it was.
    pub principal: PrincipalId,
}

/// What is noted between two writes.
#[derive(Debug)]
pub(super) struct Access {
    hasher: KeyHasher,
    uses: Mutex<Uses>,
    tries: Mutex<Tries>,
    /// Whom the host believes beside its keys.
    pub(super) trust: RwLock<Arc<Trust>>,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) roots: Roots,
    /// Keys that an admin has ended since the start: what was begun with them is to end. One is 16 bytes, and each is
    /// a record of the log.
    revoked: Mutex<BTreeSet<KeyPrefix>>,
}

#[derive(Debug)]
struct Uses {
    /// Not written down yet. Bounded by the number of keys.
    unwritten: BTreeMap<KeyPrefix, Timestamp>,
    written_at: Instant,
}

impl Access {
    pub(super) fn new(key: &[u8; 32], resolver: Arc<dyn Resolver>, roots: Roots) -> Self {
        Self {
            hasher: KeyHasher::new(key),
            uses: Mutex::new(Uses { unwritten: BTreeMap::new(), written_at: Instant::now() }),
            tries: Mutex::default(),
            trust: RwLock::default(),
            resolver,
            roots,
            revoked: Mutex::default(),
        }
    }

    pub(super) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn was_revoked(&self, key: &KeyPrefix) -> bool {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn mark_revoked(&self, key: &KeyPrefix, is_revoked: bool) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if is_revoked {
            revoked.insert(key.clone());
        } else {
            revoked.remove(key);
        }
    }

    fn note_use(&self, key: &KeyPrefix, now: Timestamp) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.unwritten.get_mut(key) {
            Some(last) => *last = now,
            None => drop(uses.unwritten.insert(key.clone(), now)),
        }
    }

    fn last_use(&self, key: &KeyPrefix) -> Option<Timestamp> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).unwritten.get(key).copied()
    }

    /// What is to be written down, if it is time for it.
    fn take_uses(&self, at_once: bool) -> Vec<(KeyPrefix, Timestamp)> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if !at_once && uses.written_at.elapsed() < USES_INTERVAL {
            return Vec::new();
        }
        uses.written_at = Instant::now();
        std::mem::take(&mut uses.unwritten).into_iter().collect()
    }

    fn take_tries(&self) -> Vec<TriesEntry> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Host {
    /// Finds out who calls with a key, or with a token of an issuer.
    ///
    /// # Errors
    /// [`Refusal`]: nobody is let in. [`note_refusal`](Self::note_refusal) writes it down.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, Refusal> {
        let (in_force, now) = (self.in_force(), self.now());
        let known = |name: &PrincipalId| in_force.policy.principals.get(name);
        let trust = self.access.trust();
        if trust.takes(token) {
            return trust.token_caller(token, now, known).await;
        }
        let caller = authenticate(token, &in_force.keys, &self.access.hasher, now, known)?;
        if let Some(key) = caller.key() {
            self.access.note_use(key, now);
        }
        Ok(caller)
    }

    /// Notes that somebody was not let in. If its address tried too often, how long it must wait.
    pub fn note_refusal(&self, peer: IpAddr, refusal: &Refusal) -> Option<Duration> {
        let mut tries = self.access.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.note(peer, refusal, Instant::now())
    }

    /// Writes down what was noted of keys and calls: each refusal is recorded, folded by kind; when keys were last used
    /// is kept once a minute, what was used of quotas every few seconds, or `at_once`. Whoever serves calls it about once a second, and at the end.
    ///
    /// # Errors
    /// If the log or the database can't be written.
    pub async fn write_access(&self, at_once: bool) -> Result<(), HostError> {
        for TriesEntry { reason, peer, key, issuer, tries } in self.access.take_tries() {
            self.log.append(Event::AuthenticationFailed { reason, peer, key, issuer, tries }).await?;
        }
        self.write_refusals().await?;
        self.write_quotas(at_once).await?;
        let uses = self.access.take_uses(at_once);
        if !uses.is_empty() {
            self.database.note_key_uses(&uses).await?;
        }
        Ok(())
    }

    /// All API keys, by whose they are.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, HostError> {
        let keys =
            self.database.api_keys().await?.into_iter().map(|(key, _)| ApiKey {
                last_used: self.access.last_use(&key.prefix).or(key.last_used),
                ..key
            });
        let mut keys: Vec<ApiKey> = keys.collect();
        keys.sort_by(|a, b| (&a.principal, a.made_at).cmp(&(&b.principal, b.made_at)));
        Ok(keys)
    }

    /// Makes a key for a principal. Without a `role`, it has that of its principal.
    ///
    /// # Errors
    /// [`AccessError`], or it can't be recorded or kept.
    pub async fn create_key(
        &self,
        by: &PrincipalId,
        principal: PrincipalId,
        role: Option<Role>,
        expires: Option<Timestamp>,
    ) -> Result<KeyMade, HostError> {
        if principal == local_admin() {
            return Err(AccessError::Owner.into());
        }
        if expires.is_some_and(|expires| expires <= self.now()) {
            return Err(AccessError::Expired.into());
        }
        let role = self.role_for(&principal, role)?;
        self.make_key(by, principal, role, expires, None).await
    }

    /// Makes a key for a key's principal, in its place; the old one ends at once. What was made by it so far
    /// goes on.
    ///
    /// # Errors
    /// As [`create_key`](Self::create_key), or if there is no such key.
    pub async fn rotate_key(
        &self,
        by: &PrincipalId,
        prefix: KeyPrefix,
        expires: Option<Timestamp>,
    ) -> Result<KeyMade, HostError> {
        if expires.is_some_and(|expires| expires <= self.now()) {
            return Err(AccessError::Expired.into());
        }
        let old = self.known_key(&prefix)?;
        let role = self.role_for(&old.principal, Some(old.role))?;
        self.make_key(by, old.principal, role, expires, Some(prefix)).await
    }

    /// Ends a key. Calls that were begun with it are told to stop.
    ///
    /// # Errors
    /// If there is no such key, or it can't be recorded.
    pub async fn revoke_key(&self, by: &PrincipalId, prefix: KeyPrefix) -> Result<KeyRevoked, HostError> {
        let principal = self.known_key(&prefix)?.principal;
        let step = Step::RevokeKey { prefix: prefix.clone(), principal: principal.clone() };
        // Before it is in force, so that whatever judges calls by that knows.
        self.access.mark_revoked(&prefix, true);
        let taken = self.take(by, step).await;
        if taken.is_err() {
            self.access.mark_revoked(&prefix, false);
        }
        let taken = taken?;
        Ok(KeyRevoked { taken, key: prefix, principal })
    }

    /// Makes the first admin and its key, and keeps that in the data folder, unless a principal of that name was
    /// added before: for a host that listens for others and that nobody has set up yet.
    ///
    /// # Errors
    /// If it can't be kept or recorded, or the name is an agent's by now.
    pub async fn first_admin_key(&self) -> Result<Option<KeyMade>, HostError> {
        let name: PrincipalId = FIRST_ADMIN.parse().expect("the constant is a valid name");
        if self.in_force().policy.principals.contains_key(&name) {
            return Ok(None);
        }
        let by = local_admin();
        self.add_principal(&by, name.clone(), Role::Admin, None).await?;
        let made = self.create_key(&by, name, Some(Role::Admin), None).await?;
        self.folder.keep_admin_key(&made.token)?;
        Ok(Some(made))
    }

    /// The role that a principal's key may have.
    fn role_for(&self, principal: &PrincipalId, asked: Option<Role>) -> Result<Role, AccessError> {
        let in_force = self.in_force();
        let known = match in_force.policy.principals.get(principal) {
            Some(Principal { role, standing: Standing::Added, .. }) => Some(*role),
            Some(Principal { standing: Standing::Removed, .. }) => {
                return Err(AccessError::Removed { principal: principal.clone() });
            }
            None => None,
        };
        let is = known.unwrap_or(Role::Agent);
        let asked = asked.unwrap_or(is);
        if asked == is {
            Ok(is)
        } else {
            Err(AccessError::OtherRole { principal: principal.clone(), known, asked })
        }
    }

    fn known_key(&self, prefix: &KeyPrefix) -> Result<ApiKey, HostError> {
        let held = self.in_force().keys.get(prefix).map(|held| held.key.clone());
        held.ok_or_else(|| HostError::Change(ChangeError::NoSuchKey(prefix.clone())))
    }

    async fn make_key(
        &self,
        by: &PrincipalId,
        principal: PrincipalId,
        role: Role,
        expires: Option<Timestamp>,
        replaces: Option<KeyPrefix>,
    ) -> Result<KeyMade, HostError> {
        let text = KeyText::generate().map_err(|error| AccessError::Random(error.to_string()))?;
        let prefix = text.prefix().clone();
        let hash = self.access.hasher.kept(&text);
        let key = NewKey { prefix: prefix.clone(), hash, principal, role, expires };
        let step = match replaces {
            Some(replaces) => Step::RotateKey { replaces, key },
            None => Step::CreateKey { key },
        };
        let taken = self.take(by, step).await?;
        let key = self.known_key(&prefix)?;
        Ok(KeyMade { taken, key, token: text.expose().to_owned() })
    }
}
