//! What auditors ask of the log: records by what they say, the story of a call, proofs, checkpoints; and a new index.
//!
//! Reads the log's files and its index as `portcullis audit` does, and decides nothing. Bounded: so many readers at
//! once, so many records and bytes a page; the index is brought up to date by one of them at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::BytesMut;
use http::{HeaderValue, StatusCode, header};
use serde_json::json as example;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::http::{Api, Checked, json, json_body};
use super::messages::{
    ConsistencyRequest, FirstRecords, NEXT_HEADER, ReceiptQuery, RecordsQuery, Reindexed, Settings,
};
use super::openapi::Described;
use super::problem::{ErrorKind, Problem};
use crate::audit::VerifierKey;
use crate::audit::consistency::{ConsistencyError, ConsistencyProof, prove_consistency};
use crate::audit::event::{Record, check_event_name, check_outcome_name};
use crate::audit::index::{IndexError, Indexed, LogIndex};
use crate::audit::prove::{ProveError, newest_checkpoint, prove_call};
use crate::audit::query::ReadError;
use crate::audit::receipt::Receipt;
use crate::audit::search::{Order, Question, Way};
use crate::audit::story::{Told, tell};
use crate::audit::trust::{Rotations, rotations_of};
use crate::gateway::{Blame, HostError};
use crate::ids::CallId;

/// Requests that read the log so at once, on one door; more are busy.
const READERS_MAX: usize = 4;
/// Records of a page, unless another number is asked for, and at most.
const PAGE_RECORDS: usize = 100;
const PAGE_RECORDS_MAX: usize = 1_000;
/// A page ends when it has so many bytes. One record more may follow.
const PAGE_BYTES: usize = 4 << 20;
/// How many records are read at once.
const BATCH_RECORDS: usize = 100;
/// The most records of a story.
const STORY_RECORDS_MAX: usize = 10_000;
/// The longest that a request waits until the index is up to date. What was indexed stays, so that a later one goes on.
const INDEX_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a receipt waits for a checkpoint that covers its call, and how often that is looked for.
const COVERED_WAIT_MAX: Duration = Duration::from_secs(2);
const COVERED_LOOK: Duration = Duration::from_millis(50);

/// Who reads now.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    places: Arc<Semaphore>,
    indexing: Arc<Mutex<()>>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(READERS_MAX)), indexing: Arc::default() }
    }
}

impl Reading {
    fn take(&self) -> Result<OwnedSemaphorePermit, Box<Problem>> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let detail = format!("{READERS_MAX} requests read the log already; try again in a moment");
            Problem::new(ErrorKind::Busy, detail, Blame::Host).into()
        })
    }

    /// The index, as it is when the log was followed to its end.
    async fn index(&self, folder: &std::path::Path) -> Result<LogIndex, Problem> {
        let followed = timeout(INDEX_TIME_MAX, async {
            let _one = self.indexing.lock().await;
            let index = LogIndex::open(folder).await?;
            index.catch_up(|_| ()).await?;
            Ok::<_, IndexError>(index)
        });
        match followed.await {
            Ok(index) => index.map_err(index_problem),
            Err(_) => {
                let detail = "the index of the log is being made; try again, and it goes on from there";
                Err(Problem::new(ErrorKind::Busy, detail, Blame::Host))
            }
        }
    }
}

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/audit/query", get(query))
        .route("/v1/audit/calls/{id}", get(show))
        .route("/v1/audit/calls/{id}/receipt", get(prove))
        .route("/v1/audit/checkpoint", get(checkpoint))
        .route("/v1/audit/consistency", post(consistency))
        .route("/v1/audit/rotations", get(rotations))
        .route("/v1/audit/reindex", post(reindex))
        .route("/v1/settings", get(settings))
}

