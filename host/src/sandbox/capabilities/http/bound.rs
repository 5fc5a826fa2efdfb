//! Secrets and requests: what a rule puts into its requests, what must not leave in others, and what must
//! not come back.
//!
//! A secret is bound to the rules that inject it. The tool's own copy of what is injected gives way; a
//! request that holds a secret which its rule does not inject is refused; and the answer to a request with
//! an injection is looked through, so that a server that echoes does not hand the secret to the tool.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use url::form_urlencoded;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use zeroize::Zeroizing;

use super::filter::{AnswerFilter, Unfiltered};
use crate::audit::event::{LeakAction, LeakPlace, SecretInjected};
use crate::egress::{CanonicalUrl, EgressError, OutboundRequest, SentBody};
use crate::ids::SecretName;
use crate::policy::{HttpRule, Injection, OnLeak};
use crate::sandbox::capabilities::CallState;
use crate::secrets::{Ending, Leak, Patterns, Reaction, Scanner};

/// What a rule puts into one request.
#[derive(Debug, Default)]
pub(super) struct Bound {
    headers: Vec<(HeaderName, HeaderValue)>,
    url: Option<CanonicalUrl>,
    /// The secrets that the request may hold.
    secrets: Vec<SecretName>,
    used: Vec<SecretInjected>,
}

/// Leaks that were found where nobody can write a record, until somebody can.
#[derive(Clone, Debug, Default)]
pub(super) struct LeakNotes(Arc<Mutex<Vec<(LeakPlace, Leak, LeakAction)>>>);

impl LeakNotes {
    fn note(&self, place: LeakPlace, leak: Leak, action: LeakAction) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((place, leak, action));
    }

    fn take(&self) -> Vec<(LeakPlace, Leak, LeakAction)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CallState {
    /// Refuses a request that holds a secret which its rule does not inject, and fills what that injects.
    ///
    /// # Errors
    /// Why the request is refused, for the log.
    pub(super) fn bind(
        &mut self,
        rule: &HttpRule,
        url: &CanonicalUrl,
        request: &HostOutgoingRequest,
    ) -> Result<Bound, Cow<'static, str>> {
        let patterns = self.gate.secrets().patterns();
        if patterns.is_empty() && rule.inject.is_empty() {
            return Ok(Bound::default());
        }
        let secrets: Vec<SecretName> = rule.inject.iter().flat_map(Injection::secrets).cloned().collect();
        if let Some(leak) = patterns.find_but(&secrets, &head_text(url, request)) {
            self.gate.leaked(LeakPlace::Request, &leak, LeakAction::Refused);
            return Err(format!("it holds secret {}, which its rule does not inject", leak.secret).into());
        }
        let headers: &HeaderMap = &request.headers;
        let mut bound = Bound { secrets, ..Bound::default() };
        for injection in &rule.inject {
            let is_replaced = self.inject(injection, url, headers, &mut bound)?;
            for secret in injection.secrets() {
                let (secret, into) = (secret.clone(), injection.place().into_owned());
                bound.used.push(SecretInjected { secret, into, replaced: is_replaced });
            }
        }
        Ok(bound)
    }

    /// Fills one injection. Whether the tool had something of its own there.
    fn inject(
        &self,
        injection: &Injection,
        url: &CanonicalUrl,
        headers: &HeaderMap,
        bound: &mut Bound,
    ) -> Result<bool, Cow<'static, str>> {
        let secrets = self.gate.secrets();
        let value = |name: &SecretName| secrets.value(name).map(|value| value.expose());
        let filled = injection.template().fill(value);
        let filled = filled.map_err(|name| format!("secret {name} is not to be had now"))?;
        let mut put = |name: HeaderName, value: &[u8]| {
            let mut value = HeaderValue::from_bytes(value)
                .map_err(|_| format!("what {} would be can't stand in a header", injection.place()))?;
            // HTTP/2 keeps no table of it, and nothing that prints requests shows it.
            value.set_sensitive(true);
            let is_replaced = headers.contains_key(&name);
            bound.headers.push((name, value));
            Ok::<bool, Cow<'static, str>>(is_replaced)
        };
        match injection {
            Injection::Header { header, .. } => {
                let name = HeaderName::from_bytes(header.as_str().as_bytes());
                put(name.map_err(|_| "the header's name is malformed")?, &filled)
            }
            Injection::Basic { user, .. } => {
                let mut pair = Zeroizing::new(format!("{user}:").into_bytes());
                pair.extend_from_slice(&filled);
                let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
                put(header::AUTHORIZATION, basic.as_bytes())
            }
            Injection::Query { key, .. } => {
                let url = bound.url.as_ref().unwrap_or(url);
                let (query, is_replaced) = with_pair(url.query().unwrap_or_default(), key.as_str(), &filled);
                let injected = url.with_query(Some(&query));
                bound.url =
                    Some(injected.map_err(|error| format!("the injected query is refused: {error}"))?);
                Ok(is_replaced)
            }
        }
    }

    /// Records each use of a secret, to be with the kernel before the request leaves.
    pub(super) fn record_injections(&mut self, bound: &Bound) {
        for used in &bound.used {
            self.gate.injected(used.clone());
        }
    }

    /// Records what was found in bodies since this was last asked.
    pub(crate) fn settle_leaks(&mut self) {
        for (place, leak, action) in self.http.leaks.take() {
            self.gate.leaked(place, &leak, action);
        }
    }

    /// Puts what is bound into a request, and has its body and its answer looked through.
    pub(super) fn rewritten(
        &self,
        bound: Bound,
        mut sent: OutboundRequest,
    ) -> (OutboundRequest, Box<dyn AnswerFilter>) {
        let patterns = self.gate.secrets().patterns();
        if patterns.is_empty() {
            return (sent, Box::new(Unfiltered));
        }
        let notes = &self.http.leaks;
        if !sent.is_empty {
            let scanner = Scanner::new(Arc::clone(patterns), Reaction::Refuse).but(&bound.secrets);
            sent.body = ScannedBody::new(sent.body, scanner, notes.clone()).boxed_unsync();
        }
        if bound.secrets.is_empty() {
            return (sent, Box::new(Unfiltered));
        }
        for (name, value) in bound.headers {
            sent.headers.insert(name, value);
        }
        if let Some(url) = bound.url {
            sent.url = url;
        }
        // What is encoded can't be looked through; nor can a secret that is asked for in parts.
        sent.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        sent.headers.remove(header::RANGE);
        sent.headers.remove(header::IF_RANGE);
        let filter = SecretFilter::new(Arc::clone(patterns), notes.clone());
        (sent, Box::new(filter))
    }
}

