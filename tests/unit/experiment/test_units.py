from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from testbed.experiment import link_values, units
from testbed.experiment.link_values import QueueLimit, parse_queue
from testbed.experiment.units import UnitError

PARSERS = [units.parse_rate, units.parse_duration, units.parse_size, units.parse_fraction, parse_queue]
numbers = st.integers(1, 10**6) | st.floats(0.001, 1e6).map(lambda f: round(f, 3))


@pytest.mark.parametrize(
    ("text", "bits"),
    [("20Mbit", 20e6), ("1Gbit", 1e9), ("500kbit", 5e5), ("8 bit", 8.0), (" 1.5Mbit ", 1.5e6), (".5Mbit", 5e5)],
)
def test_rates(text, bits):
    assert units.parse_rate(text) == pytest.approx(bits)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("15ms", 0.015), ("2s", 2.0), ("100us", 1e-4), ("1min", 60.0), ("1h", 3600.0), (0, 0.0), ("0", 0.0), ("0ms", 0.0)],
)
def test_durations(value, seconds):
    assert units.parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("512MiB", 512 * 2**20), ("2GiB", 2**31), ("100kB", 100_000), ("1KiB", 1024), ("7B", 7)]
)
def test_sizes(text, size):
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("value", "part"), [("50%", 0.5), ("0.1 %", 0.001), (0.5, 0.5), ("0.5", 0.5), (0, 0.0), (1, 1.0)]
)
def test_fractions(value, part):
    assert units.parse_fraction(value) == pytest.approx(part)


@pytest.mark.parametrize(
    ("text", "rate", "size"),
    [
        ("100ms", 8e6, 100_000),
        ("1ms", 8e3, 1),
        ("64kB", 1.0, 64_000),
        ("3028B", 1.0, 3028),
        ("100p", 1.0, None),  # counted
        ("256MiB", 1.0, 2**28),
    ],
)
def test_queues_in_bytes(text, rate, size):
    assert parse_queue(text).bytes_at(rate) == size


@pytest.mark.parametrize(
    ("parse", "value", "message", "remedy"),
    [
        (units.parse_rate, "20Mbps", "unknown unit 'Mbps'", "20Mbit for megabits a second, 160Mbit for megabytes"),
        (units.parse_rate, "20MBps", "unknown unit", "20Mbit"),
        (units.parse_rate, "20Mb/s", "unknown unit", "20Mbit"),
        (units.parse_rate, "20MB/s", "unknown unit", "20Mbit"),
        (units.parse_rate, "3kbps", "unknown unit", "write 3kbit for kilobits"),
        (units.parse_rate, "20Mbit/s", "unknown unit", "per second already"),
        (units.parse_rate, "20mbit", "unknown unit", "did you mean 20Mbit?"),
        (units.parse_rate, "20Mbti", "unknown unit", "did you mean 20Mbit?"),
        (units.parse_rate, 20, "needs a unit", "write for example 20Mbit"),
        (units.parse_rate, "0Mbit", "more than 0", "leave the key out"),
        (units.parse_rate, 0, "more than 0", "leave the key out"),
        (units.parse_rate, "0", "more than 0", "leave the key out"),
        (units.parse_rate, "1e3Mbit", "not a rate", "write 1000Mbit, without an exponent"),
        (units.parse_rate, "1e400Mbit", "not a rate", "in full, without an exponent"),
        (units.parse_rate, "0x10Mbit", "not a rate", "write plain digits; write for example 20Mbit"),
        (units.parse_rate, "1_0Mbit", "not a rate", "write plain digits"),
        (units.parse_rate, "20MB", "unknown unit", "20Mbit for megabits a second, 160Mbit for megabytes"),
        (units.parse_rate, "20MiB", "unknown unit", "167.77216Mbit for mebibytes"),
        (units.parse_rate, "20Mibit", "unknown unit", "write 20.97152Mbit"),
        (units.parse_rate, "20Mb", "unknown unit", "did you mean 20Mbit?"),
        (units.parse_size, 0, "at least one byte", "write for example 512MiB"),
        (units.parse_size, "0MiB", "at least one byte", "write for example 512MiB"),
        (units.parse_size, "1TiB", "unknown unit", "write 1024GiB"),
        (units.parse_size, "1.5TB", "unknown unit", "write 1500GB"),
        (units.parse_duration, "1e-3ms", "not a duration", "write 0.001ms, without"),
        (units.parse_fraction, "1e-3", "not a fraction", "write 0.001, without"),
        (parse_queue, 0, "two packets", "or 2p"),
        (parse_queue, "1e12p", "not a queue", "in full, without an exponent"),
        (units.parse_duration, 15, "needs a unit", "15ms"),
        (units.parse_duration, "-4ms", "negative", "minus"),
        (units.parse_duration, "5m", "unknown unit", "5min for minutes or 5ms"),
        (units.parse_duration, "5sec", "unknown unit", "did you mean 5s?"),
        (units.parse_duration, "5µs", "unknown unit", "did you mean 5us?"),
        (units.parse_size, 512, "needs a unit", "512MiB"),
        (units.parse_size, "512M", "unknown unit", "512MiB"),
        (units.parse_size, "512m", "unknown unit", "512MiB"),
        (units.parse_size, "8Mbit", "unknown unit", "in bytes"),
        (units.parse_fraction, 50, "more than the whole", "write 50% if you mean per cent"),
        (units.parse_fraction, "50", "more than the whole", "write 50% if you mean per cent"),
        (units.parse_fraction, "150%", "more than the whole", "100%"),
        (units.parse_fraction, "-1%", "negative", "minus"),
        (units.parse_fraction, "5 ‰", "unknown unit", "5%"),
        (parse_queue, 100, "needs a unit", "100p"),
        (parse_queue, "100q", "unknown unit", "the units are"),
        (parse_queue, "100P", "unknown unit", "did you mean 100p?"),
        (parse_queue, "100B", "two packets", "3028B"),
        (parse_queue, "3027B", "two packets", "3028B"),
        (parse_queue, "1p", "two packets", "2p"),
        (parse_queue, "2.5p", "whole packets", "write 2p"),
        (parse_queue, "257MiB", "larger than a link can have", "unit"),
        (parse_queue, "11min", "larger than a link can have", "unit"),
        (parse_queue, "-1p", "negative", "minus"),
    ],
)
def test_refused_with_a_hint(parse, value, message, remedy):
    with pytest.raises(UnitError) as caught:
        parse(value)
    assert message in caught.value.message
    assert remedy in (caught.value.remedy or "")
    assert caught.value.wanted


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("value", [True, False, None, [], {}, "", "fast", "ms", "1 2ms", "0x10ms", "1_000ms", "१s"])
def test_not_a_quantity(parse, value):
    with pytest.raises(UnitError):
        parse(value)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "nan", ".nan", "inf", "-inf", "infinity", -1, -0.5, "-1", "1" + "0" * 400]
)
def test_negative_nan_and_infinity_are_refused(parse, value):
    with pytest.raises(UnitError):
        parse(value)


