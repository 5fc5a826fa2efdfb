//! What each command asks, and where its answer goes. One request each.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use serde::Serialize;

use super::arguments::{
    AddArguments, AuditCommand, Command, EraseArguments, GrantCommand, KeyCommand, PackageCommand,
    TailArguments,
};
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::progress::Progress;
use super::{
    admin, approving, archive, calls, evidence, input, keys, mcp, oci, records, secret, show, signing, state,
    trust,
};
use crate::api::messages::{AddLine, AuditKey, GrantList, Health, Removed, Settings, TailError};
use crate::api::{Body, Problem};
use crate::audit::commitment::Opening;
use crate::audit::event::Record;
use crate::gateway::{Erased, GrantsChanged, KeyRotated, ListedPackage, PackageDetails, PayloadErased};
use crate::signing::Signature;

/// The longest silence of a host that compiles: it says something each second, unless the machine is
/// overloaded.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(60);
/// The longest wait for records that are on disk already.
pub(super) const RECORDS_PATIENCE: Duration = Duration::from_secs(60);

const READER_POLL: Duration = Duration::from_secs(1);

/// Runs a command to its end. Dropping the future ends its request, and so the call that it made.
pub(super) async fn run(client: Client, command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Package(command) => package(client, command, output).await,
        Command::Grant(command) => grant(client, command, output).await,
        Command::Principal(command) => admin::principal(client, command, output).await,
        Command::Key(command) => keys::key(client, command, output).await,
        Command::Secret(command) => secret::secret(client, command, output).await,
        Command::Trust(command) => trust::trust(client, command, output).await,
        Command::State(command) => state::state(client, command, output).await,
        Command::Call(arguments) => calls::call(client, arguments, output).await,
        Command::Calls(command) => calls::calls(client, command, output).await,
        Command::Mcp { agent } => mcp::mcp(client, agent).await,
        Command::Freeze { reason } => admin::freeze(client, reason, output).await,
        Command::Cancel { call } => calls::cancel(client, call, output).await,
        Command::Thaw => admin::thaw(client, output).await,
        Command::Status => admin::status(client, output).await,
        Command::Settings => settings(client, output).await,
        Command::Metrics => metrics(client, output).await,
        Command::Audit(AuditCommand::Outlets) => outlets(client, output).await,
        Command::Audit(AuditCommand::Tail(arguments)) => tail(client, arguments, output).await,
        Command::Audit(AuditCommand::Opening { call, out }) => {
            let opening: Opening = client.document(get(&format!("/v1/calls/{call}/opening"))?).await?;
            evidence::write(&opening, out.as_deref(), output, || {
                format!(
                    "the private part of the receipt of call {call} is written: it opens what the call asked and answered"
                )
            })
        }
        Command::Audit(AuditCommand::Payload { call }) => {
            let target = format!("/v1/calls/{call}/opening?payloads=true");
            let opening: Opening = client.document(get(&target)?).await?;
            output.answer(&opening, show::payloads)
        }
        Command::Audit(AuditCommand::Key(KeyCommand::Show)) => {
            let key: AuditKey = client.document(get("/v1/audit/key")?).await?;
            output.answer(&key, |key| key.key.clone().unwrap_or_default())
        }
        Command::Audit(AuditCommand::Key(KeyCommand::Rotate)) => {
            let request = send(Method::POST, "/v1/audit/key/rotate", Bytes::new())?;
            let rotated: KeyRotated = client.document(request).await?;
            output.answer(&rotated, |KeyRotated { key, record }| {
                format!(
                    "the key is {key}\nrecord {record} names it, and the old key signed that: whoever trusts the old one can go on"
                )
            })
        }
        Command::Audit(AuditCommand::Erase(EraseArguments { call: Some(call), .. })) => {
            let target = format!("/v1/calls/{call}/payload");
            let erased: PayloadErased = client.document(send(Method::DELETE, &target, Bytes::new())?).await?;
            output.answer(&erased, |PayloadErased { call, payloads }| {
                format!("erased {payloads} payloads of call {call}; the log stays as it is")
            })
        }
        Command::Audit(AuditCommand::Erase(EraseArguments { principal: None, call: None })) => {
            Err(Failure::input("name a principal, or a call with --call"))
        }
        Command::Audit(AuditCommand::Erase(EraseArguments { principal: Some(principal), call: None })) => {
            let target = format!("/v1/principals/{principal}/evidence");
            let erased: Erased = client.document(send(Method::DELETE, &target, Bytes::new())?).await?;
            output.answer(&erased, show::erased)
        }
        // It needs no host, and was done without one.
        Command::Audit(AuditCommand::Evidence(_)) => Ok(()),
        Command::Backup(arguments) => archive::backup(client, arguments, output).await,
    }
}

