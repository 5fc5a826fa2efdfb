//! The interface `text` of wit/world.wit. Its doc comments are what agents read.

mod bindings {
    wit_bindgen::generate!({ world: "tool", path: "wit" });
}

use bindings::exports::tools::{{snake}}::text::{Counts, Guest};

struct Tool;

impl Guest for Tool {
    fn count(text: String) -> Counts {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Counts { words: number(text.split_whitespace().count()), lines: number(text.lines().count()) }
    }
}

bindings::export!(Tool with_types_in bindings);
