"""What an admin set up for the tool (`[grant.config]`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from ._error import HostError
from ._host import IS_COMPONENT

if TYPE_CHECKING or not IS_COMPONENT:
    from . import _stand_in as _host
else:
    from ._component import config as _host

__all__ = ["ConfigError", "ConfigErrorKind", "all", "get", "parse"]

T = TypeVar("T")
ConfigErrorKind = Literal["unavailable", "invalid"]


class ConfigError(HostError):
    """Why there is no configuration: none is granted or the host can't read it (`unavailable`), or a value does not
    parse (`invalid`)."""

    def __init__(self, kind: ConfigErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def get(key: str) -> str | None:
    """The value of a key; `None` if other keys are granted and this one is not."""
    try:
        return _host.config(key)
    except _host.ConfigUnavailable as error:
        raise ConfigError("unavailable", f"there is no configuration: {error}") from error


def parse(key: str, kind: Callable[[str], T]) -> T | None:
    """The value of a key as `int`, `float`, or whatever else reads a text and raises `ValueError`."""
    value = get(key)
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError as error:
        raise ConfigError("invalid", f"the configuration of {json.dumps(key)} is wrong: {error}") from error


def all() -> list[tuple[str, str]]:
    """All keys with their values."""
    try:
        return _host.config_all()
    except _host.ConfigUnavailable as error:
        raise ConfigError("unavailable", f"there is no configuration: {error}") from error
