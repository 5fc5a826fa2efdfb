//! `portcullis audit bundle` and `bundle-verify`: evidence of some calls in one encrypted file, without a host.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::arguments::{BundleArguments, BundleVerifyArguments};
use super::evidence::{Place, not_verified, text, total};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::progress::Meter;
use super::proofs::note_rotations;
use crate::audit::bundle::{self, BundleError, BundleManifest, Calls, Source};
use crate::audit::prove::ProveError;
use crate::audit::query::ReadError;
use crate::audit::receipt::ReceiptError;
use crate::database::grant_histories;
use crate::gateway::HostError;
use crate::ids::GrantId;

/// Writes a bundle, which has its name when it is whole.
pub(super) fn bundle(place: &Place, arguments: &BundleArguments, output: &Output) -> Result<Exit, Failure> {
    let BundleArguments { call, since, to, out, log } = arguments;
    let (folder, key) = place.log(log)?;
    let key_text = place.key_text(log.key.as_deref())?;
    let packages = place.packages()?;
    let calls = match (call, since) {
        (Some(call), _) => Calls::Of(*call),
        (None, Some(time)) => Calls::Since(*time),
        (None, None) => return Err(Failure::input("give a call, or --since TIME")),
    };
    let failed =
        |error: std::io::Error| Failure::host(format!("{} can't be written: {error}", out.display()));
    let beside = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary =
        tempfile::Builder::new().prefix(".portcullis-").tempfile_in(beside).map_err(failed)?;
    let mut meter = Meter::new(output, "gathering", total(&folder));
    let database = place.database()?;
    let runtime = tokio::runtime::Handle::current();
    let find_grants = |ids: &BTreeSet<GrantId>| match database.is_file() {
        true => runtime.block_on(grant_histories(&database, ids)),
        // A copy of a log alone: the manifest says that they are missing.
        false => Ok(Vec::new()),
    };
    let source = Source {
        folder: &folder,
        key: &key,
        key_text: &key_text,
        packages: &packages,
        grants: &find_grants,
        calls,
    };
    let written = bundle::write(&source, to, temporary.as_file_mut(), |bytes| meter.advance(bytes));
    drop(meter);
    let manifest = match written {
        Ok(manifest) => manifest,
        Err(error) => return refused(error, output),
    };
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(out).map_err(|error| failed(error.error))?;
    output.answer(&manifest, |manifest| format!("wrote {}: {}", out.display(), told(manifest)))?;
    Ok(Exit::Ok)
}

/// Opens a bundle and checks all of it.
pub(super) fn verify(
    place: &Place,
    arguments: &BundleVerifyArguments,
    output: &Output,
) -> Result<Exit, Failure> {
    let BundleVerifyArguments { file, identity, key } = arguments;
    let (key, identity) = (place.key(key.as_deref())?, zeroize::Zeroizing::new(text(identity)?));
    let opened = File::open(file).and_then(|opened| Ok((opened.metadata()?.len(), opened)));
    let (bytes, opened) = opened.map_err(|error| Failure::input(format!("{}: {error}", file.display())))?;
    let mut meter = Meter::new(output, "checking", Some(bytes));
    let verified = bundle::verify(opened, &identity, &key, |bytes| meter.advance(bytes));
    drop(meter);
    match verified {
        Ok(manifest) => {
            output.answer(&manifest, |manifest| format!("verified: {}", told(manifest)))?;
            Ok(Exit::Ok)
        }
        Err(error) => {
            if let BundleError::Receipt { error: ReceiptError::Checkpoint { error, .. }, .. } = &error {
                note_rotations(error, output);
            }
            refused(error, output)
        }
    }
}

fn refused(error: BundleError, output: &Output) -> Result<Exit, Failure> {
    match error {
        BundleError::NotWhole(_)
        | BundleError::Rotations(_)
        | BundleError::Receipt { .. }
        | BundleError::Prove(
            ProveError::Checkpoint(_) | ProveError::Changed { .. } | ProveError::Consistency(_),
        ) => not_verified(&error, output),
        BundleError::Recipient(_)
        | BundleError::Identity
        | BundleError::NotForUs(_)
        | BundleError::NoCalls
        | BundleError::TooMuch
        | BundleError::TooMany => Err(Failure::input(error.to_string())),
        BundleError::Read(error @ ReadError::Dropped { .. })
        | BundleError::Prove(ProveError::Read(error @ ReadError::Dropped { .. })) => {
            Err(HostError::from(error).into())
        }
        BundleError::Io { .. } | BundleError::Database(_) | BundleError::Read(_) | BundleError::Prove(_) => {
            Err(Failure::host(error.to_string()))
        }
    }
}

fn told(manifest: &BundleManifest) -> String {
    let BundleManifest { origin, calls, unfinished, missing, missing_grants, files, .. } = manifest;
    let unknown = match missing_grants.len() {
        0 => String::new(),
        count => format!(", {count} grants whose terms are not there"),
    };
    let unfinished = match unfinished.len() {
        0 => String::new(),
        count => format!(", {count} that had not ended"),
    };
    let missing = match missing.len() {
        0 => String::new(),
        count => format!(", {count} components that are gone"),
    };
    format!("{} calls of {origin}{unfinished}, {} files{missing}{unknown}", calls.len(), files.len())
}
