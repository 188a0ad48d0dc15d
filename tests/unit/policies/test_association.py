from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies.association import NOTHING, AsTold, LeastLoaded, Nearest, Policy, Strongest, View

SITES = ("a", "b", "c")
STEP = 0.1


def follow(policy: Policy, looks: list[View]) -> list[str | None]:
    """Where a device is after each look, each look's ``here`` being where it was."""
    here, memory, path = looks[0].here, NOTHING, []
    for look in looks:
        here, memory = policy(View(look.now, here, look.signal, look.distance, look.load, look.told), memory)
        path.append(here)
    return path


def looks(*signals: dict[str, float], here: str | None = "a") -> list[View]:
    return [View(i * STEP, here, s) for i, s in enumerate(signals)]


def test_a_neighbour_must_be_better_for_the_time_to_trigger():
    policy = Strongest(hysteresis=3, time_to_trigger=0.3)
    better = {"a": -70.0, "b": -66.0}
    assert follow(policy, looks(*[better] * 5)) == ["a", "a", "a", "b", "b"]


def test_one_look_at_which_it_is_not_better_begins_anew():
    policy = Strongest(hysteresis=3, time_to_trigger=0.3)
    better, not_quite = {"a": -70.0, "b": -66.0}, {"a": -70.0, "b": -67.0}
    assert follow(policy, looks(*[better] * 3, not_quite, *[better] * 4)) == ["a"] * 7 + ["b"]


def test_of_several_that_are_ready_the_strongest():
    policy = Strongest(hysteresis=0, time_to_trigger=0.1)
    assert follow(policy, looks(*[{"a": -70.0, "b": -60.0, "c": -65.0}] * 2))[-1] == "b"


def test_who_has_lost_its_site_does_not_wait():
    policy = Strongest(hysteresis=6, time_to_trigger=5)
    assert follow(policy, looks({"a": -70.0}, {"b": -80.0}, {})) == ["a", "b", None]


@pytest.mark.parametrize("bad", [{"hysteresis": -0.1}, {"time_to_trigger": -1}, {"hysteresis": float("nan")},
                                 {"offset": float("inf")}])  # fmt: skip
def test_no_such_event(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Strongest(**bad)
    with pytest.raises(ValueError, match="margin"):
        LeastLoaded(-1)


power = st.floats(-110, -40)
walks = st.lists(st.fixed_dictionaries(dict.fromkeys(SITES, power)), min_size=1, max_size=60)


@given(walks, st.floats(0, 10), st.integers(0, 12))
def test_no_flapping_within_the_time_to_trigger(walk, hysteresis, trigger):
    path = follow(Strongest(hysteresis=hysteresis, time_to_trigger=trigger * STEP), looks(*walk))
    changes = [i for i in range(1, len(path)) if path[i] != path[i - 1]]
    changes = ([0] if path[0] != "a" else []) + changes
    assert all(later - earlier > trigger for earlier, later in pairwise(changes))
    for i in changes:  # it was better by the hysteresis all the while
        before = "a" if i == 0 else path[i - 1]
        assert all(walk[k][path[i]] > walk[k][before] + hysteresis for k in range(i - trigger, i + 1))


@given(walks)
def test_without_hysteresis_and_delay_it_is_the_strongest(walk):
    path = follow(Strongest(0, 0), looks(*walk))
    assert all(walk[i][site] == max(walk[i].values()) for i, site in enumerate(path))


def test_the_nearest_within_reach():
    view = View(0, "a", {"b": -80.0, "c": -70.0}, {"a": 1.0, "b": 5.0, "c": 5.0})
    assert Nearest()(view, NOTHING)[0] == "b"
    assert Nearest()(View(0, "a", {}), NOTHING)[0] is None


def test_least_loaded_stays_while_a_move_gains_nothing():
    signal = {"a": -60.0, "b": -62.0, "c": -80.0}
    policy = LeastLoaded(margin=6)

    def choice(**load: int) -> str | None:
        return policy(View(0, "a", signal, load=load), NOTHING)[0]

    assert choice(a=1, b=1) == "a"
    assert choice(a=2, b=1) == "b"
    assert choice(a=9, b=9, c=0) == "a"  # c is too weak
    assert policy(View(0, None, signal, load={"a": 1, "b": 1}), NOTHING)[0] == "a"


@given(st.lists(st.sampled_from(SITES), min_size=1, max_size=12), st.data())
def test_least_loaded_comes_to_rest(start, data):
    """Devices that look one after the other come to rest, and then no site has two more than another."""
    at = list(start)
    policy = LeastLoaded(margin=99)
    for _ in range(4 * len(at) + 4):
        moved = False
        for i in data.draw(st.permutations(range(len(at)))):
            load = {s: sum(x == s for k, x in enumerate(at) if k != i) for s in SITES}
            there, _ = policy(View(0, at[i], dict.fromkeys(SITES, -60.0), load=load), NOTHING)
            moved, at[i] = moved or there != at[i], there or ""
        if not moved:
            break
    assert not moved
    counts = [at.count(s) for s in SITES]
    assert max(counts) - min(counts) <= 1


def test_as_the_trace_says():
    signal = {"a": -60.0, "b": -90.0}
    assert AsTold()(View(0, "a", signal, told="b"), NOTHING)[0] == "b"
    assert AsTold()(View(0, "a", signal), NOTHING)[0] == "a"
    assert AsTold()(View(0, "a", signal, told="z"), NOTHING)[0] == "a"
    assert AsTold()(View(0, "b", signal, told="z"), NOTHING)[0] == "b"
    assert AsTold()(View(0, "c", signal), NOTHING)[0] == "a"
    assert AsTold()(View(0, "c", {}), NOTHING)[0] is None
