"""Schemas of types, as the host takes them: JSON Schema 2020-12 without references."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from enum import Enum
from typing import Any, Union

from . import _values

Schema = dict[str, Any]

_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    Any: {},
}


def of(kind: Any, *, of_result: bool = False, inside: tuple[Any, ...] = ()) -> Schema:
    """The schema of a type. `Annotated[T, "what it is", {"minimum": 0}]` adds a description, and further keywords.

    Of a result every field is there; of arguments, one with a default need not be.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)

    def part(kind: Any) -> Schema:
        return of(kind, of_result=of_result, inside=inside)

    if origin is typing.Annotated:
        schema = part(args[0])
        for more in args[1:]:
            if isinstance(more, str):
                schema["description"] = more
            elif isinstance(more, dict):
                schema.update(more)
        return schema
    if kind in _PLAIN if _is_hashable(kind) else False:
        return dict(_PLAIN[kind])
    if origin is list:
        return {"type": "array", "items": part(args[0])}
    if origin is dict and args[0] is str:
        return {"type": "object", "additionalProperties": part(args[1])}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [part(one) for one in args]}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _described(kind, {"enum": [member.value for member in kind]})
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if kind in inside:
            raise TypeError(f"{kind.__name__} contains itself, and the host refuses recursive schemas")
        hints = typing.get_type_hints(kind, include_extras=True)
        names = [field.name for field in dataclasses.fields(kind)]
        lacking = {field.name for field in dataclasses.fields(kind) if _values.has_default(field)}
        properties = {
            name: of(hints[name], of_result=of_result, inside=(*inside, kind)) for name in names
        }
        return _described(kind, object_of(properties, [n for n in names if of_result or n not in lacking]))
    raise TypeError(
        f"{kind!r} has no schema: use str, bool, int, float, None, list[T], dict[str, T], Literal, Union, Any, "
        "enums, dataclasses and Annotated of these"
    )


def _is_hashable(kind: Any) -> bool:
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def _described(kind: type, schema: Schema) -> Schema:
    doc = kind.__doc__
    # Without one of its own, a dataclass has its signature there, and an enum that of Enum.
    is_own = doc and not doc.startswith(f"{kind.__name__}(") and doc != Enum.__doc__
    return {**schema, "description": inspect.cleandoc(doc)} if doc and is_own else schema


def object_of(properties: dict[str, Schema], required: list[str]) -> Schema:
    """The schema of an object with these properties, and no others."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema
