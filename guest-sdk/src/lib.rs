//! Write a tool for Portcullis as a plain Rust function.
//!
//! ```
//! use portcullis_sdk::{Json, ToolError, tool, tools};
//! use schemars::JsonSchema;
//! use serde::Serialize;
//!
//! /// How many words there are.
//! #[derive(Debug, PartialEq, Serialize, JsonSchema)]
//! struct Words {
//!     /// All of them.
//!     total: usize,
//!     /// The longest, if there is one.
//!     longest: Option<String>,
//! }
//!
//! /// Counts the words of a text.
//! #[tool]
//! fn count_words(
//!     /// The text.
//!     text: &str,
//!     /// Words with fewer letters are left out.
//!     #[serde(default)]
//!     letters_min: usize,
//! ) -> Result<Json<Words>, ToolError> {
//!     if letters_min > 100 {
//!         return Err(ToolError::invalid_arguments("no word has so many letters"));
//!     }
//!     let words = text.split_whitespace().filter(|word| word.chars().count() >= letters_min);
//!     let longest = words.clone().max_by_key(|word| word.chars().count()).map(str::to_owned);
//!     Ok(Json(Words { total: words.count(), longest }))
//! }
//!
//! // What the component offers. Once in a crate, anywhere in it.
//! tools![count_words];
//!
//! # fn main() {
//! // It is still a function:
//! let expected = Words { total: 2, longest: Some("bb".to_owned()) };
//! assert_eq!(count_words("a bb", 0), Ok(Json(expected)));
//!
//! // And it is a tool, called through JSON as an agent does (feature `testing`):
//! use portcullis_sdk::{Content, testing};
//! use serde_json::json;
//!
//! let result = testing::call::<count_words>(json!({"text": "a bb", "letters_min": 2})).unwrap();
//! assert_eq!(result, [Content::Structured(json!({"total": 1, "longest": "bb"}))]);
//!
//! let error = testing::call::<count_words>(json!({"text": "a", "letters_min": "two"})).unwrap_err();
//! assert!(error.message.starts_with("$.letters_min: "), "{}", error.message);
//! # }
//! ```
//!
//! # What becomes of a function
//!
//! | in Rust | in the tool |
//! | --- | --- |
//! | name of the function, or `#[tool(name = "…")]` | its name; one that the host would refuse does not compile |
//! | doc comment (required) | its description |
//! | argument | a property of the input schema. Its type needs serde's `Deserialize` and schemars' `JsonSchema`; `&str` and `&[T]` are read into `String` and `Vec<T>` |
//! | doc comment before an argument | the property's description |
//! | `#[serde(…)]`, `#[schemars(…)]` before an argument | as on a field of a struct: `#[serde(default)]`, `#[serde(rename = "type")]`, `#[schemars(range(max = 10))]` |
//! | `Option<T>`, `#[serde(default)]` | not required |
//! | result | what the agent gets: see [`ToolOutput`] |
//! | `Err` | a tool error; [`ToolError`] says whose fault it is |
//! | panic | a trap: the call ends as *crashed*, and the message is on its stderr |
//!
//! Further keys are refused, in the arguments themselves; in structs inside of them, `#[serde(deny_unknown_fields)]` says
//! so. A number without a fraction is an integer, however it is written. What the schema accepts the tool
//! accepts, for the types of the standard library that JSON Schema can describe; a type that checks more
//! (an IP address, a path that must exist) refuses the rest when it is read. Both name the JSON path, and are
//! the agent's fault. `#[schemars(…)]` limits are enforced by the host (and by `testing`), not by the function.
//!
//! A recursive type can't be described: the host refuses recursive schemas. Hints such as "read only" do not
//! exist in the world `portcullis:tool`: what a tool may do is granted, not claimed.
//!
//! # What the host gives
//!
//! | module | what it does | grant |
//! | --- | --- | --- |
//! | [`kv`] | keeps state: bytes, JSON, counters | `[[grant.keyvalue]]` |
//! | [`config`] | reads what an admin set up | `[grant.config]` |
//! | [`http`] | sends requests | `[[grant.http]]` |
//! | [`secrets`] | reads a secret, where it can't be injected | one of its own |
//! | [`invoke`] | calls other tools | `[[grant.invoke]]` |
//! | [`log`] | writes lines for whoever looks at a call | none |
//! | [`progress`] | says how far a call is, and asks whether it was cancelled | none |
//!
//! A component imports the interfaces of the helpers that it uses, and no others: what is not imported can't
//! be granted by mistake. Without its grant a helper gives its error. `std::fs`, the clock and random numbers work
//! as they do everywhere.
//!
//! # Why the tools are listed
//!
//! [`tools!`] names the tools of a component, and makes its exports. A registry that fills itself
//! would have to run code before `main` (a component has no `main`, and its constructors run at an order that
//! the toolchain chooses) or to collect a section of the linker (which `wasm-ld` does for data, but drops for
//! members of an archive that nobody names). A list is short, can be reviewed, and lets the compiler see two tools
//! of one name.

