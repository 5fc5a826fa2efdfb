"""Calls a tool through JSON on the author's machine, with its own Python and without wasm.

The way is that of a call in the sandbox: the schema is asked first, then the arguments are read and the function is
called. What comes out is what the agent would get; only the wording differs where the schema refuses. Not here are
limits and powers. What the helpers ask of the host, `furnish` gives; `furnish.renew()` between tests takes it back.
"""

from __future__ import annotations

import json
from typing import Any

from .. import _values
from .._content import Content, Structured
from .._error import ToolError
from .._tool import Tool
from . import furnish
from ._check import check

__all__ = ["call", "call_text", "furnish"]


def call(tool: Tool[..., Any], arguments: dict[str, Any]) -> list[Content]:
    """Calls a tool. Raises `ToolError` as in the sandbox: arguments that don't fit, or the tool's own error."""
    return call_text(tool, json.dumps(arguments))


def call_text(tool: Tool[..., Any], text: str) -> list[Content]:
    """Calls a tool with arguments as JSON text, which may be no JSON at all."""
    definition = tool.definition
    fault = check(definition.input_schema, _values.parse(text))
    if fault is not None:
        raise ToolError.invalid_arguments(fault)
    content = tool.call_text(text)
    structured = [part.value for part in content if isinstance(part, Structured)]
    if definition.output_schema is not None:
        assert structured, f"{definition.name}: no structured result"
        fault = check(definition.output_schema, structured[0])
        assert fault is None, f"{definition.name}: the structured result does not match its schema: {fault}"
    return content
