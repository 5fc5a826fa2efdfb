"""State that outlives a call, in a store that a grant names (`[[grant.keyvalue]]`).

    visits = kv.open("default").increment("page", 1)

Of calls that run at once, `increment`, `set_many` and `delete_many` are each made as one; between a `get` and a `set`
another call may write.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import _values
from ._host import IS_COMPONENT
from ._kv_error import KvError, KvErrorKind

if TYPE_CHECKING or not IS_COMPONENT:
    from ._stand_in import Bucket
else:
    from ._component.kv import Bucket

__all__ = ["KvError", "KvErrorKind", "Store", "open"]


def open(name: str) -> Store:
    """Opens a store by the name that grants give it. `KvError` without a grant."""
    return Store(Bucket.open(name))


class Store:
    """An open store. Each of its functions may raise `KvError`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def get(self, key: str) -> bytes | None:
        """The value of a key, if it has one."""
        return self._bucket.get(key)

    def get_json(self, key: str, kind: Any = Any) -> Any:
        """The value of a key, read from JSON as a type; `None` if it is not there."""
        value = self.get(key)
        if value is None:
            return None
        try:
            return _values.read(kind, json.loads(value), lenient=True)
        except ValueError as error:
            raise KvError("json", str(error)) from error

    def set(self, key: str, value: bytes | str) -> None:
        """Gives a key a value. Keys are texts of 1 to 1,024 bytes."""
        self._bucket.set(key, value.encode() if isinstance(value, str) else value)

    def set_json(self, key: str, value: Any) -> None:
        """Gives a key a value, written as JSON."""
        try:
            text = _values.text(value)
        except ValueError as error:
            raise KvError("json", str(error)) from error
        self.set(key, text)

    def delete(self, key: str) -> None:
        """Deletes a key, if it is there."""
        self._bucket.delete(key)

    def exists(self, key: str) -> bool:
        """Whether a key is there."""
        return self._bucket.exists(key)

    def keys(self) -> list[str]:
        """All keys, in the order in which they were first set. The grant's `keys_max` bounds them."""
        keys, cursor = self._bucket.page(None)
        while cursor is not None:
            page, cursor = self._bucket.page(cursor)
            keys = keys + page
        return keys

    def increment(self, key: str, delta: int) -> int:
        """Adds to the number under a key (0 if it is not there) and gives the sum. Numbers are kept as decimal text."""
        if not 0 <= delta < 1 << 64:
            raise KvError("other", f"{delta} is not between 0 and 2^64 - 1")
        return self._bucket.increment(key, delta)

    def get_many(self, keys: list[str]) -> list[bytes | None]:
        """The values of up to 1,000 keys, all of one moment."""
        return self._bucket.get_many(keys)

    def set_many(self, entries: list[tuple[str, bytes]]) -> None:
        """Gives up to 1,000 keys their values: all of them, or none if there is an error."""
        self._bucket.set_many(entries)

    def delete_many(self, keys: list[str]) -> None:
        """Deletes up to 1,000 keys: all of them, or none if there is an error."""
        self._bucket.delete_many(keys)
