//! `portcullis push` and `pull`, and `package add oci://…`: components in registries.
//!
//! The command's own process asks the registry; the host is given bytes, as from a file, and asks nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use zeroize::Zeroizing;

use super::arguments::{PullArguments, PushArguments, RegistryArguments};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::progress::Meter;
use super::{attached, environment, helper, input, signing};
use crate::api::{ErrorKind, Problem};
use crate::egress::Roots;
use crate::gateway::Blame;
use crate::ids::PackageDigest;
use crate::registry::oci::{
    Attachment, AttachmentKind, Credentials, DOCKER_CONFIG_BYTES_MAX, Found, OciError, Pulling, Pushing,
    Reference, Registry, RegistryOptions, from_docker_config,
};
use crate::signing::{KeyId, Signature};

/// The most bytes of a token.
const TOKEN_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a file of certificates.
const CERTIFICATES_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Serialize)]
struct PushedAnswer {
    /// By digest.
    reference: String,
    digest: PackageDigest,
    signatures: usize,
    /// SBOMs and statements of provenance.
    attachments: usize,
    /// Whether the component's bytes were there before.
    was_there: bool,
    /// How many of them were not sent again after connections broke.
    resumed: u64,
}

#[derive(Debug, Serialize)]
struct PulledAnswer {
    /// By digest.
    reference: String,
    file: PathBuf,
    digest: PackageDigest,
    bytes: u64,
    /// How many bytes were there from an earlier try.
    resumed: u64,
    signatures: Vec<PulledSignature>,
    /// SBOMs and statements of provenance: their authors' word.
    attachments: Vec<PulledAttachment>,
}

#[derive(Debug, Serialize)]
struct PulledAttachment {
    file: PathBuf,
    kind: AttachmentKind,
    /// Whether a statement says that it is about these bytes; an SBOM does not say.
    is_about_it: bool,
}

#[derive(Debug, Serialize)]
struct PulledSignature {
    file: PathBuf,
    /// Of one of minisign.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    /// Who it says that it was made by.
    by: String,
}

/// A component that was taken from a registry.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) signatures: Vec<Signature>,
    pub(super) attachments: Vec<Attachment>,
    /// By digest.
    pub(super) reference: String,
}

/// Whether a file that is named is in a registry.
pub(super) fn reference(file: &Path) -> Result<Option<Reference>, Failure> {
    match file.to_str().filter(|text| text.starts_with("oci://")) {
        Some(text) => text.parse().map(Some).map_err(|error| Failure::from(OciError::Reference(error))),
        None => Ok(None),
    }
}

pub(super) async fn push(arguments: PushArguments, output: &Output) -> Result<Exit, Failure> {
    let PushArguments { file, reference, signature, version, sbom, provenance, registry } = arguments;
    let component = input::component(file.clone()).await?;
    let signatures = signing::signatures(&file, &signature).await?;
    let mut attachments = Vec::new();
    for (files, is_sbom) in [(sbom, true), (provenance, false)] {
        for file in files {
            attachments.push(attached::read(file, is_sbom, PackageDigest::of(&component)).await?);
        }
    }
    let registry = Registry::new(reference.clone(), options(&reference, registry).await?)?;
    let annotations =
        version.map(|version| ("org.opencontainers.image.version".to_owned(), version.to_string()));
    let bytes = component.len() as u64;
    let pushing = Pushing {
        component,
        signatures: signatures.into_iter().map(|(_, signature)| signature).collect(),
        attachments,
        annotations: annotations.into_iter().collect(),
        now: Timestamp::now(),
    };
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    // Nobody listens any more: nothing to do.
    let pushed = registry.push(
        pushing,
        Arc::new(move |bytes| {
            let _ = sender.send(bytes);
        }),
    );
    tokio::pin!(pushed);
    let mut meter = Meter::new(output, "pushing", Some(bytes));
    let pushed = loop {
        tokio::select! {
            pushed = &mut pushed => break pushed?,
            Some(bytes) = sent.recv() => meter.advance(bytes),
        }
    };
    drop(meter);
    let answer = PushedAnswer {
        reference: pushed.pinned.to_string(),
        digest: pushed.digest,
        signatures: pushed.signatures,
        attachments: pushed.attachments,
        was_there: pushed.was_there,
        resumed: pushed.resumed,
    };
    output.answer(&answer, |answer| {
        let there = if answer.was_there { " (its bytes were there before)" } else { "" };
        format!(
            "pushed      {reference}{there}\nit is       {}\ncomponent   {}\nsignatures  {}\nattached    {}",
            answer.reference, answer.digest, answer.signatures, answer.attachments
        )
    })?;
    Ok(Exit::Ok)
}

