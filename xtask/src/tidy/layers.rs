//! The layers of the host: its modules import downwards only, and each library of the outside is
//! seen in its one home only.

use super::File;
use super::source::{Token, tokens};

/// The modules of the host, from the top down. Those on one line do not know each other, but for
/// the last: plain data.
const LAYERS: [&[&str]; 13] = [
    &["main", "cli"],
    &["api"],
    &["gateway", "doctor"],
    &["sandbox", "registry", "backup", "outlets", "authoring"],
    &["audit"],
    &["authn"],
    &["secrets"],
    &["database"],
    // Below the database, which keeps grants: policy is pure, and needs no more than what egress writes
    // hosts and paths with.
    &["policy"],
    &["egress"],
    &["config"],
    &["platform", "hardening"],
    &["package", "arguments", "limits", "ids", "text", "wildcard", "fairness", "signing", "bell"],
];

/// Where a library of the outside may be seen, and why nowhere else.
const HOMES: [(&str, &str, &str); 7] = [
    ("wasmtime", "sandbox", "a sandbox must be able to move to another process without a change above it"),
    ("wasmtime_wasi", "sandbox", "a capability that bypasses the gate could not be seen from outside"),
    ("wasmtime_wasi_http", "sandbox", "a capability that bypasses the gate could not be seen from outside"),
    ("axum", "api", "protocols are translated at the edge; what lies below knows calls only"),
    ("rmcp", "api", "protocols are translated at the edge; what lies below knows calls only"),
    ("clap", "cli", "arguments are translated at the edge; what lies below knows checked values only"),
    ("sqlx", "database", "SQL stays portable because one place speaks it"),
];

const SOURCES: &str = "host/src/";

/// Names what imports upwards or sideways, or sees a library away from its home.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        let Some(module) = file.path.strip_prefix(SOURCES).filter(|path| path.ends_with(".rs")) else {
            continue;
        };
        let own = module.split('/').next().unwrap_or(module).trim_end_matches(".rs");
        if own == "lib" {
            continue;
        }
        let Some(own_layer) = layer(own) else {
            broken.push(format!(
                "{}: module `{own}` has no layer. Say in xtask/src/tidy/layers.rs where it belongs, so that \
                 imports point down only.",
                file.path
            ));
            continue;
        };
        let tokens = tokens(&file.text);
        for (target, line) in imports(&tokens, depth(module)) {
            if let Some(reason) = forbidden(own, own_layer, &target) {
                broken.push(format!("{}:{line}: `{own}` imports `{target}`: {reason}", file.path));
            }
        }
        broken.extend(strangers(&tokens, own).into_iter().map(|(library, line, home, reason)| {
            format!("{}:{line}: `{library}` is seen outside of `{home}`: {reason}", file.path)
        }));
    }
    broken
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn forbidden(own: &str, own_layer: usize, target: &str) -> Option<String> {
    // A name of the crate's root that is no module of it, such as a re-export, has no layer.
    let target_layer = layer(target)?;
    if target == own || target_layer > own_layer || own_layer == LAYERS.len() - 1 && target_layer == own_layer
    {
        return None;
    }
    Some(if target_layer == own_layer {
        "they stand side by side and must be replaceable one without the other".to_owned()
    } else {
        format!(
            "it is above. Imports point down only ({}); to reach up, define a trait that the upper one implements.",
            LAYERS.map(|layer| layer.join(", ")).join(" → ")
        )
    })
}

/// How many `super` lead from a module's file to the crate's root.
fn depth(module: &str) -> usize {
    let folders = module.matches('/').count();
    if module.ends_with("/mod.rs") { folders } else { folders + 1 }
}

/// The first names of all paths that begin at the crate's root, with their lines.
fn imports(tokens: &[Token], depth: usize) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    for at in 0..tokens.len() {
        if text(at + 1) != "::" {
            continue;
        }
        if text(at) == "crate" && (at == 0 || text(at - 1) != "$") {
            found.extend(first_names(tokens, at + 2));
        }
        if text(at) == "super" && (at == 0 || text(at - 1) != "::") {
            let mut after = at + 2;
            let mut steps = 1;
            while text(after) == "super" && text(after + 1) == "::" {
                (after, steps) = (after + 2, steps + 1);
            }
            if steps >= depth {
                found.extend(first_names(tokens, after));
            }
        }
    }
    found
}

/// The name at `at`, or the first name of each path in a group `{…}`.
fn first_names(tokens: &[Token], at: usize) -> Vec<(String, usize)> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.text.clone(), first.line)];
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut expected = false;
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                expected = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => expected = depth == 1,
            name => {
                if expected {
                    names.push((name.to_owned(), token.line));
                }
                expected = false;
            }
        }
    }
    names
}

/// Libraries that are named in a path away from their home.
fn strangers(tokens: &[Token], own: &str) -> Vec<(&'static str, usize, &'static str, &'static str)> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        // `a::wasmtime::b` and `crate::…` name modules of ours.
        let begins = at == 0 || tokens[at - 1].text != "::";
        if !begins || pair[1].text != "::" {
            continue;
        }
        for (library, home, reason) in HOMES {
            if pair[0].text == library && own != home {
                found.push((library, pair[0].line, home, reason));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        check(&[File { path: format!("host/src/{path}"), text: text.to_owned() }])
    }

    #[test]
    fn imports_down_are_fine() {
        assert_eq!(broken("gateway.rs", "use crate::{audit::Recorder, policy, ids::{A, B}};"), [""; 0]);
        assert_eq!(
            broken("policy/grant.rs", "use super::parse; use crate::policy::x; use crate::ids;"),
            [""; 0]
        );
        assert_eq!(broken("ids.rs", "use crate::limits::Limit; // use crate::gateway"), [""; 0]);
        assert_eq!(broken("policy/mod.rs", "macro_rules! m { () => { $crate::cli::x() } }"), [""; 0]);
        assert_eq!(broken("lib.rs", "pub use crate::gateway::Gateway;"), [""; 0]);
    }

    #[test]
    fn imports_up_or_sideways_are_named_with_their_line() {
        let up = broken("policy/grant.rs", "\nuse crate::{\n ids::A,\n gateway::B,\n};");
        assert_eq!(up.len(), 1, "{up:?}");
        assert!(up[0].starts_with("host/src/policy/grant.rs:4: `policy` imports `gateway`"), "{up:?}");
        assert_eq!(broken("sandbox/mod.rs", "fn f(_: crate::registry::R) {}").len(), 1);
        assert_eq!(broken("audit/mod.rs", "use super::gateway::G;").len(), 1);
        assert_eq!(broken("audit/event.rs", "use super::super::gateway::G;").len(), 1);
        assert_eq!(broken("audit/event.rs", "use super::gateway::G;"), [""; 0], "a module of its own");
        assert_eq!(broken("limits.rs", "use crate::policy::Grant;").len(), 1);
        assert!(broken("telemetry.rs", "")[0].contains("has no layer"));
    }

    #[test]
    fn a_library_is_seen_in_its_home_only() {
        assert_eq!(broken("sandbox/engine.rs", "use wasmtime::Engine;"), [""; 0]);
        assert_eq!(broken("gateway.rs", "use wasmtime::Engine;").len(), 1);
        assert_eq!(broken("registry/mod.rs", "fn f() { sqlx::query(x) }").len(), 1);
        assert_eq!(broken("gateway.rs", "// wasmtime::Engine\nlet x = \"sqlx::query\";"), [""; 0]);
    }
}
