//! `portcullis audit verify`: holds a log against what its host signed, without a host.

use super::arguments::VerifyArguments;
use super::evidence::{Place, not_verified, text, total};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::progress::Meter;
use crate::audit::CheckpointError;
use crate::audit::verify::{Verified, VerifyError, verify};

/// Verifies, and says by the exit code whether the log holds.
pub(super) fn run(place: &Place, arguments: &VerifyArguments, output: &Output) -> Result<Exit, Failure> {
    let (folder, key) = place.log(&arguments.log)?;
    let earlier = arguments.checkpoint.as_deref().map(text).transpose()?;
    let mut meter = Meter::new(output, "verifying", total(&folder));
    let verified = verify(&folder, &key, earlier.as_deref().map(str::as_bytes), |bytes| meter.advance(bytes));
    drop(meter);
    match verified {
        Ok(verified) => {
            output.answer(&verified, told)?;
            Ok(Exit::Ok)
        }
        Err(error @ (VerifyError::Io { .. } | VerifyError::NoCheckpoint { .. })) => {
            Err(Failure::host(error.to_string()))
        }
        Err(error) => {
            if let VerifyError::Checkpoint { error: CheckpointError::Signature { .. }, .. } = &error {
                output.note(
                    "if the log's key was rotated: give the key that signed the earliest checkpoint; the rotations are \
                     followed from there, and never back",
                );
            }
            not_verified(&error, output)
        }
    }
}

fn told(verified: &Verified) -> String {
    let Verified { origin, covered, dropped, uncovered, root, rotations, earlier } = verified;
    let dropped = dropped.map(|count| {
        format!("\nthe text of the first {count} was dropped by the host; their hashes are still there")
    });
    let dropped = dropped.unwrap_or_default();
    let after = match uncovered {
        0 => String::new(),
        count => format!("\n{count} records after it are not signed yet"),
    };
    let rotated = match rotations {
        0 => String::new(),
        count => format!("\nthe key was rotated {count} times since the one that you trust"),
    };
    let earlier = earlier.map(|size| format!("\nit still has the {size} records of the earlier checkpoint"));
    let earlier = earlier.unwrap_or_default();
    format!("verified: {covered} records of {origin}, root {root}{dropped}{rotated}{earlier}{after}")
}
