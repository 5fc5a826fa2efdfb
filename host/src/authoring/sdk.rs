//! The Rust SDK that this program carries, so that a project can be made where nothing else is: its sources, and the
//! WIT that they are generated from. The crates are not published.

/// Cargo.toml of the SDK, as a package of its own.
const SDK_CARGO: &str = include_str!("templates/sdk/Cargo.toml");
const MACROS_CARGO: &str = include_str!("templates/sdk/macros.Cargo.toml");

/// Each file with its path below the folder `sdk`.
pub(super) fn files() -> Vec<(&'static str, String)> {
    let mut files: Vec<(&'static str, String)> =
        SOURCES.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    files.push(("guest-sdk/Cargo.toml", SDK_CARGO.to_owned()));
    files.push(("guest-sdk/macros/Cargo.toml", MACROS_CARGO.to_owned()));
    files
}

/// As they are in the repository.
#[rustfmt::skip]
const SOURCES: &[(&str, &str)] = &[
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
];

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
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "wit") {
                into.insert(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn it_is_all_that_the_repository_has() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let mut expected = BTreeSet::new();
        for folder in ["guest-sdk/src", "guest-sdk/macros/src", "wit"] {
            found(&root.join(folder), root, &mut expected);
        }
        expected.remove("guest-sdk/macros/src/tests.rs");
        let carried: BTreeSet<String> = SOURCES.iter().map(|(path, _)| (*path).to_owned()).collect();
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
