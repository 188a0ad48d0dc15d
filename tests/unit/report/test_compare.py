from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.report.compare import compare
from tests.unit.report.sample import write

RunOf = Callable[..., Path]
A, B = "fedfly-1121-023000-a3", "fedfly-1121-024500-0f"


def test_the_same_run_twice(run_of: RunOf) -> None:
    found = compare(run_of(A), run_of(B))
    assert found.same
    assert found.reasons == ()
    assert found.differences == ()
    assert found.experiment_diff == ()
    assert [p.a for p in found.schemes] == ["splitfed", "fedfly"]
    assert all(p.equal_digest and p.worst_ratio_off == 0 for p in found.schemes)
    assert len(found.schemes[0].rounds) == 16


@pytest.mark.parametrize(("factor", "tolerance", "same"), [(1.04, 0.05, True), (1.08, 0.05, False), (1.08, 0.1, True),
                                                           (0.92, 0.05, False)])  # fmt: skip
def test_round_times_decide_by_the_tolerance(run_of: RunOf, factor: float, tolerance: float, same: bool) -> None:
    found = compare(run_of(A), run_of(B, factor=factor), tolerance)
    assert found.same is same
    off = found.schemes[1].worst_ratio_off
    assert off is not None
    assert (off <= tolerance) is same
    if not same:
        assert "round times are more than 5 % apart" in found.reasons[0]


def test_other_weights_are_another_result(run_of: RunOf) -> None:
    found = compare(run_of(A), run_of(B, digest="0" * 64))
    assert not found.same
    assert found.reasons == ("splitfed: the weights differ", "fedfly: the weights differ")


def test_two_failed_runs_are_not_the_same(run_of: RunOf) -> None:
    runs = [run_of(name, schemes=["fedfly"]) for name in (A, B)]
    for run in runs:
        content = json.loads((run / "summary.json").read_text())
        write(run / "summary.json", content | {"weights_sha256": None})
    found = compare(*runs)
    assert not found.same
    assert "without weights" in found.reasons[0]


def test_a_round_that_one_lacks_is_a_difference(run_of: RunOf) -> None:
    a, b = run_of(A, schemes=["fedfly"]), run_of(B, schemes=["fedfly"])
    content = json.loads((b / "summary.json").read_text())
    content["devices"]["pi3-1"].pop()
    write(b / "summary.json", content)
    found = compare(a, b)
    assert not found.same
    assert "1 of 16" in found.reasons[0]
    assert "missing in one" in found.reasons[0]


def test_conditions_that_differ_are_listed_and_do_not_decide(run_of: RunOf) -> None:
    a, b = run_of(A), run_of(B, missed=True)
    content = json.loads((b / "manifest.json").read_text())
    content["kernel"] = "6.12.0"
    content["packages"]["torch"] = "2.8.0"
    content["run"], content["started"], content["timings"] = B, "later", {"ready_s": 99}
    write(b / "manifest.json", content)
    found = compare(a, b)
    assert found.same
    assert [(d.what, d.a, d.b) for d in found.differences] == [
        ("kernel", "6.18.5", "6.12.0"),
        ("packages.torch", "2.9.1", "2.8.0"),
        ("link north--south, ab, rate measured", "99.7 Mbit/s", "94 Mbit/s"),
    ]


def test_links_asked_for_differently(run_of: RunOf) -> None:
    a, b = run_of(A), run_of(B)
    content = json.loads((b / "calibration.json").read_text())
    content[0]["ab"]["asked"] |= {"rate": 10e6, "delay": 0.02}
    del content[-1]
    write(b / "calibration.json", content)
    whats = [d.what for d in compare(a, b).differences]
    assert whats == ["link access:pi3-1, ab, rate asked", "link access:pi3-1, ab, delay asked", "link wire:cloud"]


def test_experiments_that_differ_show_how(run_of: RunOf) -> None:
    diff = compare(run_of(A), run_of(B, rounds=3)).experiment_diff
    assert "-  rounds: 4" in diff
    assert "+  rounds: 3" in diff


def test_a_scheme_that_only_one_has(run_of: RunOf) -> None:
    found = compare(run_of(A), run_of(B, schemes=["fedfly"]))
    assert [p.a for p in found.schemes] == ["fedfly"]
    assert found.reasons == (f"splitfed: only in {A}",)
    assert not found.same


def test_one_scheme_against_another(run_of: RunOf) -> None:
    run = run_of(A)
    found = compare(run / "splitfed", run / "fedfly")
    assert (found.a, found.b) == (f"{A}/splitfed", f"{A}/fedfly")
    (pair,) = found.schemes
    assert (pair.a, pair.b) == ("splitfed", "fedfly")
    assert pair.equal_digest
    assert not pair.same
    worst = min(r.ratio for r in pair.rounds if r.ratio is not None)
    assert worst == pytest.approx(1 - 0.44, abs=0.1)


def test_nothing_in_common(run_of: RunOf) -> None:
    with pytest.raises(InputError, match="no scheme in common") as raised:
        compare(run_of(A), run_of(B, schemes=["fedavg"], moves=()))
    assert "fedavg" in str(raised.value)


def test_it_is_plain_json(run_of: RunOf) -> None:
    found = compare(run_of(A), run_of(B))
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["same"] is True
    assert content["schemes"][0]["rounds"][0]["ratio"] == 1.0
