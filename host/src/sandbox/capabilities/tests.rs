//! The list of functions against `wit/`, and what a call without any grant gets.

mod ways_around;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::p2::bindings::http::types as http_types;
use wasmtime_wasi_http::p2::bindings::http::types::{
    HostFields as _, HostOutgoingBody as _, HostOutgoingRequest as _,
};
use wit_parser::{Resolve, WorldItem};

use super::*;
use crate::audit::event::{CallContext, CallOutcome, Decision, Event, HostCall};
use crate::audit::{Log, LogOptions, Recording, query};
use crate::egress::{Client, Roots, SystemResolver};
use crate::ids::{CallId, PackageDigest, Revision};
use crate::limits::{CallLimits, HostLimits};
use crate::sandbox::bindings::wasi::http::outgoing_handler;
use crate::sandbox::bindings::wasi::logging::logging as wasi_logging;
use crate::sandbox::bindings::wasi::sockets::network::{ErrorCode, IpAddressFamily};
use crate::sandbox::bindings::wasi::{config, keyvalue, sockets as wasi_sockets};
use crate::sandbox::connections::Connections;
use crate::sandbox::nested::Nesting;

/// The functions that the world `host` in `wit/` imports, by interface with its version.
fn host_world() -> BTreeSet<(String, String)> {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(folder).expect("wit/ is valid");
    let world = resolve.select_world(&[package], Some("host")).expect("wit/ has the world `host`");
    let mut functions = BTreeSet::new();
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else { panic!("the world imports only interfaces") };
        let interface = &resolve.interfaces[*id];
        let package = &resolve.packages[interface.package.expect("it is in a package")].name;
        let name = package.interface_id(interface.name.as_ref().expect("it has a name"));
        functions.extend(interface.functions.keys().map(|function| (name.clone(), function.clone())));
    }
    functions
}

#[test]
fn lists_each_function_of_the_world_once_and_no_other() {
    let listed: Vec<_> =
        all_functions().map(|function| (function.interface.to_owned(), function.name.to_owned())).collect();
    let set: BTreeSet<_> = listed.iter().cloned().collect();
    let without_version = |interface: String| interface.split('@').next().unwrap_or_default().to_owned();
    let world: BTreeSet<_> = host_world()
        .into_iter()
        .map(|(interface, function)| (without_version(interface), function))
        .collect();
    assert!(world.contains(&("wasi:http/outgoing-handler".to_owned(), "handle".to_owned())), "wit/ was read");
    let missing: Vec<_> = world.difference(&set).collect();
    let invented: Vec<_> = set.difference(&world).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}, invented: {invented:?}");
    assert_eq!(listed.len(), set.len(), "a function is listed twice");
}

#[test]
fn links_each_function_of_the_world() {
    let engine = wasmtime::Engine::default();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker).expect("no interface is linked twice");
    // What is linked already can't be linked once more.
    let mut is_free = |interface: &str, function: &str| {
        let mut instance = linker.instance(interface).expect("an interface can be opened again");
        #[expect(clippy::disallowed_methods, reason = "it only finds out which names are taken")]
        let defined = instance.func_new(function, |_, _, _, _| Ok(()));
        defined.is_ok()
    };
    for (interface, function) in host_world() {
        assert!(!is_free(&interface, &function), "{interface} {function} is not linked");
        assert!(is_free(&interface, &format!("no-{function}")), "{interface} takes a new function");
    }
}

/// A call without any grant, over a log of its own.
struct Ungranted {
    state: CallState,
    log: Log,
    folder: TempDir,
}

