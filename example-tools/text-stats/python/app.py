"""Says how much there is of a text, and which words it has most: a pure computation."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from portcullis_sdk import Json, ToolError, tool, tools

# The most words that are listed.
TOP_MAX = 100


@dataclass
class Word:
    """A word."""

    word: Annotated[str, "In lower case."]
    times: Annotated[int, "How often it is there."]


@dataclass
class Stats:
    """How much there is."""

    lines: Annotated[int, "Lines; the last need not end."]
    words: Annotated[int, "What stands between white space."]
    top: Annotated[list[Word], "The words that are there most: by their number, then by the alphabet."]


@tool
def stats(
    text: Annotated[str, "The text."],
    top: Annotated[int, "How many words are listed.", {"minimum": 0}] = 3,
) -> Json[Stats]:
    """Says how many lines and words a text has, and which words are there most."""
    if top > TOP_MAX:
        raise ToolError.invalid_arguments(f"at most {TOP_MAX} words are listed")
    words = text.lower().split()
    listed = sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))
    lines = text.count("\n") + (text != "" and not text.endswith("\n"))
    return Json(Stats(lines, len(words), [Word(word, times) for word, times in listed[:top]]))


Tools = tools(stats)
