"""The jobs as a plain script: `python3 -c`, with the job's name as the argument and the text on stdin."""

import hashlib
import json
import sys


def count(value):
    """Values in a document, itself counted."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


job, text = sys.argv[1], sys.stdin.read()
if job == "echo":
    print(json.dumps(json.loads(text), separators=(",", ":")), end="")
elif job == "hash":
    print(hashlib.sha256(text.encode()).hexdigest(), end="")
elif job == "parse":
    print(count(json.loads(text)), end="")
else:
    taken = []
    while True:
        if job == "grow" and len(taken) < 2048:
            taken.append(bytearray(b"\1" * (1 << 20)))
