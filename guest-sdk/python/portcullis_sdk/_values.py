"""JSON and the types of Python: paths, reading what came, writing what goes."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from enum import Enum
from typing import Any, Union

from ._error import ToolError


def key(path: str, name: str) -> str:
    """A key as RFC 9535 writes it, which is how the host does."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    return f"{path}.{name}" if plain else f"{path}[{json.dumps(name, ensure_ascii=False)}]"


class _Twice:
    def __init__(self, name: str) -> None:
        self.name = name


def _object(pairs: list[tuple[str, Any]]) -> Any:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            return _Twice(name)
        found[name] = value
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _check(value: Any, path: str) -> None:
    if isinstance(value, _Twice):
        raise ToolError.invalid_arguments(f"{key(path, value.name)}: the key is given twice")
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolError.invalid_arguments(f"{path}: the arguments are not JSON: number out of range")
    if isinstance(value, dict):
        for name, item in value.items():
            _check(item, key(path, name))
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]")


def parse(text: str) -> dict[str, Any]:
    """Parses the arguments of a call: a JSON object in which no key stands twice."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        _check(value, "$")
    except (ValueError, RecursionError) as error:
        raise ToolError.invalid_arguments(f"$: the arguments are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ToolError.invalid_arguments("$: the arguments must be a JSON object")
    return value


def _named(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


def read(kind: Any, value: Any, path: str = "$", *, lenient: bool = False) -> Any:
    """A JSON value as a type. What does not fit is a `ValueError` that begins with its JSON path.

    `lenient` leaves out keys that a type does not have, as what others send has more than is asked for.
    """

    def wrong(expected: str) -> ValueError:
        return ValueError(f"{path}: {_named(value)} is not {expected}")

    def part(kind: Any, value: Any, path: str) -> Any:
        return read(kind, value, path, lenient=lenient)

    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return part(of[0], value, path)
    if kind is Any:
        return value
    if kind is None or kind is type(None):
        if value is not None:
            raise wrong("null")
        return None
    if kind is str or kind is bool:
        if type(value) is not kind:
            raise wrong("a text" if kind is str else "a boolean")
        return value
    if kind is int or kind is float:
        if type(value) not in (int, float):
            raise wrong("a number")
        if kind is float:
            return float(value)
        # A number without a fraction is an integer in JSON Schema, however it is written.
        if value != int(value):
            raise wrong("an integer")
        return int(value)
    if origin is list:
        if not isinstance(value, list):
            raise wrong("a list")
        return [part(of[0], item, f"{path}[{index}]") for index, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise wrong("an object")
        return {name: part(of[1], item, key(path, name)) for name, item in value.items()}
    if origin is typing.Literal:
        if not any(type(value) is type(one) and value == one for one in of):
            raise ValueError(f"{path}: it is none of {', '.join(map(repr, of))}")
        return value
    if origin in (Union, types.UnionType):
        faults = []
        for one in of:
            try:
                return part(one, value, path)
            except ValueError as fault:
                faults.append(str(fault))
        raise ValueError(faults[0])
    if isinstance(kind, type) and issubclass(kind, Enum):
        for member in kind:
            if type(member.value) is type(value) and member.value == value:
                return member
        raise ValueError(f"{path}: it is none of {', '.join(repr(member.value) for member in kind)}")
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return kind(**fields(value, path, _fields_of(kind), lenient=lenient))
    raise TypeError(f"{kind!r} can't be read from JSON")


def _fields_of(kind: type) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: (hints[field.name], has_default(field))
        for field in dataclasses.fields(kind)
        if field.init
    }


def has_default(field: dataclasses.Field[Any]) -> bool:
    """Whether a field may be left out."""
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def fields(
    value: Any, path: str, wanted: dict[str, tuple[Any, bool]], *, lenient: bool = False
) -> dict[str, Any]:
    """The fields of an object: each with its type, and whether it may be left out."""
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {_named(value)} is not an object")
    for name in value:
        if name not in wanted and not lenient:
            raise ValueError(f"{key(path, name)}: there is no such key")
    found = {}
    for name, (kind, may_lack) in wanted.items():
        if name in value:
            found[name] = read(kind, value[name], key(path, name), lenient=lenient)
        elif not may_lack:
            raise ValueError(f"{path}: {name} is missing")
    return found


def write(value: Any) -> Any:
    """A value as JSON has it: dataclasses are objects, enums their values."""
    if isinstance(value, Enum):
        return write(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} can't be written as JSON")
        return value
    if isinstance(value, (list, tuple)):
        return [write(item) for item in value]
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"a key of JSON is a text, not {name!r}")
        return {name: write(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: write(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise ValueError(f"a {type(value).__name__} can't be written as JSON")


def text(value: Any) -> str:
    """A value as JSON text."""
    return json.dumps(write(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
