"""Tools in Python through portcullis:tool: they read a granted folder, send requests, and print.

The component holds a whole interpreter: 14 core instances, a large table and 12 MiB of
memory, so it also shows that a large guest fits the host's pools.
"""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import poll_loop
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.tools import (
    Content_Structured,
    Content_Text,
    ErrorKind,
    ToolDefinition,
    ToolError,
)
from wit_world.imports.types import Fields, OutgoingRequest, Scheme_Http, Scheme_Https

# The largest file that is read.
FILE_BYTES_MAX = 1 << 20


def schema(**properties):
    """An object in which each property is a required string."""
    return json.dumps({
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    })


def read_file(path):
    """Sums up a text file in a granted folder."""
    with Path(path).open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise ValueError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    text = data.decode()
    summary = {"lines": len(text.splitlines()), "words": len(text.split()), "bytes": len(data)}
    return [Content_Text(text), Content_Structured(json.dumps(summary))]


def list_folder(path):
    """Names what a granted folder holds."""
    return [Content_Structured(json.dumps({"names": sorted(entry.name for entry in Path(path).iterdir())}))]


async def answer_of(url):
    """Sends a request with what componentize-py has for that, and reads the whole answer."""
    parts = urlsplit(url)
    request = OutgoingRequest(Fields.from_list([("accept", b"*/*")]))
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    try:
        response = await poll_loop.send(request)
    except Err as error:
        raise ValueError(type(error.value).__name__) from error
    stream = poll_loop.Stream(response.consume())
    body = b""
    while (chunk := await stream.next()) is not None:
        body += chunk
    return f"{response.status()} {body.decode()}"


def fetch(url):
    """Gets a URL."""
    loop = poll_loop.PollLoop()
    asyncio.set_event_loop(loop)
    return [Content_Text(loop.run_until_complete(answer_of(url)))]


def say(text):
    """Prints a text to stdout and stderr."""
    print(f"out: {text}")
    print(f"err: {text}", file=sys.stderr)
    return [Content_Text(text)]


def spin():
    """Computes for ever."""
    while True:
        pass


def allocate(megabytes):
    """Takes so many megabytes of memory, and says how many bytes that were."""
    try:
        return [Content_Text(str(len(bytearray(int(megabytes) << 20))))]
    except MemoryError as error:
        raise ValueError("no memory") from error


TOOLS = {
    "read-file": (read_file, schema(path="The file, such as /data/a.txt.")),
    "list-folder": (list_folder, schema(path="The folder, such as /data.")),
    "fetch": (fetch, schema(url="The URL.")),
    "say": (say, schema(text="The text.")),
    "spin": (spin, schema()),
    "allocate": (allocate, schema(megabytes="How many, in decimal digits.")),
}


class Tools(exports.Tools):
    def list_tools(self):
        return [
            ToolDefinition(name, function.__doc__, input_schema, None)
            for name, (function, input_schema) in TOOLS.items()
        ]

    def call_tool(self, name, arguments):
        if name not in TOOLS:
            raise Err(ToolError(ErrorKind.INVALID_ARGUMENTS, f"no tool {name}"))
        function, _ = TOOLS[name]
        try:
            return function(**json.loads(arguments))
        except TypeError as error:
            raise Err(ToolError(ErrorKind.INVALID_ARGUMENTS, str(error))) from error
        except (OSError, ValueError) as error:
            raise Err(ToolError(ErrorKind.FAILED, str(error))) from error
