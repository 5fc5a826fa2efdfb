//! A function's types as plain data: walked once, within bounds, with names that can be looked up.
//!
//! All that this host knows of a typed function comes from here. A type alias can stand for 2^100 nodes; the
//! walk counts as it goes and stops, it never expands first.

use std::collections::BTreeMap;

use wasmtime::component::types::{ComponentFunc, Record, Tuple, Type, Variant};

use super::schema::SCHEMA_BYTES_MAX;
use crate::text;

/// The deepest nesting of types that becomes a tool: `list<u32>` is two levels.
pub(crate) const TYPE_DEPTH_MAX: usize = 64;

/// Bytes that a node adds to its schema at the least: no node is written shorter than `{"type":"null"}`.
const NODE_BYTES_MIN: usize = 15;

/// A function that can be called with JSON.
#[derive(Debug)]
pub(crate) struct TypedFunction {
    /// The parameters, in order.
    pub(super) params: Named<Shape>,
    /// What it returns.
    pub(super) result: ResultShape,
}

impl TypedFunction {
    /// Walks the types of `func`.
    ///
    /// # Errors
    ///
    /// Fails, with the place, if a type has no JSON form, is nested deeper than [`TYPE_DEPTH_MAX`], or needs
    /// a schema larger than [`SCHEMA_BYTES_MAX`]. The tool author's fault.
    pub(crate) fn new(func: &ComponentFunc) -> Result<Self, Unconvertible> {
        let root = Place::Root("function");
        if func.async_() {
            return Err(root.refuse(UnconvertibleReason::Async));
        }
        let place = Place::Root("parameters");
        let mut walk = Walk { bytes: 0 };
        let mut params = Vec::new();
        for (name, ty) in func.params() {
            let shape = walk.shape(&ty, &place.below(name), 1)?;
            params.push((name.to_owned(), shape));
            walk.charge(name.len(), &place)?;
        }

        let place = Place::Root("result");
        let mut walk = Walk { bytes: 0 };
        let mut results = func.results();
        let result = match (results.next(), results.next()) {
            (None, _) => ResultShape::Plain(None),
            (Some(Type::Result(ty)), None) => ResultShape::Fallible {
                ok: walk.optional(ty.ok(), &place.below("ok"), 1)?,
                err: walk.optional(ty.err(), &place.below("err"), 1)?,
            },
            (Some(ty), None) => ResultShape::Plain(Some(walk.shape(&ty, &place, 1)?)),
            (Some(_), Some(_)) => return Err(place.refuse(UnconvertibleReason::SeveralResults)),
        };
        Ok(Self { params: Named::new(params), result })
    }

    /// How many values a call of it returns: one or none.
    pub(crate) fn result_count(&self) -> usize {
        match self.result {
            ResultShape::Plain(None) => 0,
            ResultShape::Plain(Some(_)) | ResultShape::Fallible { .. } => 1,
        }
    }
}

/// What a function returns.
#[derive(Debug)]
pub(super) enum ResultShape {
    /// A value, or nothing.
    Plain(Option<Shape>),
    /// `result<ok, err>`: `err` is a tool error.
    Fallible {
        /// The result's value.
        ok: Option<Shape>,
        /// The error's value.
        err: Option<Shape>,
    },
}

/// A type.
#[derive(Debug)]
pub(super) enum Shape {
    Bool,
    Integer(IntegerKind),
    Float32,
    Float64,
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    List(Box<Shape>),
    Record(Named<Shape>),
    Tuple(Vec<Shape>),
    Variant(Named<Option<Shape>>),
    /// `result` anywhere but as the function's result: the cases `ok` and `err`.
    Result(Named<Option<Shape>>),
    Enum(Named<()>),
    Option(Box<Shape>),
    Flags(Named<()>),
}

