"""Without wasm: `python3 -m unittest`."""

import unittest

from app import Counts, count
from portcullis_sdk import Json, Structured, ToolError
from portcullis_sdk.testing import call


class Count(unittest.TestCase):
    def test_it_is_a_function(self) -> None:
        self.assertEqual(count("one two\nthree"), Json(Counts(words=3, lines=2)))

    def test_it_is_a_tool(self) -> None:
        self.assertEqual(call(count, {"text": "one two"}), [Structured({"words": 2, "lines": 1})])
        with self.assertRaises(ToolError):
            call(count, {"text": 7})


if __name__ == "__main__":
    unittest.main()
