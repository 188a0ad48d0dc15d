from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.policies.association import AsTold, LeastLoaded, Nearest, Strongest
from nodes.policies.radio import lte, wifi
from testbed.emulation.links.shape import Shape, Step
from testbed.experiment.changes import Move
from testbed.mobility.build import Settings, course_of, timeline_of
from testbed.mobility.foresee import Linear, Oracle
from testbed.mobility.generators import Area, GaussMarkov, Manhattan, RandomWaypoint, tracks
from testbed.mobility.schedules import mean_rate, of_samples
from testbed.mobility.timeline import ABSENT, COVERAGE, Down, Timeline, merged
from testbed.mobility.tracks import Track, track

POINTS = {"west": (0.0, 0.0), "east": (100.0, 0.0)}
LINKS = {name: (Shape(delay=0.002), Shape(delay=0.003)) for name in POINTS}
PLAIN = wifi(shadowing=0)
WALK = {"a": track([(0, 0, 0), (100, 100, 0)])}  # 1 m/s


def test_a_handover_where_the_border_is_crossed_however_the_track_was_sampled():
    coarse = timeline_of(WALK, POINTS, Settings())
    assert (coarse.starts, coarse.moves, coarse.end) == ({"a": "west"}, (Move("a", "east", at=50.0),), 100.0)
    fine = {"a": track([(t, t, 0) for t in range(101)])}
    assert timeline_of(fine, POINTS, Settings()) == coarse


def test_the_handover_waits_for_hysteresis_and_time_to_trigger():
    """By log-distance the east is 3 dB better at 100 / (1 + 10^-0.1) m with an exponent of 3."""
    border = 100 / (1 + 10**-0.1)
    for trigger in (0.0, 0.32, 1.0):
        moves = timeline_of(WALK, POINTS, Settings(policy=Strongest(3, trigger))).moves
        assert [m.at for m in moves] == [pytest.approx(border + trigger, abs=0.2)]


def test_out_of_coverage_the_link_is_down_and_comes_back_at_the_other_site():
    far = {"west": (0.0, 0.0), "east": (2000.0, 0.0)}
    walk = {"a": track([(0, 0, 0), (200, 2000, 0)])}
    found = timeline_of(walk, far, Settings(radio=PLAIN, policy=Strongest()), dict.fromkeys(far, LINKS["west"]))
    (down,) = found.down["a"]
    assert down.why == COVERAGE
    assert 5 < down.begin < down.end < 196
    assert found.moves == (Move("a", "east", at=down.end),)
    up, _ = found.schedules["a"]
    assert [s.at for s in up.steps if s.rate == 0] == [down.begin]
    assert found.up_at("a", down.begin - 0.1)
    assert not found.up_at("a", down.begin)
    assert found.up_at("a", down.end)
    west, east = found.stays("a")
    assert (west.site, west.begin, west.end, east.end) == ("west", 0, down.end, 200)
    assert west.connected == pytest.approx(down.begin)
    # The device has to be nearer to be taken back than to be lost: the site's threshold is higher then.
    assert 2000 - 10 * down.end < 10 * down.begin - 2


def test_never_within_reach():
    found = timeline_of({"a": track([(0, 9e5, 0), (5, 9e5, 1)])}, POINTS, Settings(radio=PLAIN), LINKS)
    assert (found.starts, found.moves, found.down) == (
        {"a": "east"}, (), {"a": (Down(0.0, math.inf, COVERAGE),)}
    )  # fmt: skip


def test_devices_come_and_go():
    paths = {
        "a": track([(2, 0, 0), (4, 4, 0), (9, 90, 0), (10, 91, 0)]),
        "b": track([(t, t, 0) for t in range(0, 13, 3)]),
    }
    found = timeline_of(paths, POINTS, Settings(come_and_go=True, gap=3))
    assert found.down == {"a": (Down(0, 2, ABSENT), Down(4.1, 9, ABSENT), Down(10.1, math.inf, ABSENT))}
    assert found.moves == (Move("a", "east", at=9.0),)
    assert timeline_of(paths, POINTS, Settings()).down == {}
    given_ = timeline_of(paths, POINTS, Settings(presence={"b": ((1, 2), (5, 6))}))
    assert given_.down == {"b": (Down(0, 1, ABSENT), Down(2, 5, ABSENT), Down(6, math.inf, ABSENT))}


