//! The SDKs that this program carries, so that a project can be made where nothing else is: their sources, and the WIT
//! of what they export and import. None of them is published.

use super::project::Language;

/// Cargo.toml of the Rust SDK, as a package of its own.
const SDK_CARGO: &str = include_str!("templates/sdk/Cargo.toml");
/// The worlds of the helpers.
const SDK_WIT: &str = include_str!("../../../guest-sdk/wit/sdk.wit");
const MACROS_CARGO: &str = include_str!("templates/sdk/macros.Cargo.toml");

/// Each file of a language's SDK with its path below a project's folder; nothing for a language that has none.
pub(super) fn files(language: Language) -> Vec<(String, &'static str)> {
    let placed = |sources: &'static [Source], from: &'static str, to: &'static str| {
        sources
            .iter()
            .map(move |(path, text)| (format!("{to}{}", path.strip_prefix(from).unwrap_or(path)), *text))
    };
    match language {
        Language::Rust => {
            let mut files: Vec<_> = placed(RUST, "", "sdk/").chain(placed(WIT, "", "sdk/")).collect();
            files.push(("sdk/guest-sdk/Cargo.toml".to_owned(), SDK_CARGO));
            files.push(("sdk/guest-sdk/macros/Cargo.toml".to_owned(), MACROS_CARGO));
            files
        }
        Language::Python => placed(PYTHON, "guest-sdk/python/", "").chain(wit_of_project()).collect(),
        Language::JavaScript => {
            placed(JAVASCRIPT, "guest-sdk/javascript/", "sdk/").chain(wit_of_project()).collect()
        }
        Language::C => Vec::new(),
    }
}

/// The WIT as a project has it whose world includes ours: each package in a folder of `wit/deps`.
fn wit_of_project() -> impl Iterator<Item = (String, &'static str)> {
    WIT.iter().map(|(path, text)| {
        let below = if let Some(dependency) = path.strip_prefix("wit/deps/") {
            dependency.to_owned()
        } else if let Some(own) = path.strip_prefix("wit/") {
            format!("portcullis-tool/{own}")
        } else {
            format!("portcullis-sdk/{}", path.trim_start_matches("guest-sdk/wit/"))
        };
        (format!("wit/deps/{below}"), *text)
    })
}

/// A file of the repository: its path and what it holds.
type Source = (&'static str, &'static str);

/// The Rust SDK, as it is in the repository.
#[rustfmt::skip]
const RUST: &[Source] = &[
    ("guest-sdk/macros/src/documentation.rs", include_str!("../../../guest-sdk/macros/src/documentation.rs")),
    ("guest-sdk/macros/src/expand.rs", include_str!("../../../guest-sdk/macros/src/expand.rs")),
    ("guest-sdk/macros/src/lib.rs", include_str!("../../../guest-sdk/macros/src/lib.rs")),
    ("guest-sdk/macros/src/name.rs", include_str!("../../../guest-sdk/macros/src/name.rs")),
    ("guest-sdk/macros/src/parameter.rs", include_str!("../../../guest-sdk/macros/src/parameter.rs")),
    ("guest-sdk/src/arguments.rs", include_str!("../../../guest-sdk/src/arguments.rs")),
    ("guest-sdk/src/component.rs", include_str!("../../../guest-sdk/src/component.rs")),
    ("guest-sdk/src/config.rs", include_str!("../../../guest-sdk/src/config.rs")),
    ("guest-sdk/src/content.rs", include_str!("../../../guest-sdk/src/content.rs")),
    ("guest-sdk/src/error.rs", include_str!("../../../guest-sdk/src/error.rs")),
    ("guest-sdk/src/host/component.rs", include_str!("../../../guest-sdk/src/host/component.rs")),
    ("guest-sdk/src/host/component/exchange.rs", include_str!("../../../guest-sdk/src/host/component/exchange.rs")),
    ("guest-sdk/src/host/mod.rs", include_str!("../../../guest-sdk/src/host/mod.rs")),
    ("guest-sdk/src/host/stand_in.rs", include_str!("../../../guest-sdk/src/host/stand_in.rs")),
    ("guest-sdk/src/http.rs", include_str!("../../../guest-sdk/src/http.rs")),
    ("guest-sdk/src/invoke.rs", include_str!("../../../guest-sdk/src/invoke.rs")),
    ("guest-sdk/src/kv.rs", include_str!("../../../guest-sdk/src/kv.rs")),
    ("guest-sdk/src/lib.rs", include_str!("../../../guest-sdk/src/lib.rs")),
    ("guest-sdk/src/log.rs", include_str!("../../../guest-sdk/src/log.rs")),
    ("guest-sdk/src/output.rs", include_str!("../../../guest-sdk/src/output.rs")),
    ("guest-sdk/src/progress.rs", include_str!("../../../guest-sdk/src/progress.rs")),
    ("guest-sdk/src/schema.rs", include_str!("../../../guest-sdk/src/schema.rs")),
    ("guest-sdk/src/secrets.rs", include_str!("../../../guest-sdk/src/secrets.rs")),
    ("guest-sdk/src/testing.rs", include_str!("../../../guest-sdk/src/testing.rs")),
    ("guest-sdk/src/testing/furnish.rs", include_str!("../../../guest-sdk/src/testing/furnish.rs")),
    ("guest-sdk/src/tool.rs", include_str!("../../../guest-sdk/src/tool.rs")),
];

