//! The ways around the gate: what `clippy.toml` forbids of the engine's crates must be proved to be seen
//! by clippy, is not named in the host's sources, and whole interfaces are linked to the gate only.
//!
//! Clippy itself judges by resolved paths; this rule judges by names, so that an `allow` in a source
//! does not go unnoticed either.

use super::File;
use super::source::{Token, tokens};

const LIST: &str = "clippy.toml";
/// Where each forbidden function is named, and clippy expected to say so.
const PROOF: &str = "host/src/sandbox/capabilities/tests/ways_around.rs";
const SOURCES: &str = "host/src/";
/// What follows `add_to_linker` where an interface is linked: the traits that the gate's own state
/// implements, and no other's.
const LINKED_TO_THE_GATE: [&str; 6] = ["::", "<", "_", ",", "This", ">"];
/// Names that are too common to be looked for in the sources; clippy's paths are exact.
const COMMON: [&str; 2] = ["module", "resource"];

/// Names what breaks the rule.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    let forbidden: Vec<&str> = text(LIST).lines().filter_map(engine_path).collect();
    let proved = tokens(text(PROOF));
    let mut broken = Vec::new();
    if forbidden.is_empty() {
        broken.push(format!("{LIST}: forbids nothing of the engine's crates"));
    }
    for path in forbidden.iter().filter(|path| !proves(&proved, path)) {
        broken.push(format!(
            "{PROOF}: does not name `{path}`, which {LIST} forbids: whether clippy sees it is not known"
        ));
    }
    let names: Vec<&str> =
        forbidden.iter().map(|path| last(path)).filter(|name| !COMMON.contains(name)).collect();
    for file in files.iter().filter(|file| is_source(&file.path)) {
        let tokens = tokens(&file.text);
        for (at, token) in tokens.iter().enumerate() {
            let place = format!("{}:{}", file.path, token.line);
            if names.contains(&token.text.as_str()) {
                broken.push(format!("{place}: `{}` goes around the gate; {LIST} says why", token.text));
            }
            if token.text == "add_to_linker" && links_elsewhere(&tokens[..at], &tokens[at + 1..]) {
                broken.push(format!(
                    "{place}: an interface is linked to something else than the gate's own state: write \
                     `add_to_linker::<_, This>`"
                ));
            }
        }
    }
    broken
}

/// The path of a line of the list, if it is one of the engine's crates that is compiled in.
fn engine_path(line: &str) -> Option<&str> {
    let path = line.trim_start().strip_prefix("{ path = \"")?.split('"').next()?;
    (path.starts_with("wasmtime") && !line.contains("allow-invalid")).then_some(path)
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// A function is named by its whole path, a method by its name.
fn proves(tokens: &[Token], path: &str) -> bool {
    let words: Vec<&str> = path.split("::").collect();
    let is_method = words.iter().any(|word| word.starts_with(char::is_uppercase));
    let mut wanted: Vec<&str> = words.iter().flat_map(|word| ["::", *word]).skip(1).collect();
    if is_method {
        wanted = vec![last(path), "("];
    }
    tokens
        .windows(wanted.len())
        .any(|window| window.iter().zip(&wanted).all(|(token, word)| token.text == *word))
}

fn is_source(path: &str) -> bool {
    path.starts_with(SOURCES)
        && path.ends_with(".rs")
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
}

/// Whether this is a call, and not our own function or its definition, that links another state.
fn links_elsewhere(before: &[Token], after: &[Token]) -> bool {
    let text = |token: Option<&Token>| token.map_or(String::new(), |token| token.text.clone());
    let previous = text(before.last());
    let own = previous == "fn"
        || previous == "::" && before.len() > 1 && text(before.get(before.len() - 2)) == "capabilities";
    let linked = after.iter().zip(LINKED_TO_THE_GATE).filter(|(token, word)| token.text == *word).count();
    !own && linked < LINKED_TO_THE_GATE.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "disallowed-methods = [\n    { path = \"std::env::var\", reason = \"x\" },\n    \
        { path = \"wasmtime_wasi::p2::add_to_linker_sync\", reason = \"x\" },\n    \
        { path = \"wasmtime::component::Linker::allow_shadowing\", reason = \"x\" },\n    \
        { path = \"wasmtime_wasi::p1::f\", allow-invalid = true, reason = \"x\" },\n]\n";
    const PROVED: &str = "wasmtime_wasi::p2::add_to_linker_sync::<T>; l.allow_shadowing(true);";

    fn broken(toml: &str, proof: &str, source: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        check(&[file(LIST, toml), file(PROOF, proof), file("host/src/sandbox/mod.rs", source)])
    }

    #[test]
    fn each_forbidden_path_is_proved() {
        assert_eq!(broken(TOML, PROVED, ""), [""; 0]);
        assert_eq!(broken(TOML, "l.allow_shadowing(true);", "").len(), 1);
        assert_eq!(
            broken(TOML, "// wasmtime_wasi::p2::add_to_linker_sync\nl.allow_shadowing(true)", "").len(),
            1
        );
        assert_eq!(broken(TOML, "p2::add_to_linker_sync::<T>; allow_shadowing", "").len(), 2);
        assert_eq!(broken("", PROVED, "").len(), 1, "an empty list is no list");
    }

    #[test]
    fn sources_name_none_and_link_the_gate() {
        let one = broken(TOML, PROVED, "\n#[allow(clippy::all)] fn f() { l.allow_shadowing(true); }");
        assert_eq!(one.len(), 1, "{one:?}");
        assert!(one[0].starts_with("host/src/sandbox/mod.rs:2: `allow_shadowing`"), "{one:?}");
        let links = "wasi::io::poll::add_to_linker::<_, This>(l, this)?; capabilities::add_to_linker(&mut l); \
                     pub fn add_to_linker() {}";
        assert_eq!(broken(TOML, PROVED, links), [""; 0]);
        for around in [
            "wasi::io::poll::add_to_linker::<_, Theirs>(l, f)?",
            "p2::bindings::io::poll::add_to_linker(l, f)",
        ] {
            assert_eq!(broken(TOML, PROVED, around).len(), 1, "{around}");
        }
    }
}
