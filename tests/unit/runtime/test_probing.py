"""Probes over links of known rates and delays, to servers of known speeds and loads."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from nodes.errors import RunError, WireError
from nodes.policies import trains
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.stage_times import operations
from nodes.runtime.part import Quiet
from nodes.schemes import _admission, get
from nodes.schemes._base import Members
from nodes.schemes._prober import Prober
from nodes.schemes._probes import HEAVIEST, MARGIN, PATIENCE, TOKENS, Probes
from nodes.wire import codec
from nodes.wire.messages import Activations, Envelope, PartId, Work
from nodes.wire.pipeline_messages import Pong, Probe, Probed
from tests.unit.runtime.links import Links
from tests.unit.runtime.pipelines import EDGES, make_task

UP, DOWN, DELAY = 20e6, 40e6, 0.005
LAYER_S = 2e-3
MODEL = "cnn"


class Driver(Quiet):
    """What holds probes in these tests."""

    def __init__(self, part, context):
        self.id, self.context = part, context
        self.probes = Probes(context, part, context.task.pipeline)
        self.found, self.lost_ones, self.took = [], [], []

    def rehearse(self):
        self.probes.device.measure()

    def receive(self, src, body, tensors):
        found = self.probes.take(src, body)
        if found is not None:
            self.found.append((src.owner, found))
            self.took.append((self.probes.said, self.probes.took))

    def awake(self, token):
        lost = self.probes.expired(token)
        if lost is not None:
            self.lost_ones.append((self.context.now(), lost))


class Worker(Quiet):
    """A stage of somebody on an edge server: it has so much memory, and works when told."""

    def __init__(self, part, context):
        self.id, self.context, self.bytes = part, context, 0

    def receive(self, src, body, tensors):
        pass

    def need(self):
        return self.bytes

    def work(self, seconds):
        with self.context.work(self.id, "forward", None, seconds=seconds):
            pass


def world(tmp_path, *, owners=("d1",), up=UP, down=DOWN, profile="approximate", memory=None, delay=DELAY, **kw):
    task = make_task(tmp_path, owners=owners, model=MODEL)
    times = dict.fromkeys(operations(LAYERS[MODEL]), LAYER_S)
    settings = msgspec.structs.replace(
        task.pipeline, times=times, probing="adaptive", profile=profile, memory=memory or {}
    )
    task = msgspec.structs.replace(task, pipeline=settings)

    def make(part, context):
        if part.role == "prober":
            return Prober(part, context)
        return Driver(part, context) if part.role == "stage0" else Worker(part, context)

    net = Links(task, (*owners, *EDGES, "cloud"), make, up=dict.fromkeys(owners, up), down=dict.fromkeys(owners, down),
                delay=delay, **kw)  # fmt: skip
    for name in net.hosts:
        net.hosts[name].rehearse()
    for clock in net.clocks.values():
        clock.time = 100.0
    for name in net.hosts:
        net.hosts[name].begin()
    net.spans.clear()
    net.sent.clear()
    return net


def driver(net, name="d1"):
    return net.hosts[name].parts[PartId("t", "stage0", name)]


def probe(net, server="ea", name="d1"):
    """Probe a server; what that found."""
    one = driver(net, name)
    net.push(name, net.clocks[name].time, lambda: one.probes.start(server))
    net.run()
    assert one.found
    assert one.found[-1][0] == server
    return one.found[-1][1]


def stage(net, server, owner, number=1):
    """Somebody's stage on a server, as if it had been opened there."""
    host, part = net.hosts[server], PartId("t", f"stage{number}", owner)
    return host.parts.setdefault(part, Worker(part, host))


def send(net, to, size, index=0):
    """The driver hands so many bytes of activations to the network."""
    part = PartId("t", "stage1", "d1")
    body = Activations(Work(1, 0, index, 1))
    net.hosts["d1"].send(driver(net).id, part, body, {"x": np.zeros(size, np.uint8)}, node=to)


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


# --- speed and load -------------------------------------------------------------------------------------


def test_ratio_is_that_of_the_speeds(tmp_path) -> None:
    net = world(tmp_path, speeds={"d1": 0.25, "ea": 2.0, "eb": 0.5})
    assert probe(net, "ea").ratio == pytest.approx(1 / 8)
    assert probe(net, "eb").ratio == pytest.approx(1 / 2)
    asked = [span.attrs["op"] for span in net.spans_of("probe") if span.node == "ea"]
    assert len({op.partition(".")[2] for op in asked}) == HEAVIEST
    assert driver(net).found[0][1].profile is None


def test_others_work_since_the_last_probe_is_in_the_ratio(tmp_path) -> None:
    """Another owner keeps the server busy for 60 % of the time: 2.5 times as large. Its own stages do not count."""
    net = world(tmp_path, owners=("d1", "d2"))
    assert probe(net).ratio == pytest.approx(1.0, rel=1e-6)
    began = net.spans_of("probed")[-1].end
    theirs, mine = stage(net, "ea", "d2"), stage(net, "ea", "d1")
    for i in range(100):
        net.push("ea", began + 0.1 * i, lambda: (theirs.work(0.06), mine.work(0.02)))
    net.run()
    net.clocks["d1"].time = net.clocks["ea"].time = began + 10.0
    assert probe(net).ratio == pytest.approx(2.5, rel=0.05)
    net.clocks["d1"].time = net.clocks["ea"].time = began + 20.0
    assert probe(net).ratio == pytest.approx(1.0, rel=0.01), "what was before the last probe does not count"


