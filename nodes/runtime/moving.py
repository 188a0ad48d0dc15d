"""Moving parts between nodes, exactly once; see docs/moves.md for the states and what ends each.

A move by *copy* goes ``capture -> State -> StateTaken -> release``: the source keeps the part, and holds back what
comes for it, until the destination has verified the state's digest; then it forwards what it held and leaves a
redirect behind. A move to a *standby* goes ``digest -> TakeOver -> StateTaken -> release``: the destination holds a
copy that was kept in step by applying the same batches, and proves by its digest that it is the same; if it is not,
the whole state is copied after all.

A move whose state its device *carries* goes ``capture -> State -> device``, and when the device has been handed over
``State -> StateTaken -> device -> StateTaken -> release``: as by copy, but the two edge servers need not reach each
other (`nodes.runtime.carrying`).

Whatever is lost on the way, no batch is applied twice: a head drives its tail batch by batch, copies of a tail that
have applied the same batches are the same to the bit, and a placement version says which of them counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nodes.errors import RoambedError
from nodes.runtime.carrying import Carrier
from nodes.runtime.home import Home, record, send
from nodes.runtime.part import Part, Snapshot, payload
from nodes.runtime.standbys import StandbyKeeper
from nodes.wire.codec import Tensors
from nodes.wire.messages import (
    Adopt,
    Body,
    DropStandby,
    Envelope,
    Holds,
    PartId,
    Query,
    State,
    StateRefused,
    StateTaken,
    TakeOver,
)

MOVING = (State, TakeOver, DropStandby, StateTaken, StateRefused, Query, Adopt)
"""Messages that `Mover.take` is for."""


@dataclass
class Leaving:
    """A part on its way: to which node, as which version, with which digest, by taking over a standby or by copy.

    ``ahead``: of its device.
    """

    to: str
    version: int
    digest: str
    standby: bool
    ahead: bool = False


class Mover:
    """The moves of one node's parts.

    Args:
        home: The host that they are on.
        standbys: Its standbys.
    """

    def __init__(self, home: Home, standbys: StandbyKeeper) -> None:
        self._home, self._standbys = home, standbys
        self._leaving: dict[PartId, Leaving] = {}
        self._held: dict[PartId, list[tuple[Envelope, Tensors]]] = {}
        self._arrived: dict[PartId, tuple[float, int, bool]] = {}
        self._dead: set[str] = set()
        self._carrier = Carrier(home)
        self._spoil_next = False
        self._acts: dict[type[Body], Callable[[Envelope, Body, Tensors], None]] = {
            State: self._state,
            TakeOver: self._take_over,
            DropStandby: self._dismiss,
            StateTaken: self._settle,
            StateRefused: self._settle,
            Query: self._answer,
            Adopt: self._adopt,
        }

    # --- what parts ask for -----------------------------------------------------------------------------

    def leaving(self, part: PartId) -> bool:
        """Whether a part is on its way to another node."""
        return part in self._leaving

    def arrived(self, part: PartId) -> tuple[float, int, bool]:
        """Of the last move that brought a part here: when it began, bytes of state, and whether ahead of its device.

        Nothing (0, 0, False): none did.
        """
        return self._arrived.get(part, (0.0, 0, False))

    def move(self, part: PartId, to: str, *, ahead: bool = False) -> None:
        """Move a part: its standby takes over if there is one at ``to``, else its state is copied.

        ``ahead``: of its device, which is told nothing before it is there.
        """
        if to == self._home.node or part in self._leaving:
            return
        if to in self._dead:
            self._home.note(f"{to} is dead: {part} stays on {self._home.node}")
            self._home.parts[part].resume()
            return
        standby = self._standbys.end(part, keep=to)
        begin = self._home.now()
        snapshot = self._home.parts[part].capture()
        version = self._home.where(part)[1] + 1
        self._leaving[part] = Leaving(to, version, snapshot.digest, standby == to, ahead)
        if standby == to:
            record(self._home, "capture", part, begin, 0, to, by="standby")
            send(self._home, to, part, TakeOver(snapshot.digest, begin, ahead), version=version)
        else:
            self._copy(part, to, version, snapshot, begin)

    def arrive(self, edge: str) -> None:
        """This device has been handed over: states that it carries are handed on."""
        self._carrier.arrive(edge)

    def stand_by(self, part: PartId, to: str) -> None:
        """Keep a standby of a part on node ``to`` from its present state on; empty: no more."""
        self._standbys.end(part, keep=to)
        if to and to != self._home.node and part not in self._leaving:
            self._standbys.make(part, to)

    def spoil(self) -> None:
        """Flip a bit of a standby that is here, else of the next state that arrives."""
        if self._standbys.here:
            standby = self._standbys.here[min(self._standbys.here)]
            flip(standby.capture().tensors)  # these are its own memory
        else:
            self._spoil_next = True

    # --- what arrives -----------------------------------------------------------------------------------

    def take(self, envelope: Envelope, tensors: Tensors) -> None:
        """Act on one of the messages `MOVING`."""
        self._acts[type(envelope.body)](envelope, envelope.body, tensors)

    def hold(self, envelope: Envelope, tensors: Tensors) -> None:
        """Keep a message for a part until it is known where the part will be."""
        self._held.setdefault(envelope.dst, []).append((envelope, tensors))

    def gone(self, part: PartId) -> None:
        """A part was closed or is made anew here: its standby is not needed, nor a copy here, and nothing is held."""
        self._standbys.end(part)
        self._leaving.pop(part, None)
        self._held.pop(part, None)
        self._standbys.here.pop(part, None)

    def lost(self, node: str) -> None:
        """A node has died: nothing of its parts is moved, held or kept in step any more, nor anything moved to it."""
        self._dead.add(node)
        self._carrier.lost(node)
        kept: tuple[dict[PartId, Any], ...] = (self._leaving, self._held)
        for found in kept:
            for part in [part for part in found if part.owner == node]:
                del found[part]
        self._standbys.lost(node)
        for part in [part for part, leaving in self._leaving.items() if leaving.to == node]:
            self._stay(part)

    def _state(self, envelope: Envelope, body: Body, tensors: Tensors) -> None:
        assert isinstance(body, State)
        if body.to:
            self._carrier.load(envelope, body, tensors)
            return
        part, begin = envelope.dst, self._home.now()
        if self._spoil_next:
            self._spoil_next = False
            flip(tensors)
        try:
            made = self._home.make(part)
            made.restore(Snapshot(tensors, body.meta, body.digest))
        except (RoambedError, KeyError, ValueError, RuntimeError) as error:
            if not body.standby:
                self._reply(envelope, StateRefused(reason=f"{type(error).__name__}: {error}"))
                if part not in self._home.parts:
                    self._release(part)
            return
        record(self._home, "restore", part, begin, payload(tensors), envelope.node)
        if body.standby:
            self._standbys.here[part] = made
            self._reply(envelope, StateTaken(digest=body.digest))
        else:
            self._begin_here(envelope, made, body, payload(tensors))

    def _take_over(self, envelope: Envelope, body: Body, _: Tensors) -> None:
        assert isinstance(body, TakeOver)
        part, begin = envelope.dst, self._home.now()
        copy = self._standbys.here.pop(part, None)
        digest = copy.capture().digest if copy is not None else ""
        record(self._home, "restore", part, begin, 0, envelope.node)
        if copy is None or digest != body.digest:
            reason = "the standby is not in step" if copy is not None else "there is no standby"
            self._reply(envelope, StateRefused(reason=reason))
        else:
            self._begin_here(envelope, copy, body, 0)

    def _begin_here(self, envelope: Envelope, made: Part, body: State | TakeOver, size: int) -> None:
        part, known = envelope.dst, self._home.where(envelope.dst)[1]
        if envelope.version < known or (envelope.version == known and part in self._home.parts):
            return  # its head has decided otherwise meanwhile, or it came twice
        self._standbys.here.pop(part, None)
        self._leaving.pop(part, None)  # it has been away and comes back: that it had arrived there need not be told
        self._arrived[part] = body.captured, size, body.ahead
        self._home.parts[part] = made
        self._home.put(part, self._home.node, envelope.version)
        # What is owed to the device goes first: it is waiting for it.
        made.resume()
        self._reply(envelope, StateTaken(digest=body.digest))
        self._release(part)

    def _settle(self, envelope: Envelope, body: Body, _: Tensors) -> None:
        part = envelope.dst
        assert isinstance(body, StateTaken | StateRefused)
        if self._carrier.settle(envelope, body):
            return
        leaving = self._leaving.get(part)
        if leaving is None:
            self._standbys.confirmed(part, envelope.node, body)
        if leaving is None or envelope.version != leaving.version:
            return  # of a move that was given up
        if isinstance(body, StateTaken) and body.digest == leaving.digest:
            del self._leaving[part]
            self._home.parts.pop(part)
            self._home.put(part, leaving.to, leaving.version)
            self._release(part)
            return
        reason = body.reason if isinstance(body, StateRefused) else "it confirmed another state"
        if leaving.standby:
            self._home.note(f"{leaving.to} could not take over {part} ({reason}): its state is copied")
            begin = self._home.now()
            snapshot = self._home.parts[part].capture()
            leaving.standby, leaving.digest = False, snapshot.digest
            self._copy(part, leaving.to, leaving.version, snapshot, begin)
        else:
            self._home.note(f"{leaving.to} refused the state of {part} ({reason}); it stays on {self._home.node}")
            self._stay(part)

    def _answer(self, envelope: Envelope, body: Body, _: Tensors) -> None:
        assert isinstance(body, Query)
        part = envelope.dst
        live, copy = self._home.parts.get(part), self._standbys.here.get(part)
        held = live if live is not None else copy
        holds = Holds(node=self._home.node, number=body.number, held=held is not None)
        if held is not None:
            number, attempt, following, finished = held.position()
            holds = Holds(
                node=self._home.node, number=body.number, held=True, standby=live is None,
                leaving=part in self._leaving, version=self._home.where(part)[1], round=number,
                attempt=attempt, next_batch=following, finished=finished,
            )  # fmt: skip
        send(self._home, envelope.node, part, holds, to_part=envelope.src)

    def _adopt(self, envelope: Envelope, body: Body, _: Tensors) -> None:
        assert isinstance(body, Adopt)
        part = envelope.dst
        if body.version <= self._home.where(part)[1]:
            return
        copy = self._standbys.here.pop(part, None)
        if part not in self._home.parts:
            if copy is None:
                return  # its head will ask again
            self._home.parts[part] = copy
        self._home.put(part, self._home.node, body.version)
        self._stay(part)

    # --- steps ------------------------------------------------------------------------------------------

    def _stay(self, part: PartId) -> None:
        self._leaving.pop(part, None)
        self._home.parts[part].resume()
        self._release(part)

    def _copy(self, part: PartId, to: str, version: int, snapshot: Snapshot, begin: float) -> None:
        record(self._home, "capture", part, begin, payload(snapshot.tensors), to)
        ahead = self._leaving[part].ahead
        carried = self._home.task.strategy == "carry" and part.owner != self._home.node
        body = State(
            digest=snapshot.digest, meta=snapshot.meta, captured=begin, ahead=ahead, to=to if carried else ""
        )  # fmt: skip
        send(self._home, part.owner if carried else to, part, body, snapshot.tensors, version=version)

    def _dismiss(self, envelope: Envelope, body: Body, _: Tensors) -> None:
        self._standbys.here.pop(envelope.dst, None)
        if envelope.dst not in self._home.parts:
            self._release(envelope.dst)  # what came ahead of a part that does not come

    def _release(self, part: PartId) -> None:
        self._home.deliver_held(part, self._held.pop(part, []))

    def _reply(self, envelope: Envelope, body: Body) -> None:
        send(self._home, envelope.node, envelope.dst, body, version=envelope.version)


def flip(tensors: Tensors) -> None:
    """Flip one bit of the last tensor by name, in place: of a weight, which the next batch does not overwrite."""
    tensors[max(tensors)].reshape(-1).view("uint8")[-2] ^= 0x10
