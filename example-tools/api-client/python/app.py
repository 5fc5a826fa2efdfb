"""Asks an issue tracker's API. The credential that the API wants is put into each request by the host: this tool
never has it."""

import re
from dataclasses import dataclass
from typing import Annotated

from portcullis_sdk import Json, ToolError, config, http, tool, tools

# The key of the configuration that names the API, such as `https://api.example.com`.
API_URL = "api_url"


@dataclass
class Issue:
    """An issue."""

    number: Annotated[int, "Its number."]
    title: Annotated[str, "Its title."]


@tool
def open_issues(
    owner: Annotated[str, "The owner's name."],
    repository: Annotated[str, "The repository's name."],
) -> Json[list[Issue]]:
    """Lists the open issues of a repository."""
    for name in (owner, repository):
        if not re.fullmatch("[A-Za-z0-9._-]+", name):
            raise ToolError.invalid_arguments(f'"{name}" is not a name')
    api = config.get(API_URL)
    if api is None:
        raise ToolError.failed(f"`{API_URL}` is not configured")
    url = f"{api}/repos/{owner}/{repository}/issues"
    answer = http.get(url).query("state", "open").header("accept", "application/json").send()
    return Json(answer.success().json(list[Issue]))


Tools = tools(open_issues)
