//! How a host keeps its log: the data folder's `audit.toml`, checked. Pure.

mod outlets;

use std::time::Duration;

pub use outlets::{AnchorSettings, AnchorSink, Peer, ShipSettings, ShipSink, Signal};

use crate::policy::evidence::Durability;
use crate::policy::parse::reader::{Keys, Node, Reader, Table};
use crate::policy::parse::values::{self, Problem};
use crate::policy::parse::{Diagnostic, parse_settings, read_durability};

/// The most bytes of the settings file.
pub const AUDIT_FILE_BYTES_MAX: usize = 64 << 10;

/// The bounds of a segment's size.
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 4 << 30);
/// The bounds of a segment's age, in milliseconds.
const SEGMENT_AGE_MS: (u64, u64) = (1_000, 366 * DAY_MS);
/// The least that retention may keep.
const KEEP_BYTES_MIN: u64 = 64 << 10;
const KEEP_AGE_MS_MIN: u64 = 1_000;
const KEEP_AGE_MS_MAX: u64 = 36_600 * DAY_MS;
const DAY_MS: u64 = 86_400_000;

const TOP_KEYS: Keys<'static> =
    Keys { known: &["durability", "segments", "retention", "ship", "anchor"], later: &[] };
const SEGMENT_KEYS: Keys<'static> = Keys { known: &["bytes", "age"], later: &[] };
const RETENTION_KEYS: Keys<'static> = Keys { known: &["bytes", "age"], later: &[] };

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// What waits for the disk; grants may ask for more. Default: `committed`.
    pub durability: Durability,
    /// A segment that has so many bytes is closed, and the next is begun. Default: 64 MiB.
    pub segment_bytes: u64,
    /// So is one that was begun so long ago, when the next record comes. Default: a day.
    pub segment_age: Duration,
    /// The text of records older than this is dropped, a closed segment at a time. Default: never.
    pub keep_age: Option<Duration>,
    /// So is the oldest text while closed segments take more than this. Default: never.
    pub keep_bytes: Option<u64>,
    /// Where records are shipped to. Default: nowhere.
    pub ship: Vec<ShipSettings>,
    /// Where checkpoints are anchored. Default: nowhere.
    pub anchors: Vec<AnchorSettings>,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 64 << 20,
            segment_age: Duration::from_millis(DAY_MS),
            keep_age: None,
            keep_bytes: None,
            ship: Vec::new(),
            anchors: Vec::new(),
        }
    }
}

/// Reads `audit.toml`. What it does not name is as by default.
///
/// # Errors
/// Every error that was found, in the order of the file, at most 100. They are the fault of who wrote it.
pub fn parse_audit_settings(text: &str) -> Result<AuditSettings, Vec<Diagnostic>> {
    parse_settings(text, AUDIT_FILE_BYTES_MAX, TOP_KEYS, |reader, root| {
        let mut settings = AuditSettings::default();
        if let Some(level) = root.child("durability").and_then(|node| read_durability(reader, &node)) {
            settings.durability = level;
        }
        if let Some(table) = table(reader, root, "segments", SEGMENT_KEYS) {
            if let Some(bytes) = bytes(reader, &table, SEGMENT_BYTES) {
                settings.segment_bytes = bytes;
            }
            if let Some(age) = age(reader, &table, SEGMENT_AGE_MS) {
                settings.segment_age = age;
            }
        }
        if let Some(table) = table(reader, root, "retention", RETENTION_KEYS) {
            settings.keep_bytes = bytes(reader, &table, (KEEP_BYTES_MIN, u64::MAX));
            settings.keep_age = age(reader, &table, (KEEP_AGE_MS_MIN, KEEP_AGE_MS_MAX));
        }
        settings.ship = outlets::read_ship(reader, root);
        settings.anchors = outlets::read_anchors(reader, root);
        settings
    })
}

fn table<'a, 'i>(
    reader: &mut Reader<'_>,
    root: &Table<'a, 'i>,
    name: &str,
    keys: Keys<'_>,
) -> Option<Table<'a, 'i>> {
    let table = root.child(name).and_then(|node| reader.table(&node))?;
    reader.check_keys(&table, keys);
    Some(table)
}

/// The size at `bytes`.
fn bytes(reader: &mut Reader<'_>, table: &Table<'_, '_>, bounds: (u64, u64)) -> Option<u64> {
    let node = table.child("bytes")?;
    let number = match node.value.as_str() {
        Some(text) => reader.keep(&node, values::size(text)),
        None => reader.integer(&node),
    }?;
    within(reader, &node, number, bounds, "bytes")
}

/// The duration at `age`.
fn age(reader: &mut Reader<'_>, table: &Table<'_, '_>, bounds: (u64, u64)) -> Option<Duration> {
    let node = table.child("age")?;
    let text = reader.string(&node)?;
    let number = reader.keep(&node, values::duration_ms(text))?;
    within(reader, &node, number, bounds, "milliseconds").map(Duration::from_millis)
}

fn within(
    reader: &mut Reader<'_>,
    node: &Node<'_, '_>,
    number: u64,
    (least, most): (u64, u64),
    unit: &str,
) -> Option<u64> {
    if (least..=most).contains(&number) {
        return Some(number);
    }
    let message = format!("`{}` is {number} {unit}", node.key);
    let help = match most {
        u64::MAX => format!("write at least {least} {unit}"),
        _ => format!("write at least {least} and at most {most} {unit}"),
    };
    reader.report_node(node, Problem::new(message, &help));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_as_by_default() {
        assert_eq!(parse_audit_settings(""), Ok(AuditSettings::default()));
        let text = r#"
            durability = "strict"
            [segments]
            bytes = "1MiB"
            [retention]
            age = "90d"
        "#;
        let expected = AuditSettings {
            durability: Durability::Strict,
            segment_bytes: 1 << 20,
            keep_age: Some(Duration::from_secs(90 * 86_400)),
            ..AuditSettings::default()
        };
        assert_eq!(parse_audit_settings(text), Ok(expected));
    }

    #[test]
    fn what_can_not_be_kept_is_an_error_with_its_line_and_key() {
        let text = r#"durability = "sometimes"
            retain = "1d"
            [segments]
            bytes = 1
            age = 5
            [retention]
            age = "0s"
            bytes = "many"
        "#;
        let errors = parse_audit_settings(text).expect_err("refused");
        let found: Vec<_> = errors.iter().map(|error| (error.line, error.key.as_str())).collect();
        let expected = [
            (1, "durability"),
            (2, "retain"),
            (4, "segments.bytes"),
            (5, "segments.age"),
            (7, "retention.age"),
            (8, "retention.bytes"),
        ];
        assert_eq!(found, expected, "{errors:#?}");
        assert!(errors[2].help.as_deref().is_some_and(|help| help.contains("65536")), "{errors:#?}");
    }
}
