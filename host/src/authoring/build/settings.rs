//! `[build]` of a `portcullis.toml`: how its component is made. Pure.

use toml::de::DeTable;

use crate::authoring::project::Language;
use crate::policy::Diagnostic;
use crate::policy::parse::BUILD_KEY;
use crate::policy::parse::reader::{Keys, Node, Reader, Table};
use crate::policy::parse::values::Problem;

const KEYS: Keys<'static> = Keys { known: &["language", "world", "wit", "sources"], later: &[] };

/// The most sources that are named.
const SOURCES_MAX: usize = 256;

/// How a component is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BuildSettings {
    pub(super) language: Language,
    /// The world of `wit/` that it implements; `None` for that which is the only one.
    pub(super) world: Option<String>,
    /// The folder of WIT, below the project's.
    pub(super) wit: String,
    /// The sources that the toolchain is given: a module for Python, a file for JavaScript, files for C.
    pub(super) sources: Vec<String>,
}

/// Reads `[build]`; all else was read before.
pub(super) fn parse(text: &str) -> Result<BuildSettings, Vec<Diagnostic>> {
    let mut reader = Reader::new(text);
    let (document, _) = DeTable::parse_recoverable(text);
    let root = Table { key: String::new(), span: 0..0, entries: document.get_ref() };
    let read = read(&mut reader, &root);
    let diagnostics = reader.into_diagnostics();
    let is_right = diagnostics.is_empty();
    read.filter(|_| is_right).ok_or(diagnostics)
}

fn read(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> Option<BuildSettings> {
    let Some(node) = root.child(BUILD_KEY) else {
        let help = "write [build] with language = \"rust\" (or python, javascript, c)";
        reader.report(0..0, BUILD_KEY, Problem::new("`[build]` is missing", help));
        return None;
    };
    let table = reader.table(&node)?;
    reader.check_keys(&table, KEYS);
    let language = reader.required(&table, "language").and_then(|node| {
        let text = reader.string(&node)?;
        let parsed = text.parse::<Language>();
        reader.keep(
            &node,
            parsed.map_err(|help| Problem::new(format!("{text:?} is not a language that is built"), &help)),
        )
    });
    let world = table.child("world").and_then(|node| name(reader, &node));
    let wit = match table.child("wit") {
        Some(node) => name(reader, &node),
        None => Some("wit".to_owned()),
    };
    let sources = match table.child("sources") {
        Some(node) => {
            let items = reader.list(&node)?;
            if items.is_empty() || items.len() > SOURCES_MAX {
                reader.report_node(&node, Problem::new(format!("1 to {SOURCES_MAX} sources are named"), ""));
            }
            Some(items.iter().filter_map(|item| name(reader, item)).collect())
        }
        None => Some(Vec::new()),
    };
    Some(BuildSettings { language: language?, world, wit: wit?, sources: sources? })
}

/// A name or relative path, of which a program can't take a part for an option or for a place outside.
fn name(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<String> {
    let text = reader.string(node)?;
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
    };
    let is_name = text.len() <= 200 && text.split('/').all(is_plain);
    let help = "write a name or a path below the project's folder, of letters, digits, '.', '_', '-' and '/'";
    let problem = || Problem::new("this is no name here", help);
    reader.keep(node, if is_name { Ok(text.to_owned()) } else { Err(problem()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_new_projects_have_it() {
        let settings = parse("[build]\nlanguage = \"c\"\n").expect("settings");
        let expected =
            BuildSettings { language: Language::C, world: None, wit: "wit".to_owned(), sources: Vec::new() };
        assert_eq!(settings, expected);
        let settings = parse("[build]\nlanguage = \"python\"\nworld = \"w\"\nsources = [\"a/b.c\"]\n")
            .expect("settings");
        assert_eq!((settings.world.as_deref(), settings.sources), (Some("w"), vec!["a/b.c".to_owned()]));
    }

    #[test]
    fn what_leads_outside_or_reads_as_an_option_is_refused() {
        for bad in [
            "",
            "[build]",
            "[build]\nlanguage = \"cobol\"",
            "[build]\nlanguage = \"c\"\nflags = []",
            "[build]\nlanguage = \"c\"\nsources = []",
            "[build]\nlanguage = \"c\"\nsources = [\"../a.c\"]",
            "[build]\nlanguage = \"c\"\nsources = [\"/a.c\"]",
            "[build]\nlanguage = \"c\"\nsources = [\"-o\"]",
            "[build]\nlanguage = \"c\"\nwit = \"a b\"",
        ] {
            assert!(!parse(bad).expect_err("refused").is_empty(), "{bad}");
        }
    }
}
