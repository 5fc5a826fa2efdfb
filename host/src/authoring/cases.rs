//! Test cases as data: `tests/*.toml` of a project. Read as strictly as a grants file. Pure, but for the list of files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;
use toml::de::DeValue;
use url::Url;

use super::files::read_text;
use crate::ids::ToolName;
use crate::policy::Diagnostic;
use crate::policy::parse::parse_settings;
use crate::policy::parse::reader::{Keys, Node, Reader, Table};
use crate::policy::parse::values::{Problem, moment};

/// The most bytes of one file of cases.
pub const CASES_FILE_BYTES_MAX: usize = 1 << 20;
/// The most files, and the most cases of one.
const FILES_MAX: usize = 200;
const CASES_MAX: usize = 500;
/// The most faked answers of one case.
const ANSWERS_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 120;

const TOP_KEYS: Keys<'static> = Keys { known: &["case"], later: &[] };
const CASE_KEYS: Keys<'static> = Keys {
    known: &["name", "tool", "arguments", "grant", "http", "clock", "random_seed", "expect"],
    later: &[],
};
const HTTP_KEYS: Keys<'static> =
    Keys { known: &["method", "url", "status", "headers", "body", "json"], later: &[] };
const EXPECT_KEYS: Keys<'static> =
    Keys { known: &["result", "text", "error", "calls", "denied"], later: &[] };

/// One call, and what is to come of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it shows, unique in its file.
    pub name: String,
    /// Which tool.
    pub tool: ToolName,
    /// A JSON object.
    pub arguments: Value,
    /// What it may do, in the words of a grants file, without package and agents.
    pub grant: toml::Table,
    /// What is answered in the place of the network. Each answers once, and the last of a method and URL again.
    pub http: Vec<FakedAnswer>,
    /// At which time of day the world stands still.
    pub clock: Option<Duration>,
    /// What its random numbers come from.
    pub random_seed: Option<u64>,
    /// What is to come of it.
    pub expect: Expected,
}

/// An answer of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakedAnswer {
    /// Of the request.
    pub method: Method,
    /// Of the request, all of it.
    pub url: String,
    /// Of the answer; 200 unless said.
    pub status: StatusCode,
    /// Of the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Of the answer.
    pub body: Bytes,
}

/// What is to come of a call. What is `None` is not looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Its structured result.
    pub result: Option<Value>,
    /// All of its text.
    pub text: Option<String>,
    /// That it fails, with a message that has this in it.
    pub error: Option<String>,
    /// All host calls that a rule of the grant let through, in order, without the reading and writing of streams:
    /// interface, function and subject, or a beginning of that.
    pub calls: Option<Vec<String>>,
    /// All that were refused, in order, in the same way. By default none may be.
    pub denied: Vec<String>,
}

/// A file of cases.
#[derive(Clone, Debug)]
pub struct CasesFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub cases: Vec<Case>,
}

/// Why cases can't be read. The author's fault.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// A file or folder can't be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has errors.
    #[error("the cases in {} have {} errors", .path.display(), .diagnostics.len())]
    Cases {
        /// Which.
        path: PathBuf,
        /// What it says.
        text: String,
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
}

/// All cases of a project: those of `tests/*.toml`, by name of the file.
///
/// # Errors
/// [`CasesError`].
pub fn read_all(folder: &Path) -> Result<Vec<CasesFile>, CasesError> {
    let tests = folder.join("tests");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CasesError::File { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&tests).map_err(failed(&tests))?.take(10_000) {
        let path = entry.map_err(failed(&tests))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        let source = io::Error::other(format!("it has {} files of cases, at most {FILES_MAX}", paths.len()));
        return Err(failed(&tests)(source));
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = read_text(&path, CASES_FILE_BYTES_MAX).map_err(failed(&path))?;
        match parse(&text) {
            Ok(cases) => files.push(CasesFile { path, cases }),
            Err(diagnostics) => return Err(CasesError::Cases { path, text, diagnostics }),
        }
    }
    Ok(files)
}

/// Reads one file.
///
/// # Errors
/// Every error that was found, in the order of the file.
pub fn parse(text: &str) -> Result<Vec<Case>, Vec<Diagnostic>> {
    parse_settings(text, CASES_FILE_BYTES_MAX, TOP_KEYS, |reader, root| {
        let items = root.child("case").map(|node| reader.tables(&node)).unwrap_or_default();
        if items.is_empty() {
            reader.report(0..0, "case", Problem::new("the file has no [[case]]", ""));
        }
        if let Some(item) = items.get(CASES_MAX) {
            reader.report_node(
                item,
                Problem::new(format!("a file has at most {CASES_MAX} cases"), "make another"),
            );
            return Vec::new();
        }
        let mut names = BTreeSet::new();
        let mut cases = Vec::new();
        for item in &items {
            let Some(case) = reader.table(item).and_then(|table| read_case(reader, &table)) else { continue };
            if !names.insert(case.name.clone()) {
                reader.report_node(item, Problem::new(format!("two cases are named {:?}", case.name), ""));
            }
            cases.push(case);
        }
        cases
    })
}

