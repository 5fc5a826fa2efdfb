//! The capability reference for authors: the part of `docs/capabilities.md` that is made of `wit/`, so that no function
//! is served that it does not name.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wit_parser::{Docs, Function, Handle, Interface, Resolve, Type, TypeDef, TypeDefKind, TypeId, WorldItem};

const PAGE: &str = "docs/capabilities.md";
const MARK: &str = "<!-- made of wit/ by `cargo xtask tidy --update-reference` -->\n";
/// The world of all that the host serves.
const WORLD: &str = "host";

/// Says if the page is not what `wit/` says.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
    let made = made(&root.join("wit"))?;
    let is_same = page.split_once(MARK).is_some_and(|(_, below)| below == made);
    let stale =
        format!("{PAGE}: not what wit/ says below its mark; `cargo xtask tidy --update-reference` writes it");
    Ok(if is_same { Vec::new() } else { vec![stale] })
}

/// Writes what stands below the mark.
pub(super) fn update(root: &Path) -> Result<()> {
    let path = root.join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("reading {PAGE}"))?;
    let (above, _) = page.split_once(MARK).with_context(|| format!("{PAGE} has no line {MARK}"))?;
    fs::write(&path, format!("{above}{MARK}{}", made(&root.join("wit"))?))?;
    println!("{PAGE} is written");
    Ok(())
}

fn made(wit: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    let mut text = String::new();
    for (key, item) in &resolve.worlds[world].imports {
        if let WorldItem::Interface { id, .. } = item {
            let name = resolve.name_world_key(key);
            write_interface(&resolve, &name, &resolve.interfaces[*id], &mut text)?;
        }
    }
    Ok(text)
}

fn write_interface(resolve: &Resolve, name: &str, interface: &Interface, text: &mut String) -> Result<()> {
    writeln!(text, "\n## {name}\n")?;
    if let Some(docs) = paragraph(&interface.docs) {
        writeln!(text, "{docs}\n")?;
    }
    let types: Vec<String> = interface
        .types
        .iter()
        .filter_map(|(name, id)| definition(resolve, name, &resolve.types[*id]))
        .collect();
    if !interface.functions.is_empty() {
        writeln!(text, "| function | what it does |\n| --- | --- |")?;
        for function in interface.functions.values() {
            let docs = paragraph(&function.docs).unwrap_or_default();
            writeln!(text, "| `{}` | {} |", signature(resolve, function), cell(&sentence(&docs)))?;
        }
    }
    if !types.is_empty() {
        let line = if interface.functions.is_empty() { "" } else { "\n" };
        writeln!(text, "{line}Types: {}.", types.join("; "))?;
    }
    Ok(())
}

