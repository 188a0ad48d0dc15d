"""What probes tell of servers of known speeds, loads and memory, and what a device knows of itself."""

from __future__ import annotations

import pytest

from nodes.errors import RunError, WireError
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.schemes import _admission, get
from nodes.schemes._base import Members
from nodes.schemes._probes import HEAVIEST, Probes
from nodes.wire.messages import Activations, PartId, Work
from nodes.wire.pipeline_messages import Probe
from tests.unit.runtime.pipelines import EDGES
from tests.unit.runtime.probed import LAYER_S, MODEL, driver, probe, stage, world

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
