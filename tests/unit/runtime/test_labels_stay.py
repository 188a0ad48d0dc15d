"""Labels that stay on the device: nothing that leaves it has them, in whatever tensor, or tells of them in its form."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nodes.learn import shards
from nodes.learn.shards import Batches
from nodes.policies.layers import LAYERS
from nodes.wire.messages import Activations, Gradients, Update
from tests.unit.runtime.pipelines import EDGES, Network, make_task

TASKS = [("", model) for model in sorted(LAYERS)] + [
    ("digits", "cnn"), ("motion", "cnn1d"), ("motion", "mlp"), ("docstrings", "transformer")
]  # fmt: skip
LARGE = {"vgg11", "resnet18", "mobilenetv3-small"}
SMALL = [("", "cnn"), ("", "vgg5"), ("motion", "mlp"), ("docstrings", "transformer")]


@st.composite
def u_shapes(draw: st.DrawFn, model: str) -> tuple[tuple[str, int], ...]:
    """Three or four stages, the first and the last one on the device; raw samples stay there."""
    layers = len(LAYERS[model])
    inner = draw(st.integers(1, min(2, layers - 2)))
    cuts = draw(st.lists(st.integers(1, layers - 1), min_size=inner + 1, max_size=inner + 1, unique=True))
    nodes = ["device", *(draw(st.sampled_from(["nearest", *EDGES])) for _ in range(inner)), "device"]
    return tuple((node, b - a) for node, (a, b) in zip(nodes, pairwise([0, *sorted(cuts), layers]), strict=True))


def leaving(net):
    """What goes from an owner's device to another node, in order: (owner, where to, body, tensors)."""
    return [one for one in net.sent if one[0] in net.task.owners and one[1] != one[0]]


def needles(task, owner):
    """Labels of an owner as they may be looked for: of all samples, of each batch, of each micro-batch.

    Those that numbers could come to by chance are left out: two labels that are not 0 and not alike are none of those.
    """
    shard = shards.read(Path(task.data[owner]))
    batches = Batches(shard, task.seed, owner, task.batch)
    found = [shard.y]
    for number in range(1, task.rounds + 1):
        for batch in (batches.labels(number, i) for i in range(len(batches))):
            found += [batch, *batch.chunk(task.pipeline.micro)]
    kept = [y.numpy() for y in found if len(set(y.tolist()) - {0}) >= 2]
    assert len(kept) > len(found) / 2
    return kept


def contains(array, labels, packed):
    """Whether labels stand one after the other in an array, as numbers of any type; all of it, if it is packed."""
    flat = array.reshape(-1)
    places = len(flat) - len(labels) + 1
    if places < 1 or (packed and places > 1):
        return False
    here = np.ones(places, dtype=bool)
    for at, label in enumerate(labels):
        here &= flat[at : at + places] == label
        if not here.any():
            return False
    return True


def leaks(net):
    """Tensors with labels, or of whole numbers, that leave a device: (message, name)."""
    searched = {owner: needles(net.task, owner) for owner in net.task.owners}
    found = []
    for owner, _, body, tensors in leaving(net):
        for name, array in tensors.items():
            packed = isinstance(body, Activations | Gradients) and array.dtype.name in ("int8", "float16")
            counter = isinstance(body, Update) and name.endswith("num_batches_tracked") and array.ndim == 0
            whole = array.dtype.kind in "iub" and not packed and not counter
            if whole or any(contains(array, labels, packed) for labels in searched[owner]):
                found.append((type(body).__name__, name))
    return found


def made_for(data, model):
    """A small task of a model, on noise or on a data set that is built in."""
    made = {"model": model, "batch": 8, "rounds": 1 if model in LARGE else 2}
    return made | ({"data": data} if data else {"samples": 16, "side": 16 if model in LARGE else 8})


