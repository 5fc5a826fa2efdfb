//! Sends any request of `wasi:http` that it is told to, and says how the host answered. It calls the
//! interface itself: a client library would refuse much of it first.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "wit"],
        world: "test:requests/requests-tool",
        generate_all,
    });
}
mod step;

use bindings::exports::test::requests::interpreter::Guest;
use bindings::wasi::http::outgoing_handler::handle;
use bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use bindings::wasi::io::streams::StreamError;
use step::Step;

/// The most of a body that a line shows.
const SHOWN_BYTES_MAX: usize = 2_000;
/// The most bytes of one write that is flushed.
const PART_BYTES_MAX: usize = 4_096;

struct Requests;

impl Guest for Requests {
    fn run(steps: String) -> Result<Vec<String>, String> {
        let mut held = Vec::new();
        let mut answers = Vec::new();
        for mut step in step::parse(&steps)? {
            let mut line = Err("never sent".to_owned());
            for _ in 0..step.times.unwrap_or(1) {
                line = perform(&step, &mut held);
            }
            while let (Ok(Answer { location: Some(location), .. }), true) = (&line, step.redirects > 0) {
                let (scheme, rest) = location.split_once("://").ok_or("a relative redirect")?;
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                step.scheme = Some(scheme.to_owned());
                step.authority = authority.to_owned();
                step.path = Some(path.to_owned());
                step.redirects -= 1;
                line = perform(&step, &mut held);
            }
            answers.push(line.map_or_else(|error| format!("error: {error}"), |answer| answer.line));
        }
        Ok(answers)
    }
}

bindings::export!(Requests with_types_in bindings);

/// How one request was answered.
struct Answer {
    line: String,
    location: Option<String>,
}

fn perform(step: &Step, held: &mut Vec<IncomingResponse>) -> Result<Answer, String> {
    let entries: Vec<_> =
        step.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let fields = Fields::from_list(&entries).map_err(|error| format!("{error:?}"))?;
    let request = OutgoingRequest::new(fields);
    let set = |result: Result<(), ()>, what: &str| result.map_err(|()| format!("{what} can't be set"));
    set(request.set_method(&method(step.method.as_deref().unwrap_or("GET"))), "the method")?;
    let scheme = match step.scheme.as_deref().unwrap_or("http") {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    set(request.set_scheme(Some(&scheme)), "the scheme")?;
    set(request.set_authority(Some(&step.authority)), "the authority")?;
    set(request.set_path_with_query(step.path.as_deref()), "the path")?;
    let options = RequestOptions::new();
    let nanoseconds = |milliseconds: Option<u64>| milliseconds.map(|number| number * 1_000_000);
    set(options.set_connect_timeout(nanoseconds(step.connect_timeout_ms)), "a timeout")?;
    set(options.set_first_byte_timeout(nanoseconds(step.first_byte_timeout_ms)), "a timeout")?;
    set(options.set_between_bytes_timeout(nanoseconds(step.between_bytes_timeout_ms)), "a timeout")?;
    let has_body = step.body.is_some() || step.body_bytes.is_some() || step.unfinished;
    let body = if has_body { Some(request.body().map_err(|()| "no body")?) } else { None };
    let future = handle(request, Some(options)).map_err(name)?;
    if step.abandon {
        return Ok(Answer { line: "abandoned".to_owned(), location: None });
    }
    let written = body.map_or(Ok(()), |body| write(step, body));
    future.subscribe().block();
    let answered = future.get().ok_or("no answer yet")?.map_err(|()| "the answer was taken")?;
    // What came of the request says more than what came of its body.
    let response = answered.map_err(name)?;
    written?;
    read(step, response, held)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn write(step: &Step, body: OutgoingBody) -> Result<(), String> {
    let text = step.body.clone().unwrap_or_default().into_bytes();
    let bytes = step.body_bytes.map_or(text, |count| vec![b'x'; count]);
    let stream = body.write().map_err(|()| "no stream")?;
    for part in bytes.chunks(PART_BYTES_MAX) {
        stream.blocking_write_and_flush(part).map_err(|error| format!("writing: {error:?}"))?;
    }
    drop(stream);
    if step.unfinished {
        return Ok(());
    }
    let entries: Vec<_> =
        step.trailers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let trailers = match entries.is_empty() {
        true => None,
        false => Some(Fields::from_list(&entries).map_err(|error| format!("trailers: {error:?}"))?),
    };
    OutgoingBody::finish(body, trailers).map_err(|error| format!("finishing: {}", name(error)))
}

fn read(step: &Step, response: IncomingResponse, held: &mut Vec<IncomingResponse>) -> Result<Answer, String> {
    let status = response.status();
    let headers = response.headers();
    let location = (300..400).contains(&status).then(|| headers.get("location").into_iter().next()).flatten();
    let location = location.map(|value| String::from_utf8_lossy(&value).into_owned());
    if step.hold {
        held.push(response);
        return Ok(Answer { line: format!("{status} held"), location: None });
    }
    let body = response.consume().map_err(|()| "no body")?;
    let (mut shown, mut count) = (Vec::new(), 0);
    {
        let stream = body.stream().map_err(|()| "no stream")?;
        loop {
            match stream.blocking_read(65_536) {
                Ok(part) => {
                    count += part.len();
                    shown.extend(part.into_iter().take(SHOWN_BYTES_MAX.saturating_sub(shown.len())));
                }
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => {
                    let error = bindings::wasi::http::types::http_error_code(&error)
                        .map_or_else(|| error.to_debug_string(), name);
                    return Err(format!("{error} after {count} bytes"));
                }
            }
        }
    }
    drop(IncomingBody::finish(body));
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let named = |(name, value): (String, Vec<u8>)| format!("{name}={} ", String::from_utf8_lossy(&value));
    let headers: String = match step.show_headers {
        true => headers.entries().into_iter().map(named).collect(),
        false => String::new(),
    };
    Ok(Answer { line: format!("{status} {headers}{count}: {shown}"), location })
}

/// An error code by its name.
fn name(code: ErrorCode) -> String {
    let text = format!("{code:?}");
    text.trim_start_matches("ErrorCode::").to_owned()
}
