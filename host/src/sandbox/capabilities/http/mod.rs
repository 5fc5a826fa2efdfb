//! `wasi:http`: a guest makes up requests in memory, and what its rules allow is sent.
//!
//! The types in memory are wasmtime's; each of their functions comes through the gate first. The only
//! step that reaches the network is `outgoing-handler.handle` ([`send`]), which is ours; the hook with
//! which wasmtime would send refuses.
//!
//! wasmtime's traits are not async, so a guest that calls them faster than the log can be written does
//! not wait at the gate, but ends there.

mod bound;
mod error;
mod exchange;
mod filter;
mod rates;
mod send;
mod under_way;

use std::borrow::Cow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use wasmtime::component::{Resource, ResourceTableError};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};
use wasmtime_wasi_http::p2::bindings::http::types;
use wasmtime_wasi_http::p2::{HeaderError, HeaderResult, HttpError, HttpResult};
use wasmtime_wasi_http::{ForbiddenHeaderFilter, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks};

pub(crate) use self::error::code;
pub(crate) use self::exchange::About;
use self::exchange::{OpenExchange, Owners};
use self::rates::Rates;
use self::under_way::UnderWay;
use super::gate::{EffectClass, HARMLESS, HostFunction};
use super::io::WRITE_BYTES_MAX;
use super::{CallState, trapped};
use crate::audit::event::{CallContext, HostCallOutcome};
use crate::egress::{Client, Traffic, is_forbidden_field};
use crate::limits::CallLimits;
use types::{
    ErrorCode, Fields, FutureIncomingResponse, FutureTrailers, IncomingBody, IncomingRequest,
    IncomingResponse, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions,
    ResponseOutparam, Scheme,
};

/// The most bytes, names and values and what keeps them, of one set of header fields. A guest that
/// makes more of them is trapped.
const FIELD_BYTES_MAX: usize = 16 << 10;

/// What the requests of all calls are sent with.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: Client,
    rates: Arc<Rates>,
}

impl Sender {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, rates: Arc::default() }
    }
}

/// What the host keeps of HTTP for one call.
#[derive(Debug)]
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: NothingLeaves,
    sender: Sender,
    /// Whose requests they are.
    caller: Arc<CallContext>,
    scope: OnceLock<Arc<str>>,
    /// Bytes of all exchanges.
    pub(crate) traffic: Arc<Traffic>,
    /// What was found in bodies and is not in the log yet.
    leaks: bound::LeakNotes,
    owners: Owners,
    open: Vec<OpenExchange>,
    under_way: UnderWay,
    /// Set when the call ends, before its handles are dropped.
    is_over: Arc<AtomicBool>,
}

impl Http {
    pub(crate) fn new(
        sender: Sender,
        caller: Arc<CallContext>,
        limits: &CallLimits,
        meter: Arc<dyn crate::egress::Meter>,
    ) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(FIELD_BYTES_MAX);
        let traffic = Traffic::new(limits.http_bytes_in, limits.http_bytes_out).metered(meter);
        let traffic = Arc::new(traffic);
        let (scope, leaks, owners, open, under_way, is_over) = Default::default();
        let hooks = NothingLeaves;
        Self { context, hooks, sender, caller, scope, traffic, leaks, owners, open, under_way, is_over }
    }

    /// Connections are kept open for the same package, bytes and principal only.
    fn scope(&self) -> Arc<str> {
        let name = || format!("{} {}", self.caller.digest, self.caller.principal).into();
        Arc::clone(self.scope.get_or_init(name))
    }

    /// What a body's stream is about, once its request was sent.
    pub(crate) fn about(&self, rep: u32) -> Option<&About> {
        self.owners.of(rep)
    }

    /// Whether a stream belongs to a body.
    pub(crate) fn is_body(&self, rep: u32) -> bool {
        self.owners.has(rep)
    }

    /// Forgets a handle that the guest dropped.
    pub(crate) fn forget(&mut self, rep: u32) {
        self.owners.forget(rep);
    }
}

/// Refuses to send, should anything ever get past the gate.
#[derive(Debug)]
struct NothingLeaves;

type Sending = Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>;
type Sent = Result<(::http::Response<WasiBody>, Sending), wasmtime_wasi_http::Error>;