async fn package(client: Client, command: PackageCommand, output: &Output) -> Result<(), Failure> {
    match command {
        PackageCommand::Add(arguments) => add(client, arguments, output).await,
        PackageCommand::List => {
            let (packages, frozen) = client.document_and_freeze(get("/v1/packages")?).await?;
            let packages: Vec<ListedPackage> = packages;
            output.answer(&packages, |packages| show::packages(packages))?;
            admin::note_freeze(frozen.as_ref(), output);
            Ok(())
        }
        PackageCommand::Inspect { name } => {
            let details: Vec<PackageDetails> = client.document(get(&format!("/v1/packages/{name}"))?).await?;
            output.answer(&details, |details| show::details(details))
        }
        PackageCommand::Approve { name, digest, allow_downgrade, yes } => {
            approving::approve(client, name, (digest, allow_downgrade), yes, output).await
        }
        PackageCommand::Quarantine { name, digest, reason } => {
            admin::quarantine(client, name, digest, reason, output).await
        }
        PackageCommand::Release { name, digest } => admin::release(client, name, digest, output).await,
        PackageCommand::Limit { name, quotas } => admin::limit_package(client, name, quotas, output).await,
        PackageCommand::Remove { name } => {
            let request = send(Method::DELETE, &format!("/v1/packages/{name}"), Bytes::new())?;
            let removed: Removed = client.document(request).await?;
            output.answer(&removed, |removed| {
                format!("removed {} with all its components and grants", removed.package)
            })
        }
    }
}

async fn add(client: Client, arguments: AddArguments, output: &Output) -> Result<(), Failure> {
    if let Some(reference) = oci::reference(&arguments.file)? {
        if !arguments.signature.is_empty() {
            return Err(Failure::input(
                "the signatures of what is in a registry are there too: leave --signature out",
            ));
        }
        let oci::Taken { bytes, signatures, reference, .. } =
            oci::take(reference, arguments.registry.clone(), false, output).await?;
        let registered = Registered { bytes, signatures, source: Some(reference) };
        return register(client, registered, arguments, output).await;
    }
    let bytes = input::component(arguments.file.clone()).await?;
    let signatures = signing::signatures(&arguments.file, &arguments.signature).await?;
    let signatures = signatures.into_iter().map(|(_, signature)| signature).collect();
    register(client, Registered { bytes, signatures, source: None }, arguments, output).await
}

/// What is sent to be registered.
pub(super) struct Registered {
    pub(super) bytes: Bytes,
    pub(super) signatures: Vec<Signature>,
    pub(super) source: Option<String>,
}

async fn register(
    client: Client,
    registered: Registered,
    arguments: AddArguments,
    output: &Output,
) -> Result<(), Failure> {
    let Registered { bytes, signatures, source } = registered;
    let mut query = Query::new("/v1/packages");
    if let Some(name) = &arguments.name {
        query.push("name", name.as_str());
    }
    if let Some(version) = &arguments.version {
        query.push("version", &version.to_string());
    }
    if let Some(source) = &source {
        query.push("source", source);
    }
    // In the body, since a bundle may be as long as a request's head.
    let list = match signatures.is_empty() {
        true => Bytes::new(),
        false => json(&signatures.iter().map(Signature::as_str).collect::<Vec<_>>())?,
    };
    let body = match list.len() {
        0 => bytes,
        length => {
            query.push("signature_bytes", &length.to_string());
            [list, bytes].concat().into()
        }
    };
    let request = send(Method::POST, &query.0, body)?;
    let mut lines = client.lines(request).await?;
    let mut progress = Progress::new(output);
    while let Some(line) = lines.next(Some(PROGRESS_PATIENCE)).await? {
        let line: AddLine = serde_json::from_slice(&line)
            .map_err(|error| Failure::host(format!("the host's progress can't be read: {error}")))?;
        match line {
            AddLine::Progress { stage, elapsed_ms } => {
                progress.show(stage, Duration::from_millis(elapsed_ms));
            }
            AddLine::Result(added) => {
                drop(progress);
                return output.answer(&*added, show::added);
            }
            AddLine::Error(problem) => return Err(Problem::into(*problem)),
        }
    }
    Err(Failure::host("the host ended before it said what came of the registration"))
}

async fn grant(client: Client, command: GrantCommand, output: &Output) -> Result<(), Failure> {
    match command {
        GrantCommand::Apply { file } => apply(client, file, output).await,
        GrantCommand::Diff { file } => admin::diff(client, file, output).await,
        GrantCommand::List => {
            let grants: GrantList = client.document(get("/v1/grants")?).await?;
            output.answer(&grants, show::grants)
        }
        GrantCommand::Show { package } => {
            let mut query = Query::new("/v1/grants");
            query.push("package", package.as_str());
            let grants: GrantList = client.document(get(&query.0)?).await?;
            output.answer(&grants, |grants| show::grants_in_full(&package, grants))
        }
        GrantCommand::Revoke { id } => {
            let request = send(Method::DELETE, &format!("/v1/grants/{id}"), Bytes::new())?;
            let changed: GrantsChanged = client.document(request).await?;
            output.answer(&changed, show::changed)
        }
    }
}