/// All of a request's head, as a text.
fn head_text(url: &CanonicalUrl, request: &HostOutgoingRequest) -> Vec<u8> {
    let target = format!("{}://{}{}\n", url.scheme(), url.authority(), url.path_and_query());
    let mut text = target.into_bytes();
    let headers: &HeaderMap = &request.headers;
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
            text.extend_from_slice(part);
        }
    }
    text
}

/// A query in which the key stands once, with this value, at the end. Whether it stood there before.
fn with_pair(query: &str, key: &str, value: &[u8]) -> (Zeroizing<String>, bool) {
    let mut changed = Zeroizing::new(String::new());
    let mut is_replaced = false;
    // Some servers divide at `;` as well: the tool's own copy is found either way.
    for pair in query.split_inclusive(['&', ';']) {
        let bare = pair.trim_end_matches(['&', ';']);
        if form_urlencoded::parse(bare.as_bytes()).any(|(found, _)| found == key) {
            is_replaced = true;
        } else {
            changed.push_str(pair);
        }
    }
    if !changed.is_empty() && !changed.ends_with(['&', ';']) {
        changed.push('&');
    }
    push_encoded(&mut changed, key.as_bytes());
    changed.push('=');
    push_encoded(&mut changed, value);
    (changed, is_replaced)
}

/// Percent-encodes all but the unreserved characters (RFC 3986, 2.3).
fn push_encoded(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
            text.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
}

/// A request's body, refused where it holds a secret that is not bound to it.
#[derive(Debug)]
struct ScannedBody {
    body: SentBody,
    scanner: Scanner,
    notes: LeakNotes,
    /// What comes after the last bytes of the scanner.
    last: VecDeque<Frame<Bytes>>,
    is_over: bool,
}

impl ScannedBody {
    fn new(body: SentBody, scanner: Scanner, notes: LeakNotes) -> Self {
        Self { body, scanner, notes, last: VecDeque::new(), is_over: false }
    }

    fn refused(&mut self, leak: Leak) -> String {
        let text = format!("it holds secret {}, which its rule does not inject", leak.secret);
        self.notes.note(LeakPlace::Request, leak, LeakAction::Refused);
        self.is_over = true;
        text
    }

    /// What may be sent by now of a part, or of the end.
    fn scan(&mut self, part: Option<Frame<Bytes>>) -> Result<Option<Frame<Bytes>>, String> {
        let trailers = match part.map(Frame::into_data) {
            Some(Ok(data)) => {
                let clean = self.scanner.scan(&data).map_err(|leak| self.refused(leak))?;
                return Ok((!clean.is_empty()).then(|| Frame::data(clean.into())));
            }
            Some(Err(trailers)) => Some(trailers),
            None => None,
        };
        self.is_over = true;
        let rest = self.scanner.finish().map_err(|leak| self.refused(leak))?;
        if !rest.is_empty() {
            self.last.push_back(Frame::data(rest.into()));
        }
        if let Some(trailers) = trailers {
            let text = trailers.trailers_ref().map(fields_text).unwrap_or_default();
            self.scanner
                .scan(&text)
                .and_then(|_| self.scanner.finish())
                .map_err(|leak| self.refused(leak))?;
            self.last.push_back(trailers);
        }
        Ok(self.last.pop_front())
    }
}

fn fields_text(fields: &HeaderMap) -> Vec<u8> {
    let mut text = vec![b'\n'];
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
            text.extend_from_slice(part);
        }
    }
    text
}

