from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.report import write_report
from testbed.report.find import find_run, newest_run, runs_in

RunOf = Callable[..., Path]
A, B = "fedfly-1121-023000-a3", "smoke-1121-024500-0f"
SMALL = {"rounds": 1, "batches": 2, "moves": ()}


def test_by_id_directory_and_scheme(run_of: RunOf, monkeypatch: pytest.MonkeyPatch) -> None:
    run, single = run_of(A, **SMALL), run_of(B, schemes=["fedfly"], **SMALL)
    base = run.parent
    assert find_run(A, base) == run
    assert find_run(str(run), base) == run
    assert find_run(f"{A}/fedfly", base) == run / "fedfly"
    assert find_run(f"{run}/fedfly", base) == run / "fedfly"
    assert find_run(f"{B}/fedfly", base) == single, "a run of one scheme has no directory for it"
    monkeypatch.chdir(base.parent)
    assert find_run(f"runs/{A}", Path("elsewhere")) == Path(f"runs/{A}")


def test_an_unknown_run_names_near_ones(run_of: RunOf) -> None:
    base = run_of(A, **SMALL).parent
    run_of(B, **SMALL)
    with pytest.raises(InputError) as raised:
        find_run("fedfly-1121-023000-a4", base)
    assert raised.value.remedy == f"did you mean {A}?"
    assert raised.value.exit_code == 2
    with pytest.raises(InputError, match="the newest are"):
        find_run("zzz", base)
    with pytest.raises(InputError, match="did you mean smoke"):
        find_run("smoke", base)


def test_an_unknown_scheme_names_those_there_are(run_of: RunOf) -> None:
    base = run_of(A, **SMALL).parent
    with pytest.raises(InputError, match="has no scheme 'fedflow'") as raised:
        find_run(f"{A}/fedflow", base)
    assert raised.value.found == "fedfly, splitfed"


@pytest.mark.parametrize("name", ["", ".", "..", "/", "report.html"])
def test_what_is_no_run(run_of: RunOf, name: str) -> None:
    base = run_of(A, **SMALL).parent
    with pytest.raises(InputError):
        find_run(name, base)


def test_no_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make one"):
        find_run("x", tmp_path / "runs")
    with pytest.raises(InputError, match="no run yet"):
        newest_run(tmp_path / "runs")


def test_the_newest_is_the_one_begun_last_not_drawn_last(run_of: RunOf) -> None:
    older, newer = run_of(B, **SMALL), run_of(A, **SMALL)
    for run, when in ((older, 1000), (newer, 2000)):
        os.utime(run / "experiment.yaml", (when, when))
    write_report(older)
    assert newest_run(older.parent) == newer
    (older.parent / "notes").mkdir()
    assert runs_in(older.parent) == [older, newer]
