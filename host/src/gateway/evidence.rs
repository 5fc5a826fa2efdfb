//! What a call commits to, and what of it is kept whole; and what an admin opens and erases of that.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Host, HostError, blocking};
use crate::audit::commitment::{Commitment, Committed, OPENING_FORMAT, Opening};
use crate::audit::event::{Event, Record};
use crate::audit::payload::PayloadError;
use crate::audit::query::{self, Filter, ReadError};
use crate::ids::{CallId, PrincipalId};
use crate::policy::Evidence;
use crate::sandbox::{InvokeError, ToolAnswer};
use crate::secrets::{CallSecrets, EvidenceKey, EvidenceKeyError, Patterns, PayloadKind, Salt};

/// Why evidence of a call can't be given.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// There is no such call.
    #[error("the log has no call {call} that was admitted")]
    NoSuchCall {
        /// Which.
        call: CallId,
    },
    /// It was made by a host that did not commit to anything.
    #[error("call {call} has no commitments: it was made before this host made any")]
    NoCommitments {
        /// Which.
        call: CallId,
    },
    /// Its arguments and result were not kept.
    #[error(
        "nothing of call {call} was kept whole: no grant of it says record = \"payloads\", or it was erased"
    )]
    NotKept {
        /// Which.
        call: CallId,
    },
    /// There is nothing to erase.
    #[error("nothing is kept of principal {principal}: it has made no call, or it was erased")]
    NothingToErase {
        /// Whose.
        principal: PrincipalId,
    },
    /// A key.
    #[error(transparent)]
    Key(#[from] EvidenceKeyError),
    /// A payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// What came of erasing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    /// Whose.
    pub principal: PrincipalId,
    /// Keys that are gone, and with them the salts of all calls that name them.
    pub keys: Vec<u64>,
    /// Payloads that were removed.
    pub payloads: u64,
}

/// What came of erasing what was kept whole of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayloadErased {
    /// The call.
    pub call: CallId,
    /// Payloads that were removed.
    pub payloads: u64,
}

/// What a running call commits to.
pub(super) struct CallEvidence {
    call: CallId,
    key: Arc<EvidenceKey>,
    salt: Salt,
    arguments: Commitment,
    /// What must not be in a payload; none if none is kept.
    keeping: Option<Arc<Patterns>>,
}

impl CallEvidence {
    /// What its first record says.
    pub(super) fn committed(&self) -> Committed {
        Committed { commitment: self.arguments, key: self.key.number() }
    }

    /// What opens its commitments.
    pub(super) fn opening(&self) -> Opening {
        Opening {
            format: OPENING_FORMAT.to_owned(),
            call: self.call,
            salt: self.salt.clone(),
            arguments: None,
            result: None,
        }
    }
}

impl Host {
    /// Commits to a call's arguments, and keeps them if its grants say so.
    pub(super) async fn begin_evidence(
        &self,
        call: CallId,
        principal: &PrincipalId,
        arguments: &Value,
        evidence: Evidence,
        secrets: &CallSecrets,
    ) -> Result<CallEvidence, HostError> {
        let key = self.evidence_keys.of(principal, self.now()).await.map_err(EvidenceError::from)?;
        let salt = key.salt(call);
        let committed = Commitment::to(&salt, PayloadKind::Arguments, arguments);
        let keeping = evidence.payloads.then(|| Arc::clone(secrets.patterns()));
        let begun = CallEvidence { call, key, salt, arguments: committed, keeping };
        if begun.keeping.is_some() {
            self.keep(&begun, PayloadKind::Arguments, arguments.clone()).await?;
        }
        Ok(begun)
    }

    /// Commits to what a call answered, if it did, and keeps that if its grants say so.
    pub(super) async fn end_evidence(
        &self,
        evidence: &CallEvidence,
        result: &Result<ToolAnswer, InvokeError>,
    ) -> Result<Option<Commitment>, HostError> {
        let Some(value) = answered(result) else { return Ok(None) };
        let commitment = Commitment::to(&evidence.salt, PayloadKind::Result, &value);
        if evidence.keeping.is_some() {
            self.keep(evidence, PayloadKind::Result, value).await?;
        }
        Ok(Some(commitment))
    }

    async fn keep(&self, evidence: &CallEvidence, kind: PayloadKind, value: Value) -> Result<(), HostError> {
        let Some(secrets) = evidence.keeping.clone() else { return Ok(()) };
        let (payloads, key, call) = (self.payloads.clone(), Arc::clone(&evidence.key), evidence.call);
        blocking(move || payloads.keep(&key, call, kind, &value, &secrets)).await
    }

