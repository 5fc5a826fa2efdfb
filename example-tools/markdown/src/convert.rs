//! The conversion itself. Knows nothing of components, and never lets HTML of the input through.

use pulldown_cmark::{CowStr, Event, Parser, Tag, TagEnd};

pub use pulldown_cmark::Options as Extensions;

/// A heading: level 1 to 6, text without markup, line counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Heading {
    pub level: u8,
    pub text: String,
    pub line: u32,
}

/// Renders `markdown` as HTML that is safe to embed.
pub fn render(markdown: &str, extensions: Extensions) -> String {
    let events = Parser::new_ext(markdown, extensions).map(tame);
    let mut html = String::with_capacity(markdown.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut html, events);
    html
}

/// Lists the headings of `markdown`.
pub fn outline(markdown: &str) -> Vec<Heading> {
    let mut headings: Vec<Heading> = Vec::new();
    let mut inside = false;
    let mut line = 1_u32;
    let mut counted = 0;
    for (event, range) in Parser::new(markdown).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                // Events come in the order of the text, so each byte is counted once.
                let passed = markdown.get(counted..range.start).unwrap_or_default();
                line = line.saturating_add(newlines(passed));
                counted = counted.max(range.start);
                headings.push(Heading { level: level as u8, text: String::new(), line });
                inside = true;
            }
            Event::End(TagEnd::Heading(_)) => inside = false,
            Event::Text(text) | Event::Code(text) if inside => {
                if let Some(heading) = headings.last_mut() {
                    heading.text.push_str(&text);
                }
            }
            Event::SoftBreak | Event::HardBreak if inside => {
                if let Some(heading) = headings.last_mut() {
                    heading.text.push(' ');
                }
            }
            Event::Start(_)
            | Event::End(_)
            | Event::Text(_)
            | Event::Code(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    headings
}

fn newlines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

/// Shows raw HTML as text, and takes the address from links that could run code.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other events are rendered as they are, with escapes")]
fn tame(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: harmless(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: harmless(dest_url), title, id })
        }
        other => other,
    }
}

/// The address itself if it is relative or has a scheme that runs nothing; else an empty one.
///
/// Browsers drop tabs and line breaks from a scheme, so any control character is refused too.
fn harmless(url: CowStr<'_>) -> CowStr<'_> {
    let before_path = url.split(['/', '?', '#']).next().unwrap_or_default();
    let allowed = match before_path.split_once(':') {
        None => true,
        Some((scheme, _)) => ["http", "https", "mailto"].iter().any(|ok| scheme.eq_ignore_ascii_case(ok)),
    };
    if allowed && !url.chars().any(char::is_control) { url } else { CowStr::Borrowed("") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_tables_become_html() {
        assert_eq!(render("# Hi\n\n*there*", Extensions::empty()), "<h1>Hi</h1>\n<p><em>there</em></p>\n");
        let table = "|a|\n|-|\n|1|\n";
        assert!(render(table, Extensions::ENABLE_TABLES).contains("<td>1</td>"));
        assert!(!render(table, Extensions::empty()).contains("<td>"));
    }

    #[test]
    fn html_in_the_input_is_shown_as_text() {
        let html = render("<script>alert(1)</script>\n\nx <b onclick=\"y\">z</b>", Extensions::empty());
        assert!(!html.contains("<script") && !html.contains("<b "), "{html}");
        assert!(html.contains("&lt;script&gt;"), "{html}");
    }

    #[test]
    fn only_harmless_addresses_remain() {
        for bad in ["javascript:alert(1)", "JavaScript:x", "data:text/html,x", "vbscript:x"] {
            let html = render(&format!("[a]({bad}) ![b]({bad})"), Extensions::empty());
            assert!(html.contains("href=\"\"") && html.contains("src=\"\""), "{bad}: {html}");
        }
        for good in ["https://example.com/a:b", "mailto:a@example.com", "../a/b:c", "#part", "?q=a:b"] {
            assert!(render(&format!("[a]({good})"), Extensions::empty()).contains(good), "{good}");
        }
        let split = render("[a](<java&#10;script:alert(1)>)", Extensions::empty());
        assert!(split.contains("href=\"\""), "{split}");
    }

    #[test]
    fn the_outline_has_levels_texts_and_lines() {
        let text = "# One `x`\n\ntext\n\nTwo\nlines\n---\n\n### *Three*\n";
        let expected = [(1, "One x", 1), (2, "Two lines", 5), (3, "Three", 9)]
            .map(|(level, text, line)| Heading { level, text: text.to_owned(), line });
        assert_eq!(outline(text), expected);
    }
}
