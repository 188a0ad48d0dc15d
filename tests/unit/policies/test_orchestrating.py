"""What a placement is predicted to take, worked out by hand, and the names of what it breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodes.errors import InputError
from nodes.policies.orchestrating import CONSTRAINTS, Prediction, predict
from nodes.policies.requests import Assignment, Cut, Owner, Placement, Problem, Request, Round, Shared, Weights
from nodes.policies.units import Battery, Path, Power, Unit

MB = 10**6
WHOLE = Cut(4, "device", 1.0, device_weights=MB, device_memory=100 * MB)
SPLIT = Cut(2, "split", 0.5, 0.5, MB, MB, MB // 2, MB // 2, 50 * MB, 60 * MB)
AWAY = Cut(0, "server", 0.0, 1.0, 2 * MB, edge_weights=MB, edge_memory=100 * MB)
POWER = Power(1.0, 3.0, 2.0, 1.5)


def two(**changes: object) -> Problem:
    """Two devices at half speed, an edge server at 2, a cloud at 1; 8 Mbit/s everywhere (1 MB/s), no delay."""
    units = {
        "a": Unit("a", "device", 0.5, 500 * MB, power=POWER, battery=Battery(1000, 500, 100), at="edge"),
        "b": Unit("b", "device", 0.5, 500 * MB, power=POWER, at="edge"),
        "edge": Unit("edge", "edge", 2.0, 200 * MB, price_gb_s=1.0, price_gb=10.0),
        "cloud": Unit("cloud", "cloud", 1.0, 1000 * MB, price_gb_s=0.5, price_gb=20.0),
    }
    paths = {(x, y): Path(8e6, 0.0) for x in units for y in units if x != y}
    request = Request("t", (Owner("a", 10), Owner("b", 10)), (WHOLE, SPLIT, AWAY), "cloud", MB, aggregate_s=0.25)
    return replace(Problem(units, paths, (request,)), **changes)  # type: ignore[arg-type]


def asked(problem: Problem, **changes: object) -> Problem:
    return replace(problem, requests=(replace(problem.requests[0], **changes),))  # type: ignore[arg-type]


def placed(problem: Problem, g: str = "cloud", **does: tuple[int, str] | int) -> Prediction:
    every = {name: Assignment(one) if isinstance(one, int) else Assignment(*one) for name, one in does.items()}
    return predict(problem, Placement({"t": Round(every, g, g)}))


def names(prediction: Prediction) -> set[str]:
    assert {one.name for one in prediction.violations} <= set(CONSTRAINTS)
    return {one.name for one in prediction.violations}


def test_the_whole_model_on_the_device():
    """Fetch 1 s, ten batches of 2 s, push 1 s, then 0.25 s of averaging; 20 s at 2 W more, 1 s each at 1 and 0.5 W."""
    found = placed(two(), a=4)
    assert found.seconds["t"] == pytest.approx(1 + 20 + 1 + 0.25)
    assert found.energy["a"] == pytest.approx(20 * 2 + 1 * 1 + 1 * 0.5)
    assert found.sent["t"] == 2 * MB
    assert found.feasible


def test_two_halves():
    """A batch: 1 s on the device, 1 s up, 0.25 s on the server, 1 s down; halves move side by side."""
    found = placed(two(), a=(2, "edge"))
    assert found.owners["t", "a"] == pytest.approx(0.5 + 10 * 3.25 + 0.5)
    assert found.energy["a"] == pytest.approx(10 * 2 + 10.5 * 1 + 10.5 * 0.5)
    edge = 0.06 * 33.5  # GB-seconds of the edge half
    sent = (10 * 1 + 0.5) / 1000 * 10 + (0.5 + 0.5) / 1000 * 20  # by the edge server, by the cloud
    assert found.price["t"] == pytest.approx(edge + sent)


def test_nothing_is_sent_where_it_is():
    near = asked(two(), source="edge", holders=frozenset({"a"}))
    found = placed(near, "edge", a=(2, "edge"))
    assert found.owners["t", "a"] == pytest.approx(10 * 3.25 + 0.5)
    assert found.sent["t"] == 20 * MB + MB // 2


def test_an_edge_half_is_sent_to_a_server_once():
    one, both = placed(two(), a=(2, "edge")), placed(two(), a=(2, "edge"), b=(2, "edge"))
    assert both.sent["t"] == 2 * one.sent["t"] - MB // 2


def test_raw_samples_go_up_alone():
    found = placed(asked(two(), raw_stays=False), a=(0, "edge"))
    assert found.owners["t", "a"] == pytest.approx(1 + 10 * (2 + 0.5) + 1)
    assert found.feasible
    assert names(placed(two(), a=(0, "edge"))) == {"raw-data"}


def test_a_server_that_is_busy_is_waited_for():
    """Two chains of 3.25 s need 0.25 s each of the server: nobody waits. At a tenth of the speed it is 2.5 s each."""
    assert placed(two(), a=(2, "edge"), b=(2, "edge")).owners["t", "a"] == pytest.approx(33.5)
    slow = two()
    slow = replace(slow, units={**slow.units, "edge": replace(slow.units["edge"], speed=0.2)})
    assert placed(slow, a=(2, "edge")).owners["t", "a"] == pytest.approx(1 + 10 * (3 + 2.5))
    assert placed(slow, a=(2, "edge"), b=(2, "edge")).owners["t", "a"] == pytest.approx(1 + 10 * 5.5)
    slower = replace(slow, units={**slow.units, "edge": replace(slow.units["edge"], speed=0.1)})
    assert placed(slower, a=(2, "edge"), b=(2, "edge")).owners["t", "a"] == pytest.approx(1 + 10 * (5 + 5))


def test_who_has_fewer_batches_leaves_the_server_to_the_others():
    slow = asked(two(), owners=(Owner("a", 10), Owner("b", 2)))
    slow = replace(slow, units={**slow.units, "edge": replace(slow.units["edge"], speed=0.1)})
    found = placed(slow, a=(2, "edge"), b=(2, "edge"))
    assert found.owners["t", "a"] == pytest.approx(1 + 10 * (3 + 5))  # its own chain: the other is gone soon
    assert found.owners["t", "b"] == pytest.approx(1 + 2 * 10)


def test_who_takes_nothing_of_a_device_does_not_wait_for_it():
    """A task that sends raw samples away does not wait for the other one that trains on the device."""
    problem = asked(two(), raw_stays=False)
    other = replace(problem.requests[0], task="u")
    problem = replace(problem, requests=(*problem.requests, other))
    round = Round({"a": Assignment(0, "edge")}, "cloud", "cloud")
    busy = Round({"a": Assignment(4)}, "cloud", "cloud")
    for rounds in ({"t": round}, {"t": round, "u": busy}):
        assert predict(problem, Placement(rounds)).owners["t", "a"] == pytest.approx(27)
    two_of_them = predict(problem, Placement({"t": busy, "u": busy}))
    assert two_of_them.owners["t", "a"] == pytest.approx(1 + 2 * 20 + 1)


def test_a_shared_link_is_shared():
    point = Shared("point", frozenset({"a", "b"}), up=4e6)
    alone = placed(two(shared=(point,)), a=(2, "edge"))
    assert alone.owners["t", "a"] == pytest.approx(0.5 + 10 * 4.25 + 1)  # 2 s up, half a MB pushed takes 1 s
    narrow = replace(point, up=2e6)
    both = placed(two(shared=(narrow,)), a=(2, "edge"), b=(2, "edge"))
    assert both.owners["t", "a"] == pytest.approx(0.5 + 2 * (10 * 4 + 2))  # all that both send, after a's own fetch
    backhaul = replace(narrow, beyond=frozenset({"cloud"}))
    assert placed(two(shared=(backhaul,)), a=(2, "edge")).owners["t", "a"] == pytest.approx(0.5 + 32.5 + 2)


def test_cold_starts_are_counted_and_waited_for():
    cold = two()
    units = {name: replace(unit, cold_s=2.0, warm=frozenset({"aggregate"})) for name, unit in cold.units.items()}
    warm, found = placed(cold, a=(2, "edge")), placed(replace(cold, units=units), a=(2, "edge"))
    assert found.seconds["t"] == pytest.approx(warm.seconds["t"] + 2)  # both halves start at once
    assert found.cold_starts["t"] == 2


def test_choosing_data_costs_and_saves():
    chosen = asked(two(), share=0.3, select_s=0.01, owners=(Owner("a", 10, 100), Owner("b", 10, 100)))
    found = placed(chosen, a=4)
    assert found.owners["t", "a"] == pytest.approx(0.01 * 100 / 0.5 + 1 + 3 * 2 + 1)
    assert found.energy["a"] == pytest.approx((2 + 6) * 2 + 1 + 0.5)


def test_the_objective_is_the_weighted_sum():
    weighed = asked(two(weights=Weights(2.0, 3.0, 5.0)), absent=7.0)
    found = placed(weighed, a=(2, "edge"))
    parts = 2 * found.seconds["t"] + 3 * sum(found.energy.values()) + 5 * found.price["t"] + 7
    assert found.objective == pytest.approx(parts)


def test_every_broken_constraint_has_its_name():
    problem = two()
    assert names(placed(problem, a=(2, ""))) == {"unit"}
    assert names(placed(problem, a=(2, "b"))) == {"unit"}
    assert names(placed(problem, "a", b=4)) == {"unit"}
    assert names(placed(problem, a=3)) == {"unit"}
    assert names(placed(asked(problem, labels_stay=True), a=(2, "edge"))) == {"labels"}
    assert names(placed(asked(problem, least=2), a=4)) == {"participants"}
    assert names(placed(asked(problem, deadline_s=40.0, rounds_left=2), a=4)) == {"deadline"}
    assert names(placed(asked(problem, least_rate=9e6), a=(2, "edge"))) == {"last-mile"}
    small = {**problem.units, "edge": replace(problem.units["edge"], memory=100 * MB)}
    assert names(placed(replace(problem, units=small), a=(2, "edge"))) == set()
    assert names(placed(replace(problem, units=small), a=(2, "edge"), b=(2, "edge"))) == {"memory"}
    weak = {**problem.units, "a": replace(problem.units["a"], battery=Battery(1000, 140, 100))}
    assert names(placed(replace(problem, units=weak), a=4)) == {"battery"}
    assert names(placed(replace(problem, units=weak), a=(2, "edge"))) == set()
    cut_off = {pair: path for pair, path in problem.paths.items() if pair != ("a", "edge")}
    assert names(placed(replace(problem, paths=cut_off), a=(2, "edge"))) == {"last-mile"}
    apart = {pair: path for pair, path in problem.paths.items() if pair != ("edge", "cloud")}
    assert names(placed(replace(problem, paths=apart), a=(2, "edge"))) == {"path"}


def test_what_is_no_request_is_refused():
    with pytest.raises(InputError, match="share"):
        asked(two(), share=0.0)
    with pytest.raises(InputError, match="not there"):
        asked(two(), source="nowhere")
    with pytest.raises(InputError, match="costs elsewhere"):
        replace(WHOLE, edge_s=1.0)
    with pytest.raises(InputError, match="speed"):
        two(units={**two().units, "a": replace(two().units["a"], speed=0.0)})
