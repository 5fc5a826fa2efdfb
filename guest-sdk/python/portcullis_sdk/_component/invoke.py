# mypy: ignore-errors
# The bindings are there only while a component is built.

from componentize_py_types import Err

from . import interface
from .._invoke_error import InvokeError

_invoke = interface("invoke", "invoke", "portcullis_tool_invoke", "0_1_0", "InvokeError_Denied")
_KINDS = {
    _invoke.InvokeError_Denied: "denied",
    _invoke.InvokeError_NotFound: "not-found",
    _invoke.InvokeError_InvalidArguments: "invalid-arguments",
    _invoke.InvokeError_Refused: "refused",
    _invoke.InvokeError_LimitReached: "limit-reached",
    _invoke.InvokeError_Failed: "failed",
}


def invoke(package, tool, arguments):
    try:
        answer = _invoke.call(package, tool, arguments)
    except Err as error:
        raise InvokeError(_KINDS[type(error.value)], error.value.value) from None
    return answer.content, answer.structured
