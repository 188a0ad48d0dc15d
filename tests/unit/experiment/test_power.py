"""Power, batteries, chargers and prices: how they are written, what they come to, what is refused."""

# ruff: noqa: E501  (a table of one fault a line reads better)

from __future__ import annotations

import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from nodes.policies.energy import Supply
from nodes.policies.units import Battery, Power
from testbed.cli import show
from testbed.errors import InputError
from testbed.experiment import energy_values, load, load_plan
from testbed.experiment.dilate import dilated
from testbed.experiment.energy_values import parse_joules, parse_watts
from testbed.experiment.plan import Price
from testbed.experiment.profiles import BUILTIN
from testbed.experiment.units import UnitError

WORK = "workload:\n  scheme"


def with_profile(body, name="tiny-device"):
    return (WORK, f"profiles:\n  {name}: {body}\n{WORK}")


# --- units ---


@pytest.mark.parametrize(("text", "watts"), [("2.7W", 2.7), ("350 mW", 0.35), ("1kW", 1000.0), (0, 0.0), ("0W", 0.0)])
def test_watts(text, watts):
    assert parse_watts(text) == pytest.approx(watts)


@pytest.mark.parametrize(
    ("text", "joules"),
    [("15Wh", 54e3), ("500J", 500.0), ("2kJ", 2e3), ("1mWh", 3.6), ("4410mAh at 3.7V", 58741.2), ("2Ah at 5000mV", 36e3)],
)
def test_joules(text, joules):
    assert parse_joules(text) == pytest.approx(joules)


@pytest.mark.parametrize(
    ("parse", "value", "remedy"),
    [
        (parse_watts, 2.7, "2.7W"), (parse_watts, "-1W", "minus"), (parse_watts, "3Watt", "W"), (parse_watts, ".inf W", None),
        (parse_watts, True, "2.7W"), (parse_joules, "4410mAh", "4410mAh at 3.7V"), (parse_joules, "0Wh", "15Wh"),
        (parse_joules, 15, "15Wh"), (parse_joules, "15Wh at 3V", None), (parse_joules, "4410mAh at 3", "3V"),
        (parse_joules, "15wh", "15Wh"), (parse_joules, None, "15Wh"),
    ],
)  # fmt: skip
def test_what_is_no_power_or_energy(parse, value, remedy):
    with pytest.raises(UnitError) as caught:
        parse(value)
    assert remedy is None or remedy in (caught.value.remedy or "")


@given(
    number=st.from_regex(r"[+-]?[0-9]{1,6}(\.[0-9]{0,3})?", fullmatch=True),
    unit=st.sampled_from(["", *energy_values.WATT_UNITS, *energy_values.JOULE_UNITS, "mAh at 3.7V", "Ah  at .5 V", "Ah"]),
)
def test_the_schema_accepts_what_the_parser_accepts(number, unit):
    for type_ in (energy_values.Watts, energy_values.Joules):
        adapter = TypeAdapter(type_)
        body = adapter.json_schema()
        patterns = [s["pattern"] for s in (body, *body.get("anyOf", [])) if "pattern" in s]
        try:
            found = adapter.validate_python(number + unit)
        except ValueError:
            continue
        assert 0 <= found < math.inf
        assert any(re.search(p, number + unit) for p in patterns)
    for example in ["2.7W", "350mW"]:
        TypeAdapter(energy_values.Watts).validate_python(example)


# --- from the file to the plan ---


def test_profiles_that_ship_know_what_devices_draw(write):
    plan = load_plan(write())
    assert plan.node("lone").power == Power(2.7, 6.4, 4.0, pytest.approx(3.01))
    assert plan.node("edge-north").power is None
    assert plan.node("edge-north").price.gb_second > plan.node("cloud").price.gb_second > 0
    assert all(node.battery is None and node.charging == () for node in plan.nodes)


