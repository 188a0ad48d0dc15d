"""``tasks: {more: {like: digits, …}}``: a task that has of another one all that it does not say itself.

Put into the document as if the file had it in full: nothing after this knows of likeness, and what is wrong with a
value is placed where it was written.
"""

from __future__ import annotations

from typing import Any

from testbed.experiment.document import Document, Steps
from testbed.experiment.problems import did_you_mean

KEY = "like"
_OWN = frozenset((KEY, "at", "arrivals"))
"""What a task does not have of another one."""


def expand(document: Document) -> None:
    """Replace ``like`` by what it stands for.

    Mappings such as ``data`` are joined key by key, what is in them is taken as a whole.

    Raises:
        InputError: There is no such task, or tasks are like each other.
    """
    tasks = document.data.get("tasks")
    if not isinstance(tasks, dict):
        return
    done: dict[str, Any] = {}
    for name in tasks:
        _expanded(document, tasks, name, done, ())
    document.data["tasks"] = {name: done[name] for name in tasks}


def _expanded(
    document: Document, tasks: dict[str, Any], name: str, done: dict[str, Any], after: tuple[str, ...]
) -> Any:
    if name in done:
        return done[name]
    own = tasks[name]
    like = own.get(KEY) if isinstance(own, dict) else None
    if not isinstance(like, str):
        done[name] = own
        return own
    path: Steps = ("tasks", name, KEY)
    if like in (*after, name):
        raise document.problem(path, "tasks are like each other in a circle", found=" like ".join((*after, name, like)),
                               remedy="write one of them out")  # fmt: skip
    if like not in tasks:
        raise document.problem(path, f"there is no task {like!r}", wanted=", ".join(tasks), found=like,
                               remedy=did_you_mean(like, tasks))  # fmt: skip
    other = _expanded(document, tasks, like, done, (*after, name))
    if not isinstance(other, dict):
        done[name] = own  # the other one has the wrong form, which is told where it stands
        return own
    found = {key: value for key, value in own.items() if key != KEY}
    for key, value in other.items():
        if key in _OWN:
            continue
        if key not in found:
            found[key] = value
            _copy_places(document, ("tasks", like, key), ("tasks", name, key))
        elif isinstance(found[key], dict) and isinstance(value, dict):
            found[key] = {**value, **found[key]}
            for inner in value:
                if inner not in own[key]:
                    _copy_places(document, ("tasks", like, key, inner), ("tasks", name, key, inner))
    done[name] = found
    return found


def _copy_places(document: Document, source: Steps, target: Steps) -> None:
    """What stands at one path and below it also stands at another one."""
    for path, place in list(document.places.items()):
        if path[: len(source)] == source:
            document.places.setdefault((*target, *path[len(source) :]), place)