impl Shape {
    /// Whether `null` is one of the values in JSON, so that an option around it needs a wrapper.
    pub(super) fn is_option(&self) -> bool {
        matches!(self, Shape::Option(_))
    }
}

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntegerKind {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

impl IntegerKind {
    /// The smallest and the largest value.
    pub(super) fn range(self) -> (i128, i128) {
        match self {
            IntegerKind::S8 => (i8::MIN.into(), i8::MAX.into()),
            IntegerKind::U8 => (0, u8::MAX.into()),
            IntegerKind::S16 => (i16::MIN.into(), i16::MAX.into()),
            IntegerKind::U16 => (0, u16::MAX.into()),
            IntegerKind::S32 => (i32::MIN.into(), i32::MAX.into()),
            IntegerKind::U32 => (0, u32::MAX.into()),
            IntegerKind::S64 => (i64::MIN.into(), i64::MAX.into()),
            IntegerKind::U64 => (0, u64::MAX.into()),
        }
    }

    /// The form of its decimal digits as a string, for the integers that need it.
    pub(super) fn digits(self) -> Option<&'static str> {
        match self {
            IntegerKind::S64 => Some("^(0|-?[1-9][0-9]{0,18})$"),
            IntegerKind::U64 => Some("^(0|[1-9][0-9]{0,19})$"),
            IntegerKind::S8
            | IntegerKind::U8
            | IntegerKind::S16
            | IntegerKind::U16
            | IntegerKind::S32
            | IntegerKind::U32 => None,
        }
    }
}

/// Things with names, in the order of their declaration.
#[derive(Debug)]
pub(super) struct Named<T> {
    entries: Vec<(String, T)>,
    index: BTreeMap<String, usize>,
}

impl<T> Named<T> {
    fn new(entries: Vec<(String, T)>) -> Self {
        let index = entries.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        Self { entries, index }
    }

    /// Each name with its thing.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, thing)| (name.as_str(), thing))
    }

    /// The names.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// The place of a name in the declaration.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// What has this name.
    pub(super) fn find(&self, name: &str) -> Option<&T> {
        self.index.get(name).map(|at| &self.entries[*at].1)
    }
}

/// Why a function is not a tool, and where in its type. The tool author's to change, and nobody's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub(crate) struct Unconvertible {
    /// The place, such as `parameters/options/items/handle`. Cut.
    pub(crate) path: String,
    /// What stands there.
    pub(crate) reason: UnconvertibleReason,
}

/// What has no JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnconvertibleReason {
    #[error("a resource handle belongs to one call and has no JSON form")]
    Resource,
    #[error("a stream has no JSON form")]
    Stream,
    #[error("a future has no JSON form")]
    Future,
    #[error("an error-context has no JSON form")]
    ErrorContext,
    #[error("a map is not served by this host")]
    Map,
    #[error("a list of fixed length is not served by this host")]
    FixedLengthList,
    #[error("an async function is not served by this host")]
    Async,
    #[error("several results are not served by this host")]
    SeveralResults,
    #[error("types are nested deeper than {TYPE_DEPTH_MAX} levels")]
    TooDeep,
    #[error("the schema would be larger than {SCHEMA_BYTES_MAX} bytes")]
    TooLarge,
}

/// Where the walk is, as a list on the stack.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Root(&'static str),
    Below(&'a Place<'a>, &'a str),
}

impl<'a> Place<'a> {
    fn below(&'a self, name: &'a str) -> Place<'a> {
        Place::Below(self, name)
    }

    pub(super) fn refuse(&self, reason: UnconvertibleReason) -> Unconvertible {
        const PATH_BYTES_MAX: usize = 256;
        let mut names = Vec::new();
        let mut here = *self;
        let root = loop {
            match here {
                Place::Root(name) => break name,
                Place::Below(parent, name) => {
                    names.push(name);
                    here = *parent;
                }
            }
        };
        let mut path = root.to_owned();
        for name in names.into_iter().rev() {
            path.push('/');
            path.push_str(name);
            if path.len() > PATH_BYTES_MAX {
                break;
            }
        }
        Unconvertible { path: text::clean_line(&path, PATH_BYTES_MAX), reason }
    }
}

/// The state of one walk.
struct Walk {
    /// The least that the schema of what was walked is long.
    bytes: usize,
}

