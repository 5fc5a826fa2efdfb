"""An agent in forty lines: a model that speaks OpenAI's API, and the tools of a host.

Usage: openai_loop.py MODEL_URL HOST_URL QUESTION
The key of the host comes from PORTCULLIS_KEY; that of the model from OPENAI_API_KEY. Prints the conversation as JSON.
"""

import json
import os
import sys

import httpx2
from openai import OpenAI

# shown: loop
STEPS_MAX = 10


def ask(model: OpenAI, host: httpx2.Client, question: str) -> list[dict]:
    tools = host.get("/v1/tools", params={"format": "openai"}).raise_for_status().json()
    messages: list[dict] = [{"role": "user", "content": question}]
    for _ in range(STEPS_MAX):
        reply = model.chat.completions.create(model="any", messages=messages, tools=tools)
        message = reply.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            made = call.function
            answer = host.post("/v1/calls", params={"name": made.name}, content=made.arguments)
            # What went wrong is for the model as well: it says whose fault it was, and what would help.
            said = answer.json() if answer.is_success else {"error": answer.json()["detail"]}
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(said)})
    return messages
# shown: end


def main() -> None:
    model_url, host_url, question = sys.argv[1:]
    headers = {"Authorization": f"Bearer {os.environ['PORTCULLIS_KEY']}", "Content-Type": "application/json"}
    with httpx2.Client(base_url=host_url, headers=headers, timeout=60) as host:
        print(json.dumps(ask(OpenAI(base_url=model_url), host, question)))


main()
