//! What `#[tool]` makes of a function, and the tools of a component together.

use serde_json::Value;

use crate::content::Content;
use crate::error::ToolError;

/// A tool. `#[tool]` implements it, on a type that has the name of the function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    note = "put #[tool] on the function of that name"
)]
pub trait Tool {
    /// The name within the package.
    const NAME: &'static str;
    /// What it does, for agents and admins.
    const DESCRIPTION: &'static str;

    /// JSON Schema (2020-12) of the arguments.
    fn input_schema() -> Value;

    /// JSON Schema (2020-12) of the structured result, if each result has one.
    fn output_schema() -> Option<Value>;

    /// Calls the function with arguments from a JSON object.
    ///
    /// # Errors
    /// If the arguments don't fit, or by the function's own decision.
    fn call(arguments: &str) -> Result<Vec<Content>, ToolError>;
}

/// A tool as the host will see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The name within the package.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the structured result, if each result has one.
    pub output_schema: Option<Value>,
}

impl Definition {
    /// The definition of a tool.
    pub fn of<T: Tool>() -> Self {
        Self {
            name: T::NAME,
            description: T::DESCRIPTION,
            input_schema: T::input_schema(),
            output_schema: T::output_schema(),
        }
    }
}

/// Fails at compile time if two tools have the same name, and says which.
pub const fn assert_unique(names: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        let mut other = at + 1;
        while other < names.len() {
            if equal(names[at].as_bytes(), names[other].as_bytes()) {
                let (message, length) = duplicate(names[at].as_bytes());
                match std::str::from_utf8(message.split_at(length).0) {
                    Ok(message) => panic!("{}", message),
                    Err(_) => panic!("two tools have the same name"),
                }
            }
            other += 1;
        }
        at += 1;
    }
}

const fn equal(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// A message with the name in it; formatting does not work at compile time.
const fn duplicate(name: &[u8]) -> ([u8; 128], usize) {
    let start = b"two tools of this component are named ";
    let mut message = [0; 128];
    let mut length = 0;
    while length < start.len() {
        message[length] = start[length];
        length += 1;
    }
    let mut at = 0;
    while at < name.len() && length < message.len() {
        message[length] = name[at];
        at += 1;
        length += 1;
    }
    (message, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_are_fine() {
        assert_unique(&[]);
        assert_unique(&["a"]);
        assert_unique(&["a", "ab", "b", ""]);
    }

    #[test]
    #[should_panic(expected = "two tools of this component are named ab")]
    fn equal_names_are_told() {
        assert_unique(&["a", "ab", "b", "ab"]);
    }
}
