"""What this machine's links cannot do, said before any is made and with its place in the file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.emulation import carry
from testbed.emulation.links import netem
from testbed.emulation.links.shape import Schedule, Shape
from testbed.errors import CapacityError, EnvironmentProblem
from tests.support import loop_plan

PLACES = {"emulation.links": "x.yaml:9", "north--south": "x.yaml:4"}


def test_netem_is_asked_for_where_the_kernel_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netem, "netem_missing", lambda: "unknown qdisc")
    plan = replace(loop_plan(), link_backend="netem", places=PLACES)
    with pytest.raises(EnvironmentProblem, match="netem") as caught:
        carry.require_playable(plan)
    assert (caught.value.where, caught.value.found, caught.value.exit_code) == ("x.yaml:9", "unknown qdisc", 3)
    carry.require_playable(replace(plan, link_backend="relay"))


def test_a_rate_beyond_what_is_ever_tried_out() -> None:
    plan = replace(loop_plan(), places=PLACES)
    fast = [replace(link, ba=Shape(rate=50e9)) if link.name == "north--south" else link for link in plan.links]
    with pytest.raises(CapacityError, match="north--south is faster") as caught:
        carry.require_playable(replace(plan, links=tuple(fast)))
    assert (caught.value.where, caught.value.found) == ("x.yaml:4", "50Gbit")
    carry.require_playable(plan)


def test_chances_to_send_need_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "named", lambda _: "netem")
    plan = replace(loop_plan(), places=PLACES)
    trace = Schedule("town.up", deliveries=(1, 5), length=0.005)
    links = (replace(plan.links[0], ab_trace=trace), *plan.links[1:])
    with pytest.raises(EnvironmentProblem, match="Mahimahi") as caught:
        carry.require_playable(replace(plan, links=links))
    assert caught.value.where == "x.yaml:9"
