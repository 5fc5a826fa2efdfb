"""The interface `text` of wit/world.wit. Its doc comments are what agents read."""

from wit_world import exports
from wit_world.exports.text import Counts


class Text(exports.Text):
    def count(self, text: str) -> Counts:
        return Counts(words=len(text.split()), lines=len(text.splitlines()))
