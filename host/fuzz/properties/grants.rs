//! What must hold of the parsers of grants files and of a host's limits for any text: shared by the fuzz target
//! and by a test, which gives them texts from a seed.

use std::path::PathBuf;

use portcullis::limits::Limit;
use portcullis::policy::{
    CLOCK_RESOLUTION_MS_MAX, Diagnostic, PathCheck, PathProblem, parse_grants, parse_host_limits,
};

/// Folders that are there, but for those whose name begins with `no`.
struct Folders;

impl PathCheck for Folders {
    fn check(&self, host_path: &str) -> Result<PathBuf, PathProblem> {
        let path = PathBuf::from("/srv").join(host_path.trim_start_matches('/'));
        if host_path.starts_with("no") { Err(PathProblem::Missing { path }) } else { Ok(path) }
    }
}

/// Reads a text as a grants file, and as a host's limits.
pub(crate) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse_grants(&text, &Folders) {
        Ok(file) => {
            assert_eq!(file.source, text);
            for entry in &file.grants {
                assert!(text.get(entry.span.clone()).is_some() && !entry.terms.agents.is_empty());
                for (limit, value) in &entry.terms.limits {
                    assert!(*value > 0 && *value <= limit.row().ceiling && limit.row().grantable);
                }
                let step = entry.terms.clock.map_or(1, |clock| clock.resolution_ms);
                assert!((1..=CLOCK_RESOLUTION_MS_MAX).contains(&step));
                entry.terms.rules.iter().for_each(|rule| assert!(!rule.to_string().is_empty()));
            }
            // The same text is the same file.
            assert_eq!(parse_grants(&text, &Folders).as_ref(), Ok(&file));
        }
        Err(diagnostics) => told(&text, &diagnostics),
    }
    match parse_host_limits(&text) {
        Ok(limits) => {
            for limit in Limit::ALL {
                assert!(limits.ceiling_of(limit) <= limit.row().ceiling && limits.default_of(limit) > 0);
            }
        }
        Err(diagnostics) => told(&text, &diagnostics),
    }
}

/// Each error has a place in the text.
fn told(text: &str, diagnostics: &[Diagnostic]) {
    assert!((1..=100).contains(&diagnostics.len()));
    for Diagnostic { line, column, message, span, .. } in diagnostics {
        assert!(text.get(span.clone()).is_some(), "{span:?}");
        assert!(*line >= 1 && *line <= text.split('\n').count() && *column >= 1 && !message.is_empty());
    }
}
