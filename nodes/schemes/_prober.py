"""The server's side of probing: one part on each edge server that answers any device's probes.

It says how fast a device's train came, sends one back, does a little real training work and says what that took, how
much memory is left for stages, and how much of the compute time other owners have. The device's side, and what a probe
is as a whole, is `nodes.schemes._probes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from nodes.errors import RunError, WireError
from nodes.learn.layer_work import LayerWork
from nodes.policies import trains
from nodes.policies.layers import LAYERS
from nodes.policies.profile import middle
from nodes.policies.trains import COUNT, Sizes
from nodes.runtime.part import Arrival, Context, Quiet
from nodes.schemes._admission import MIB, bytes_of, left, limit
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, PartId, Ping, Pong, Probe, Probed

FILL = "fill"


@dataclass
class Train:
    """What has come of a train: of which probe and turn it is, and its messages so far."""

    number: int = 0
    turn: int = 0
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    whole: bool = True     # so far
    ended: bool = False

    def add(self, body: Probe, arrival: Arrival) -> bool:
        """Take a message; True if it ends the train. One of an older train is nothing."""
        if (body.number, body.turn) < (self.number, self.turn):
            return False
        if (body.number, body.turn) > (self.number, self.turn):
            self.number, self.turn, self.arrivals, self.whole, self.ended = body.number, body.turn, [], True, False
        if self.ended:
            return False  # it came twice
        self.whole = self.whole and body.index == len(self.arrivals)
        self.arrivals.append((arrival.at, arrival.bytes))
        self.ended = body.index == body.last
        return self.ended

    @property
    def rate(self) -> float | None:
        """Bit/s; None: no train, or some of it was lost."""
        return trains.rate(self.arrivals) if self.whole else None

    @property
    def took(self) -> float:
        """Seconds of its counted part."""
        return self.arrivals[-1][0] - self.arrivals[0][0] if self.arrivals else 0.0


def send_train(context: Context, src: PartId, dst: PartId, question: Probe, sizes: Sizes) -> None:
    """Send a train: ``question`` again and again, each with its index."""
    last = COUNT if sizes.size else 0
    for index in range(last + 1):
        amount = (sizes.lead if index == 0 else sizes.each) if last else 0
        body = Probe(
            question.number, question.turn, index, last, question.lead, question.size, question.layers,
            question.repeats, question.most,
        )  # fmt: skip
        context.send(src, dst, body, {FILL: np.zeros(amount, dtype=np.uint8)} if amount else {})


class Bench:
    """Paced work on layers one by one, as events of a kind, and what it took.

    Args:
        context: The part's.
        part: Whose work it is.
        kind: Of events.
        names: Layers that may be asked for.
    """

    def __init__(self, context: Context, part: PartId, kind: str, names: tuple[str, ...]) -> None:
        task = context.task
        if task.pipeline is None:
            raise RunError(f"{task.scheme} without settings of a pipeline", where=context.node)
        self._context, self._part, self._kind = context, part, kind
        self._times = task.pipeline.times
        whole = names == LAYERS[task.model]
        self._layers = LayerWork(
            task.model, task.batch // task.pipeline.micro, tuple(task.in_shape), task.classes, None if whole else names
        )
        self._device = ""
        self._taken: dict[str, list[float]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that it has."""
        return self._layers.names

    def run(
        self, names: tuple[str, ...], repeats: int, most: float, device: str, *, loss: bool = False
    ) -> tuple[dict[str, tuple[float, float]], float]:
        """Work through layers again and again.

        Args:
            names: The layers.
            repeats: How often at most.
            most: After so many seconds of work no repeat begins but the first.
            device: Whom it is done for.
            loss: Whether the loss is worked out as well.

        Returns:
            Median and spread of the seconds of each operation, and the seconds in all.
        """
        self._device, self._taken = device, {}
        for _ in range(repeats):
            if self._taken and self._sum() >= most:
                break
            for name in names:
                self._layers.layer(name, self._timing)
            if loss:
                self._layers.loss(self._timing)
        return {name: middle(times) for name, times in self._taken.items()}, self._sum()

    def _sum(self) -> float:
        return sum(sum(times) for times in self._taken.values())

    @contextmanager
    def _timing(self, op: str) -> Iterator[None]:
        attrs = {"op": op, "device": self._device}
        work = self._context.work(self._part, self._kind, None, seconds=self._times[op], attrs=attrs)
        with work as timed:
            yield
        self._taken.setdefault(op, []).append(timed.end - timed.begin)


class Prober(Quiet):
    """Answers probes; see the module."""

    def __init__(self, part: PartId, context: Context) -> None:
        self.id = part
        self._context = context
        self._trains: dict[PartId, Train] = {}
        self._looked: dict[str, tuple[float, Mapping[str, float]]] = {}  # by owner: when, and who had been busy how long
        self._begun: tuple[float, Mapping[str, float]] = (context.now(), {})
        self._bench: Bench | None = None

    def rehearse(self) -> None:
        """All layers once: which ones devices will ask for is up to them, and first times are slow."""
        self._work(LAYERS[self._context.task.model], 1, 0.0, "")

    def begin(self) -> None:
        """Load is counted from here on."""
        self._begun = (self._context.now(), self._context.busy())

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A ping, or a message of a train."""
        match body:
            case Ping():
                held = self._context.now() - self._context.arrival().at
                self._context.send(self.id, src, Pong(body.number, body.turn, held))
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
            asked.number, asked.turn, train.rate, train.took, times, worked, load, memory, not why, why,
        )  # fmt: skip
        self._context.send(self.id, src, found)

    def _work(
        self, names: tuple[str, ...], repeats: int, most: float, device: str
    ) -> tuple[dict[str, tuple[float, float]], float]:
        every = LAYERS[self._context.task.model]
        odd = [name for name in names if name not in every]
        if odd:
            raise WireError(f"a probe of layers that {self._context.task.model} does not have", found=", ".join(odd[:4]))
        if not names:
            return {}, 0.0
        if self._bench is None:
            self._bench = Bench(self._context, self.id, "probe", every)
        return self._bench.run(names, repeats, most, device, loss=names == every)

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
