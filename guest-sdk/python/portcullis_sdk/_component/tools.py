"""The tools as exports of the world `portcullis:tool/tool`."""

# mypy: ignore-errors
# The bindings are there only while a component is built.

import json
import sys
import traceback
from typing import Any

from componentize_py_types import Err
from wit_world.exports import tools as _world

from .._content import Audio, Image, Resource, Structured, Text
from .._error import ToolError
from .._values import text


def export(definitions: Any, call: Any) -> type:
    class Tools:
        def list_tools(self):
            return [
                _world.ToolDefinition(
                    one.name,
                    one.description,
                    json.dumps(one.input_schema),
                    None if one.output_schema is None else json.dumps(one.output_schema),
                )
                for one in definitions
            ]

        def call_tool(self, name, arguments):
            try:
                return [_part(part) for part in call(name, arguments)]
            except ToolError as error:
                kind = _world.ErrorKind[error.kind.name]
                raise Err(_world.ToolError(kind, error.message)) from None
            except Exception:
                # Left to end the call: what is wrong in the tool stands on its stderr.
                traceback.print_exc(file=sys.stderr)
                raise

    return Tools


def _part(content):
    if isinstance(content, Text):
        return _world.Content_Text(content.text)
    if isinstance(content, Structured):
        return _world.Content_Structured(text(content.value))
    if isinstance(content, Image):
        return _world.Content_Image(_world.Blob(content.data, content.mime_type))
    if isinstance(content, Audio):
        return _world.Content_Audio(_world.Blob(content.data, content.mime_type))
    assert isinstance(content, Resource)
    body = content.body
    held = _world.ResourceBody_Text(body) if isinstance(body, str) else _world.ResourceBody_Blob(body)
    return _world.Content_Resource(_world.EmbeddedResource(content.uri, content.mime_type, held))
