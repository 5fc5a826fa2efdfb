//! The receipt of a call, for who made it: found by the log's index, proved against a checkpoint that covers it.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Host;
use crate::audit::VerifierKey;
use crate::audit::index::{IndexError, LogIndex};
use crate::audit::prove::{ProveError, prove_indexed};
use crate::audit::receipt::Receipt;
use crate::ids::{CallId, PrincipalId};

/// How long a receipt waits for a checkpoint that covers its call.
const COVERED_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long one waits until the index has been brought up to date, by itself or another.
const TURN_TIME_MAX: Duration = Duration::from_secs(30);

/// The log's index, opened when it is first asked. One at a time brings it up to date.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    index: Mutex<Option<LogIndex>>,
}

impl Receipts {
    /// Closes the index, if it was opened.
    pub(super) async fn close(&mut self) {
        if let Some(index) = self.index.get_mut().take() {
            index.close().await;
        }
    }
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// There is no such call, or it is another's.
    #[error("there is no call {call}")]
    NoSuchCall {
        /// Which.
        call: CallId,
    },
    /// It has no last record yet, or no checkpoint covers that.
    #[error("{0}")]
    NotYet(ProveError),
    /// The index is far behind.
    #[error("the index of the log is being brought up to date; try again")]
    Busy,
    /// The log can't be read, or has no proof.
    #[error("no receipt can be made: {0}")]
    Failed(String),
}

impl From<ProveError> for ReceiptError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::NoSuchCall { call } => ReceiptError::NoSuchCall { call },
            ProveError::NotFinished { .. } | ProveError::NotCovered { .. } => ReceiptError::NotYet(error),
            ProveError::Io { .. }
            | ProveError::Read(_)
            | ProveError::NoCheckpoint { .. }
            | ProveError::Checkpoint(_)
            | ProveError::StartDropped { .. }
            | ProveError::TooLarge
            | ProveError::HashesMissing
            | ProveError::Changed { .. }
            | ProveError::Consistency(_) => ReceiptError::Failed(error.to_string()),
        }
    }
}

impl From<IndexError> for ReceiptError {
    fn from(error: IndexError) -> Self {
        ReceiptError::Failed(error.to_string())
    }
}

impl Host {
    /// The receipt of a call; with `of`, of none but one that was made in this principal's name. Waits up to two seconds
    /// for a checkpoint that covers it.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub async fn receipt(&self, call: CallId, of: Option<&PrincipalId>) -> Result<Receipt, ReceiptError> {
        let key =
            self.audit_key().ok_or_else(|| ReceiptError::Failed("the host signs nothing".to_owned()))?;
        let key = VerifierKey::parse(&key).map_err(|error| ReceiptError::Failed(error.to_string()))?;
        let index = timeout(TURN_TIME_MAX, self.up_to_date()).await.map_err(|_| ReceiptError::Busy)??;
        let folder = self.audit_folder();
        Ok(prove_indexed(&folder, &key, &index, call, of, COVERED_WAIT_MAX).await?)
    }

    /// The index, as far as the log is now.
    async fn up_to_date(&self) -> Result<LogIndex, IndexError> {
        let mut held = self.receipts.index.lock().await;
        let index = match &*held {
            Some(index) => index.clone(),
            None => held.insert(LogIndex::open(&self.audit_folder()).await?).clone(),
        };
        index.catch_up(|_| {}).await?;
        Ok(index)
    }
}
