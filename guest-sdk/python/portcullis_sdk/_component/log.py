# mypy: ignore-errors
# The bindings are there only while a component is built.

from . import interface

_logging = interface("log", "logging", "wasi_logging_logging", "0_1_0_draft", "Level")


def log(level, context, message):
    _logging.log(_logging.Level[level], context, message)
