from __future__ import annotations

from typing import Literal

from ._error import HostError

SecretErrorKind = Literal["not-permitted", "unavailable"]


class SecretError(HostError):
    """Why there is no value: no grant lets this tool see it (`not-permitted`), or the host can't read it now
    (`unavailable`)."""

    def __init__(self, kind: SecretErrorKind) -> None:
        permitted = "the host can't read the secret now"
        super().__init__(permitted if kind == "unavailable" else "no grant lets this tool see the secret")
        self.kind = kind
