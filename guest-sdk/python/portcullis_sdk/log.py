"""Lines for whoever may see how a call went. They are captured up to a bound, and reach no log of the host."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from ._host import IS_COMPONENT

if TYPE_CHECKING or not IS_COMPONENT:
    from . import _stand_in as _host
else:
    from ._component import log as _host

__all__ = ["Level", "critical", "debug", "error", "info", "trace", "warn", "write"]


class Level(Enum):
    """How much a line matters."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"


def write(level: Level, context: str, message: object) -> None:
    """Writes a line. `context` is a word for where it comes from, and may be empty."""
    _host.log(level.name, context, str(message))


def trace(message: object) -> None:
    """Step by step."""
    write(Level.TRACE, "", message)


def debug(message: object) -> None:
    """For whoever looks for a fault in the tool."""
    write(Level.DEBUG, "", message)


def info(message: object) -> None:
    """What happened."""
    write(Level.INFO, "", message)


def warn(message: object) -> None:
    """What should be looked at."""
    write(Level.WARN, "", message)


def error(message: object) -> None:
    """What went wrong."""
    write(Level.ERROR, "", message)


def critical(message: object) -> None:
    """What the tool can't go on after."""
    write(Level.CRITICAL, "", message)
