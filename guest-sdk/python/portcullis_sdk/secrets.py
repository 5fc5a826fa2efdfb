"""The value of a secret, for an API that needs it in the tool.

Prefer a grant that injects a secret into requests: then the tool never has it. What is read here can't be taken back:
never put it into a result, an error or a log line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._host import IS_COMPONENT
from ._secret_error import SecretError, SecretErrorKind

if TYPE_CHECKING or not IS_COMPONENT:
    from . import _stand_in as _host
else:
    from ._component import secrets as _host

__all__ = ["Secret", "SecretError", "SecretErrorKind", "get"]


class Secret:
    """A secret's value. It is not shown by `repr`."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def bytes(self) -> bytes:
        """The bytes."""
        return self._value

    def text(self) -> str | None:
        """The text, if it is one."""
        try:
            return self._value.decode()
        except UnicodeDecodeError:
            return None

    def __repr__(self) -> str:
        return "Secret(…)"


def get(name: str) -> Secret:
    """The value of a secret that a grant lets this tool see, or `SecretError`."""
    return Secret(_host.secret(name))
