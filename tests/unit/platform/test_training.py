"""One round by functions: the same weights to the bit as the present runtime comes to."""

from collections import deque
from functools import partial

import msgspec
import numpy as np
import pytest

from nodes import schemes
from nodes.learn import models, tensorfile
from nodes.learn.digest import weights_digest
from nodes.learn.pacing import Pacer
from nodes.platform.instances import Pool
from nodes.platform.outcomes import Invocation
from nodes.platform.store import Store
from nodes.platform.streaming import Parts
from nodes.policies.layers import LAYERS
from nodes.runtime.host import Host
from nodes.schemes._arrays import to_arrays
from nodes.wire import codec
from nodes.wire import control as ctl
from nodes.wire.messages import Activations, Envelope, Gradients, PartId, Update, Work
from nodes.wire.pipeline_messages import Delivered
from tests.unit.platform.pools import drive, invoke
from tests.unit.runtime.memory import Net, _Port

MEMORY = 2 << 30


class Again(Net):
    """The present runtime on a task as it is, with the files as they are now."""

    def __init__(self, task):
        self.moves, self.damage, self.late_notices = {}, None, False
        self.queue, self.spans, self.said = deque(), [], []
        make = schemes.get(task.scheme).make
        self.hosts = {p.node: Host(p.node, task, Pacer(None), _Port(self, p.node), make) for p in task.placement}


class Units:
    """Several units' pools; what one agent sends to another is passed on by a function."""

    def __init__(self, directory, names):
        self.said = []
        self.frames = []
        self.notes = []
        self.hear = lambda unit, message: None
        self.pools, self.parts = {}, {}
        for name in names:
            pool = self.pools[name] = Pool(
                Store(directory / f"store-{name}"), MEMORY,
                forward=lambda *what, name=name: self.parts[name].forward(*what),
                say=lambda invocation, frame, name=name: self.listen(name, ctl.from_node(frame)),
            )  # fmt: skip
            send = partial(self.carry, name)
            self.parts[name] = Parts(name, pool, send, note=self.notes.append)

    def carry(self, src, node, frames):
        envelope, _ = codec.decode(frames)
        self.frames.append((src, node, envelope, codec.size(frames)))
        if node in self.parts:  # on a busy machine heads lose patience, and ask servers that are no units here, too
            self.parts[node].arrive(src, frames)

    def listen(self, name, message):
        self.said.append((name, message))
        self.hear(name, message)

    def keep(self, arrays):
        """Put a blob into every store."""
        [digest] = {pool.store.put(arrays) for pool in self.pools.values()}
        return digest

    def submit(self, name, function, part, found, **more):
        self.parts[name].submit(Invocation(function, parts=(part,), **more), found.append)

    def drive(self, over):
        drive(list(self.pools.values()), over)

    def close(self):
        for pool in self.pools.values():
            pool.close()


@pytest.fixture
def units(tmp_path):
    made = []

    def make(*names):
        made.append(Units(tmp_path, names))
        return made[-1]

    yield make
    for one in made:
        one.close()


def start(net):
    """The task of a network in memory, and the model that its first round starts from."""
    task = net.hosts["cloud"].task
    return task, to_arrays(models.build(task.model, task.seed, tuple(task.in_shape), task.classes).state_dict())


def test_fedavg_by_functions_ends_with_the_same_weights(tmp_path, units):
    net = Net(tmp_path, "fedavg", rounds=2)
    task, initial = start(net)
    done = net.run()
    bed = units("d1")  # one pool for all of it: units differ in nothing that the weights depend on
    pool = bed.pools["d1"]
    model = pool.store.put(initial)
    for number in (1, 2):
        updates = {}
        for owner in task.owners:
            got = invoke(
                pool, "train-device", inputs={"weights": model},
                values={"task": task, "node": owner, "owner": owner, "round": number},
            )  # fmt: skip
            assert got.ok, got.reason
            updates[owner] = got
        got = invoke(
            pool, "aggregate", inputs={"models": {o: u.outputs["weights"] for o, u in updates.items()}},
            values={"samples": {o: float(u.values["samples"]) for o, u in updates.items()}},
        )  # fmt: skip
        model = got.outputs["weights"]
    assert model == done.weights_sha256  # a blob is called what it is
    found = invoke(pool, "evaluate", inputs={"weights": model}, values={"task": task, "node": "cloud"})
    assert (found.values["accuracy"], found.values["loss"]) == (done.accuracy, done.loss)
    assert (pool.cold["train-device"], pool.warm["train-device"]) == (1, 3)
    steps = [s for _, m in bed.said if isinstance(m, ctl.Events) for s in m.spans if s.kind == "step"]
    assert len(steps) == 2 * 2 * 5
    assert [m.done for _, m in bed.said if isinstance(m, ctl.Progress)] == [1, 2, 3, 4, 5] * 4


