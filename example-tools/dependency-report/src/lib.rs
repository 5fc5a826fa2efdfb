//! A dependency report from a `Cargo.lock` in a granted folder: the folder is all that it needs.
//!
//! This file reads the file and joins the WIT interface to [`lockfile`], which does the work and
//! can be tested on any machine.

mod bindings {
    wit_bindgen::generate!({ world: "dependency-report", path: "wit" });
}
mod lockfile;

use std::fs::File;
use std::io::Read;

use bindings::exports::example::dependency_report::dependencies::{
    Dependency, Duplicate, Guest, Source, Summary,
};

/// The largest lock file that is read. Those of the largest projects are below 1 MiB.
const LOCK_BYTES_MAX: u64 = 8 << 20;

struct DependencyReport;

impl Guest for DependencyReport {
    fn report(path: String) -> Result<Summary, String> {
        let text = read(&path).map_err(|error| format!("{path}: {error}"))?;
        let report = lockfile::report(&text).map_err(|error| format!("{path}: {error}"))?;
        Ok(Summary {
            packages: report.packages,
            local: report.local,
            depth: report.depth,
            duplicates: report
                .duplicates
                .into_iter()
                .map(|(name, versions)| Duplicate { name, versions })
                .collect(),
            sources: report
                .sources
                .into_iter()
                .map(|(source, packages)| Source { source, packages })
                .collect(),
            without_checksum: report.without_checksum,
            most_depended_on: report
                .most_depended_on
                .into_iter()
                .map(|(name, version, dependents)| Dependency { name, version, dependents })
                .collect(),
        })
    }
}

fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LOCK_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LOCK_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {LOCK_BYTES_MAX} bytes")));
    }
    Ok(text)
}

bindings::export!(DependencyReport with_types_in bindings);
