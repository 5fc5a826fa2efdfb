//! The attribute `#[tool]`. Use it through `portcullis-sdk`, whose documentation describes it.
//!
//! This file is the door that the compiler calls; the work is done in [`expand`](mod@expand), on
//! token streams that a unit test can make as well.

mod documentation;
mod expand;
mod name;
mod parameter;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Makes a tool of a plain function. See the documentation of `portcullis-sdk`.
///
/// The function stays as it is. Beside it stands a type of the same name, for `tools!` and for tests.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    match expand::expand(options.into(), item.into()) {
        Ok(expanded) => expanded.into(),
        Err(error) => error.to_compile_error().into(),
    }
}
