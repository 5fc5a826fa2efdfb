from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from . import _values
from ._error import HostError

InvokeErrorKind = Literal[
    "denied", "not-found", "invalid-arguments", "refused", "limit-reached", "failed", "answer"
]

_TEXTS: dict[InvokeErrorKind, str] = {
    "denied": "the tool may not be called",
    "not-found": "there is no such tool",
    "invalid-arguments": "the arguments don't fit",
    "refused": "the call was refused",
    "limit-reached": "a limit ended the call",
    "failed": "the tool failed",
    "answer": "the tool answered something else",
}


class InvokeError(HostError):
    """Why there is no answer.

    By its `kind`: `denied`, no grant of this call names the tool, or the agent may not call it; `not-found`;
    `invalid-arguments`, they don't fit its schema; `refused`, calls are too deep or too many, or it would be its own
    caller; `limit-reached`; `failed`, it said so or crashed; `answer`, it is not what was expected.
    """

    def __init__(self, kind: InvokeErrorKind, reason: str) -> None:
        super().__init__(f"{_TEXTS[kind]}: {reason}")
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True)
class Answer:
    """What a tool answered."""

    content: list[dict[str, Any]]
    """Its parts: objects with a `type`, as the HTTP API gives them."""
    structured: Any = None
    """The result as one value, if the tool gives one."""

    def text(self) -> str:
        """All of its text, one part a line."""
        texts = (part.get("text") for part in self.content if isinstance(part, dict))
        return "\n".join(text for text in texts if isinstance(text, str))

    def parse(self, kind: Any) -> Any:
        """The structured value as a type."""
        try:
            return _values.read(kind, self.structured, lenient=True)
        except ValueError as error:
            raise InvokeError("answer", str(error)) from error
