from __future__ import annotations

from pathlib import Path

import pytest

from nodes.events import Span
from testbed.report.activity import edges, moving, of_device, thrown_away
from testbed.report.linkuse import link_samples
from testbed.report.load import load
from testbed.report.records import SchemeRecord
from tests.unit.report.sample import LIMIT_S, STATE_BYTES


def forward(batch: int, begin: float, number: int = 1) -> Span:
    return Span(kind="forward", node="d", part="head:d", round=number, batch=batch, begin=begin, end=begin + 0.5)


def test_a_round_that_begins_again_throws_away_what_came_before() -> None:
    spans = [forward(0, 0.0), forward(1, 1.0), forward(0, 3.0), forward(1, 4.0), forward(2, 5.0)]
    assert thrown_away(spans) == [(0.0, 1.5)]


def test_a_new_round_throws_nothing_away() -> None:
    assert thrown_away([forward(0, 0.0), forward(1, 1.0), forward(0, 2.0, 2), forward(1, 3.0, 2)]) == []
    assert thrown_away([]) == []


def test_a_round_can_begin_again_twice() -> None:
    spans = [forward(0, 0.0), forward(1, 1.0), forward(0, 2.0), forward(0, 3.0), forward(1, 4.0)]
    assert thrown_away(spans) == [(0.0, 1.5), (2.0, 2.5)]


def test_a_restart_in_a_later_round_leaves_earlier_ones_alone() -> None:
    spans = [forward(0, 0.0), forward(1, 1.0), forward(0, 2.0, 2), forward(1, 3.0, 2), forward(0, 5.0, 2)]
    assert thrown_away(spans) == [(2.0, 3.5)]


def test_moves_of_the_sample(both: Path) -> None:
    record = load(both)
    assert edges(record) == ("edge-north", "edge-south")
    splitfed, fedfly = record.schemes
    restart = moving(splitfed, splitfed.moves[0])
    assert restart is not None
    assert restart.state == ()
    ((begin, end),) = thrown_away(of_device(splitfed, "pi3-1"))
    assert end - begin == pytest.approx(splitfed.moves[0].lost_s, abs=0.1)
    migrate = moving(fedfly, fedfly.moves[0])
    assert migrate is not None
    assert [s.kind for s in migrate.state] == ["capture", "transfer", "restore"]
    assert migrate.begin <= migrate.handover <= migrate.end
    assert migrate.end - migrate.begin > LIMIT_S


def test_a_move_without_events_is_not_drawn(both: Path) -> None:
    fedfly = load(both).schemes[1]
    assert moving(SchemeRecord("fedfly"), fedfly.moves[0]) is None


def test_link_rates_add_up_to_the_bytes(both: Path) -> None:
    fedfly = load(both).schemes[1]
    samples = link_samples(fedfly)["north--south"]
    bits = sum((end - begin) * there for begin, end, there, _ in samples)
    assert bits == pytest.approx(8 * 2 * (STATE_BYTES + 900))
    assert all(begin >= 0 for begin, _, _, _ in samples)
