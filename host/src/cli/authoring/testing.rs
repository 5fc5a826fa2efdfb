//! `portcullis test`: the cases of a project, each a call in a throw-away host; and a case from a live run.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::building::build_project;
use super::needed::{Needed, needed};
use super::running::{call_of, chosen};
use super::scratch::{AGENT, Scratch};
use super::{allowed, build_failure};
use crate::api::{ErrorKind, Problem};
use crate::arguments::parse_arguments;
use crate::authoring::build::manifest_of;
use crate::authoring::cases::{Case, CasesError, Expected, FakedAnswer, read_all};
use crate::cli::arguments::{BuildArguments, TestArguments};
use crate::cli::failure::Failure;
use crate::cli::input;
use crate::cli::output::Output;
use crate::egress::{StandIn, StoodInRequest};
use crate::gateway::{AddedPackage, Blame, CallAnswer, CallError, HostError, HostOptions};
use crate::policy::Grant;
use crate::sandbox::{Content, StandIns, ToolAnswer};
use crate::text::{clean, clean_line};

/// The most of a project's `tests` that is copied for a case to write in.
const FIXTURES_MAX: usize = 1_000;
const FIXTURE_BYTES_MAX: u64 = 16 << 20;
/// How much of a diff is shown.
const DIFF_BYTES_MAX: usize = 16 << 10;

/// What came of one case.
#[derive(Debug, Serialize)]
struct Outcome {
    file: String,
    case: String,
    passed: bool,
    elapsed_ms: u64,
    /// What is not as expected: a few lines each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
}

/// Runs the cases of a project, or records one.
pub(in crate::cli) async fn test(arguments: TestArguments, output: &Output) -> Result<(), Failure> {
    let component = component(&arguments, output).await?;
    if arguments.record.is_some() {
        return record(arguments, component, output).await;
    }
    let files = read_all(&arguments.folder).map_err(cases_failure)?;
    let tests = arguments.folder.join("tests");
    let mut hosts = Hosts { component, open: BTreeMap::new() };
    let mut outcomes = Vec::new();
    let done = async {
        for file in &files {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for case in &file.cases {
                if arguments.filter.as_ref().is_some_and(|filter| !case.name.contains(filter.as_str())) {
                    continue;
                }
                let started = Instant::now();
                let faults = hosts.run(case, &tests).await?;
                let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let outcome = Outcome {
                    file: name.clone(),
                    case: case.name.clone(),
                    passed: faults.is_empty(),
                    elapsed_ms,
                    faults,
                };
                if !output.json {
                    output.line(&told(&outcome))?;
                }
                outcomes.push(outcome);
            }
        }
        Ok::<(), Failure>(())
    };
    let done = done.await;
    hosts.close().await?;
    done?;
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    let count = outcomes.len();
    if count == 0 {
        return Err(Failure::input("there are no such cases in tests/*.toml"));
    }
    output.answer(&outcomes, |_| format!("\n{} of {count} cases passed", count - failed))?;
    if failed > 0 { Err(Failure::Differs) } else { Ok(()) }
}

fn told(outcome: &Outcome) -> String {
    let Outcome { file, case, passed, elapsed_ms, faults } = outcome;
    let word = if *passed { "ok    " } else { "FAILED" };
    let mut text = format!("{word} {file}: {case} ({elapsed_ms} ms)");
    for line in faults.iter().flat_map(|fault| fault.lines()) {
        text.push_str("\n       ");
        text.push_str(line);
    }
    text
}

fn cases_failure(error: CasesError) -> Failure {
    let detail = error.to_string();
    match error {
        CasesError::File { .. } => Failure::input(detail),
        CasesError::Cases { path, text, diagnostics } => {
            let problem = Problem { diagnostics, ..Problem::new(ErrorKind::BadInput, detail, Blame::Tool) };
            Failure::from(problem).about(clean_line(&path.to_string_lossy(), 1_000), text)
        }
    }
}