/// What tools export and import.
#[rustfmt::skip]
const WIT: &[Source] = &[
    ("wit/deps/cli/package.wit", include_str!("../../../wit/deps/cli/package.wit")),
    ("wit/deps/clocks/package.wit", include_str!("../../../wit/deps/clocks/package.wit")),
    ("wit/deps/config/store.wit", include_str!("../../../wit/deps/config/store.wit")),
    ("wit/deps/config/world.wit", include_str!("../../../wit/deps/config/world.wit")),
    ("wit/deps/filesystem/package.wit", include_str!("../../../wit/deps/filesystem/package.wit")),
    ("wit/deps/http/package.wit", include_str!("../../../wit/deps/http/package.wit")),
    ("wit/deps/io/package.wit", include_str!("../../../wit/deps/io/package.wit")),
    ("wit/deps/keyvalue/atomic.wit", include_str!("../../../wit/deps/keyvalue/atomic.wit")),
    ("wit/deps/keyvalue/batch.wit", include_str!("../../../wit/deps/keyvalue/batch.wit")),
    ("wit/deps/keyvalue/store.wit", include_str!("../../../wit/deps/keyvalue/store.wit")),
    ("wit/deps/keyvalue/watch.wit", include_str!("../../../wit/deps/keyvalue/watch.wit")),
    ("wit/deps/keyvalue/world.wit", include_str!("../../../wit/deps/keyvalue/world.wit")),
    ("wit/deps/logging/package.wit", include_str!("../../../wit/deps/logging/package.wit")),
    ("wit/deps/random/package.wit", include_str!("../../../wit/deps/random/package.wit")),
    ("wit/deps/sockets/package.wit", include_str!("../../../wit/deps/sockets/package.wit")),
    ("wit/invoke.wit", include_str!("../../../wit/invoke.wit")),
    ("wit/progress.wit", include_str!("../../../wit/progress.wit")),
    ("wit/secrets.wit", include_str!("../../../wit/secrets.wit")),
    ("wit/tools.wit", include_str!("../../../wit/tools.wit")),
    ("wit/world.wit", include_str!("../../../wit/world.wit")),
    ("guest-sdk/wit/sdk.wit", SDK_WIT),
];

