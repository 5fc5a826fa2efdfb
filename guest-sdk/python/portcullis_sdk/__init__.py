"""Write a tool for Portcullis as a plain Python function.

    from typing import Annotated
    from portcullis_sdk import tool, tools

    @tool
    def reverse(text: Annotated[str, "The text."]) -> str:
        \"\"\"Turns a text around.\"\"\"
        return text[::-1]

    Tools = tools(reverse)

The modules `config`, `http`, `invoke`, `kv`, `log`, `progress` and `secrets` are what the host may give. Each needs its
line in `wit/world.wit` (`include portcullis:sdk/kv@0.1.0;`), and all but `log` and `progress` a grant.
"""

from ._content import Audio, Content, Image, Json, Resource, Structured, Text
from ._error import ErrorKind, HostError, ToolError
from ._tool import Definition, Tool, tool, tools

__all__ = [
    "Audio",
    "Content",
    "Definition",
    "ErrorKind",
    "HostError",
    "Image",
    "Json",
    "Resource",
    "Structured",
    "Text",
    "Tool",
    "ToolError",
    "tool",
    "tools",
]
