//! One blob on its way into a registry, and what is done when its connection breaks: it goes on from where the
//! registry's upload session says that it is, or begins anew if that session is gone (distribution specification 1.1,
//! "Pushing blobs").
//!
//! Within one command only: nothing of a session is kept for the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use url::Url;

use super::transport::{Asked, OciError, Registry, status};
use crate::egress::{AnswerBody, EgressError};
use crate::ids::PackageDigest;

/// How often a blob is sent, or gone on with.
const TRIES_MAX: u32 = 4;
/// The wait before the second try; each other is twice the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// A longer blob is sent in parts of so many bytes, so that a break costs at most one.
const PART_BYTES: usize = 8 << 20;
/// The longest part that a registry may ask for: that of one request.
const PART_BYTES_MAX: u64 = 64 << 20;
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
const BINARY: &str = "application/octet-stream";

/// Told how many bytes more are on their way.
pub(super) type Meter = Arc<dyn Fn(u64) + Send + Sync>;

/// A blob that is in the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Put {
    /// Whether it was there before.
    pub(super) was_there: bool,
    /// How many bytes were not sent again after connections broke.
    pub(super) resumed: u64,
}

/// The registry's side of an upload.
struct Session {
    /// Where the next part goes.
    location: String,
    /// How many bytes the registry has.
    received: usize,
    /// How long a part is.
    part: usize,
}

/// An upload over all its tries.
struct Upload {
    digest: PackageDigest,
    bytes: Bytes,
    progress: Option<Meter>,
    /// How many bytes were told to `progress`: what is sent again is not told again.
    told: Arc<AtomicU64>,
    session: Option<Session>,
    /// Whether the registry takes parts, as far as is known.
    takes_parts: bool,
    /// Whether the registry has let it begin.
    has_begun: bool,
    resumed: u64,
}