@pytest.mark.parametrize("unit", ["Mbit", "ms", "MiB", "%", "p"])
@pytest.mark.parametrize("number", ["nan", ".nan", "inf", ".inf", "-.inf", "-1"])
def test_nan_with_a_unit_is_refused(unit, number):
    for parse in PARSERS:
        with pytest.raises(UnitError):
            parse(number + unit)


@given(number=numbers, unit=st.sampled_from(sorted(units.RATE_UNITS)), space=st.sampled_from(["", " ", "  "]))
def test_any_rate_is_number_times_unit(number, unit, space):
    assert units.parse_rate(f"{number}{space}{unit}") == pytest.approx(number * units.RATE_UNITS[unit])


@given(st.floats(1e-6, 86_400))
def test_durations_survive_being_written(seconds):
    assert units.parse_duration(units.format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@given(st.floats(1, 1e12))
def test_rates_survive_being_written(rate):
    assert units.parse_rate(units.format_rate(rate)) == pytest.approx(rate, rel=1e-5)


@given(st.integers(1, 2**40))
def test_sizes_survive_being_written(size):
    assert units.parse_size(units.format_size(size)) == pytest.approx(size, rel=1e-5)


@given(st.integers(0, 10_000).map(lambda n: n / 100))
def test_percentages(percent):
    assert units.parse_fraction(f"{percent}%") == pytest.approx(percent / 100)


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_anything_is_parsed_or_refused(value):
    """No other exception, nothing negative or infinite, whatever comes."""
    for parse in PARSERS:
        try:
            result = parse(value)
        except UnitError:
            continue
        number = (result.bytes_at(1e6) or result.packets) if isinstance(result, QueueLimit) else result
        assert 0 <= number < math.inf


@given(
    number=st.from_regex(r"[+-]?[0-9]{1,6}(\.[0-9]{0,3})?", fullmatch=True),
    unit=st.sampled_from(["", "%", "p", "Mbps", "m", *units.RATE_UNITS, *units.DURATION_UNITS, *units.SIZE_UNITS]),
)
def test_the_schema_pattern_accepts_what_the_parser_accepts(number, unit):
    """An editor must not mark as wrong what loads. (It may pass what does not: 150%, or a queue of 3 bytes.)"""
    text = number + unit
    for type_ in (units.Rate, units.Duration, units.Size, units.Fraction, link_values.Queue):
        adapter = TypeAdapter(type_)
        schema = adapter.json_schema()
        patterns = [s["pattern"] for s in (schema, *schema.get("anyOf", [])) if "pattern" in s]
        try:
            adapter.validate_python(text)
        except ValueError:
            continue
        assert any(re.search(p, text) for p in patterns), (text, patterns)


def test_every_example_in_the_schema_is_accepted():
    for type_ in (units.Rate, units.Duration, units.Size, units.Fraction, link_values.Queue):
        adapter = TypeAdapter(type_)
        examples = adapter.json_schema()["examples"]
        assert examples
        for example in examples:
            adapter.validate_python(example)
