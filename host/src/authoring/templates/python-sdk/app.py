"""One tool. What agents read of it is its docstring, and the texts of its arguments."""

from dataclasses import dataclass
from typing import Annotated

from portcullis_sdk import Json, tool, tools


@dataclass
class Counts:
    """How much there is of a text."""

    words: Annotated[int, "What stands between white space."]
    lines: Annotated[int, "A last line need not end."]


@tool
def count(text: Annotated[str, "The text."]) -> Json[Counts]:
    """Counts the words and lines of a text."""
    return Json(Counts(words=len(text.split()), lines=len(text.splitlines())))


Tools = tools(count)