def test_a_radio_is_told_by_what_it_adds():
    """The file says what sending adds; the plan has the whole device's watts."""
    for fields in BUILTIN.values():
        if power := fields.get("power"):
            assert parse_watts(power["idle"]) < parse_watts(power["busy"])
            assert 0 < parse_watts(power["receive"]) < parse_watts(power["send"]) < 3


def test_keys_left_out_are_those_of_the_shipped_profile(write):
    body = "{power: {busy: 5W}, price: {gb: 1}, battery: {capacity: 10Wh, level: 50%, reserve: 20%}}"
    node = load_plan(write(with_profile(body))).node("dev-1")
    assert node.power == Power(2.7, 5.0, 4.0, pytest.approx(3.01))
    assert node.battery == Battery(36e3, 18e3, pytest.approx(7.2e3))
    assert node.price == Price(0.0, 1.0)
    assert (node.speed, node.memory) == (0.15, 384 << 20)


@pytest.mark.parametrize("share", ["", "share: 0.1, "])
def test_power_goes_with_speeds_and_with_shares(write, share):
    node = load_plan(write(with_profile(f"{{{share}power: {{idle: 1W}}}}"))).node("dev-2")
    assert node.power is not None
    assert node.power.idle_w == 1.0
    assert node.paced is not bool(share)


def test_times_become_a_schedule(write):
    times = "[{from: 60s, power: 1W, to: 90s}, {from: 30s, to: 60s, power: 5W}, {from: 2min, power: 2W}]"
    node = load_plan(write(with_profile(f"{{battery: {{capacity: 1Wh}}, charging: {times}}}"))).node("dev-1")
    assert node.charging == (Supply(30, 5), Supply(60, 1), Supply(90, 0), Supply(120, 2))


def test_a_file_is_a_schedule_and_is_found_again(write, tmp_path):
    (tmp_path / "charge.csv").write_text("# a lunch break\nt,watts\n0,0\n30,5\n\n60.5,0\n")
    path = write(with_profile("{battery: {capacity: 1Wh}, charging: charge.csv}"))
    plan = load_plan(path)
    assert plan.node("dev-1").charging == (Supply(0, 0), Supply(30, 5), Supply(60.5, 0))
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    (kept / "experiment.yaml").write_text(plan.rendered)
    assert load_plan(kept / "experiment.yaml").node("dev-1").charging == plan.node("dev-1").charging
    assert yaml.safe_load(plan.rendered)["profiles"]["tiny-device"]["charging"] == str(tmp_path / "charge.csv")


def test_dilated_hardware_draws_less_for_longer(write):
    body = "{battery: {capacity: 1Wh}, charging: [{from: 30s, power: 5W}]}"
    plan = load_plan(write(with_profile(body)), ["dilation=4"])
    asked, real = plan.node("dev-1"), dilated(plan).node("dev-1")
    assert asked.power is not None
    assert real.power is not None
    assert real.power.busy_w * 4 == pytest.approx(asked.power.busy_w)
    assert real.charging == (Supply(120, 1.25),)
    assert real.battery == asked.battery


def test_the_plan_is_told_in_words(write):
    plan = load_plan(write(with_profile("{battery: {capacity: 15Wh, level: 80%, reserve: 20%}}")))
    [line] = show.batteries(plan)
    assert line == "dev-1, dev-2: battery of 15 Wh at 80%, 20% kept in reserve, not charged"
    assert show.plain(plan)["nodes"][0]["power"]["busy_w"] == 6.4


# --- what is refused ---