impl Ungranted {
    async fn new(limits: CallLimits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path(), LogOptions::default()).expect("a log");
        let context = Arc::new(CallContext {
            call: CallId::generate(),
            principal: "agent".parse().expect("a name"),
            package: "package".parse().expect("a name"),
            digest: PackageDigest::of(b""),
            tool: "tool".parse().expect("a name"),
            revision: Revision(1),
            parent: None,
            trace: None,
        });
        let recorder = log
            .begin_call(Arc::clone(&context), Vec::new(), 0, Recording::default())
            .await
            .expect("a recorder");
        let disk_workers = Arc::new(Semaphore::new(1));
        let quotas = filesystem::Quotas::default();
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver::default());
        let sender = http::Sender::new(Client::new(Arc::clone(&resolver), Roots::Given(Vec::new())));
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.resources).expect("it fits"));
        let state = CallState {
            table,
            memory: MemoryLimiter::new(&limits),
            stdio: cli::Stdio::new(limits.stdio),
            log: logging::Lines::new(limits.log),
            filesystem: filesystem::Filesystem::open(&[], &quotas, disk_workers).expect("no folders"),
            rules: Vec::new(),
            stores: super::keyvalue::Stores::default(),
            invoke: invoke::Invoke::new(
                Nesting::alone("package".parse().expect("a name"), "tool".parse().expect("a name")),
                limits.fuel,
            ),
            control: CallControl::default(),
            http: http::Http::new(sender, context, &limits, Arc::new(crate::egress::Unmetered)),
            meter: Arc::new(crate::egress::Unmetered),
            spent: Default::default(),
            connections: Arc::new(Connections::new(&HostLimits::default()))
                .of_call("package".parse().expect("a name"), limits.connections),
            sockets: sockets::Sockets::default(),
            resolver,
            clock: clocks::Clock::new(Instant::now(), None, None),
            random: random::Source::new(None),
            gate: Gate::new(recorder, limits, std::sync::Arc::default()),
        };
        Self { state, log, folder }
    }

    /// Ends the call and returns its host calls as the log has them.
    async fn host_calls(mut self) -> Vec<HostCall> {
        let (recorder, usage) = self.state.gate.close().expect("it is open");
        recorder.finish(CallOutcome::Ok, usage).await.expect("it is recorded");
        self.log.close().await.expect("it is closed");
        let records = query::read(self.folder.path(), query::Filter::default());
        let host_call =
            |event| if let Event::HostCall { host_call, .. } = event { Some(host_call) } else { None };
        records.filter_map(|record| host_call(record.expect("it is readable").event)).collect()
    }
}

/// Function, subject, decision with its reason, outcome with its error.
fn line(call: &HostCall) -> String {
    let subject = call.subject.as_deref().unwrap_or("-");
    let (decision, outcome) = (&call.decision, &call.result.outcome);
    format!("{} {} | {subject} | {decision:?} | {outcome:?}", call.interface, call.function)
}

#[tokio::test]
async fn refuses_with_the_error_of_each_interface_and_records_it() {
    let mut call = Ungranted::new(CallLimits::default()).await;
    let state = &mut call.state;

    let network = wasi_sockets::instance_network::Host::instance_network(state).await.expect("harmless");
    let answer = wasi_sockets::ip_name_lookup::Host::resolve_addresses(
        state,
        network,
        "evil\u{1b}[31m.test\n".to_owned(),
    );
    assert_eq!(answer.await.expect("an answer").map(drop), Err(ErrorCode::InvalidArgument));
    let answer = wasi_sockets::tcp_create_socket::Host::create_tcp_socket(state, IpAddressFamily::Ipv4);
    assert_eq!(answer.await.expect("an answer").map(drop), Err(ErrorCode::AccessDenied));
    let answer = wasi_sockets::udp_create_socket::Host::create_udp_socket(state, IpAddressFamily::Ipv6);
    assert_eq!(answer.await.expect("an answer").map(drop), Err(ErrorCode::AccessDenied));
    let answer = config::store::Host::get(state, "key".to_owned()).await.expect("an answer");
    assert!(matches!(answer, Err(config::store::Error::Upstream(_))));
    let answer = config::store::Host::get_all(state).await.expect("an answer");
    assert!(matches!(answer, Err(config::store::Error::Upstream(_))));
    let answer = keyvalue::store::Host::open(state, "s".repeat(2_000)).await.expect("an answer");
    assert!(matches!(answer, Err(keyvalue::store::Error::AccessDenied)));
    let level = wasi_logging::Level::Info;
    wasi_logging::Host::log(state, level, "context\n".to_owned(), "secret".to_owned())
        .await
        .expect("an answer");

    let lines: Vec<_> = call.host_calls().await.iter().map(line).collect();
    let long = format!("{}… [cut]", "s".repeat(1_000 - "… [cut]".len()));
    let denied = |function: &str, subject: &str, error: &str| {
        format!("{function} | {subject} | Denied(\"not granted\") | Error(\"{error}\")")
    };
    assert_eq!(
        lines,
        [
            "wasi:sockets/instance-network instance-network | - | Allowed(\"harmless\") | Ok".to_owned(),
            denied("wasi:sockets/ip-name-lookup resolve-addresses", "evil.test ", "invalid-argument"),
            denied("wasi:sockets/tcp-create-socket create-tcp-socket", "tcp", "access-denied"),
            denied("wasi:sockets/udp-create-socket create-udp-socket", "udp", "access-denied"),
            denied("wasi:config/store get", "key", "upstream"),
            denied("wasi:config/store get-all", "-", "upstream"),
            denied("wasi:keyvalue/store open", &long, "access-denied"),
            // It reaches nobody but the caller; the message is not in the record.
            "wasi:logging/logging log | context  | Allowed(\"harmless\") | Ok".to_owned(),
        ]
    );
}

