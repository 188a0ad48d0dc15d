"""Labels that stay: every frame that leaves the device in a training is accounted for, and none of them has labels.

Contents are encrypted on the way (CURVE), so a capture shows how many frames leave the device and how large they are,
and not what is in them. What, the nodes record: each message's size and its tensors. Both sides must agree to the byte;
what no record has (requests, the opening of connections, heartbeats) must be as large as it is without labels.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import pytest

from nodes.learn import models
from nodes.policies import layouts
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.wire import codec
from nodes.wire.messages import Body, Envelope, Fetch, Hello, Open, PartId
from testbed import Experiment
from testbed.run.experiment import StandingBed
from tests.system.captures import Capture, Frame
from tests.system.test_edgemove import MICRO, train

pytestmark = [pytest.mark.root, pytest.mark.docker]

ROUNDS, BATCH, SAMPLES = 2, 16, 480
EXPERIMENT = f"""
name: labels
seed: 1
sites:
  north: {{edge: {{profile: edge}}}}
cloud: {{profile: centre}}
devices:
  dev: {{profile: device, at: north}}
profiles:
  device: {{speed: 0.6, memory: 384MiB}}
  edge: {{speed: 0.5, memory: 384MiB}}
  centre: {{speed: 0.2, memory: 384MiB}}
links:
  access: {{rate: 100Mbit, delay: 1ms}}
  north -- cloud: {{rate: 100Mbit, delay: 2ms}}
workload:
  scheme: edgemove
  model: cnn
  data: {{set: digits, train: {SAMPLES}, test: 40}}
  rounds: {ROUNDS}
  batch: {BATCH}
emulation: {{speed_check: 0s}}
tolerances: {{late_steps: 100%, starved: 100%, link_late: 1s}}
"""
U_SHAPED = (("device", 2), ("nearest", 2), ("device", 1))
TWO = (("device", 2), ("nearest", 3))
BATCHES = SAMPLES // BATCH
PIECES = ROUNDS * BATCHES * MICRO
PIECE = BATCH // MICRO
LABELS: Frame = ("MESSAGE", 8 * PIECE)
"""The labels of a micro-batch, where they leave."""
HEARTBEATS: set[Frame] = {("MESSAGE", 7), ("MESSAGE", 5)}
"""ZMTP's PING (its name with a length, and a time to live) and PONG."""
BEAT_S = 2.0
PEERS = 2
"""The edge server and the cloud: both ends of a connection ask for heartbeats."""


@dataclass(frozen=True)
class Trained:
    """A training: its weights, what the device sent as nodes recorded it, and what left it as captured."""

    weights: str
    sent: list[dict[str, Any]]
    capture: Capture
    seconds: float

    def kinds(self) -> set[tuple[str, str]]:
        """Recorded messages with their tensors."""
        return {(event["attrs"]["message"], event["attrs"]["tensors"]) for event in self.sent}


def trained(bed: StandingBed, **pipeline: Any) -> Trained:
    begin = time.monotonic()
    with Capture(bed.session.bed, "dev") as capture:
        summary, events = train(bed, schedule="sync", **pipeline)
    assert (capture.missed, capture.dropped, capture.others) == (0, 0, [])
    sent = [event for event in events if event["kind"] == "send" and event["node"] == "dev"]
    return Trained(summary["weights_sha256"], sent, capture, time.monotonic() - begin)


def layout_of(plan: tuple[tuple[str, int], ...], labels: str) -> PipelineLayout:
    return layouts.fixed(
        plan, layers=len(LAYERS["cnn"]), cut=2, device="dev", nearest="edge-north", schedule="sync", micro=MICRO,
        depth=None, stages=len(plan), labels=labels,
    )  # fmt: skip


