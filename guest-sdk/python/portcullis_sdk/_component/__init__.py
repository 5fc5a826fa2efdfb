"""The interfaces of the host, as componentize-py binds them. Only where a component is built.

Each module is read while the component is built: what the world does not import is told then.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def interface(helper: str, name: str, qualified: str, version: str, has: str) -> ModuleType:
    """The bindings of an interface. Their name depends on what else the world has of the same name."""
    for candidate in (name, qualified, f"{qualified}_{version}"):
        try:
            module = importlib.import_module(f"wit_world.imports.{candidate}")
        except ImportError:
            continue
        if hasattr(module, has):
            return module
    raise ImportError(
        f"portcullis_sdk.{helper} needs a line in the world of wit/world.wit: include portcullis:sdk/{helper}@0.1.0;"
    )
