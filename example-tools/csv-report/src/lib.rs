//! Sums up a CSV text, and draws it: a pure tool, written with the SDK.
//!
//! This file is what agents see; [`table`] reads and counts, [`picture`] draws.

mod picture;
mod table;

use portcullis_sdk::{Image, Json, Resource, ToolError, tool, tools};
use schemars::JsonSchema;
use serde::Deserialize;

use picture::Bar;
use table::{Summary, Table};

tools![summarise, chart];

/// Sums up a CSV text whose first line names the columns: the number of rows; and of each column how many
/// values are missing and different, and the least, the greatest, sum and mean if it holds numbers. The
/// same comes as a Markdown table.
#[tool]
fn summarise(
    /// The CSV text (RFC 4180).
    csv: &str,
    /// What stands between two fields.
    #[serde(default = "comma")]
    delimiter: char,
) -> Result<(Json<Summary>, Resource), ToolError> {
    let summary = Table::read(csv, delimiter)?.summary();
    let markdown = Resource::text("csv-report:///summary.md", summary.markdown());
    Ok((Json(summary), markdown.with_mime_type("text/markdown")))
}

fn comma() -> char {
    ','
}

/// The file format of a chart.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Bars only, in the order of the rows.
    #[default]
    Png,
    /// Bars with their labels. Not every model can look at it.
    Svg,
}

/// Draws a bar chart of one column of numbers, a bar for each row, and lists the bars as text.
#[tool]
fn chart(
    /// The CSV text (RFC 4180).
    csv: &str,
    /// The name of the column that names the bars.
    labels: &str,
    /// The name of the column of numbers.
    values: &str,
    /// What stands between two fields.
    #[serde(default = "comma")]
    delimiter: char,
    /// The format of the image.
    #[serde(default)]
    format: Format,
) -> Result<(String, Image), ToolError> {
    let table = Table::read(csv, delimiter)?;
    let bars: Vec<Bar<'_>> = table
        .column(labels)?
        .zip(table.numbers(values)?)
        .map(|(label, value)| Bar { label, value })
        .collect();
    if bars.len() > picture::BARS_MAX {
        return Err(ToolError::invalid_arguments(format!(
            "{} rows, and a chart has room for {} bars",
            bars.len(),
            picture::BARS_MAX
        )));
    }
    let listed = bars.iter().map(|bar| format!("{}: {}\n", bar.label, bar.value)).collect();
    let image = match format {
        Format::Png => Image::png(picture::png(&bars)?),
        Format::Svg => Image::svg(picture::svg(&bars)),
    };
    Ok((listed, image))
}

#[cfg(test)]
mod tests {
    use portcullis_sdk::testing::{call, definition};
    use portcullis_sdk::{Content, ErrorKind};
    use serde_json::json;

    use super::*;

    const FRUIT: &str = "fruit,kilos,note\napple,3,\npear,5.5,ripe\n\"plum, blue\",-1,\n";

    #[test]
    fn a_table_is_summed_up() {
        let result = call::<summarise>(json!({ "csv": FRUIT })).expect("a summary");
        let [Content::Structured(summary), Content::Resource(markdown)] = &result[..] else {
            panic!("{result:?}");
        };
        let expected = json!({
            "rows": 3,
            "columns": [
                { "name": "fruit", "missing": 0, "different": 3 },
                {
                    "name": "kilos", "missing": 0, "different": 3,
                    "numbers": { "least": -1.0, "greatest": 5.5, "sum": 7.5, "mean": 2.5 },
                },
                { "name": "note", "missing": 2, "different": 1 },
            ],
        });
        assert_eq!(*summary, expected);
        assert_eq!(markdown.mime_type.as_deref(), Some("text/markdown"));
        let semicolons =
            json!({ "csv": FRUIT.replace("\"plum, blue\"", "plum").replace(',', ";"), "delimiter": ";" });
        assert!(call::<summarise>(semicolons).is_ok());
    }

    #[test]
    fn a_chart_is_drawn_in_both_formats() {
        let arguments =
            |format: &str| json!({ "csv": FRUIT, "labels": "fruit", "values": "kilos", "format": format });
        let png = call::<chart>(arguments("png")).expect("a chart");
        let [Content::Text(listed), Content::Image(image)] = &png[..] else { panic!("{png:?}") };
        assert_eq!(listed, "apple: 3\npear: 5.5\nplum, blue: -1\n");
        assert!(image.mime_type == "image/png" && image.data.starts_with(b"\x89PNG"));
        let svg = call::<chart>(arguments("svg")).expect("a chart");
        assert!(matches!(&svg[1], Content::Image(image) if image.mime_type == "image/svg+xml"));
        // PNG is what comes if nobody says.
        let silent = json!({ "csv": FRUIT, "labels": "fruit", "values": "kilos" });
        assert_eq!(call::<chart>(silent).expect("a chart"), png);
    }

    #[test]
    fn what_can_not_be_read_is_the_agents_fault() {
        for arguments in [
            json!({ "csv": "" }),
            json!({ "csv": "a,a\n1,2\n" }),
            json!({ "csv": "a,b\n1\n" }),
            json!({ "csv": "a\n1\n", "delimiter": "ä" }),
            json!({ "csv": "a\n1\n", "delimiter": ",," }),
            json!({ "csv": 7 }),
        ] {
            let error = call::<summarise>(arguments.clone()).expect_err("refused");
            assert_eq!(error.kind, ErrorKind::InvalidArguments, "{arguments}: {error:?}");
        }
        // The first line names the columns.
        let many = "x,1\n".repeat(picture::BARS_MAX + 2);
        for (csv, values, told) in [
            (FRUIT, "weight", "there is no column \"weight\""),
            (FRUIT, "note", "row 1 of \"note\""),
            (many.as_str(), "1", "room for"),
        ] {
            let error = chart(csv, csv.split(',').next().unwrap_or_default(), values, ',', Format::Png);
            let error = error.expect_err("refused");
            assert_eq!(error.kind, ErrorKind::InvalidArguments);
            assert!(error.message.contains(told), "{error:?}");
        }
    }

    #[test]
    fn the_schema_says_what_is_required() {
        let schema = definition::<chart>().input_schema;
        assert_eq!(schema["required"], json!(["csv", "labels", "values"]));
        assert_eq!(schema["properties"]["delimiter"]["default"], ",");
    }
}