pub(super) fn describe(api: &mut Described) {
    let call = example!("01890a5d-ac96-774b-bcce-b302099a8057");
    let record = api.schema::<Record>();
    api.get("/v1/audit/query", "query_audit", "Finds records: all parts that are given must fit.")
        .query::<RecordsQuery>()
        .fails(&[ErrorKind::Busy])
        .lines_of(record, "Records, byte for byte as they stand in the log.")
        .with_optional_header(NEXT_HEADER, "If there are more: what to give as `after`, with the same parts.")
        .done();
    api.get("/v1/audit/calls/{id}", "show_call", "Tells what a call did, and the calls that its tool made.")
        .path::<CallId>("id", "The call.", call.clone())
        .fails(&[ErrorKind::NotFound, ErrorKind::Busy])
        .answers::<Told>("Its records, at most 10,000 with those of the calls below it.")
        .done();
    api.get(
        "/v1/audit/calls/{id}/receipt",
        "prove_call",
        "Proves a call to whoever has the log's public key.",
    )
    .path::<CallId>("id", "The call.", call)
    .query::<ReceiptQuery>()
    .fails(&[ErrorKind::NotFound, ErrorKind::Busy, ErrorKind::Conflict])
    .answers::<Receipt>("The receipt, for `portcullis audit verify-receipt`.")
    .done();
    api.get(
        "/v1/audit/checkpoint",
        "show_checkpoint",
        "Gives what the host signed last: size and root of the log.",
    )
    .fails(&[ErrorKind::NotFound])
    .bytes("text/plain", "A checkpoint: C2SP signed note.")
    .done();
    api.post(
        "/v1/audit/consistency",
        "prove_consistency",
        "Proves that the log of one checkpoint grew into another's.",
    )
    .body::<ConsistencyRequest>(example!({"from": "portcullis/1\n12\nqgE=\n\n— portcullis/1 c2lnbmF0dXJl\n"}))
    .fails(&[ErrorKind::NotFound, ErrorKind::Busy, ErrorKind::Conflict])
    .answers::<ConsistencyProof>("The proof, for `portcullis audit verify-consistency`.")
    .done();
    api.get("/v1/audit/rotations", "show_rotations", "Gives what leads from one key of the log to the next.")
        .fails(&[ErrorKind::Busy, ErrorKind::Conflict, ErrorKind::NotFound])
        .answers::<Rotations>("That, for `--rotations` of what verifies.")
        .done();
    api.post("/v1/audit/reindex", "reindex_audit", "Makes the index of the log anew. It is no evidence.")
        .fails(&[ErrorKind::Busy])
        .answers::<Reindexed>("What was read.")
        .done();
    api.get("/v1/settings", "show_settings", "Shows the limits that hold here, and how the log is kept.")
        .answers::<Settings>("That.")
        .done();
}

async fn query(
    State(api): State<Api>,
    Checked(Query(query)): Checked<Query<RecordsQuery>>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(PAGE_RECORDS);
    if !(1..=PAGE_RECORDS_MAX).contains(&limit) {
        return Err(Problem::bad_input(format!("`limit` is {limit}; write 1 to {PAGE_RECORDS_MAX}")));
    }
    for (name, check) in [
        (&query.event, check_event_name as fn(&str) -> Result<(), String>),
        (&query.outcome, check_outcome_name),
    ] {
        name.as_deref().map_or(Ok(()), check).map_err(Problem::bad_input)?;
    }
    let _place = api.reading.take()?;
    let index = api.reading.index(&api.host.audit_folder()).await?;
    let order = match query.order {
        FirstRecords::Oldest => Order::OldestFirst,
        FirstRecords::Newest => Order::NewestFirst,
    };
    let mut after = query.after;
    let question = question(query);
    let mut page = BytesMut::new();
    let (mut count, mut next) = (0, None);
    'page: loop {
        let lines = index.find(&question, order, after, BATCH_RECORDS).await.map_err(index_problem)?;
        if lines.is_empty() {
            break;
        }
        for line in lines {
            if count == limit || page.len() >= PAGE_BYTES {
                next = after;
                break 'page;
            }
            page.extend_from_slice(&line.line);
            page.extend_from_slice(b"\n");
            (count, after) = (count + 1, Some(line.seq));
        }
    }
    index.close().await;
    let kind = [(header::CONTENT_TYPE, "application/jsonl")];
    let mut response = (StatusCode::OK, kind, page.freeze()).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(NEXT_HEADER, HeaderValue::from(next.0));
    }
    Ok(response)
}

fn question(query: RecordsQuery) -> Question {
    let RecordsQuery {
        since,
        until,
        call,
        principal,
        package,
        interface,
        function,
        subject,
        decision,
        outcome,
        event,
        limit: _,
        order: _,
        after: _,
    } = query;
    let decision = decision.map(|decision| decision.name().to_owned());
    Question {
        since,
        until,
        call,
        principal,
        package,
        interface,
        function,
        subject,
        decision,
        outcome,
        event,
    }
}

async fn show(
    State(api): State<Api>,
    Checked(Path(call)): Checked<Path<CallId>>,
) -> Result<Json<Told>, Problem> {
    let _place = api.reading.take()?;
    let folder = api.host.audit_folder();
    let index = api.reading.index(&folder).await?;
    let told = tell(&folder, &Way::Index(index), call, STORY_RECORDS_MAX).await.map_err(index_problem)?;
    told.map(Json).ok_or_else(|| no_such_call(call))
}

