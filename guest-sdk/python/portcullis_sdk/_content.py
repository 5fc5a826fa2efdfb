"""What a result is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, Union

T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """Text for the agent to read. A tool may return a `str` as well."""

    text: str


@dataclass(frozen=True)
class Image:
    """An image: its media type, which the host cuts at 100 bytes, and the file's bytes, not encoded."""

    mime_type: str
    data: bytes

    @classmethod
    def png(cls, data: bytes) -> Image:
        """A PNG file."""
        return cls("image/png", data)

    @classmethod
    def svg(cls, document: str) -> Image:
        """An SVG document. Not every model can look at one."""
        return cls("image/svg+xml", document.encode())


@dataclass(frozen=True)
class Audio:
    """A sound: its media type, which the host cuts at 100 bytes, and the file's bytes, not encoded."""

    mime_type: str
    data: bytes


@dataclass(frozen=True)
class Resource:
    """A document with a name of its own, which travels inside the result. The host never fetches the URI."""

    uri: str
    body: str | bytes
    mime_type: str | None = None


@dataclass(frozen=True)
class Json(Generic[T]):
    """A structured result: a value that is written as JSON, with the schema of its type. A result holds at most one.

    The host also gives it as text, for agents that read nothing else.
    """

    value: T


@dataclass(frozen=True)
class Structured:
    """A JSON value as it is in a result, for tools that decide while they run what they give. Prefer `Json`."""

    value: Any


Content = Union[Text, Image, Audio, Resource, Structured]
"""One part of a result."""
