"""Checks a value against a schema: the keywords that tools need, and loudly no others."""

from __future__ import annotations

import re
from typing import Any

from .._values import key

_TYPES: dict[str, Any] = {
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and v == int(v),
}
_SILENT = {"description", "title", "default", "examples", "format"}


def check(schema: dict[str, Any], value: Any, path: str = "$") -> str | None:
    """The first fault, with its JSON path, or `None`."""
    for keyword, wanted in schema.items():
        fault = _keyword(keyword, wanted, schema, value, path)
        if fault is not None:
            return fault if fault.startswith("$") else f"{path}: {fault}"
    return None


def _keyword(keyword: str, wanted: Any, schema: dict[str, Any], value: Any, path: str) -> str | None:
    is_number = _TYPES["number"](value)
    if keyword in _SILENT:
        return None
    if keyword == "type":
        types = wanted if isinstance(wanted, list) else [wanted]
        return None if any(_TYPES[one](value) for one in types) else f"it is not of type {wanted}"
    if keyword == "enum":
        return None if any(type(one) is type(value) and one == value for one in wanted) else f"it is none of {wanted}"
    if keyword == "const":
        return None if wanted == value else f"it is not {wanted!r}"
    if keyword == "anyOf":
        faults = [check(one, value, path) for one in wanted]
        return None if None in faults else faults[0]
    if keyword == "properties":
        if isinstance(value, dict):
            faults = [check(wanted[name], value[name], key(path, name)) for name in wanted if name in value]
            return next((fault for fault in faults if fault is not None), None)
        return None
    if keyword == "required":
        lacking = [name for name in wanted if isinstance(value, dict) and name not in value]
        return f"{lacking[0]} is missing" if lacking else None
    if keyword == "additionalProperties":
        if not isinstance(value, dict):
            return None
        for name in value:
            if name in schema.get("properties", {}):
                continue
            if wanted is False:
                return f"there is no such key as {name}"
            fault = check({} if wanted is True else wanted, value[name], key(path, name))
            if fault is not None:
                return fault
        return None
    if keyword == "items":
        if isinstance(value, list):
            faults = [check(wanted, item, f"{path}[{index}]") for index, item in enumerate(value)]
            return next((fault for fault in faults if fault is not None), None)
        return None
    if keyword == "minimum":
        return f"it is less than {wanted}" if is_number and value < wanted else None
    if keyword == "maximum":
        return f"it is more than {wanted}" if is_number and value > wanted else None
    if keyword in ("minLength", "minItems"):
        kind: Any = str if keyword == "minLength" else list
        return f"it is shorter than {wanted}" if isinstance(value, kind) and len(value) < wanted else None
    if keyword in ("maxLength", "maxItems"):
        kind = str if keyword == "maxLength" else list
        return f"it is longer than {wanted}" if isinstance(value, kind) and len(value) > wanted else None
    if keyword == "pattern":
        return f"it does not match {wanted}" if isinstance(value, str) and not re.search(wanted, value) else None
    raise NotImplementedError(f"portcullis_sdk.testing does not check the keyword {keyword}: the host does")
