//! A CSV text as a table, and what its columns hold. Knows nothing of tools but their errors.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use portcullis_sdk::ToolError;
use schemars::JsonSchema;
use serde::Serialize;

/// A table with named columns.
pub(crate) struct Table {
    names: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

/// What a table holds.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// How many rows there are, the names not counted.
    rows: usize,
    /// The columns, in their order.
    columns: Vec<Column>,
}

/// What a column holds.
#[derive(Serialize, JsonSchema)]
struct Column {
    name: String,
    /// How many fields are empty.
    missing: usize,
    /// How many different values there are, empty fields not counted.
    different: usize,
    /// Only if each field that is not empty is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    numbers: Option<Numbers>,
}

/// What is known of numbers.
#[derive(Serialize, JsonSchema)]
struct Numbers {
    least: f64,
    greatest: f64,
    sum: f64,
    mean: f64,
}

impl Table {
    /// Reads a CSV text.
    pub(crate) fn read(text: &str, delimiter: char) -> Result<Self, ToolError> {
        let delimiter = u8::try_from(delimiter)
            .ok()
            .filter(u8::is_ascii)
            .ok_or_else(|| ToolError::invalid_arguments("the delimiter must be an ASCII character"))?;
        let wrong = |error: csv::Error| ToolError::invalid_arguments(error.to_string());
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
        let names: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
        if names.is_empty() {
            return Err(ToolError::invalid_arguments("the first line must name the columns"));
        }
        if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
            return Err(ToolError::invalid_arguments("two columns have the same name"));
        }
        let rows = reader.records().collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Self { names, rows })
    }

    /// The fields of a column.
    pub(crate) fn column(&self, name: &str) -> Result<impl Iterator<Item = &str>, ToolError> {
        let index = self.names.iter().position(|known| known == name).ok_or_else(|| {
            let known = self.names.join("\", \"");
            ToolError::invalid_arguments(format!("there is no column {name:?}, but \"{known}\""))
        })?;
        Ok(self.fields(index))
    }

    /// The fields of a column, which must be numbers.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f64>, ToolError> {
        let parsed = self.column(name)?.enumerate().map(|(row, field)| {
            number(field).ok_or_else(|| {
                ToolError::invalid_arguments(format!("row {} of {name:?} is no number: {field:?}", row + 1))
            })
        });
        parsed.collect()
    }

    /// What it holds.
    pub(crate) fn summary(&self) -> Summary {
        let columns = self.names.iter().enumerate().map(|(index, name)| {
            let there: Vec<&str> = self.fields(index).filter(|field| !field.is_empty()).collect();
            let numbers: Option<Vec<f64>> = there.iter().map(|field| number(field)).collect();
            Column {
                name: name.clone(),
                missing: self.rows.len() - there.len(),
                different: there.iter().collect::<BTreeSet<_>>().len(),
                numbers: numbers.and_then(|numbers| Numbers::of(&numbers)),
            }
        });
        Summary { rows: self.rows.len(), columns: columns.collect() }
    }

    fn fields(&self, index: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().map(move |row| row.get(index).unwrap_or_default().trim())
    }
}

/// A number that can be drawn and summed up: no infinities, no NaN.
fn number(field: &str) -> Option<f64> {
    field.parse().ok().filter(|number: &f64| number.is_finite())
}

impl Numbers {
    fn of(numbers: &[f64]) -> Option<Self> {
        let sum: f64 = numbers.iter().sum();
        let count = u32::try_from(numbers.len()).ok().filter(|count| *count > 0)?;
        // JSON has no infinity.
        sum.is_finite().then(|| Self {
            least: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            sum,
            mean: sum / f64::from(count),
        })
    }
}

impl Summary {
    /// The same as a Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "{} rows\n\n| column | missing | different | least | greatest | mean |\n| --- | --- | --- | --- | --- | --- |\n",
            self.rows
        );
        for column in &self.columns {
            let name = column.name.replace('|', "\\|").replace(['\n', '\r'], " ");
            let numbers = column.numbers.as_ref().map_or_else(
                || "| | |".to_owned(),
                |numbers| format!("{} | {} | {:.3}", numbers.least, numbers.greatest, numbers.mean),
            );
            // Writing into a string can't fail.
            let _ = writeln!(text, "| {name} | {} | {} | {numbers} |", column.missing, column.different);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_numbers_or_text() {
        let table = Table::read("a,b,c\n1, 2.5 ,x\n3,,inf\n", ',').expect("a table");
        let summary = table.summary();
        let numbers: Vec<bool> = summary.columns.iter().map(|column| column.numbers.is_some()).collect();
        assert_eq!(numbers, [true, true, false]);
        assert_eq!(table.numbers("a").expect("numbers"), [1.0, 3.0]);
        assert!(table.numbers("b").is_err() && table.numbers("c").is_err());
        let empty = Table::read("a,b\n", ',').expect("a table").summary();
        assert!(empty.rows == 0 && empty.columns[0].numbers.is_none());
    }

    #[test]
    fn a_name_can_not_break_the_markdown_table() {
        let markdown = Table::read("\"a|b\nc\"\n1\n", ',').expect("a table").summary().markdown();
        assert!(markdown.ends_with("| a\\|b c | 0 | 1 | 1 | 1 | 1.000 |\n"), "{markdown}");
    }
}