/// The Python SDK.
#[rustfmt::skip]
const PYTHON: &[Source] = &[
    ("guest-sdk/python/portcullis_sdk/__init__.py", include_str!("../../../guest-sdk/python/portcullis_sdk/__init__.py")),
    ("guest-sdk/python/portcullis_sdk/_component/__init__.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/__init__.py")),
    ("guest-sdk/python/portcullis_sdk/_component/config.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/config.py")),
    ("guest-sdk/python/portcullis_sdk/_component/http.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/http.py")),
    ("guest-sdk/python/portcullis_sdk/_component/invoke.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/invoke.py")),
    ("guest-sdk/python/portcullis_sdk/_component/kv.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/kv.py")),
    ("guest-sdk/python/portcullis_sdk/_component/log.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/log.py")),
    ("guest-sdk/python/portcullis_sdk/_component/progress.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/progress.py")),
    ("guest-sdk/python/portcullis_sdk/_component/secrets.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/secrets.py")),
    ("guest-sdk/python/portcullis_sdk/_component/tools.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_component/tools.py")),
    ("guest-sdk/python/portcullis_sdk/_content.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_content.py")),
    ("guest-sdk/python/portcullis_sdk/_error.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_error.py")),
    ("guest-sdk/python/portcullis_sdk/_host.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_host.py")),
    ("guest-sdk/python/portcullis_sdk/_http.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_http.py")),
    ("guest-sdk/python/portcullis_sdk/_invoke_error.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_invoke_error.py")),
    ("guest-sdk/python/portcullis_sdk/_kv_error.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_kv_error.py")),
    ("guest-sdk/python/portcullis_sdk/_schema.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_schema.py")),
    ("guest-sdk/python/portcullis_sdk/_secret_error.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_secret_error.py")),
    ("guest-sdk/python/portcullis_sdk/_stand_in.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_stand_in.py")),
    ("guest-sdk/python/portcullis_sdk/_tool.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_tool.py")),
    ("guest-sdk/python/portcullis_sdk/_values.py", include_str!("../../../guest-sdk/python/portcullis_sdk/_values.py")),
    ("guest-sdk/python/portcullis_sdk/config.py", include_str!("../../../guest-sdk/python/portcullis_sdk/config.py")),
    ("guest-sdk/python/portcullis_sdk/http.py", include_str!("../../../guest-sdk/python/portcullis_sdk/http.py")),
    ("guest-sdk/python/portcullis_sdk/invoke.py", include_str!("../../../guest-sdk/python/portcullis_sdk/invoke.py")),
    ("guest-sdk/python/portcullis_sdk/kv.py", include_str!("../../../guest-sdk/python/portcullis_sdk/kv.py")),
    ("guest-sdk/python/portcullis_sdk/log.py", include_str!("../../../guest-sdk/python/portcullis_sdk/log.py")),
    ("guest-sdk/python/portcullis_sdk/progress.py", include_str!("../../../guest-sdk/python/portcullis_sdk/progress.py")),
    ("guest-sdk/python/portcullis_sdk/py.typed", include_str!("../../../guest-sdk/python/portcullis_sdk/py.typed")),
    ("guest-sdk/python/portcullis_sdk/secrets.py", include_str!("../../../guest-sdk/python/portcullis_sdk/secrets.py")),
    ("guest-sdk/python/portcullis_sdk/testing/__init__.py", include_str!("../../../guest-sdk/python/portcullis_sdk/testing/__init__.py")),
    ("guest-sdk/python/portcullis_sdk/testing/_check.py", include_str!("../../../guest-sdk/python/portcullis_sdk/testing/_check.py")),
    ("guest-sdk/python/portcullis_sdk/testing/furnish.py", include_str!("../../../guest-sdk/python/portcullis_sdk/testing/furnish.py")),
];

