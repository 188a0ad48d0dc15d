"""Hosts a scheme's part for one round, in an instance: the same parts as without the platform, the same weights.

To the part it is as ever: a model comes, batches are trained, an update goes to the aggregator. Here the model is an
input of the invocation and the update is its result; all other messages go to and fro through the agent (`Stream`).
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from nodes import schemes
from nodes.errors import InputError, WireError
from nodes.events import Span
from nodes.learn import shards
from nodes.learn.pacing import Pacer
from nodes.learn.stage import use_threads
from nodes.platform.builtin import data_of
from nodes.policies.layers import LAYERS
from nodes.runtime.host import Host
from nodes.schemes._base import AGGREGATOR, COLLECTOR
from nodes.wire import codec
from nodes.wire import control as ctl
from nodes.wire.codec import Tensors
from nodes.wire.messages import Envelope, Fetch, Model, PartId, Update
from nodes.wire.pipeline_messages import Delivered
from nodes.wire.task import Placed, Task

_FLUSH_S = 0.5
_NOWHERE = "?"
"""Where the aggregator is to the parts: whatever they send to it ends here."""


class Outside(Protocol):
    """What hosting needs of `nodes.platform.instance.Stream`."""

    def send(self, node: str, frames: Sequence[bytes | memoryview]) -> None:
        """Send frames to a part on another node."""

    def say(self, frame: bytes) -> None:
        """Say something to the controller."""

    def receive(self, seconds: float | None) -> list[memoryview] | bytes | None:
        """Frames from another part, or a control message; None if nothing came for so long."""


def train(
    task: Task,
    node: str,
    owner: str,
    number: int,
    weights: Tensors | None,
    stream: Outside,
    pacer: Pacer,
    *,
    dilation: float = 1.0,
    keep: codec.Array | None = None,
    ship: bool = False,
) -> dict[str, Any]:
    """Do this node's share of one owner's round; see `nodes.platform.training`.

    Args:
        task: Its placement says which part this is.
        node: This one.
        owner: Whose round it is.
        number: Of the round.
        weights: The round's model, or the layers of it that the part has.
        stream: To other nodes.
        pacer: Keeps steps to the unit's speed.
        dilation: Real seconds that a second of the experiment takes.
        keep: Indices of the samples to train on.
        ship: Whether a head is sent its layers.

    Raises:
        InputError: The invocation contradicts itself.
    """
    if owner not in task.owners:
        raise InputError(f"{owner} has no share in task {task.id}", wanted=", ".join(task.owners), found=owner)
    use_threads(task.threads)
    subset = None
    if keep is not None:
        subset = _subset(Path(data_of(task, node)), keep)
        # Chosen already, and in the same order as if the part had chosen them: it trains on all that is left.
        task = msgspec.structs.replace(task, data={**task.data, node: str(subset)}, select=None)
    try:
        return Round(task, node, owner, number, weights, stream, pacer, dilation).run(ship=ship)
    finally:
        if subset is not None:
            subset.unlink(missing_ok=True)


class Round:
    """One round of one owner's part; the `Transport` of its host."""

    def __init__(
        self, task: Task, node: str, owner: str, number: int, weights: Tensors | None, stream: Outside, pacer: Pacer,
        dilation: float,
    ) -> None:  # fmt: skip
        # Of the owner's parts alone: others' on this node have invocations of their own.
        mine = [p for p in task.placement if p.part.owner == owner and p.part.role != COLLECTOR]
        self._aggregator = PartId(task.id, AGGREGATOR, "")
        placement = (*mine, Placed(self._aggregator, _NOWHERE), Placed(PartId(task.id, COLLECTOR, node), _NOWHERE))
        self._task = msgspec.structs.replace(task, placement=placement)
        self._node, self._owner, self._number = node, owner, number
        self._weights = weights
        self._stream = stream
        self._pacer = pacer
        self._dilation = dilation
        self._ship = False
        self._waiting: deque[tuple[Envelope, Tensors, float, int]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._spans: list[Span] = []
        self._flushed = time.monotonic()
        self._update: tuple[Update, Tensors] | None = None
        self._over = False
        self._handed_in = False  # a head's weights have gone to its tail
        self._host = Host(
            node, self._task, pacer, self, schemes.get(task.scheme).make, dilation=dilation
        )
        self._had = bool(self._host.parts)

    def run(self, *, ship: bool = False) -> dict[str, Any]:
        """Do it; returns the outputs of the invocation."""
        self._ship = ship
        for part in sorted(self._host.parts):
            given = self._given(part)
            if given is not None:
                self._deliver(part, Model(self._number), given)
        while not self._over:
            if self._waiting:
                self._host.deliver(*self._waiting.popleft())
            else:
                self._wait()
            self._had = self._had or bool(self._host.parts)
            if self._had and not self._host.parts and not self._waiting:
                break  # it has moved
            self._flush(often=False)
        moved = "" if self._over else self._gone_to()
        self._host.tell_windows(last=True)
        self._host.close()
        self._flush(often=True)
        done, weights = self._update or (Update(self._number, 0, 0, 0.0), None)
        return {
            "weights": weights, "samples": done.samples, "batches": done.batches, "loss_sum": done.loss_sum,
            "moved": moved, "pacing": self._pacer.totals.as_dict(),
        }  # fmt: skip

    def _given(self, part: PartId) -> Tensors | None:
        """What a part is given to begin its round with; None: it waits for that."""
        if self._weights is None:
            return None
        if part.role != "head":
            return self._weights
        layers = LAYERS[self._task.model][: self._task.cut_of(self._owner)]
        return {name: array for name, array in self._weights.items() if name.partition(".")[0] in layers}

    def _wait(self) -> None:
        """Wait for what comes from outside, and no longer than until the next timer."""
        left = max(self._timers[0][0] - time.monotonic(), 0.0) if self._timers else None
        got = self._stream.receive(left)
        if got is not None:
            self._take(got)
        elif self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _take(self, got: list[memoryview] | bytes) -> None:
        if isinstance(got, bytes):
            self._told(got)
            return
        envelope, tensors = codec.decode(got)
        if envelope.pair != self._task.pair:
            return  # of an attempt that was given up
        if isinstance(envelope.body, Delivered):
            # One that comes before all is sent was for whom this invocation stands in for.
            self._over = self._over or (self._handed_in and envelope.body.round == self._number)
        elif envelope.dst.task == self._task.id and envelope.dst.owner == self._owner:
            self._waiting.append((envelope, tensors, time.monotonic(), codec.size(got)))

    def _told(self, frame: bytes) -> None:
        match ctl.to_node(frame):
            case ctl.Notice(edge=edge, done=done):
                self._host.notice(edge, done)
            case ctl.Forecast(edge=edge, in_s=in_s):
                self._host.forecast(edge, in_s)
            case ctl.Died(node=node):
                self._host.lost(node)
            case ctl.Spoil():
                self._host.spoil()
            case ctl.StopTask():
                self._over = True
            case _:
                pass

    def _deliver(self, part: PartId, body: Model, tensors: Tensors) -> None:
        envelope = Envelope(src=self._aggregator, dst=part, node=self._node, body=body, sent=time.monotonic())
        self._waiting.append((envelope, tensors, envelope.sent, 0))

    def _gone_to(self) -> str:
        return next(self._host.where(p.part)[0] for p in self._task.placement if p.part.role == "tail")

    # --- the transport of the host ----------------------------------------------------------------------

    def send(self, node: str, envelope: Envelope, tensors: Tensors) -> None:
        """See `nodes.runtime.host.Transport.send`."""
        self._handed_in = self._handed_in or isinstance(envelope.body, Update)
        if envelope.dst.role in (AGGREGATOR, COLLECTOR):
            self._to_aggregator(envelope, tensors)
        elif isinstance(envelope.body, Model) and not envelope.body.attempt and not self._ship:
            pass  # the device has its layers from its own store
        elif node == self._node:
            self._waiting.append((envelope, tensors, time.monotonic(), 0))
        else:
            self._outside(node, envelope, tensors)

    def _to_aggregator(self, envelope: Envelope, tensors: Tensors) -> None:
        body = envelope.body
        if isinstance(body, Update):
            # Not kept, but returned at once: nothing trains on.
            self._update, self._over = (body, tensors), True
            for placed in self._task.placement:
                if placed.part.role == "head" and placed.node != self._node:
                    done = Delivered(body.round, body.attempt)
                    envelope = Envelope(self._aggregator, placed.part, self._node, done, pair=self._task.pair)
                    self._outside(placed.node, envelope)
        elif isinstance(body, Fetch):
            if self._weights is None:
                raise WireError(f"a round of {self._owner} begins again, and this invocation was given no weights")
            self._deliver(envelope.src, Model(body.round, body.attempt), self._weights)

    def _outside(self, node: str, envelope: Envelope, tensors: Tensors | None = None) -> None:
        self._stream.send(node, codec.encode(envelope, tensors))

    def connect(self, node: str) -> None:
        """The agent connects when something is sent."""

    def tell(self, message: ctl.FromNode) -> None:
        """See `nodes.runtime.host.Transport.tell`."""
        self._flush(often=True)
        self._stream.say(ctl.encode(message))

    def emit(self, span: Span) -> None:
        """See `nodes.runtime.host.Transport.emit`."""
        self._spans.append(span)

    def wake(self, seconds: float, act: Callable[[], None]) -> None:
        """See `nodes.runtime.host.Transport.wake`."""
        heapq.heappush(self._timers, (time.monotonic() + seconds * self._dilation, next(self._order), act))

    def catch_up(self) -> None:
        """See `nodes.runtime.host.Transport.catch_up`."""
        while (got := self._stream.receive(0.0)) is not None:
            self._take(got)

    def _flush(self, *, often: bool) -> None:
        now = time.monotonic()
        if self._spans and (often or now - self._flushed >= _FLUSH_S):
            self._flushed = now
            self._stream.say(ctl.encode(ctl.Events(self._spans)))
            self._spans = []


def _subset(path: Path, indices: codec.Array) -> Path:
    """A shard of these samples alone, beside nothing: in this instance's own directory, while the round lasts."""
    shard = shards.read(path)
    known = len(indices) and 0 <= indices.min() <= indices.max() < len(shard)
    if not known or len(np.unique(indices)) != len(indices):
        raise InputError(
            "the samples to keep are not samples of this shard", where=str(path),
            wanted=f"different numbers from 0 to {len(shard) - 1}, one at least", found=f"{len(indices)} of them",
        )  # fmt: skip
    found = Path(f"kept-{os.getpid()}.safetensors").absolute()
    x, y = shard.x.numpy()[indices], shard.y.numpy()[indices]
    shards.write(found, x, y, shard.classes, shard.mean, shard.std)
    return found