def pair(bed, task, number, model, owner, edge):
    """Invoke both halves of an owner's round; their outcomes."""
    found = {"head": [], "tail": []}
    values = {"task": task, "owner": owner, "round": number}
    bed.submit(
        owner, "train-device", PartId(task.id, "head", owner), found["head"], inputs={"weights": model},
        values={**values, "node": owner},
    )  # fmt: skip
    bed.submit(
        edge, "train-edge", PartId(task.id, "tail", owner), found["tail"], inputs={"weights": model},
        values={**values, "node": edge},
    )  # fmt: skip
    return found


def placed(task, **where):
    """The task with its tail elsewhere."""
    rows = [msgspec.structs.replace(p, node=where.get(p.part.role, p.node)) for p in task.placement]
    return msgspec.structs.replace(task, placement=tuple(rows))


def test_splitfed_by_a_streaming_pair_ends_with_the_same_weights(tmp_path, units):
    net = Net(tmp_path, "splitfed", devices=("d1",), rounds=2)
    task, initial = start(net)
    done = net.run()
    bed = units("d1", "ea")
    model = bed.keep(initial)
    for number in (1, 2):
        found = pair(bed, task, number, model, "d1", "ea")
        bed.drive(lambda found=found: found["head"] and found["tail"])
        [head], [tail] = found["head"], found["tail"]
        assert (head.reason, tail.reason) == ("", "")
        assert not head.outputs
        assert (tail.values["samples"], tail.values["batches"]) == (160, 10)
        model = tail.outputs["weights"]
        bed.pools["d1"].store.put(bed.pools["ea"].store.get(model))
    assert model == done.weights_sha256
    names = [type(envelope.body).__name__ for _, _, envelope, _ in bed.frames]
    # The model itself never goes over the link: both have it by its digest.
    assert sorted(set(names)) == ["Activations", "Delivered", "Gradients", "Update"]
    assert names.count("Activations") == names.count("Gradients") == 2 * 10
    sent = sum(size for src, _, _, size in bed.frames if src == "d1")
    assert bed.pools["ea"].warm["train-edge"] == 1
    assert 0 < head.sent_bytes < sent  # of its own round alone
    assert head.sent_bytes == tail.received_bytes


def test_the_half_that_is_there_first_does_not_wait_for_the_other(tmp_path, units):
    net = Net(tmp_path, "splitfed", devices=("d1",), rounds=1)
    task, initial = start(net)
    done = net.run()
    bed = units("d1", "ea")
    model = bed.keep(initial)
    heads, tails = [], []
    values = {"task": task, "owner": "d1", "round": 1}
    more = {"inputs": {"weights": model}}
    bed.submit("d1", "train-device", PartId("t", "head", "d1"), heads, values={**values, "node": "d1"}, **more)
    bed.drive(lambda: bed.parts["ea"].held_bytes)  # its first batch has come, and nobody has heard of the tail
    bed.submit("ea", "train-edge", PartId("t", "tail", "d1"), tails, values={**values, "node": "ea"}, **more)
    assert bed.parts["ea"].held_bytes == 0
    bed.drive(lambda: heads and tails)
    assert tails[0].outputs["weights"] == done.weights_sha256
    assert not bed.notes


def train_on(bed, task, model, done):
    """A round of two halves ends with the weights that it ends with elsewhere."""
    found = pair(bed, task, 1, model, "d1", "ea")
    bed.drive(lambda: found["head"] and found["tail"])
    assert (found["head"][0].reason, found["tail"][0].reason) == ("", "")
    assert found["tail"][0].outputs["weights"] == done.weights_sha256


def test_what_comes_of_an_attempt_that_was_given_up_ends_nothing(tmp_path, units):
    """The last words of both halves are still on their way when others begin the round again."""
    net = Net(tmp_path, "splitfed", devices=("d1",), rounds=1)
    task, initial = start(net)
    done = net.run()
    bed = units("d1", "ea")
    model = bed.keep(initial)
    head, tail = PartId(task.id, "head", "d1"), PartId(task.id, "tail", "d1")
    layers = LAYERS[task.model][: task.cut_of("d1")]
    mine = {name: array + 1 for name, array in initial.items() if name.partition(".")[0] in layers}
    bed.parts["ea"].arrive("d1", codec.encode(Envelope(head, tail, "d1", Update(1, 160, 10, 0.0)), mine))
    over = Envelope(PartId(task.id, "aggregator", ""), head, "ea", Delivered(1, 0))
    bed.parts["d1"].arrive("ea", codec.encode(over))
    train_on(bed, task, model, done)


