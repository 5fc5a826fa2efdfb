//! The table against its own rules, and against the documentation.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

#[test]
fn the_table_is_complete_and_no_default_is_above_its_ceiling() {
    for (index, limit) in Limit::ALL.into_iter().enumerate() {
        assert_eq!(limit as usize, index, "{limit} is out of order in ALL");
        let row = limit.row();
        assert!(row.default <= row.ceiling, "{limit}");
        let json = serde_json::to_value(limit).expect("a unit variant serialises");
        assert_eq!(json, limit.name());
    }
}

#[test]
fn a_host_sets_its_limits_up_to_the_ceiling_and_not_above() {
    for limit in Limit::ALL {
        let row = limit.row();
        let mut host = HostLimits::default();
        assert_eq!(host.default_of(limit), row.default, "{limit}");
        let above = SettingError::AboveCeiling { limit, value: row.ceiling + 1, ceiling: row.ceiling };
        if limit.has_two_bounds() {
            assert_eq!(host.ceiling_of(limit), row.ceiling, "{limit}");
            assert_eq!(host.set_ceiling(limit, row.ceiling), Ok(()));
            assert_eq!(host.set_ceiling(limit, row.ceiling + 1), Err(above));
            assert_eq!(host.set_ceiling(limit, 0), Err(SettingError::Zero { limit }));
            assert_eq!(host.set_value(limit, 1), Err(SettingError::TwoBounds { limit }));
            assert_eq!(host.set_ceiling(limit, 1), Ok(()));
            assert_eq!((host.default_of(limit), host.ceiling_of(limit)), (1, 1), "{limit}: both come down");
            let above = SettingError::AboveCeiling { limit, value: 2, ceiling: 1 };
            assert_eq!(host.set_default(limit, 2), Err(above));
        } else {
            assert_eq!(host.ceiling_of(limit), row.default, "{limit} has one value");
            assert_eq!(host.set_value(limit, row.ceiling + 1), Err(above));
            assert_eq!(host.set_value(limit, 0), Err(SettingError::Zero { limit }));
            assert_eq!(host.set_value(limit, 1), Ok(()));
            assert_eq!((host.default_of(limit), host.ceiling_of(limit)), (1, 1), "{limit}");
            assert_eq!(host.set_ceiling(limit, 1), Err(SettingError::OneValue { limit }));
            assert_eq!(host.set_default(limit, 1), Err(SettingError::OneValue { limit }));
        }
    }
}

/// A value as a grants file would write it, or with a comma between groups of three digits.
fn shown(limit: Limit, value: u64) -> String {
    let (divisor, unit) = match (limit.row().unit, value) {
        ("milliseconds", value) if value.is_multiple_of(60_000) => (60_000, " min"),
        ("milliseconds", _) => (1_000, " s"),
        ("bytes", value) if value.is_multiple_of(1 << 40) => (1 << 40, " TiB"),
        ("bytes", value) if value.is_multiple_of(1 << 30) => (1 << 30, " GiB"),
        ("bytes", value) if value.is_multiple_of(1 << 20) => (1 << 20, " MiB"),
        ("bytes", value) if value.is_multiple_of(1 << 10) => (1 << 10, " KiB"),
        _ => (1, ""),
    };
    let digits = (value / divisor).to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits")).collect();
    groups.join(",") + unit
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others are told by their effect")]
fn at_the_limit(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory => "answers: `memory.grow` is -1. A component whose own minimum is more ends at once",
        Limit::TableElements => "answers: -1",
        Limit::FileBytes | Limit::Files => "answers `insufficient-space`",
        Limit::OpenFiles => "answers `insufficient-memory`",
        Limit::DirectoryEntries => "answers `overflow`",
        _ => match limit.row().effect {
            Effect::Ends => "ends",
            Effect::Answers => "answers",
            Effect::Cuts => "cuts",
            Effect::RefusedAtRegistration => "refused at registration",
            Effect::Waits => "waits its turn; the call of a tool is refused as busy",
            Effect::Refused => "refused until there is room again (exit code 6)",
            Effect::GivesUp => {
                "what was called longest ago, and runs no call, is given up, and had anew when it is called"
            }
            Effect::Busy => "refused as busy (exit code 6)",
        },
    }
}

/// The table of the documentation.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are told by their row")]
fn table() -> String {
    let mut table = "| limit | counts | default | ceiling | in a grant | at the limit |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for limit in Limit::ALL {
        let row = limit.row();
        let in_a_grant = match limit {
            Limit::FileBytes => "`quota`",
            Limit::Files => "`files_max`",
            Limit::KvBytes => "`quota`",
            Limit::KvKeys => "`keys_max`",
            _ if row.grantable => "✓",
            _ => "",
        };
        let (default, ceiling) = (shown(limit, row.default), shown(limit, row.ceiling));
        let (about, effect) = (limit.about(), at_the_limit(limit));
        writeln!(table, "| `{limit}` | {about} | {default} | {ceiling} | {in_a_grant} | {effect} |")
            .expect("a String takes all");
    }
    table
}

/// `UPDATE_DOCS=1 cargo test -p portcullis --lib limits::` writes it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test that reads and writes the documentation")]
fn the_documentation_has_the_table() {
    const BEGIN: &str =
        "<!-- the table of host/src/limits.rs: UPDATE_DOCS=1 cargo test -p portcullis --lib limits:: -->\n";
    const END: &str = "<!-- end of the table -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
    let text = std::fs::read_to_string(&path).expect("docs/limits.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("docs/limits.md has the mark before the table");
    let (written, after) = rest.split_once(END).expect("docs/limits.md has the mark after the table");
    let table = table();
    if std::env::var("UPDATE_DOCS").is_ok_and(|update| update == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("it can be written");
        return;
    }
    assert_eq!(written, table, "run it with UPDATE_DOCS=1");
}