async fn prove(
    State(api): State<Api>,
    Checked(Path(call)): Checked<Path<CallId>>,
    Checked(Query(ReceiptQuery { records })): Checked<Query<ReceiptQuery>>,
) -> Result<Json<Receipt>, Problem> {
    let begun = Instant::now();
    loop {
        let proved =
            blocking(&api, move |folder, key| prove_call(&folder, &key, call, None, records, |_| ()));
        match proved.await? {
            Ok(receipt) => return Ok(Json(receipt)),
            // The host signs within a second of the answer.
            Err(ProveError::NotCovered { .. }) if begun.elapsed() < COVERED_WAIT_MAX => {
                sleep(COVERED_LOOK).await;
            }
            Err(error) => return Err(prove_problem(error)),
        }
    }
}

async fn checkpoint(State(api): State<Api>) -> Result<Response, Problem> {
    let note = blocking(&api, |folder, _| newest_checkpoint(&folder)).await?.map_err(prove_problem)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

async fn consistency(State(api): State<Api>, request: Request) -> Result<Json<ConsistencyProof>, Problem> {
    let ConsistencyRequest { from, to } = json(&json_body(request).await?)?;
    let proved = blocking(&api, move |folder, key| {
        prove_consistency(&folder, &key, from.as_bytes(), to.as_deref().map(str::as_bytes))
    });
    Ok(Json(proved.await?.map_err(prove_problem)?))
}

async fn rotations(State(api): State<Api>) -> Result<Json<Rotations>, Problem> {
    let rotations = blocking(&api, |folder, key| rotations_of(&folder, &key)).await?;
    Ok(Json(rotations.map_err(prove_problem)?))
}

async fn reindex(State(api): State<Api>) -> Result<Json<Reindexed>, Problem> {
    let _place = api.reading.take()?;
    let _one = api.reading.indexing.lock().await;
    let index = LogIndex::open(&api.host.audit_folder()).await.map_err(index_problem)?;
    // Whoever goes away leaves an index that the next question goes on with.
    let Indexed { records, bytes } = index.rebuild(|_| ()).await.map_err(index_problem)?;
    index.close().await;
    Ok(Json(Reindexed { records, bytes }))
}

async fn settings(State(api): State<Api>) -> Json<Settings> {
    Json(Settings::of(api.host.limits(), api.host.audit_settings()))
}

/// Reads files on a thread of its own, which holds its place until it is done, whether somebody waits or not.
async fn blocking<T: Send + 'static>(
    api: &Api,
    read: impl FnOnce(PathBuf, VerifierKey) -> Result<T, ProveError> + Send + 'static,
) -> Result<Result<T, ProveError>, Problem> {
    let place = api.reading.take()?;
    let failed = |detail: String| Problem::new(ErrorKind::HostFault, detail, Blame::Host);
    let key = api.host.audit_key().ok_or_else(|| failed("this log is not signed".to_owned()))?;
    let key = VerifierKey::parse(&key).map_err(|error| failed(error.to_string()))?;
    let folder = api.host.audit_folder();
    let read = tokio::task::spawn_blocking(move || {
        let read = read(folder, key);
        drop(place);
        read
    });
    read.await.map_err(|error| failed(format!("the log was not read to its end: {error}")))
}

fn no_such_call(call: CallId) -> Problem {
    Problem::new(ErrorKind::NotFound, format!("the log has no call {call}"), Blame::Agent)
}

fn index_problem(error: IndexError) -> Problem {
    match error {
        IndexError::Read(error) => HostError::from(error).into(),
        IndexError::TooMuch { .. } => Problem::bad_input(error.to_string()),
        IndexError::Database { .. } | IndexError::Disagrees { .. } => {
            Problem::new(ErrorKind::HostFault, error.to_string(), Blame::Host)
        }
    }
}

fn prove_problem(error: ProveError) -> Problem {
    let detail = error.to_string();
    match error {
        ProveError::Read(error @ ReadError::Dropped { .. }) => HostError::from(error).into(),
        ProveError::NoSuchCall { call } => no_such_call(call),
        ProveError::NoCheckpoint { .. } => {
            Problem::new(ErrorKind::NotFound, "the host has signed nothing of this log yet", Blame::Host)
        }
        ProveError::TooLarge
        | ProveError::Consistency(ConsistencyError::Backwards { .. } | ConsistencyError::Checkpoint { .. }) => {
            Problem::bad_input(detail)
        }
        ProveError::NotFinished { .. } | ProveError::NotCovered { .. } => {
            Problem::new(ErrorKind::Busy, detail, Blame::Host)
        }
        // The text that it would need is gone, or what was signed is not what is there: the log says more.
        ProveError::StartDropped { .. } | ProveError::Changed { .. } | ProveError::Consistency(_) => {
            Problem::new(ErrorKind::Conflict, detail, Blame::Host)
        }
        ProveError::Io { .. }
        | ProveError::Read(_)
        | ProveError::Checkpoint(_)
        | ProveError::HashesMissing => Problem::new(ErrorKind::HostFault, detail, Blame::Host),
    }
}
