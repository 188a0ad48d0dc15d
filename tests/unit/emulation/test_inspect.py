"""What is told of a topology that stands: limits that a governor moves, and links that vary."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from testbed.cli.inspect import governed, link_row, oom_lines, tables
from testbed.emulation.links.shape import Schedule, Shape
from testbed.emulation.record import BedRecord, LinkRecord, TraceRecord

VARIES = TraceRecord.of(Schedule("walk.csv", (), (), 15.0, loop=True))
SHAPE = Shape(rate=7267200.0, delay=0.01)
LINK = LinkRecord("access:dev", "access", "dev", "ap-north", "eth0", "p0b", Shape(rate=20e6), SHAPE, None, VARIES)


def row(read_back: float | None) -> dict[str, object]:
    return {"asked": {"speed": 0.15, "cpus": 0.225}, "read_back": read_back and {"cpus": read_back}}


def test_a_link_that_varies_says_by_what_in_the_direction_that_does() -> None:
    _, links = tables([], [LINK])
    screen = io.StringIO()
    Console(width=160, file=screen).print(links)
    told = screen.getvalue()
    assert "10 ms, varies by walk.csv: 15 s, again and again" in told
    assert told.count("varies by") == 1
    plain = link_row(LINK)
    assert (plain["there_trace"], plain["back_trace"]) == (None, {"name": "walk.csv", "length": 15.0, "loop": True})


def test_what_a_link_varies_by_is_read_back_from_the_record(tmp_path: Path) -> None:
    BedRecord("r1", "n", "s", "d", "relay", links={LINK.name: LINK}).save(tmp_path)
    assert BedRecord.load(tmp_path).links[LINK.name] == LINK


def test_nodes_of_which_processes_were_killed_are_named() -> None:
    rows = [{"node": f"dev-{i}", "profile": "phone", "oom_kills": kills} for i, kills in enumerate((0, 37, None))]
    assert oom_lines(rows) == [
        "dev-1: 37 killed of its processes for want of memory so far: set profiles.phone.memory higher, or have it use "
        "less"
    ]


def test_a_quota_other_than_the_guard_is_a_governors() -> None:
    assert governed(row(0.152))
    assert not governed(row(0.225))
    assert not governed(row(None)), "it has ended"
