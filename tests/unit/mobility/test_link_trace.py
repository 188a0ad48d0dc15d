from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from testbed.emulation.links.shape import Step
from testbed.errors import InputError
from testbed.mobility.link_trace import SHORTEST, read
from testbed.mobility.mahimahi import mean_rate

SHIPPED = Path(__file__).parents[3] / "traces" / "fading.csv"


@pytest.fixture
def trace(tmp_path):
    def write(text: str, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_units_in_the_cells(trace):
    path = trace("# recorded\nt,rate,delay,loss\n\n0,5Mbit,20ms,1%\n0.25, 500kbit ,0,0.5\n1,,,\n1.5,0,,0\n")
    schedule = read(path)
    assert schedule.steps == (
        Step(0.0, 5e6, 0.02, 0.01),
        Step(0.25, 5e5, 0.0, 0.5),
        Step(1.0),
        Step(1.5, 0.0, None, 0.0),
    )
    assert (schedule.name, schedule.deliveries, schedule.length, schedule.loop) == ("t.csv", (), 2.0, False)


def test_units_in_the_header(trace):
    schedule = read(trace("t_ms,delay_ms,rate_mbit\n0,12.5,1e1\n250,0,0.0\n"), loop=True)
    assert schedule.steps == (Step(0.0, 10e6, 0.0125), Step(0.25, 0.0, 0.0))
    assert (schedule.length, schedule.loop) == (0.5, True)


def test_one_row_holds_for_ever(trace):
    schedule = read(trace("t,loss\n0,1%\n"))
    assert (schedule.steps, schedule.loop) == ((Step(0.0, loss=0.01),), False)
    assert schedule.length > 0


def test_line_ends_of_windows(trace):
    assert read(trace("t,rate\r\n0,5Mbit\r\n1,6Mbit\r\n")).steps == (Step(0.0, 5e6), Step(1.0, 6e6))
    assert read(trace("1\r\n2\r\n")).deliveries == (1, 2)


def test_mahimahi(trace):
    schedule = read(trace("0\n1\n1\n4\n", "lte.up"))
    assert (schedule.deliveries, schedule.steps, schedule.length) == ((0, 1, 1, 4), (), 0.004)
    assert schedule.loop, "mm-link wraps around"
    assert not read(trace("0\n1\n1\n4\n", "lte.up"), loop=False).loop
    assert mean_rate(schedule) == 4 * 1514 * 8 / 0.004


def test_the_man_pages_example_is_12_mbit_of_ip(trace):
    schedule = read(trace("\n".join(map(str, range(1, 1001)))))
    assert mean_rate(schedule) * 1500 / 1514 == pytest.approx(12e6)


def test_a_trace_that_changes_is_read_again(trace):
    path = trace("t,rate\n0,5Mbit\n")
    assert read(path).steps[0].rate == 5e6
    trace("t,rate\n0,6Mbit\n")
    os.utime(path, ns=(1, 1))
    assert read(path).steps[0].rate == 6e6


def test_the_trace_that_ships_follows_its_formula():
    schedule = read(SHIPPED, loop=True)
    assert (len(schedule.steps), schedule.length) == (48, 12.0)
    for step in schedule.steps:
        rate = 2.0 if 8 <= step.at < 9 else 20 + 12 * math.sin(2 * math.pi * step.at / 6)
        assert step.rate == pytest.approx(rate * 1e6, abs=5001)
        assert step.delay == pytest.approx((8 + 4 * math.sin(2 * math.pi * step.at / 12)) / 1e3, abs=5.1e-6)


H = "t,rate,delay,loss\n"
BAD = {
    "empty": ("", 1, "the trace is empty", "fill it"),
    "only comments": ("# none\n\n", 1, "the trace is empty", "fill it"),
    "only a header": (H, 1, "holds no rows", "add a row"),
    "no header": ("0,5Mbit\n", 1, "no header", "first line"),
    "a movement trace": ("t,node,x,y\n0,a,1,2\n", 1, "unknown column 'node'", "first line"),
    "misspelt column": ("t,rat\n0,5Mbit\n", 1, "unknown column 'rat'", "did you mean 'rate'?"),
    "time alone": ("t\n0\n", 1, "no header", "first line"),
    "column twice": ("t,rate,rate\n0,5Mbit,5Mbit\n", 1, "'rate' is there twice", "take one"),
    "bps in the header": ("t,rate_bps\n0,5\n", 1, "unknown unit 'bps'", "write rate_bit"),
    "unknown unit in the header": ("t,rate_mbti\n0,5\n", 1, "unknown unit 'mbti'", "did you mean 'Mbit'?"),
    "unit of a loss": ("t,loss_pct\n0,5\n", 1, "unknown unit 'pct'", None),
    "rate without a unit": (H + "0,5,,\n", 2, "rate: a rate needs a unit", "5Mbit"),
    "Mbps": (H + "0,5Mbps,,\n", 2, "rate: unknown unit 'Mbps'", "write 5Mbit"),
    "two units": ("t,rate_Mbit\n0,5Mbit\n", 2, "plain number", "call the column 'rate'"),
    "delay without a unit": (H + "0,,5,\n", 2, "delay: a duration needs a unit", "5ms"),
    "negative rate": (H + "0,-5Mbit,,\n", 2, "rate: the rate is negative", "minus"),
    "negative rate of a column": ("t,rate_Mbit\n0,-5\n", 2, "rate: this is negative", "correct"),
    "NaN": ("t,rate_Mbit\n0,nan\n", 2, "rate: this is no finite number", "take the row out"),
    "infinite": ("t,delay_ms\n0,inf\n", 2, "delay: this is no finite number", "take the row out"),
    "infinite time": (H + "0,5Mbit,,\ninf,,,\n", 3, "t: this is no finite number", "take the row out"),
    "underscore": ("t,rate_Mbit\n0,1_0\n", 2, "plain number", None),
    "underscore beside a unit": (H + "0,1_0Mbit,,\n", 2, "rate: this is not a rate", None),
    "underscore in a time": (H + "0,5Mbit,,\n1_0,,,\n", 3, "t: this is not a duration", None),
    "underscore in a loss": (H + "0,,,0.0_1\n", 2, "loss: this is not a fraction", None),
    "rate of nonsense": (H + "0,1Tbit,,\n", 2, "rate: out of range", "mind the unit"),
    "rate below what is served": (H + "0,1bit,,\n", 2, "rate: out of range", "write 0"),
    "delay of an hour": (H + "0,,1h,\n", 2, "delay: out of range", "unit"),
    "loss of more than all": (H + "0,,,120%\n", 2, "loss: the fraction is more than the whole", "100%"),
    "begins late": (H + "3,5Mbit,,\n", 2, "does not begin at 0", "subtract 3"),
    "negative time": (H + "-1,5Mbit,,\n", 2, "t: this is negative", "correct"),
    "backwards": (H + "0,5Mbit,,\n2,,,\n# x\n1,,,\n", 5, "time runs backwards", "sort"),
    "the same time twice": (H + "0,5Mbit,,\n0,,,\n", 3, "time stands still", "one row a moment"),
    "closer than a link follows": (H + "0,5Mbit,,\n0.0001,,,\n", 3, "closer than a link can follow", "t_ms"),
    "longer than a week": (H + "0,5Mbit,,\n1600000000,,,\n", 3, "too long", "t_ms"),
    "no time": (H + ",5Mbit,,\n", 2, "a row has no time", "fill in t"),
    "time that is none": (H + "zero,5Mbit,,\n", 2, "t: this is not a duration", None),
    "too few cells": (H + "0,5Mbit\n", 2, "a row has 4 values", "empty"),
    "too many cells": (H + "0,5Mbit,,,\n", 2, "a row has 4 values", "empty"),
    "open quote": (H + '0,"5Mbit,,\n', 2, "not CSV", "quotes"),
    "Mahimahi with junk": ("0\n1\nx\n", 3, "no line of a Mahimahi trace", "take the line out"),
    "Mahimahi with an empty line": ("0\n\n3\n", 2, "no line of a Mahimahi trace", "take the line out"),
    "Mahimahi with blanks": ("0\n 4\n9 \n", 2, "no line of a Mahimahi trace", "take the blanks out"),
    "Mahimahi that begins with blanks": (" 0\n4\n", 1, "no line of a Mahimahi trace", "take the blanks out"),
    "Mahimahi with fractions": ("0\n1.5\n", 2, "no line of a Mahimahi trace", "take the line out"),
    "Mahimahi below 0": ("0\n-1\n", 2, "no line of a Mahimahi trace", "take the line out"),
    "Mahimahi backwards": ("5\n7\n6\n", 3, "time runs backwards", "sort"),
    "Mahimahi of no length": ("0\n0\n", 2, "lasts no time", "milliseconds"),
    "Mahimahi with a comment": ("# x\n0\n5\n", 1, "no line of a Mahimahi trace", "take the line out"),
    "Mahimahi of epochs": ("1600000000000\n", 1, "too long", "subtract the first"),
    "Mahimahi that is too slow": ("60000\n", 1, "rate is out of range", "1500 bytes"),
    "digits without end": ("1\n" + "9" * 5000, 2, "too long", "subtract"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_traces(trace, case):
    text, line, message, remedy = BAD[case]
    path = trace(text)
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.where == f"{path}:{line}"
    assert message in caught.value.message
    assert (remedy or "") in (caught.value.remedy or "")
    assert caught.value.remedy or caught.value.wanted


def test_files_that_are_none(tmp_path):
    for path, message in ((tmp_path / "nix", "cannot be read"), (tmp_path, "not a file"), (Path("/dev/zero"), "not a")):
        with pytest.raises(InputError, match=message) as caught:
            read(path, named_at="exp.yaml:7")
        assert caught.value.where == "exp.yaml:7"
    (tmp_path / "bytes").write_bytes(b"t,rate\n\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read(tmp_path / "bytes")


cell = st.sampled_from(["", "0", "1", "0.5", "5Mbit", "20ms", "1%", "nan", "inf", "-1", "1e999", '"', "x", "٣", " 2s"])
line = st.lists(cell, max_size=5).map(",".join)
header = st.sampled_from(["t,rate,delay,loss", "t,rate_Mbit", "t_ms,delay_ms", "t,loss", "t", ""])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.tuples(header, st.lists(line, max_size=6)).map(lambda p: "\n".join([p[0], *p[1]])) | st.text(max_size=40)
       | st.lists(st.integers(-1, 9), max_size=9).map(lambda n: "\n".join(map(str, n))))  # fmt: skip
@example("\ufeff0\n5")
@example("t,rate\n0,5Mbit\n1,5Mbit\x00")
@example("²\n3")
def test_any_file_is_read_or_refused(tmp_path, text):
    """Never another exception, and what is read can be played."""
    path = tmp_path / "any"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    os.utime(path, ns=(hash(text) % 2**40, hash(text) % 2**40))
    try:
        schedule = read(path)
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017  (read, or refused in the right place: both are fine)
        return
    assert bool(schedule.steps) != bool(schedule.deliveries)
    assert 0 < schedule.length < math.inf
    if schedule.steps:
        times = [step.at for step in schedule.steps]
        assert times[0] == 0
        assert all(b - a >= SHORTEST * 0.999 for a, b in pairwise(times))
        for step in schedule.steps:
            assert step.rate is None or step.rate == 0 or 8e3 <= step.rate < 100e9
            assert step.delay is None or 0 <= step.delay <= 600
            assert step.loss is None or 0 <= step.loss <= 1
    else:
        assert list(schedule.deliveries) == sorted(schedule.deliveries)
        assert schedule.deliveries[-1] / 1000 == schedule.length
