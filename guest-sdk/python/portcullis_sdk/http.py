"""Requests over HTTP, as grants allow them (`[[grant.http]]`).

    release = http.get(url).header("accept", "application/json").send().success().json()

Redirects are not followed: the answer's `location` says where to, and a grant must allow that as well.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from . import _values
from ._host import IS_COMPONENT
from ._http import ANSWER_BYTES_MAX, HttpError, HttpErrorKind, Request, Response

if TYPE_CHECKING or not IS_COMPONENT:
    from . import _stand_in as _host
else:
    from ._component import http as _host

__all__ = [
    "ANSWER_BYTES_MAX",
    "HttpError",
    "HttpErrorKind",
    "Request",
    "RequestBuilder",
    "Response",
    "delete",
    "get",
    "post",
    "put",
    "request",
]


def get(url: str) -> RequestBuilder:
    """A GET request."""
    return request("GET", url)


def post(url: str) -> RequestBuilder:
    """A POST request."""
    return request("POST", url)


def put(url: str) -> RequestBuilder:
    """A PUT request."""
    return request("PUT", url)


def delete(url: str) -> RequestBuilder:
    """A DELETE request."""
    return request("DELETE", url)


def request(method: str, url: str) -> RequestBuilder:
    """A request of any method."""
    scheme, authority, path = _split(url)
    return RequestBuilder(Request(method, scheme, authority, path))


def _split(url: str) -> tuple[str, str, str]:
    """Divides a URL into scheme, authority, and path with query. What each may hold the host judges."""

    def wrong(reason: str) -> HttpError:
        return HttpError("request", f"{json.dumps(url)} is not a URL: {reason}")

    scheme, separator, rest = url.partition("://")
    if not separator:
        raise wrong("it has no scheme")
    if scheme not in ("http", "https"):
        raise wrong("its scheme is neither http nor https")
    # What follows a '#' is for the reader of a page, and is never sent.
    rest = rest.partition("#")[0]
    end = re.search("[/?]", rest)
    authority, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if not authority:
        raise wrong("it names no host")
    if "@" in authority:
        raise wrong("it has a user name or a password in it")
    return scheme, authority, path if path.startswith("/") else f"/{path}"


class RequestBuilder:
    """A request that is being made up. Nothing happens before `send`."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def header(self, name: str, value: str) -> RequestBuilder:
        """Adds a header."""
        self._request.headers.append((name, value))
        return self

    def query(self, name: str, value: str) -> RequestBuilder:
        """Adds a query parameter, percent-encoded."""
        mark = "&" if "?" in self._request.path else "?"
        self._request.path += f"{mark}{quote(name, safe='')}={quote(value, safe='')}"
        return self

    def body(self, body: bytes | str) -> RequestBuilder:
        """Sets the body."""
        self._request.body = body.encode() if isinstance(body, str) else body
        return self

    def json(self, value: Any) -> RequestBuilder:
        """Sets the body to a value as JSON, with the `content-type` of it."""
        try:
            text = _values.text(value)
        except ValueError as error:
            raise HttpError("request", str(error)) from error
        return self.header("content-type", "application/json").body(text)

    def answer_bytes_max(self, bytes_max: int) -> RequestBuilder:
        """Sets the most bytes that the answer's body may have, instead of `ANSWER_BYTES_MAX`."""
        self._request.answer_bytes_max = bytes_max
        return self

    def send(self) -> Response:
        """Sends it and waits for the whole answer. One with any status is an answer: see `Response.success`."""
        return _host.send(self._request)