fn read_case(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<Case> {
    reader.check_keys(table, CASE_KEYS);
    let name = reader.required(table, "name").and_then(|node| {
        let text = reader.string(&node)?;
        let is_line = !text.trim().is_empty() && crate::text::clean_line(text, NAME_BYTES_MAX) == text;
        let problem =
            || Problem::new(format!("a name is one plain line of at most {NAME_BYTES_MAX} bytes"), "");
        reader.keep(&node, if is_line { Ok(text.to_owned()) } else { Err(problem()) })
    });
    let tool = reader.required(table, "tool").and_then(|node| reader.parsed::<ToolName>(&node));
    let arguments = match table.child("arguments") {
        Some(node) => reader.table(&node).and_then(|_| json(reader, &node)),
        None => Some(Value::Object(Default::default())),
    };
    let grant = match table.child("grant") {
        Some(node) => reader.table(&node).map(|table| {
            for key in ["package", "agents"] {
                if let Some(node) = table.child(key) {
                    reader.report_node(
                        &node,
                        Problem::new(format!("`{key}` is the test's to say"), "leave it out"),
                    );
                }
            }
            plain_table(table.entries)
        }),
        None => Some(toml::Table::new()),
    };
    let http = table.child("http").map(|node| read_answers(reader, &node)).unwrap_or_default();
    let clock = table.child("clock").and_then(|node| {
        let date_time = reader.date_time(&node)?;
        let moment = reader.keep(&node, moment(date_time))?;
        let since = Duration::try_from(moment.duration_since(jiff::Timestamp::UNIX_EPOCH));
        reader.keep(&node, since.map_err(|_| Problem::new("the time is before 1970", "")))
    });
    let random_seed = table.child("random_seed").and_then(|node| reader.integer(&node));
    let expect = match reader.required(table, "expect") {
        Some(node) => reader.table(&node).and_then(|table| read_expected(reader, &table)),
        None => None,
    };
    Some(Case {
        name: name?,
        tool: tool?,
        arguments: arguments?,
        grant: grant?,
        http,
        clock,
        random_seed,
        expect: expect?,
    })
}

fn read_answers(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Vec<FakedAnswer> {
    let tables = reader.rules(node, ANSWERS_MAX, HTTP_KEYS);
    tables.iter().filter_map(|table| read_answer(reader, table)).collect()
}

fn read_answer(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<FakedAnswer> {
    let method = match table.child("method") {
        Some(node) => reader.parsed::<Method>(&node),
        None => Some(Method::GET),
    };
    let url = reader.required(table, "url").and_then(|node| {
        let text = reader.string(&node)?;
        let url = text.parse::<Url>().map_err(|error| Problem::new(format!("this is no URL: {error}"), ""));
        reader.keep(&node, url).map(String::from)
    });
    let status = match table.child("status") {
        Some(node) => reader.integer(&node).and_then(|number| {
            let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok());
            let problem =
                || Problem::new(format!("{number} is not the status of an answer"), "write 200 to 599");
            reader.keep(&node, status.filter(|status| status.as_u16() >= 200).ok_or_else(problem))
        }),
        None => Some(StatusCode::OK),
    };
    let mut headers = Vec::new();
    if let Some(fields) = table.child("headers").and_then(|node| reader.table(&node)) {
        for (name, span, node) in fields.children() {
            let Some(value) = reader.string(&node) else { continue };
            match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => reader.report(span, &node.key, Problem::new("this is no field of HTTP", "")),
            }
        }
    }
    let body = match (table.child("body"), table.child("json")) {
        (Some(node), None) => reader.string(&node).map(|text| Bytes::from(text.to_owned())),
        (None, Some(node)) => json(reader, &node).map(|value| Bytes::from(value.to_string())),
        (None, None) => Some(Bytes::new()),
        (Some(_), Some(node)) => {
            reader.report_node(&node, Problem::new("an answer has `body` or `json`, not both", ""));
            None
        }
    };
    Some(FakedAnswer { method: method?, url: url?, status: status?, headers, body: body? })
}

fn read_expected(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<Expected> {
    reader.check_keys(table, EXPECT_KEYS);
    let result = table.child("result").and_then(|node| json(reader, &node));
    let text = |reader: &mut Reader<'_>, name: &str| {
        table.child(name).and_then(|node| reader.string(&node).map(str::to_owned))
    };
    let (said, error) = (text(reader, "text"), text(reader, "error"));
    let lines = |reader: &mut Reader<'_>, name: &str| {
        let items = table.child(name).and_then(|node| reader.list(&node))?;
        Some(items.iter().filter_map(|item| reader.string(item).map(str::to_owned)).collect::<Vec<_>>())
    };
    let (calls, denied) = (lines(reader, "calls"), lines(reader, "denied").unwrap_or_default());
    if error.is_some() && (result.is_some() || said.is_some()) {
        let problem =
            Problem::new("a call that fails has no result", "expect `error`, or `result` and `text`");
        reader.report(table.span.clone(), &table.key_of("error"), problem);
    }
    if result.is_none() && said.is_none() && error.is_none() {
        let problem = Problem::new("nothing is expected of the answer", "write `result`, `text` or `error`");
        reader.report(table.span.clone(), &table.key, problem);
    }
    Some(Expected { result, text: said, error, calls, denied })
}

