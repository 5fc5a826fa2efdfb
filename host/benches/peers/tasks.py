"""The jobs as a task of capsule."""

import hashlib
import json

from capsule import task


def count(value):
    """Values in a document, itself counted."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@task(name="main", compute="HIGH", ram="256MB")
def main(job: str, text: str) -> str:
    if job == "echo":
        return json.dumps(json.loads(text), separators=(",", ":"))
    if job == "hash":
        return hashlib.sha256(text.encode()).hexdigest()
    if job == "parse":
        return str(count(json.loads(text)))
    taken = []
    while True:
        if job == "grow":
            taken.append(bytearray(1 << 20))
