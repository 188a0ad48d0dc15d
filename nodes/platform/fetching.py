"""Getting blobs from other units' stores: each is asked for once, however many wait for it, and waited for by nobody.

It sends nothing itself: ``ask`` does, and whoever hears the answer calls `Fetches.came` or `Fetches.failed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nodes.errors import RoambedError
from nodes.platform.store import Store
from nodes.wire.codec import Tensors

Then = Callable[[str], None]
"""Called when all is here (with an empty text), or cannot be had (with the reason)."""


@dataclass
class _Want:
    digests: list[str]     # all, in the order in which they were asked for
    missing: set[str]
    pinned: list[str]      # what is here must not go while the rest is on its way
    until: float
    then: Then


class Fetches:
    """What a unit waits for.

    Args:
        store: Where it is kept. ask: Asks another unit for a blob. clock: Stands in for the machine's in tests.
    """

    def __init__(
        self, store: Store, ask: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._ask = ask
        self._clock = clock
        self._wants: list[_Want] = []
        self._asked: set[str] = set()
        self.fetched = 0
        self.bytes = 0

    def want(self, digests: Iterable[str], source: str, then: Then, seconds: float) -> None:
        """Have these blobs here, from the unit ``source`` where they are not; ``then`` hears of it.

        If they are all here it does at once. What is here is not asked for, nor what is on its way already.
        """
        wanted = list(dict.fromkeys(digests))
        missing = self._store.missing(wanted)
        here = [digest for digest in wanted if digest not in missing]
        self._store.pin(here)
        want = _Want(wanted, set(missing), here, self._clock() + seconds, then)
        self._wants.append(want)
        for digest in missing:
            if digest not in self._asked:
                self._asked.add(digest)
                self._ask(source, digest)
        self._settle()

    def came(self, digest: str, arrays: Tensors) -> None:
        """A blob has come. It is verified; one that is damaged, or has no room, counts as not to be had."""
        if digest not in self._asked:
            return  # nobody waits for it any more, or it came twice
        try:
            self._store.put(arrays, digest)
        except RoambedError as error:
            self.failed(digest, str(error))
            return
        self._asked.discard(digest)
        self.fetched += 1
        self.bytes += sum(int(array.nbytes) for array in arrays.values())
        for want in self._wants:
            if digest in want.missing:
                want.missing.discard(digest)
                self._store.pin([digest])
                want.pinned.append(digest)
        self._settle()

    def failed(self, digest: str, reason: str) -> None:
        """A blob is not to be had from where it was asked for."""
        self._asked.discard(digest)
        for want in [want for want in self._wants if digest in want.missing]:
            self._end(want, f"blob {digest[:12]} is not to be had: {reason}")

    def due(self) -> float | None:
        """Seconds until `step` has something to do; None: nobody waits."""
        return max(min(w.until for w in self._wants) - self._clock(), 0.0) if self._wants else None

    def step(self) -> None:
        """Give up what has taken too long."""
        now = self._clock()
        for want in [want for want in self._wants if want.until <= now]:
            self._end(want, "no answer in time for " + ", ".join(digest[:12] for digest in sorted(want.missing)))

    def _settle(self) -> None:
        for want in [want for want in self._wants if not want.missing]:
            self._end(want, "")

    def _end(self, want: _Want, reason: str) -> None:
        if want not in self._wants:
            return
        self._wants.remove(want)
        still = {digest for other in self._wants for digest in other.missing}
        self._asked &= still  # what nobody waits for may be asked for again
        try:
            want.then(reason)
        finally:
            self._store.unpin(want.pinned)
