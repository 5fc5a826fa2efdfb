//! The names of tools.

use proc_macro2::Span;

/// The longest name.
const NAME_BYTES_MAX: usize = 64;

/// Checks a name by the host's rule, so that a component is not refused at its registration.
///
/// # Errors
/// If the host would refuse it.
pub(crate) fn check(name: &str, span: Span) -> syn::Result<()> {
    let bytes = name.as_bytes();
    let fits = (1..=NAME_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits {
        return Ok(());
    }
    Err(syn::Error::new(
        span,
        format!(
            "the host refuses a tool named {name:?}: use 1 to {NAME_BYTES_MAX} of A-Z, a-z, 0-9, '_' and '-', \
             beginning with a letter or digit; #[tool(name = \"…\")] names a tool otherwise than its function"
        ),
    ))
}
