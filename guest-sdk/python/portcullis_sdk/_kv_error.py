from __future__ import annotations

from typing import Literal

from ._error import HostError

KvErrorKind = Literal["no-such-store", "access-denied", "other", "json"]


class KvError(HostError):
    """Why a store did not do what was asked.

    By its `kind`: `no-such-store`, the host knows none of this name; `access-denied`, no grant gives it, or it may only
    be read; `other`, it is full or busy, the key is no key, or the value no number; `json`, the value is not the JSON
    that was expected, or can't be written as JSON.
    """

    def __init__(self, kind: KvErrorKind, reason: str = "") -> None:
        texts = {
            "no-such-store": "there is no such store",
            "access-denied": "the store is not granted to this tool for this",
            "other": reason,
            "json": f"the value is not the JSON that was expected: {reason}",
        }
        super().__init__(texts[kind])
        self.kind = kind