impl Body for ScannedBody {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        let this = self.get_mut();
        loop {
            if let Some(frame) = this.last.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            let part = std::task::ready!(pin!(&mut this.body).poll_frame(context)).transpose()?;
            match this.scan(part) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                // Held back, or at its end.
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

/// Looks through the answer to a request with an injection.
#[derive(Debug)]
struct SecretFilter {
    patterns: Arc<Patterns>,
    scanner: Scanner,
    notes: LeakNotes,
    /// What is given after the last bytes.
    last: VecDeque<Frame<Bytes>>,
    is_over: bool,
}

impl SecretFilter {
    fn new(patterns: Arc<Patterns>, notes: LeakNotes) -> Self {
        let scanner = Scanner::new(Arc::clone(&patterns), Reaction::AsGranted);
        Self { patterns, scanner, notes, last: VecDeque::new(), is_over: false }
    }

    fn refused(&self, leak: Leak) -> EgressError {
        let text = format!("it holds secret {}", leak.secret);
        self.notes.note(LeakPlace::Response, leak, LeakAction::Refused);
        EgressError::Refused(text)
    }

    fn note_redacted(&mut self) {
        for leak in self.scanner.take_leaks() {
            self.notes.note(LeakPlace::Response, leak, LeakAction::Redacted);
        }
    }

    /// Fields without secrets: in a value a mark stands in its place, and a name that is one goes.
    fn fields(&self, fields: &mut HeaderMap) -> Result<(), EgressError> {
        let names: Vec<HeaderName> = fields.keys().cloned().collect();
        for name in names {
            if let Some(leak) = self.patterns.find(name.as_str().as_bytes()) {
                self.field_leaks(vec![leak])?;
                fields.remove(&name);
            }
        }
        for value in fields.values_mut() {
            let Some((clean, leaks)) = self.patterns.redact(value.as_bytes(), Ending::Whole) else {
                continue;
            };
            self.field_leaks(leaks)?;
            let clean = HeaderValue::from_bytes(&clean);
            *value = clean.unwrap_or_else(|_| HeaderValue::from_static("[secret]"));
        }
        Ok(())
    }

    fn field_leaks(&self, leaks: Vec<Leak>) -> Result<(), EgressError> {
        for leak in leaks {
            if leak.on_leak == OnLeak::Refuse {
                return Err(self.refused(leak));
            }
            self.notes.note(LeakPlace::Response, leak, LeakAction::Redacted);
        }
        Ok(())
    }

    /// The rest, and what comes after it.
    fn end(&mut self, trailers: Option<Frame<Bytes>>) -> Result<(), EgressError> {
        self.is_over = true;
        let rest = self.scanner.finish().map_err(|leak| self.refused(leak))?;
        self.note_redacted();
        if !rest.is_empty() {
            self.last.push_back(Frame::data(rest.into()));
        }
        if let Some(Ok(mut fields)) = trailers.map(Frame::into_trailers) {
            self.fields(&mut fields)?;
            self.last.push_back(Frame::trailers(fields));
        }
        Ok(())
    }
}

impl AnswerFilter for SecretFilter {
    fn head(&mut self, headers: &mut HeaderMap) -> Result<(), EgressError> {
        let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
        let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !encodings.into_iter().all(is_identity) {
            let text = "it is encoded, so that no secret in it could be found".to_owned();
            return Err(EgressError::Refused(text));
        }
        // With a mark in it, it has another length.
        headers.remove(header::CONTENT_LENGTH);
        self.fields(headers)
    }

    fn body(&mut self, frame: Option<Frame<Bytes>>) -> Option<Result<Frame<Bytes>, EgressError>> {
        let ended = match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                let clean = match self.scanner.scan(&data) {
                    Ok(clean) => clean,
                    Err(leak) => return Some(Err(self.refused(leak))),
                };
                self.note_redacted();
                return (!clean.is_empty()).then(|| Ok(Frame::data(clean.into())));
            }
            Some(Err(trailers)) => self.end(Some(trailers)),
            None if !self.is_over => self.end(None),
            None => Ok(()),
        };
        match ended {
            Ok(()) => self.last.pop_front().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_injected_pair_takes_the_place_of_the_tools_own() {
        let changed = |query: &str| {
            let (query, is_replaced) = with_pair(query, "key", b"a b&c");
            (query.to_string(), is_replaced)
        };
        assert_eq!(changed(""), ("key=a%20b%26c".to_owned(), false));
        assert_eq!(changed("x=1"), ("x=1&key=a%20b%26c".to_owned(), false));
        assert_eq!(changed("key=mine&x=1"), ("x=1&key=a%20b%26c".to_owned(), true));
        assert_eq!(changed("x=1&k%65y=mine"), ("x=1&key=a%20b%26c".to_owned(), true));
        assert_eq!(changed("x=1;key=mine"), ("x=1;key=a%20b%26c".to_owned(), true));
        assert_eq!(changed("key&x"), ("x&key=a%20b%26c".to_owned(), true));
    }
}
