"""Schemes: how a task's training is organised, one file each.

A scheme is a module here whose name has no leading underscore and that defines ``SCHEME``. Its name is the module's
name; nothing else has to be registered.
"""

from __future__ import annotations

import importlib
import pkgutil

from nodes.errors import InputError
from nodes.schemes._base import Members, Scheme, place_collectors

__all__ = ["Members", "Scheme", "get", "names", "place_collectors"]


def names() -> tuple[str, ...]:
    """Names of all schemes, found without importing any of them."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def get(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
        InputError: There is none.
    """
    if name not in names():
        raise InputError(f"no scheme {name!r}", wanted="one of " + ", ".join(names()), found=name)
    scheme = importlib.import_module(f"{__name__}.{name}").SCHEME
    assert isinstance(scheme, Scheme)
    return scheme
