//! Single limits, as grants files and a host's `limits.toml` write them; and the latter as a whole. Pure.

use super::diagnostic::Diagnostic;
use super::parse_settings;
use super::reader::{Keys, Node, Reader};
use super::values::{self, Problem, nearest, quoted};
use crate::limits::{HostLimits, Limit, SettingError};

/// The most bytes of a host's limits file.
pub const LIMITS_FILE_BYTES_MAX: usize = 64 << 10;

const TOP_KEYS: Keys<'static> = Keys { known: &["limits"], later: &[] };
const BOUNDS_KEYS: Keys<'static> = Keys { known: &["default", "ceiling"], later: &[] };

/// Reads the limits of a host: a `[limits]` table whose entries are `{ default = …, ceiling = … }` for
/// limits that grants may set, and single values for the others. What is not named is as the table of
/// [`Limit`] has it.
///
/// # Errors
/// Every error that was found, in the order of the file, at most 100. They are the fault of who wrote it.
pub fn parse_host_limits(text: &str) -> Result<HostLimits, Vec<Diagnostic>> {
    parse_settings(text, LIMITS_FILE_BYTES_MAX, TOP_KEYS, |reader, root| {
        let mut limits = HostLimits::default();
        if let Some(node) = root.child("limits") {
            read_all(reader, &node, &mut limits);
        }
        limits
    })
}

fn read_all(reader: &mut Reader<'_>, node: &Node<'_, '_>, limits: &mut HostLimits) {
    let Some(table) = reader.table(node) else { return };
    for (name, span, value) in table.children() {
        match Limit::ALL.into_iter().find(|limit| limit.name() == name) {
            Some(limit) if limit.has_two_bounds() => read_two(reader, &value, limit, limits),
            Some(limit) => {
                if value.value.is_table() {
                    report_setting(reader, &value, SettingError::OneValue { limit });
                } else if let Some(number) = read(reader, &value, limit, limit.row().ceiling)
                    && let Err(error) = limits.set_value(limit, number)
                {
                    report_setting(reader, &value, error);
                }
            }
            None => reader.report(span, &value.key, unknown(name, &Limit::ALL.map(Limit::name))),
        }
    }
}

fn read_two(reader: &mut Reader<'_>, node: &Node<'_, '_>, limit: Limit, limits: &mut HostLimits) {
    if !node.value.is_table() {
        report_setting(reader, node, SettingError::TwoBounds { limit });
        return;
    }
    let Some(table) = reader.table(node) else { return };
    reader.check_keys(&table, BOUNDS_KEYS);
    // The ceiling first: the default is judged by it, wherever it stands.
    if let Some(node) = table.child("ceiling")
        && let Some(number) = read(reader, &node, limit, limit.row().ceiling)
        && let Err(error) = limits.set_ceiling(limit, number)
    {
        report_setting(reader, &node, error);
    }
    if let Some(node) = table.child("default")
        && let Some(number) = read(reader, &node, limit, limits.ceiling_of(limit))
        && let Err(error) = limits.set_default(limit, number)
    {
        report_setting(reader, &node, error);
    }
}

fn report_setting(reader: &mut Reader<'_>, node: &Node<'_, '_>, error: SettingError) {
    let help = match error {
        SettingError::Zero { .. } | SettingError::AboveCeiling { .. } => String::new(),
        SettingError::OneValue { limit } => {
            format!("write the value itself: {limit} = {}", shown(limit, limit.row().default))
        }
        SettingError::TwoBounds { limit } => {
            let row = limit.row();
            let (default, ceiling) = (shown(limit, row.default), shown(limit, row.ceiling));
            format!("write {limit} = {{ default = {default}, ceiling = {ceiling} }}, or one of the two")
        }
    };
    reader.report_node(node, Problem::new(error.to_string(), &help));
}

