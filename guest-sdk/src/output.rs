//! From what a function returns to the content of a result.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::content::{Audio, Content, Image, Json, Resource};
use crate::error::ToolError;
use crate::schema;

/// What a tool's function may return.
///
/// Text (`String`, `&'static str`), [`Image`], [`Audio`], [`Resource`], [`Json`], [`Content`], `()` for nothing; tuples of
/// up to six of these, `Vec` and `Option`; and `Result` of any of it with an error that can be shown, or a
/// [`ToolError`].
///
/// A result has one structured value at most. More do not compile where the types tell; where they don't
/// (`Vec<Content>`), the call fails, by the tool's fault.
///
/// ```compile_fail,E0080
/// use portcullis_sdk::{Json, tool};
///
/// /// Gives two values.
/// #[tool]
/// fn two() -> (Json<u8>, Json<u8>) {
///     (Json(1), Json(2))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a tool",
    note = "return text, `Image`, `Audio`, `Resource`, `Json<T>` for anything with a schema, `Content`, `()`, or tuples, `Vec`, `Option` and `Result` of these"
)]
pub trait ToolOutput {
    /// The most structured values in it; more than one does not compile as the result of a tool.
    const STRUCTURED: usize;

    /// The schema of the structured value, if there always is one.
    fn output_schema() -> Option<Value>;

    /// Adds its parts to a result.
    ///
    /// # Errors
    /// If it is an error, or can't be written as JSON.
    fn append(self, result: &mut Vec<Content>) -> Result<(), ToolError>;
}

/// Content that is no structured value.
macro_rules! plain {
    ($($type:ty => $content:expr),+ $(,)?) => {$(
        impl ToolOutput for $type {
            const STRUCTURED: usize = 0;

            fn output_schema() -> Option<Value> {
                None
            }

            fn append(self, result: &mut Vec<Content>) -> Result<(), ToolError> {
                let content: fn(Self) -> Content = $content;
                result.push(content(self));
                Ok(())
            }
        }
    )+};
}

plain! {
    String => Content::Text,
    &'static str => |text| Content::Text(text.to_owned()),
    Image => Content::Image,
    Audio => Content::Audio,
    Resource => Content::Resource,
    // That it may be structured is seen when it is there.
    Content => |content| content,
}

impl<T: Serialize + JsonSchema> ToolOutput for Json<T> {
    const STRUCTURED: usize = 1;

    fn output_schema() -> Option<Value> {
        Some(schema::output::<T>())
    }

    fn append(self, result: &mut Vec<Content>) -> Result<(), ToolError> {
        let value = serde_json::to_value(self.0).map_err(|error| {
            ToolError::failed(format!("the structured result can't be written as JSON: {error}"))
        })?;
        result.push(Content::Structured(value));
        Ok(())
    }
}

impl<T: ToolOutput> ToolOutput for Vec<T> {
    const STRUCTURED: usize = T::STRUCTURED * 2;

    fn output_schema() -> Option<Value> {
        None
    }

    fn append(self, result: &mut Vec<Content>) -> Result<(), ToolError> {
        self.into_iter().try_for_each(|part| part.append(result))
    }
}

impl<T: ToolOutput> ToolOutput for Option<T> {
    const STRUCTURED: usize = T::STRUCTURED;

    fn output_schema() -> Option<Value> {
        None
    }

    fn append(self, result: &mut Vec<Content>) -> Result<(), ToolError> {
        self.map_or(Ok(()), |part| part.append(result))
    }
}

impl<T: ToolOutput, E> ToolOutput for Result<T, E>
where
    ToolError: From<E>,
{
    const STRUCTURED: usize = T::STRUCTURED;

    fn output_schema() -> Option<Value> {
        T::output_schema()
    }

    fn append(self, result: &mut Vec<Content>) -> Result<(), ToolError> {
        self?.append(result)
    }
}

macro_rules! tuples {
    ($(($($part:ident),*))+) => {$(
        impl<$($part: ToolOutput),*> ToolOutput for ($($part,)*) {
            const STRUCTURED: usize = 0 $(+ $part::STRUCTURED)*;

            fn output_schema() -> Option<Value> {
                None$(.or_else($part::output_schema))*
            }

            fn append(self, _result: &mut Vec<Content>) -> Result<(), ToolError> {
                #[allow(non_snake_case, reason = "each value is named after its type")]
                let ($($part,)*) = self;
                $($part.append(_result)?;)*
                Ok(())
            }
        }
    )+};
}

tuples! {
    ()
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
}

/// Fails at compile time for a result with two structured values.
pub const fn assert_one_structured<T: ToolOutput>() {
    assert!(T::STRUCTURED <= 1, "a result holds at most one structured value: put both into one struct");
}

/// The result of a call.
///
/// # Errors
/// If the output is an error, or holds two structured values.
pub fn answer(output: impl ToolOutput) -> Result<Vec<Content>, ToolError> {
    let mut result = Vec::new();
    output.append(&mut result)?;
    let structured = result.iter().filter(|part| matches!(part, Content::Structured(_))).count();
    if structured > 1 {
        return Err(ToolError::failed(format!(
            "the tool gave {structured} structured values, and a result holds one"
        )));
    }
    Ok(result)
}
