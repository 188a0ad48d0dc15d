from __future__ import annotations

import math

import pytest

from testbed.report import words
from testbed.report.records import number


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, words.DASH), (0.0, "0 s"), (0.0031, "3.10 ms"), (0.041, "41.0 ms"), (0.4304, "430 ms"), (0.9996, "1.00 s"),
     (6.1, "6.10 s"), (122.43, "122.4 s"), (605.0, "10 min 5 s"), (-0.25, "-250 ms")],
)  # fmt: skip
def test_seconds(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


def test_rates_sizes_and_shares() -> None:
    assert words.rate(20e6) == "20 Mbit/s"
    assert words.rate(1.5e9) == "1.5 Gbit/s"
    assert words.rate(512) == "512 bit/s"
    assert words.size(4_770_996) == "4.77 MB"
    assert words.size(0) == "0 B"
    assert words.memory(512 << 20) == "512 MiB"
    assert words.percent(-0.004, 2, sign=True) == "-0.40 %"
    assert words.percent(0.31) == "31.0 %"


def test_a_unit_is_said_once() -> None:
    assert words.change("4.00 ms", "4.03 ms") == "4.00 → 4.03 ms"
    assert words.change("4.00 ms", words.DASH) == f"4.00 ms → {words.DASH}"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "nan", "x", "", True, [1], {}])
def test_what_is_no_number_is_none(value: object) -> None:
    assert number(value) is None


@pytest.mark.parametrize(("value", "found"), [(3, 3.0), ("2.5", 2.5), (0, 0.0), (-1.5, -1.5)])
def test_numbers(value: object, found: float) -> None:
    assert number(value) == found