/// The JavaScript SDK.
#[rustfmt::skip]
const JAVASCRIPT: &[Source] = &[
    ("guest-sdk/javascript/config.d.ts", include_str!("../../../guest-sdk/javascript/config.d.ts")),
    ("guest-sdk/javascript/config.js", include_str!("../../../guest-sdk/javascript/config.js")),
    ("guest-sdk/javascript/content.d.ts", include_str!("../../../guest-sdk/javascript/content.d.ts")),
    ("guest-sdk/javascript/content.js", include_str!("../../../guest-sdk/javascript/content.js")),
    ("guest-sdk/javascript/error.d.ts", include_str!("../../../guest-sdk/javascript/error.d.ts")),
    ("guest-sdk/javascript/error.js", include_str!("../../../guest-sdk/javascript/error.js")),
    ("guest-sdk/javascript/http.d.ts", include_str!("../../../guest-sdk/javascript/http.d.ts")),
    ("guest-sdk/javascript/http.js", include_str!("../../../guest-sdk/javascript/http.js")),
    ("guest-sdk/javascript/index.d.ts", include_str!("../../../guest-sdk/javascript/index.d.ts")),
    ("guest-sdk/javascript/index.js", include_str!("../../../guest-sdk/javascript/index.js")),
    ("guest-sdk/javascript/invoke.d.ts", include_str!("../../../guest-sdk/javascript/invoke.d.ts")),
    ("guest-sdk/javascript/invoke.js", include_str!("../../../guest-sdk/javascript/invoke.js")),
    ("guest-sdk/javascript/kv.d.ts", include_str!("../../../guest-sdk/javascript/kv.d.ts")),
    ("guest-sdk/javascript/kv.js", include_str!("../../../guest-sdk/javascript/kv.js")),
    ("guest-sdk/javascript/log.d.ts", include_str!("../../../guest-sdk/javascript/log.d.ts")),
    ("guest-sdk/javascript/log.js", include_str!("../../../guest-sdk/javascript/log.js")),
    ("guest-sdk/javascript/package.json", include_str!("../../../guest-sdk/javascript/package.json")),
    ("guest-sdk/javascript/progress.d.ts", include_str!("../../../guest-sdk/javascript/progress.d.ts")),
    ("guest-sdk/javascript/progress.js", include_str!("../../../guest-sdk/javascript/progress.js")),
    ("guest-sdk/javascript/schema.d.ts", include_str!("../../../guest-sdk/javascript/schema.d.ts")),
    ("guest-sdk/javascript/schema.js", include_str!("../../../guest-sdk/javascript/schema.js")),
    ("guest-sdk/javascript/secrets.d.ts", include_str!("../../../guest-sdk/javascript/secrets.d.ts")),
    ("guest-sdk/javascript/secrets.js", include_str!("../../../guest-sdk/javascript/secrets.js")),
    ("guest-sdk/javascript/testing.d.ts", include_str!("../../../guest-sdk/javascript/testing.d.ts")),
    ("guest-sdk/javascript/testing.js", include_str!("../../../guest-sdk/javascript/testing.js")),
    ("guest-sdk/javascript/testing/check.js", include_str!("../../../guest-sdk/javascript/testing/check.js")),
    ("guest-sdk/javascript/testing/furnish.js", include_str!("../../../guest-sdk/javascript/testing/furnish.js")),
    ("guest-sdk/javascript/testing/host/config.js", include_str!("../../../guest-sdk/javascript/testing/host/config.js")),
    ("guest-sdk/javascript/testing/host/http.js", include_str!("../../../guest-sdk/javascript/testing/host/http.js")),
    ("guest-sdk/javascript/testing/host/invoke.js", include_str!("../../../guest-sdk/javascript/testing/host/invoke.js")),
    ("guest-sdk/javascript/testing/host/keyvalue.js", include_str!("../../../guest-sdk/javascript/testing/host/keyvalue.js")),
    ("guest-sdk/javascript/testing/host/logging.js", include_str!("../../../guest-sdk/javascript/testing/host/logging.js")),
    ("guest-sdk/javascript/testing/host/progress.js", include_str!("../../../guest-sdk/javascript/testing/host/progress.js")),
    ("guest-sdk/javascript/testing/host/secrets.js", include_str!("../../../guest-sdk/javascript/testing/host/secrets.js")),
    ("guest-sdk/javascript/testing/register.js", include_str!("../../../guest-sdk/javascript/testing/register.js")),
    ("guest-sdk/javascript/testing/world.js", include_str!("../../../guest-sdk/javascript/testing/world.js")),
    ("guest-sdk/javascript/tool.d.ts", include_str!("../../../guest-sdk/javascript/tool.d.ts")),
    ("guest-sdk/javascript/tool.js", include_str!("../../../guest-sdk/javascript/tool.js")),
    ("guest-sdk/javascript/values.js", include_str!("../../../guest-sdk/javascript/values.js")),
];