mod arguments;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod component;
pub mod config;
mod content;
mod error;
#[cfg_attr(
    not(any(target_family = "wasm", feature = "testing")),
    expect(dead_code, reason = "what tests furnish")
)]
mod host;
pub mod http;
pub mod invoke;
pub mod kv;
pub mod log;
mod output;
pub mod progress;
mod schema;
pub mod secrets;
#[cfg(feature = "testing")]
pub mod testing;
mod tool;

pub use content::{Audio, Content, Image, Json, Resource, ResourceBody};
pub use error::{ErrorKind, ToolError};
pub use output::ToolOutput;
pub use portcullis_sdk_macros::tool;
pub use tool::Tool;

/// Offers these tools, by the names or paths of their functions: `tools![render, text::outline];`.
///
/// Once in the crate that is the component. Two tools of one name do not compile:
///
/// ```compile_fail,E0080
/// use portcullis_sdk::{tool, tools};
///
/// /// Says hello.
/// #[tool]
/// fn hello() -> &'static str {
///     "hello"
/// }
///
/// /// Says hello as well.
/// #[tool(name = "hello")]
/// fn welcome() -> &'static str {
///     "welcome"
/// }
///
/// tools![hello, welcome];
/// ```
#[macro_export]
macro_rules! tools {
    ($($tool:ty),+ $(,)?) => {
        const _: () = $crate::__private::assert_unique(&[$(<$tool as $crate::Tool>::NAME),+]);

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::component::world::Guest for Component {
                fn list_tools() -> ::std::vec::Vec<$crate::component::world::ToolDefinition> {
                    ::std::vec![
                        $($crate::component::definition($crate::__private::Definition::of::<$tool>())),+
                    ]
                }

                fn call_tool(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<$crate::component::world::Content>,
                    $crate::component::world::ToolError,
                > {
                    $(
                        if name == <$tool as $crate::Tool>::NAME {
                            return $crate::component::answer(<$tool as $crate::Tool>::call(&arguments));
                        }
                    )+
                    $crate::component::answer($crate::__private::no_such_tool(&name))
                }
            }

            $crate::component::export_tools!(Component with_types_in $crate::component::bindings);
        };
    };
}

/// What the macros write. Not for anyone else: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use std::option::Option;
    pub use std::string::String;
    pub use std::vec::Vec;

    pub use serde_json::Value;
    pub use {schemars, serde};

    pub use crate::arguments::read as read_arguments;
    pub use crate::output::{answer, assert_one_structured};
    pub use crate::schema::input as input_schema;
    pub use crate::tool::{Definition, assert_unique};

    /// The result of a call.
    pub type Answer = Result<Vec<crate::Content>, crate::ToolError>;

    /// The host asks for listed tools only.
    ///
    /// # Errors
    /// Always.
    pub fn no_such_tool(name: &str) -> Answer {
        Err(crate::ToolError::invalid_arguments(format!("there is no tool {name}")))
    }
}
