"""How far a call is, for whoever waits for it, and whether they still do. Needs no grant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._host import IS_COMPONENT

if TYPE_CHECKING or not IS_COMPONENT:
    from . import _stand_in as _host
else:
    from ._component import progress as _host

__all__ = ["is_cancelled", "report"]


def report(done: float, total: float | None, message: str) -> None:
    """Tells the caller what is done so far, of how much if that is known, and what it is about."""
    _host.report(float(done), None if total is None else float(total), message)


def is_cancelled() -> bool:
    """Whether the caller asked for the call to end: then answer with what there is, soon."""
    return _host.is_cancelled()
