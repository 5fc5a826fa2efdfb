//! The threat model's table: each row names tests, and each test that it names exists.

use super::File;

const TABLE: &str = "docs/threat-model.md";

/// Names each row without a test, and each test that is not there.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let Some(table) = files.iter().find(|file| file.path == TABLE) else {
        return vec![format!("{TABLE} is missing: it says what the host must withstand, and by which test")];
    };
    let mut broken = Vec::new();
    for (index, line) in table.text.lines().enumerate() {
        let Some(tests) = tests_of_row(line) else { continue };
        let place = format!("{TABLE}:{}", index + 1);
        let named = named_tests(tests);
        if named.is_empty() {
            broken.push(format!("{place}: this threat names no test"));
        }
        for (path, functions) in named {
            broken.extend(missing(files, path, &functions).map(|what| format!("{place}: {what}")));
        }
    }
    broken
}

/// The last cell of a row that begins with the number of a case, or a dash for a threat without one.
fn tests_of_row(line: &str) -> Option<&str> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let (first, last) = (cells.first()?, cells.last()?);
    first.starts_with(|c: char| c.is_ascii_digit() || c == '–').then_some(last)
}

/// `` `a.rs` one, two, `b/` ``: paths, each with the functions behind it.
fn named_tests(cell: &str) -> Vec<(&str, Vec<&str>)> {
    let parts: Vec<&str> = cell.split('`').collect();
    let pairs = parts.get(1..).unwrap_or_default().chunks(2);
    pairs
        // A soak that goes on with a test is a command, and held to the list of chores elsewhere.
        .filter(|pair| !pair[0].starts_with("cargo xtask "))
        .map(|pair| {
            let behind = pair.get(1).copied().unwrap_or_default();
            let names = behind.split([',', ' ', ';']).filter(|name| !name.is_empty());
            (pair[0], names.collect())
        })
        .collect()
}

fn missing<'a>(
    files: &'a [File],
    path: &'a str,
    functions: &'a [&'a str],
) -> impl Iterator<Item = String> + 'a {
    let in_tests = format!("tests/{path}");
    let found: Vec<&File> = files
        .iter()
        .filter(|file| {
            let whole =
                |path: &str| file.path == path || (path.ends_with('/') && file.path.starts_with(path));
            whole(path) || whole(&in_tests)
        })
        .collect();
    let none = found.is_empty().then(|| format!("there is no `{path}`, neither in tests/ nor in the root"));
    let lost = functions.iter().filter(move |function| {
        let wanted = format!("fn {function}(");
        !found.is_empty() && !found.iter().any(|file| file.text.contains(&wanted))
    });
    none.into_iter().chain(lost.map(move |function| format!("`{path}` has no test `{function}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_row_without_a_test_that_exists_is_named() {
        let table = "| case | what | test |\n| --- | --- | --- |\n| 1 | loops | `bounded.rs` fuel, time, `cargo xtask soak calls` |\n\
                     | 2, 3 | more | |\n| 4 | gone | `gone.rs` |\n| 5 | all | `host/src/policy/` |\n";
        let files = [
            file(TABLE, table),
            file("tests/bounded.rs", "async fn fuel() {}"),
            file("host/src/policy/mod.rs", ""),
        ];
        let broken = check(&files);
        assert_eq!(broken.len(), 3, "{broken:#?}");
        assert!(broken[0].contains(":3: `bounded.rs` has no test `time`"), "{broken:#?}");
        assert!(broken[1].contains(":4: this threat names no test"), "{broken:#?}");
        assert!(broken[2].contains(":5: there is no `gone.rs`"), "{broken:#?}");
    }
}