async fn apply(client: Client, file: PathBuf, output: &Output) -> Result<(), Failure> {
    let source = input::grants(file).await?;
    let request = send(Method::PUT, "/v1/grants", json(&source)?)?;
    let changed: Result<GrantsChanged, Failure> = client.document(request).await;
    let changed = changed.map_err(|failure| failure.about(source.file, source.text))?;
    if let Some(diff) = &changed.diff {
        admin::note_warnings(diff, output);
    }
    output.answer(&changed, show::changed)
}

async fn settings(client: Client, output: &Output) -> Result<(), Failure> {
    let settings: Settings = client.document(get("/v1/settings")?).await?;
    output.answer(&settings, show::settings::settings)
}

async fn metrics(client: Client, output: &Output) -> Result<(), Failure> {
    let mut lines = client.lines(get("/metrics")?).await?;
    while let Some(line) = lines.next(Some(RECORDS_PATIENCE)).await? {
        output.line(&String::from_utf8_lossy(&line))?;
    }
    Ok(())
}

async fn outlets(client: Client, output: &Output) -> Result<(), Failure> {
    let health: Health = client.document(get("/v1/health")?).await?;
    let outlets = health.health.outlets;
    output.answer(&outlets, |outlets| show::outlets(outlets))?;
    match outlets.iter().find(|outlet| outlet.alarm) {
        Some(outlet) => {
            let why = outlet.failure.as_deref().unwrap_or("it does not answer");
            let (kind, name) = (outlet.kind.name(), &outlet.name);
            Err(Failure::host(format!("{kind} `{name}` is an alarm: {why}")))
        }
        None => Ok(()),
    }
}

async fn tail(client: Client, arguments: TailArguments, output: &Output) -> Result<(), Failure> {
    let TailArguments { call, last, follow } = arguments;
    let mut query = Query::new("/v1/audit");
    if let Some(call) = call {
        query.push("call", &call.to_string());
    }
    if let Some(last) = last {
        query.push("last", &last.to_string());
    }
    query.push("follow", if follow { "true" } else { "false" });
    let mut lines = client.lines(get(&query.0)?).await?;
    let patience = (!follow).then_some(RECORDS_PATIENCE);
    let mut count = 0_u64;
    loop {
        let next = tokio::select! {
            next = lines.next(patience) => next?,
            () = reader_gone(output) => return Err(Failure::ReaderGone),
        };
        let Some(line) = next else { break };
        let record: Record = match serde_json::from_slice(&line) {
            Ok(record) => record,
            Err(error) => {
                let told: Result<TailError, _> = serde_json::from_slice(&line);
                return Err(match told {
                    Ok(told) => told.error.into(),
                    Err(_) => Failure::host(format!("a record can't be read: {error}")),
                });
            }
        };
        count += 1;
        if output.json {
            // As it came: serde has escaped it.
            output.line(&String::from_utf8_lossy(&line))?;
        } else {
            output.line(&records::line(&record))?;
        }
    }
    if let (Some(call), 0) = (call, count) {
        return Err(Failure::input(format!("the log has no call {call}")));
    }
    Ok(())
}

/// Ends when whoever reads stdout has closed it, so that a follower does not stay for nobody.
async fn reader_gone(output: &Output) {
    while !output.reader_is_gone() {
        tokio::time::sleep(READER_POLL).await;
    }
}

/// A path with a query.
pub(super) struct Query(String);

impl Query {
    pub(super) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The path with what was pushed.
    pub(super) fn target(&self) -> &str {
        &self.0
    }

    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(key);
        self.0.push('=');
        for byte in value.bytes() {
            // The unreserved characters (RFC 3986, 2.3).
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                write!(self.0, "%{byte:02X}").expect("a String takes all");
            }
        }
    }
}

pub(super) fn get(target: &str) -> Result<Request<Body>, Failure> {
    send(Method::GET, target, Bytes::new())
}

pub(super) fn send(method: Method, target: &str, body: Bytes) -> Result<Request<Body>, Failure> {
    Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, "localhost")
        .body(Body::from(body))
        .map_err(|error| Failure::host(format!("the request can't be made: {error}")))
}

pub(super) fn json(value: &impl Serialize) -> Result<Bytes, Failure> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::host(format!("the request can't be written: {error}")))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_escaped() {
        let mut query = Query::new("/v1/packages");
        query.push("version", "1.0.0-rc.1+a b&c=d/é");
        query.push("name", "n");
        assert_eq!(query.0, "/v1/packages?version=1.0.0-rc.1%2Ba%20b%26c%3Dd%2F%C3%A9&name=n");
    }
}
