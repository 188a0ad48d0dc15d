"""What a user may get wrong about links and in the files that they name: refused with its place and a remedy."""

# ruff: noqa: E501  (a table of one fault a line reads better)

from __future__ import annotations

import pytest

from testbed.errors import InputError
from testbed.experiment import load, load_plan
from testbed.experiment.problems import InputProblems


def test_a_loop_where_one_direction_has_a_trace(write, tmp_path):
    (tmp_path / "t.csv").write_text("t,rate\n0,5Mbit\n")
    plan = load_plan(write(("{rate: 50Mbit}", "{trace: {up: t.csv, down: none}, loop: true}")))
    link = next(link for link in plan.links if link.name == "north -- cloud")
    assert link.ab_trace is not None
    assert link.ab_trace.loop
    assert link.ba_trace is None


def test_a_trace_that_is_a_directory(write, tmp_path):
    (tmp_path / "t").mkdir()
    with pytest.raises(InputError, match="not a file") as caught:
        load_plan(write(("{rate: 50Mbit}", "{trace: t}")))
    assert caught.value.remedy == "name a file in it"
    assert str(caught.value.where).endswith(":13")


def test_jitter_is_reported_once_for_both_directions(write):
    with pytest.raises(InputError) as caught:
        load(write(("jitter: 1ms", "jitter: 9ms")))
    assert not isinstance(caught.value, InputProblems)


def test_jitter_of_one_direction_is_named(write):
    with pytest.raises(InputError, match="going down") as caught:
        load(write(("jitter: 1ms", "jitter: {up: 1ms, down: 9ms}")))
    assert not isinstance(caught.value, InputProblems)


TRACES = {
    "reordering in time": ("t,rate\n0,5Mbit\n2,5Mbit\n1,5Mbit\n", "trace: t.csv", "t.csv:4", "runs backwards", "sort"),
    "negative time": ("t,rate\n-1,5Mbit\n", "trace: t.csv", "t.csv:2", "negative", "correct"),
    "empty": ("", "trace: t.csv", "t.csv:1", "the trace is empty", "fill it"),
    "Mahimahi with junk": ("0\n5\nx\n", "rate: trace, trace: t.csv", "t.csv:3", "no line of a Mahimahi", "take the line"),
    "Mahimahi and a rate": (
        "0\n5\n", "rate: 5Mbit, trace: t.csv", "exp.yaml:13", "in place of the rate", "take one of them out",
    ),
    "Mahimahi up, and a rate both ways": (
        "0\n5\n", "rate: 5Mbit, trace: {up: t.csv, down: none}", "exp.yaml:13", "going up", "{up: trace, …}",
    ),
    "rate as a trace that has none": ("t,delay\n0,5ms\n", "rate: trace, trace: t.csv", "exp.yaml:13", "no packet", "20Mbit"),
    "delay too short for the jitter": (
        "t,delay\n0,5ms\n1,1ms\n", "jitter: 2ms, trace: t.csv", "exp.yaml:13", "too short for the link's jitter", "lower",
    ),
    "delay too long with the jitter": (
        "t,delay\n0,600s\n", "jitter: 2ms, trace: t.csv", "exp.yaml:13", "above what the clock can hold", "unit",
    ),
    "loss of a link with bursts": (
        "t,loss\n0,1%\n", "loss: {burst: 4, share: 1%}, trace: t.csv", "exp.yaml:13", "loses in bursts", "column loss out",
    ),
    "binary": ("\0\udcff", "trace: t.csv", "t.csv", "not UTF-8 text", "save it as plain text"),
    "table with junk": ("1 x", "jitter: 1ms, distribution: t.dist", "t.dist:1", "whole numbers", "maketable"),
}  # fmt: skip


@pytest.mark.parametrize("case", TRACES)
def test_files_of_links_are_refused_with_place_and_remedy(write, tmp_path, case):
    text, link, where, message, remedy = TRACES[case]
    for name in ("t.csv", "t.dist"):
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError) as caught:
        load_plan(write(("{rate: 50Mbit}", f"{{{link}}}")))
    problems = getattr(caught.value, "problems", (caught.value,))
    assert any(
        p.where == str(tmp_path / where) and message in p.message and remedy in (p.remedy or "") for p in problems
    ), str(caught.value)


def test_a_fault_of_both_directions_is_told_once(write):
    with pytest.raises(InputError) as caught:
        load(write(("{rate: 50Mbit}", "{delay: 0, reorder: 1%, loss: 1}")))
    assert isinstance(caught.value, InputProblems)
    assert len(caught.value.problems) == 2


def test_what_a_sections_default_does_not_fit_is_not_the_users_fault(write):
    """100 ms at 80 kbit/s is less than two packets: the default gives way."""
    load_plan(write(("{rate: 50Mbit}", "{rate: 80kbit}")))


def test_the_clock_holds_less_when_time_is_dilated(write):
    path = write(("delay: 5ms", "delay: 40s"))
    load_plan(path, ["dilation=15"])
    with pytest.raises(InputError, match="hold at a dilation of 20") as caught:
        load_plan(path, ["dilation=20"])
    assert (caught.value.where, caught.value.wanted) == (f"{path}:12", "at most 30s, jitter included")
