"""Real moments and durations told as virtual ones."""

from __future__ import annotations

from nodes.events import Span
from testbed.run.virtual import VirtualTime


def test_spans_are_told_in_virtual_time() -> None:
    time = VirtualTime(4.0, origin=100.0)
    attrs = {"late_max_s": 0.8, "bytes": 12, "text": "x_s", "name_s": "words", "flag_s": True}
    told = time.spans([Span(kind="forward", node="n", begin=104.0, end=108.0, cpu_s=2.0, attrs=attrs)])[0]
    assert (told.begin, told.end, told.cpu_s) == (101.0, 102.0, 0.5)
    assert told.attrs == {"late_max_s": 0.2, "bytes": 12, "text": "x_s", "name_s": "words", "flag_s": True}


def test_without_dilation_nothing_changes() -> None:
    span = Span(kind="forward", node="n", begin=1.25, end=2.5)
    assert VirtualTime(1.0, origin=0.3).spans([span]) == [span]
    assert VirtualTime().at(7.0) == 7.0
