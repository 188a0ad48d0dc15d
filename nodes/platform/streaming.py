"""Messages between paired invocations: each unit's agent stands between its instances and the network.

An instance has no socket of the network and no key. What a part of its sends goes to its agent over their socket pair,
from there to the other unit's agent by the channel that nodes have (`nodes.wire.channel`), and from there to the
instance that has the part it is for. Frames are passed on as they are; only their header is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from nodes.errors import WireError
from nodes.platform.instances import Pool
from nodes.platform.messages import Frames, Passed, Said
from nodes.platform.outcomes import Invocation, Outcome
from nodes.wire.messages import Awaiting, Envelope, PartId, Query

HELD_BYTES = 64 << 20
"""Most bytes that are kept for parts that no invocation has yet."""
HELD_S = 30.0
"""Seconds of the experiment for which they are kept."""

_decoder = msgspec.msgpack.Decoder(Envelope)


@dataclass(frozen=True)
class _Held:
    at: float
    sender: str
    frames: Frames
    size: int


class Parts:
    """Which invocation of this unit has which part, and what has come for parts that none has yet.

    One half of a pair may be warm and send before the other unit has even heard of its own half: that is kept for it.

    Args:
        node: This unit. pool: Its instances; make it with ``forward=lambda *a: parts.forward(*a)``.
        send: Sends frames to another unit's agent. note: Takes what a person should read.
    """

    def __init__(
        self,
        node: str,
        pool: Pool,
        send: Callable[[str, Frames], None],
        *,
        note: Callable[[str], None] = lambda _: None,
        dilation: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node
        self._pool = pool
        self._send = send
        self._note = note
        self._keep_s = HELD_S * dilation
        self._clock = clock
        self._open: dict[PartId, int] = {}
        self._held: dict[PartId, list[_Held]] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes that are kept for parts that no invocation has yet."""
        return sum(held.size for of_part in self._held.values() for held in of_part)

    def submit(self, invocation: Invocation, done: Callable[[Outcome], None]) -> int:
        """`Pool.submit`; what comes for the invocation's parts is for it from now on until it ends."""
        def ended(outcome: Outcome) -> None:
            for part in invocation.parts:
                if self._open.get(part) == outcome.id:
                    del self._open[part]
            done(outcome)

        id_ = self._pool.submit(invocation, ended)
        for part in invocation.parts:
            self._open[part] = id_
            for held in self._held.pop(part, []):
                self._pass(id_, held.sender, held.frames)
        return id_

    def tell(self, part: PartId, frame: bytes) -> bool:
        """Tell the invocation that has a part a control message; False: none has."""
        return part in self._open and self._pool.send(self._open[part], Said(frame))

    def tell_all(self, frame: bytes, owner: str = "") -> None:
        """Tell all invocations that have a part (of an owner: of its) a control message."""
        for part in [part for part in self._open if owner in ("", part.owner)]:
            self.tell(part, frame)

    def arrive(self, sender: str, frames: Frames, envelope: Envelope | None = None) -> None:
        """Take what another unit's agent has sent; ``envelope`` is its header, if that was looked at already.

        Raises:
            WireError: That is no message, or one in the name of somebody else.
        """
        envelope = envelope or header(frames)
        if envelope.node != sender and not envelope.hops:
            raise WireError(f"{sender} sent a message in the name of {envelope.node}")
        self._give(sender, envelope, frames)

    def forward(self, invocation: Invocation, node: str, frames: Frames) -> None:
        """Take what an instance has sent (``forward`` of `Pool`): its unit's name is all that it may speak in."""
        try:
            envelope = header(frames)
        except WireError as error:
            self._note(f"function {invocation.function}: {error}")
            return
        if envelope.node != self.node and not envelope.hops:
            self._note(f"function {invocation.function} spoke in the name of {envelope.node}: dropped")
        elif node == self.node:
            self._give(node, envelope, frames)
        else:
            self._send(node, frames)

    def afresh(self) -> None:
        """Keep nothing of what has come for parts of earlier tasks."""
        self._held.clear()

    def step(self) -> None:
        """Drop what was kept for too long."""
        oldest = self._clock() - self._keep_s
        for part, held in list(self._held.items()):
            kept = [one for one in held if one.at > oldest]
            if len(kept) < len(held):
                self._note(f"{len(held) - len(kept)} messages for {part} dropped: no function has come for it")
            if kept:
                self._held[part] = kept
            else:
                del self._held[part]

    def _give(self, sender: str, envelope: Envelope, frames: Frames) -> None:
        part = envelope.dst
        if part in self._open and self._pass(self._open[part], sender, frames):
            return
        if isinstance(envelope.body, Query | Awaiting):
            return  # it is asked again; a part that is not here does not answer, so its head waits for it
        self.step()
        size = sum(len(frame) for frame in frames)
        if self.held_bytes + size > HELD_BYTES:
            self._note(f"{type(envelope.body).__name__} for {part} dropped: no function for it, and no room to keep it")
            return
        self._held.setdefault(part, []).append(_Held(self._clock(), sender, frames, size))

    def _pass(self, id_: int, sender: str, frames: Frames) -> bool:
        return self._pool.send(id_, Passed(sender, tuple(len(frame) for frame in frames)), frames)


def header(frames: Frames) -> Envelope:
    """The header of a message, whose tensors are not looked at (WireError: it is none)."""
    try:
        return _decoder.decode(frames[0])
    except (IndexError, msgspec.MsgspecError) as error:
        raise WireError(f"header does not parse: {error}") from None
