"""Counts things, and remembers how many there were: state in a granted store.

Counts go up by one operation of the store, so that calls at the same time lose nothing. How high a count may be asked
to go at once is configuration.
"""

from dataclasses import dataclass
from typing import Annotated

from portcullis_sdk import Json, ToolError, config, kv, tool, tools

# The name of the store in the grant.
STORE = "counters"

# The most by which one call counts, if the key `step_max` of the configuration says nothing else.
STEP_MAX = 1_000


@dataclass
class Count:
    """A count."""

    name: Annotated[str, "What is counted."]
    total: Annotated[int, "How many there were so far."]


@tool
def count(
    name: Annotated[str, "What is counted."],
    more: Annotated[int, "How many more there are.", {"minimum": 0}] = 1,
) -> Json[Count]:
    """Counts: adds to a counter, which begins at 0, and gives its new total."""
    most = step_max()
    if more > most:
        raise ToolError.invalid_arguments(f"at most {most} are counted at once")
    return Json(Count(name, kv.open(STORE).increment(name, more)))


@tool
def totals() -> Json[dict[str, str]]:
    """Gives all totals."""
    store = kv.open(STORE)
    keys = store.keys()
    found: dict[str, str] = {}
    for start in range(0, len(keys), 1_000):
        some = keys[start : start + 1_000]
        # One that was reset meanwhile is not there any more.
        found |= {key: value.decode() for key, value in zip(some, store.get_many(some)) if value is not None}
    return Json(found)


@tool
def reset(name: Annotated[str, "What was counted."]) -> None:
    """Forgets a counter: it begins at 0 again."""
    kv.open(STORE).delete(name)


def step_max() -> int:
    """A tool that was set up without any configuration goes by what it has itself."""
    try:
        most = config.parse("step_max", int)
    except config.ConfigError as error:
        if error.kind != "unavailable":
            raise
        return STEP_MAX
    return STEP_MAX if most is None else most


Tools = tools(count, totals, reset)