pub(super) async fn pull(arguments: PullArguments, output: &Output) -> Result<Exit, Failure> {
    let PullArguments { reference, out, force, registry } = arguments;
    let last = reference.repository().rsplit('/').next().unwrap_or("component");
    let file = out.unwrap_or_else(|| PathBuf::from(format!("{last}.wasm")));
    if !force && file.symlink_metadata().is_ok() {
        return Err(Failure::input(format!("{} is there already; --force replaces it", file.display())));
    }
    let registry = Registry::new(reference.clone(), options(&reference, registry).await?)?;
    let pulling = resolve(&registry, output).await?;
    let mut meter = Meter::new(output, "pulling", Some(pulling.bytes()));
    let pulled = registry.fetch(&pulling, &file, |bytes| meter.advance(bytes)).await?;
    drop(meter);
    let mut signatures = Vec::new();
    for (index, signature) in registry.signatures(&pulling).await?.into_iter().enumerate() {
        let suffix = match signature.key() {
            Some(key) => format!(".{}-{key}{}", index + 1, signing::SUFFIX),
            None => format!(".{}{}", index + 1, signing::BUNDLE_SUFFIX),
        };
        let path = signing::beside(&file, &suffix);
        signing::replace(&path, signature.as_str().as_bytes())?;
        let by = signature.maker().to_string();
        signatures.push(PulledSignature { file: path, key: signature.key(), by });
    }
    let digest = pulled.digest;
    let mut attached = Vec::new();
    for (index, attachment) in registry.attachments(&pulling).await?.into_iter().enumerate() {
        let path = signing::beside(&file, &format!(".{}{}", index + 1, attachment.kind.suffix()));
        signing::replace(&path, &attachment.bytes)?;
        let is_about_it = attachment.check_subject(digest).is_ok();
        attached.push(PulledAttachment { file: path, kind: attachment.kind, is_about_it });
    }
    let answer = PulledAnswer {
        reference: pulling.pinned.to_string(),
        file: pulled.file,
        digest: pulled.digest,
        bytes: pulled.bytes,
        resumed: pulled.resumed,
        signatures,
        attachments: attached,
    };
    output.answer(&answer, |answer| {
        let mut lines = vec![
            format!("pulled      {}", answer.reference),
            format!("component   {} in {}", answer.digest, answer.file.display()),
        ];
        let signature =
            |one: &PulledSignature| format!("signature   of {} in {}", one.by, one.file.display());
        lines.extend(answer.signatures.iter().map(signature));
        if answer.signatures.is_empty() {
            lines.push("signatures  none".to_owned());
        }
        for PulledAttachment { file, kind, is_about_it } in &answer.attachments {
            let what = if kind.is_sbom() { "SBOM" } else { "provenance" };
            let other = if *is_about_it { "" } else { " (about OTHER bytes)" };
            lines.push(format!(
                "attached    {what} in {}{other}: its author's word, not verified",
                file.display()
            ));
        }
        lines.join("\n")
    })?;
    Ok(Exit::Ok)
}

