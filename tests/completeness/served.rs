//! What `wit/` says that the host serves, and which of it a guest can reach: a function can be called
//! if each handle that it must be given is given by a function that can be called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wit_parser::{Handle, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldItem};

/// `INTERFACE#FUNCTION`, without versions.
pub(super) type Name = String;
/// `INTERFACE.RESOURCE`.
type ResourceName = String;

/// What a function must be given, and may give.
#[derive(Debug, Default)]
pub(super) struct Signature {
    /// Resources of which it needs a handle. What stands in an option, a list or a variant it can do
    /// without.
    pub(super) takes: BTreeSet<ResourceName>,
    /// Resources of which it may give a handle, in an error too.
    pub(super) gives: BTreeSet<ResourceName>,
}

/// All functions of the world `host`.
pub(super) struct Served {
    pub(super) functions: BTreeMap<Name, Signature>,
}

impl Served {
    pub(super) fn read() -> Self {
        let mut resolve = Resolve { all_features: true, ..Resolve::default() };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let (package, _) = resolve.push_dir(folder).expect("wit/ is valid");
        let world = resolve.select_world(&[package], Some("host")).expect("wit/ has the world `host`");
        let mut functions = BTreeMap::new();
        for item in resolve.worlds[world].imports.values() {
            let WorldItem::Interface { id, .. } = item else { panic!("the world imports only interfaces") };
            let interface = interface_name(&resolve, *id);
            for (name, function) in &resolve.interfaces[*id].functions {
                let mut signature = Signature::default();
                for parameter in &function.params {
                    handles(&resolve, parameter.ty, false, &mut signature.takes);
                }
                if let Some(result) = function.result {
                    handles(&resolve, result, true, &mut signature.gives);
                }
                functions.insert(format!("{interface}#{name}"), signature);
            }
        }
        Self { functions }
    }

    /// The functions that a guest can call if `refused` give nothing, and the resources that it can hold.
    pub(super) fn reachable(&self, refused: &BTreeSet<Name>) -> (BTreeSet<Name>, BTreeSet<ResourceName>) {
        let (mut reached, mut held) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let before = reached.len();
            for (name, signature) in &self.functions {
                if signature.takes.is_subset(&held) && reached.insert(name.clone()) && !refused.contains(name)
                {
                    held.extend(signature.gives.iter().cloned());
                }
            }
            if reached.len() == before {
                return (reached, held);
            }
        }
    }

    /// Those that could give a resource.
    pub(super) fn givers(&self, resource: &str) -> Vec<&Name> {
        let gives = |(name, signature): (_, &Signature)| signature.gives.contains(resource).then_some(name);
        self.functions.iter().filter_map(gives).collect()
    }
}

fn interface_name(resolve: &Resolve, id: wit_parser::InterfaceId) -> String {
    let interface = &resolve.interfaces[id];
    let package = &resolve.packages[interface.package.expect("it is in a package")].name;
    let name = interface.name.as_ref().expect("it has a name");
    format!("{}:{}/{name}", package.namespace, package.name)
}

/// The resource that a name stands for, through `use` and `type`.
fn resource_name(resolve: &Resolve, mut id: TypeId) -> ResourceName {
    while let TypeDefKind::Type(Type::Id(other)) = &resolve.types[id].kind {
        id = *other;
    }
    let ty = &resolve.types[id];
    let TypeOwner::Interface(interface) = ty.owner else { panic!("a resource lies in an interface") };
    format!("{}.{}", interface_name(resolve, interface), ty.name.as_ref().expect("it has a name"))
}

/// The handles in a type: all of them, or only those that a value of it can't do without.
fn handles(resolve: &Resolve, ty: Type, all: bool, found: &mut BTreeSet<ResourceName>) {
    let Type::Id(id) = ty else { return };
    let mut each = |ty: Option<Type>| {
        if let Some(ty) = ty {
            handles(resolve, ty, all, found);
        }
    };
    match &resolve.types[id].kind {
        TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => {
            found.insert(resource_name(resolve, *resource));
        }
        TypeDefKind::Type(ty) => each(Some(*ty)),
        TypeDefKind::Record(record) => record.fields.iter().for_each(|field| each(Some(field.ty))),
        TypeDefKind::Tuple(tuple) => tuple.types.iter().for_each(|ty| each(Some(*ty))),
        TypeDefKind::FixedLengthList(ty, _) => each(Some(*ty)),
        TypeDefKind::Variant(variant) if all => variant.cases.iter().for_each(|case| each(case.ty)),
        TypeDefKind::Option(ty) | TypeDefKind::List(ty) if all => each(Some(*ty)),
        TypeDefKind::Result(result) if all => {
            each(result.ok);
            each(result.err);
        }
        TypeDefKind::Map(key, value) if all => {
            each(Some(*key));
            each(Some(*value));
        }
        TypeDefKind::Variant(_)
        | TypeDefKind::Option(_)
        | TypeDefKind::List(_)
        | TypeDefKind::Result(_)
        | TypeDefKind::Map(..)
        | TypeDefKind::Enum(_)
        | TypeDefKind::Flags(_)
        | TypeDefKind::Resource => {}
        TypeDefKind::Future(_) | TypeDefKind::Stream(_) | TypeDefKind::Unknown => {
            panic!("WASI 0.2 has no such type")
        }
    }
}
