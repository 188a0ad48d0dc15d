"""``sites: {file: …}``: access points from a table, put into the document as if the file had them one by one.

Nothing after this knows of tables: what is wrong with a site is placed at its line of the table, and the experiment as
it was understood has each site with its place. A mapping without ``path`` is a site that is called ``file``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.experiment.document import Document
from testbed.experiment.problems import did_you_mean
from testbed.experiment.trace_settings import parse_place
from testbed.experiment.units import UnitError
from testbed.mobility import sites
from testbed.mobility.project import Plane

KEY = "file"
AT = ("sites", KEY)
MOST = 500
"""Sites that a table may add: each becomes an access point and an edge server."""
WANTED = "file: sites.csv, or file: {path: sites.csv, take: [a, b]}"

SCHEMA: dict[str, Any] = {
    "properties": {
        KEY: {
            "description": "A table of sites, see docs/traces.md: its path, or also which of them (`take`).",
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string", "minLength": 1},
                        "take": {
                            "anyOf": [
                                {"type": "array", "items": {"type": "string"}},
                                {"type": "object", "additionalProperties": {"type": "string"}},
                            ]
                        },
                    },
                    "required": ["path"],
                    "additionalProperties": False,
                },
                {"$ref": "#/$defs/Site"},
            ],
        }
    }
}
"""What editors know of it."""


def expand(document: Document) -> None:
    """Replace the table by its sites. Those that the file has itself keep what it says of them.

    Sites in degrees go to the plane of the trace: its ``origin``, or the first site taken, which is then the trace's.

    Raises:
        InputError: The table, or what is asked of it, cannot be used.
    """
    listed = document.data.get("sites")
    asked = listed.get(KEY) if isinstance(listed, dict) else None
    if not isinstance(listed, dict) or not (isinstance(asked, str) or (isinstance(asked, dict) and "path" in asked)):
        return
    path, take = _asked(document, asked)
    plane = _plane(document)
    names = None if take is None else list(take)
    table = sites.read(path, named_at=document.where(AT), plane=plane, only=names)
    missing = [name for name in names or () if name not in {row.name for row in table.rows}]
    if missing:
        known = [*(row.name for row in table.rows), *table.others]
        raise document.problem(
            (*AT, "take"), f"the table has no site {missing[0]!r}", found=str(path),
            wanted=", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else ""),
            remedy=did_you_mean(missing[0], known),
        )  # fmt: skip
    if len(table.rows) > MOST:
        raise document.problem(AT, "these are too many sites", wanted=f"at most {MOST}", found=str(len(table.rows)),
                               remedy="choose some: file: {path: …, take: [a, b]}")  # fmt: skip
    rows = {(take or {}).get(row.name, row.name): row for row in table.rows}
    own = {name: value for name, value in listed.items() if name != KEY}
    made: dict[str, Any] = {}
    for name, row in rows.items():
        said = own.pop(name, None)
        made[name] = {"at": [round(row.x, 3), round(row.y, 3)], **(said if isinstance(said, dict) else {})}
        if said is not None and not isinstance(said, dict):
            made[name] = said  # it has the wrong form, and is told so where it stands
        document.places.setdefault(("sites", name), f"{path}:{row.line}")
        document.places.setdefault(("sites", name, "at"), f"{path}:{row.line}")
    document.data["sites"] = {**made, **own}
    if table.plane is not None and plane is None:
        _tell_trace(document, table.plane)


def _asked(document: Document, asked: str | dict[str, Any]) -> tuple[Path, dict[str, str] | None]:
    """The table, and the names that its sites get by those that they have there; None: all keep theirs."""
    given = {"path": asked} if isinstance(asked, str) else asked
    for key in given:
        if key not in ("path", "take"):
            raise document.problem((*AT, key), f"unknown key {key!r} in sites.file", wanted="path, take", found=key,
                                   remedy=did_you_mean(key, ("path", "take")))  # fmt: skip
    path, take = given["path"], given.get("take")
    if not isinstance(path, str) or not path:
        raise document.problem((*AT, "path"), "this is no table of sites", wanted=WANTED, found=str(path))
    names = take if isinstance(take, Mapping) else None if take is None else {name: name for name in _words(take)}
    texts = [] if names is None else [*names, *names.values()]
    if (names is not None and not names) or (take is not None and not texts) or not all(map(_is_word, texts)):
        raise document.problem(
            (*AT, "take"), "take names sites of the table", wanted="[a, b], or {A: a, B: b} for other names",
            found=str(take)[:60], remedy="put quotes around a number that is a name",
        )  # fmt: skip
    if names is not None and len(set(names.values())) < len(names):
        raise document.problem((*AT, "take"), "two sites would have the same name", found=str(take)[:60],
                               remedy="give one of them another name")  # fmt: skip
    file = document.path.parent / path
    if not any(place.is_file() for place in (file, *file.parents)):  # a member of an archive is below a file
        raise document.problem(AT, "there is no such table of sites", wanted="a CSV file", found=str(file),
                               remedy="it is found relative to the experiment file")  # fmt: skip
    return file, None if names is None else dict(names)


def _words(take: Any) -> list[Any]:
    return list(take) if isinstance(take, list) and all(map(_is_word, take)) else [None]


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _plane(document: Document) -> Plane | None:
    """That of the trace, if the file says where it is."""
    trace = _trace(document)
    origin = trace.get("origin") if isinstance(trace, dict) else None
    if origin is None:
        return None
    try:
        return Plane(*parse_place(origin))
    except UnitError as error:
        raise document.problem(("mobility", "trace", "origin"), error.message, wanted=error.wanted,
                               found=str(error.found), remedy=error.remedy) from None  # fmt: skip


def _trace(document: Document) -> Any:
    mobility = document.data.get("mobility")
    return mobility.get("trace") if isinstance(mobility, dict) else None


def _tell_trace(document: Document, plane: Plane) -> None:
    """Degrees of the trace go where those of the sites went."""
    trace = _trace(document)
    if isinstance(trace, str):
        document.places.setdefault(("mobility", "trace", "file"), document.where(("mobility", "trace")))
        trace = {"file": trace}
    if isinstance(trace, dict):
        document.data["mobility"]["trace"] = {**trace, "origin": [plane.latitude, plane.longitude]}
