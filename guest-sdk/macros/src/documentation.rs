//! Doc comments as text.

use syn::spanned::Spanned as _;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The longest description that the host keeps.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 4 << 10;

/// The doc comments of an item, as one text. Empty if there are none.
///
/// # Errors
/// If one is not written out, such as `#[doc = include_str!("…")]`.
pub(crate) fn text(attributes: &[Attribute]) -> syn::Result<String> {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        // `#[doc(hidden)]` and the like say nothing about the tool.
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &pair.value else {
            return Err(syn::Error::new(
                pair.value.span(),
                "a description must be written out: the macro can't evaluate this",
            ));
        };
        lines.extend(line.value().lines().map(|line| line.trim_end().to_owned()));
        // `///` alone is a literal without any line.
        if line.value().is_empty() {
            lines.push(String::new());
        }
    }
    // The space after `///` is no part of the text, but what is indented further is.
    let unindented = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line));
    Ok(unindented.collect::<Vec<_>>().join("\n").trim().to_owned())
}
