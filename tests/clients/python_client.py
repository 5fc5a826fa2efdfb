"""Talks to the host with the official Python client, and says what came of it, as JSON.

Usage: python_client.py MODE (http URL | stdio PROGRAM ARGUMENT...)
MODE: "auto", "legacy", or a revision. The key of http comes from PORTCULLIS_KEY.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


# shown: http
def over_http(url: str, key: str):
    headers = {"Authorization": f"Bearer {key}"}
    return streamable_http_client(url, http_client=httpx2.AsyncClient(headers=headers, timeout=60))
# shown: end


async def talk(server, mode: str) -> dict:
    seen: dict = {"progress": []}
    # shown: use
    async with Client(server, mode=mode) as client:
        tools = await client.list_tools()
        counted = await client.call_tool("mcp__count", {"text": "four"})
        # shown: end
        seen["protocol"] = client.protocol_version
        seen["tools"] = [tool.name for tool in tools.tools]
        seen["counted"] = counted.structured_content

        async def told(progress, total, message):
            seen["progress"].append([progress, total])

        done = await client.call_tool("mcp__test_tool_with_progress", {}, progress_callback=told)
        seen["done"] = done.content[0].text
        failed = await client.call_tool("mcp__test_error_handling", {})
        seen["failed"] = [failed.is_error, failed.content[0].text]
        try:
            await client.call_tool("mcp__loud", {})
        except Exception as error:  # noqa: BLE001
            seen["denied"] = str(error)

        # Taken back once it is known to run.
        runs = asyncio.Event()

        async def waiting(progress, total, message):
            runs.set()

        call = asyncio.create_task(client.call_tool("mcp__wait", {}, progress_callback=waiting))
        await asyncio.wait_for(runs.wait(), 60)
        call.cancel()
        (end,) = await asyncio.gather(call, return_exceptions=True)
        seen["cancelled"] = isinstance(end, asyncio.CancelledError)
    return seen


def main() -> None:
    mode, way, *rest = sys.argv[1:]
    if way == "http":
        server = over_http(rest[0], os.environ["PORTCULLIS_KEY"])
    else:
        server = StdioServerParameters(command=rest[0], args=rest[1:])
    print(json.dumps(asyncio.run(talk(server, mode))))


main()
