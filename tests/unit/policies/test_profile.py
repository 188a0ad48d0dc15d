from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.costs import Sums, World
from nodes.policies.layout import Layout
from nodes.policies.offers import ALPHA, Estimate, Found, Known, LinkOffer, NodeOffer
from nodes.policies.profile import FULL, LayerProfile, ModelProfile, middle
from tests.unit.policies.problems import mesh, model, models, server


@given(models(), st.floats(0.01, 100))
def test_scaling_is_by_time_alone(profile, ratio):
    scaled = profile.scaled(ratio)
    assert scaled.step == pytest.approx(ratio * profile.step)
    assert [replace(one, forward=0, backward=0, update=0) for one in scaled.layers] == [
        replace(one, forward=0, backward=0, update=0) for one in profile.layers
    ]
    assert (scaled.kind, profile.kind) == ("approximate", FULL)


@given(models(), st.floats(0.01, 100), st.data())
def test_a_few_probed_layers_tell_the_ratio(profile, ratio, data):
    """Of a node that is slower by one factor, whichever layers are probed."""
    there = profile.scaled(ratio)
    some = data.draw(st.sets(st.sampled_from(range(len(profile.layers))), min_size=1))
    probed = {there.layers[i].name: there.layers[i].forward + there.layers[i].backward for i in some}
    assert profile.ratio(probed) == pytest.approx(ratio)


@pytest.mark.parametrize("probed", [{}, {"conv9": 1.0}, {"l0": 0.0}, {"l0": float("nan")}])
def test_a_probe_that_tells_nothing(probed):
    with pytest.raises(InputError):
        model(1, 1).ratio(probed)
    with pytest.raises(InputError, match="ratio"):
        model(1, 1).scaled(0.0)


@given(models())
def test_plain_data_and_back(profile):
    assert ModelProfile.from_dict(json.loads(json.dumps(profile.as_dict()))) == profile


@pytest.mark.parametrize("bad", [
    {}, {"model": "m", "samples": 1, "layers": []}, {"model": "m", "samples": 0, "layers": [{}]},
    {"model": "m", "samples": 1, "layers": [None]}, {"model": "m", "samples": float("inf"), "layers": []},
])  # fmt: skip
def test_no_profile(bad):
    with pytest.raises(InputError):
        ModelProfile.from_dict(bad)
    with pytest.raises(InputError, match="is none"):
        ModelProfile("m", 1, (LayerProfile("a", float("nan"), 0, 0, 0, 0, 0, 0),))
    with pytest.raises(InputError, match="is none"):
        model(1, loss=-1.0)


def test_compression_is_of_what_crosses():
    half = model(1, 1, input=999).compressed(0.5)
    assert (half.crossing(1), half.crossing(0)) == ((500, 500), (999, 0))


def test_the_middle_of_repeats():
    assert middle([3.0]) == (3.0, 0.0)
    assert middle([1, 2, 3, 4, 100])[0] == 3
    assert middle([2, 2, 2, 2]) == (2, 0)
    assert middle([0, 0, 0]) == (0, 0)
    with pytest.raises(InputError):
        middle([])


# --- offers ---


def test_an_estimate_goes_half_the_way():
    estimate = Estimate(8.0, at=1.0).after(4.0, now=3.0)
    assert estimate == Estimate(8 + ALPHA * -4, 3.0, 2)
    assert estimate.after(5.0, 4.0, alpha=1).value == 5.0
    for bad in (0.0, 1.5):
        with pytest.raises(InputError):
            estimate.after(1.0, 5.0, bad)
    with pytest.raises(InputError):
        estimate.after(float("nan"), 5.0)


@given(st.lists(st.floats(1, 1e9), min_size=1), st.floats(0.05, 1))
def test_an_estimate_stays_within_what_was_found(found, alpha):
    estimate = Estimate(found[0], 0.0)
    for i, value in enumerate(found[1:]):
        estimate = estimate.after(value, float(i), alpha)
    assert min(found) * (1 - 1e-9) <= estimate.value <= max(found) * (1 + 1e-9)
    assert estimate.count == len(found)


def test_what_is_known_of_a_server_from_probe_to_probe():
    known = Known("e").learn(Found(up=8e6, down=16e6, rtt=0.01, ratio=0.5, memory=100, admits=True), now=10)
    known = known.learn(Found(up=4e6, memory=50), now=12)
    assert known.offer(13) == NodeOffer("e", 6e6, 16e6, 0.01, 50, 0.5, age=3)
    assert known.learn(Found(admits=False, why="full"), 14).offer(14).refusal == "e: refuses: full"
    assert known.lost().offer(14).refusal == "e: refuses: does not answer"
    assert known.lost().learn(Found(admits=True), 15).offer(15).refusal is None
    assert Known("e").offer(0).refusal == "e: out of reach"


def test_a_full_profile_goes_before_a_ratio():
    here, there = model(1, 1), model(3, 1)
    assert server("e", 0.5).times(here).step == 3
    assert server("e", 0.5, profile=there).times(here) == there
    with pytest.raises(InputError, match="another model"):
        server("e", profile=model(1)).times(here)


@pytest.mark.parametrize("bad", [{"up": -1.0}, {"rtt": float("nan")}, {"ratio": 0.0}, {"down": float("inf")}])
def test_no_offer(bad):
    with pytest.raises(InputError):
        server("e", **bad)
    with pytest.raises(InputError):
        LinkOffer("a", "b", -1.0)


# --- costs ---


def test_costs_of_a_layout_by_hand():
    world = World("dev", model(1, 2, 3, labels=250, loss=0.5), {"a": server("a", 0.5, 1e6, rtt=0.2), "b": server("b")},
                  {(link.a, link.b): link for link in mesh("a", "b", rate=2e6)})  # fmt: skip
    chain = world.chain(Layout((0, 1, 2, 3), ("dev", "a", "b")))
    assert [(one.node, one.forward, one.backward) for one in chain.stages] == [
        ("dev", 1, 2), ("a", 1, 2), ("b", 1.75, 3),
    ]  # fmt: skip
    assert [(one.wire, one.busy, one.delay) for one in chain.there + chain.back] == [
        ("dev up", 8 * 1250 / 1e6, 0.1), ("a -> b", 8 * 1250 / 2e6, 0), ("dev down", 8 * 1000 / 1e6, 0.1),
        ("b -> a", 8 * 1000 / 2e6, 0),
    ]  # fmt: skip
    assert chain.latency == pytest.approx(3 + 3 + 4.75 + 0.018 + 0.2 + 0.009)
    assert chain.bottleneck(4) == ("b", 4.75)


@given(models(), st.data())
def test_stages_add_up_to_the_model(profile, data):
    sums, layers = Sums.of(profile), len(profile.layers)
    cut = data.draw(st.integers(0, layers))
    parts = [sums.stage("n", 0, cut), sums.stage("n", cut, layers)]
    if cut in (0, layers):
        parts = [sums.stage("n", 0, layers)]
    assert sum(one.forward + one.backward for one in parts) == pytest.approx(profile.step)


def test_what_has_no_costs():
    world = World("dev", model(1, 1), {"a": server("a")})
    with pytest.raises(InputError, match="no offer of z"):
        world.chain(Layout((0, 1, 2), ("dev", "z")))
    with pytest.raises(InputError, match="no way from a to b"):
        world.transfer("a", "b", 1)