@pytest.mark.parametrize(("data", "model"), TASKS)
@given(drawn=st.data(), schedule=st.sampled_from(["sync", "1f1b", "sequential"]), micro=st.sampled_from([1, 2, 4]),
       compress=st.sampled_from(["none", "none", "fp16", "int8"]), seed=st.integers(0, 99))  # fmt: skip
@settings(max_examples=4, deadline=None, phases=[Phase.generate])  # what leaks does so in the smallest case, too
def test_no_labels_and_no_whole_numbers_leave_the_device(data, model, drawn, schedule, micro, compress, seed) -> None:
    plan = drawn.draw(u_shapes(model))
    with tempfile.TemporaryDirectory() as scratch:
        task = make_task(
            Path(scratch), owners=("d1", "d2"), schedule=schedule, micro=micro, compress=compress, plan=plan,
            labels="stay", stages=4, **made_for(data, model),
        )  # fmt: skip
        net = Network(task, shuffle=seed)
        net.run()
        assert {owner for owner, *_ in leaving(net)} == {"d1", "d2"}
        assert leaks(net) == []


@pytest.mark.parametrize(("data", "model"), SMALL)
def test_labels_that_leave_are_found(tmp_path, data, model) -> None:
    """The search finds them where they are: in each of the activations, and nowhere else."""
    task = make_task(tmp_path, owners=("d1", "d2"), micro=2, **made_for(data, model))
    net = Network(task)
    net.run()
    found = leaks(net)
    assert {name for _, name in found} == {"y"}
    assert len(found) == sum(isinstance(body, Activations) for _, _, body, _ in leaving(net)) > 0
    hidden = [(*one[:3], {"x": one[3]["y"].astype(np.float32)}) for one in leaving(net) if "y" in one[3]]
    net.sent = hidden
    assert len(leaks(net)) > len(hidden) / 2  # as numbers like others they are found, too, unless they are all alike


@pytest.mark.parametrize("schedule", ["sync", "1f1b", "sequential"])
@pytest.mark.parametrize(("data", "model"), SMALL)
def test_other_labels_change_gradients_alone(tmp_path, data, model, schedule) -> None:
    """Until weights are updated, all but gradients is the same with other labels, and the form of all of it always."""
    sent = []
    for shift in (0, 1):
        place = tmp_path / str(shift)
        place.mkdir()
        task = make_task(place, micro=4, schedule=schedule, labels="stay", stages=3, **made_for(data, model))
        _turn(Path(task.data["d1"]), shift)
        net = Network(task)
        net.run()
        sent.append([one[1:] for one in leaving(net)])
    one, other = ([_form(*message) for message in found] for found in sent)
    assert len(one) == len(other)
    assert [a for a, b in zip(one, other, strict=True) if a != b] == []
    one, other = ([_content(*message) for message in found if _untaught(message[1])] for found in sent)
    assert [a[:2] for a, b in zip(one, other, strict=True) if a != b] == []
    assert sum(isinstance(body, Activations) for _, body, _ in one) == 4
    one, other = ([_content(*m) for m in found if isinstance(m[1], Gradients)] for found in sent)
    assert one
    assert all(a != b for a, b in zip(one, other, strict=True))


def _turn(path, shift):
    """Make every label another one."""
    shard = shards.read(path)
    y = (shard.y + shift) % shard.classes
    path.unlink()
    shards.write(path, shard.x.numpy(), y.numpy(), shard.classes, shard.mean, shard.std)


def _untaught(body):
    """Whether a message is none that labels have had a part in: nothing has been updated yet."""
    if isinstance(body, Activations):
        return (body.work.round, body.work.batch) == (1, 0)
    return not isinstance(body, Gradients | Update)


def _form(node, body, tensors):
    """All of a message but numbers: what it is, where it goes, and names, types and shapes of its tensors."""
    work = getattr(body, "work", None)
    return node, type(body), work, [(name, array.dtype.name, array.shape) for name, array in tensors.items()]


def _content(node, body, tensors):
    """All of a message, to be compared."""
    return node, body, {name: array.tobytes() for name, array in tensors.items()}
