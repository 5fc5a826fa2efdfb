"""Uses each helper of the SDK, and gives every kind of content. `javascript/tool.js` is the same."""

from typing import Annotated, Any

from portcullis_sdk import Audio, Image, Json, Resource, ToolError, config, http, invoke, kv, log, progress, secrets
from portcullis_sdk import tool, tools


@tool
def use_all(url: Annotated[str, "Where a request goes."]) -> Json[dict[str, Any]]:
    """Uses each helper."""
    log.warn("began")
    log.write(log.Level.DEBUG, "helpers", "went on")
    progress.report(1, 2, "half")
    store = kv.open("all")
    store.set_json("a", {"b": [1, None]})
    store.set_many([("c", b"\x00\xff"), ("d", b"2")])
    total = store.increment("d", 40)
    answer = http.post(url).header("x-said", "so").query("q", "a b").json({"large": "x" * 10_000}).send()
    told = invoke.call("echo", "text", {"value": "größer"})
    return Json(
        {
            "config": config.all(),
            "json": store.get_json("a"),
            "keys": store.keys(),
            "many": [None if value is None else len(value) for value in store.get_many(["c", "none"])],
            "total": total,
            "status": answer.status,
            "answer": answer.json(),
            "header": answer.header("X-Answer"),
            "secret": len(secrets.get("hidden").bytes()),
            "invoked": told.structured,
            "cancelled": progress.is_cancelled(),
        }
    )


@tool
def try_all(url: Annotated[str, "Where a request goes."]) -> Json[dict[str, str]]:
    """Tries each helper, and gives the kinds of errors."""
    tries = {
        "config": lambda: config.get("a"),
        "http": lambda: http.get(url).send(),
        "invoke": lambda: invoke.call("echo", "text", {"value": "a"}),
        "kv": lambda: kv.open("all"),
        "secrets": lambda: secrets.get("hidden"),
    }
    found = {}
    for name, attempt in tries.items():
        try:
            attempt()
            found[name] = "granted"
        except (config.ConfigError, http.HttpError, invoke.InvokeError, kv.KvError, secrets.SecretError) as error:
            found[name] = error.kind
    return Json(found)


@tool
def too_long(url: Annotated[str, "Where a request goes."]) -> str:
    """Takes an answer of one byte only."""
    return http.get(url).answer_bytes_max(1).send().text()


@tool
def contents() -> tuple[str, Image, Audio, Resource, Resource]:
    """Gives every kind of content."""
    return (
        "text",
        Image.png(b"\x89PNG"),
        Audio("audio/wav", b"RIFF"),
        Resource("note:///a", "# A", "text/markdown"),
        Resource("data:///b", b"\x00"),
    )


@tool
def mistake() -> None:
    """Makes a mistake."""
    raise TypeError("not meant to be told")


@tool
def fail(of: Annotated[str, "arguments or tool"]) -> None:
    """Fails."""
    raise ToolError.invalid_arguments("bad") if of == "arguments" else ValueError("failed")


Tools = tools(use_all, try_all, too_long, contents, mistake, fail)
