//! What a client of MCP is told of a tool, and how a list is parted into pages.

use std::sync::Arc;

use rmcp::model::{JsonObject, MetaObject, Tool};
use serde_json::json;

use crate::api::described;
use crate::gateway::GrantedTool;

/// The most tools of a page.
const PAGE_TOOLS_MAX: usize = 100;
/// The most bytes of a page's schemas, but for a single tool that has more.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// What a client gets.
pub(super) fn tool(granted: &GrantedTool) -> Tool {
    let described = granted.description();
    let description = described::description(granted).map(Into::into);
    let schema = |given| Arc::new(described::schema(given));
    let input = schema(&described.input_schema);
    let mut tool = Tool::new_with_raw(granted.name.to_string(), description, input);
    tool.output_schema = described.output_schema.as_ref().map(schema);
    let mut meta = MetaObject::new();
    let source = json!({
        "package": granted.package,
        "tool": described.name,
        "digest": granted.digest(),
        "trusted": false,
    });
    meta.insert("portcullis/source".to_owned(), source);
    tool.with_meta(meta)
}

/// The first of some tools that fit a page, and the cursor of the next one.
pub(super) fn page(mut rest: impl Iterator<Item = Tool>) -> (Vec<Tool>, Option<String>) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    let next = rest.find_map(|tool| {
        bytes += schema_bytes(&tool);
        if page.is_empty() || (page.len() < PAGE_TOOLS_MAX && bytes <= PAGE_BYTES_MAX) {
            page.push(tool);
            return None;
        }
        page.last().map(|last: &Tool| last.name.to_string())
    });
    (page, next)
}

fn schema_bytes(tool: &Tool) -> usize {
    let bytes = |schema: &Arc<JsonObject>| serde_json::to_vec(schema).map_or(0, |text| text.len());
    bytes(&tool.input_schema) + tool.output_schema.as_ref().map_or(0, bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    #[test]
    fn pages_follow_each_other_without_a_gap_and_one_large_tool_is_a_page() {
        let large = Arc::new(Map::from_iter([("x".to_owned(), json!("x".repeat(PAGE_BYTES_MAX)))]));
        let tools: Vec<Tool> = (0..250)
            .map(|number| {
                let schema = if number == 120 { Arc::clone(&large) } else { Arc::default() };
                Tool::new_with_raw(format!("t__{number:03}"), None, schema)
            })
            .collect();
        let (mut after, mut lengths, mut names) = (None::<String>, Vec::new(), Vec::new());
        loop {
            let rest = tools.iter().filter(|tool| after.as_ref().is_none_or(|after| *tool.name > **after));
            let (page, next) = page(rest.cloned());
            lengths.push(page.len());
            names.extend(page.into_iter().map(|tool| tool.name));
            let Some(next) = next else { break };
            after = Some(next);
        }
        assert_eq!(lengths, [100, 20, 1, 100, 29]);
        assert!(names.iter().eq(tools.iter().map(|tool| &tool.name)));
    }
}