/// A request with a body, ready to be sent.
fn request(state: &mut CallState) -> Resource<http_types::OutgoingRequest> {
    let fields = state.from_list(vec![("accept".to_owned(), b"*/*".to_vec())]).expect("good fields");
    let request = http_types::HostOutgoingRequest::new(state, fields).expect("a request");
    let of = || Resource::new_borrow(request.rep());
    state.set_method(of(), http_types::Method::Post).expect("an answer").expect("a method");
    state.set_scheme(of(), Some(http_types::Scheme::Http)).expect("an answer").expect("a scheme");
    let authority = "user:password@example.test:8080".to_owned();
    state.set_authority(of(), Some(authority)).expect("an answer").expect("an authority");
    let path = "/a/b?token=secret".to_owned();
    state.set_path_with_query(of(), Some(path)).expect("an answer").expect("a path");
    request
}

#[tokio::test]
async fn lets_a_guest_make_up_a_request_and_sends_none() {
    let mut call = Ungranted::new(CallLimits::default()).await;
    let state = &mut call.state;
    let request = request(state);
    let body = state.body(Resource::new_borrow(request.rep())).expect("an answer").expect("the body");
    let options = http_types::HostRequestOptions::new(state).expect("options");

    let refused = outgoing_handler::Host::handle(state, request, Some(options)).await.expect("an answer");
    assert!(matches!(refused.expect_err("nothing is sent"), http_types::ErrorCode::HttpRequestUriInvalid));
    state.finish(body, None).expect("it is given back");
    assert!(state.table.is_empty(), "the guest gave all of it away");
    assert_eq!(state.gate.usage().resources_peak, 3);

    let calls = call.host_calls().await;
    let denied: Vec<_> =
        calls.iter().filter(|call| matches!(call.decision, Decision::Denied(_))).map(line).collect();
    assert_eq!(
        denied,
        ["wasi:http/outgoing-handler handle | POST http://example.test:8080/a/b | \
          Denied(\"the URL is refused: it has a user or password: put credentials into a header\") | \
          Error(\"HTTP-request-URI-invalid\")"]
    );
    assert_eq!(calls.len(), 10);
}

#[tokio::test]
async fn bounds_fields_and_tells_which_are_forbidden() {
    let mut call = Ungranted::new(CallLimits::default()).await;
    let state = &mut call.state;
    let fields = http_types::HostFields::new(state).expect("fields");
    let of = || Resource::new_borrow(fields.rep());
    let forbidden = state.append(of(), "host".to_owned(), b"evil.test".to_vec()).expect_err("forbidden");
    assert!(matches!(forbidden.downcast(), Ok(http_types::HeaderError::Forbidden)));
    let injected = state.append(of(), "a".to_owned(), b"b\r\nc: d".to_vec()).expect_err("not a value");
    assert!(matches!(injected.downcast(), Ok(http_types::HeaderError::InvalidSyntax)));
    state.append(of(), "large".to_owned(), vec![b'x'; 15 << 10]).expect("below the bound");
    let too_large = state.append(of(), "more".to_owned(), vec![b'x'; 2 << 10]).expect_err("above the bound");
    assert!(too_large.downcast().is_err(), "it ends the guest");

    let outcomes: Vec<_> = call.host_calls().await.into_iter().map(|call| call.result.outcome).collect();
    let error = |name: &'static str| HostCallOutcome::Error(Cow::Borrowed(name));
    assert_eq!(
        outcomes[..4],
        [HostCallOutcome::Ok, error("forbidden"), error("invalid-syntax"), HostCallOutcome::Ok]
    );
    assert!(matches!(outcomes[4], HostCallOutcome::Trapped(_)), "{outcomes:?}");
}

#[tokio::test]
async fn ends_a_guest_that_hoards_handles_of_http() {
    let mut call = Ungranted::new(CallLimits { resources: 2, ..CallLimits::default() }).await;
    let state = &mut call.state;
    let fields = http_types::HostFields::new(state).expect("the first");
    state.clone(fields).expect("the second");
    let full = http_types::HostRequestOptions::new(state).expect_err("the table is full");
    let reached = *full.downcast_ref::<LimitReached>().expect("it is told as a limit");
    assert_eq!(reached, LimitReached { limit: Limit::Resources, value: 3, max: 2 });
    let full = state.from_list(Vec::new()).expect_err("the table is full");
    assert!(full.downcast().expect_err("it ends the guest").is::<LimitReached>());
    assert_eq!(state.gate.usage().resources_peak, 2);
    let last = call.host_calls().await.pop().expect("it is recorded");
    assert_eq!(last.result.outcome, HostCallOutcome::Trapped(Cow::Borrowed("resources")));
}
