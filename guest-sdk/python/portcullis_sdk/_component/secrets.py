# mypy: ignore-errors
# The bindings are there only while a component is built.

from componentize_py_types import Err

from . import interface
from .._secret_error import SecretError

_secrets = interface("secrets", "secrets", "portcullis_tool_secrets", "0_1_0", "SecretError")


def secret(name):
    try:
        return _secrets.get(name)
    except Err as error:
        is_permitted = error.value != _secrets.SecretError.NOT_PERMITTED
        raise SecretError("unavailable" if is_permitted else "not-permitted") from None
