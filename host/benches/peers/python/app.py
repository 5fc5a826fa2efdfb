"""The jobs as typed exports, in Python: what capsule's task is, as a component of our own."""

import hashlib
import json

from wit_world import exports


def count(value):
    """Values in a document, itself counted."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


class Work(exports.Work):
    """The interface."""

    def echo(self, text):
        return json.dumps(json.loads(text), separators=(",", ":"))

    def hash(self, text):
        return hashlib.sha256(text.encode()).hexdigest()

    def parse(self, text):
        return str(count(json.loads(text)))

    def endless(self, text):
        while True:
            pass

    def grow(self, text):
        taken = []
        while True:
            taken.append(bytearray(1 << 20))
