# mypy: ignore-errors
# The bindings are there only while a component is built.

from __future__ import annotations

from componentize_py_types import Err

from . import interface
from .._kv_error import KvError

_VERSION = "0_2_0_draft"
_store = interface("kv", "store", "wasi_keyvalue_store", _VERSION, "Bucket")
_atomics = interface("kv", "atomics", "wasi_keyvalue_atomics", _VERSION, "increment")
_batch = interface("kv", "batch", "wasi_keyvalue_batch", _VERSION, "get_many")


def _told(error: Err) -> KvError:
    if isinstance(error.value, _store.Error_NoSuchStore):
        return KvError("no-such-store")
    if isinstance(error.value, _store.Error_AccessDenied):
        return KvError("access-denied")
    return KvError("other", error.value.value)


def _asked(function, *arguments):
    try:
        return function(*arguments)
    except Err as error:
        raise _told(error) from None


class Bucket:
    def __init__(self, bucket) -> None:
        self._bucket = bucket

    @staticmethod
    def open(name):
        return Bucket(_asked(_store.open, name))

    def get(self, key):
        return _asked(self._bucket.get, key)

    def set(self, key, value):
        _asked(self._bucket.set, key, value)

    def delete(self, key):
        _asked(self._bucket.delete, key)

    def exists(self, key):
        return _asked(self._bucket.exists, key)

    def page(self, cursor):
        page = _asked(self._bucket.list_keys, cursor)
        return page.keys, page.cursor

    def increment(self, key, delta):
        return _asked(_atomics.increment, self._bucket, key, delta)

    def get_many(self, keys):
        pairs = _asked(_batch.get_many, self._bucket, keys)
        return [None if pair is None else pair[1] for pair in pairs]

    def set_many(self, entries):
        _asked(_batch.set_many, self._bucket, entries)

    def delete_many(self, keys):
        _asked(_batch.delete_many, self._bucket, keys)
