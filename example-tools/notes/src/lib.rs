//! Notes in a granted read-write folder, one file a note, with search.
//!
//! This file only joins the WIT interface to [`store`], which does the work on any folder and can
//! be tested on any machine.

mod bindings {
    wit_bindgen::generate!({ world: "notes-tool", path: "wit" });
}
mod store;

use bindings::exports::example::notes::notes::{Entry, Failure, Guest, Hit};
use store::{Notebook, Problem};

/// Where the grant puts the folder.
const FOLDER: &str = "/notes";

struct Notes;

impl Guest for Notes {
    fn add(name: String, text: String, replace: Option<bool>) -> Result<Entry, Failure> {
        Notebook::new(FOLDER).add(&name, &text, replace.unwrap_or(false)).map(entry).map_err(failure)
    }

    fn get(name: String) -> Result<String, Failure> {
        Notebook::new(FOLDER).get(&name).map_err(failure)
    }

    fn list() -> Result<Vec<Entry>, Failure> {
        let entries = Notebook::new(FOLDER).list().map_err(failure)?;
        Ok(entries.into_iter().map(entry).collect())
    }

    fn search(text: String) -> Result<Vec<Hit>, Failure> {
        let hits = Notebook::new(FOLDER).search(&text).map_err(failure)?;
        Ok(hits.into_iter().map(|hit| Hit { name: hit.name, line: hit.line, snippet: hit.snippet }).collect())
    }

    fn delete(name: String) -> Result<(), Failure> {
        Notebook::new(FOLDER).delete(&name).map_err(failure)
    }
}

fn entry(entry: store::Entry) -> Entry {
    Entry { name: entry.name, bytes: entry.bytes, title: entry.title }
}

fn failure(problem: Problem) -> Failure {
    match problem {
        Problem::InvalidName(why) => Failure::InvalidName(why),
        Problem::NotFound(name) => Failure::NotFound(name),
        Problem::Exists(name) => Failure::Exists(name),
        Problem::TooLong(bytes) => Failure::TooLong(bytes),
        Problem::Storage(error) => Failure::Storage(error.to_string()),
    }
}

bindings::export!(Notes with_types_in bindings);
