//! One parameter of a tool's function: a property of the input schema.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, FnArg, Meta, Pat, PatType, Type};

/// Attributes that describe the argument. They move to the field of the generated struct.
const MOVED: [&str; 3] = ["doc", "schemars", "serde"];

/// A checked parameter.
pub(crate) struct Parameter {
    name: Ident,
    /// Those of [`MOVED`].
    attributes: Vec<Attribute>,
    /// What the argument is read into.
    owned: TokenStream,
    /// Whether the function takes it by reference.
    borrowed: bool,
}

impl Parameter {
    /// Checks a parameter, and takes its descriptive attributes from it.
    ///
    /// # Errors
    /// If it can't be a property.
    pub(crate) fn take(argument: &mut FnArg) -> syn::Result<Self> {
        let typed = match argument {
            FnArg::Receiver(receiver) => {
                return Err(Error::new(
                    receiver.span(),
                    "a tool has no `self`: nothing is kept between two calls. Make it a function outside of any impl",
                ));
            }
            FnArg::Typed(typed) => typed,
        };
        let name = name(typed)?;
        let (owned, borrowed) = owned(&typed.ty)?;
        let (attributes, kept) = std::mem::take(&mut typed.attrs)
            .into_iter()
            .partition(|attribute| MOVED.iter().any(|moved| attribute.path().is_ident(moved)));
        typed.attrs = kept;
        let parameter = Self { name, attributes, owned, borrowed };
        parameter.check_attributes(&typed.attrs)?;
        Ok(parameter)
    }

    fn check_attributes(&self, kept: &[Attribute]) -> syn::Result<()> {
        for attribute in kept {
            if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
                return Err(Error::new(
                    attribute.span(),
                    "an argument can't be conditional: its tool's schema is pinned when the component is registered",
                ));
            }
        }
        for attribute in &self.attributes {
            let Meta::List(list) = &attribute.meta else { continue };
            if list.path.is_ident("serde") && list.tokens.clone().into_iter().any(|token| is_flatten(&token))
            {
                return Err(Error::new(
                    attribute.span(),
                    "`flatten` can't be checked for unknown keys: take the struct as one argument",
                ));
            }
        }
        Ok(())
    }

    /// The field of the generated struct.
    pub(crate) fn field(&self) -> TokenStream {
        let Self { name, attributes, owned, .. } = self;
        quote!(#(#attributes)* #name: #owned)
    }

    /// What the function is called with.
    pub(crate) fn value(&self, arguments: &Ident) -> TokenStream {
        let name = &self.name;
        if self.borrowed { quote!(&#arguments.#name) } else { quote!(#arguments.#name) }
    }
}

fn is_flatten(token: &proc_macro2::TokenTree) -> bool {
    matches!(token, proc_macro2::TokenTree::Ident(word) if word == "flatten")
}

fn name(typed: &PatType) -> syn::Result<Ident> {
    if let Pat::Ident(pattern) = &*typed.pat
        && pattern.by_ref.is_none()
        && pattern.subpat.is_none()
    {
        return Ok(pattern.ident.clone());
    }
    Err(Error::new(typed.pat.span(), "an argument needs a plain name: it is the key that agents write"))
}

/// The type that an argument is read into, and whether the function borrows it.
fn owned(ty: &Type) -> syn::Result<(TokenStream, bool)> {
    // A type that came through `macro_rules!`.
    if let Type::Group(group) = ty {
        return owned(&group.elem);
    }
    if matches!(ty, Type::ImplTrait(_)) {
        return Err(Error::new(ty.span(), "an argument needs a type of its own: its schema is made from it"));
    }
    let Type::Reference(reference) = ty else { return Ok((quote!(#ty), false)) };
    if let Some(lifetime) = &reference.lifetime {
        return Err(Error::new(
            lifetime.span(),
            "an argument lives as long as the call: leave the lifetime out",
        ));
    }
    match (&reference.mutability, &*reference.elem) {
        (None, Type::Path(path)) if path.path.is_ident("str") => {
            Ok((quote!(::portcullis_sdk::__private::String), true))
        }
        (None, Type::Slice(slice)) => {
            let element = &slice.elem;
            Ok((quote!(::portcullis_sdk::__private::Vec<#element>), true))
        }
        _ => Err(Error::new(
            ty.span(),
            "of references a tool takes `&str` and `&[T]` only: take the value itself",
        )),
    }
}
