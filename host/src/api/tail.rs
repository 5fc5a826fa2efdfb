//! Reading the log as a stream: its end, or one call's records, and then, if asked, what follows.
//!
//! Reads what the owner's writer has handed to the kernel. Holds a bounded batch of records, and stops
//! reading when its client does.

use std::convert::Infallible;

use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::watch;

use super::http::{Api, Stopping, line, lines};
use super::messages::{AuditQuery, TailError};
use super::problem::{ErrorKind, Problem};
use crate::audit::query::{self, Filter, ReadError, Reader, TAIL_RECORDS};
use crate::gateway::{Blame, HostError};
use crate::ids::Sequence;

/// The most records from the end that can be asked for at once.
const LAST_MAX: usize = 1_000_000;
/// How many bytes of records are read before some are sent. One record more may follow.
const BATCH_BYTES: usize = 64 << 10;

pub(super) async fn tail(api: &Api, query: AuditQuery) -> Result<Response, Problem> {
    let AuditQuery { call, last, follow } = query;
    if call.is_some() && last.is_some() {
        return Err(Problem::bad_input("give `call` or `last`, not both"));
    }
    let last = last.unwrap_or(TAIL_RECORDS);
    if last > LAST_MAX {
        return Err(Problem::bad_input(format!("`last` is {last}, at most {LAST_MAX} records are read")));
    }
    // Subscribed before the first look, so that nothing falls between the two.
    let grown = api.host.log().subscribe();
    let folder = api.host.audit_folder();
    let reader = blocking(move || match call {
        Some(_) => Ok(query::read(&folder, Filter { call, from: None })),
        None => query::tail(&folder, last),
    })
    .await?;
    let stopping = api.stopping.clone();
    let following = Following { reader: Some(reader), grown: follow.then_some(grown), stopping };
    Ok(lines(stream::unfold(following, |mut following| async move {
        let batch = following.next().await?;
        Some((Ok::<_, Infallible>(batch), following))
    })))
}

struct Following {
    /// None at the end.
    reader: Option<Reader>,
    /// Only if what follows was asked for.
    grown: Option<watch::Receiver<Sequence>>,
    stopping: Stopping,
}

impl Following {
    /// Some lines, or none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut reader = self.reader.take()?;
            if let Some(grown) = &mut self.grown {
                grown.mark_unchanged();
            }
            let read = blocking(move || {
                let batch = batch(&mut reader);
                Ok::<_, ReadError>((batch, reader))
            });
            let ((batch, error), reader) = match read.await {
                Ok(read) => read,
                Err(error) => return Some(line(&TailError { error })),
            };
            if let Some(error) = error {
                let mut bytes = BytesMut::from(batch);
                bytes.extend_from_slice(&line(&TailError { error: HostError::from(error).into() }));
                return Some(bytes.freeze());
            }
            self.reader = Some(reader);
            if !batch.is_empty() {
                return Some(batch);
            }
            let grown = self.grown.as_mut()?;
            tokio::select! {
                changed = grown.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
    }
}

/// Records until there is enough to send, or none is left for now, or the log can't be read on.
fn batch(reader: &mut Reader) -> (Bytes, Option<ReadError>) {
    let mut bytes = BytesMut::new();
    while bytes.len() < BATCH_BYTES {
        match reader.next() {
            Some(Ok(record)) => bytes.extend_from_slice(&line(&record)),
            Some(Err(error)) => return (bytes.freeze(), Some(error)),
            None => break,
        }
    }
    (bytes.freeze(), None)
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => Ok(result.map_err(HostError::from)?),
        Err(error) => {
            let detail = format!("the log was not read to its end: {error}");
            Err(Problem::new(ErrorKind::HostFault, detail, Blame::Host))
        }
    }
}