def test_each_device_has_its_own_last_probe_and_other_owners(tmp_path) -> None:
    net = world(tmp_path, owners=("d1", "d2"))
    theirs = stage(net, "ea", "d2")
    for i in range(50):
        net.push("ea", 100 + 0.1 * i, lambda: theirs.work(0.05))
    net.run()
    for name in ("d1", "d2", "ea"):
        net.clocks[name].time = 105.0
    assert probe(net).ratio == pytest.approx(2.0, rel=0.05)
    assert probe(net, name="d2").ratio == pytest.approx(1.0, rel=0.01)


def test_a_full_probe_has_all_layers_and_an_approximate_one_no_profile(tmp_path) -> None:
    net = world(tmp_path, profile="full", speeds={"d1": 0.25, "ea": 0.5})
    found, own = probe(net), driver(net).probes.device.profile
    assert found.profile is not None
    assert found.profile.kind == "full"
    for here, there in zip(own.layers, found.profile.layers, strict=True):
        assert here.forward == pytest.approx(4 * LAYER_S)
        assert there.forward == pytest.approx(2 * LAYER_S)
        assert (there.backward, there.update) == (pytest.approx(2 * LAYER_S), pytest.approx(2 * LAYER_S))
        assert (there.activation, there.weights) == (here.activation, here.weights)
    assert found.profile.loss == pytest.approx(2 * LAYER_S)
    assert found.ratio == pytest.approx(0.5)


def test_work_is_bounded(tmp_path) -> None:
    """Each layer takes half a second on this server: there is one repeat, not three."""
    net = world(tmp_path, speeds={"ea": LAYER_S / 0.5})
    probe(net)
    ops = [span.attrs["op"] for span in net.spans_of("probe")]
    assert len(ops) == len(set(ops)) == 3 * HEAVIEST


# --- the device itself ----------------------------------------------------------------------------------


def test_own_times_are_measured_as_this_node_is_paced(tmp_path) -> None:
    net = world(tmp_path, speeds={"d1": 0.1})
    host = net.hosts["d1"]
    host.rehearse()
    own = driver(net).probes.device.profile
    assert [one.forward for one in own.layers] == pytest.approx([10 * LAYER_S] * len(own.layers))
    assert own.loss == pytest.approx(10 * LAYER_S)
    events = net.spans_of("profile")
    assert len(events) == 3 * (3 * len(own.layers) + 1)
    host.tell_windows(last=True)
    assert not net.spans_of("speed"), "rehearsed work is not training"


def test_own_times_before_they_are_measured(tmp_path) -> None:
    net = world(tmp_path)
    with pytest.raises(RunError, match="not measured"):
        _ = Probes(net.hosts["d1"], PartId("t", "stage0", "d1"), net.task.pipeline).device.profile


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


# --- admission ------------------------------------------------------------------------------------------


def test_memory_is_what_the_operator_gives_less_what_others_have(tmp_path) -> None:
    most = 64 << 20
    net = world(tmp_path, owners=("d1", "d2"), memory={"ea": most})
    free = probe(net).memory
    assert free is not None
    assert 0.5 * most < free < most, "something is kept back for probes' own work"
    stage(net, "ea", "d2").bytes = 8 << 20
    stage(net, "ea", "d1").bytes = 4 << 20
    found = probe(net)
    assert found.memory == free - (8 << 20), "its own stage would make way"
    assert found.admits
    stage(net, "ea", "d2").bytes = 64 << 20
    found = probe(net)
    assert (found.memory, found.admits) == (0, False)
    assert found.why == "no memory left of 64 MiB for stages, which d2 has"
    assert probe(net, "eb").memory is None
    assert probe(net, "eb").admits


def test_a_stage_is_refused_by_the_same_count(tmp_path) -> None:
    owners = ("d1", "d2")
    net = world(tmp_path, owners=owners)
    layout = PipelineLayout((0, 1, 3, len(LAYERS[MODEL])), ("d1", "ea", "eb"), (3, 2, 1))
    need = _admission.stage_need(net.task, layout, 1)
    assert need > 0
    assert _admission.refusal(net.hosts["ea"], layout, 1, "d1") is None
    net = world(tmp_path, owners=owners, memory={"ea": need})
    assert _admission.refusal(net.hosts["ea"], layout, 1, "d1") is None
    stage(net, "ea", "d1", 2).bytes = need
    assert _admission.refusal(net.hosts["ea"], layout, 1, "d1") is None
    stage(net, "ea", "d2").bytes = 1 << 20
    told = _admission.refusal(net.hosts["ea"], layout, 1, "d1")
    assert told is not None
    assert told.startswith("needs ")
    assert " MiB, has " in told


def test_a_probe_of_layers_that_there_are_not(tmp_path) -> None:
    net = world(tmp_path)
    prober = net.hosts["ea"].parts[PartId("t", "prober", "ea")]
    with pytest.raises(WireError, match="does not have"):
        prober.receive(PartId("t", "stage0", "d1"), Probe(1, 1, 0, 0, layers=("attic",), repeats=1), {})
    with pytest.raises(WireError, match="Activations"):
        prober.receive(PartId("t", "stage0", "d1"), Activations(Work(1, 0)), {})


# --- placement ------------------------------------------------------------------------------------------


def test_every_edge_server_has_a_prober_and_local_training_has_none() -> None:
    members = Members(("d1", "d2"), {"d1": "ea", "d2": "eb"}, "cloud", EDGES)
    placed = {p.part.owner: p.node for p in get("edgemove").place("t", members) if p.part.role == "prober"}
    assert placed == {edge: edge for edge in EDGES}
    assert not [p for p in get("local").place("t", members) if p.part.role == "prober"]
