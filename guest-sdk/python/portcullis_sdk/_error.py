"""Why a tool gave no result."""

from __future__ import annotations

from enum import Enum


class ErrorKind(Enum):
    """Whose fault it is that a tool gave no result."""

    INVALID_ARGUMENTS = "invalid-arguments"
    """The arguments, although they match the schema. The agent may try again with others."""
    FAILED = "failed"
    """The tool, or what it depends on."""


class ToolError(Exception):
    """Why a tool gave no result, and whose fault that is. The host keeps the first 1,000 bytes of the message."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    @classmethod
    def invalid_arguments(cls, message: str) -> ToolError:
        """The agent's arguments are wrong in a way that the schema can't say."""
        return cls(ErrorKind.INVALID_ARGUMENTS, message)

    @classmethod
    def failed(cls, message: str) -> ToolError:
        """The tool, or what it depends on, failed."""
        return cls(ErrorKind.FAILED, message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolError) and (self.kind, self.message) == (other.kind, other.message)

    def __hash__(self) -> int:
        return hash((self.kind, self.message))


class HostError(Exception):
    """An error of what the host gives. A tool that does not catch it fails with its text."""


def of_exception(error: Exception) -> ToolError | None:
    """What an exception of a tool's function says to the agent: errors of the host, of the system and of values do.

    Any other is a mistake in the tool. It is left to end the call, as a panic does in Rust: the call is reported as
    crashed, and the traceback stands on its stderr.
    """
    if isinstance(error, ToolError):
        return error
    if isinstance(error, (HostError, OSError, ValueError)):
        return ToolError.failed(str(error))
    return None
