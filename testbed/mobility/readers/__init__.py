"""Formats of movement traces, one module each.

A format is a module here whose name has no leading underscore and that defines ``FORMAT``; nothing else has to be
registered. A file's format is told from its first bytes, unpacked: its name does not matter.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from testbed.errors import InputError
from testbed.mobility.project import Plane
from testbed.mobility.readers._format import Format, Head
from testbed.mobility.readers._source import Source, opened
from testbed.mobility.row import Row

__all__ = ["Format", "Trace", "formats", "opened_trace"]


@cache
def formats() -> dict[str, Format]:
    """All formats by their modules' names."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}").FORMAT for name in names}


class Trace:
    """A trace that is open: its format, and its rows, once.

    Attributes:
        format: What it is written in.
        name: Its file's name.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.path.name
        self.format = _told(source)

    @property
    def plane(self) -> Plane | None:
        """Where latitudes and longitudes went; None before the first row, and for traces in metres."""
        return self._source.plane

    def where(self) -> str:
        """File and line of the row that came last."""
        return self._source.at(self._source.line())

    def rows(self) -> Iterator[Row]:
        """The rows, in the file's order, one at a time; those of one node go forward in time.

        Raises:
            InputError: The file breaks its format, at the line that it names.
        """
        try:
            yield from self.format.rows(self._source)
        except UnicodeDecodeError as error:
            line = self._source.lines - error.object.count(b"\n", error.start) + 1
            byte = error.object[error.start]
            raise InputError(
                "the trace is not UTF-8 text", wanted=self.format.title, found=f"byte 0x{byte:02x}",
                where=self._source.at(line), remedy="save it as UTF-8",
            ) from None  # fmt: skip


@contextmanager
def opened_trace(path: Path, *, named_at: str | None = None, plane: Plane | None = None) -> Iterator[Trace]:
    """A trace, opened and its format told.

    Args:
        path: The file: plain, gzip, xz, or a zip archive; ``a.zip/b.csv`` is a member of one.
        named_at: Place that names it, for the error if there is no such file.
        plane: Where latitudes and longitudes go; None: the first position becomes the origin.

    Raises:
        InputError: It cannot be read, or is in no format that is known.
    """
    with opened(path, named_at=named_at, plane=plane) as source:
        yield Trace(source)


def _told(source: Source) -> Format:
    head = Head(source.head)
    if not source.head and source.read1(1) == b"":  # the read tells what is wrong with a broken file
        raise InputError(
            "the trace is empty", wanted=_known(), found="no bytes", where=source.at(1), remedy="name another file"
        )
    for format_ in formats().values():
        if format_.matches(head):
            return format_
    source.check_head()
    if b"\0" in source.head:
        raise InputError("the trace is not text", wanted=_known(), found=repr(source.head[:12]), where=source.at(1),
                         remedy="name the trace itself; gzip, xz and zip are unpacked")  # fmt: skip
    where = source.at(max(1, head.number))
    if head.root:
        raise InputError("this XML is no trace", wanted="fcd-export (SUMO) or gpx", found=f"<{head.root[:60]}>",
                         where=where, remedy="name another file")  # fmt: skip
    raise InputError(
        "the trace has no header that is known", wanted=_known(), found=head.line[:80] or "only comments", where=where,
        remedy="make 't,node,x,y' its first line",
    )  # fmt: skip


def _known() -> str:
    return ", ".join(format_.title for format_ in formats().values())
