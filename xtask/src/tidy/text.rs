//! Rules that a search of the text checks: lengths of files, unfinished places, paths of one
//! machine, and commands in the documentation that do not exist.

use super::File;
use crate::CHORES;

/// Beyond this a file has more than one job.
const RUST_LINES_MAX: usize = 800;

/// Marks of something unfinished. Written in parts, so that this file does not break its own rule.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!(")];

/// Paths that exist on the machine of whoever wrote them, and nowhere else.
const ELSEWHERE: [&str; 2] = [concat!("/wo", "rk/"), concat!("/tmp", "/wt")];

/// Files whose text is not ours to change.
const GENERATED: [&str; 2] = ["Cargo.lock", "LICENSE"];

/// Names each place that breaks a rule.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| !not_ours(&file.path)) {
        if file.path.ends_with(".rs") && file.text.lines().count() > RUST_LINES_MAX {
            broken.push(format!("{}: more than {RUST_LINES_MAX} lines; split it by its jobs", file.path));
        }
        for (index, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, index + 1);
            for mark in UNFINISHED.iter().filter(|mark| line.contains(**mark)) {
                broken.push(format!("{place}: `{mark}`: finish it, or open an issue"));
            }
            for path in ELSEWHERE.iter().filter(|path| has_path(line, path)) {
                broken.push(format!("{place}: `{path}` exists on one machine only"));
            }
            if file.path.ends_with(".md") {
                broken.extend(unknown_chores(line).map(|word| {
                    format!("{place}: `cargo xtask {word}` does not exist; see `cargo xtask help`")
                }));
            }
        }
    }
    broken
}

fn not_ours(path: &str) -> bool {
    path.starts_with("wit/deps/")
        || path.rsplit('/').next().is_some_and(|name| GENERATED.iter().any(|made| name.starts_with(made)))
}

/// Whether an absolute path that begins with `start` stands in a line.
fn has_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '~' | '.' | '_' | '-' | '}'))
    })
}

/// The words after `cargo xtask` in a line that are no chores.
fn unknown_chores(line: &str) -> impl Iterator<Item = &str> {
    line.split("cargo xtask ").skip(1).filter_map(|after| {
        let word = after.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
        let known = word.is_empty() || word == "help" || CHORES.iter().any(|(name, ..)| *name == word);
        (!known).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> usize {
        check(&[File { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn each_rule_is_kept() {
        assert_eq!(broken("a.rs", &"x\n".repeat(RUST_LINES_MAX)), 0);
        assert_eq!(broken("a.rs", &"x\n".repeat(RUST_LINES_MAX + 1)), 1);
        for mark in UNFINISHED.iter().chain(&ELSEWHERE) {
            assert_eq!(broken("a.toml", &format!("ok\n# {mark} x")), 1, "{mark}");
            assert_eq!(broken("wit/deps/io/package.wit", mark), 0, "{mark}");
        }
        for inner in ["~", "a", "{root}"] {
            assert_eq!(broken("a.rs", &format!("{inner}{}x", ELSEWHERE[0])), 0, "a folder of that name");
        }
        assert_eq!(broken("README.md", "run `cargo xtask demo`, then `cargo xtask test`"), 0);
        assert_eq!(broken("README.md", "`cargo xtask demo` or `cargo xtask dmeo`"), 1);
    }
}
