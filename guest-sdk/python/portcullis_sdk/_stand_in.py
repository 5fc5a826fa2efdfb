"""A host for tests: it grants what a test furnished it with, and nothing else. See `portcullis_sdk.testing.furnish`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ._http import HttpError, Request, Response
from ._invoke_error import InvokeError
from ._kv_error import KvError
from ._secret_error import SecretError

# How many keys come on one page: few, so that tests see several.
_PAGE_KEYS_MAX = 3


class ConfigUnavailable(Exception):
    pass


@dataclass
class World:
    """What tests furnish, and what the tool did."""

    stores: dict[str, dict[str, bytes]] = field(default_factory=dict)
    config: list[tuple[str, str]] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)
    tools: Callable[[str, str, str], tuple[str, str | None]] | None = None
    server: Callable[[Request], Response] | None = None
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    steps: list[tuple[float, float | None, str]] = field(default_factory=list)
    is_cancelled: bool = False


world = World()


def renew() -> None:
    """Another host, which grants nothing."""
    vars(world).update(vars(World()))


class Bucket:
    def __init__(self, name: str) -> None:
        self._name = name

    @staticmethod
    def open(name: str) -> Bucket:
        if name not in world.stores:
            raise KvError("access-denied")
        return Bucket(name)

    @property
    def _entries(self) -> dict[str, bytes]:
        return world.stores.setdefault(self._name, {})

    def get(self, key: str) -> bytes | None:
        return self._entries.get(key)

    def set(self, key: str, value: bytes) -> None:
        _check(key)
        self._entries[key] = value

    def delete(self, key: str) -> None:
        self._entries.pop(key, None)

    def exists(self, key: str) -> bool:
        return key in self._entries

    def page(self, cursor: int | None) -> tuple[list[str], int | None]:
        start = cursor or 0
        keys = list(self._entries)
        end = start + _PAGE_KEYS_MAX
        return keys[start:end], end if end < len(keys) else None

    def increment(self, key: str, delta: int) -> int:
        held = self._entries.get(key, b"0")
        if not held.isdigit() or int(held) >= 1 << 64:
            raise KvError("other", "the value is not a decimal number")
        total = int(held) + delta
        if total >= 1 << 64:
            raise KvError("other", "the sum is too large")
        self.set(key, str(total).encode())
        return total

    def get_many(self, keys: list[str]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def set_many(self, entries: list[tuple[str, bytes]]) -> None:
        for key, _ in entries:
            _check(key)
        for key, value in entries:
            self.set(key, value)

    def delete_many(self, keys: list[str]) -> None:
        for key in keys:
            self.delete(key)


def _check(key: str) -> None:
    """As the host has it."""
    if not 1 <= len(key.encode()) <= 1024 or "\0" in key:
        raise KvError("other", f"{key!r} is not a valid key")


def config(key: str) -> str | None:
    return next((value for name, value in config_all() if name == key), None)


def config_all() -> list[tuple[str, str]]:
    if not world.config:
        raise ConfigUnavailable("not permitted: no configuration is granted")
    return list(world.config)


def log(level: str, context: str, message: str) -> None:
    world.lines.append((level.lower(), context, message))


def report(done: float, total: float | None, message: str) -> None:
    world.steps.append((done, total, message))


def is_cancelled() -> bool:
    return world.is_cancelled


def invoke(package: str, tool: str, arguments: str) -> tuple[str, str | None]:
    if world.tools is None:
        raise InvokeError("denied", "no grant of this call names the tool")
    return world.tools(package, tool, arguments)


def secret(name: str) -> bytes:
    if name not in world.secrets:
        raise SecretError("not-permitted")
    return world.secrets[name]


def send(request: Request) -> Response:
    if world.server is None:
        raise HttpError("denied")
    response = world.server(request)
    if len(response.body) > request.answer_bytes_max:
        raise HttpError("too-long", str(request.answer_bytes_max))
    return response
