"""GPX: tracks of GPS receivers.

Points of tracks (``trk``, ``trkseg``, ``trkpt``) with their times; a track is a node, called by its name or
``track-1``, and tracks of the same name are one node's. The earliest time in the file is 0. Positions are projected.
Routes and way points say nothing of time and are left out; a track's point without a time is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from testbed.errors import InputError
from testbed.mobility.readers._format import Checked, Format, no_rows, number
from testbed.mobility.readers._source import Source, opened
from testbed.mobility.readers._xml import Attributes, Elements, stream
from testbed.mobility.readers.fcd_xml import projected
from testbed.mobility.row import Row

_MOST_TEXT = 200


class _Tracks:
    """The tracks of a document, point by point, in seconds since the epoch."""

    def __init__(self, source: Source) -> None:
        self.elements = Elements(source)
        self._path: list[str] = []
        self._count = 0
        self._name = ""
        self._place: tuple[float, float] | None = None
        self._line = 0
        self._time: float | None = None
        self._text: list[str] = []

    def points(self) -> Iterator[Row]:
        """Points: x is the latitude and y the longitude yet."""
        return stream(self.elements, self._begin, self._end, self._more)

    def _begin(self, name: str, attributes: Attributes) -> None:
        self._path.append(name)
        self._text.clear()
        if self._path[1:] == ["trk"]:
            self._count += 1
            self._name = f"track-{self._count}"
        elif self._path[1:] == ["trk", "trkseg", "trkpt"]:
            where = self.elements.where
            self._place = (number(attributes.get("lat"), "lat", where), number(attributes.get("lon"), "lon", where))
            self._time = None

    def _more(self, text: str) -> None:
        if sum(map(len, self._text)) < _MOST_TEXT:
            self._text.append(text)

    def _end(self, _: str) -> None:
        where = self.elements.where
        match self._path[1:]:
            case ["trk", "name"]:
                self._name = "".join(self._text).strip()[:_MOST_TEXT] or self._name
            case ["trk", "trkseg", "trkpt", "time"]:
                self._time = _seconds("".join(self._text).strip(), where)
            case ["trk", "trkseg", "trkpt"] if self._place is not None:
                if self._time is None:
                    raise InputError(
                        "a track's point has no time", wanted="<time>2026-05-01T10:00:00Z</time> in it", where=where,
                        remedy="a planned route has none: record it, or make it one of the other formats",
                    )  # fmt: skip
                self.elements.put(Row(self._time, self._name, *self._place))
        self._path.pop()
        self._text.clear()


def read(source: Source) -> Iterator[Row]:
    """The rows of a file; it is read twice, first for the earliest time."""
    with opened(source.path) as again:
        begin = min((point.t for point in _Tracks(again).points()), default=None)
    if begin is None:
        raise no_rows(source, "<trkpt> with <time> in <trk>")
    tracks, checked = _Tracks(source), Checked(source)
    for point in tracks.points():
        line = source.line()
        x, y = projected(source, point.x, point.y, source.at(line))
        yield checked.row(line, point._replace(t=point.t - begin, x=x, y=y))


def _seconds(text: str, where: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            "this is no time", wanted="ISO 8601, such as 2026-05-01T10:00:00Z", found=text[:60] or "nothing",
            where=where, remedy="correct it, or take the point out",
        ) from None  # fmt: skip
    if time.tzinfo is None:  # GPX times are UTC
        time = time.replace(tzinfo=UTC)
    return (time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


FORMAT = Format("GPX", lambda head: head.root == "gpx", read)