impl Registry {
    /// Puts bytes there, unless they are.
    ///
    /// # Errors
    /// [`OciError`]: the last one, where several tries failed.
    pub(super) async fn put_blob(&self, bytes: Bytes, progress: Option<Meter>) -> Result<Put, OciError> {
        let mut upload = Upload {
            digest: PackageDigest::of(&bytes),
            bytes,
            progress,
            told: Arc::default(),
            session: None,
            takes_parts: true,
            has_begun: false,
            resumed: 0,
        };
        let mut tries = 1;
        loop {
            if self.has_blob(upload.digest).await? {
                // After the first try it is there by us: the answer was lost, not the bytes.
                return Ok(Put { was_there: tries == 1, resumed: upload.resumed });
            }
            let took_parts = upload.takes_parts;
            match self.send_blob(&mut upload).await {
                Ok(()) => return Ok(Put { was_there: false, resumed: upload.resumed }),
                Err(error)
                    if tries < TRIES_MAX
                        && (is_passing(&error, upload.has_begun) || took_parts != upload.takes_parts) =>
                {
                    tracing::warn!(%error, tries, "the upload is gone on with");
                    tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn has_blob(&self, digest: PackageDigest) -> Result<bool, OciError> {
        let mut head = Asked::get(format!("{}/blobs/{digest}", self.reference.base()), BINARY);
        head.method = Method::HEAD;
        Ok(self.ask(head).await?.status() == StatusCode::OK)
    }

    /// One try: from where the session is, else from the beginning.
    async fn send_blob(&self, upload: &mut Upload) -> Result<(), OciError> {
        let session = match upload.session.take() {
            Some(session) => self.session_now(session, upload.bytes.len()).await?,
            None => None,
        };
        let mut session = match session {
            Some(session) => session,
            None => self.begin_session().await?,
        };
        upload.has_begun = true;
        upload.resumed += session.received as u64;
        let is_in_parts = session.received > 0 || (upload.takes_parts && upload.bytes.len() > session.part);
        // Kept for the next try before anything is sent.
        upload.session = Some(Session { location: session.location.clone(), ..session });
        if is_in_parts {
            while session.received < upload.bytes.len() {
                let next = self.send_part(upload, &session).await;
                if matches!(&next, Err(OciError::Status { status, .. }) if is_refusal(*status)) {
                    // It takes no parts, or not this one: from the beginning, and in one.
                    (upload.takes_parts, upload.session) = (false, None);
                }
                session = next?;
                upload.session = Some(Session { location: session.location.clone(), ..session });
            }
        }
        let rest = upload.bytes.slice(session.received..);
        let mut place = Url::parse(&session.location).map_err(|error| OciError::Layout(error.to_string()))?;
        place.query_pairs_mut().append_pair("digest", &upload.digest.to_string());
        let mut put = Asked::send(Method::PUT, place.to_string(), BINARY, rest);
        put.sent = upload.meter(session.received);
        let answer = self.ask(put).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(status(&without_query(&session.location), answer).await),
        }
    }

    async fn begin_session(&self) -> Result<Session, OciError> {
        let start = format!("{}/blobs/uploads/", self.reference.base());
        let answer = self.ask(Asked::send(Method::POST, start.clone(), BINARY, Bytes::new())).await?;
        match self.location(&answer)? {
            Some(location) if answer.status() == StatusCode::ACCEPTED => {
                Ok(Session { location, received: 0, part: part_length(&answer)? })
            }
            _ => Err(status(&start, answer).await),
        }
    }

    /// Where a session is now; none if it is gone, or says what can't be.
    async fn session_now(&self, session: Session, length: usize) -> Result<Option<Session>, OciError> {
        let answer = self.ask(Asked::get(session.location.clone(), BINARY)).await?;
        if answer.status() != StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let Some(received) = received(&answer).filter(|received| *received <= length) else {
            return Ok(None);
        };
        let location = self.location(&answer)?.unwrap_or(session.location);
        Ok(Some(Session { location, received, ..session }))
    }

    /// Sends the next part. Where the session is then.
    async fn send_part(&self, upload: &Upload, session: &Session) -> Result<Session, OciError> {
        let Session { location, received: from, part } = session;
        let to = upload.bytes.len().min(from + part);
        let mut patch = Asked::send(Method::PATCH, location.clone(), BINARY, upload.bytes.slice(*from..to));
        let range = HeaderValue::from_str(&format!("{from}-{}", to - 1));
        patch.headers.extend(range.map(|range| (header::CONTENT_RANGE, range)));
        patch.sent = upload.meter(*from);
        let answer = self.ask(patch).await?;
        match self.location(&answer)? {
            Some(location) if answer.status() == StatusCode::ACCEPTED => {
                Ok(Session { location, received: to, part: *part })
            }
            _ => Err(status(&without_query(location), answer).await),
        }
    }

    /// Where an answer says that the upload goes on, which must be this registry.
    fn location(&self, answer: &Response<AnswerBody>) -> Result<Option<String>, OciError> {
        let location = answer.headers().get(header::LOCATION);
        location.map(|location| self.upload_url(location)).transpose()
    }
}

impl Upload {
    /// Tells of what is sent from `from` on, as far as it was not told before.
    fn meter(&self, from: usize) -> Option<Meter> {
        let (progress, told) = (Arc::clone(self.progress.as_ref()?), Arc::clone(&self.told));
        let at = AtomicU64::new(from as u64);
        Some(Arc::new(move |bytes| {
            let at = at.fetch_add(bytes, Ordering::Relaxed) + bytes;
            let before = told.fetch_max(at, Ordering::Relaxed);
            if at > before {
                progress(at - before);
            }
        }))
    }
}

/// How long parts are: ours, or longer if the registry wants that.
fn part_length(answer: &Response<AnswerBody>) -> Result<usize, OciError> {
    let wanted = answer.headers().get(CHUNK_MIN_LENGTH).and_then(|length| length.to_str().ok());
    let wanted: u64 = wanted.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    if wanted > PART_BYTES_MAX {
        let what = "a part that the registry asks for".to_owned();
        return Err(OciError::TooLarge { what, bytes: wanted, max: PART_BYTES_MAX });
    }
    Ok(usize::try_from(wanted).unwrap_or(PART_BYTES).max(PART_BYTES))
}

/// How many bytes a session has: `Range: 0-LAST`. Docker's registry says `0-0` of none, so that one byte is none too.
fn received(answer: &Response<AnswerBody>) -> Option<usize> {
    let Some(range) = answer.headers().get(header::RANGE) else { return Some(0) };
    let (first, last) = range.to_str().ok()?.trim_start_matches("bytes=").split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    match (first, last) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// Whether a status is the client's fault, and stays it.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && !asks_for_patience(status)
}

fn asks_for_patience(status: StatusCode) -> bool {
    status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether it may be better the next time, and the registry has answered at all if that is the question. What it refuses
/// it refuses again.
fn is_passing(error: &OciError, has_begun: bool) -> bool {
    match error {
        OciError::Egress { error, .. } => match error {
            EgressError::Lookup(_) | EgressError::Connect(_) => has_begun,
            EgressError::Tls(_)
            | EgressError::TimedOut { .. }
            | EgressError::RequestBody(_)
            | EgressError::Framing(_)
            | EgressError::Incomplete
            | EgressError::Protocol(_) => true,
            EgressError::TooManyAddresses
            | EgressError::Address(_)
            | EgressError::Certificate(_)
            | EgressError::Roots(_)
            | EgressError::Request(_)
            | EgressError::Limit(_)
            | EgressError::HeadTooLarge
            | EgressError::Refused(_) => false,
        },
        OciError::Status { status, .. } => status.is_server_error() || asks_for_patience(*status),
        // The session, which some registries forget when a connection breaks.
        OciError::NotFound { .. } => has_begun,
        OciError::Reference(_)
        | OciError::Redirect { .. }
        | OciError::Unauthorized { .. }
        | OciError::Digest { .. }
        | OciError::TooLarge { .. }
        | OciError::Layout(_)
        | OciError::File { .. } => false,
    }
}

fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