def test_as_the_trace_says():
    told = Track(np.array([0.0, 3, 6, 9]), np.zeros(4), np.zeros(4), ("east", "west", None, "east"))
    found = timeline_of({"a": told}, POINTS, Settings(policy=AsTold()))
    assert (found.starts, found.moves) == ({"a": "east"}, (Move("a", "west", at=3.0), Move("a", "east", at=9.0)))


def test_the_least_loaded_site_within_reach():
    crowd = {f"d{i}": track([(0, 45, 0), (1, 45, 0)]) for i in range(4)}
    found = timeline_of(crowd, POINTS, Settings(policy=LeastLoaded(6)))
    assert sorted(found.starts.values()) == ["east", "east", "west", "west"]
    assert found.moves == ()


def test_one_who_is_alone_has_all_the_air_and_two_have_half_each():
    def rate(n: int, sharing: str = "time") -> list[float | None]:
        crowd = {f"d{i}": track([(0, 5, 0), (1, 5, 0)]) for i in range(n)}
        found = timeline_of(crowd, POINTS, Settings(radio=PLAIN, sharing=sharing), LINKS)
        return [down.steps[0].rate for _, down in found.schedules.values()]

    alone = rate(1)[0] or 0
    assert alone == pytest.approx(78e6 * 0.7 / 2, rel=0.01)
    assert rate(2) == [pytest.approx(alone / 2, rel=1e-4)] * 2
    assert rate(3, "none") == [alone] * 3


def test_the_files_rate_is_an_upper_bound_and_its_delay_the_beginning():
    slow = {n: (Shape(rate=1e6, delay=0.01, loss=0.01), Shape()) for n in POINTS}
    walk = {"a": track([(0, -1, 0), (300, -300, 0)])}
    up, down = timeline_of(walk, POINTS, Settings(radio=lte(shadowing=0, gain=0)), slow).schedules["a"]
    assert max(s.rate or 0 for s in up.steps) == 1e6 < max(s.rate or 0 for s in down.steps)
    assert all(s.delay is None or s.delay > 0.01 for s in up.steps)
    up, _ = timeline_of(walk, POINTS, Settings(radio=PLAIN), slow).schedules["a"]
    lossy = [s.loss for s in up.steps if s.loss]
    assert lossy
    assert all(0.01 < loss <= 1 for loss in lossy)


def test_signal_fades_step_by_step():
    walk = {"a": track([(0, -1, 0), (150, -150, 0)])}
    up, _ = timeline_of(walk, POINTS, Settings(radio=PLAIN), LINKS).schedules["a"]
    rates = [s.rate or 0 for s in up.steps]
    assert len(set(rates)) > 8
    best = max(rates)
    for earlier, later in pairwise(rates):
        assert later <= earlier + 0.1 * best  # at a change of modulation errors jump to one in ten
    assert [s.at for s in up.steps] == sorted({s.at for s in up.steps})
    assert up.steps[0].at == 0
    assert mean_rate(up, Shape(), 0, 1) == rates[0]


area = Area(-60, -60, 160, 60)
models = st.sampled_from([RandomWaypoint((1, 20)), GaussMarkov(speed=8), Manhattan(block=40)])
radios = st.sampled_from([None, wifi(), wifi(shadowing=9, exponent=4), lte(tx=0, gain=0, device_tx=0)])
policies = st.sampled_from([Nearest(), Strongest(), Strongest(0, 0), LeastLoaded()])


@settings(max_examples=25, deadline=None)
@given(models, radios, policies, st.integers(0, 10**6), st.booleans())
def test_every_timeline_is_whole(model, radio, policy, seed, oracle):
    paths = tracks(model, ["a", "b", "c"], area, 40, seed)
    how = Settings(policy=policy, radio=radio, predictor=Oracle(4) if oracle else Linear(), seed=seed)
    found = timeline_of(paths, POINTS, how, LINKS)
    assert found == timeline_of(dict(reversed(paths.items())), POINTS, how, LINKS)
    here = dict(found.starts)
    last = dict.fromkeys(here, -1.0)
    for move in found.moves:
        assert move.at is not None
        assert here[move.device] != move.to  # no move goes to where the device is
        assert move.at > last[move.device]
        assert found.up_at(move.device, move.at)  # a handover ends with a link that is up
        here[move.device], last[move.device] = move.to, move.at
    for downs in found.down.values():
        assert all(d.begin < d.end for d in downs)
        assert all(one.end <= other.begin for one, other in pairwise(downs))
    assert set(found.schedules) == (set(paths) if radio else set())
    for device, both in found.schedules.items():
        for schedule in both:
            at = [s.at for s in schedule.steps]
            assert at[0] == 0
            assert all(one < other for one, other in pairwise(at))
            assert all(s.rate == 0 or (s.rate or 0) >= 8e3 for s in schedule.steps)
            silent = [s.at for s in schedule.steps if s.rate == 0]
            assert all(not found.up_at(device, t) for t in silent)
    for device in paths:
        stays = found.stays(device)
        assert math.fsum(s.end - s.begin for s in stays) == pytest.approx(found.end)
        assert all(-1e-9 <= s.connected <= s.end - s.begin + 1e-9 for s in stays)
    result = found.score()
    assert result.hits + result.wrong + result.unforeseen == len(found.moves)
    if oracle:
        assert result.wrong == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 20))