    /// The private part of a call's receipt; with `payloads`, what was kept whole of it. That it was given is in
    /// the log.
    ///
    /// # Errors
    /// [`HostError::Evidence`], above all if the principal's evidence was erased.
    pub async fn open_evidence(
        &self,
        by: &PrincipalId,
        call: CallId,
        payloads: bool,
    ) -> Result<Opening, HostError> {
        let number = self.key_of(call).await?;
        let key = self.evidence_keys.numbered(number).await.map_err(EvidenceError::from)?;
        let mut opening = Opening {
            format: OPENING_FORMAT.to_owned(),
            call,
            salt: key.salt(call),
            arguments: None,
            result: None,
        };
        if payloads {
            let kept = self.payloads.clone();
            let read = move || -> Result<_, PayloadError> {
                let read = |kind| kept.read(&key, call, kind);
                Ok((read(PayloadKind::Arguments)?, read(PayloadKind::Result)?))
            };
            (opening.arguments, opening.result) = blocking(read).await?;
            if opening.arguments.is_none() {
                return Err(EvidenceError::NotKept { call }.into());
            }
        }
        self.log.append(Event::EvidenceOpened { call, payloads, by: by.clone() }).await?;
        Ok(opening)
    }

    /// The number of the key that the call's salt is made of.
    async fn key_of(&self, call: CallId) -> Result<u64, HostError> {
        let folder = self.audit_folder();
        let first = blocking(move || {
            // Before it is admitted, that it was taken, or asked to end.
            let is_before = |record: &Result<Record, ReadError>| {
                let event = record.as_ref().map(|record| &record.event);
                matches!(event, Ok(Event::CallAccepted(_) | Event::CallCancelled { .. }))
            };
            let mut records = query::read(&folder, Filter { call: Some(call), ..Filter::default() });
            records.find(|record| !is_before(record)).transpose()
        })
        .await?;
        match first.map(|record| record.event) {
            Some(Event::CallAdmitted { salt_key, .. }) => {
                Ok(salt_key.ok_or(EvidenceError::NoCommitments { call })?)
            }
            Some(_) | None => Err(EvidenceError::NoSuchCall { call }.into()),
        }
    }

    /// Erases what opens a principal's commitments, and its payloads. The log stays as it is, and verifiable;
    /// nobody can tell any more what its calls asked and answered. Backups keep what they have.
    ///
    /// # Errors
    /// [`HostError::Evidence`] if there is nothing to erase. After any other error some may be there yet: do it
    /// again.
    pub async fn erase_evidence(
        &self,
        by: &PrincipalId,
        principal: PrincipalId,
    ) -> Result<Erased, HostError> {
        // None of a backup that is being written.
        let _removing = self.begin_removal().await?;
        let _changing = self.begin_change().await?;
        let keys = self.evidence_keys.numbers_of(&principal).await.map_err(EvidenceError::from)?;
        if keys.is_empty() {
            return Err(EvidenceError::NothingToErase { principal }.into());
        }
        let event = Event::EvidenceErased { name: principal.clone(), keys: keys.clone(), by: by.clone() };
        self.log.append(event).await?;
        self.database.erase_kept_answers(&principal).await?;
        self.evidence_keys.erase(&principal, self.now()).await.map_err(EvidenceError::from)?;
        let (payloads, numbers) = (self.payloads.clone(), keys.clone());
        let remove =
            move || numbers.iter().map(|key| payloads.remove(*key)).sum::<Result<u64, PayloadError>>();
        let payloads = blocking(remove).await?;
        Ok(Erased { principal, keys, payloads })
    }

    /// Erases what was kept whole of one call. Its commitments, and what opens them, stay: whoever is shown what it
    /// asked can check that. A call that runs keeps its result when it ends. Backups keep what they have.
    ///
    /// # Errors
    /// [`HostError::Evidence`] if nothing of it is kept. After any other error some may be there yet: do it again.
    pub async fn erase_payload(&self, by: &PrincipalId, call: CallId) -> Result<PayloadErased, HostError> {
        let key = self.key_of(call).await?;
        let _removing = self.begin_removal().await?;
        let _changing = self.begin_change().await?;
        let kept = self.payloads.clone();
        if !blocking(move || kept.has(key, call)).await? {
            return Err(EvidenceError::NotKept { call }.into());
        }
        self.log.append(Event::PayloadErased { call, by: by.clone() }).await?;
        let kept = self.payloads.clone();
        let payloads = blocking(move || kept.remove_call(key, call)).await?;
        Ok(PayloadErased { call, payloads })
    }
}

/// What a call gave, as a commitment has it: the answer as the API writes it, or what the tool said of its failure.
fn answered(result: &Result<ToolAnswer, InvokeError>) -> Option<Value> {
    match result {
        Ok(answer) => Some(serde_json::to_value(answer).expect("an answer is texts and JSON")),
        Err(InvokeError::Tool { message, data: None }) => Some(json!({ "error": message })),
        Err(InvokeError::Tool { message, data: Some(data) }) => {
            Some(json!({ "error": message, "data": data }))
        }
        Err(_) => None,
    }
}

impl From<PayloadError> for HostError {
    fn from(error: PayloadError) -> Self {
        EvidenceError::from(error).into()
    }
}
