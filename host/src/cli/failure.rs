//! Errors for people: what went wrong, where, and what to do next; or the problem document as it is.
//!
//! Text of tools and files is cleaned before it is shown.

use std::fmt;
use std::io;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::exit::Exit;
use super::output::Output;
use super::show;
use crate::api::{ErrorKind, Problem};
use crate::config::DataFolderError;
use crate::gateway::{Blame, HostError};
use crate::limits::Limit;
use crate::policy::{Denial, Diagnostic, Stop};
use crate::text::{clean, clean_line};

/// How much of a message is shown.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something went wrong; the text of the grants file that it is about, if it is about one.
    Problem(Box<Problem>, Option<GrantsText>),
    /// Whoever reads stdout has closed it: nothing went wrong here.
    ReaderGone,
    /// The answer is that things differ, and was given.
    Differs,
}

/// A grants file, to point into.
#[derive(Debug)]
pub(super) struct GrantsText {
    pub(super) file: String,
    pub(super) text: String,
}

impl Failure {
    /// What was given can't be used.
    pub(super) fn input(detail: impl Into<String>) -> Self {
        Problem::bad_input(detail).into()
    }

    /// The host, or its machine, failed.
    pub(super) fn host(detail: impl Into<String>) -> Self {
        Problem::new(ErrorKind::HostFault, detail, Blame::Host).into()
    }

    /// What went wrong, in one text: with the lines of a file that is wrong.
    pub(super) fn detail(&self) -> String {
        match self {
            Failure::Problem(problem, _) => {
                let lines = problem.diagnostics.iter();
                let lines =
                    lines.map(|wrong| format!("; line {}: {}: {}", wrong.line, wrong.key, wrong.message));
                format!("{}{}", problem.detail, lines.collect::<String>())
            }
            Failure::ReaderGone | Failure::Differs => String::new(),
        }
    }

    /// With the grants file that it may be about.
    pub(super) fn about(self, file: String, text: String) -> Self {
        match self {
            Failure::Problem(problem, None) => Failure::Problem(problem, Some(GrantsText { file, text })),
            other @ (Failure::Problem(_, Some(_)) | Failure::ReaderGone | Failure::Differs) => other,
        }
    }

    /// Writes it to stderr, and says how the program ends.
    pub(super) fn report(self, output: &Output) -> Exit {
        match self {
            Failure::ReaderGone => Exit::Ok,
            Failure::Differs => Exit::Differs,
            Failure::Problem(problem, grants) => {
                if output.json {
                    let json = serde_json::to_string(&problem);
                    output.note(&json.unwrap_or_else(|error| error.to_string()));
                } else {
                    explain(&problem, grants, output);
                }
                problem.kind.into()
            }
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure::Problem(Box::new(problem), None)
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Problem::from(error).into()
    }
}

impl From<DataFolderError> for Failure {
    fn from(error: DataFolderError) -> Self {
        HostError::from(error).into()
    }
}

impl From<io::Error> for Failure {
    /// An error of writing the answer.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::ReaderGone
        } else {
            Failure::host(format!("the answer can't be written: {error}"))
        }
    }
}

fn explain(problem: &Problem, grants: Option<GrantsText>, output: &Output) {
    if let Some(report) = &problem.report {
        show::printed(report, output);
    }
    if let Some(grants) = grants {
        let source = NamedSource::new(clean_line(&grants.file, 1_000), shown_source(&grants.text));
        for diagnostic in &problem.diagnostics {
            output.note(&drawn(diagnostic, &source, output.has_color()));
        }
    } else {
        for diagnostic in &problem.diagnostics {
            output.note(&clean_line(&diagnostic.to_string(), MESSAGE_BYTES_MAX));
        }
    }
    let detail = clean(&problem.detail, MESSAGE_BYTES_MAX);
    output.note(&format!("{} {detail}", output.alarming("error:")));
    if let Some(next) = next_step(problem) {
        output.note(&format!("next:  {next}"));
    }
    match (&problem.report, problem.call) {
        (Some(report), _) => output.aside(&show::summary(report)),
        (None, Some(call)) => output.aside(&format!("call {call}")),
        (None, None) => {}
    }
}

