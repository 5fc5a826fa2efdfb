# mypy: ignore-errors
# The bindings are there only while a component is built.

from componentize_py_types import Err

from . import interface

_store = interface("config", "store", "wasi_config_store", "0_2_0_rc_1", "get_all")


class ConfigUnavailable(Exception):
    pass


def config(key):
    try:
        return _store.get(key)
    except Err as error:
        raise ConfigUnavailable(error.value.value) from None


def config_all():
    try:
        return _store.get_all()
    except Err as error:
        raise ConfigUnavailable(error.value.value) from None
