"""Finding functions: the built-in ones by name, users' own in their files."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
import traceback
from pathlib import Path
from typing import Any, get_origin

import msgspec

from nodes.errors import InputError, RoambedError
from nodes.platform.functions import Function, Port, Tensors

BUILT_IN: dict[str, str] = {
    "train-device": "nodes.platform.training:train_device",
    "train-edge": "nodes.platform.training:train_edge",
    "aggregate": "nodes.platform.builtin:aggregate",
    "evaluate": "nodes.platform.builtin:evaluate",
    "broadcast": "nodes.platform.builtin:broadcast",
    "initialise": "nodes.platform.builtin:initialise",
    "select-data": "nodes.platform.selecting:select_data",
    "measure": "nodes.platform.measuring:measure",
}
"""Name to ``module:function``: names, not functions, so that nothing is imported that is not used."""

RESERVED = frozenset({"measure", "migrate"})
"""Names that a user's function may not have. One that is called as another built-in one is there in its place."""

_loads = itertools.count()


def find(name: str, source: str = "") -> Function:
    """The function of that name: a built-in one, or one of the file ``source``.

    Raises:
        InputError: There is none, or the file cannot be used.
    """
    if source:
        found = load(Path(source))
        if name not in found:
            raise InputError(
                f"no function {name} in this file", where=source, wanted=name, found=", ".join(sorted(found)),
                remedy="a function is called as its def is, with hyphens for underscores, if its name= says nothing",
            )  # fmt: skip
        return found[name]
    if name not in BUILT_IN:
        raise InputError(
            f"no function {name}", wanted="one of " + ", ".join(BUILT_IN), found=name,
            remedy="name the file that it stands in, if it is your own",
        )  # fmt: skip
    module, _, attribute = BUILT_IN[name].partition(":")
    made = getattr(importlib.import_module(module), attribute)
    assert isinstance(made, Function)
    return made


def text_of(path: Path) -> str:
    """What a file of functions says.

    Raises:
        InputError: It cannot be read, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("a file of functions cannot be read", where=str(path), found=str(error.strerror),
                         remedy="is it there, and may everybody read it?") from None  # fmt: skip
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:  # also where it names another encoding: it is kept in the run's manifest
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            "a file of functions is not UTF-8", where=f"{path}:{line}", wanted="Python as UTF-8",
            found=f"byte 0x{error.object[error.start]:02x}", remedy="save it as UTF-8",
        ) from None  # fmt: skip


def load(path: Path) -> dict[str, Function]:
    """All functions that a file declares, by name. This runs the file.

    Raises:
        InputError: It cannot be read, does not parse, fails, declares none, or one by a name that is taken.
    """
    where = str(path)
    text = text_of(path)
    try:
        code = compile(text, where, "exec")
    except (SyntaxError, ValueError) as error:  # a null byte is either, as Python's version has it
        line = getattr(error, "lineno", None)
        what = getattr(error, "msg", None) or str(error)
        raise InputError("this is no Python", where=f"{where}:{line}" if line else where, found=what) from None
    # A name of its own for each load, in sys.modules: what it declares may be looked up there (dataclasses).
    name = f"roambed_functions_{next(_loads)}"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=where)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = where
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except RoambedError:
        raise
    except (Exception, SystemExit) as error:
        line = line_of(error, where)
        raise InputError(
            "a file of functions fails when it is imported", where=f"{where}:{line}" if line else where,
            found=f"{type(error).__name__}: {error}",
            remedy="it runs in the node's image: numpy, torch, msgspec and safetensors are there",
        ) from None  # fmt: skip
    found: dict[str, Function] = {}
    for made in vars(module).values():
        if not isinstance(made, Function) or getattr(made.call, "__module__", name) != name:
            continue  # imported, not declared here
        if made.name in RESERVED or found.get(made.name, made) is not made:
            raise InputError(f"the name {made.name} is taken", where=made.where, remedy="give it another with name=")
        if made.name in BUILT_IN:
            _check_replacement(made, find(made.name))
        found[made.name] = made
    if not found:
        raise InputError(
            "this file declares no function", where=where,
            wanted="a def under @function(inputs=..., outputs=..., memory=...) of nodes.platform.functions",
        )  # fmt: skip
    return found


def _check_replacement(made: Function, built_in: Function) -> None:
    """Who stands in for a built-in function is given what that is given, and has to give what that gives."""
    for what, own, theirs in (
        ("takes", made.inputs, built_in.inputs), ("gives", made.outputs, built_in.outputs)
    ):  # fmt: skip
        if own.keys() != theirs.keys() or made.streams != built_in.streams:
            raise InputError(
                f"function {made.name} is called as a built-in one, and {what} something else", where=made.where,
                wanted=", ".join(theirs) + ("; streams=True" if built_in.streams else ""),
                found=", ".join(own) or "nothing", remedy="declare what the built-in one does, or give it another name",
            )  # fmt: skip
        for name, port in theirs.items():
            if not (_takes(own[name], port) if what == "takes" else _takes(port, own[name])):
                raise InputError(
                    f"function {made.name} is called as a built-in one, and {what} {name} as something else",
                    where=made.where, wanted=_said(port), found=_said(own[name]),
                    remedy="declare what the built-in one does, or give it another name",
                )  # fmt: skip


def _takes(port: Port, given: Port) -> bool:
    """Whether what one port gives (or may leave out) can be what another one takes."""
    if given.optional and not port.optional:
        return False
    if isinstance(port, Tensors) or isinstance(given, Tensors):
        return isinstance(port, Tensors) and isinstance(given, Tensors) and port.many == given.many
    wider: list[Any] = [given.type, Any, get_origin(given.type) or given.type]
    if isinstance(given.type, type):
        wider += [float] * (given.type is int) + [dict] * issubclass(given.type, msgspec.Struct)  # as they travel
    return port.type in wider


def _said(port: Port) -> str:
    return port.words() + (", or nothing" if port.optional else "")


def line_of(error: BaseException, path: str) -> int:
    """Line of a file that an error came through last; 0: it did not."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] or 0 if lines else 0