def test_no_flapping_within_the_time_to_trigger(seed, trigger):
    """Where coverage never ends, two handovers of a device are further apart than the time to trigger."""
    paths = tracks(RandomWaypoint((5, 20)), ["a", "b"], area, 60, seed)
    how = Settings(policy=Strongest(1, trigger * 0.1), radio=lte(), seed=seed)
    found = timeline_of(paths, POINTS, how, LINKS)
    assert not found.down
    for device in paths:
        times = [m.at or 0 for m in found.moves if m.device == device]
        assert all(later - earlier > trigger * 0.1 - 1e-6 for earlier, later in pairwise(times))


def test_the_oracle_foretells_all_and_who_goes_straight_on_is_foretold_too():
    there_and_back = {"a": track([(0, 0, 0), (100, 100, 0), (200, 0, 0)])}
    for predictor in (Oracle(5), Linear(5)):
        found = timeline_of(there_and_back, POINTS, Settings(predictor=predictor))
        assert [m.to for m in found.moves] == ["east", "west"]
        score = found.score()
        assert (score.hits, score.wrong, score.unforeseen, score.withdrawn) == (2, 0, 0, 0)
        assert score.lead == pytest.approx(5, abs=0.6)


def test_what_is_expected_after_the_end_is_no_false_alarm():
    """Straight on it would be at the border at 5.1 s, and movement ends at 4."""
    leaves = {"a": track([(0, 0, 0), (4, 39.2, 0)])}
    found = timeline_of(leaves, POINTS, Settings(predictor=Linear(5)))
    assert found.predictions
    assert found.score().withdrawn == 0


def test_who_turns_round_at_the_border_was_foretold_wrong():
    turns = {"a": track([(0, 0, 0), (48, 48, 0), (96, 0, 0)])}
    found = timeline_of(turns, POINTS, Settings(predictor=Linear(5)))
    assert found.moves == ()
    assert found.score().withdrawn == 1


def test_what_was_recorded_becomes_steps():
    found = of_samples("x", [(-2, 1e6, None, None), (-1, 2e6, None, None), (1, 2e6, None, None), (2, 0, 0.1, None),
                             (9, 5e6, None, None)], 5)  # fmt: skip
    assert found.steps == (Step(0, 2e6), Step(2, 0.0, 0.1))
    assert of_samples("x", [(3, 1e6, None, None)], 5).steps == (Step(0), Step(3, 1e6))


def test_intervals_merge():
    downs = [Down(3, 4, ABSENT), Down(0, 1, ABSENT), Down(1, 2, ABSENT), Down(2, 2, COVERAGE), Down(4, 5, COVERAGE)]
    assert merged(downs) == (Down(0, 2, ABSENT), Down(3, 4, ABSENT), Down(4, 5, COVERAGE))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"step": 0}, "step"), ({"sharing": "evenly"}, "sharing"), ({"radio": PLAIN, "interval": -1}, "interval"),
        ({"radio": PLAIN, "interval": math.nan}, "interval"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(how, message):
    with pytest.raises(ValueError, match=message):
        timeline_of(WALK, POINTS, Settings(**how), LINKS)


def test_nothing_to_look_at():
    cases = [
        lambda: course_of({}, POINTS, Settings()), lambda: course_of(WALK, {}, Settings()),
        lambda: course_of(WALK, POINTS, Settings(), end=1e9), lambda: Oracle(0), lambda: Linear(5, 0),
        lambda: timeline_of(WALK, POINTS, Settings(radio=PLAIN)),
    ]  # fmt: skip
    for bad in cases:
        with pytest.raises(ValueError, match=r"needs|within|horizon|window"):
            bad()


def test_scripted_moves_have_no_time_to_stay_by():
    found = Timeline({"a": "west"}, (Move("a", "east", round=2, progress=0.5),), 10)
    assert [(s.site, s.end) for s in found.stays("a")] == [("west", 10)]
