//! What can be asked of the log on the command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::audit::event::{check_event_name, check_outcome_name};
use crate::audit::search::{Order, Question};
use crate::ids::{CallId, PackageName, PrincipalId};
use crate::wildcard::Wildcard;

pub(super) const QUERY_EXAMPLES: &str = "\
Examples:
  portcullis audit query --since 2h --decision denied
  portcullis audit query --principal researcher --interface 'wasi:http/*' --since 2027-01-01 --json | jq .subject
  portcullis audit query --subject '/reports/*' --outcome error --csv > errors.csv
  portcullis audit query --event grants_changed --order newest --limit 1

Subjects, interfaces and functions are compared whole; in them * stands for any characters, ? for one.
Parquet: `duckdb -c \"COPY (FROM read_json_auto('/dev/stdin')) TO 'records.parquet'\"` after --json.";

pub(super) const SHOW_EXAMPLES: &str = "\
Examples:
  portcullis audit show 01890a5d-ac96-774b-bcce-b302099a8057
  portcullis audit show 01890a5d-ac96-774b-bcce-b302099a8057 --json | jq '.records[].event'";

/// Where the log is, and how it is asked.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Asked {
    /// The folder of the log. Default: that of the data folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) folder: Option<PathBuf>,
    /// Read the log itself, whole, instead of its index
    #[arg(long)]
    pub(in crate::cli) no_index: bool,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct QueryArguments {
    #[command(flatten)]
    pub(in crate::cli) asked: Asked,
    /// Only records from then on: RFC 3339, a date (UTC), or how long ago: 90m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only records before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only records of this call
    #[arg(long, value_name = "ID")]
    call: Option<CallId>,
    /// Only what this principal did: calls, and the actions of admins
    #[arg(long, value_name = "NAME")]
    principal: Option<PrincipalId>,
    /// Only records about this package
    #[arg(long, value_name = "NAME")]
    package: Option<PackageName>,
    /// Only host calls of this interface, such as wasi:http/outgoing-handler
    #[arg(long, value_name = "PATTERN")]
    interface: Option<Wildcard>,
    /// Only host calls of this function
    #[arg(long, value_name = "PATTERN")]
    function: Option<Wildcard>,
    /// Only what was about this: a path, a URL, a key
    #[arg(long, value_name = "PATTERN")]
    subject: Option<Wildcard>,
    /// Only what was let through, or only what was refused: calls and host calls
    #[arg(long, value_parser = PossibleValuesParser::new(["allowed", "denied"]))]
    decision: Option<String>,
    /// Only calls and host calls that ended so, such as error, limit_reached
    #[arg(long, value_name = "NAME", value_parser = outcome)]
    outcome: Option<String>,
    /// Only records of this kind, such as secret_leak
    #[arg(long, value_name = "NAME", value_parser = event)]
    event: Option<String>,
    /// At most so many records
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// Which come first
    #[arg(long, value_enum, default_value = "oldest")]
    pub(in crate::cli) order: First,
    /// Comma-separated values, with a line of names first
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) csv: bool,
}

/// Which records come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum First {
    /// As they happened
    Oldest,
    /// The other way round
    Newest,
}

impl From<First> for Order {
    fn from(first: First) -> Self {
        match first {
            First::Oldest => Order::OldestFirst,
            First::Newest => Order::NewestFirst,
        }
    }
}

impl QueryArguments {
    /// What is asked.
    pub(in crate::cli) fn question(&self) -> Question {
        let Self {
            since,
            until,
            call,
            principal,
            package,
            interface,
            function,
            subject,
            decision,
            outcome,
            event,
            ..
        } = self.clone();
        Question {
            since,
            until,
            call,
            principal,
            package,
            interface,
            function,
            subject,
            decision,
            outcome,
            event,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ShowArguments {
    #[command(flatten)]
    pub(in crate::cli) asked: Asked,
    /// The call: `call` prints it, and so do `status` and `audit tail`
    #[arg(value_name = "CALL")]
    pub(in crate::cli) call: CallId,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ReindexArguments {
    /// The folder of the log. Default: that of the data folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) folder: Option<PathBuf>,
}

/// A moment, as it is written or as so long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    moment_before(text, Timestamp::now())
}

fn moment_before(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?;
        return Ok(zoned.timestamp());
    }
    let malformed = || "write 2027-01-31T12:00:00Z, 2027-01-31, or how long ago: 90m, 2h, 7d".to_owned();
    let span: Span = text.parse().map_err(|_| malformed())?;
    let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| malformed())?;
    if ago.is_negative() {
        return Err(malformed());
    }
    now.checked_sub(ago).map_err(|error| error.to_string())
}

fn outcome(name: &str) -> Result<String, String> {
    check_outcome_name(name).map(|()| name.to_owned())
}

fn event(name: &str) -> Result<String, String> {
    check_event_name(name).map(|()| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_date_or_so_long_ago() {
        let now: Timestamp = "2027-01-31T12:00:00Z".parse().expect("a time");
        for (text, moment) in [
            ("2027-01-30T10:00:00.5+01:00", "2027-01-30T09:00:00.5Z"),
            ("2027-01-30", "2027-01-30T00:00:00Z"),
            ("90m", "2027-01-31T10:30:00Z"),
            ("2h", "2027-01-31T10:00:00Z"),
            ("7d", "2027-01-24T12:00:00Z"),
            ("1w", "2027-01-24T12:00:00Z"),
            ("1d 12h", "2027-01-30T00:00:00Z"),
        ] {
            assert_eq!(
                moment_before(text, now).map(|time| time.to_string()),
                Ok(moment.to_owned()),
                "{text}"
            );
        }
        for text in ["", "yesterday", "-2h", "2", "1mo", "2027-13-01", "10000000000d"] {
            assert!(moment_before(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_no_record_has_is_refused_with_those_that_there_are() {
        assert_eq!(event("host_call"), Ok("host_call".to_owned()));
        assert!(event("hostcall").expect_err("refused").contains("`host_call`"));
        for name in ["ok", "error", "unknown", "trapped", "tool_error", "limit_reached", "interrupted"] {
            assert_eq!(outcome(name), Ok(name.to_owned()));
        }
        assert!(outcome("failed").expect_err("refused").contains("`tool_error`"));
    }
}
