//! Markdown to HTML and to an outline: a pure tool, which imports no power that it uses.
//!
//! This file only joins the WIT interface to [`convert`](mod@convert), which does the work and
//! can be tested on any machine.

mod bindings {
    wit_bindgen::generate!({ world: "markdown", path: "wit" });
}
mod convert;

use bindings::exports::docs::markdown::convert::{Guest, Heading, Options};

struct Markdown;

impl Guest for Markdown {
    fn render(markdown: String, options: Option<Options>) -> String {
        let extensions = options.map_or_else(convert::Extensions::empty, |wanted| {
            let mut extensions = convert::Extensions::empty();
            extensions.set(convert::Extensions::ENABLE_TABLES, wanted.tables);
            extensions.set(convert::Extensions::ENABLE_STRIKETHROUGH, wanted.strikethrough);
            extensions.set(convert::Extensions::ENABLE_TASKLISTS, wanted.task_lists);
            extensions.set(convert::Extensions::ENABLE_FOOTNOTES, wanted.footnotes);
            extensions.set(convert::Extensions::ENABLE_SMART_PUNCTUATION, wanted.smart_punctuation);
            extensions
        });
        convert::render(&markdown, extensions)
    }

    fn outline(markdown: String) -> Vec<Heading> {
        convert::outline(&markdown)
            .into_iter()
            .map(|heading| Heading { level: heading.level, text: heading.text, line: heading.line })
            .collect()
    }
}

bindings::export!(Markdown with_types_in bindings);