def recorded(sent: list[dict[str, Any]], layout: PipelineLayout) -> Counter[Frame]:
    """Frames of the recorded messages: each tensor as large as its name says, and what is left for the header."""
    shapes, weights = models.shapes("cnn", (3, 32, 32), 10), models.build("cnn", 0, (3, 32, 32), 10).state_dict()
    pieces = {
        "x": 4 * PIECE * prod(shapes[layout.bounds[1]]),
        "g": 4 * PIECE * prod(shapes[layout.bounds[-2]]),
        "y": LABELS[1],
    }
    frames: Counter[Frame] = Counter()
    for event in sent:
        sizes: list[int] = []
        for name in filter(None, event["attrs"]["tensors"].split(",")):
            layer = name.removesuffix("*")
            sizes += [pieces[name]] if name in pieces else [t.nbytes for k, t in weights.items() if k.startswith(layer)]
        header = event["bytes"] - sum(sizes)
        assert 0 < header < 300, event
        frames.update(("MESSAGE", size) for size in (header, *sizes))
    return frames


def requests(layout: PipelineLayout, *, opening: bool) -> Counter[Frame]:
    """Messages of the device that no record has, as they have no tensors: greetings, a layout, asking for weights."""
    stages = [PartId("edgemove", f"stage{number}", "dev") for number in range(layout.stages)]
    cloud, nobody = PartId("edgemove", "aggregator", ""), PartId("", "", "")
    asked: list[tuple[PartId, PartId, Body, float]] = [(nobody, nobody, Hello(), 0.0)] * (PEERS * opening)
    versions = (0, *(2 for _ in stages[1:]))  # of placements: those that the driver decides on go up by two
    asked.append((stages[0], stages[1], Open(1, 0, 2, layout, BATCHES, versions), 1.0))
    for number in range(layout.stages):
        if layout.nodes[number] == "dev":
            layers = LAYERS["cnn"][slice(*layout.layers(number))]
            asked += [(stages[number], cloud, Fetch(at, 0, layers), 1.0) for at in range(1, ROUNDS + 1)]
    headers = [codec.encode(Envelope(src, dst, "dev", body, sent=at))[0] for src, dst, body, at in asked]
    return Counter(("MESSAGE", len(header)) for header in headers)


def require_settled(found: Trained, layout: PipelineLayout, *, opening: bool) -> None:
    """Every frame that left the device is accounted for, all but a small share of their bytes by recorded messages."""
    frames, told = found.capture.frames, recorded(found.sent, layout)
    assert not told - frames, "what nodes recorded was captured"
    rest = frames - told
    share = sum(size * count for (_, size), count in rest.items()) / found.capture.payload
    print(f"{found.capture.payload} bytes left the device, {share:.4%} of them in no recorded message")
    assert share < 1e-3
    assert not requests(layout, opening=opening) - rest
    rest -= requests(layout, opening=opening)
    handshakes = Counter(name for name, _ in rest.elements() if name != "MESSAGE")
    assert handshakes == (Counter(HELLO=PEERS, INITIAT=PEERS) if opening else Counter())
    beats = Counter({frame: count for frame, count in rest.items() if frame[0] == "MESSAGE"})
    assert set(beats) <= HEARTBEATS, "frames that nobody can account for"
    assert max(beats.values(), default=0) <= PEERS * (found.seconds / BEAT_S + 1)


def test_labels_that_stay_are_in_nothing_that_leaves_the_device(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(EXPERIMENT)
    with Experiment.load(path).up(runs=tmp_path) as bed:
        stayed = trained(bed, plan=U_SHAPED, labels="stay")
        assert stayed.kinds() == {
            ("activations", "x"), ("gradients", "g"), ("update", "conv1.*"), ("update", "fc.*"), ("model", ""),
        }  # fmt: skip
        assert LABELS not in stayed.capture.frames
        require_settled(stayed, layout_of(U_SHAPED, "stay"), opening=True)

        # With labels that leave, both sides have them; and the weights are those that they were trained with before.
        went = trained(bed, plan=TWO, labels="leave")
        assert went.kinds() == {("activations", "x,y"), ("update", "conv1.*"), ("model", "")}
        assert went.capture.frames[LABELS] == PIECES
        require_settled(went, layout_of(TWO, "leave"), opening=False)
        assert went.weights == stayed.weights
