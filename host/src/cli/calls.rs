//! Calling tools, and what becomes of calls that outlive their request.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use serde::de::DeserializeOwned;

use super::arguments::{CallArguments, CallsCommand};
use super::client::{Client, Lines};
use super::commands::{Query, get, send};
use super::failure::Failure;
use super::output::Output;
use super::progress::Steps;
use super::show::calls as show_calls;
use super::{evidence, input, show};
use crate::api::messages::{
    CallPage, CallResource, Cancelled, ERROR_EVENT, IDEMPOTENCY_KEY_HEADER, PREFER_HEADER, PROGRESS_EVENT,
    RESPOND_ASYNC, RESULT_EVENT, TRACE_PARENT_HEADER,
};
use crate::api::{Body, Problem};
use crate::audit::receipt::Receipt;
use crate::gateway::{CallAnswer, Progress};
use crate::ids::{CallId, IdempotencyKey};

/// The longest silence of a host while a call goes on: it says each 15 s that it is there, unless the machine is
/// overloaded.
const EVENT_PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn call(client: Client, arguments: CallArguments, output: &Output) -> Result<(), Failure> {
    let CallArguments { package, tool, args, principal, traceparent, detach, idempotency_key } = arguments;
    let text = input::arguments(args).await?;
    let mut query = Query::new("/v1/calls");
    query.push("as", principal.as_str());
    query.push("package", package.as_str());
    query.push("tool", tool.as_str());
    let mut request = send(Method::POST, query.target(), text)?;
    if let Some(trace) = traceparent {
        put(&mut request, TRACE_PARENT_HEADER, trace.as_str())?;
    }
    if let Some(key) = idempotency_key {
        put(&mut request, IDEMPOTENCY_KEY_HEADER, &quoted(&key))?;
    }
    if detach {
        put(&mut request, PREFER_HEADER, RESPOND_ASYNC)?;
        let taken: CallResource = client.document(request).await?;
        output.answer(&taken, |taken| taken.call.to_string())?;
        if !output.json {
            output
                .aside(&format!("it goes on by itself; `portcullis calls wait {}` waits for it", taken.call));
        }
        return Ok(());
    }
    follow(client, request, output).await
}

pub(super) async fn calls(client: Client, command: CallsCommand, output: &Output) -> Result<(), Failure> {
    match command {
        CallsCommand::List { state, after, limit } => {
            let mut query = Query::new("/v1/calls");
            if let Some(state) = state {
                query.push("state", state.name());
            }
            if let Some(after) = after {
                query.push("after", &after.to_string());
            }
            if let Some(limit) = limit {
                query.push("limit", &limit.to_string());
            }
            let page: CallPage = client.document(get(query.target())?).await?;
            output.answer(&page, |page| show_calls::list(&page.calls))?;
            if let Some(next) = page.next.filter(|_| !output.json) {
                output.note(&format!("there are older ones: `portcullis calls list --after {next}`"));
            }
            Ok(())
        }
        CallsCommand::Show { call } => {
            let shown: CallResource = client.document(get(&format!("/v1/calls/{call}"))?).await?;
            output.answer(&shown, show_calls::call)
        }
        CallsCommand::Wait { call } => {
            follow(client, get(&format!("/v1/calls/{call}/events"))?, output).await
        }
        CallsCommand::Receipt { call, out } => {
            let receipt: Receipt = client.document(get(&format!("/v1/calls/{call}/receipt"))?).await?;
            evidence::write(&receipt, out.as_deref(), output, || {
                format!("the receipt of call {call} is written")
            })
        }
    }
}

pub(super) async fn cancel(client: Client, call: CallId, output: &Output) -> Result<(), Failure> {
    let request = send(Method::DELETE, &format!("/v1/calls/{call}"), Bytes::new())?;
    let cancelled: Cancelled = client.document(request).await?;
    output.answer(&cancelled, |cancelled| {
        format!("asked {} to end; if it does not within a second, it is ended", cancelled.call)
    })
}

/// Shows how far a call is, and then what came of it.
async fn follow(client: Client, mut request: Request<Body>, output: &Output) -> Result<(), Failure> {
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    let answer = answered(client.lines(request).await?, output).await?;
    if !output.json {
        show::printed(&answer.report, output);
    }
    output.answer(&answer, |answer| show::answer(&answer.answer))?;
    if !output.json {
        output.aside(&show::summary(&answer.report));
    }
    Ok(())
}

async fn answered(mut lines: Lines, output: &Output) -> Result<CallAnswer, Failure> {
    let mut steps = Steps::new(output);
    while let Some((name, data)) = event(&mut lines).await? {
        match name.as_str() {
            PROGRESS_EVENT => steps.show(&read::<Progress>(&data)?),
            RESULT_EVENT => return read(&data),
            ERROR_EVENT => return Err(read::<Problem>(&data)?.into()),
            // What a later version may say as well.
            _ => {}
        }
    }
    Err(Failure::host("the host ended before it said what came of the call"))
}

/// The next of the server-sent events in these lines: its name and its data. Comments keep the connection alive.
async fn event(lines: &mut Lines) -> Result<Option<(String, Vec<u8>)>, Failure> {
    let (mut name, mut data) = (String::new(), Vec::new());
    while let Some(line) = lines.next(Some(EVENT_PATIENCE)).await? {
        if line.is_empty() {
            if !name.is_empty() || !data.is_empty() {
                return Ok(Some((name, data)));
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = String::from_utf8_lossy(value).into_owned(),
            b"data" => data.extend_from_slice(value),
            _ => {}
        }
    }
    Ok(None)
}

fn read<T: DeserializeOwned>(data: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(data)
        .map_err(|error| Failure::host(format!("the host's answer can't be read: {error}")))
}

fn put(request: &mut Request<Body>, name: &'static str, value: &str) -> Result<(), Failure> {
    let value = HeaderValue::from_str(value)
        .map_err(|error| Failure::host(format!("the request can't be made: {error}")))?;
    request.headers_mut().insert(name, value);
    Ok(())
}

/// A key as a String of RFC 9651.
fn quoted(key: &IdempotencyKey) -> String {
    format!("\"{}\"", key.as_str().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_quoted_as_headers_have_it() {
        let quoted = |text: &str| quoted(&text.parse().expect("a key"));
        assert_eq!(quoted("a"), r#""a""#);
        assert_eq!(quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
    }
}