/// The first paragraph of a comment, in one line.
fn paragraph(docs: &Docs) -> Option<String> {
    let first = docs.contents.as_deref()?.trim().split("\n\n").next()?;
    Some(first.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Its first sentence.
fn sentence(text: &str) -> String {
    text.split_once(". ").map_or_else(|| text.to_owned(), |(first, _)| format!("{first}."))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A function as WIT has it; of a resource with the resource before it.
fn signature(resolve: &Resolve, function: &Function) -> String {
    let name = match function.kind.resource() {
        None => function.name.clone(),
        Some(id) => {
            let resource = resolve.types[id].name.clone().unwrap_or_default();
            let own = function.item_name();
            if function.name.starts_with("[constructor]") { resource } else { format!("{resource}.{own}") }
        }
    };
    let is_method = function.name.starts_with("[method]");
    let parameters: Vec<String> = function
        .params
        .iter()
        .skip(usize::from(is_method))
        .map(|parameter| format!("{}: {}", parameter.name, type_name(resolve, &parameter.ty)))
        .collect();
    let result =
        function.result.as_ref().map(|ty| format!(" -> {}", type_name(resolve, ty))).unwrap_or_default();
    format!("{name}({}){result}", parameters.join(", "))
}

/// A type that an interface defines; nothing for one of another interface, and for resources, whose functions say
/// what they are.
fn definition(resolve: &Resolve, name: &str, ty: &TypeDef) -> Option<String> {
    let of = |ty: &Type| type_name(resolve, ty);
    let listed = |items: Vec<String>| items.join(", ");
    let text = match &ty.kind {
        TypeDefKind::Record(record) => {
            listed(record.fields.iter().map(|field| format!("{}: {}", field.name, of(&field.ty))).collect())
        }
        TypeDefKind::Variant(variant) => {
            let case = |name: &String, ty: &Option<Type>| match ty {
                Some(ty) => format!("{name}({})", of(ty)),
                None => name.clone(),
            };
            listed(variant.cases.iter().map(|one| case(&one.name, &one.ty)).collect())
        }
        TypeDefKind::Enum(named) => listed(named.cases.iter().map(|case| case.name.clone()).collect()),
        TypeDefKind::Flags(flags) => listed(flags.flags.iter().map(|flag| flag.name.clone()).collect()),
        TypeDefKind::Type(Type::Id(_)) | TypeDefKind::Resource | TypeDefKind::Unknown => return None,
        TypeDefKind::Type(other) => return Some(format!("`{name} = {}`", of(other))),
        TypeDefKind::Handle(_)
        | TypeDefKind::Tuple(_)
        | TypeDefKind::Option(_)
        | TypeDefKind::Result(_)
        | TypeDefKind::List(_)
        | TypeDefKind::Map(..)
        | TypeDefKind::FixedLengthList(..)
        | TypeDefKind::Future(_)
        | TypeDefKind::Stream(_) => return Some(format!("`{name} = {}`", kind_name(resolve, &ty.kind))),
    };
    Some(format!("`{name}` ({} `{text}`)", ty.kind.as_str()))
}

fn type_name(resolve: &Resolve, ty: &Type) -> String {
    let plain = match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::Id(id) => return named_or_written(resolve, *id),
    };
    plain.to_owned()
}

fn named_or_written(resolve: &Resolve, id: TypeId) -> String {
    let ty = &resolve.types[id];
    ty.name.clone().unwrap_or_else(|| kind_name(resolve, &ty.kind))
}

fn kind_name(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let of = |ty: &Type| type_name(resolve, ty);
    let or = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), of);
    match kind {
        TypeDefKind::Handle(Handle::Own(id)) => named_or_written(resolve, *id),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", named_or_written(resolve, *id)),
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Option(inner) => format!("option<{}>", of(inner)),
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (None, None) => "result".to_owned(),
            (Some(ok), None) => format!("result<{}>", of(ok)),
            (ok, err) => format!("result<{}, {}>", or(ok), or(err)),
        },
        TypeDefKind::List(item) => format!("list<{}>", of(item)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", of(key), of(value)),
        TypeDefKind::FixedLengthList(item, length) => format!("list<{}, {length}>", of(item)),
        TypeDefKind::Future(inner) => format!("future<{}>", or(inner)),
        TypeDefKind::Stream(inner) => format!("stream<{}>", or(inner)),
        TypeDefKind::Type(inner) => of(inner),
        TypeDefKind::Record(_)
        | TypeDefKind::Resource
        | TypeDefKind::Flags(_)
        | TypeDefKind::Variant(_)
        | TypeDefKind::Enum(_)
        | TypeDefKind::Unknown => kind.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_written_as_wit_has_them_with_the_first_sentence_of_their_docs() {
        let mut resolve = Resolve::default();
        let wit = "package a:b;\n/// An interface.\n///\n/// More of it.\ninterface i {\n  \
                   variant e { one, two(string) }\n  resource r {\n    constructor();\n    /// Gets | it. Or not.\n    \
                   get: func(key: option<list<u8>>) -> result<_, e>;\n  }\n}\nworld host { import i; }\n";
        let package = resolve.push_str("a.wit", wit).expect("WIT");
        let world = resolve.select_world(&[package], Some(WORLD)).expect("a world");
        let (key, item) = resolve.worlds[world].imports.first().expect("an import");
        let WorldItem::Interface { id, .. } = item else { panic!("{key:?}") };
        let mut text = String::new();
        write_interface(&resolve, "a:b/i", &resolve.interfaces[*id], &mut text).expect("written");
        let expected = "\n## a:b/i\n\nAn interface.\n\n| function | what it does |\n| --- | --- |\n| `r() -> r` |  |\n\
                        | `r.get(key: option<list<u8>>) -> result<_, e>` | Gets \\| it. |\n\n\
                        Types: `e` (variant `one, two(string)`).\n";
        assert_eq!(text, expected);
    }
}