def test_what_was_sent_for_an_attempt_with_another_cut_is_nobodys(tmp_path, units):
    net = Net(tmp_path, "splitfed", devices=("d1",), rounds=1)
    task, initial = start(net)
    done = net.run()
    bed = units("d1", "ea")
    model = bed.keep(initial)
    head, tail = PartId(task.id, "head", "d1"), PartId(task.id, "tail", "d1")
    batch = {"x": np.zeros((16, 3), np.float32), "y": np.zeros(16, np.int64)}
    bed.parts["ea"].arrive("d1", codec.encode(Envelope(head, tail, "d1", Activations(Work(1, 0)), pair=1), batch))
    gradient = {"g": np.zeros((16, 3), np.float32)}
    bed.parts["d1"].arrive("ea", codec.encode(Envelope(tail, head, "ea", Gradients(Work(1, 0), 0.0), pair=1), gradient))
    train_on(bed, msgspec.structs.replace(task, pair=2), model, done)
    assert {envelope.pair for _, _, envelope, _ in bed.frames} == {2}


def test_a_head_without_weights_is_sent_its_layers(tmp_path, units):
    net = Net(tmp_path, "splitfed", devices=("d1",), rounds=1)
    task, initial = start(net)
    done = net.run()
    bed = units("d1", "ea")
    model = bed.pools["ea"].store.put(initial)
    heads, tails = [], []
    values = {"task": task, "owner": "d1", "round": 1}
    bed.submit("d1", "train-device", PartId("t", "head", "d1"), heads, values={**values, "node": "d1"})
    bed.submit(
        "ea", "train-edge", PartId("t", "tail", "d1"), tails, inputs={"weights": model},
        values={**values, "node": "ea", "ship": True},
    )  # fmt: skip
    bed.drive(lambda: heads and tails)
    assert tails[0].outputs["weights"] == done.weights_sha256


@pytest.mark.parametrize(("scheme", "strategy"), [("fedfly", "migrate"), ("splitfed", "restart")])
def test_a_pair_survives_a_handover_in_the_middle_of_its_round(tmp_path, units, scheme, strategy):
    net = Net(tmp_path, scheme, devices=("d1",), rounds=1, strategy=strategy)
    task, initial = start(net)
    done = net.run()
    bed = units("d1", "ea", "eb")
    model = bed.keep(initial)
    found = pair(bed, task, 1, model, "d1", "ea")
    new = []

    def move(name, message):
        if isinstance(message, ctl.Progress) and message.done == 2 and not bed.hear_once:
            bed.hear_once = True
            bed.submit(
                "eb", "train-edge", PartId("t", "tail", "d1"), new, inputs={"weights": model},
                values={"task": task, "owner": "d1", "round": 1, "node": "eb"},
            )  # fmt: skip
            assert bed.parts["d1"].tell(PartId("t", "head", "d1"), ctl.encode(ctl.Notice("t", "eb", False)))

    bed.hear_once, bed.hear = False, move
    bed.drive(lambda: found["head"] and new and found["tail"])
    assert (new[0].reason, found["head"][0].reason) == ("", "")
    assert new[0].outputs["weights"] == done.weights_sha256
    assert found["tail"][0].values["moved"] == "eb"
    assert not found["tail"][0].outputs


def test_a_share_of_the_samples_is_a_shard_of_its_own(tmp_path, units):
    net = Net(tmp_path, "fedavg", devices=("d1",), rounds=1)
    task, initial = start(net)
    bed = units("d1")
    pool = bed.pools["d1"]
    model = pool.store.put(initial)
    indices = np.arange(0, 80, 2)
    keep = pool.store.put({"indices": indices})
    values = {"task": task, "node": "d1", "owner": "d1", "round": 1}
    got = invoke(pool, "train-device", inputs={"weights": model, "keep": keep}, values=values)
    assert got.ok, got.reason
    assert got.values["samples"] == 40
    # As a device trains that has no other samples.
    arrays, about = tensorfile.read(tmp_path / "d1.safetensors")
    tensorfile.write(tmp_path / "d1.safetensors", {n: a[indices] for n, a in arrays.items()}, about)
    assert got.outputs["weights"] == Again(task).run().weights_sha256
    bad = pool.store.put({"indices": np.array([3, 80])})
    got = invoke(pool, "train-device", inputs={"weights": model, "keep": bad}, values=values)
    assert got.kind == "raised"
    assert "wanted: different numbers from 0 to 39" in got.reason


def test_a_model_is_named_alike_with_and_without_torch(tmp_path):
    net = Net(tmp_path, "fedavg", rounds=1)
    _, initial = start(net)
    built = models.build("cnn", 3).state_dict()
    assert Store(tmp_path / "s").put(initial) == weights_digest(built)
