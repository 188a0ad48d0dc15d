"""Probes over links of known rates and delays: what they find, what they cost, and what does not return."""

from __future__ import annotations

import itertools

import pytest

from nodes.policies import trains
from nodes.schemes._probes import MARGIN, PATIENCE, TOKENS
from nodes.wire import codec
from nodes.wire.messages import Envelope, PartId
from nodes.wire.pipeline_messages import Pong, Probe, Probed
from tests.unit.runtime.pipelines import EDGES, make_task
from tests.unit.runtime.probed import DELAY, DOWN, UP, driver, probe, send, stage, world

# --- rates and distances --------------------------------------------------------------------------------


@pytest.mark.parametrize(("up", "down"), [(1e6, 5e6), (UP, DOWN), (200e6, 100e6)])
def test_rates_and_round_trip_of_a_link_that_nothing_was_known_of(tmp_path, up, down) -> None:
    found = probe(world(tmp_path, up=up, down=down))
    assert (found.up, found.down) == (pytest.approx(up, rel=0.02), pytest.approx(down, rel=0.02))
    assert found.rtt == pytest.approx(2 * DELAY, abs=8 * 400 * (1 / up + 1 / down))


def test_a_shaper_that_lets_some_milliseconds_pass_at_once_changes_nothing(tmp_path) -> None:
    found = probe(world(tmp_path, burst_s=0.005))
    assert (found.up, found.down) == (pytest.approx(UP, rel=0.02), pytest.approx(DOWN, rel=0.02))


@pytest.mark.parametrize("to", ["ea", "eb"])
def test_what_waits_ahead_of_a_train_changes_no_rate(tmp_path, to) -> None:
    """Half a second of activations, to the same server or another, then the probe."""
    net = world(tmp_path)
    for index in range(10):
        send(net, to, int(UP / 8 / 20), index)
    found = probe(net)
    assert (found.up, found.down) == (pytest.approx(UP, rel=0.02), pytest.approx(DOWN, rel=0.02))
    assert net.spans_of("probed")[0].end - net.spans_of("probed")[0].begin > 0.5


def test_work_of_either_side_changes_neither_rates_nor_round_trip(tmp_path) -> None:
    """Both compute threads are at work for 50 ms again and again; messages wait for them."""
    net = world(tmp_path, owners=("d1", "d2"))
    other = stage(net, "ea", "d2")
    for i in range(60):
        net.push("ea", 100 + 0.06 * i, lambda: other.work(0.05))

    def busy():
        with net.hosts["d1"].work(PartId("t", "stage0", "d1"), "forward", None, seconds=0.04):
            pass

    for i in range(60):
        net.push("d1", 100 + 0.05 * i, busy)
    found = probe(net)
    assert (found.up, found.down) == (pytest.approx(UP, rel=0.02), pytest.approx(DOWN, rel=0.02))
    assert found.rtt == pytest.approx(2 * DELAY, abs=1e-3)


def test_a_second_probe_has_one_pair_of_trains_made_for_the_rates(tmp_path) -> None:
    net = world(tmp_path)
    probe(net)
    first = net.spans_of("probed")[-1]
    net.sent.clear()
    probe(net)
    second = net.spans_of("probed")[-1]
    assert (first.attrs["trains"], second.attrs["trains"]) == (2, 1)
    ups = [body for _, source, _, body in net.sent if source == "d1" and isinstance(body, Probe)]
    downs = [body for _, source, _, body in net.sent if source == "ea" and isinstance(body, Probe)]
    assert [b.index for b in ups] == [b.index for b in downs] == list(range(trains.COUNT + 1))
    size = trains.sizes(UP, 2 * DELAY).total + trains.sizes(DOWN, 2 * DELAY).total
    assert size * 0.95 < second.bytes < size * 1.1


def test_a_link_that_is_expected_needs_no_second_pair(tmp_path) -> None:
    net = world(tmp_path)
    driver(net).probes.expect("ea", UP, DOWN, 2 * DELAY)
    assert probe(net).up == pytest.approx(UP, rel=0.02)
    assert net.spans_of("probed")[-1].attrs["trains"] == 1


def test_a_rate_that_changed_is_found(tmp_path) -> None:
    net = world(tmp_path)
    probe(net)
    net.rates["d1", "out"], net.rates["d1", "in"] = UP / 8, DOWN * 3
    found = probe(net)
    assert (found.up, found.down) == (pytest.approx(UP / 8, rel=0.02), pytest.approx(DOWN * 3, rel=0.02))


# --- costs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e6, 5e6, UP, 100e6])
@pytest.mark.parametrize("profile", ["approximate", "full"])
def test_no_probe_costs_more_than_was_said(tmp_path, rate, profile) -> None:
    net = world(tmp_path, up=rate, down=rate, profile=profile)
    one = driver(net)
    for _ in range(3):
        said = one.probes.cost("ea")
        probe(net)
        assert one.took[-1][0] == said
        told, took = one.took[-1]
        assert 0 < took.bytes <= told.bytes
        assert 0 < took.seconds <= told.seconds
    assert took.bytes > 0.5 * told.bytes
    assert took.seconds > 0.9 * told.seconds / MARGIN


