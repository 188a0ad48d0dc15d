"""Checks what a function is given and what it returns against its declaration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import numpy as np

from nodes.errors import InputError, RunError
from nodes.platform.functions import Function, Shape, Tensors, Value
from nodes.wire.codec import DTYPES
from nodes.wire.codec import Tensors as Arrays

Given = Mapping[str, "Arrays | Mapping[str, Arrays]"]


def check_names(made: Function, inputs: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Refuse an invocation by what it names, before anything is read for it.

    Raises:
        InputError: Something is missing, given twice, or not declared.
    """
    for port_type, given, what in ((Tensors, inputs, "digests"), (Value, values, "values")):
        ports = {name: port for name, port in made.inputs.items() if isinstance(port, port_type)}
        missing = [name for name, port in ports.items() if not port.optional and name not in given]
        odd = sorted(given.keys() - ports.keys())
        if missing or odd:
            raise InputError(
                f"function {made.name} is not given the {what} that it takes", where=made.where,
                wanted=", ".join(ports) or "none", found=", ".join(sorted(given)) or "none",
            )  # fmt: skip
    for name, given_digests in inputs.items():
        port = made.inputs[name]
        if isinstance(port, Tensors) and port.many != isinstance(given_digests, Mapping):
            raise InputError(
                f"function {made.name}: input {name}", where=made.where,
                wanted="digests by name" if port.many else "one digest", found=repr(given_digests),
            )  # fmt: skip


def check_given(made: Function, tensors: Given, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the function is called with, by name; what was left out has its default (None for tensors).

    Raises:
        InputError: A tensor or a value is not what is declared.
    """
    named: dict[str, Any] = {}
    for name, port in made.inputs.items():
        if isinstance(port, Value):
            named[name] = _value(made, name, port, values[name]) if name in values else port.default
            continue
        given = tensors.get(name)
        named[name] = given
        if given is not None and port.named is not None:
            for group in cast("list[Arrays]", list(given.values()) if port.many else [given]):
                problem = _unlike(group, port.named)
                if problem:
                    wanted, found = problem
                    raise InputError(
                        f"function {made.name}: what it is given as {name} is not what it takes",
                        where=made.where, wanted=wanted, found=found,
                    )  # fmt: skip
    return named


def check_returned(
    made: Function, returned: object, given: Mapping[str, Any]
) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """Tensors and plain values that a function returned, by output.

    Args:
        made: The function.
        returned: What it returned.
        given: What it was called with.

    Raises:
        RunError: That is not what it declares.
    """
    if not isinstance(returned, Mapping):
        raise _wrong(made, "its outputs by name: " + ", ".join(made.outputs), f"{type(returned).__name__}")
    required = {n for n, p in made.outputs.items() if not p.optional}
    if not required <= returned.keys() or not returned.keys() <= made.outputs.keys():
        raise _wrong(made, ", ".join(made.outputs), ", ".join(map(str, returned)) or "nothing")
    tensors: dict[str, Arrays] = {}
    values: dict[str, Any] = {}
    for name, got in returned.items():
        port = made.outputs[name]
        if isinstance(port, Value):
            values[name] = _plain(made, name, port, got)
            continue
        if got is None and port.optional:
            continue
        arrays = _arrays(made, name, got)
        like = given[port.like] if port.like else None
        wanted = port.named if like is None else {n: (a.dtype.name, a.shape) for n, a in like.items()}
        problem = _unlike(arrays, wanted) if wanted is not None else None
        if problem:
            raise _wrong(made, f"{name} with {problem[0]}", problem[1])
        tensors[name] = arrays
    return tensors, values


def _value(made: Function, name: str, port: Value, given: object) -> Any:
    try:
        return msgspec.convert(given, port.type)
    except msgspec.ValidationError as error:
        raise InputError(
            f"function {made.name}: the value {name} is not of its type", where=made.where,
            wanted=port.words(), found=str(error),
        ) from None  # fmt: skip


def _plain(made: Function, name: str, port: Value, got: object) -> Any:
    try:
        # What numpy computes is a number, too.
        plain = msgspec.to_builtins(got.item() if isinstance(got, np.generic) else got)
        msgspec.convert(plain, port.type)
    except (msgspec.ValidationError, TypeError) as error:
        raise _wrong(made, f"{name} as {port.words()}", str(error)) from None
    return plain


def _arrays(made: Function, name: str, got: object) -> Arrays:
    if not isinstance(got, Mapping):
        raise _wrong(made, f"{name} as arrays by name", type(got).__name__)
    arrays: Arrays = {}
    for key, tensor in got.items():
        array = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor
        if isinstance(array, np.generic):
            array = np.asarray(array)  # what numpy makes of arrays without dimensions
        if not isinstance(key, str) or not isinstance(array, np.ndarray):
            raise _wrong(made, f"{name} as arrays by name", f"{key!r}: {type(tensor).__name__}")
        if array.dtype.name not in DTYPES:
            raise _wrong(made, f"{name} of types that can be sent: {', '.join(sorted(DTYPES))}", array.dtype.name)
        arrays[key] = array
    return arrays


def _unlike(arrays: Arrays, named: Mapping[str, tuple[str, Shape]]) -> tuple[str, str] | None:
    """What is wanted and what is there, of the first array that differs from the declaration; None if none does."""
    if arrays.keys() != named.keys():
        return _few(named.keys() - arrays.keys(), "no others"), _few(arrays.keys() - named.keys(), "none")
    for name, (dtype, shape) in named.items():
        array = arrays[name]
        fits = len(shape) == array.ndim and all(n is None or n == m for n, m in zip(shape, array.shape, strict=True))
        if array.dtype.name != dtype or not fits:
            sizes = ", ".join("any" if n is None else str(n) for n in shape)
            return f"{name}: {dtype}[{sizes}]", f"{name}: {array.dtype.name}[{', '.join(map(str, array.shape))}]"
    return None


def _few(names: set[str], none: str) -> str:
    return ", ".join(sorted(names)[:4]) or none


def _wrong(made: Function, wanted: str, found: str) -> RunError:
    return RunError(
        f"function {made.name} returned what it does not declare", where=made.where, wanted=wanted, found=found,
    )  # fmt: skip
