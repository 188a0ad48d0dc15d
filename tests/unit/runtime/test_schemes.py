"""Schemes end to end in one process: moves, restarts and exactness, without containers."""

import msgspec
import pytest

from nodes import schemes
from nodes.learn.pacing import Pacer
from nodes.runtime.host import Host
from nodes.wire.messages import PartId
from tests.unit.runtime.memory import Net


def digest(tmp_path, scheme, moves=None, **settings):
    net = Net(tmp_path, scheme, moves, **settings)
    return net.run().weights_sha256, net


@pytest.mark.parametrize(
    "moves",
    [
        {("d1", 1, 2): "eb"},
        {("d1", 1, 5): "eb"},  # after the last batch of a round
        {("d1", 2, 1): "eb", ("d2", 2, 1): "eb"},  # two at once to the same edge server
        {("d1", 1, 1): "eb", ("d1", 1, 3): "ea", ("d1", 2, 2): "eb"},  # there and back and there
    ],
)
def test_a_migrated_run_ends_with_the_same_weights(tmp_path, moves):
    still, _ = digest(tmp_path, "fedfly")
    moved, net = digest(tmp_path, "fedfly", moves)
    assert moved == still
    assert sum(s.kind == "capture" for s in net.spans) == len(moves)
    assert not net.moves


def test_a_notice_during_a_batch_takes_effect_with_that_batch(tmp_path):
    still, _ = digest(tmp_path, "fedfly")
    moved, net = digest(tmp_path, "fedfly", {("d1", 2, 2): "eb"}, late_notices=True)
    assert moved == still
    assert [s.batch for s in net.spans if s.kind == "tail-step" and s.node == "eb" and s.round == 2] == [3, 4]


def test_fedfly_and_splitfed_agree_where_nobody_moves(tmp_path):
    assert digest(tmp_path, "fedfly")[0] == digest(tmp_path, "splitfed")[0]


@pytest.mark.parametrize("late", [False, True])
def test_a_restart_repeats_the_round_and_ends_with_the_same_weights(tmp_path, late):
    still, calm = digest(tmp_path, "splitfed")
    # A notice that comes during the work of batch 2 takes effect after that batch.
    moved, net = digest(tmp_path, "splitfed", {("d1", 2, 2 if late else 3): "eb"}, late_notices=late)
    assert moved == still  # a clean restart trains the same batches from the same start
    count = [sum(s.kind == "forward" and s.node == "d1" for s in n.spans) for n in (calm, net)]
    assert count[1] - count[0] == 3
    assert not any(s.kind == "capture" for s in net.spans)
    [gave_up] = [s for s in net.spans if s.kind == "restart"]
    first = min(s.begin for s in net.spans if s.kind == "forward" and s.part == "head:d1" and s.round == 2)
    assert (gave_up.round, gave_up.batch, gave_up.begin) == (2, 3, first)
    assert gave_up.end > gave_up.begin


def test_every_batch_is_applied_once(tmp_path):
    _, net = digest(tmp_path, "fedfly", {("d1", 1, 2): "eb", ("d1", 2, 4): "ea"})
    steps = [(s.round, s.batch) for s in net.spans if s.kind == "tail-step" and s.part == "tail:d1"]
    assert sorted(steps) == sorted(set(steps)) == [(r, b) for r in (1, 2) for b in range(5)]


def test_a_relayed_device_keeps_its_edge_half_where_it_was(tmp_path):
    still, _ = digest(tmp_path, "fedfly")
    relayed, net = digest(tmp_path, "fedfly", {("d1", 1, 2): "eb"}, strategy="relay")
    assert relayed == still
    assert {s.node for s in net.spans if s.kind == "tail-step"} == {"ea"}


def test_a_damaged_state_is_refused_and_training_goes_on_at_the_source(tmp_path):
    def flip(tensors):
        name = next(n for n in tensors if tensors[n].dtype.name == "float32" and tensors[n].size)
        tensors[name].reshape(-1)[0] += 1

    still, _ = digest(tmp_path, "fedfly")
    moved, net = digest(tmp_path, "fedfly", {("d1", 1, 4): "eb"}, damage=flip)
    assert moved == still
    assert any("refused" in s.attrs.get("text", "") for s in net.spans)


@pytest.mark.parametrize("moves", [{}, {("d1", 1, 2): "eb", ("d2", 2, 1): "eb"}])
def test_devices_with_cuts_of_their_own_train_the_same_model(tmp_path, moves):
    alike, _ = digest(tmp_path, "fedfly")
    own, net = digest(tmp_path, "fedfly", moves, cuts={"d2": 3})
    assert own == alike
    sent = {s.node: s.bytes for s in net.spans if s.kind == "send" and s.attrs["message"] == "activations"}
    assert sent["d2"] > 1.4 * sent["d1"]  # 24 channels cross after the second convolution, 16 after the first pooling
    assert sum(s.kind == "capture" for s in net.spans) == len(moves)


@pytest.mark.parametrize(
    ("model", "cut", "data"), [("cnn1d", 2, "motion"), ("mlp", 1, "motion"), ("transformer", 1, "docstrings")]
)
def test_motion_and_text_train_under_every_scheme_and_move_exactly(tmp_path, model, cut, data):
    work = {"model": model, "cut": cut, "data": data}
    still, _ = digest(tmp_path, "splitfed", **work)
    assert digest(tmp_path, "fedavg", **work)[0] == still  # cut or whole, the model trains the same
    moved, net = digest(tmp_path, "fedfly", {("d1", 1, 2): "eb", ("d2", 2, 1): "eb"}, **work)
    assert moved == still
    assert sum(s.kind == "capture" for s in net.spans) == 2


def test_parts_are_paced_by_their_owners_cut(tmp_path):
    class Recorded(Pacer):
        def step(self, reference):
            paced.append(reference)
            return super().step(reference)

    paced: list[float] = []
    net = Net(tmp_path, "fedfly", cuts={"d2": 3}, rounds=1)
    task = msgspec.structs.replace(
        net.hosts["ea"].task, references={3: {"tail.step": 3e-6}}, reference={"tail.step": 2e-6}
    )
    host = Host("ea", task, Recorded(None), net.hosts["ea"]._transport, schemes.get("fedfly").make)
    for owner in ("d1", "d2"):
        with host.work(PartId("t", "tail", owner), "tail-step", "tail.step"):
            pass
    assert paced == [2e-6, 3e-6]
    host.rehearse(("tail",))  # parts of either cut


def test_averaging_whole_models_learns(tmp_path):
    net = Net(tmp_path, "fedavg", rounds=4)
    assert net.run().accuracy > 0.3  # ten classes: chance is 0.1