/// The named component, or what the project builds.
async fn component(arguments: &TestArguments, output: &Output) -> Result<Bytes, Failure> {
    let file = match &arguments.component {
        Some(file) => file.clone(),
        None => {
            manifest_of(&arguments.folder).map_err(build_failure)?;
            build_project(BuildArguments { folder: arguments.folder.clone(), out: None }, output).await?.file
        }
    };
    input::component(file).await
}

/// What a host is opened with, so that cases that have it in common share one.
type Setting = (Option<Duration>, Option<u64>);

struct Hosts {
    component: Bytes,
    open: BTreeMap<Setting, Open>,
}

struct Open {
    scratch: Scratch,
    added: AddedPackage,
    answers: Arc<Answers>,
}

impl Hosts {
    /// What is not as expected.
    async fn run(&mut self, case: &Case, tests: &Path) -> Result<Vec<String>, Failure> {
        let setting = (case.clock, case.random_seed);
        if !self.open.contains_key(&setting) {
            let open = Open::new(self.component.clone(), case).await?;
            self.open.insert(setting, open);
        }
        let Some(open) = self.open.get(&setting) else { return Ok(Vec::new()) };
        let faults = open.run(case, tests).await?;
        // The next case finds nothing of what this one wrote.
        open.scratch.clear_stores(&open.added.package).await?;
        Ok(faults)
    }

    async fn close(self) -> Result<(), Failure> {
        for open in self.open.into_values() {
            open.scratch.close().await?;
        }
        Ok(())
    }
}

impl Open {
    async fn new(component: Bytes, case: &Case) -> Result<Self, Failure> {
        let answers = Arc::new(Answers::default());
        let stand_ins = StandIns {
            http: Some(Arc::clone(&answers) as _),
            time_of_day: case.clock,
            random_seed: case.random_seed,
        };
        let scratch = Scratch::open_with(HostOptions { stand_ins, ..HostOptions::default() }).await?;
        match scratch.install(component, None).await {
            Ok(added) => Ok(Self { scratch, added, answers }),
            Err(failure) => {
                scratch.close().await?;
                Err(failure)
            }
        }
    }

    async fn run(&self, case: &Case, tests: &Path) -> Result<Vec<String>, Failure> {
        self.answers.begin(&case.http);
        let folder = fixtures(tests)?;
        let text = grants(&self.added, case)?;
        let granted = match self.scratch.grant(&text, folder.path()).await {
            Ok(granted) => granted,
            Err(HostError::Grants { diagnostics, .. }) => {
                let told = |one: &crate::policy::Diagnostic| {
                    format!("its grant: {}: {}", clean_line(&one.key, 200), clean_line(&one.message, 500))
                };
                return Ok(diagnostics.iter().map(told).collect());
            }
            Err(error) => return Err(error.into()),
        };
        let called = self.scratch.call(&self.added.package, &case.tool, case.arguments.clone()).await;
        let mut faults = Vec::new();
        match &called {
            Ok(answer) => faults.extend(answered(&case.expect, &answer.answer)),
            Err(error @ (CallError::Failed { .. } | CallError::NotFound(_))) => {
                faults.extend(failed(&case.expect, &error.to_string()));
            }
            Err(CallError::Denied { denial, .. }) => faults.extend(failed(&case.expect, &denial.to_string())),
            Err(
                CallError::Quota(_)
                | CallError::Busy(_)
                | CallError::Log(_)
                | CallError::DiskLow(_)
                | CallError::Host(_),
            ) => {
                return Err(unanswered(called));
            }
        }
        let needed = self.needed(&called, granted.first())?;
        if let Some(calls) = &case.expect.calls {
            faults.extend(listed("host calls", calls, &needed.done));
        }
        faults.extend(listed("refused host calls", &case.expect.denied, &needed.denied));
        faults.extend(self.answers.end());
        Ok(faults)
    }

