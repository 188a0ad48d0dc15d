"""Blobs between units: what an invocation needs is fetched from where it is, and given to others who ask.

It decides nothing about sockets: ``post`` sends a message to another unit, and whoever hears one calls `Blobs.hear`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from nodes.errors import RoambedError, WireError
from nodes.events import Span
from nodes.platform.fetching import Fetches
from nodes.platform.pieces import Pieces
from nodes.platform.store import Store
from nodes.wire.codec import Tensors
from nodes.wire.platform_messages import Blob, KeepBlobs, NoBlob, WantBlob

FETCH_S = 300.0
"""Seconds of the experiment after which a blob that does not come is given up; large models cross slow links."""

Post = Callable[[str, WantBlob | Blob | NoBlob, Tensors], None]
Then = Callable[[str, "Need"], None]
"""Called when all is here (with an empty text), or cannot be had (with the reason)."""


@dataclass(eq=False)
class Need:
    """What one invocation waits for; pinned as it comes, until ``then`` has been called.

    Attributes:
        came: Bytes that came for it, by the unit that sent them.
        gently: Whether they come piece by piece, each asked for when the one before is here.
        denied: Blobs, and units that say that they do not have them.
    """

    then: Then
    digests: tuple[str, ...]
    gently: bool = False
    left: int = 0
    pinned: list[str] = field(default_factory=list)
    came: Counter[str] = field(default_factory=Counter)
    denied: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Asked:
    source: str
    need: Need
    at: float
    pieces: Pieces | None = None  # of one that comes piece by piece


class Blobs:
    """The blobs of one unit, as other units have to do with them.

    Args:
        unit: This one. store: Its blobs. post: Sends a message to another unit.
        emit: Records an event. note: Takes what a person should read.
        dilation: Real seconds that a second of the experiment takes. clock: Stands in for the machine's in tests.

    Attributes:
        private: Digests of blobs that are given to nobody.
    """

    def __init__(
        self,
        unit: str,
        store: Store,
        post: Post,
        *,
        emit: Callable[[Span], None] = lambda _: None,
        note: Callable[[str], None] = lambda _: None,
        dilation: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.private: set[str] = set()
        self._unit = unit
        self._post = post
        self._emit = emit
        self._note = note
        self._dilation = dilation
        self._clock = clock
        self._fetches = Fetches(store, self._ask, clock)
        self._needs: set[Need] = set()
        self._asking: Need | None = None
        self._asked: dict[str, _Asked] = {}
        self._unasked: list[tuple[str, str, str]] = []          # source, digest, why it could not be asked for
        self._kept: Counter[str] = Counter()                    # pins for the orchestrator

    def need(
        self, digests: Iterable[str], where: Mapping[str, str], then: Then, *, gently: bool = False
    ) -> Need:  # fmt: skip
        """Have blobs here, from other units where they are not; ``then`` hears of it, at once if they are all here.

        Args:
            digests: Which.
            where: Unit that has a blob, by digest.
            then: See `Then`; blobs are pinned while it runs.
            gently: Leave the way to others: one piece of a blob at a time.
        """
        wanted = list(dict.fromkeys(digests))
        missing = self.store.missing(wanted)
        need = Need(then, tuple(wanted), gently)
        lost = [digest for digest in missing if where.get(digest, "") in ("", self._unit)]
        if lost:
            then(f"blob {lost[0][:12]} is not on {self._unit}, and nobody was named who has it", need)
            return need
        by_source: dict[str, list[str]] = {}
        for digest in missing:
            by_source.setdefault(where[digest], []).append(digest)
        need.left = len(by_source)
        self._needs.add(need)
        self._pin(need, [digest for digest in wanted if digest not in missing])
        if not by_source:
            self._settle(need, "")
        for source, group in by_source.items():
            self._asking = need
            self._fetches.want(group, source, partial(self._got, need, group), FETCH_S * self._dilation)
            if not gently:
                self._hurry(group)
        self._asking = None
        return need

    def forget(self, need: Need) -> None:
        """Nobody waits for this any more. What is on its way comes all the same."""
        if need in self._needs:
            self._needs.discard(need)
            self.store.unpin(need.pinned)

    def hear(self, sender: str, body: WantBlob | Blob | NoBlob, tensors: Tensors, size: int) -> None:
        """Take what another unit says of a blob; ``size`` is that of the message in bytes."""
        if isinstance(body, WantBlob):
            self._give(sender, body)
            return
        asked = self._asked.get(body.digest)
        if isinstance(body, Blob) and body.piece is not None:
            if asked is not None and asked.source == sender and asked.pieces is not None:
                self._piece(asked, asked.pieces, body, tensors, size)
            return  # else all of it has been asked for since, or nobody wants it any more
        if asked is None or asked.source != sender:
            self._note(f"{sender} sent {type(body).__name__} {body.digest[:12]}, which it was not asked for: dropped")
        elif isinstance(body, NoBlob):
            self._denied(sender, body)
        else:
            asked.need.came[sender] += size
            self._here(asked, body.digest, tensors, size)

    def lost(self, unit: str) -> None:
        """A unit is gone: nothing more comes from it."""
        for digest, asked in list(self._asked.items()):
            if asked.source == unit:
                self._give_up(digest, f"{unit} is gone")

    def keep(self, message: KeepBlobs) -> None:
        """Pin blobs for the orchestrator, and take back pins that it has: as often as it says."""
        self.store.pin(message.pin)
        self._kept.update(message.pin)
        for digest in message.unpin:
            if self._kept[digest]:
                self._kept[digest] -= 1
                self.store.unpin([digest])

    def clear(self) -> None:
        """Wait for no blob any more; let go of the orchestrator's pins, and of all blobs that no instance needs."""
        for digest in list(self._asked):
            self._give_up(digest, "the unit begins afresh")
        self.store.unpin(self._kept.elements())
        self._kept.clear()
        self.store.clear()

    def due(self) -> float | None:
        """Seconds until `step` has something to do; None: nothing to wait for."""
        if self._unasked:
            return 0.0
        return self._fetches.due()

    def step(self) -> None:
        """Give up what has taken too long, or could not be asked for."""
        unasked, self._unasked = self._unasked, []
        for source, digest, reason in unasked:
            if digest in self._asked and self._asked[digest].source == source:
                self._give_up(digest, reason)
        self._fetches.step()

    def _piece(self, asked: _Asked, pieces: Pieces, body: Blob, tensors: Tensors, size: int) -> None:
        if not pieces.add(body, tensors):
            return
        asked.need.came[asked.source] += size
        if pieces.whole:
            self._here(asked, body.digest, pieces.joined(), pieces.size)
        else:
            self._want(asked.source, pieces.next)

    def _here(self, asked: _Asked, digest: str, tensors: Tensors, size: int) -> None:
        """A blob has come, in messages of ``size`` bytes."""
        del self._asked[digest]
        self._emit(
            Span(
                kind="fetch", node=self._unit, peer=asked.source, begin=asked.at, end=self._clock(), bytes=size,
                attrs={"digest": digest},
            )
        )  # fmt: skip
        self._fetches.came(digest, tensors)

    def _denied(self, sender: str, body: NoBlob) -> None:
        del self._asked[body.digest]
        for need in self._needs:
            if body.digest in need.digests:
                need.denied.append((body.digest, sender))
        self._fetches.failed(body.digest, f"{sender} says: {body.reason}")

    def _give_up(self, digest: str, reason: str) -> None:
        del self._asked[digest]
        self._fetches.failed(digest, reason)

    def _ask(self, source: str, digest: str) -> None:
        assert self._asking is not None
        pieces = Pieces(digest) if self._asking.gently else None
        self._asked[digest] = _Asked(source, self._asking, self._clock(), pieces)
        self._want(source, pieces.next if pieces else WantBlob(digest))

    def _want(self, source: str, message: WantBlob) -> None:
        try:
            self._post(source, message, {})
        except WireError as error:
            self._unasked.append((source, message.digest, str(error)))

    def _hurry(self, digests: Iterable[str]) -> None:
        """Somebody waits for these now: what comes piece by piece is asked for as a whole."""
        for digest in digests:
            asked = self._asked.get(digest)
            if asked is not None and asked.pieces is not None:
                self._asked[digest] = replace(asked, pieces=None)
                self._want(asked.source, WantBlob(digest))

    def _give(self, sender: str, wanted: WantBlob) -> None:
        digest = wanted.digest
        try:
            if digest in self.private:
                raise RoambedError("it does not leave its unit")
            if wanted.piece is None:
                self._post(sender, Blob(digest), self.store.get(digest))
            else:
                data, pieces = self.store.piece(digest, wanted.piece)
                self._post(sender, Blob(digest, wanted.piece, pieces), {"": data})
        except RoambedError as error:  # also one whose tensors have no wire form
            self._post(sender, NoBlob(digest, str(error)), {})

    def _got(self, need: Need, group: list[str], reason: str) -> None:
        if need not in self._needs:
            return
        need.left -= 1
        if not reason:
            self._pin(need, group)
        if reason or not need.left:
            self._settle(need, reason)

    def _pin(self, need: Need, digests: list[str]) -> None:
        self.store.pin(digests)
        need.pinned += digests

    def _settle(self, need: Need, reason: str) -> None:
        self._needs.discard(need)
        try:
            need.then(reason, need)
        finally:
            self.store.unpin(need.pinned)
