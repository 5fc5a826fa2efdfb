//! Reads the log where no host can open the data folder: its disk is full, read-only or damaged.
//!
//! Evidence must be readable just then. Changes nothing, and needs neither the lock nor the database.

use std::path::PathBuf;

use super::arguments::TailArguments;
use super::failure::Failure;
use super::output::Output;
use super::{environment, records};
use crate::audit::query::{self, Filter, ReadError, TAIL_RECORDS};
use crate::gateway::HostError;

/// Shows records as `audit tail` does, as far as they are on disk; none if there is no log.
pub(super) async fn tail(
    data_folder: Option<PathBuf>,
    arguments: TailArguments,
    output: Output,
) -> Option<Result<(), Failure>> {
    let folder = data_folder.or_else(environment::data_folder)?.join("audit");
    let shown =
        tokio::task::spawn_blocking(move || folder.is_dir().then(|| show(&folder, arguments, output)));
    match shown.await {
        Ok(shown) => shown,
        Err(error) => Some(Err(Failure::host(format!("the log was not read to its end: {error}")))),
    }
}

fn show(folder: &std::path::Path, arguments: TailArguments, output: Output) -> Result<(), Failure> {
    let TailArguments { call, last, follow: _ } = arguments;
    let host = |error: ReadError| HostError::from(error);
    let reader = match call {
        Some(_) => query::read(folder, Filter { call, from: None }),
        None => query::tail(folder, last.unwrap_or(TAIL_RECORDS)).map_err(host)?,
    };
    let mut count = 0_u64;
    for record in reader {
        let record = record.map_err(host)?;
        count += 1;
        output.answer(&record, records::line)?;
    }
    match call {
        Some(call) if count == 0 => Err(Failure::input(format!("the log has no call {call}"))),
        Some(_) | None => Ok(()),
    }
}