BAD = {
    "unknown unit": ("{power: {idle: 3Watt}}", "tiny-device.power.idle: unknown unit"),
    "bare number": ("{power: {idle: 3}}", "power.idle: a power needs a unit"),
    "less busy than idle": ("{power: {busy: 1W}}", "less when it computes"),
    "more idle than busy": ("{power: {idle: 10W}}", "less when it computes"),
    "no capacity": ("{battery: {level: 80%}}", "'capacity' is missing"),
    "level above full": ("{battery: {capacity: 1Wh, level: 120%}}", "more than the whole"),
    "empty capacity": ("{battery: {capacity: 0J}}", "more than 0"),
    "charge alone": ("{battery: {capacity: 4410mAh}}", "unknown unit 'mAh'"),
    "charger without a battery": ("{charging: [{power: 5W}]}", "has no battery"),
    "times that overlap": ("{battery: {capacity: 1Wh}, charging: [{power: 5W}, {from: 9s, power: 1W}]}", "two chargers"),
    "time that ends first": ("{battery: {capacity: 1Wh}, charging: [{from: 9s, to: 3s, power: 5W}]}", "before it begins"),
    "charger without power": ("{battery: {capacity: 1Wh}, charging: [{from: 9s}]}", "by times or by a file"),
    "file and times": ("{battery: {capacity: 1Wh}, charging: [{file: x.csv, from: 9s}]}", "by times or by a file"),
    "file beside times": ("{battery: {capacity: 1Wh}, charging: [{file: x.csv}, {power: 5W}]}", "by a file, or by times"),
    "file that is not there": ("{battery: {capacity: 1Wh}, charging: x.csv}", "cannot be read"),
    "no charger": ("{battery: {capacity: 1Wh}, charging: []}", "charging"),
    "negative price": ("{price: {gb: -1}}", "price.gb"),
    "unknown key": ("{power: {bussy: 1W}}", "unknown key 'bussy'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=list(BAD))
def test_what_is_wrong_is_told_with_its_place(write, case):
    body, message = case
    path = write(with_profile(body))
    with pytest.raises(InputError) as caught:
        load(path)
    assert message in str(caught.value)
    assert (caught.value.where or "").startswith(f"{path}:18"), caught.value.where


@pytest.mark.parametrize(
    ("body", "extra", "message"),
    [
        ("{speed: 0.1, memory: 512MiB, power: {idle: 1W}}", "  mine", "no busy and no send and no receive"),
        ("{speed: 0.1, memory: 512MiB, battery: {capacity: 1Wh}}", "  mine", "nothing is known of what it draws"),
        ("{battery: {capacity: 1Wh}, power: {idle: 1W, busy: 2W, send: 0, receive: 0}}", "  tiny-edge", "is no device"),
    ],
)  # fmt: skip
def test_profiles_that_say_too_little_or_too_much(write, body, extra, message):
    path = write((WORK, f"profiles:\n{extra}: {body}\n{WORK}"))
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.mark.parametrize("key", ["power: {idle: 1W, busy: 2W, send: 0, receive: 0}", "price: {gb: 1}"])
def test_hosts_have_no_power_and_no_price(write, key):
    body = f"profiles:\n  small-host: {{{key}}}\nhosts: {{noise: {{at: north}}}}\n{WORK}"
    with pytest.raises(InputError, match="is a host"):
        load(write((WORK, body)))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("0,5\n", 1, "no header"), ("t,watts\n0,5\n0,6\n", 3, "stands still"), ("t,watts\n0,five\n", 2, "a time in s"),
        ("t,watts\n0,-1\n", 2, "a time in s"), ("t,watts\n1,2,3\n", 2, "a time in s"), ("t,watts\n", 1, "no rows"),
        ("", 1, "no rows"), ("t,watts\nnan,1\n", 2, "a time in s"),
        ("t,watts\n0,1_0\n", 2, "a time in s"), ("t,watts\n0,inf\n", 2, "a time in s"), ('t,watts\n0,"1\n', 2, "not CSV"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_by_its_line(write, tmp_path, text, line, message):
    (tmp_path / "charge.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load(write(with_profile("{battery: {capacity: 1Wh}, charging: charge.csv}")))
    assert caught.value.where == f"{tmp_path / 'charge.csv'}:{line}"
