"""Calls of other tools of the same host (`[[grant.invoke]]`).

The tool that is called has its own grants for the same agent. Its fuel and its time come out of those of the call that
makes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import _values
from ._host import IS_COMPONENT
from ._invoke_error import Answer, InvokeError, InvokeErrorKind

if TYPE_CHECKING or not IS_COMPONENT:
    from . import _stand_in as _host
else:
    from ._component import invoke as _host

__all__ = ["Answer", "InvokeError", "InvokeErrorKind", "call"]


def call(package: str, tool: str, arguments: Any) -> Answer:
    """Calls a tool and waits for its answer, or raises `InvokeError`. The arguments are a dict or a dataclass."""
    try:
        text = _values.text(arguments)
    except ValueError as error:
        raise InvokeError("invalid-arguments", str(error)) from error
    content, structured = _host.invoke(package, tool, text)
    try:
        parts = json.loads(content)
        value = None if structured is None else json.loads(structured)
    except ValueError as error:
        raise InvokeError("answer", str(error)) from error
    if not isinstance(parts, list):
        raise InvokeError("answer", "its content is no list")
    return Answer(parts, value)