/// What is wrong with a limit of this name, which is none of those known here.
pub(super) fn unknown(name: &str, known: &[&str]) -> Problem {
    let help = nearest(name, known.iter().copied()).map_or_else(
        || format!("known limits: {}", known.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Problem::new(format!("unknown limit {}", quoted(name)), &help)
}

/// A number above 0 and up to a ceiling of the limit, written as its unit asks.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_, '_>, limit: Limit, ceiling: u64) -> Option<u64> {
    let row = limit.row();
    let name = node.key.rsplit('.').next().unwrap_or_default();
    let number = match (row.unit, node.value.as_str()) {
        ("bytes", Some(text)) => reader.keep(node, values::size(text)),
        ("milliseconds", Some(text)) => reader.keep(node, values::duration_ms(text)),
        ("milliseconds", None) => {
            let help = r#"write it as text with its unit: "500ms", "5s", "2m" or "1h""#;
            reader.report_node(node, Problem::new(format!("`{name}` is a duration"), help));
            None
        }
        ("bytes", None) if !node.value.is_integer() => {
            reader.wrong_type(node, r#"a number of bytes or a size such as "64MiB""#);
            None
        }
        _ => reader.integer(node),
    }?;
    if number == 0 {
        let message = format!("`{name}` is 0, which would allow nothing");
        reader.report_node(node, Problem::new(message, "write at least 1, or leave it out for the default"));
        return None;
    }
    if number > ceiling {
        let message = format!("`{name}` is {number} {}, above the ceiling of {ceiling}", row.unit);
        let help = format!("write at most {}", shown(limit, ceiling));
        reader.report_node(node, Problem::new(message, &help));
        return None;
    }
    Some(number)
}

/// A value of a limit as a file would write it.
fn shown(limit: Limit, value: u64) -> String {
    match limit.row().unit {
        "bytes" if value.is_multiple_of(1 << 40) => format!("\"{}TiB\"", value >> 40),
        "bytes" if value.is_multiple_of(1 << 30) => format!("\"{}GiB\"", value >> 30),
        "bytes" if value.is_multiple_of(1 << 20) => format!("\"{}MiB\"", value >> 20),
        "bytes" if value.is_multiple_of(1 << 10) => format!("\"{}KiB\"", value >> 10),
        "milliseconds" if value.is_multiple_of(60_000) => format!("\"{}m\"", value / 60_000),
        "milliseconds" if value.is_multiple_of(1_000) => format!("\"{}s\"", value / 1_000),
        "milliseconds" => format!("\"{value}ms\""),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let diagnostics = parse_host_limits(text).expect_err("refused");
        diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_host_names_what_differs_and_the_rest_is_the_tables() {
        assert_eq!(parse_host_limits(""), Ok(HostLimits::default()));
        let limits = parse_host_limits(
            "[limits]\n\
             memory = { ceiling = \"64MiB\" }\n\
             fuel = { default = 5_000, ceiling = 10_000 }\n\
             wall_time = { default = \"2s\" }\n\
             file_bytes = { default = \"1MiB\" }\n\
             compile_time = \"5m\"\n\
             host_concurrency = 8\n",
        )
        .expect("a good file");
        let bounds = |limit| (limits.default_of(limit), limits.ceiling_of(limit));
        assert_eq!(bounds(Limit::Memory), (64 << 20, 64 << 20), "the default comes down with it");
        assert_eq!(bounds(Limit::Fuel), (5_000, 10_000));
        assert_eq!(bounds(Limit::WallTime), (2_000, 600_000));
        assert_eq!(bounds(Limit::FileBytes), (1 << 20, 1 << 40));
        assert_eq!(bounds(Limit::CompileTime), (300_000, 300_000));
        assert_eq!(bounds(Limit::HostConcurrency), (8, 8));
        assert_eq!(bounds(Limit::Output), (1 << 20, 16 << 20));
    }

    #[test]
    fn what_can_not_be_enforced_is_refused_with_line_and_key() {
        let told = [
            "[limit]\nfuel = 5",
            "[limits]\nfule = { ceiling = 5 }",
            "[limits]\nfuel = 5",
            "[limits]\ncompile_time = { default = \"1s\" }",
            "[limits]\nmemory = { ceiling = \"2GiB\" }",
            "[limits]\nmemory = { default = \"2MiB\", ceiling = \"1MiB\" }",
            "[limits]\nmemory = { ceiling = \"64MB\" }",
            "[limits]\nmemory = { most = \"64MiB\" }",
            "[limits]\nmemory = \"64MiB\"",
            "[limits]\ncompile_time = 120",
            "[limits]\ncompile_memory = \"17GiB\"",
            "[limits]\nhost_concurrency = 0",
            "[limits]\nhost_concurrency = 1\nhost_concurrency = 2",
            "[limits",
            &"#".repeat(LIMITS_FILE_BYTES_MAX + 1),
        ]
        .map(told);
        insta::assert_snapshot!(told.join("\n"), @r#"
        1:2: limit: unknown key limit
        2:1: limits.fule: unknown limit "fule"
        2:8: limits.fuel: `fuel` has a default and a ceiling
        2:16: limits.compile_time: `compile_time` has one value, since no grant can set it
        2:22: limits.memory.ceiling: `ceiling` is 2147483648 bytes, above the ceiling of 1073741824
        2:22: limits.memory.default: `default` is 2097152 bytes, above the ceiling of 1048576
        2:22: limits.memory.ceiling: "64MB" is not a size
        2:12: limits.memory.most: unknown key most
        2:10: limits.memory: `memory` has a default and a ceiling
        2:16: limits.compile_time: `compile_time` is a duration
        2:18: limits.compile_memory: `compile_memory` is 18253611008 bytes, above the ceiling of 17179869184
        2:20: limits.host_concurrency: `host_concurrency` is 0, which would allow nothing
        3:1: limits.host_concurrency: `limits.host_concurrency` is given twice
        1:8: limits: not valid TOML: unclosed table, expected `]`
        1:1: : the file has 65537 bytes, at most 65536 are read
        "#);
    }
}
