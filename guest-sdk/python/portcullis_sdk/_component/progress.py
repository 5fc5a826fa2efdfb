# mypy: ignore-errors
# The bindings are there only while a component is built.

from . import interface

_progress = interface("progress", "progress", "portcullis_tool_progress", "0_1_0", "Step")


def report(done, total, message):
    _progress.report(_progress.Step(done, total, message))


def is_cancelled():
    return _progress.is_cancelled()
