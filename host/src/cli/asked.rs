//! `portcullis audit query`, `show`, `prove`, `consistency`, `rotations` and `reindex` of a host in the network.
//!
//! What it answers is the host's word until it is verified here, with the public key: `audit verify-receipt` and
//! `verify-consistency` ask nobody.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use super::arguments::EvidenceCommand;
use super::arguments::asking::{First, QueryArguments};
use super::client::Client;
use super::commands::{Query, RECORDS_PATIENCE, get, json, send};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::remote::Remote;
use super::{evidence, query, story};
use crate::api::messages::{ConsistencyRequest, Reindexed};
use crate::audit::consistency::ConsistencyProof;
use crate::audit::event::Record;
use crate::audit::index::FoundLine;
use crate::audit::receipt::Receipt;
use crate::audit::story::Told;
use crate::audit::trust::Rotations;

/// Asks for what [`EvidenceCommand::is_of_a_host`] says that a host can be asked for.
pub(super) async fn run(
    remote: impl Fn() -> Result<Remote, Failure>,
    command: EvidenceCommand,
    output: &Output,
) -> Result<Exit, Failure> {
    let client = || remote().map(|remote| Client::Remote(Arc::new(remote)));
    match command {
        EvidenceCommand::Query(arguments) => return records(client, &arguments, output).await,
        EvidenceCommand::Show(arguments) => {
            let told: Told = client()?.document(get(&format!("/v1/audit/calls/{}", arguments.call))?).await?;
            output.answer(&told, story::text)?;
        }
        EvidenceCommand::Reindex(_) => {
            let request = send(Method::POST, "/v1/audit/reindex", Bytes::new())?;
            let done: Reindexed = client()?.document(request).await?;
            output.answer(&done, |done| format!("indexed {} records, {} bytes", done.records, done.bytes))?;
        }
        EvidenceCommand::Prove(arguments) => {
            let (call, records) = (arguments.call, arguments.with_records);
            let target = format!("/v1/audit/calls/{call}/receipt?records={records}");
            let receipt: Receipt = client()?.document(get(&target)?).await?;
            evidence::write(&receipt, arguments.out.as_deref(), output, || {
                format!("the receipt of call {call} is written")
            })?;
        }
        EvidenceCommand::Consistency(arguments) => {
            let from = evidence::text(&arguments.from)?;
            let to = arguments.to.as_deref().map(evidence::text).transpose()?;
            let body = json(&ConsistencyRequest { from, to })?;
            let request = send(Method::POST, "/v1/audit/consistency", body)?;
            let proof: ConsistencyProof = client()?.document(request).await?;
            evidence::write(&proof, arguments.out.as_deref(), output, || "the proof is written".to_owned())?;
        }
        EvidenceCommand::Rotations(arguments) => {
            let rotations: Rotations = client()?.document(get("/v1/audit/rotations")?).await?;
            evidence::write(&rotations, arguments.out.as_deref(), output, || {
                format!("{} rotations are written", rotations.rotations.len())
            })?;
        }
        EvidenceCommand::Verify(_)
        | EvidenceCommand::Bundle(_)
        | EvidenceCommand::BundleVerify(_)
        | EvidenceCommand::Schema
        | EvidenceCommand::VerifyReceipt(_)
        | EvidenceCommand::VerifyConsistency(_) => {
            return Err(Failure::input("this reads files of this machine, and asks no host"));
        }
    }
    Ok(Exit::Ok)
}

/// The most records of a page that the host gives.
const PAGE_RECORDS_MAX: usize = 1_000;

/// Page after page, until there is none or there is enough.
async fn records(
    client: impl Fn() -> Result<Client, Failure>,
    arguments: &QueryArguments,
    output: &Output,
) -> Result<Exit, Failure> {
    let shape = query::begin(arguments, output)?;
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut after = None;
    while left > 0 {
        let limit = left.min(PAGE_RECORDS_MAX);
        let mut target = question(arguments);
        target.push("limit", &limit.to_string());
        if let Some(after) = after {
            target.push("after", &format!("{after}"));
        }
        let mut lines = client()?.lines(get(target.target())?).await?;
        let next = lines.next_page();
        let mut page = Vec::new();
        while let Some(line) = lines.next(Some(RECORDS_PATIENCE)).await? {
            let record: Record = serde_json::from_slice(&line)
                .map_err(|error| Failure::host(format!("a record can't be read: {error}")))?;
            page.push(FoundLine { seq: record.seq, line: line.to_vec() });
        }
        left = left.saturating_sub(page.len());
        if !page.is_empty() {
            output.text(&query::shown(&page, shape)?)?;
        }
        match next {
            Some(_) if next == after => {
                return Err(Failure::host("the host's pages lead back to themselves"));
            }
            Some(_) => after = next,
            None => break,
        }
    }
    Ok(Exit::Ok)
}

/// What was asked on the command line, as a query.
fn question(arguments: &QueryArguments) -> Query {
    let mut target = Query::new("/v1/audit/query");
    let question = arguments.question();
    let parts = [
        ("since", question.since.map(|time| time.to_string())),
        ("until", question.until.map(|time| time.to_string())),
        ("call", question.call.map(|call| call.to_string())),
        ("principal", question.principal.map(|name| name.to_string())),
        ("package", question.package.map(|name| name.to_string())),
        ("interface", question.interface.map(|pattern| pattern.to_string())),
        ("function", question.function.map(|pattern| pattern.to_string())),
        ("subject", question.subject.map(|pattern| pattern.to_string())),
        ("decision", question.decision),
        ("outcome", question.outcome),
        ("event", question.event),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            target.push(name, &value);
        }
    }
    target.push(
        "order",
        match arguments.order {
            First::Oldest => "oldest",
            First::Newest => "newest",
        },
    );
    target
}
