"""What `@tool` makes of a function, and the tools of a component together."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, overload

from . import _schema, _values
from ._content import Audio, Content, Image, Json, Resource, Structured, Text
from ._error import ToolError, of_exception
from ._host import IS_COMPONENT

P = ParamSpec("P")
R = TypeVar("R")

# What the host takes.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Definition:
    """A tool as the host will see it."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None


class Tool(Generic[P, R]):
    """A function that is a tool. It is still called as a function; `call_text` goes the way of an agent's call."""

    def __init__(self, function: Callable[P, R], name: str | None) -> None:
        self._function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        name = name or function.__name__
        if not _NAME.fullmatch(name):
            raise TypeError(
                f"the host refuses a tool named {name!r}: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-', beginning with "
                'a letter or digit; @tool(name="…") names a tool otherwise than its function'
            )
        description = inspect.cleandoc(function.__doc__ or "").strip()
        if not description:
            raise TypeError(f"{name} needs a docstring: it is what agents read of the tool")
        hints = typing.get_type_hints(function, include_extras=True)
        self._arguments: dict[str, tuple[Any, bool]] = {}
        properties = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(f"{name}: {parameter} is no argument of a tool")
            if parameter.name not in hints:
                raise TypeError(f"{name}: the argument {parameter.name} needs a type")
            kind, may_lack = hints[parameter.name], parameter.default is not parameter.empty
            self._arguments[parameter.name] = (kind, may_lack)
            properties[parameter.name] = _schema.of(kind)
        required = [name for name, (_, may_lack) in self._arguments.items() if not may_lack]
        self.definition = Definition(
            name=name,
            description=description,
            input_schema=_schema.object_of(properties, required),
            output_schema=_output_schema(name, hints.get("return")),
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def call_text(self, text: str) -> list[Content]:
        """Calls the function with arguments from a JSON object, as an agent does.

        Raises `ToolError` if they don't fit, or by the function's own decision.
        """
        try:
            arguments = _values.fields(_values.parse(text), "$", self._arguments)
        except ValueError as error:
            raise ToolError.invalid_arguments(str(error)) from error
        function: Callable[..., R] = self._function
        try:
            return _answer(function(**arguments))
        except Exception as error:
            told = of_exception(error)
            if told is None or told is error:
                raise
            raise told from error


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(*, name: str) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Any = None, /, *, name: str | None = None) -> Any:
    """Makes a tool of a function: its docstring is the description, its types are the schemas.

    What it may return: text, `Image`, `Audio`, `Resource`, `Json[T]` for anything with a schema, `Content`, `None` for
    nothing; and tuples and lists of these. It is checked when the module is read, as the rest of a tool is.
    """
    if function is None:
        return lambda function: Tool(function, name)
    return Tool(function, None)


def _output_schema(name: str, kind: Any) -> dict[str, Any] | None:
    """That of the structured value, if there always is one."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _output_schema(name, args[0])
    if kind is Json:
        raise TypeError(f"{name}: write Json[T], with the type of the value")
    if origin is Json:
        return _schema.of(args[0], of_result=True)
    if origin is tuple:
        found = [schema for schema in (_output_schema(name, part) for part in args) if schema is not None]
        if len(found) > 1:
            raise TypeError(f"{name}: a result holds at most one structured value: put both into one dataclass")
        return found[0] if found else None
    return None


def _answer(output: Any) -> list[Content]:
    content: list[Content] = []
    _append(output, content)
    structured = sum(isinstance(part, Structured) for part in content)
    if structured > 1:
        raise ToolError.failed(f"the tool gave {structured} structured values, and a result holds one")
    return content


def _append(output: Any, content: list[Content]) -> None:
    if output is None:
        return
    if isinstance(output, str):
        content.append(Text(output))
    elif isinstance(output, (Json, Structured)):
        try:
            content.append(Structured(_values.write(output.value)))
        except ValueError as error:
            raise ToolError.failed(f"the structured result can't be written as JSON: {error}") from error
    elif isinstance(output, (Text, Image, Audio, Resource)):
        content.append(output)
    elif isinstance(output, (list, tuple)):
        for part in output:
            _append(part, content)
    else:
        raise TypeError(
            f"a {type(output).__name__} can't be the result of a tool: return text, Image, Audio, Resource, "
            "Json(value), None, or lists and tuples of these"
        )


def tools(*offered: Tool[..., Any]) -> type:
    """The class that offers these tools. Once in the module that is the component: `Tools = tools(render, outline)`."""
    by_name: dict[str, Tool[..., Any]] = {}
    for one in offered:
        if not isinstance(one, Tool):
            raise TypeError(f"{one!r} is not a tool: put @tool on the function")
        if one.definition.name in by_name:
            raise TypeError(f"two tools of this component are named {one.definition.name}")
        by_name[one.definition.name] = one

    def call(name: str, arguments: str) -> list[Content]:
        if name not in by_name:
            raise ToolError.invalid_arguments(f"there is no tool {name}")
        return by_name[name].call_text(arguments)

    definitions = [one.definition for one in offered]
    if IS_COMPONENT:
        from ._component.tools import export

        exported: type = export(definitions, call)
        return exported
    return type("Tools", (), {"definitions": definitions, "call": staticmethod(call), "__doc__": json.dumps([*by_name])})