def test_bytes_told_are_at_least_those_sent(tmp_path) -> None:
    net = world(tmp_path)
    probe(net)
    port, sizes = net.post, []
    net.post = lambda source, to, frames: (sizes.append(codec.size(frames)), port(source, to, frames))
    probe(net)
    assert sum(sizes) <= driver(net).took[-1][1].bytes <= 1.1 * sum(sizes)


# --- what does not return -------------------------------------------------------------------------------


def test_a_probe_that_does_not_return_is_lost_in_time_and_costs_what_was_said(tmp_path) -> None:
    net = world(tmp_path)
    net.silent.add("ea")
    one = driver(net)
    said = []
    net.push("d1", 100.0, lambda: said.append(one.probes.start("ea")))
    net.run()
    [(at, server)] = one.lost_ones
    wait = PATIENCE * net.task.patience
    assert server == "ea"
    assert wait < at - 100.0 < wait + said[0].seconds + 1e-6
    assert one.probes.took == said[0]
    assert one.probes.server is None
    assert [s.attrs["lost"] for s in net.spans_of("probed")] == [True]


def test_a_probe_whose_server_falls_silent_in_the_middle_is_lost(tmp_path) -> None:
    net = world(tmp_path)
    net.push("d1", 100.0, lambda: driver(net).probes.start("ea"))
    net.push("cloud", 100.025, lambda: net.silent.add("ea"))
    net.run()
    assert [server for _, server in driver(net).lost_ones] == ["ea"]
    assert not driver(net).found


def test_a_slow_probe_is_not_lost_as_long_as_something_comes(tmp_path) -> None:
    """Each answer takes long, none longer than the patience."""
    net = world(tmp_path, delay=0.9 * make_task(tmp_path).patience)
    probe(net)
    assert not driver(net).lost_ones


def test_late_answers_of_an_older_probe_are_ignored(tmp_path) -> None:
    net = world(tmp_path)
    probe(net)
    one = driver(net)
    one.found.clear()
    net.push("d1", net.clocks["d1"].time, lambda: one.probes.start("ea"))
    prober, me = PartId("t", "prober", "ea"), PartId("t", "stage0", "d1")
    late = (Pong(1, 1, -5.0), Probe(1, 1, 0, 8), Probed(1, 1, 1.0, 1.0, 0.0, {}, 9.0, 0.5, 0, False, "old"))
    early = (Pong(2, 3, -5.0), Probed(2, 2, 1.0, 1.0, 0.0, {}, 9.0, 0.5, 0, False, "not asked yet"))
    for body in (*late, *early):
        frames = [bytes(f) for f in codec.encode(Envelope(src=prober, dst=me, node="ea", body=body))]
        net.push("d1", net.clocks["d1"].time, lambda frames=frames: net._arrive("d1", frames, net.clocks["d1"].time))
    net.run()
    [(_, found)] = one.found
    assert found.admits
    assert found.up == pytest.approx(UP, rel=0.02)
    assert found.rtt < 3 * DELAY


def test_another_parts_timer_is_no_probe(tmp_path) -> None:
    net = world(tmp_path)
    one = driver(net)
    assert one.probes.expired(1) is None
    one.probes.start("ea")
    assert one.probes.expired(1) is None
    assert one.probes.expired(TOKENS) is None
    assert one.probes.server == "ea"


def test_an_answer_twice_is_one_answer(tmp_path) -> None:
    net = world(tmp_path)
    port = net.post

    def twice(source, to, frames):
        port(source, to, frames)
        if not isinstance(codec.decode(frames)[0].body, Probe):
            port(source, to, frames)

    net.post = twice
    probe(net)
    assert len(driver(net).found) == 1
    assert not driver(net).lost_ones


# --- several servers ------------------------------------------------------------------------------------


def test_servers_are_probed_one_after_the_other(tmp_path) -> None:
    net = world(tmp_path)
    one = driver(net)
    net.push("d1", 100.0, lambda: [one.probes.start(server) for server in EDGES])
    net.run()
    assert [server for server, _ in one.found] == list(EDGES)
    spans = net.spans_of("probed")
    assert all(a.end <= b.begin for a, b in itertools.pairwise(spans))
    for _, found in one.found:
        assert (found.up, found.down) == (pytest.approx(UP, rel=0.02), pytest.approx(DOWN, rel=0.02))


def test_a_server_that_dies_holds_up_no_other(tmp_path) -> None:
    net = world(tmp_path)
    one = driver(net)
    net.push("d1", 100.0, lambda: [one.probes.start(server) for server in EDGES])
    net.run(until=100.005)
    assert one.probes.lost("ec") == "ec"
    assert one.probes.lost("ea") == "ea"
    assert one.probes.lost("ea") is None
    net.run()
    assert [server for server, _ in one.found] == ["eb"]
