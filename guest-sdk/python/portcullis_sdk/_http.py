from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from . import _values
from ._error import HostError

ANSWER_BYTES_MAX = 4 << 20
"""The most bytes of an answer's body, unless a request says otherwise."""

HttpErrorKind = Literal["request", "denied", "failed", "too-long", "status", "body"]


class HttpError(HostError):
    """Why there is no answer, or not one that was expected.

    By its `kind`: `request`, the URL, a header or the body can't be sent, and nothing was; `denied`, no grant allows it;
    `failed`, it could not be sent or its answer not received; `too-long`, the answer has more bytes than the request
    allows; `status`, that of the answer is not one of success; `body`, it is not the JSON or text that was expected.
    """

    def __init__(self, kind: HttpErrorKind, reason: str = "", status: int | None = None) -> None:
        texts = {
            "request": f"the request can't be sent: {reason}",
            "denied": "no grant allows this request",
            "failed": f"the request failed: {reason}",
            "too-long": f"the answer has more than {reason} bytes",
            "status": f"the server answered with status {status}",
            "body": f"the answer is not what was expected: {reason}",
        }
        super().__init__(texts[kind])
        self.kind = kind
        self.status = status


@dataclass
class Request:
    """A request."""

    method: str
    scheme: str
    authority: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    answer_bytes_max: int = ANSWER_BYTES_MAX


@dataclass
class Response:
    """An answer, whatever its status. Names of headers are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def success(self) -> Response:
        """Itself, if its status is one of success (200 to 299)."""
        if not 200 <= self.status < 300:
            raise HttpError("status", status=self.status)
        return self

    def header(self, name: str) -> str | None:
        """The first value of a header; its name in any case."""
        return next((value for other, value in self.headers if other.lower() == name.lower()), None)

    def json(self, kind: Any = Any) -> Any:
        """The body, read from JSON, and as a type if one is named. Keys that the type does not have are left out."""
        try:
            return _values.read(kind, json.loads(self.body), lenient=True)
        except ValueError as error:
            raise HttpError("body", str(error)) from error

    def text(self) -> str:
        """The body as text in UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise HttpError("body", str(error)) from error