impl WasiHttpHooks for NothingLeaves {
    fn send_request(
        &mut self,
        _: ::http::Request<WasiBody>,
        _: Option<wasmtime_wasi_http::RequestOptions>,
        _: Sending,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(std::future::ready(Err(wasmtime_wasi_http::Error::HttpRequestDenied)))
    }

    fn is_forbidden_header(&mut self, name: &::http::HeaderName) -> bool {
        is_forbidden_field(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden_field)
    }

    /// What `check-write` answers: no more than the gate lets through in one write.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_BYTES_MAX
    }
}

const fn in_types(name: &'static str) -> HostFunction {
    HostFunction { interface: "wasi:http/types", name, effect: EffectClass::Never }
}

mod handler {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:http/outgoing-handler":
        HANDLE = "handle", Always;
    }
}

const HTTP_ERROR_CODE: &HostFunction = &in_types("http-error-code");

/// The functions of `wasi:http`.
pub(crate) const FUNCTIONS: &[&[&HostFunction]] = &[
    handler::ALL,
    &[HTTP_ERROR_CODE],
    FIELDS,
    OUTGOING_REQUEST,
    REQUEST_OPTIONS,
    OUTGOING_RESPONSE,
    OUTGOING_BODY,
    INCOMING_REQUEST,
    RESPONSE_OUTPARAM,
    INCOMING_RESPONSE,
    INCOMING_BODY,
    FUTURE_TRAILERS,
    FUTURE_INCOMING_RESPONSE,
];

/// What a delegated function answers: how many resources the guest gets with it.
trait Given {
    /// The resource, by its place in the table.
    fn resource(&self) -> Option<u32> {
        None
    }

    fn resources(&self) -> u64 {
        u64::from(self.resource().is_some())
    }
}

impl<T> Given for Resource<T> {
    fn resource(&self) -> Option<u32> {
        Some(self.rep())
    }
}

impl<T: Given> Given for Option<T> {
    fn resource(&self) -> Option<u32> {
        self.as_ref().and_then(Given::resource)
    }
}

impl<T: Given, E> Given for Result<T, E> {
    fn resource(&self) -> Option<u32> {
        self.as_ref().ok().and_then(Given::resource)
    }
}

impl<T> Given for Vec<T> {}

macro_rules! gives_no_resource {
    ($($type:ty),*) => { $(impl Given for $type {})* };
}
gives_no_resource!((), bool, u16, u64, String, Method, Scheme, ErrorCode);

/// How a delegated function fails: with an error for the guest, or with one that ends it.
trait Failure: Sized {
    fn trap(error: wasmtime::Error) -> Self;

    /// The error for the guest and what the log calls it; else the one that ends the guest.
    fn answered(self) -> wasmtime::Result<(Self, Cow<'static, str>)>;
}

impl Failure for wasmtime::Error {
    fn trap(error: wasmtime::Error) -> Self {
        error
    }

    fn answered(self) -> wasmtime::Result<(Self, Cow<'static, str>)> {
        Err(self)
    }
}

impl Failure for HeaderError {
    fn trap(error: wasmtime::Error) -> Self {
        HeaderError::trap(error)
    }

    fn answered(self) -> wasmtime::Result<(Self, Cow<'static, str>)> {
        let error = self.downcast()?;
        let name = match &error {
            types::HeaderError::InvalidSyntax => "invalid-syntax",
            types::HeaderError::Forbidden => "forbidden",
            types::HeaderError::Immutable => "immutable",
        };
        Ok((error.into(), Cow::Borrowed(name)))
    }
}

impl Failure for HttpError {
    fn trap(error: wasmtime::Error) -> Self {
        HttpError::trap(error)
    }