fn next_step(problem: &Problem) -> Option<String> {
    // It says so already.
    if problem.detail.contains("`portcullis ") {
        return None;
    }
    let step = match problem.kind {
        ErrorKind::BadInput if problem.call.is_some() => {
            "`portcullis package inspect PACKAGE` shows what the tool takes".to_owned()
        }
        ErrorKind::BadInput | ErrorKind::MethodNotAllowed | ErrorKind::UnsupportedMediaType => {
            "`portcullis --help` shows what each command takes".to_owned()
        }
        ErrorKind::NotFound => {
            "`portcullis package list` and `portcullis grant list` show what there is".to_owned()
        }
        ErrorKind::TooLarge => {
            "make it smaller: build without debug information, optimised for size".to_owned()
        }
        ErrorKind::Unauthenticated => {
            "an admin can make a key with `portcullis key create PRINCIPAL`".to_owned()
        }
        ErrorKind::Forbidden => {
            "ask somebody who has the role for it; docs/serving.md says which that is".to_owned()
        }
        ErrorKind::TooSlow | ErrorKind::Busy | ErrorKind::TooManyRequests => "try again in a moment".to_owned(),
        ErrorKind::Conflict => {
            "`portcullis package inspect NAME` shows all components of a package with their digests"
                .to_owned()
        }
        ErrorKind::InvalidPackage
            if problem.limit.is_some_and(|reached| is_of_the_compiler(reached.limit)) =>
        {
            format!(
                "make it smaller, or raise `{}` in `limits.toml` of the data folder",
                problem.limit?.limit
            )
        }
        ErrorKind::InvalidPackage => {
            "nothing was registered; mend the component, build it and add it again".to_owned()
        }
        ErrorKind::InvalidGrants => "mend the file and apply it again".to_owned(),
        ErrorKind::InvalidSettings => "mend the file; docs/limits.md has all limits, docs/audit.md the settings of the log".to_owned(),
        ErrorKind::Denied => denied(problem.denial.as_ref()?),
        ErrorKind::Gone | ErrorKind::Interrupted => {
            format!("`portcullis audit show {}` shows what it did", problem.call?)
        }
        ErrorKind::KeyInUse => format!("`portcullis calls wait {}` waits for it", problem.call?),
        ErrorKind::KeyReused => "use a new key for a new request, such as a UUID".to_owned(),
        ErrorKind::Cancelled => "what it did until then is done; `portcullis audit tail --call` shows it".to_owned(),
        ErrorKind::Stopped => match problem.stop.as_ref()? {
            Stop::Denied { denial, .. } => denied(denial),
            Stop::CredentialRevoked { .. } => {
                "call it again with a credential that is valid; `portcullis key create` makes a key".to_owned()
            }
            Stop::Narrowed { .. } => {
                "call it again: it then gets what is granted now; `portcullis grant list` shows that"
                    .to_owned()
            }
        },
        ErrorKind::LimitReached => {
            let limit = problem.limit?.limit;
            if !limit.row().grantable {
                return None;
            }
            format!("if the tool is meant to need more, raise `{limit}` in the limits of its grant")
        }
        ErrorKind::ToolError | ErrorKind::Withheld => {
            format!("`portcullis audit tail --call {}` shows what it did", problem.call?)
        }
        ErrorKind::GrantUnusable => {
            "mend the folder, or the grant that names it: `portcullis grant list` shows all".to_owned()
        }
        ErrorKind::LogUnavailable => {
            "mend the disk of the data folder (space, permissions); until then nothing runs".to_owned()
        }
        ErrorKind::DiskLow => "make room on the disk of the data folder (`portcullis doctor` shows how much is free); revoking and reading work meanwhile".to_owned(),
        ErrorKind::HostFault => return None,
    };
    Some(step)
}

/// Whether an admin may give the compiler more of it than it has by default.
fn is_of_the_compiler(limit: Limit) -> bool {
    matches!(limit, Limit::CompileTime | Limit::CompileMemory)
}

