"""The device's half of a split model: drives the round batch by batch."""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from nodes.errors import WireError
from nodes.events import Span
from nodes.policies.recovery import SURE, Act, Position, decide
from nodes.runtime.part import Context, Quiet
from nodes.schemes._arrays import copies, to_arrays, to_torch
from nodes.schemes._data import own_batches, rehearse_selection, select
from nodes.schemes._halves import REHEARSALS, stage
from nodes.wire.codec import Tensors
from nodes.wire.control import Progress
from nodes.wire.messages import (
    Activations,
    Adopt,
    Awaiting,
    Body,
    Close,
    Gradients,
    Holds,
    Model,
    Open,
    PartId,
    Query,
    Update,
    Work,
)

_MOST_DOUBTS = 5
"""Times that the patience is doubled at most while rounds are begun again and no batch comes through."""
_LEAST_OFTEN = 10
"""While others are waited for, a device looks after its edge half at least every so many times its patience."""


class Head(Quiet):
    """The device's half: drives the round batch by batch.

    It alone decides where its tail lives. When an answer does not come, it asks all edge servers what they hold
    (`nodes.policies.recovery` decides on what they say).
    """

    def __init__(self, part: PartId, context: Context) -> None:
        task = context.task
        self.id = part
        self._context = context
        self._tail = PartId(task.id, "tail", part.owner)
        self._stage = stage(task, "head", part.owner)
        self._batches = own_batches(context, part.owner)
        self._start: dict[str, torch.Tensor] = {}
        self._round = 0
        self._attempt = 0
        self._batch = 0
        self._begun = 0.0
        self._sent = 0.0
        self._move_to = ""
        self._standby = ""
        self._coming = ""            # edge server of a handover that is under way: forecasts are of what comes after it
        self._foretold = ""
        self._dead: set[str] = set()
        self._last: tuple[Body, Tensors] | None = None  # what an answer is waited for, to be sent again if it is lost
        self._token = 0              # of the waiting under way
        self._asking = False
        self._asked = 0              # askings since anything went on
        self._idle = 0               # of them, those after which all was well
        self._answers: dict[str, Holds] = {}
        self._longest = 0.0          # longest wait of a batch so far, s of the experiment
        self._astray = False         # whether an answer could not have come meanwhile: that wait says nothing of others
        self._doubts = 0             # rounds begun again since a batch came through: answers may just take long

    def rehearse(self) -> None:
        """A few steps on nothing: the first ones of a process are slow."""
        x, _ = self._batches.get(1, 0)
        for _ in range(REHEARSALS):
            self._stage.backward(self._stage.forward(x))
            self._stage.step()
        rehearse_selection(self._context, self.id.owner, self._batches)

    def begin(self) -> None:
        """Select what is trained on, and connect to where the tail is: edge servers do not connect to devices."""
        select(self._context, self.id, self._batches)
        self._context.connect(self._context.where(self._tail)[0])
        self._wait()

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """The model of a round, the gradients of the batch under way, or what an edge server holds."""
        if isinstance(body, Model):
            if (body.round, body.attempt) < (self._round, self._attempt):
                return  # of a round or attempt that is over
            # A later attempt is taken: two edge servers had the round, and the one that counts calls it that.
            if (body.round, body.attempt) == (self._round, self._attempt) and (self._batch or self._last is not None):
                return  # of the attempt that is under way
            if tensors:
                self._start = to_torch(tensors)
            self._begin_round(body.round, body.attempt)
        elif isinstance(body, Gradients):
            if body.attempt != self._attempt or body.work != self._work() or self._last is None:
                return  # of an attempt that was given up, or the second time
            self._apply(tensors)
        elif isinstance(body, Holds):
            if self._asking and body.number == self._token:
                self._answers[body.node] = body
        else:
            raise WireError(f"{type(body).__name__} for {self.id}")

    def notice(self, edge: str, done: bool, in_s: float | None = None) -> None:
        """A handover comes: connect ahead of it, and act on it at the next batch.

        With a standby, the notice is when to make it, and the handover when to use it.
        """
        strategy = self._strategy()
        if strategy == "relay" or (done and strategy != "shadow"):
            return
        if edge in self._dead:
            self._context.note(f"{edge} is dead: {self._tail} stays on {self._context.where(self._tail)[0]}")
            return
        self._context.connect(edge)
        if strategy == "shadow" and not done:
            self._standby = self._coming = self._foretold = edge
        else:
            self._move_to, self._coming = edge, ""
            self._standby = self._foretold

    def forecast(self, edge: str, in_s: float | None = None) -> None:
        """Have a standby where the device will probably be next."""
        if self._strategy() != "shadow" or edge in self._dead:
            return
        if edge:
            self._context.connect(edge)
        self._foretold = edge
        if not self._coming:
            self._standby = edge

    def lost(self, node: str) -> None:
        """An edge server has died: nothing is expected of it; if the tail was there, the others are asked at once."""
        self._dead.add(node)
        self._move_to, self._standby, self._coming, self._foretold = (
            "" if edge == node else edge for edge in (self._move_to, self._standby, self._coming, self._foretold)
        )
        if node == self._context.where(self._tail)[0] and not self._asking:
            self._sleep(0.0)

    def _strategy(self) -> str:
        return self._context.task.strategy

    def _work(self) -> Work:
        return Work(self._round, self._batch)

    def _begin_round(self, number: int, attempt: int) -> None:
        self._round, self._attempt, self._batch = number, attempt, 0
        self._stage.load(self._start)
        self._begun = 0.0
        self._forward()

    def _forward(self) -> None:
        if self._batch == len(self._batches):
            self._finish_round()  # what is complete is not thrown away: a move takes effect afterwards
            return
        if self._target() and self._strategy() == "restart":
            self._restart(self._move_to)
            return
        x, y = self._batches.get(self._round, self._batch)
        with self._context.work(self.id, "forward", "head.forward", **self._labels()) as timed:
            activations = self._stage.forward(x)
        self._begun = self._begun or timed.begin
        self._sent = timed.end
        arrays = to_arrays({"x": activations, "y": y})
        here = self._context.where(self._tail)[0]
        standby = self._standby if self._standby != here else ""
        self._ask(Activations(self._work(), self._attempt, move_to=self._migrate_to(), standby=standby), arrays)

    def _migrate_to(self) -> str:
        """Where the tail is asked to move with its state, if that is what happens on a move."""
        return self._target() if self._strategy() in ("migrate", "shadow", "carry") else ""

    def _target(self) -> str:
        """Edge server that the tail should move to, empty if it is where it should be."""
        if self._move_to and self._context.where(self._tail)[0] == self._move_to:
            self._move_to = ""
        return self._move_to

    def _apply(self, tensors: Tensors) -> None:
        self._last = None
        with self._context.work(self.id, "backward", "head.backward", **self._labels()) as timed:
            self._stage.backward(torch.from_numpy(tensors["g"]))
            self._stage.step()
        if not self._astray:
            self._longest = max(self._longest, (timed.begin - self._sent) / self._context.dilation)
        self._doubts = 0
        self._span("wait", self._sent, timed.begin, bytes=int(tensors["g"].nbytes), batch=self._batch)
        self._batch += 1
        if self._batch == len(self._batches):
            self._span(
                "round", self._begun, timed.end,
                attrs={"batches": self._batch, "device": self.id.owner, "attempt": self._attempt},
            )  # fmt: skip
        self._context.tell(
            Progress(
                self._context.task.id, self.id.owner, self._round, self._batch, len(self._batches), self._attempt
            )
        )
        self._forward()

    def _finish_round(self) -> None:
        update = Update(
            self._round, self._batches.samples, self._batch, 0.0, self._attempt, move_to=self._migrate_to()
        )
        self._ask(update, copies(self._stage.layers.state_dict()))

    def _restart(self, new: str, **attrs: Any) -> None:
        """Give the round up and begin it again with a new tail on an edge server."""
        old = self._context.where(self._tail)[0]
        self._attempt += 1
        version = self._context.place(self._tail, new)
        self._move_to = "" if new == self._move_to else self._move_to
        now = self._context.now()
        where = {"from": old, "to": new, **attrs}
        self._span("restart", self._begun or now, now, batch=self._batch, peer=new, attrs=where)
        self._batch, self._last = 0, None
        if old != new:
            self._context.send(self.id, self._tail, Close(new, version), node=old)
        self._context.connect(new)
        self._context.send(self.id, self._tail, Open(self._round, self._attempt, version))
        self._wait()

    # --- when no answer comes ---------------------------------------------------------------------------

    def _ask(self, body: Body, tensors: Tensors) -> None:
        """Send what is to be answered, and keep it until it is."""
        self._last, self._astray = (body, tensors), False
        self._context.send(self.id, self._tail, body, tensors)
        self._wait()

    def _wait(self) -> None:
        self._asked, self._idle, self._asking = 0, 0, False
        patience = max(self._context.task.patience, 4 * self._longest) * 2**self._doubts
        self._sleep(0.0 if self._context.where(self._tail)[0] in self._dead else patience)

    def _sleep(self, seconds: float) -> None:
        self._token += 1
        self._context.wake(self.id, seconds, self._token)

    def awake(self, token: int) -> None:
        """No answer has come: ask the edge servers, and decide on what they say."""
        if token != self._token:
            return
        patience = self._context.task.patience / 3 * 2**self._doubts  # servers that are there answer soon
        if self._asking:
            self._asking = False
            if not self._decide():
                self._sleep(patience * min(1 + self._idle, _LEAST_OFTEN))
            return
        self._asked += 1
        self._sleep(patience)
        self._asking, self._answers = True, {}
        for edge in [edge for edge in self._context.task.edges if edge not in self._dead]:
            self._context.connect(edge)
            self._context.send(self.id, self._tail, Query(self._token), node=edge)

    def _decide(self) -> bool:
        """Act on what the edge servers said; False if there is nothing to do but to wait."""
        here = self._context.where(self._tail)[0]
        done = self._batch == len(self._batches) and self._last is not None
        mine = Position(self._round, self._attempt, self._batch, done)
        asked = max(self._asked, SURE) if here in self._dead else self._asked
        act, node = decide(mine, here, self._answers, asked, self._move_to)
        if not self._answers or act is Act.ADOPT or (here in self._answers and self._answers[here].leaving):
            self._astray = True
        if act is Act.IDLE:
            self._asked, self._idle = 0, self._idle + 1  # ask less and less
            self._context.send(self.id, self._tail, Awaiting(self._round))  # the next model may have died on its way
        if act in (Act.WAIT, Act.IDLE) or (act is Act.RESEND and self._last is None):
            return False
        if act is Act.RESTART or self._last is None:
            self._context.note(f"no copy of {self._tail} is left: {self.id.owner} begins round {self._round} again")
            self._doubts = min(self._doubts + 1, _MOST_DOUBTS)
            self._restart(node, lost=True)
            return True
        body, tensors = self._last
        if act is Act.ADOPT:
            self._context.note(
                f"the move of {self._tail} does not come to an end: it stays on {node}" if node == here
                else f"{here} does not answer for {self._tail}: going on with the copy on {node}"
            )  # fmt: skip
            version = self._context.place(self._tail, node)
            self._move_to = "" if node in (here, self._move_to) else self._move_to
            self._context.connect(node)
            self._context.send(self.id, self._tail, Adopt(version), node=node)
            if node == here and isinstance(body, Activations | Update):
                body = msgspec.structs.replace(body, move_to="")  # it was given up
                self._last = body, tensors
        self._context.send(self.id, self._tail, body, tensors)
        self._wait()
        return True

    def _labels(self) -> dict[str, Any]:
        return {"round": self._round, "batch": self._batch}

    def _span(self, kind: str, begin: float, end: float, **more: Any) -> None:
        task = self._context.task
        self._context.emit(
            Span(
                kind=kind, node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=self._round, begin=begin, end=end, **more,
            )
        )  # fmt: skip
