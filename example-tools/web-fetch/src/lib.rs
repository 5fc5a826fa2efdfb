//! Fetches a page of the web and gives it as Markdown, which is shorter and easier to read for a model.
//!
//! Which hosts and paths it may ask is said by its grant; it follows a redirect only as far as that allows.

use htmd::HtmlToMarkdown;
use portcullis_sdk::{Resource, ToolError, http, tool, tools};

tools![fetch];

/// The most redirects that are followed.
const REDIRECTS_MAX: usize = 5;
/// What has nothing to read in it.
const LEFT_OUT: [&str; 5] = ["script", "style", "noscript", "iframe", "svg"];

/// Fetches a page and gives it as Markdown; a text that is not HTML is given as it is.
#[tool]
fn fetch(
    /// The page: `https://host/path`.
    url: &str,
) -> Result<Resource, ToolError> {
    let mut url = url.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let answer = http::get(&url).header("accept", "text/html, text/*;q=0.8").send()?;
        if (300..400).contains(&answer.status)
            && let Some(location) = answer.header("location")
        {
            url = absolute(&url, location)?;
            continue;
        }
        let answer = answer.success()?;
        let kind = answer.header("content-type").unwrap_or("text/html").to_ascii_lowercase();
        if kind.starts_with("text/html") || kind.starts_with("application/xhtml") {
            let markdown = markdown(answer.text()?)?;
            return Ok(Resource::text(&url, markdown).with_mime_type("text/markdown"));
        }
        if kind.starts_with("text/") || kind.starts_with("application/json") {
            return Ok(Resource::text(&url, answer.text()?).with_mime_type(&kind));
        }
        return Err(ToolError::failed(format!("{url} is {kind}, which is no text")));
    }
    Err(ToolError::failed(format!("more than {REDIRECTS_MAX} redirects")))
}

fn markdown(html: &str) -> Result<String, ToolError> {
    let converter = HtmlToMarkdown::builder().skip_tags(LEFT_OUT.to_vec()).build();
    let converted = converter.convert(html);
    converted.map_err(|error| ToolError::failed(format!("the page can't be converted: {error}")))
}

/// Where a redirect leads: a whole URL, or a path of the same host.
fn absolute(from: &str, location: &str) -> Result<String, ToolError> {
    if location.starts_with("https://") || location.starts_with("http://") {
        return Ok(location.to_owned());
    }
    let host_end = from.find("://").and_then(|at| from[at + 3..].find(['/', '?']).map(|end| at + 3 + end));
    let host = &from[..host_end.unwrap_or(from.len())];
    if location.starts_with('/') && !location.starts_with("//") {
        return Ok(format!("{host}{location}"));
    }
    Err(ToolError::failed(format!("a redirect to {location:?} is not followed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_markdown_without_what_nobody_reads() {
        let html = "<html><head><style>p{}</style></head><body><h1>Title</h1><p>A <a href=\"/x\">link</a>.</p>\
                    <script>alert(1)</script></body></html>";
        assert_eq!(markdown(html).expect("converted").trim(), "# Title\n\nA [link](/x).");
    }

    #[test]
    fn a_redirect_is_read_against_its_page() {
        let from = "https://a.test/x?y";
        assert_eq!(absolute(from, "/z").ok().as_deref(), Some("https://a.test/z"));
        assert_eq!(absolute("https://a.test", "/z").ok().as_deref(), Some("https://a.test/z"));
        assert_eq!(absolute(from, "https://b.test/").ok().as_deref(), Some("https://b.test/"));
        assert!(absolute(from, "//b.test/").is_err() && absolute(from, "z").is_err());
    }
}