/// A value as JSON. There, dates and numbers that are none have no place.
fn json(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<Value> {
    let made = plain(node.value).and_then(|value| serde_json::to_value(value).ok());
    // TOML's dates become tables of their own making, and infinities become null.
    let is_whole = !has_date_or_infinity(node.value);
    let problem = || Problem::new("this can't be JSON", "write dates as text, and finite numbers");
    reader.keep(node, made.filter(|_| is_whole).ok_or_else(problem))
}

fn has_date_or_infinity(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Datetime(_) => true,
        DeValue::Float(float) => !float.as_str().parse::<f64>().is_ok_and(f64::is_finite),
        DeValue::Array(items) => items.iter().any(|item| has_date_or_infinity(item.get_ref())),
        DeValue::Table(table) => table.iter().any(|(_, value)| has_date_or_infinity(value.get_ref())),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Boolean(_) => false,
    }
}

/// The same value without its places in the text; `None` for a number beyond 64 bits.
fn plain(value: &DeValue<'_>) -> Option<toml::Value> {
    Some(match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(integer) => {
            toml::Value::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok()?)
        }
        DeValue::Float(float) => toml::Value::Float(float.as_str().parse().ok()?),
        DeValue::Boolean(is) => toml::Value::Boolean(*is),
        DeValue::Datetime(date_time) => toml::Value::Datetime(*date_time),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => toml::Value::Table(plain_table(table)),
    })
}

/// What the grants parser reads next; what can't be a value there is left out, and so is missed there.
fn plain_table(table: &toml::de::DeTable<'_>) -> toml::Table {
    let entries =
        table.iter().filter_map(|(name, value)| Some((name.get_ref().to_string(), plain(value.get_ref())?)));
    entries.collect::<BTreeMap<_, _>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_all_that_a_call_needs() {
        let text = r#"
[[case]]
name = "asks for the weather"
tool = "weather"
arguments = { place = "Oslo", days = 2, exact = [1.5, true] }
clock = 2027-01-01T00:00:00Z
random_seed = 7
expect.result = { degrees = -3 }
expect.calls = ["wasi:http/outgoing-handler handle GET https://api.example.org/v1"]

[[case.grant.http]]
hosts = ["api.example.org"]
methods = ["GET"]

[[case.http]]
url = "https://api.example.org/v1?place=Oslo"
json = { degrees = -3 }
headers = { content-type = "application/json" }

[[case]]
name = "fails"
tool = "weather"
expect.error = "place"
expect.denied = []
"#;
        let cases = parse(text).expect("good cases");
        assert_eq!(cases.len(), 2);
        let case = &cases[0];
        assert_eq!(case.arguments, serde_json::json!({"place": "Oslo", "days": 2, "exact": [1.5, true]}));
        assert_eq!((case.clock, case.random_seed), (Some(Duration::from_secs(1_798_761_600)), Some(7)));
        assert_eq!(&case.http[0].body[..], br#"{"degrees":-3}"#);
        assert_eq!(case.grant["http"][0]["methods"][0].as_str(), Some("GET"));
        assert_eq!(cases[1].arguments, serde_json::json!({}));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let head = "[[case]]\nname = \"a\"\ntool = \"t\"\n";
        let told = |text: &str| {
            let diagnostics = parse(text).expect_err("refused");
            diagnostics
                .iter()
                .map(|one| format!("{}: {}", one.key, one.message))
                .collect::<Vec<_>>()
                .join("; ")
        };
        for (text, expected) in [
            (String::new(), "case"),
            (head.to_owned(), "case[0].expect: `expect` is missing"),
            (format!("{head}expect = {{}}\n"), "nothing is expected"),
            (format!("{head}expect.result = 1\nexpect.error = \"a\"\n"), "has no result"),
            (format!("{head}expect.resul = 1\n"), "unknown key resul"),
            (format!("{head}expect.error = \"a\"\nargs = {{}}\n"), "unknown key args"),
            (format!("{head}expect.error = \"a\"\narguments = {{ a = inf }}\n"), "can't be JSON"),
            (format!("{head}expect.error = \"a\"\narguments = {{ a = 2027-01-01 }}\n"), "can't be JSON"),
            (format!("{head}expect.error = \"a\"\ngrant = {{ package = \"p\" }}\n"), "the test's to say"),
            (format!("{head}expect.error = \"a\"\n[[case.http]]\nurl = \"x\"\n"), "no URL"),
            (
                format!("{head}expect.error = \"a\"\n[[case.http]]\nurl = \"http://a\"\nstatus = 101\n"),
                "101 is not",
            ),
            (format!("{head}expect.error = \"a\"\n{head}expect.error = \"a\"\n"), "two cases"),
        ] {
            assert!(told(&text).contains(expected), "{text}: {}", told(&text));
        }
    }
}
