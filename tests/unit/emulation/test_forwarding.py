"""Forwarding: shortest paths, loops, what cannot be reached, and handovers that never send a frame round."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.emulation import forwarding
from testbed.emulation.links.shape import Shape
from testbed.errors import EmulationError
from testbed.experiment.plan import LinkPlan
from tests.support import loop_plan

FREE = Shape()


def trunk(a: str, b: str, there: float, back: float | None = None, name: str | None = None) -> LinkPlan:
    back = there if back is None else back
    return LinkPlan(name or f"{a}--{b}", "backhaul", a, b, Shape(delay=there), Shape(delay=back))


def access(node: str, bridge: str) -> LinkPlan:
    return LinkPlan(f"access:{node}", "access", node, bridge, FREE, FREE)


def table_of(bridges: list[str], links: list[LinkPlan], down: tuple[str, ...] = ()) -> forwarding.Table:
    attached = forwarding.attachments(links)
    net = forwarding.graph(bridges, links, down)
    return forwarding.table(net, {node: (link.b, link.name) for node, link in attached.items()})


def test_every_pair_of_the_loop_has_a_way_of_least_delay() -> None:
    plan = loop_plan()
    links = {link.name: link for link in plan.links}
    table = table_of(list(plan.bridges), list(plan.links))
    for node in plan.nodes:
        for bridge in plan.bridges:
            assert forwarding.path(table, links, bridge, node.name)[-1] == node.bridge
    assert forwarding.path(table, links, "ap-north", "edge-south") == ["ap-north", "ap-south"]


def test_delay_decides_before_hops() -> None:
    links = [trunk("a", "b", 0.010), trunk("b", "c", 0.010), trunk("a", "c", 0.030), access("n", "c")]
    table = table_of(["a", "b", "c"], links)
    assert forwarding.path(table, {ln.name: ln for ln in links}, "a", "n") == ["a", "b", "c"]


def test_hops_decide_between_equal_delays() -> None:
    links = [trunk("a", "b", 0.010), trunk("b", "c", 0.010), trunk("a", "c", 0.020), access("n", "c")]
    assert table_of(["a", "b", "c"], links)["n"]["a"] == "a--c"


def test_each_direction_weighs_its_own_delay() -> None:
    links = [
        trunk("a", "c", 0.050, 0.001),
        trunk("a", "b", 0.010),
        trunk("b", "c", 0.010),
        access("n", "c"),
        access("m", "a"),
    ]
    table = table_of(["a", "b", "c"], links)
    assert table["n"]["a"] == "a--b"
    assert table["m"]["c"] == "a--c"


def test_of_parallel_links_the_faster_is_taken() -> None:
    links = [trunk("a", "b", 0.02, name="slow"), trunk("a", "b", 0.01, name="swift"), access("n", "b")]
    assert table_of(["a", "b"], links)["n"]["a"] == "swift"


def test_what_cannot_be_reached_has_no_entry() -> None:
    links = [trunk("a", "b", 0.01), access("n", "b"), access("far", "z")]
    table = table_of(["a", "b", "z"], links)
    assert set(table["n"]) == {"a", "b"}
    assert set(table["far"]) == {"z"}
    assert forwarding.path(table, {ln.name: ln for ln in links}, "a", "far") == []


def test_a_cut_link_is_gone_round() -> None:
    plan = loop_plan()
    table = table_of(list(plan.bridges), list(plan.links), down=("north--south",))
    links = {link.name: link for link in plan.links}
    assert forwarding.path(table, links, "ap-north", "edge-south") == ["ap-north", "sw-cloud", "ap-south"]


def test_order_of_links_in_the_file_changes_nothing() -> None:
    links = [trunk("a", "b", 0.01), trunk("b", "c", 0.01), trunk("a", "c", 0.01), access("n", "c"), access("m", "a")]
    tables = [table_of(["c", "b", "a"], list(order)) for order in permutations(links)]
    assert all(table == tables[0] for table in tables)


def test_a_node_with_two_links_is_refused() -> None:
    with pytest.raises(EmulationError, match="two links"):
        forwarding.attachments([access("n", "a"), access("n", "b")])


def test_handover_rewrites_only_what_changes() -> None:
    plan = loop_plan()
    net = forwarding.graph(plan.bridges, plan.links)
    old = forwarding.column(net, "ap-north", "access:dev-1")
    new = forwarding.column(net, "ap-south", "access:dev-1")
    changes = forwarding.changes("dev-1", old, new, port_left="ap-north")
    assert changes[0] == forwarding.Change("ap-south", "dev-1", "access:dev-1")
    assert {(c.bridge, c.link) for c in changes[1:]} == {
        ("ap-north", "north--south"),
        ("sw-cloud", "south--cloud"),
    }
    assert forwarding.changes("dev-1", old, old) == []


def test_handover_to_an_island_forgets_the_old_ways() -> None:
    net = forwarding.graph(["a", "b", "z"], [trunk("a", "b", 0.01)])
    old, new = forwarding.column(net, "a", "x"), forwarding.column(net, "z", "x")
    changes = forwarding.changes("n", old, new, port_left="a")
    assert changes == [forwarding.Change("z", "n", "x"), forwarding.Change("b", "n", None)]


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[str], list[LinkPlan]]:
    bridges = [f"b{i}" for i in range(draw(st.integers(2, 7)))]
    pairs = draw(st.lists(st.tuples(st.sampled_from(bridges), st.sampled_from(bridges)), min_size=1, max_size=12))
    delay = st.sampled_from([0.0, 0.001, 0.002, 0.005])
    links = [trunk(a, b, draw(delay), draw(delay), name=f"l{i}") for i, (a, b) in enumerate(pairs) if a != b]
    return bridges, links


@settings(max_examples=200, deadline=None)
@given(networks(), st.data())
def test_no_frame_goes_round_at_any_step_of_any_handover(
    network: tuple[list[str], list[LinkPlan]], data: st.DataObject
) -> None:
    bridges, links = network
    here, there = (data.draw(st.sampled_from(bridges), label=label) for label in ("from", "to"))
    net = forwarding.graph(bridges, links)
    old, new = forwarding.column(net, here, "access"), forwarding.column(net, there, "access")
    named = {link.name: link for link in links}
    current = dict(old)
    at = here
    port_left = None
    if here != there:
        del current[here]  # the kernel drops the entry together with the port
        at, port_left = there, here
    for step in [None, *forwarding.changes("n", old, new, port_left=port_left)]:
        if step is not None:
            if step.link is None:
                del current[step.bridge]
            else:
                current[step.bridge] = step.link
        for start in bridges:
            where, passed = start, set()
            while where in current and current[where] != "access":
                assert where not in passed, f"round trip at {where}: {current}"
                passed.add(where)
                link = named[current[where]]
                where = link.b if link.a == where else link.a
    assert current == new
    for start in new:
        moved = {**named, "access": replace(access("n", at), name="access")}
        assert forwarding.path({"n": new}, moved, start, "n")[-1] == there
