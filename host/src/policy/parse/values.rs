//! Single values of a grants file: sizes, durations, dates, guest paths. Pure.

use jiff::Timestamp;
use toml::value::{Datetime, Offset};

/// The most bytes of a guest path.
pub(crate) const GUEST_PATH_BYTES_MAX: usize = 1_024;

/// Why a value is not what its key needs: what is wrong, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, help: &str) -> Self {
        Self { message: message.into(), help: (!help.is_empty()).then(|| help.to_owned()) }
    }
}

/// Splits `64MiB` into its number and its unit. Digits only: no sign, point or space.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

/// Bytes from `64MiB`, `1KiB`, `2GiB`, `1TiB` or `512B`.
pub(crate) fn size(text: &str) -> Result<u64, Problem> {
    let help = r#"write a number of bytes, or a size such as "64MiB" (B, KiB, MiB, GiB or TiB, no fraction)"#;
    let problem = || Problem::new(format!("{} is not a size", quoted(text)), help);
    let (number, unit) = number_and_unit(text).ok_or_else(problem)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(problem()),
    };
    number.checked_mul(1 << shift).ok_or_else(problem)
}

/// Milliseconds from `500ms`, `5s`, `2m`, `1h` or `90d`.
pub(crate) fn duration_ms(text: &str) -> Result<u64, Problem> {
    let help = r#"write a duration such as "500ms", "5s", "2m", "1h" or "90d", without a fraction"#;
    let problem = || Problem::new(format!("{} is not a duration", quoted(text)), help);
    let (number, unit) = number_and_unit(text).ok_or_else(problem)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(problem()),
    };
    number.checked_mul(factor).ok_or_else(problem)
}

/// The moment that a TOML date-time names. It must have a date, a time and an offset: without an
/// offset, it would mean another moment on another host.
pub(crate) fn moment(date_time: &Datetime) -> Result<Timestamp, Problem> {
    let help = "write a date, a time and an offset: 2027-01-01T00:00:00Z";
    let (Some(date), Some(time)) = (date_time.date, date_time.time) else {
        return Err(Problem::new(format!("{date_time} does not say a date and a time"), help));
    };
    let Some(offset) = date_time.offset else {
        return Err(Problem::new(
            format!("{date_time} has no offset, so it names no moment"),
            "write Z for UTC, or an offset such as +01:00, after the time",
        ));
    };
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => minutes,
    };
    let made = || -> Option<Timestamp> {
        let date = jiff::civil::Date::new(
            i16::try_from(date.year).ok()?,
            i8::try_from(date.month).ok()?,
            i8::try_from(date.day).ok()?,
        )
        .ok()?;
        let time = jiff::civil::Time::new(
            i8::try_from(time.hour).ok()?,
            i8::try_from(time.minute).ok()?,
            i8::try_from(time.second.unwrap_or(0)).ok()?,
            i32::try_from(time.nanosecond.unwrap_or(0)).ok()?,
        )
        .ok()?;
        let offset = jiff::tz::Offset::from_seconds(i32::from(minutes) * 60).ok()?;
        offset.to_timestamp(date.to_datetime(time)).ok()
    };
    made().ok_or_else(|| Problem::new(format!("{date_time} is not a moment on the calendar"), help))
}

/// Checks that a guest path has one spelling only: absolute, `/`-separated, without `.`, `..`,
/// empty components, backslashes or control characters, and short.
pub(crate) fn guest_path(text: &str) -> Result<String, Problem> {
    let problem = |rule: &str| {
        Err(Problem::new(
            format!("{} is not a guest path: {rule}", quoted(text)),
            "write an absolute path such as \"/reports\"",
        ))
    };
    if text.len() > GUEST_PATH_BYTES_MAX {
        return problem("it is longer than 1,024 bytes");
    }
    if text.chars().any(|character| character.is_control() || character == '\\') {
        return problem("it has a backslash or a control character");
    }
    let Some(rest) = text.strip_prefix('/') else {
        return problem("it does not begin with '/'");
    };
    if rest.is_empty() {
        return problem("it names no folder");
    }
    for component in rest.split('/') {
        match component {
            "" => return problem("it has an empty component"),
            "." | ".." => return problem("it has a '.' or '..' component"),
            _ => {}
        }
    }
    Ok(text.to_owned())
}

/// The text in quotes, escaped, cut to 80 characters.
pub(crate) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    format!("{cut:?}")
}

/// The known word that is nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters must be put in, left out or changed to make `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let change = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = change.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_binary_unit() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("16777215TiB"), Ok(16_777_215 << 40));
        for bad in
            ["", "MiB", "64", "64MB", "64 MiB", "1.5GiB", "-1KiB", "+1KiB", "1e3B", "16777216TiB", "６４MiB"]
        {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        let cases =
            [("500ms", 500), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("90d", 7_776_000_000)];
        for (text, milliseconds) in cases {
            assert_eq!(duration_ms(text), Ok(milliseconds), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "1.5s", "5S", "5w", "18446744073709551615h", "-5s"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn guest_paths_have_one_spelling() {
        for good in ["/reports", "/a/b", "/...", "/a b", "/é"] {
            assert_eq!(guest_path(good).as_deref(), Ok(good));
        }
        let long = format!("/{}", "x".repeat(1_024));
        for bad in [
            "", "/", "a", "./a", "//a", "/a/", "/a//b", "/a/.", "/../a", "/a/../b", "/a\0", "\\a", "/a\\b",
            &long,
        ] {
            assert!(guest_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_word_is_named_only_if_it_is_near() {
        assert_eq!(nearest("agent", ["agents", "package"]), Some("agents"));
        assert_eq!(nearest("memroy", ["memory", "output"]), Some("memory"));
        assert_eq!(nearest("frobnicate", ["memory", "output"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn a_moment_needs_date_time_and_offset() {
        let parse = |text: &str| moment(&text.parse().expect("TOML date-time"));
        let expected: Timestamp = "2026-12-31T23:00:00Z".parse().expect("timestamp");
        assert_eq!(parse("2027-01-01T00:00:00+01:00"), Ok(expected));
        assert_eq!(parse("2026-12-31T23:00:00Z"), Ok(expected));
        for bad in ["2027-01-01", "00:00:00", "2027-01-01T00:00:00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