    fn answered(self) -> wasmtime::Result<(Self, Cow<'static, str>)> {
        let code = self.downcast()?;
        let name = crate::text::clean_line(&format!("{code:?}"), 200);
        Ok((code.into(), Cow::Owned(name)))
    }
}

impl CallState {
    fn http_view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.context }
    }

    /// Lets through and records a function that wasmtime performs in memory. `taken` is how many
    /// resources it takes from the guest; what it gives is about the same as `parent`, if that is said.
    fn delegate<T: Given, E: Failure>(
        &mut self,
        function: &'static HostFunction,
        taken: u64,
        parent: Option<u32>,
        perform: impl FnOnce(&mut WasiHttpCtxView<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.settle_exchanges();
        let about = parent.map(|parent| self.http.owners.shared(parent));
        let subject = about.as_ref().and_then(|about| Some(Arc::clone(&about.get()?.subject)));
        let entered = self.gate.enter_now(function, subject).map_err(E::trap)?;
        let (result, outcome) = match perform(&mut self.http_view()) {
            Ok(value) => (Ok(value), HostCallOutcome::Ok),
            Err(error) => match error.answered() {
                Ok((error, name)) => (Err(error), HostCallOutcome::Error(name)),
                Err(fault) => {
                    let fault = self.resource_fault(fault);
                    let outcome = trapped(&fault);
                    (Err(E::trap(fault)), outcome)
                }
            },
        };
        self.gate.leave(entered, HARMLESS, outcome, 0, 0);
        if let (Some(parent), true) = (parent, taken > 0) {
            self.http.forget(parent);
        }
        if let (Some(about), Some(given)) = (about, result.as_ref().ok().and_then(Given::resource)) {
            self.http.owners.set(given, about);
        }
        for _ in 0..taken {
            self.gate.discount_resource();
        }
        for _ in 0..result.resources() {
            self.gate.count_resource().map_err(|reached| E::trap(reached.into()))?;
        }
        result
    }

    /// A full table is a limit, and is told as one.
    fn resource_fault(&self, error: wasmtime::Error) -> wasmtime::Error {
        match error.downcast_ref::<ResourceTableError>() {
            Some(ResourceTableError::Full) => self.table_error(ResourceTableError::Full),
            Some(_) | None => error,
        }
    }
}

