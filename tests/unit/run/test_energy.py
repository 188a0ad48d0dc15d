"""Energy, batteries and cost out of recorded events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.events import Span
from nodes.policies.energy import Supply
from nodes.policies.units import Battery, Power
from testbed.emulation.links.shape import Schedule, Step
from testbed.experiment.plan import Plan, Price
from testbed.run import energy
from testbed.run.airtime import Rates, carried
from tests import support

PI4 = Power(2.7, 6.4, 4.2, 3.9)  # its radio adds 1.5 W to send, 1.2 W to receive
BEGIN = 1000.0


def plan_of(**changes: object) -> Plan:
    """Two devices at north (20 and 40 Mbit/s there; 10 and 30 at south); dev-1 is a Pi 4, changed so."""
    plan = support.loop_plan()
    own = {"dev-1": {"power": PI4} | changes, "dev-2": {"power": PI4}}
    return replace(plan, nodes=tuple(replace(node, **own.get(node.name, {})) for node in plan.nodes))


def span(kind: str, begin: float, end: float, node: str = "dev-1", **more: object) -> Span:
    return Span(kind=kind, node=node, begin=BEGIN + begin, end=BEGIN + end, **more)  # type: ignore[arg-type]


def link(begin: float, end: float, up: int, down: int = 0, name: str = "access:dev-1", **more: int) -> Span:
    return span("link", begin, end, node="", attrs={"link": name, "ab_bytes": up, "ba_bytes": down, **more})


def moved(at: float, to: str) -> Span:
    return span("handover", at - 0.01, at, attrs={"device": "dev-1", "from": "north", "to": to})


def told(plan: Plan, spans: list[Span], took: float = 10.0) -> dict:
    used, known_from = energy.measured(plan, spans, BEGIN, BEGIN + took)
    return energy.section(plan, used, known_from)


def test_energy_by_hand():
    spans = [
        span("forward", 1.0, 3.0, cpu_s=0.1), span("wait", 3.0, 9.0), span("backward", 4.0, 5.0, cpu_s=0.1),
        span("round", 1.0, 9.0), link(3.0, 4.0, 250_000, 500_000), span("forward", 0.0, 1.0, node="dev-2"),
    ]  # fmt: skip
    found = told(plan_of(), spans)
    row = found["nodes"]["dev-1"]
    assert (row["busy_s"], row["send_s"], row["receive_s"]) == pytest.approx((3.0, 0.1, 0.1))
    assert row["compute_j"] == pytest.approx(3 * 3.7)
    assert row["send_j"] == pytest.approx(0.15)
    assert row["receive_j"] == pytest.approx(0.12)
    assert row["idle_j"] == pytest.approx(27.0)
    assert row["total_j"] == pytest.approx(11.1 + 0.27 + 27.0)
    assert found["active_j"] == pytest.approx(11.37 + 3.7)
    assert (found["bytes_from"], found["unknown"]) == ("links", [])
    assert set(found["nodes"]) == {"dev-1", "dev-2"}
    assert "battery" not in row


def test_a_device_that_nobody_knows_the_power_of_is_named():
    found = told(support.loop_plan(), [span("forward", 1.0, 3.0)])
    assert found["unknown"] == ["dev-1", "dev-2"]
    assert (found["nodes"], found["total_j"]) == ({}, 0)


def test_work_counts_once_and_only_within_the_training():
    spans = [span("step", -1.0, 1.0), span("profile", 0.5, 2.0), span("step", 9.0, 11.0)]
    assert told(plan_of(), spans)["nodes"]["dev-1"]["busy_s"] == pytest.approx(3.0)
    assert told(plan_of(), [span("select", 1.0, 1.5)])["nodes"]["dev-1"]["busy_s"] == pytest.approx(0.5)


def test_who_died_draws_no_more():
    spans = [span("step", 1.0, 2.0), span("node", 4.0, 4.0, attrs={"state": "died"}), link(5.0, 6.0, 1000)]
    row = told(plan_of(), spans)["nodes"]["dev-1"]
    assert (row["took_s"], row["idle_j"], row["sent_bytes"]) == (4.0, pytest.approx(4 * 2.7), 0)


def test_without_the_links_counters_messages_tell():
    spans = [
        span("send", 1.0, 2.0, peer="edge-north", bytes=250_000),
        span("transfer", 3.0, 4.0, node="edge-north", peer="dev-1", bytes=500_000),
        span("send", 5.0, 6.0, peer="dev-1", bytes=99),
    ]
    found = told(plan_of(), spans)
    assert found["bytes_from"] == "messages"
    assert found["nodes"]["dev-1"]["send_s"] == pytest.approx(0.1)
    assert found["nodes"]["dev-1"]["receive_s"] == pytest.approx(0.1)


def test_what_is_lost_on_purpose_was_sent():
    row = told(plan_of(), [link(1.0, 2.0, 1514 * 98, ab_lost=2, ba_lost=5)])["nodes"]["dev-1"]
    assert (row["sent_bytes"], row["received_bytes"]) == (151_400, 0)


def test_other_links_are_not_the_devices():
    found = told(plan_of(), [link(1, 2, 99, name="north--south"), link(1, 2, 99, name="access:dev-2")])
    assert found["nodes"]["dev-1"]["sent_bytes"] == 0
    assert found["nodes"]["dev-2"]["sent_bytes"] == 99


# --- rates in force ---


def test_rates_are_those_of_where_a_device_is():
    rates = Rates(plan_of(), [moved(4.0, "south"), moved(8.0, "north")], BEGIN)
    assert rates.mean("dev-1", "send", BEGIN + 1, BEGIN + 2) == pytest.approx(20e6)
    assert rates.mean("dev-1", "receive", BEGIN + 5, BEGIN + 6) == pytest.approx(30e6)
    assert rates.mean("dev-1", "send", BEGIN + 3.75, BEGIN + 4.75) == pytest.approx(12.5e6)
    assert rates.mean("dev-1", "send", BEGIN + 9, BEGIN + 9) == pytest.approx(20e6)
    assert rates.mean("edge-north", "send", BEGIN, BEGIN + 1) == pytest.approx(100e6)
    assert rates.mean("cloud", "send", BEGIN, BEGIN + 1) is None


@pytest.mark.parametrize("roams", [False, True])
def test_rates_follow_their_schedules(roams):
    steps = Schedule("x", (Step(0.0, 1e6), Step(2.0), Step(3.0, 0.0), Step(4.0, 3e6)), length=5.0, loop=True)
    plan = plan_of()
    if roams:
        links = tuple(replace(one, ab_trace=steps, roams=one.name == "access:dev-1") for one in plan.links)
        plan = replace(plan, links=links)
    else:
        plan = replace(plan, sites=tuple(replace(site, access_up_trace=steps) for site in plan.sites))
    rates = Rates(plan, [], BEGIN)

    def mean(begin: float, end: float) -> float | None:
        return rates.mean("dev-1", "send", BEGIN + begin, BEGIN + end)

    assert mean(0.0, 1.0) == pytest.approx(1e6)
    assert mean(1.5, 2.5) == pytest.approx(10.5e6)  # half a second each of 1 and of the link's own 20 Mbit/s
    assert mean(2.5, 3.5) == pytest.approx(20e6), "what waits while nothing passes is not on the air"
    assert mean(3.2, 3.4) == pytest.approx(20e6)
    assert mean(14.0, 16.0) == pytest.approx(2e6), "it begins again"
    assert mean(0.0, 5.0) == mean(5.0, 10.0) == pytest.approx((2 * 1e6 + 20e6 + 3e6) / 4)
    assert mean(-1.0, -0.5) == pytest.approx(20e6)
    assert rates.mean("dev-1", "receive", BEGIN, BEGIN + 1) == pytest.approx(40e6)


def test_the_last_step_stays_in_force_unless_it_loops():
    steps = Schedule("x", (Step(0.0, 1e6), Step(2.0, 2e6)), length=3.0)
    plan = plan_of()
    plan = replace(plan, sites=tuple(replace(site, access_up_trace=steps) for site in plan.sites))
    assert Rates(plan, [], BEGIN).mean("dev-1", "send", BEGIN + 90, BEGIN + 91) == pytest.approx(2e6)


def test_a_busy_link_is_on_the_air_all_the_time():
    """Half a second at 20 Mbit/s and half a second at 10 let 1.875 MB pass."""
    plan = plan_of()
    spans = [moved(4.5, "south"), link(4.0, 5.0, 1_875_000)]
    found, _ = carried(plan, Rates(plan, spans, BEGIN), spans)
    assert found["dev-1"][0].air_s == pytest.approx(1.0)


# --- batteries ---


def test_a_battery_over_a_training():
    plan = plan_of(battery=Battery(100.0, 60.0, 30.0), charging=(Supply(8.0, 10.0),))
    spans = [span("step", 2.0, 4.0), link(5.0, 6.0, 2_500_000)]  # work: 7.4 J; a second on the air: 1.5 J
    found = told(plan, spans)
    row = found["nodes"]["dev-1"]
    battery = row["battery"]
    assert battery["begin_j"] == 60.0
    assert battery["least_j"] == pytest.approx(60 - 8 * 2.7 - 8.9)
    assert battery["reserve_s"] == pytest.approx(8 - 0.5 / 2.7, abs=1e-6)
    assert battery["charged_j"] == pytest.approx(20.0)
    assert battery["end_j"] == pytest.approx(60 + 20 - row["total_j"])
    assert [one["what"] for one in battery["events"]] == ["reserve", "recovered"]
    curve = battery["curve"]
    assert curve[0] == [0.0, 60.0]
    assert curve[-1] == [10.0, pytest.approx(battery["end_j"], abs=1e-3)]
    assert min(left for _, left in curve) == pytest.approx(battery["least_j"], abs=1e-3), "the turn is a point of it"
    assert 200 <= len(curve) <= 203
    assert [a[0] for a in curve] == sorted({a[0] for a in curve})


stretches = st.lists(st.tuples(st.floats(-1.0, 11.0), st.floats(0.0, 3.0)), max_size=12)


@given(stretches, st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**7), st.integers(0, 10**7)), max_size=8))
def test_a_meter_counts_what_the_sums_say(work, crossed):
    """The battery sees the same joules as the table, however events overlap."""
    plan = plan_of(battery=Battery(1e4, 9e3, 0.0))
    spans = [span("step", begin, begin + took) for begin, took in work]
    spans += [link(i, i + 1.0, up, down) for i, up, down in crossed]
    row = told(plan, spans)["nodes"]["dev-1"]
    assert row["total_j"] == pytest.approx(9e3 - row["battery"]["end_j"], rel=1e-6)
    assert row["compute_j"] <= 37.0 + 1e-6, "a node computes once at a time"


def test_a_battery_at_its_reserve_is_a_reason_against_the_run():
    found = told(plan_of(battery=Battery(100.0, 40.0, 30.0)), [])
    assert energy.reasons(found) == [
        "dev-1's battery was at its reserve 3.7 s after the training began: it trained on all the same"
    ]
    assert energy.reasons(told(plan_of(battery=Battery(100.0, 80.0, 30.0)), [])) == []


def test_an_empty_battery_is_told_once_and_devices_together():
    plan = plan_of(battery=Battery(100.0, 13.5, 10.0))
    assert energy.reasons(told(plan, [])) == [
        "dev-1's battery was empty 5.0 s after the training began: it would have trained no further"
    ]
    both = replace(plan, nodes=tuple(
        replace(node, battery=Battery(100.0, 27.0 * i, 20.0)) if node.kind == "device" else node
        for i, node in enumerate(plan.nodes, 1)
    ))  # fmt: skip
    assert energy.reasons(told(both, [], took=9.0)) == [
        "dev-1's battery was at its reserve 2.6 s after the training began: it trained on all the same"
    ]
    several = energy.reasons(told(both, [], took=19.0))
    assert several == [
        "dev-1's battery was empty 10.0 s after the training began: it would have trained no further",
        "dev-2's battery was at its reserve 12.6 s after the training began: it trained on all the same",
    ]
    assert energy.reasons(told(both, [], took=30.0)) == [
        "the batteries of dev-1 and dev-2 were empty, dev-1's first, 10.0 s after the training began: "
        "they would have trained no further"
    ]


def test_work_and_bytes_have_their_price():
    plan = support.loop_plan()
    dear = Price(gb_second=2.0, gb=3.0)
    plan = replace(plan, nodes=tuple(replace(n, price=dear if n.kind == "edge" else n.price) for n in plan.nodes))
    spans = [span("tail-step", 1.0, 3.0, node="edge-north"), link(1.0, 2.0, 5_000_000, 7, name="edge:edge-north")]
    used, _ = energy.measured(plan, spans, BEGIN, BEGIN + 10)
    found = energy.cost(plan, used)
    gb = support.MEMORY / 1e9
    assert found["nodes"]["edge-north"] == pytest.approx(
        {"kind": "edge", "gb_s": 2 * gb, "sent_gb": 0.005, "price": 4 * gb + 0.015}
    )
    assert found["nodes"]["edge-south"]["price"] == 0
    assert set(found["nodes"]) == {"edge-north", "edge-south"}
    assert found["price"] == pytest.approx(4 * gb + 0.015)
