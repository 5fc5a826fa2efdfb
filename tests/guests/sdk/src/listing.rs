//! What `list-tools` may do: the schema of an argument runs code of the author's, and tells what that saw.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use bindings::wasi::config::store;
use portcullis_sdk::tool;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// An import beside what the SDK exports: a function that can be refused.
mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package test:sdk; world probe { import wasi:config/store@0.2.0-rc.1; }",
        generate_all,
    });
}

/// Text whose schema is not the same twice.
#[derive(Deserialize)]
pub(crate) struct Probe(String);

impl JsonSchema for Probe {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Probe".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let folder = std::fs::read_dir("/").map(|_| "a folder").unwrap_or("no folder");
        let file = std::fs::read("/papers/a.txt").map(|_| "a file").unwrap_or("no file");
        let variables = std::env::vars().count();
        let setting = store::get("key").map(|_| "a setting").unwrap_or("no setting");
        let random = RandomState::new().hash_one(1);
        println!("listing");
        let seen = format!("{folder}, {file}, {setting}, {variables} variables, random {random}");
        json_schema!({ "type": "string", "description": seen })
    }
}

/// Gives its text back.
#[tool]
pub(crate) fn what_listing_saw(text: Probe) -> String {
    text.0
}