impl Walk {
    fn charge(&mut self, bytes: usize, place: &Place<'_>) -> Result<(), Unconvertible> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > SCHEMA_BYTES_MAX {
            return Err(place.refuse(UnconvertibleReason::TooLarge));
        }
        Ok(())
    }

    fn shape(&mut self, ty: &Type, place: &Place<'_>, depth: usize) -> Result<Shape, Unconvertible> {
        if depth > TYPE_DEPTH_MAX {
            return Err(place.refuse(UnconvertibleReason::TooDeep));
        }
        self.charge(NODE_BYTES_MIN, place)?;
        Ok(match ty {
            Type::Bool => Shape::Bool,
            Type::S8 => Shape::Integer(IntegerKind::S8),
            Type::U8 => Shape::Integer(IntegerKind::U8),
            Type::S16 => Shape::Integer(IntegerKind::S16),
            Type::U16 => Shape::Integer(IntegerKind::U16),
            Type::S32 => Shape::Integer(IntegerKind::S32),
            Type::U32 => Shape::Integer(IntegerKind::U32),
            Type::S64 => Shape::Integer(IntegerKind::S64),
            Type::U64 => Shape::Integer(IntegerKind::U64),
            Type::Float32 => Shape::Float32,
            Type::Float64 => Shape::Float64,
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::Own(_) | Type::Borrow(_) => return Err(place.refuse(UnconvertibleReason::Resource)),
            Type::Future(_) => return Err(place.refuse(UnconvertibleReason::Future)),
            Type::Stream(_) => return Err(place.refuse(UnconvertibleReason::Stream)),
            Type::ErrorContext => return Err(place.refuse(UnconvertibleReason::ErrorContext)),
            Type::Map(_) => return Err(place.refuse(UnconvertibleReason::Map)),
            Type::FixedLengthList(_) => return Err(place.refuse(UnconvertibleReason::FixedLengthList)),
            Type::List(list) => self.list(&list.ty(), place, depth + 1)?,
            Type::Option(option) => {
                let inner = self.shape(&option.ty(), &place.below("some"), depth + 1)?;
                Shape::Option(Box::new(inner))
            }
            Type::Record(record) => self.record(record, place, depth + 1)?,
            Type::Tuple(tuple) => self.tuple(tuple, place, depth + 1)?,
            Type::Variant(variant) => self.variant(variant, place, depth + 1)?,
            Type::Result(result) => {
                let ok = self.optional(result.ok(), &place.below("ok"), depth + 1)?;
                let err = self.optional(result.err(), &place.below("err"), depth + 1)?;
                Shape::Result(Named::new(vec![("ok".to_owned(), ok), ("err".to_owned(), err)]))
            }
            Type::Enum(names) => Shape::Enum(self.names(names.names(), place)?),
            Type::Flags(flags) => Shape::Flags(self.names(flags.names(), place)?),
        })
    }

    fn list(&mut self, item: &Type, place: &Place<'_>, depth: usize) -> Result<Shape, Unconvertible> {
        if matches!(item, Type::U8) {
            return Ok(Shape::Bytes);
        }
        Ok(Shape::List(Box::new(self.shape(item, &place.below("items"), depth)?)))
    }

    fn record(&mut self, record: &Record, place: &Place<'_>, depth: usize) -> Result<Shape, Unconvertible> {
        let mut fields = Vec::new();
        for field in record.fields() {
            self.charge(field.name.len(), place)?;
            let shape = self.shape(&field.ty, &place.below(field.name), depth)?;
            fields.push((field.name.to_owned(), shape));
        }
        Ok(Shape::Record(Named::new(fields)))
    }

    fn tuple(&mut self, tuple: &Tuple, place: &Place<'_>, depth: usize) -> Result<Shape, Unconvertible> {
        let mut shapes = Vec::new();
        for (index, ty) in tuple.types().enumerate() {
            shapes.push(self.shape(&ty, &place.below(&index.to_string()), depth)?);
        }
        Ok(Shape::Tuple(shapes))
    }

    fn variant(
        &mut self,
        variant: &Variant,
        place: &Place<'_>,
        depth: usize,
    ) -> Result<Shape, Unconvertible> {
        let mut cases = Vec::new();
        for case in variant.cases() {
            self.charge(case.name.len() + NODE_BYTES_MIN, place)?;
            let payload = self.optional(case.ty, &place.below(case.name), depth)?;
            cases.push((case.name.to_owned(), payload));
        }
        Ok(Shape::Variant(Named::new(cases)))
    }

    fn optional(
        &mut self,
        ty: Option<Type>,
        place: &Place<'_>,
        depth: usize,
    ) -> Result<Option<Shape>, Unconvertible> {
        ty.map(|ty| self.shape(&ty, place, depth)).transpose()
    }

    fn names<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        place: &Place<'_>,
    ) -> Result<Named<()>, Unconvertible> {
        let mut entries = Vec::new();
        for name in names {
            self.charge(name.len(), place)?;
            entries.push((name.to_owned(), ()));
        }
        Ok(Named::new(entries))
    }
}
