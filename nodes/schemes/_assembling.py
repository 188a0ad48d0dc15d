"""The aggregator of a pipeline: owners' models come in pieces, each stage's layers by themselves.

All pieces of a model are of one attempt. A stage that fetches the weights of a later attempt gives the earlier ones up,
unless the model is complete by then: that is what the driver is told (`Delivered`), and asks for again by fetching.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nodes.events import Span
from nodes.learn.aggregate import split
from nodes.runtime.part import Context
from nodes.schemes._aggregator import Aggregator
from nodes.schemes._arrays import to_arrays
from nodes.schemes._base import stage_role
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, Fetch, Model, PartId, Update
from nodes.wire.pipeline_messages import Delivered


@dataclass
class _Pieces:
    """What has come of an owner's model in an attempt of the round."""

    attempt: int = 0
    samples: int = 0
    tensors: Tensors = field(default_factory=dict)


class Assembling(Aggregator):
    """Says to the devices that a round begins, gives each stage its layers, and takes models stage by stage.

    A model is an owner's when all of its layers have come, of one attempt; which stage had them is of no matter.
    """

    leaf = stage_role(0)

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._pieces: dict[str, _Pieces] = {}
        self._counted: dict[str, int] = {}  # by owner whose model is complete, the attempt that it is of

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Collect pieces of models; give out pieces of the global one."""
        match body:
            case Fetch() if src.owner in self._counted:
                self._tell(src.owner)
            case Fetch():
                if body.round == self._round and not self._done:
                    self._give_up(src.owner, body.attempt)
                    arrays = to_arrays(split(self._weights, body.layers))
                    self._context.send(self.id, src, Model(self._round, body.attempt), arrays)
            case Update() if body.round == self._round and src.owner not in self._delivered and not self._done:
                self._add(src.owner, body, tensors)
            case Update():
                pass  # of a round that has closed, or of an owner whose model is complete
            case _:
                super().receive(src, body, tensors)

    def _give_up(self, owner: str, attempt: int) -> _Pieces:
        """Forget what has come of attempts before this one; what is there of the latest."""
        pieces = self._pieces.get(owner)
        if pieces is None or pieces.attempt < attempt:
            pieces = self._pieces[owner] = _Pieces(attempt)
        return pieces

    def _add(self, owner: str, body: Update, tensors: Tensors) -> None:
        pieces = self._give_up(owner, body.attempt)
        if body.attempt < pieces.attempt:
            return
        pieces.samples = max(pieces.samples, body.samples)  # the first stage alone knows it
        pieces.tensors |= tensors
        if pieces.tensors.keys() == self._weights.keys() and pieces.samples:
            del self._pieces[owner]
            ordered = {name: pieces.tensors[name] for name in self._weights}
            self._count(owner, body.attempt)
            self._take(owner, {owner}, pieces.samples, ordered)

    def _count(self, owner: str, attempt: int) -> None:
        """An owner's model is complete, and of this attempt: say so, to the driver and in the events."""
        self._counted[owner] = attempt
        self._tell(owner)
        task, now = self._context.task, self._context.now()
        self._context.emit(
            Span(
                kind="delivered", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=self._round, begin=now, end=now, attrs={"device": owner, "attempt": attempt},
            )
        )  # fmt: skip

    def _tell(self, owner: str) -> None:
        driver = PartId(self.id.task, self.leaf, owner)
        self._context.send(self.id, driver, Delivered(self._round, self._counted[owner]))

    def _broadcast(self) -> None:
        self._pieces.clear()
        self._counted.clear()
        for leaf in self._leaves():
            self._context.send(self.id, leaf, Model(self._round))
        if self._context.task.drop_s is not None:
            self._context.wake(self.id, self._context.task.drop_s, self._round)
