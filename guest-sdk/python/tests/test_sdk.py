"""What the SDK does on the author's machine: python3 -m unittest discover -s tests -t ."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

from portcullis_sdk import ErrorKind, Image, Json, Resource, Structured, Text, ToolError, config, http, invoke, kv, log
from portcullis_sdk import progress, secrets, tool, tools
from portcullis_sdk.testing import call, call_text, furnish


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Corner:
    """A corner."""

    x: float
    y: float = 0


@dataclass
class Sum:
    sum: Annotated[int, "Of both."]


@tool
def add(
    a: Annotated[int, "The first."], b: Annotated[int, "The second.", {"maximum": 10}] = 1
) -> Json[Sum]:
    """Adds."""
    return Json(Sum(a + b))


@tool
def arguments(
    text: str,
    numbers: list[int],
    small: int | None = None,
    flag: bool = False,
    colour: Colour = Colour.RED,
    corners: list[Corner] | None = None,
    counts: dict[str, int] | None = None,
    mode: Literal["a", "b"] = "a",
    anything: Any = None,
) -> Json[dict[str, Any]]:
    """Gives its arguments back."""
    return Json(dict(locals()))


def returning(function: Callable[[], Any]) -> Any:
    function.__doc__ = "One."
    function.__annotations__ = {}
    return tool(name="one")(function)


class Sdk(unittest.TestCase):
    def setUp(self) -> None:
        furnish.renew()

    def refused(self, of: Any, given: dict[str, Any]) -> str:
        with self.assertRaises(ToolError) as caught:
            call(of, given)
        self.assertIs(caught.exception.kind, ErrorKind.INVALID_ARGUMENTS)
        return str(caught.exception)

    def test_a_definition_is_made_of_the_function(self) -> None:
        definition = add.definition
        self.assertEqual((definition.name, definition.description), ("add", "Adds."))
        self.assertEqual(
            definition.input_schema,
            {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "description": "The first."},
                    "b": {"type": "integer", "description": "The second.", "maximum": 10},
                },
                "additionalProperties": False,
                "required": ["a"],
            },
        )
        self.assertEqual(add(2), Json(Sum(3)), "it is still a function")

    def test_arguments_are_checked_as_the_host_checks_them(self) -> None:
        self.assertEqual(call(add, {"a": 2.0}), [Structured({"sum": 3})])
        for given, told in [
            ({}, "$: a is missing"),
            ({"a": "2"}, "$.a: it is not of type integer"),
            ({"a": True}, "$.a: it is not of type integer"),
            ({"a": 2, "b": 11}, "$.b: it is more than 10"),
            ({"a": 2, "c": 1}, "$: there is no such key as c"),
        ]:
            self.assertEqual(self.refused(add, given), told)
        for text, told in [
            ("[]", "$: the arguments must be a JSON object"),
            ('{"a": 1, "a": 1}', "$.a: the key is given twice"),
            ('{"a": [0, {"b c": 1, "b c": 2}]}', '$.a[1]["b c"]: the key is given twice'),
            ('{"a": NaN}', "$: the arguments are not JSON: NaN is no JSON"),
            ('{"a": 1e999}', "$.a: the arguments are not JSON: number out of range"),
        ]:
            with self.assertRaises(ToolError) as caught:
                call_text(add, text)
            self.assertEqual(str(caught.exception), told)
        deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
        with self.assertRaises(ToolError):
            call_text(add, deep)

    def test_every_type_is_read_and_written(self) -> None:
        given = {
            "text": "größer",
            "numbers": [1, 2.0, 2**70],
            "small": -1,
            "flag": True,
            "colour": "blue",
            "corners": [{"x": 1}, {"x": 1, "y": 2.5}],
            "counts": {"a b": 1},
            "mode": "b",
            "anything": [None, {"x": "y"}],
        }
        expected = {**given, "numbers": [1, 2, 2**70], "corners": [{"x": 1.0, "y": 0}, {"x": 1.0, "y": 2.5}]}
        self.assertEqual(call(arguments, given), [Structured(expected)])
        # What the schema does not refuse, the reader does not either; each of these both do.
        for change in [{"colour": "green"}, {"mode": "c"}, {"corners": [{"y": 1}]}, {"counts": {"a": "b"}}]:
            self.refused(arguments, {**given, **change})
            with self.assertRaises(ToolError):
                arguments.call_text(str({**given, **change}).replace("'", '"').replace("True", "true").replace("None", "null"))

    def test_what_a_tool_returns_is_content(self) -> None:
        image, resource = Image.png(b"\x01"), Resource("a:b", "c")
        self.assertEqual(call(returning(lambda: ["a", image, (resource,)]), {}), [Text("a"), image, resource])
        self.assertEqual(call(returning(lambda: None), {}), [])
        with self.assertRaises(ToolError):
            call(returning(lambda: [Json(1), Json(2)]), {})
        with self.assertRaises(ToolError):
            call(returning(lambda: Json(float("nan"))), {})
        with self.assertRaises(TypeError):
            call(returning(lambda: 7), {})

    def test_what_a_tool_raises_is_told_or_left_to_end_the_call(self) -> None:
        def raising(error: Exception) -> Any:
            def function() -> None:
                raise error

            return returning(function)

        for error in [ValueError("no"), OSError("no"), kv.KvError("other", "no"), ToolError.failed("no")]:
            with self.assertRaises(ToolError) as caught:
                call(raising(error), {})
            self.assertEqual(caught.exception, ToolError.failed("no"))
        with self.assertRaises(KeyError):
            call(raising(KeyError("a mistake")), {})

    def test_what_the_host_would_refuse_is_refused_when_it_is_declared(self) -> None:
        def bare() -> None: ...

        def untyped(a) -> None:  # type: ignore[no-untyped-def]
            """Takes something."""

        def two() -> tuple[Json[int], Json[int]]:
            """Gives two values."""
            raise NotImplementedError

        def taking(a: bytes) -> None:
            """Takes bytes."""

        for function in [bare, untyped, two, taking]:
            with self.assertRaises(TypeError, msg=function.__name__):
                tool(function)
        with self.assertRaises(TypeError):
            tool(name="a b")(two)
        with self.assertRaises(TypeError):
            tools(add, add)

    def test_a_store_is_what_was_furnished_and_nothing_without(self) -> None:
        with self.assertRaises(kv.KvError) as caught:
            kv.open("a")
        self.assertEqual(caught.exception.kind, "access-denied")
        furnish.store("a")
        store = kv.open("a")
        self.assertIsNone(store.get("x"))
        store.set_json("x", Corner(1, 2))
        self.assertEqual(store.get_json("x", Corner), Corner(1, 2))
        self.assertEqual(store.increment("n", 2), 2)
        self.assertEqual(store.increment("n", 2**63), 2**63 + 2)
        for key, delta in [("n", 2**63), ("n", -1), ("x", 1)]:
            with self.assertRaises(kv.KvError):
                store.increment(key, delta)
        store.set_many([("a", b"1"), ("b", b"2"), ("c", b"3")])
        self.assertEqual(store.keys(), ["x", "n", "a", "b", "c"])
        self.assertEqual(store.get_many(["a", "none"]), [b"1", None])
        store.delete_many(["a", "b"])
        store.delete("c")
        self.assertFalse(store.exists("c"))
        store.set("t", "no json")
        with self.assertRaises(kv.KvError) as caught:
            store.get_json("t")
        self.assertEqual(caught.exception.kind, "json")
        with self.assertRaises(kv.KvError):
            store.set("", b"a")

    def test_configuration_secrets_lines_and_steps(self) -> None:
        with self.assertRaises(config.ConfigError) as caught:
            config.get("a")
        self.assertEqual(caught.exception.kind, "unavailable")
        furnish.config("a", "7")
        self.assertIsNone(config.get("b"))
        self.assertEqual(config.parse("a", int), 7)
        furnish.config("c", "x")
        with self.assertRaises(config.ConfigError) as caught:
            config.parse("c", int)
        self.assertEqual(caught.exception.kind, "invalid")
        with self.assertRaises(secrets.SecretError):
            secrets.get("s")
        furnish.secret("s", b"hidden")
        self.assertEqual(secrets.get("s").text(), "hidden")
        self.assertNotIn("hidden", repr(secrets.get("s")))
        log.warn("careful")
        progress.report(1, 2, "half")
        self.assertEqual(furnish.lines(), [("warn", "", "careful")])
        self.assertEqual(furnish.steps(), [(1.0, 2.0, "half")])
        self.assertFalse(progress.is_cancelled())
        furnish.cancel()
        self.assertTrue(progress.is_cancelled())

    def test_requests_reach_what_was_furnished_as_they_were_made_up(self) -> None:
        def send() -> http.Response:
            return http.post("https://a.test/b").query("q", "a b&c=é").header("x", "y").json({"c": 1}).send()

        with self.assertRaises(http.HttpError) as caught:
            send()
        self.assertEqual(caught.exception.kind, "denied")
        furnish.server(lambda request: http.Response(201, [("x-path", request.path)], request.body))
        answer = send().success()
        self.assertEqual((answer.header("X-Path"), answer.json()), ("/b?q=a%20b%26c%3D%C3%A9", {"c": 1}))
        self.assertEqual(answer.json(dict[str, int]), {"c": 1})
        for problem, kind in [(http.Response(404, [], b"abc"), "status"), (http.Response(200, [], b"abc"), "body")]:
            furnish.server(lambda request, problem=problem: problem)
            with self.assertRaises(http.HttpError) as caught:
                http.get("https://a.test").send().success().json()
            self.assertEqual(caught.exception.kind, kind)
        with self.assertRaises(http.HttpError) as caught:
            http.get("https://a.test").answer_bytes_max(2).send()
        self.assertEqual(caught.exception.kind, "too-long")
        for bad in ["", "a.test/b", "ftp://a.test", "https://", "https:///b", "https://user:pass@a.test/"]:
            with self.assertRaises(http.HttpError, msg=bad) as caught:
                http.get(bad)
            self.assertEqual(caught.exception.kind, "request")

    def test_other_tools_answer_as_they_were_furnished(self) -> None:
        with self.assertRaises(invoke.InvokeError) as caught:
            invoke.call("p", "t", {})
        self.assertEqual(caught.exception.kind, "denied")
        furnish.tools(lambda package, name, given: invoke.Answer([{"type": "text", "text": package}], given))
        answer = invoke.call("p", "t", Sum(1))
        self.assertEqual((answer.text(), answer.parse(Sum)), ("p", Sum(1)))
        with self.assertRaises(invoke.InvokeError) as caught:
            answer.parse(list[int])
        self.assertEqual(caught.exception.kind, "answer")


if __name__ == "__main__":
    unittest.main()