impl types::Host for CallState {
    fn convert_error_code(&mut self, error: HttpError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn convert_header_error(&mut self, error: HeaderError) -> wasmtime::Result<types::HeaderError> {
        error.downcast()
    }

    fn http_error_code(&mut self, error: Resource<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        self.delegate(HTTP_ERROR_CODE, 0, None, |view| types::Host::http_error_code(view, error))
    }
}

/// Implements the functions of resources in memory: gate, then wasmtime. `takes` counts the resources
/// that the guest gives away, and `follows` names the one that what it gets belongs to.
macro_rules! delegated {
    ($(
        $all:ident: $host:ident, $resource:ty {
            $(
                $name:literal $method:ident($($argument:ident: $type:ty),*) -> $result:ty
                $(, takes $taken:expr)? $(, follows $parent:ident)?;
            )*
        }
    )*) => {$(
        const $all: &[&HostFunction] = &[$(&in_types($name)),*];

        impl types::$host for CallState {
            $(
                fn $method(&mut self, $($argument: $type),*) -> $result {
                    const FUNCTION: &HostFunction = &in_types($name);
                    let taken = 0 $(+ $taken)?;
                    let parent = None $(.or(Some($parent.rep())))?;
                    self.delegate(FUNCTION, taken, parent, |view| types::$host::$method(view, $($argument),*))
                }
            )*

            fn drop(&mut self, resource: Resource<$resource>) -> wasmtime::Result<()> {
                self.http.forget(resource.rep());
                types::$host::drop(&mut self.http_view(), resource)?;
                self.settle_exchanges();
                self.gate.discount_resource();
                Ok(())
            }
        }
    )*};
}

type Answer<T> = wasmtime::Result<T>;
type Value = Vec<u8>;
type Trailers = Option<Result<Result<Option<Resource<Fields>>, ErrorCode>, ()>>;
type Response = Option<Result<Result<Resource<IncomingResponse>, ErrorCode>, ()>>;

delegated! {
    FIELDS: HostFields, Fields {
        "[constructor]fields" new() -> Answer<Resource<Fields>>;
        "[static]fields.from-list" from_list(entries: Vec<(String, Value)>) -> HeaderResult<Resource<Fields>>;
        "[method]fields.get" get(this: Resource<Fields>, name: String) -> Answer<Vec<Value>>;
        "[method]fields.has" has(this: Resource<Fields>, name: String) -> Answer<bool>;
        "[method]fields.set" set(this: Resource<Fields>, name: String, values: Vec<Value>) -> HeaderResult<()>;
        "[method]fields.delete" delete(this: Resource<Fields>, name: String) -> HeaderResult<()>;
        "[method]fields.append" append(this: Resource<Fields>, name: String, value: Value) -> HeaderResult<()>;
        "[method]fields.entries" entries(this: Resource<Fields>) -> Answer<Vec<(String, Value)>>;
        "[method]fields.clone" clone(this: Resource<Fields>) -> Answer<Resource<Fields>>;
    }
    OUTGOING_REQUEST: HostOutgoingRequest, OutgoingRequest {
        "[constructor]outgoing-request" new(headers: Resource<Fields>) -> Answer<Resource<OutgoingRequest>>, takes 1;
        "[method]outgoing-request.body"
            body(this: Resource<OutgoingRequest>) -> Answer<Result<Resource<OutgoingBody>, ()>>, follows this;
        "[method]outgoing-request.method" method(this: Resource<OutgoingRequest>) -> Answer<Method>;
        "[method]outgoing-request.set-method"
            set_method(this: Resource<OutgoingRequest>, method: Method) -> Answer<Result<(), ()>>;
        "[method]outgoing-request.path-with-query"
            path_with_query(this: Resource<OutgoingRequest>) -> Answer<Option<String>>;
        "[method]outgoing-request.set-path-with-query"
            set_path_with_query(this: Resource<OutgoingRequest>, path: Option<String>) -> Answer<Result<(), ()>>;
        "[method]outgoing-request.scheme" scheme(this: Resource<OutgoingRequest>) -> Answer<Option<Scheme>>;
        "[method]outgoing-request.set-scheme"
            set_scheme(this: Resource<OutgoingRequest>, scheme: Option<Scheme>) -> Answer<Result<(), ()>>;
        "[method]outgoing-request.authority" authority(this: Resource<OutgoingRequest>) -> Answer<Option<String>>;
        "[method]outgoing-request.set-authority"
            set_authority(this: Resource<OutgoingRequest>, authority: Option<String>) -> Answer<Result<(), ()>>;
        "[method]outgoing-request.headers" headers(this: Resource<OutgoingRequest>) -> Answer<Resource<Fields>>;
    }
    REQUEST_OPTIONS: HostRequestOptions, RequestOptions {
        "[constructor]request-options" new() -> Answer<Resource<RequestOptions>>;
        "[method]request-options.connect-timeout"
            connect_timeout(this: Resource<RequestOptions>) -> Answer<Option<u64>>;
        "[method]request-options.set-connect-timeout"
            set_connect_timeout(this: Resource<RequestOptions>, timeout: Option<u64>) -> Answer<Result<(), ()>>;
        "[method]request-options.first-byte-timeout"
            first_byte_timeout(this: Resource<RequestOptions>) -> Answer<Option<u64>>;
        "[method]request-options.set-first-byte-timeout"
            set_first_byte_timeout(this: Resource<RequestOptions>, timeout: Option<u64>) -> Answer<Result<(), ()>>;
        "[method]request-options.between-bytes-timeout"
            between_bytes_timeout(this: Resource<RequestOptions>) -> Answer<Option<u64>>;
        "[method]request-options.set-between-bytes-timeout"
            set_between_bytes_timeout(this: Resource<RequestOptions>, timeout: Option<u64>) -> Answer<Result<(), ()>>;
    }
    OUTGOING_RESPONSE: HostOutgoingResponse, OutgoingResponse {
        "[constructor]outgoing-response" new(headers: Resource<Fields>) -> Answer<Resource<OutgoingResponse>>, takes 1;
        "[method]outgoing-response.status-code" status_code(this: Resource<OutgoingResponse>) -> Answer<u16>;
        "[method]outgoing-response.set-status-code"
            set_status_code(this: Resource<OutgoingResponse>, status: u16) -> Answer<Result<(), ()>>;
        "[method]outgoing-response.headers" headers(this: Resource<OutgoingResponse>) -> Answer<Resource<Fields>>;
        "[method]outgoing-response.body"
            body(this: Resource<OutgoingResponse>) -> Answer<Result<Resource<OutgoingBody>, ()>>;
    }
    OUTGOING_BODY: HostOutgoingBody, OutgoingBody {
        "[method]outgoing-body.write"
            write(this: Resource<OutgoingBody>) -> Answer<Result<Resource<DynOutputStream>, ()>>, follows this;
        "[static]outgoing-body.finish"
            finish(this: Resource<OutgoingBody>, trailers: Option<Resource<Fields>>) -> HttpResult<()>,
            takes 1 + trailers.resources(), follows this;
    }
}

// What the answer to a request gives, and what only a request from outside could give: none of those
// comes, so that their functions can't be called; they are wasmtime's types, which have values.
delegated! {
    INCOMING_REQUEST: HostIncomingRequest, IncomingRequest {
        "[method]incoming-request.method" method(this: Resource<IncomingRequest>) -> Answer<Method>;
        "[method]incoming-request.path-with-query"
            path_with_query(this: Resource<IncomingRequest>) -> Answer<Option<String>>;
        "[method]incoming-request.scheme" scheme(this: Resource<IncomingRequest>) -> Answer<Option<Scheme>>;
        "[method]incoming-request.authority" authority(this: Resource<IncomingRequest>) -> Answer<Option<String>>;
        "[method]incoming-request.headers" headers(this: Resource<IncomingRequest>) -> Answer<Resource<Fields>>;
        "[method]incoming-request.consume"
            consume(this: Resource<IncomingRequest>) -> Answer<Result<Resource<IncomingBody>, ()>>;
    }
    RESPONSE_OUTPARAM: HostResponseOutparam, ResponseOutparam {
        "[method]response-outparam.send-informational"
            send_informational(this: Resource<ResponseOutparam>, status: u16, headers: Resource<Fields>)
            -> HttpResult<()>;
        "[static]response-outparam.set"
            set(this: Resource<ResponseOutparam>, response: Result<Resource<OutgoingResponse>, ErrorCode>)
            -> Answer<()>,
            takes 1 + response.resources();
    }
    INCOMING_RESPONSE: HostIncomingResponse, IncomingResponse {
        "[method]incoming-response.status" status(this: Resource<IncomingResponse>) -> Answer<u16>;
        "[method]incoming-response.headers" headers(this: Resource<IncomingResponse>) -> Answer<Resource<Fields>>;
        "[method]incoming-response.consume"
            consume(this: Resource<IncomingResponse>) -> Answer<Result<Resource<IncomingBody>, ()>>, follows this;
    }
    INCOMING_BODY: HostIncomingBody, IncomingBody {
        "[method]incoming-body.stream"
            stream(this: Resource<IncomingBody>) -> Answer<Result<Resource<DynInputStream>, ()>>, follows this;
        "[static]incoming-body.finish"
            finish(this: Resource<IncomingBody>) -> Answer<Resource<FutureTrailers>>, takes 1, follows this;
    }
    FUTURE_TRAILERS: HostFutureTrailers, FutureTrailers {
        "[method]future-trailers.subscribe" subscribe(this: Resource<FutureTrailers>) -> Answer<Resource<DynPollable>>;
        "[method]future-trailers.get" get(this: Resource<FutureTrailers>) -> Answer<Trailers>;
    }
}

const SUBSCRIBE_ANSWER: &HostFunction = &in_types("[method]future-incoming-response.subscribe");
const GET_ANSWER: &HostFunction = &in_types("[method]future-incoming-response.get");
const FUTURE_INCOMING_RESPONSE: &[&HostFunction] = &[SUBSCRIBE_ANSWER, GET_ANSWER];

/// As the others, but for exchanges that the guest's waiting drives.
impl types::HostFutureIncomingResponse for CallState {
    fn subscribe(&mut self, this: Resource<FutureIncomingResponse>) -> Answer<Resource<DynPollable>> {
        let waiting = self.http.under_way.waiting(this.rep());
        self.delegate(SUBSCRIBE_ANSWER, 0, None, |view| match waiting {
            Some(waiting) => {
                let waiting = view.table.push_child(waiting, &this)?;
                wasmtime_wasi::p2::subscribe(view.table, waiting)
            }
            None => types::HostFutureIncomingResponse::subscribe(view, this),
        })
    }

    fn get(&mut self, this: Resource<FutureIncomingResponse>) -> Answer<Response> {
        let is_awaited = self.http.under_way.is_awaited(&mut self.table, &this)?;
        self.delegate(GET_ANSWER, 0, None, |view| match is_awaited {
            true => Ok(None),
            false => types::HostFutureIncomingResponse::get(view, this),
        })
    }

    fn drop(&mut self, this: Resource<FutureIncomingResponse>) -> Answer<()> {
        self.http.under_way.forget(this.rep());
        self.http.forget(this.rep());
        types::HostFutureIncomingResponse::drop(&mut self.http_view(), this)?;
        self.settle_exchanges();
        self.gate.discount_resource();
        Ok(())
    }
}