fn denied(denial: &Denial) -> String {
    match denial {
        Denial::Frozen { because } => {
            format!(
                "an admin can let calls begin again with `portcullis thaw`; it was frozen because: {because}"
            )
        }
        Denial::Quarantined { package, digest, because } => {
            let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
            format!(
                "an admin can lift it with `portcullis package release {package}{digest}`; it was quarantined because: {because}"
            )
        }
        Denial::PrincipalRemoved { principal } => {
            format!("an admin can let it call again with `portcullis principal add {principal}`")
        }
        Denial::NotAnAgent { .. } => {
            "call in the name of an agent; `portcullis principal list` shows all".to_owned()
        }
        Denial::NotApproved { package } => {
            format!("an admin reviews it with `portcullis package inspect {package}` and approves it")
        }
        Denial::NotGranted { package, .. } | Denial::ToolNotGranted { package, .. } => format!(
            "an admin can grant it with `portcullis grant apply FILE`; `portcullis grant show {package}` shows what is granted"
        ),
        Denial::OtherBytes { .. } | Denial::Expired { .. } => {
            "an admin can grant it anew with `portcullis grant apply FILE`".to_owned()
        }
    }
}

/// A diagnostic as miette draws it.
#[derive(Debug)]
struct Drawing<'a> {
    diagnostic: &'a Diagnostic,
    source: &'a NamedSource<String>,
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean_line(&self.diagnostic.message, MESSAGE_BYTES_MAX))
    }
}

impl std::error::Error for Drawing<'_> {}

impl miette::Diagnostic for Drawing<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_ref()?;
        Some(Box::new(clean_line(help, MESSAGE_BYTES_MAX)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Range { start, end } = self.diagnostic.span.clone();
        let key = clean_line(&self.diagnostic.key, 200);
        let label = if key.is_empty() { None } else { Some(key) };
        Some(Box::new(std::iter::once(LabeledSpan::new(label, start, end.saturating_sub(start)))))
    }
}

fn drawn(diagnostic: &Diagnostic, source: &NamedSource<String>, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_context_lines(1);
    let mut text = String::new();
    match handler.render_report(&mut text, &Drawing { diagnostic, source }) {
        Ok(()) => text,
        // A span beyond the file, which only a host of another version would name.
        Err(fmt::Error) => clean_line(&diagnostic.to_string(), MESSAGE_BYTES_MAX),
    }
}

/// A file's text with stand-ins, of the same number of bytes, for what could act on a terminal.
fn shown_source(text: &str) -> String {
    let mut buffer = [0; 4];
    text.chars()
        .map(|character| {
            let is_plain = character.is_ascii_graphic() || matches!(character, ' ' | '\n');
            if is_plain || clean(character.encode_utf8(&mut buffer), 8).starts_with(character) {
                return character;
            }
            match character.len_utf8() {
                1 => '?',
                2 => '¿',
                3 => '\u{fffd}',
                _ => '\u{1d7d8}',
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_drawn_with_file_line_and_caret() {
        let text = "[[grant]]\npackage = \"notes\"\nagnets = [\"a\"]\n";
        let start = text.find("agnets").expect("there");
        let help = Some("did you mean `agents`?".to_owned());
        let message = "unknown key `agnets`".to_owned();
        let diagnostic = Diagnostic::new(text, start..start + 6, "grant[0].agnets", message, help);
        let source = NamedSource::new("grants.toml", shown_source(text));
        insta::assert_snapshot!(drawn(&diagnostic, &source, false), @r##"
         × unknown key `agnets`
          ╭─[grants.toml:3:1]
        2 │ package = "notes"
        3 │ agnets = ["a"]
          · ───┬──
          ·    ╰── grant[0].agnets
          ╰────
         help: did you mean `agents`?
        "##);
    }

    #[test]
    fn a_source_is_shown_without_what_acts_on_a_terminal_and_keeps_its_offsets() {
        let text = "a\u{1b}[31m\u{9b}é\u{202e}\u{e0041}\r\n";
        let shown = shown_source(text);
        assert_eq!(shown, "a?[31m¿é\u{fffd}\u{1d7d8}?\n");
        assert_eq!(shown.len(), text.len());
    }
}