    fn needed(
        &self,
        called: &Result<CallAnswer, CallError>,
        grant: Option<&Grant>,
    ) -> Result<Needed, Failure> {
        let records = call_of(called).map(|call| self.scratch.records(call)).transpose()?;
        Ok(needed(&self.added.package, grant, &records.unwrap_or_default()))
    }
}

/// Why a call did not come to its end.
fn unanswered(called: Result<CallAnswer, CallError>) -> Failure {
    match called {
        Ok(_) => Failure::host("the call was answered"),
        Err(error) => Problem::from(error).into(),
    }
}

/// The case's grant as a grants file.
fn grants(added: &AddedPackage, case: &Case) -> Result<String, Failure> {
    let mut grant = case.grant.clone();
    grant.insert("package".to_owned(), added.package.as_str().into());
    grant.insert("agents".to_owned(), toml::Value::Array(vec![AGENT.into()]));
    let file = toml::Table::from_iter([("grant".to_owned(), toml::Value::Array(vec![grant.into()]))]);
    toml::to_string(&file)
        .map_err(|error| Failure::input(format!("case {:?}: its grant: {error}", case.name)))
}

/// A copy of the project's `tests`, in which relative host paths of grants begin: what a tool writes there is gone
/// after the case.
fn fixtures(tests: &Path) -> Result<tempfile::TempDir, Failure> {
    let failed =
        |error: std::io::Error| Failure::host(format!("{} can't be copied: {error}", tests.display()));
    let copy = tempfile::Builder::new().prefix("portcullis-case-").tempdir().map_err(failed)?;
    let mut left = (FIXTURES_MAX, FIXTURE_BYTES_MAX);
    let mut folders = vec![(tests.to_owned(), copy.path().to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in std::fs::read_dir(&from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (kind, target) = (entry.file_type().map_err(failed)?, to.join(entry.file_name()));
            let bytes = entry.metadata().map_err(failed)?.len();
            left = match (left.0.checked_sub(1), left.1.checked_sub(bytes)) {
                (Some(entries), Some(bytes)) => (entries, bytes),
                _ => {
                    let detail = format!(
                        "{} has more than {FIXTURES_MAX} entries or {FIXTURE_BYTES_MAX} bytes: too much to copy for each case",
                        tests.display()
                    );
                    return Err(Failure::input(detail));
                }
            };
            // Links could lead anywhere: they are left out.
            if kind.is_dir() {
                std::fs::create_dir(&target).map_err(failed)?;
                folders.push((entry.path(), target));
            } else if kind.is_file() {
                std::fs::copy(entry.path(), target).map_err(failed)?;
            }
        }
    }
    Ok(copy)
}

fn answered(expect: &Expected, answer: &ToolAnswer) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(error) = &expect.error {
        faults.push(format!(
            "it answered, and was to fail with {error:?}: {}",
            clean_line(&text_of(answer), 500)
        ));
        return faults;
    }
    if let Some(expected) = &expect.result {
        match &answer.structured {
            None => faults.push("it gave no structured result".to_owned()),
            Some(found) if !is_same(expected, found) => {
                faults.push(format!(
                    "its result is not as expected:\n{}",
                    diff(&pretty(expected), &pretty(found))
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(expected) = &expect.text {
        let found = text_of(answer);
        if *expected != found {
            faults.push(format!("its text is not as expected:\n{}", diff(expected, &found)));
        }
    }
    faults
}

fn failed(expect: &Expected, message: &str) -> Vec<String> {
    match &expect.error {
        Some(part) if message.contains(part.as_str()) => Vec::new(),
        Some(part) => vec![format!("its error has no {part:?}: {}", clean_line(message, 1_000))],
        None => vec![format!("it failed: {}", clean(message, 2_000))],
    }
}

fn text_of(answer: &ToolAnswer) -> String {
    let texts = answer.content.iter().filter_map(|part| match part {
        Content::Text { text } => Some(text.as_str()),
        Content::Resource { text, .. } => text.as_deref(),
        Content::Image { .. } | Content::Audio { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Equal as JSON: a number is its value, however it is written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64() && (one.is_f64() || other.is_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        (one, other) => one == other,
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// What was expected with `-`, what was found with `+`.
fn diff(expected: &str, found: &str) -> String {
    let diff = TextDiff::from_lines(expected, found);
    let mut text = String::new();
    for change in diff.iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        text.push(sign);
        text.push_str(change.value().trim_end_matches('\n'));
        text.push('\n');
    }
    clean(&text, DIFF_BYTES_MAX)
}

/// Whether lines begin as expected, each in its place.
fn listed(what: &str, expected: &[String], found: &[String]) -> Option<String> {
    let fits = expected.len() == found.len()
        && expected.iter().zip(found).all(|(expected, found)| found.starts_with(expected.as_str()));
    (!fits).then(|| {
        format!("the {what} are not as expected:\n{}", diff(&expected.join("\n"), &found.join("\n")))
    })
}

/// Faked answers of HTTP, of one case after the other.
#[derive(Debug, Default)]
struct Answers(Mutex<Faked>);

#[derive(Debug, Default)]
struct Faked {
    left: Vec<FakedAnswer>,
    /// The last that was given, by method and URL.
    given: BTreeMap<(String, String), FakedAnswer>,
    missing: Vec<String>,
}

impl Answers {
    fn begin(&self, answers: &[FakedAnswer]) {
        *self.faked() = Faked { left: answers.to_vec(), ..Faked::default() };
    }

    /// What was asked and not faked, and what was faked and not asked.
    fn end(&self) -> Vec<String> {
        let faked = self.faked();
        let missing = faked.missing.iter().map(|asked| format!("no [[case.http]] answers {asked}"));
        let unasked =
            faked.left.iter().map(|answer| format!("nothing asked {} {}", answer.method, answer.url));
        missing.chain(unasked).collect()
    }

    fn faked(&self) -> std::sync::MutexGuard<'_, Faked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StandIn for Answers {
    fn answer(&self, request: &StoodInRequest) -> Option<Response<Bytes>> {
        let mut faked = self.faked();
        let key = (request.method.to_string(), request.url.clone());
        let fits = |answer: &FakedAnswer| answer.method == request.method && answer.url == request.url;
        let answer = match faked.left.iter().position(fits) {
            Some(at) => {
                let answer = faked.left.remove(at);
                faked.given.insert(key, answer.clone());
                answer
            }
            None => match faked.given.get(&key) {
                Some(answer) => answer.clone(),
                None => {
                    let asked = clean_line(&format!("{} {}", key.0, key.1), 1_000);
                    faked.missing.push(asked);
                    return None;
                }
            },
        };
        let mut made = Response::new(answer.body);
        *made.status_mut() = answer.status;
        made.headers_mut().extend(answer.headers);
        Some(made)
    }
}

/// Makes a case of a live run: the network is the real one.
async fn record(arguments: TestArguments, component: Bytes, output: &Output) -> Result<(), Failure> {
    let TestArguments { folder, record, tool, args, allowed, .. } = arguments;
    let name = record.unwrap_or_default();
    let file = format!("{}.toml", name.replace(|character: char| !character.is_ascii_alphanumeric(), "-"));
    let path = folder.join("tests").join(file);
    let text = input::arguments(args).await?;
    let value = parse_arguments(&text).map_err(|error| Failure::input(format!("arguments: {error}")))?;
    let scratch = Scratch::open().await?;
    let done = async {
        let added = scratch.install(component, None).await?;
        let tool = chosen(tool, &added)?;
        let grants = allowed::grants(&added.package, &allowed)?;
        let granted = scratch.grant(&grants, Path::new(".")).await?;
        let called = scratch.call(&added.package, &tool, value.clone()).await;
        let records = call_of(&called).map(|call| scratch.records(call)).transpose()?.unwrap_or_default();
        let needed = needed(&added.package, granted.first(), &records);
        let mut expect = toml::Table::new();
        match &called {
            Ok(answer) => match &answer.answer.structured {
                Some(result) => drop(expect.insert("result".to_owned(), in_toml(result)?)),
                None => drop(expect.insert("text".to_owned(), text_of(&answer.answer).into())),
            },
            Err(CallError::Failed { error, .. }) => {
                drop(expect.insert("error".to_owned(), error.to_string().into()))
            }
            Err(_) => return Err(unanswered(called)),
        }
        let lines =
            |lines: &[String]| toml::Value::Array(lines.iter().map(|line| line.as_str().into()).collect());
        expect.insert("calls".to_owned(), lines(&needed.done));
        if !needed.denied.is_empty() {
            expect.insert("denied".to_owned(), lines(&needed.denied));
        }
        let mut case = toml::Table::new();
        case.insert("name".to_owned(), name.as_str().into());
        case.insert("tool".to_owned(), tool.as_str().into());
        case.insert("arguments".to_owned(), in_toml(&value)?);
        case.insert("expect".to_owned(), expect.into());
        let grant: toml::Table = needed.grant.parse().unwrap_or_default();
        if let Some(mut grant) = grant["grant"][0].as_table().cloned() {
            grant.remove("package");
            grant.remove("agents");
            begin_in(&mut grant, &folder.join("tests"));
            if !grant.is_empty() {
                case.insert("grant".to_owned(), grant.into());
            }
        }
        let asked: Vec<&String> =
            needed.done.iter().filter(|line| line.starts_with("wasi:http/outgoing-handler")).collect();
        if !asked.is_empty() {
            case.insert(
                "http".to_owned(),
                toml::Value::Array(asked.iter().filter_map(|line| to_be_filled(line)).collect()),
            );
        }
        let file = toml::Table::from_iter([("case".to_owned(), toml::Value::Array(vec![case.into()]))]);
        let text = toml::to_string(&file)
            .map_err(|error| Failure::input(format!("the run can't be written as TOML: {error}")))?;
        write_new(&path, &text)?;
        Ok((path, asked.len()))
    };
    let done = done.await;
    scratch.close().await?;
    let (path, asked): (PathBuf, usize) = done?;
    #[derive(Serialize)]
    struct Recorded {
        case: PathBuf,
        answers_to_be_filled_in: usize,
    }
    let recorded = Recorded { case: path, answers_to_be_filled_in: asked };
    output.answer(&recorded, |Recorded { case, answers_to_be_filled_in }| {
        let mut text = format!("wrote {}", case.display());
        if *answers_to_be_filled_in > 0 {
            text.push_str(&format!(
                "\nIt sent {answers_to_be_filled_in} requests. What was answered is not in the log: fill in status, headers and body, and \
                 the query, of each [[case.http]]."
            ));
        }
        text
    })
}

/// Folders below the project's `tests` are named from there, where a case has its copies.
fn begin_in(grant: &mut toml::Table, tests: &Path) {
    let Ok(tests) = std::fs::canonicalize(tests) else { return };
    let rules = grant.get_mut("filesystem").and_then(toml::Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(toml::Value::as_table_mut) {
        let below = rule.get("host_path").and_then(toml::Value::as_str).and_then(|path| {
            let below = Path::new(path).strip_prefix(&tests).ok()?.to_str()?;
            Some(if below.is_empty() { "." } else { below }.to_owned())
        });
        if let Some(below) = below {
            rule.insert("host_path".to_owned(), below.into());
        }
    }
}

/// Method and URL of a request, whose answer the author fills in.
fn to_be_filled(line: &str) -> Option<toml::Value> {
    let (method, url) = line.rsplit_once(" handle ")?.1.split_once(' ')?;
    let keys = [("method", method), ("url", url), ("body", "")];
    Some(toml::Value::Table(keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()))
}

fn in_toml(value: &Value) -> Result<toml::Value, Failure> {
    toml::Value::try_from(value).map_err(|error| {
        Failure::input(format!(
            "the run can't be written as TOML, which has no null and no numbers beyond 64 bits: {error}"
        ))
    })
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::input(format!("{} can't be written: {error}", path.display()));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}
