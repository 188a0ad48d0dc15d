"""A stage of a pipeline that moves as a whole, in the middle of whatever it does.

The order of its work is fixed, so where it is done changes no weight. Its state is all that it has: weights, momentum,
gradients so far, what came and waits, how much of its order is done, and the micro-batches under way, which go forward
again at the destination (`nodes.learn.stash`). Nothing is drained; others send on, and what comes meanwhile is held
back for it (`nodes.runtime.moving`).

A standby is kept in step by being given all that comes to its original, as it comes: it does the same work in the same
order and sends nothing (ours). What came to both is the same when it takes over, and so is all else, to the bit; a
digest proves that, and if it is not so, the state is copied.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nodes.errors import RunError
from nodes.learn.packing import Loss
from nodes.learn.state import TrainingState, capture
from nodes.policies.layouts import PipelineLayout
from nodes.runtime.part import Context, Snapshot, Timed
from nodes.schemes._arrays import to_arrays
from nodes.schemes._record import Record
from nodes.schemes._stage import PipelineStage
from nodes.wire.codec import Tensors
from nodes.wire.messages import Activations, Body, Gradients, PartId
from nodes.wire.pipeline_messages import Settled, Standing, Steer

_APART = ("record", "places", "zeros")
"""What a snapshot has beside its digest: what is told of the work, which a standby does at other times, and
where the other stages are, of which each node hears by itself; and momentum that is nothing yet, by shape."""
MOMENTUM = "momentum/"
QUIET_S = 1.0
"""Longest time, s, that a stage which came ahead of its device keeps still that it is there."""


class MobileStage(PipelineStage):
    """A stage that its driver can move."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._leaves: Steer | None = None  # when it has come so far
        self._quiet: tuple[int, float] | None = None  # what the driver is told once it is here (see `_settled`)

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Where to go, or where to keep a standby; else as `PipelineStage`."""
        if isinstance(body, Steer):
            self._steer(body)
        else:
            super().receive(src, body, tensors)

    def capture(self, *, copy: bool = False) -> Snapshot:
        """All that this stage is, between two pieces of work."""
        layout = self._layout
        assert layout is not None, "a stage that is steered has been laid out"
        came = sorted(self._came.items())
        state = capture(
            self._all(), copy=copy, round=self._round, next_batch=self.position()[2], loss_sum=self._loss_sum,
            more={
                f"{way}/{batch}/{micro}/{name}": tensor
                for (way, batch, micro), (_, tensors) in came for name, tensor in tensors.items()
            },
            extra={
                "attempt": self._attempt, "segment": self._segment, "first": self._first, "end": self._end,
                "batches": self._batches, "done": self._done, "awaited": self._awaited, "running": self._running,
                "taken": self._taken, "came": [[*key, loss] for key, (loss, _) in came],
                "layout": [list(layout.bounds), list(layout.nodes), list(layout.depths)],
            },
        )  # fmt: skip
        meta, frames = state.to_frames()
        places = [list(self._context.where(self._part(stage))) for stage in range(layout.stages)]
        zeros = {name: list(tensor.shape) for name, tensor in frames if name.startswith(MOMENTUM) and _nothing(tensor)}
        apart = dict(zip(_APART, (asdict(self._record), places, zeros), strict=True))
        sent = {name: tensor for name, tensor in frames if name not in zeros}
        return Snapshot(to_arrays(sent), {**meta, **apart}, state.digest())

    def restore(self, snapshot: Snapshot) -> None:
        """Become what was captured, and keep still until `resume`."""
        meta = dict(snapshot.meta)
        record, places, zeros = (meta.pop(name) for name in _APART)
        empty = {name: np.zeros(shape, dtype=np.float32) for name, shape in zeros.items()}
        state = TrainingState.from_frames(meta, {**snapshot.tensors, **empty})
        if state.digest() != snapshot.digest:
            raise RunError("the state that arrived is not the one that was sent: its digest differs")
        extra = state.extra
        layout = PipelineLayout(*(tuple(part) for part in extra["layout"]))
        if why := self._no_room(layout):
            raise RunError(f"no room for stage {self.stage}: {why}")
        self._take_layout(layout, int(extra["batches"]))
        self._muted = True
        self._round, self._attempt, self._loss_sum = state.round, int(extra["attempt"]), state.loss_sum
        state.restore(self._all(), self._again)
        self._segment, self._first, self._end = (int(extra[name]) for name in ("segment", "first", "end"))
        self._done, self._awaited, self._running = int(extra["done"]), bool(extra["awaited"]), bool(extra["running"])
        self._taken = {str(way): int(count) for way, count in extra["taken"].items()}
        self._came = {(str(w), int(b), int(m)): (float(loss), {}) for w, b, m, loss in extra["came"]}
        for name, tensor in state.more.items():
            way, batch, piece, rest = name.split("/", 3)
            self._came[way, int(batch), int(piece)][1][rest] = tensor
        self._record = _record(record)
        for stage, (node, version) in enumerate(places):
            self._context.learn(self._part(stage), str(node), int(version))
        self._follow()

    def resume(self) -> None:
        """Go on, here, and say so to the driver."""
        captured, size, ahead = self._context.arrived(self.id) if self._muted else (0.0, 0, False)
        self._muted = False
        stall = self._context.now() - captured if captured else 0.0
        if ahead:
            self._quiet = size, stall
            self._context.wake(self.id, QUIET_S, self._context.where(self.id)[1])
        else:
            self._settled(size, stall)
        self._go_on()

    def awake(self, token: int) -> None:
        """The device has not come, though it was about to."""
        if token == self._context.where(self.id)[1]:
            self._break_silence()

    def _arrive(self, body: Activations | Gradients, tensors: Tensors) -> None:
        if isinstance(body, Activations) and not self._muted:
            self._break_silence()  # the device sends those once it has been handed over
        super()._arrive(body, tensors)

    def _break_silence(self) -> None:
        quiet, self._quiet = self._quiet, None
        if quiet is not None:
            self._settled(*quiet)

    def stood_by(self, node: str) -> None:
        """See `Part.stood_by`: the driver may wait for that."""
        self._tell_driver(Standing(self.stage, node, self._context.where(self.id)[1]))

    def _steer(self, body: Steer) -> None:
        if body.version != self._context.where(self.id)[1]:
            return  # it came twice, and has been followed
        if not body.move_to:
            if body.standby != self._context.standby(self.id):
                self._context.stand_by(self.id, body.standby)
        elif body.move_to == self._context.node:
            self._settled()
        elif body.before is not None:
            self._leaves = body
            self._go_on()
        else:
            self._context.move(self.id, body.move_to)

    def lost(self, node: str) -> None:
        """A node has died: nobody goes there."""
        if self._leaves is not None and self._leaves.move_to == node:
            self._leaves = None
        super().lost(node)

    def _step(self) -> bool:
        """Leave, if this is where to; else as `PipelineStage`."""
        leaves, op = self._leaves, self._next
        if leaves is not None and leaves.before is not None and op is not None and op.kind != "update":
            place = (self._round, self._attempt, self._index(op.batch, op.micro))
            if place >= leaves.before:
                self._leaves = None
                if place[:2] == leaves.before[:2] and leaves.version == self._context.where(self.id)[1]:
                    self._context.move(self.id, leaves.move_to, ahead=True)
                    return False
        return super()._step()

    def _settled(self, size: int = 0, stall_s: float = 0.0) -> None:
        version = self._context.where(self.id)[1]
        self._tell_driver(Settled(self.stage, self._context.node, version, size, stall_s))

    def _opened(self, size: int = 0) -> None:
        # The weights are others now: a standby begins with them, too.
        self._context.stand_by(self.id, self._context.standby(self.id))
        super()._opened(size)

    def _ended(self) -> None:
        if not self._muted:
            super()._ended()

    def _again(self) -> AbstractContextManager[Timed]:
        """What a micro-batch takes that goes forward once more: as long as it took the first time."""
        assert self._layout is not None
        return self._context.work(
            self.id, "replay-step", None, seconds=self._times.op("forward", *self._layout.layers(self.stage)),
            round=self._round, attrs={"stage": self.stage},
        )  # fmt: skip


def _nothing(tensor: Tensor) -> bool:
    """Whether a tensor is all zeros, to the bit: at a round's begin that need not be sent."""
    return tensor.dtype == torch.float32 and not tensor.contiguous().view(torch.int32).any()


def _record(plain: dict[str, Any]) -> Record:
    begin, end = plain["waited"]
    return Record(**{**plain, "waited": (begin, end), "packed": Loss(**plain["packed"])})
