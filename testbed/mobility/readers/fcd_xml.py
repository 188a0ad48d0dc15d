"""SUMO's floating-car data as XML: ``<timestep time=…><vehicle id= x= y= speed= type= …/></timestep>``.

Vehicles, persons and containers count alike; what they are called is their type. With ``--fcd-output.geo`` SUMO writes
longitude and latitude as x and y and says so in the comment at the file's beginning: then they are projected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from testbed.errors import InputError
from testbed.experiment.units import bare_number
from testbed.mobility.readers._format import Checked, Format, Head, no_rows, number
from testbed.mobility.readers._source import Source
from testbed.mobility.readers._xml import Attributes, Elements, stream
from testbed.mobility.row import FAR, Row

MOVERS = ("vehicle", "person", "container")
_GEO = re.compile(r"<fcd-output\.geo\s+value=\"(true|1|yes|on|x)\"", re.IGNORECASE)


def read(source: Source) -> Iterator[Row]:
    """The rows of a file."""
    elements, checked = Elements(source), Checked(source)
    geo = _GEO.search(Head(source.head).text) is not None
    now: float | None = None

    def begin(name: str, attributes: Attributes) -> None:
        nonlocal now
        if name == "timestep":
            now = number(attributes.get("time"), "time", elements.where)
        elif name in MOVERS:
            if now is None or elements.depth != 3:
                raise InputError(f"a {name} is in no timestep", wanted="<timestep> around it", found=f"<{name}>",
                                 where=elements.where, remedy="write the file with SUMO's --fcd-output")  # fmt: skip
            checked_row(name, attributes, now)

    def checked_row(name: str, attributes: Attributes, t: float) -> None:
        try:
            x, y, speed = bare_number(attributes["x"]), bare_number(attributes["y"]), attributes.get("speed")
            speed_ = bare_number(speed) if speed else None
            if not (-FAR <= x <= FAR and -FAR <= y <= FAR and (speed_ is None or -FAR <= speed_ <= FAR)):
                raise ValueError
        except (KeyError, ValueError):
            for key in ("x", "y", "speed"):
                if key != "speed" or key in attributes:
                    number(attributes.get(key), key, elements.where)
            raise
        if geo:
            x, y = projected(source, y, x, elements.where)
        row = Row(t, attributes.get("id", ""), x, y, speed_, attributes.get("type", name))
        elements.put(checked.row(elements.line, row))

    yield from stream(elements, begin)
    if not checked.any:
        raise no_rows(source, "<vehicle id= x= y=/> in <timestep time=>")


def projected(source: Source, latitude: float, longitude: float, where: str) -> tuple[float, float]:
    """Metres of a position (InputError: there is no such place, or too far from the others)."""
    try:
        return source.project(latitude, longitude)
    except ValueError as error:
        raise InputError(
            f"this is no position: {error}", wanted="latitude and longitude in degrees, WGS 84",
            found=f"{latitude:.10g}, {longitude:.10g}", where=where, remedy="are they in the right order?",
        ) from None  # fmt: skip


FORMAT = Format("SUMO FCD XML", lambda head: head.root == "fcd-export", read, own_clock=True)