/// The helper of the SDKs whose world imports an interface, and the line that includes it.
pub(super) fn helper_of(interface: &str) -> Option<(&'static str, String)> {
    let wit = SDK_WIT.lines().map(str::trim);
    let package = SDK_WIT.lines().find_map(|line| line.strip_prefix("package ")?.strip_suffix(';'))?;
    let (package, version) = package.split_once('@')?;
    let mut world = None;
    for line in wit {
        if let Some(name) = line.strip_prefix("world ") {
            world = name.strip_suffix(" {");
        } else if line.strip_prefix("import ").and_then(|line| line.strip_suffix(';')) == Some(interface) {
            return world.map(|world| (world, format!("include {package}/{world}@{version};")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn found(folder: &Path, root: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found(&path, root, into);
            } else if !path.to_string_lossy().contains("__pycache__") {
                into.insert(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn it_is_all_that_the_repository_has() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let mut expected = BTreeSet::new();
        for folder in [
            "guest-sdk/src",
            "guest-sdk/macros/src",
            "guest-sdk/python/portcullis_sdk",
            "guest-sdk/javascript",
            "guest-sdk/wit",
            "wit",
        ] {
            found(&root.join(folder), root, &mut expected);
        }
        let not_carried = [
            "guest-sdk/macros/src/tests.rs",
            "guest-sdk/javascript/README.md",
            "wit/README.md",
            "wit/deps.sha256",
        ];
        expected.retain(|path| {
            !not_carried.contains(&path.as_str()) && !path.starts_with("guest-sdk/javascript/tests/")
        });
        let all = [RUST, WIT, PYTHON, JAVASCRIPT].concat();
        let carried: BTreeSet<String> = all.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(carried, expected);
    }

    #[test]
    fn it_depends_on_what_the_repositorys_depends_on() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let read = |path: &str| crate::authoring::files::read_text(&root.join(path), 1 << 20).expect("there");
        let tables = |text: &str| -> toml::Table { text.parse().expect("TOML") };
        let workspace = tables(&read("Cargo.toml"));
        let plain = |value: &toml::Value| {
            let version = || toml::Table::from_iter([("version".to_owned(), value.clone())]);
            value.as_table().cloned().unwrap_or_else(version)
        };
        for (own, carried) in
            [("guest-sdk/Cargo.toml", SDK_CARGO), ("guest-sdk/macros/Cargo.toml", MACROS_CARGO)]
        {
            let (own, carried) = (tables(&read(own)), tables(carried));
            let mut expected = own["dependencies"].as_table().expect("a table").clone();
            for (name, wanted) in &mut expected {
                let Some(wanted) = wanted.as_table_mut() else { continue };
                if wanted.remove("workspace").is_some() {
                    let rest = wanted.clone();
                    let shared = workspace["workspace"]["dependencies"][name].clone();
                    *wanted = plain(&shared);
                    wanted.extend(rest);
                }
            }
            let written = carried["dependencies"].as_table().expect("a table");
            for (name, wanted) in &expected {
                assert_eq!(written.get(name).map(plain), Some(plain(wanted)), "{name}");
            }
            assert_eq!(written.len(), expected.len());
        }
    }
}
