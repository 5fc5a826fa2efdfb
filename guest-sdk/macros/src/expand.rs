//! From a function to the function and its tool.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Error, Item, ItemFn, LitStr, ReturnType, Safety, Signature, Type};

use crate::documentation::{self, DESCRIPTION_BYTES_MAX};
use crate::name;
use crate::parameter::Parameter;

/// Expands `#[tool(options)] item`.
///
/// # Errors
/// With all that keeps the function from being a tool, each at its place.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let mut function = function(item)?;
    let mut faults = Faults::default();
    let chosen = faults.note(chosen_name(options)).flatten();
    faults.note(check_signature(&function.sig));
    faults.note(check_result(&function.sig.output));
    let description = faults.note(description(&function));
    let parameters: Vec<Parameter> = function
        .sig
        .inputs
        .iter_mut()
        .filter_map(|argument| faults.note(Parameter::take(argument)))
        .collect();
    let (tool_name, span) = match &chosen {
        Some(literal) => (literal.value(), literal.span()),
        None => (function.sig.ident.unraw().to_string(), function.sig.ident.span()),
    };
    faults.note(name::check(&tool_name, span));
    faults.finish()?;
    Ok(write(&function, &tool_name, &description.unwrap_or_default(), &parameters))
}

/// All faults, so that an author sees them at once.
#[derive(Default)]
struct Faults(Option<Error>);

impl Faults {
    fn note<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        match &mut self.0 {
            Some(faults) => faults.combine(error),
            none => *none = Some(error),
        }
        None
    }

    fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

fn function(item: TokenStream) -> syn::Result<ItemFn> {
    syn::parse2::<ItemFn>(item.clone()).map_err(|error| match syn::parse2::<Item>(item) {
        Ok(Item::Fn(_)) | Err(_) => error,
        Ok(other) => Error::new(other.span(), "#[tool] stands on a plain function with a body"),
    })
}

/// The name that the attribute gives, if it does.
fn chosen_name(options: TokenStream) -> syn::Result<Option<LitStr>> {
    let mut name: Option<LitStr> = None;
    let parser = syn::meta::parser(|option| {
        if !option.path.is_ident("name") {
            return Err(option.error(
                "the one option is `name = \"…\"`. The world portcullis:tool has no hints such as `read_only`: \
                 what a tool may do is granted, not claimed",
            ));
        }
        if name.replace(option.value()?.parse()?).is_some() {
            return Err(option.error("`name` is given twice"));
        }
        Ok(())
    });
    parser.parse2(options)?;
    Ok(name)
}

fn check_signature(signature: &Signature) -> syn::Result<()> {
    let mut faults = Faults::default();
    let mut refuse = |span: Span, reason: &str| {
        faults.note::<()>(Err(Error::new(span, reason)));
    };
    if let Some(word) = &signature.asyncness {
        refuse(word.span(), "a tool is not `async`: a call runs to its end in a sandbox of its own");
    }
    match &signature.safety {
        Safety::Unsafe(word) => refuse(word.span(), "a tool is not `unsafe`: its caller is an agent"),
        Safety::Safe(word) => refuse(word.span(), "a tool is a plain function"),
        Safety::Default => {}
    }
    if let Some(abi) = &signature.abi {
        refuse(abi.span(), "a tool is a plain function: the component's exports are made for it");
    }
    if !signature.generics.params.is_empty() {
        refuse(signature.generics.params.span(), "a tool is not generic: it has one schema");
    }
    if let Some(clause) = &signature.generics.where_clause {
        refuse(clause.span(), "a tool is not generic: it has one schema");
    }
    if let Some(dots) = &signature.variadic {
        refuse(dots.span(), "a tool's arguments have names: take a list instead");
    }
    faults.finish()
}

fn check_result(output: &ReturnType) -> syn::Result<()> {
    let ReturnType::Type(_, ty) = output else { return Ok(()) };
    if matches!(&**ty, Type::ImplTrait(_)) {
        return Err(Error::new(ty.span(), "a result needs a type of its own: its schema is made from it"));
    }
    if let Type::Reference(reference) = &**ty
        && reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident != "static")
    {
        return Err(Error::new(
            ty.span(),
            "the result outlives the call: return an owned value, such as `String`",
        ));
    }
    Ok(())
}

fn description(function: &ItemFn) -> syn::Result<String> {
    let text = documentation::text(&function.attrs)?;
    let span = function.sig.ident.span();
    if text.is_empty() {
        return Err(Error::new(
            span,
            "a tool needs a doc comment: it is the description by which agents choose, and admins review",
        ));
    }
    if text.len() > DESCRIPTION_BYTES_MAX {
        return Err(Error::new(
            span,
            format!(
                "the description has {} bytes, of which the host keeps {DESCRIPTION_BYTES_MAX}",
                text.len()
            ),
        ));
    }
    Ok(text)
}

fn write(function: &ItemFn, name: &str, description: &str, parameters: &[Parameter]) -> TokenStream {
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let result = match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    let (result_span, span) = (result.span(), ident.span());
    let documentation = format!("The tool `{name}`, for `tools!` and for tests.");
    // Long names, so that nothing of the author's is hidden in the block below: not a type, and not the
    // function itself, which may be called `arguments` or `text`.
    let struct_name = format_ident!("__PortcullisArguments");
    let arguments = Ident::new("__portcullis_arguments", Span::mixed_site());
    let text = Ident::new("__portcullis_text", Span::mixed_site());
    let fields = parameters.iter().map(Parameter::field);
    let values = parameters.iter().map(|parameter| parameter.value(&arguments));
    let one_structured = quote_spanned! {result_span=>
        const _: () = ::portcullis_sdk::__private::assert_one_structured::<#result>();
    };
    let call = quote_spanned! {span=> #ident(#(#values),*) };
    quote! {
        #function

        #[doc = #documentation]
        #[allow(non_camel_case_types, reason = "it is named as the function is")]
        #[derive(Debug)]
        #visibility enum #ident {}

        const _: () = {
            #[derive(
                ::portcullis_sdk::__private::serde::Deserialize,
                ::portcullis_sdk::__private::schemars::JsonSchema,
            )]
            #[serde(crate = "::portcullis_sdk::__private::serde", deny_unknown_fields)]
            #[schemars(crate = "::portcullis_sdk::__private::schemars")]
            struct #struct_name {
                #(#fields,)*
            }

            #one_structured

            impl ::portcullis_sdk::Tool for #ident {
                const NAME: &'static str = #name;
                const DESCRIPTION: &'static str = #description;

                fn input_schema() -> ::portcullis_sdk::__private::Value {
                    ::portcullis_sdk::__private::input_schema::<#struct_name>()
                }

                fn output_schema() -> ::portcullis_sdk::__private::Option<::portcullis_sdk::__private::Value> {
                    <#result as ::portcullis_sdk::ToolOutput>::output_schema()
                }

                fn call(#text: &str) -> ::portcullis_sdk::__private::Answer {
                    let #arguments: #struct_name = ::portcullis_sdk::__private::read_arguments(#text)?;
                    ::portcullis_sdk::__private::answer(#call)
                }
            }
        };
    }
}
