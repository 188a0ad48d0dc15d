from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from testbed.report.load import load
from testbed.report.records import DeviceRound, MoveRecord, RunRecord, SchemeRecord
from testbed.report.saving import savings
from tests.unit.report.sample import DOWNTIME


def scheme(name: str, time_s: float | None, *moves: dict[str, object]) -> SchemeRecord:
    return SchemeRecord(
        name, devices={"pi3-1": (DeviceRound(2, time_s),)}, moves=tuple(MoveRecord.of(m) for m in moves)
    )


def run(*schemes: SchemeRecord) -> RunRecord:
    return RunRecord(Path(), "r", "e", "ok", schemes=schemes)


RESTART = {"device": "pi3-1", "strategy": "restart", "round": 2, "progress": 0.5, "downtime_s": 0.0}
MIGRATE = {"device": "pi3-1", "strategy": "migrate", "round": 2, "progress": 0.5, "downtime_s": 0.4}


@pytest.mark.parametrize("f", [0.1, 0.5, 0.9])
def test_the_law_holds_where_times_follow_it(f: float) -> None:
    t, downtime = 10.0, 0.4
    restart, migrate = {**RESTART, "progress": f}, {**MIGRATE, "progress": f, "downtime_s": downtime}
    (row,) = savings(run(scheme("splitfed", (1 + f) * t, restart), scheme("fedfly", t + downtime, migrate)))
    assert row.law == pytest.approx(f / (1 + f))
    assert row.saved == pytest.approx((f - downtime / t) / (1 + f))
    assert row.law_with_downtime == pytest.approx(row.saved)


def test_the_scheme_that_restarts_is_the_base_whatever_the_order() -> None:
    (row,) = savings(run(scheme("fedfly", 10.4, MIGRATE), scheme("splitfed", 15.0, RESTART)))
    assert (row.base, row.other, row.strategy) == ("splitfed", "fedfly", "migrate")
    assert (row.restarting_s, row.moving_s) == (15.0, 10.4)


def test_two_moves_in_one_round_add_up() -> None:
    (row,) = savings(run(scheme("a", 17.0, RESTART, {**RESTART, "progress": 0.2}), scheme("b", 11.0, MIGRATE, MIGRATE)))
    assert row.f == pytest.approx(0.7)
    assert row.downtime_s == pytest.approx(0.8)


def test_moves_in_different_rounds_are_not_compared() -> None:
    assert savings(run(scheme("a", 15.0, RESTART), scheme("b", 10.0, {**MIGRATE, "round": 3}))) == []
    assert savings(run(scheme("a", 15.0, {**RESTART, "round": None}), scheme("b", 10.0, MIGRATE))) == []


def test_nothing_is_made_up() -> None:
    unknown = {"progress": None}
    (row,) = savings(run(scheme("a", None, {**RESTART, **unknown}), scheme("b", 10.0, {**MIGRATE, **unknown})))
    assert (row.saved, row.f, row.law, row.law_with_downtime) == (None, None, None, None)


def test_the_sample_run_keeps_the_law(both: Path) -> None:
    rows = savings(load(both))
    assert [(r.device, r.round, r.f) for r in rows] == [("pi3-1", 2, 0.5), ("pi4-1", 3, 0.9)]
    for row in rows:
        assert row.downtime_s == DOWNTIME
        assert row.saved == pytest.approx(row.law_with_downtime, abs=0.02)


def test_one_scheme_has_nothing_to_compare(both: Path) -> None:
    record = load(both)
    assert savings(replace(record, schemes=record.schemes[:1])) == []
