"""``--set a.b.c=value``: changes to any field of a file before it is validated."""

from __future__ import annotations

from typing import Any

from testbed.errors import InputError
from testbed.experiment.document import Document, Steps, parse_value
from testbed.experiment.problems import did_you_mean
from testbed.experiment.profiles import BUILTIN
from testbed.experiment.training import keys_of_move
from testbed.experiment.validation import dotted, known_keys

_NAMED = {"sites", "devices", "hosts", "profiles", "tasks"}
"""Sections whose keys are names that the user chose."""


def apply(document: Document, override: str) -> None:
    """Change the document as ``key=value`` says; the value is YAML, list indices are numbers.

    Raises:
        InputError: There is no such key, or the value is no YAML.
    """
    key, equals, text = override.partition("=")
    key = key.strip()
    where = f"--set {key}=..."
    if not equals or not key or any(not part.strip() for part in key.split(".")):
        raise InputError(
            "an override has the form key=value",
            wanted="--set workload.rounds=2",
            found=override,
            where=f"--set {override}",
        )
    value = parse_value(text, where)
    parts = [part.strip() for part in key.split(".")]
    target: Any = document.data
    path: Steps = ()
    for i, part in enumerate(parts):
        step = _step(target, path, part, where, last=i == len(parts) - 1)
        path = (*path, step)
        if i == len(parts) - 1:
            _put(target, step, value)
        else:
            target = _enter(target, step, path, where)
    _place(document, path, where, value)


def _step(target: Any, path: Steps, part: str, where: str, *, last: bool) -> str | int:
    """The key or index that a part of the path names."""
    if isinstance(target, list):
        if part.isdecimal() and int(part) < len(target):
            return int(part)
        raise InputError(
            f"{dotted(path)} has no item {part!r}",
            wanted=f"0 to {len(target) - 1}" if target else "a value for the whole list",
            where=where,
            remedy=f"set the whole list: --set '{dotted(path)}=[…]'",
        )
    if part in target:
        return part
    if path == ("links",):
        return _link(target, part, where, last=last)
    if len(path) == 1 and path[0] in _NAMED:
        known = [*target, *(BUILTIN if path[0] == "profiles" else ())]
        if part in known or last:
            return part
        raise InputError(
            f"there is no {part!r} in {path[0]}",
            wanted=", ".join(known),
            where=where,
            remedy=did_you_mean(part, known) or "add it to the file first",
        )
    known_here = known_keys(path)
    if known_here is not None and part not in known_here:
        raise InputError(
            f"unknown key {part!r}{' in ' + dotted(path) if path else ''}",
            wanted=", ".join(known_here),
            where=where,
            remedy=did_you_mean(part, known_here) or "see docs/experiment.md",
        )
    return part


def _link(links: dict[str, Any], part: str, where: str, *, last: bool) -> str:
    """A link by its name, whichever end comes first."""
    ends = sorted(end.strip() for end in part.split("--"))
    for name in links:
        if len(ends) == 2 and sorted(end.strip() for end in name.split("--")) == ends:
            if [e.strip() for e in name.split("--")] != [e.strip() for e in part.split("--")]:
                raise InputError(
                    f"the link is called {name!r}: up and down depend on the order",
                    found=part, where=where, remedy=f"write links.{name}",
                )  # fmt: skip
            return name
    if part in ("access", "edge") or (last and len(ends) == 2):
        return part
    known = [*dict.fromkeys(["access", "edge", *links])]
    raise InputError(
        f"there is no link {part!r}",
        wanted=", ".join(known),
        where=where,
        remedy=did_you_mean(part, known) or "add it to the file first",
    )


def _enter(target: Any, step: str | int, path: Steps, where: str) -> Any:
    """The mapping or list behind a key, made where the key is absent or blank."""
    if isinstance(target, dict) and target.get(str(step)) is None:
        target[str(step)] = {}
    inner = target[step]
    if isinstance(inner, str) and path[:2] == ("mobility", "moves"):  # a move written as a sentence
        target[step] = inner = keys_of_move(inner) or inner
    if isinstance(inner, dict | list):
        return inner
    raise InputError(
        f"{dotted(path)} is a single value",
        found=str(inner),
        where=where,
        remedy=f"set all of it: --set '{dotted(path)}={{…}}'",
    )


def _put(target: Any, step: str | int, value: Any) -> None:
    target[step] = value


def _place(document: Document, path: Steps, where: str, value: Any) -> None:
    """Everything at and below the path now comes from the command line."""
    for old in [p for p in document.places if p[: len(path)] == path]:
        del document.places[old]
    for end in range(1, len(path)):
        document.places.setdefault(path[:end], where)
    stack = [(path, value)]
    while stack:
        at, inner = stack.pop()
        document.places[at] = where
        if isinstance(inner, dict):
            stack.extend(((*at, k), v) for k, v in inner.items())
        elif isinstance(inner, list):
            stack.extend(((*at, i), v) for i, v in enumerate(inner))
