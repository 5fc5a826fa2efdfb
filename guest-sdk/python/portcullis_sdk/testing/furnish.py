"""What the host would give. Without it, a helper of the SDK gets the error that a tool gets without a grant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .. import _stand_in, _values
from .._http import Request, Response
from .._invoke_error import Answer

renew = _stand_in.renew


def store(name: str) -> None:
    """Grants an empty store."""
    _stand_in.world.stores[name] = {}


def config(key: str, value: str) -> None:
    """Grants a value of the configuration."""
    _stand_in.world.config.append((key, value))


def secret(name: str, value: bytes) -> None:
    """Grants a secret to be seen."""
    _stand_in.world.secrets[name] = value


def tools(answer: Callable[[str, str, Any], Answer]) -> None:
    """Grants other tools: the function answers their calls, or raises `InvokeError`."""

    def answered(package: str, tool: str, arguments: str) -> tuple[str, str | None]:
        answered = answer(package, tool, json.loads(arguments))
        structured = answered.structured
        return _values.text(answered.content), None if structured is None else _values.text(structured)

    _stand_in.world.tools = answered


def server(answer: Callable[[Request], Response]) -> None:
    """Grants requests: the function answers them, or raises `HttpError`."""
    _stand_in.world.server = answer


def cancel() -> None:
    """Has the caller ask for the end of the call."""
    _stand_in.world.is_cancelled = True


def lines() -> list[tuple[str, str, str]]:
    """The lines that were logged so far: level, context, message."""
    return list(_stand_in.world.lines)


def steps() -> list[tuple[float, float | None, str]]:
    """The progress that was told so far: done, total, message."""
    return list(_stand_in.world.steps)