/// Takes a component from a registry, to be registered or looked at.
pub(super) async fn take(
    reference: Reference,
    registry: RegistryArguments,
    with_attachments: bool,
    output: &Output,
) -> Result<Taken, Failure> {
    let registry = Registry::new(reference.clone(), options(&reference, registry).await?)?;
    let pulling = resolve(&registry, output).await?;
    let folder = tempfile::Builder::new().prefix("portcullis-pull-").tempdir();
    let folder =
        folder.map_err(|error| Failure::host(format!("no temporary folder can be made: {error}")))?;
    let mut meter = Meter::new(output, "pulling", Some(pulling.bytes()));
    let pulled =
        registry.fetch(&pulling, &folder.path().join("component"), |bytes| meter.advance(bytes)).await?;
    drop(meter);
    let bytes = input::component(pulled.file).await?;
    let signatures = registry.signatures(&pulling).await?;
    let attachments = if with_attachments { registry.attachments(&pulling).await? } else { Vec::new() };
    Ok(Taken { bytes, signatures, attachments, reference: pulling.pinned.to_string() })
}

/// Looks a reference up, and says what a tag means now.
async fn resolve(registry: &Registry, output: &Output) -> Result<Pulling, Failure> {
    let pulling = registry.resolve().await?;
    if registry.reference().digest().is_none() && !output.json {
        output.note(&format!("{} is {}", registry.reference(), pulling.pinned));
    }
    Ok(pulling)
}

async fn options(reference: &Reference, arguments: RegistryArguments) -> Result<RegistryOptions, Failure> {
    let RegistryArguments { token_file, docker_config, allow_network, registry_ca } = arguments;
    let credentials = match (token_file, docker_config) {
        (Some(file), _) => {
            let text = Zeroizing::new(input::text(file, TOKEN_BYTES_MAX).await?);
            Credentials::Token(Zeroizing::new(text.trim().to_owned()))
        }
        (None, Some(file)) => from_docker(file, reference).await?,
        (None, None) => match environment::docker_config().filter(|file| file.is_file()) {
            Some(file) => from_docker(file, reference).await?,
            None => Credentials::None,
        },
    };
    let roots = match registry_ca {
        Some(file) => roots(file).await?,
        None => Roots::System,
    };
    Ok(RegistryOptions { credentials, networks: allow_network, roots, ..RegistryOptions::default() })
}

async fn from_docker(file: PathBuf, reference: &Reference) -> Result<Credentials, Failure> {
    let text = Zeroizing::new(input::text(file.clone(), DOCKER_CONFIG_BYTES_MAX).await?);
    let found = from_docker_config(&text, reference.registry());
    match found.map_err(|error| Failure::input(format!("{}: {error}", file.display())))? {
        Found::Credentials(credentials) => Ok(credentials),
        Found::Helper { program, server } => helper::credentials(program, server).await,
    }
}

async fn roots(file: PathBuf) -> Result<Roots, Failure> {
    let text = input::text(file.clone(), CERTIFICATES_BYTES_MAX).await?;
    let read: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(Roots::Given(certificates)),
        Ok(_) => Err(Failure::input(format!("{} has no certificate", file.display()))),
        Err(error) => Err(Failure::input(format!("{} is not PEM: {error}", file.display()))),
    }
}

impl From<OciError> for Failure {
    fn from(error: OciError) -> Self {
        let (kind, blame) = match &error {
            OciError::Reference(_) | OciError::TooLarge { .. } => (ErrorKind::BadInput, Blame::Admin),
            OciError::NotFound { .. } => (ErrorKind::NotFound, Blame::Admin),
            OciError::Unauthorized { .. } => (ErrorKind::Forbidden, Blame::Admin),
            // What came is not what was asked for: nothing to try again.
            OciError::Digest { .. } | OciError::Layout(_) => (ErrorKind::InvalidPackage, Blame::Tool),
            OciError::Redirect { .. } => (ErrorKind::Forbidden, Blame::Tool),
            OciError::Egress { .. } | OciError::Status { .. } | OciError::File { .. } => {
                (ErrorKind::HostFault, Blame::Host)
            }
        };
        Problem::new(kind, error.to_string(), blame).into()
    }
}
