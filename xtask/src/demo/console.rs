//! Runs the real program, shows what was run and what it answered, and holds it to what was promised.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process;

/// No step takes longer: compiling the largest tool of the demo takes seconds.
const STEP_TIME_MAX: Duration = Duration::from_secs(120);
/// How much of an answer is shown.
const SHOWN_CHARS_MAX: usize = 160;

/// The exit codes that the program promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    Ok = 0,
    /// What was given can't be used.
    BadInput = 2,
    /// Not allowed.
    Denied = 3,
    /// A limit ended it.
    Limit = 4,
    /// The tool failed.
    ToolError = 5,
    /// There is no room for it now.
    Busy = 6,
    /// The log is not what its host signed.
    NotVerified = 8,
}

/// What the program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    stdout: String,
    stderr: String,
}

/// Where the steps are run and shown.
#[derive(Debug)]
pub(crate) struct Console {
    program: PathBuf,
    data: PathBuf,
    steps: usize,
}

impl Console {
    pub(crate) fn new(program: PathBuf, data: &Path) -> Self {
        Self { program, data: data.to_owned(), steps: 0 }
    }

    /// How many steps went as promised.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Begins a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        println!("\n── {title}");
    }

    /// Runs one command. It must end with `exit`, and say all of `says`.
    pub(crate) fn step(&mut self, title: &str, words: &[&str], exit: Exit, says: &[&str]) -> Result<Answer> {
        println!("\n • {title}");
        println!("   $ portcullis {}", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        self.run(title, words, Vec::new(), exit, says)
    }

    /// Sends requests to `portcullis mcp` as a desktop client does, after the handshake. Each is a method and its
    /// parameters; the answers must say all of `says`.
    pub(crate) fn talk(
        &mut self,
        title: &str,
        agent: &str,
        requests: &[(&str, Value)],
        says: &[&str],
    ) -> Result<Answer> {
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "demo", "version": "1" },
        });
        let mut input = String::new();
        println!("\n • {title}");
        for (id, (method, params)) in [("initialize", hello)].iter().chain(requests).enumerate() {
            let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            println!("   > {request}");
            input.push_str(&format!("{request}\n"));
        }
        println!("   $ portcullis mcp --agent {agent}");
        self.run(title, &["mcp", "--agent", agent], input.into_bytes(), Exit::Ok, says)
    }

    fn run(
        &mut self,
        title: &str,
        words: &[&str],
        input: Vec<u8>,
        exit: Exit,
        says: &[&str],
    ) -> Result<Answer> {
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(&self.data).arg("--json").args(words);
        let output = process::capture_told(&mut command, input, STEP_TIME_MAX)?;
        let answer = Answer {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        println!("   {}", answer.excerpt(exit));
        answer.hold(output.status.code(), exit, says).with_context(|| title.to_owned())?;
        self.steps += 1;
        Ok(answer)
    }

    /// Calls a tool (package, tool, agent).
    pub(crate) fn call(
        &mut self,
        title: &str,
        (package, tool, agent): (&str, &str, &str),
        arguments: &Value,
        exit: Exit,
        says: &[&str],
    ) -> Result<Answer> {
        let arguments = arguments.to_string();
        self.step(title, &["call", package, tool, "--args", &arguments, "--as", agent], exit, says)
    }
}

impl Answer {
    /// All that was said.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The text under a key of the answer.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        find(&self.json()?, &|value| value.get(key)?.as_str().map(str::to_owned))
    }

    /// The id of the call.
    pub(crate) fn call(&self) -> Option<String> {
        self.string("call")
    }

    /// The tool's result, if it is a number.
    pub(crate) fn number(&self) -> Option<u64> {
        let json = self.json()?;
        let structured = json.get("structured").and_then(|value| find(value, &Value::as_u64));
        structured.or_else(|| json["content"][0]["text"].as_str()?.trim_matches('"').parse().ok())
    }

    /// The id of the first grant for a package.
    pub(crate) fn grant_of(&self, package: &str) -> Option<String> {
        find(&self.json()?, &|value| {
            let for_package = value.get("package")?.as_str()? == package;
            for_package.then(|| value.get("id").map(|id| id.to_string().trim_matches('"').to_owned()))?
        })
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.stdout).ok()
    }

    fn hold(&self, code: Option<i32>, exit: Exit, says: &[&str]) -> Result<()> {
        if code != Some(exit as i32) {
            bail!("it should have ended with {} ({exit:?}), not {code:?}:\n{}", exit as i32, self.text());
        }
        if let Some(missing) = says.iter().find(|part| !self.text().contains(**part)) {
            bail!("it does not say `{missing}`:\n{}", self.text());
        }
        Ok(())
    }

    fn excerpt(&self, exit: Exit) -> String {
        let said = self.text();
        let line = said.lines().next().unwrap_or_default();
        let cut =
            if line.chars().count() > SHOWN_CHARS_MAX || said.lines().count() > 1 { " …" } else { "" };
        let start: String = line.chars().take(SHOWN_CHARS_MAX).collect();
        format!("→ {exit:?}: {start}{cut}")
    }
}

/// The first answer of `pick` in a value and all that it holds.
fn find<T>(value: &Value, pick: &impl Fn(&Value) -> Option<T>) -> Option<T> {
    pick(value).or_else(|| match value {
        Value::Array(items) => items.iter().find_map(|item| find(item, pick)),
        Value::Object(entries) => entries.values().find_map(|item| find(item, pick)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// A word as one would type it into a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stdout: &str) -> Answer {
        Answer { stdout: stdout.to_owned(), stderr: "note".to_owned() }
    }

    #[test]
    fn what_is_needed_is_found_wherever_it_stands() {
        let call = answer(r#"{"content":[{"type":"text","text":"42"}],"call":"c1"}"#);
        assert_eq!((call.call().as_deref(), call.number()), (Some("c1"), Some(42)));
        let structured = answer(r#"{"structured":{"result":7},"content":[]}"#);
        assert_eq!(structured.number(), Some(7));
        let grants = answer(r#"{"grants":[{"id":3,"package":"a"},{"id":4,"package":"b"}]}"#);
        assert_eq!(grants.grant_of("b").as_deref(), Some("4"));
        assert_eq!(grants.grant_of("c"), None);
    }

    #[test]
    fn a_promise_that_is_not_kept_is_an_error() {
        let answer = answer("{}");
        assert!(answer.hold(Some(3), Exit::Denied, &["note"]).is_ok());
        assert!(answer.hold(Some(0), Exit::Denied, &[]).is_err());
        assert!(answer.hold(None, Exit::Ok, &[]).is_err(), "ended by a signal");
        assert!(answer.hold(Some(0), Exit::Ok, &["note", "more"]).is_err());
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("a-b/c.wasm"), "a-b/c.wasm");
        assert_eq!(quoted(r#"{"a": "it's"}"#), r#"'{"a": "it'\''s"}'"#);
        assert_eq!(quoted(""), "''");
    }
}
