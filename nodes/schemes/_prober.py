"""The server's side of probing: one part on each edge server that answers any device's probes.

It says how fast a device's train came, sends one back, does a little real training work and says what that took, how
much memory is left for stages, and how much of the compute time other owners have. The device's side, and what a probe
is as a whole, is `nodes.schemes._probes`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nodes.errors import WireError
from nodes.policies import trains
from nodes.policies.layers import LAYERS
from nodes.policies.trains import Sizes
from nodes.runtime.part import Context, Quiet
from nodes.schemes._admission import MIB, bytes_of, left, limit
from nodes.schemes._bench import Bench
from nodes.schemes._trains import FILL, Train, send_train
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, PartId
from nodes.wire.pipeline_messages import Fill, Ping, Pong, Probe, Probed

_FILLS = 2
"""Messages in answer to a wish for bytes."""


class Prober(Quiet):
    """Answers probes; see the module."""

    def __init__(self, part: PartId, context: Context) -> None:
        self.id = part
        self._context = context
        self._trains: dict[PartId, Train] = {}
        self._looked: dict[str, tuple[float, Mapping[str, float]]] = {}  # by owner: when, and seconds busy so far
        self._begun: tuple[float, Mapping[str, float]] = (context.now(), {})
        self._bench: Bench | None = None

    def rehearse(self) -> None:
        """All layers once: which ones devices will ask for is up to them. Where nobody probes, none."""
        settings = self._context.task.pipeline
        if settings is not None and settings.probing != "off":
            self._layers().rehearse()

    def begin(self) -> None:
        """Load is counted from here on."""
        self._begun = (self._context.now(), self._context.busy())

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A ping, a wish to be sent something, or a message of a train."""
        match body:
            case Ping():
                held = self._context.now() - self._context.arrival().at
                self._context.send(self.id, src, Pong(body.number, body.turn, held))
            case Fill():
                each = np.zeros(min(body.wanted, trains.MOST) // _FILLS, dtype=np.uint8)
                for left in reversed(range(_FILLS)):
                    self._context.send(self.id, src, Fill(left=left), {FILL: each})
            case Probe():
                train = self._trains.setdefault(src, Train())
                if train.add(body, self._context.arrival()):
                    self._answer(src, body, train)
            case _:
                raise WireError(f"{type(body).__name__} for {self.id}")

    def _answer(self, src: PartId, asked: Probe, train: Train) -> None:
        """First the train back, while nothing else keeps this node; then the work, and what was found."""
        load = self._load(src.owner)
        back = Sizes(min(asked.lead, trains.LEAD_MOST), min(asked.size, trains.MOST))
        if back.size:
            send_train(self._context, self.id, src, Probe(asked.number, asked.turn, 0, 0), back)
        times, worked = self._work(asked.layers, asked.repeats, asked.most, src.owner)
        memory, why = self._memory(src.owner)
        found = Probed(
            asked.number, asked.turn, train.rate, train.took, train.gap, times, worked, load, memory, not why, why,
        )  # fmt: skip
        self._context.send(self.id, src, found)

    def _work(
        self, names: tuple[str, ...], repeats: int, most: float, device: str
    ) -> tuple[dict[str, tuple[float, float]], float]:
        every = LAYERS[self._context.task.model]
        odd = [name for name in names if name not in every]
        if odd:
            raise WireError("a probe of layers that the model does not have", found=", ".join(odd[:4]))
        if not names:
            return {}, 0.0
        return self._layers().run(names, repeats, most, device, loss=names == every)

    def _layers(self) -> Bench:
        if self._bench is None:
            self._bench = Bench(self._context, self.id, "probe")
        return self._bench

    def _load(self, owner: str) -> float:
        """Share of the compute time that other owners' parts took since this owner's last probe."""
        now, busy = self._context.now(), self._context.busy()
        since, before = self._looked.get(owner, self._begun)
        self._looked[owner] = (now, busy)
        others = [name for name in self._context.task.owners if name != owner]
        took = sum(busy.get(name, 0.0) - before.get(name, 0.0) for name in others)
        return min(max(took / (now - since), 0.0), 1.0) if now > since else 0.0

    def _memory(self, owner: str) -> tuple[int | None, str]:
        """Bytes left for an owner's stages, and why there are none, if there are none."""
        task = self._context.task
        has = left(self._context, owner, self._reserve())
        if has is None or has > 0:
            return has, ""
        others = ", ".join(sorted(n for n, need in self._context.needs().items() if need and n != owner))
        most = limit(task, self._context.node) or 0
        return 0, f"no memory left of {most / MIB:.0f} MiB for stages" + (f", which {others} has" if others else "")

    def _reserve(self) -> int:
        """Bytes of the layers that probes are worked on: weights, gradients, momentum, and the way back of one."""
        layers = bytes_of(self._context.task).layers
        return 3 * sum(one.weights for one in layers) + max(one.memory + one.activation for one in layers)
