//! What a `Cargo.lock` says. Reads no file and knows nothing of components.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

/// How many packages `most_depended_on` names.
const MOST_DEPENDED_ON_MAX: usize = 10;

/// See `wit/world.wit`: each field is the one of the same name there.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    pub packages: u32,
    pub local: u32,
    pub depth: u32,
    pub duplicates: Vec<(String, Vec<String>)>,
    pub sources: Vec<(String, u32)>,
    pub without_checksum: Vec<String>,
    pub most_depended_on: Vec<(String, String, u32)>,
}

#[derive(Deserialize)]
struct Lockfile {
    #[serde(default)]
    version: u32,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Parses `text` as a lock file and sums it up.
pub fn report(text: &str) -> Result<Report, String> {
    let lock: Lockfile = toml::from_str(text).map_err(|error| error.to_string())?;
    if lock.version < 2 {
        // Before version 2, checksums stood in a table of their own.
        return Err(format!(
            "lock files of version {} are not read; `cargo update` rewrites it",
            lock.version
        ));
    }
    let packages = lock.package;
    let edges = edges(&packages)?;
    Ok(Report {
        packages: count(packages.len()),
        local: count(packages.iter().filter(|package| package.source.is_none()).count()),
        depth: depth(&packages, &edges),
        duplicates: duplicates(&packages),
        sources: sources(&packages),
        without_checksum: packages
            .iter()
            .filter(|package| package.source.is_some() && package.checksum.is_none())
            .map(|package| format!("{} {}", package.name, package.version))
            .collect(),
        most_depended_on: most_depended_on(&packages, &edges),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// For each package, the places of those that it depends on.
///
/// A dependency is written `name`, `name version` or `name version (source)`, with no more than it
/// takes to tell it from the others.
fn edges(packages: &[Package]) -> Result<Vec<Vec<usize>>, String> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, package) in packages.iter().enumerate() {
        by_name.entry(&package.name).or_default().push(place);
    }
    let resolve = |dependency: &str| {
        let mut words = dependency.splitn(3, ' ');
        let name = words.next().unwrap_or_default();
        let version = words.next();
        let source = words.next().map(|source| source.trim_matches(['(', ')']));
        let found = by_name.get(name).into_iter().flatten().copied().find(|place| {
            let package = &packages[*place];
            version.is_none_or(|version| version == package.version)
                && source.is_none_or(|source| Some(source) == package.source.as_deref())
        });
        found.ok_or_else(|| format!("a package depends on `{dependency}`, which the file does not hold"))
    };
    packages
        .iter()
        .map(|package| package.dependencies.iter().map(|dependency| resolve(dependency)).collect())
        .collect()
}

/// Breadth first from the roots, so that cycles (which dev-dependencies make) end.
fn depth(packages: &[Package], edges: &[Vec<usize>]) -> u32 {
    let mut depended_on = vec![false; packages.len()];
    for (place, targets) in edges.iter().enumerate() {
        for target in targets.iter().filter(|target| **target != place) {
            depended_on[*target] = true;
        }
    }
    let mut distance: Vec<Option<u32>> = vec![None; packages.len()];
    let mut queue = VecDeque::new();
    for (place, package) in packages.iter().enumerate() {
        if package.source.is_none() && !depended_on[place] {
            distance[place] = Some(0);
            queue.push_back((place, 0));
        }
    }
    let mut deepest = 0;
    while let Some((place, steps)) = queue.pop_front() {
        deepest = deepest.max(steps);
        for target in &edges[place] {
            if distance[*target].is_none() {
                distance[*target] = Some(steps + 1);
                queue.push_back((*target, steps + 1));
            }
        }
    }
    deepest
}

fn duplicates(packages: &[Package]) -> Vec<(String, Vec<String>)> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, mut versions)| {
            versions.sort_by_cached_key(|version| numbers(version));
            (name.to_owned(), versions.into_iter().map(str::to_owned).collect())
        })
        .collect()
}

/// Orders versions as far as a reader needs it: by numbers, then a pre-release before its release.
fn numbers(version: &str) -> (Vec<u64>, bool, String) {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let parts = release.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    (parts, !version.contains('-'), version.to_owned())
}

fn sources(packages: &[Package]) -> Vec<(String, u32)> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for package in packages {
        *counts.entry(package.source.as_deref().unwrap_or("local")).or_default() += 1;
    }
    let mut counts: Vec<(String, u32)> =
        counts.into_iter().map(|(source, packages)| (source.to_owned(), packages)).collect();
    counts.sort_by_key(|(_, packages)| std::cmp::Reverse(*packages));
    counts
}

fn most_depended_on(packages: &[Package], edges: &[Vec<usize>]) -> Vec<(String, String, u32)> {
    let mut dependents = vec![0_u32; packages.len()];
    for target in edges.iter().flatten() {
        dependents[*target] += 1;
    }
    let mut ranked: Vec<usize> = (0..packages.len()).filter(|place| dependents[*place] > 0).collect();
    ranked.sort_by_key(|place| (std::cmp::Reverse(dependents[*place]), *place));
    ranked.truncate(MOST_DEPENDED_ON_MAX);
    ranked
        .into_iter()
        .map(|place| (packages[place].name.clone(), packages[place].version.clone(), dependents[place]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "registry+https://example.com/index";

    fn lock() -> String {
        format!(
            r#"
version = 4
[[package]]
name = "app"
version = "0.1.0"
dependencies = ["a", "b 2.0.0", "b 10.0.0"]
[[package]]
name = "a"
version = "1.0.0"
source = "{REGISTRY}"
checksum = "00"
dependencies = ["b 2.0.0 ({REGISTRY})", "a"]
[[package]]
name = "b"
version = "10.0.0"
source = "{REGISTRY}"
checksum = "00"
[[package]]
name = "b"
version = "2.0.0"
source = "{REGISTRY}"
dependencies = ["c"]
[[package]]
name = "c"
version = "1.0.0"
source = "git+https://example.com/c#0123"
"#
        )
    }

    #[test]
    fn a_lock_file_is_summed_up() {
        let report = report(&lock()).expect("valid");
        assert_eq!((report.packages, report.local, report.depth), (5, 1, 2));
        assert_eq!(report.duplicates, [("b".to_owned(), vec!["2.0.0".to_owned(), "10.0.0".to_owned()])]);
        let sources: Vec<(&str, u32)> =
            report.sources.iter().map(|(source, packages)| (source.as_str(), *packages)).collect();
        assert_eq!(sources, [(REGISTRY, 3), ("git+https://example.com/c#0123", 1), ("local", 1)]);
        assert_eq!(report.without_checksum, ["b 2.0.0", "c 1.0.0"]);
        assert_eq!(report.most_depended_on[0], ("a".to_owned(), "1.0.0".to_owned(), 2));
        assert_eq!(report.most_depended_on.len(), 4);
    }

    #[test]
    fn what_is_not_a_lock_file_is_an_error() {
        assert!(report("version = 4\n[[package]]\nname = 1").is_err());
        assert!(report("[[package]]\nname = \"a\"\nversion = \"1\"").is_err_and(|e| e.contains("version 0")));
        let dangling = lock().replace("[\"c\"]", "[\"d\"]");
        assert!(report(&dangling).is_err_and(|e| e.contains("`d`")));
    }

    #[test]
    fn our_own_lock_file_can_be_read() {
        let report = report(include_str!("../../Cargo.lock")).expect("cargo wrote it");
        assert!(report.local >= 4 && report.depth >= 2 && report.packages > report.local);
        assert_eq!(report.without_checksum, [""; 0]);
    }
}
