"""How a unit stands, as its agent tells the orchestrator: when something changes, and every second all the same."""

from __future__ import annotations

import time
from collections.abc import Callable

from nodes.platform import measuring
from nodes.platform.instances import Pool
from nodes.wire import control as ctl
from nodes.wire.platform_messages import UnitState

BEAT_S = 1.0
"""Seconds of the experiment after which a unit says how it stands although nothing has changed."""


class Standing:
    """What one unit says of itself.

    Args:
        file: What the unit was born with. pool: Its instances. say: Tells the orchestrator.
        clock: Stands in for the machine's in tests.
    """

    def __init__(
        self,
        file: ctl.NodeFile,
        pool: Pool,
        say: Callable[[UnitState], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert file.platform is not None
        self._file = file
        self._reserve_j = file.platform.reserve_j
        self._pool = pool
        self._say = say
        self._clock = clock
        self._at = file.platform.at
        self._coming = ""
        self._radio = ctl.Radio(None, None)
        self._left_j: float | None = None
        self._cold: dict[str, float] = {}
        self._told: UnitState | None = None
        self._told_at = self._born = clock()

    def hear(self, message: ctl.Notice | ctl.Radio | ctl.Battery) -> None:
        """Take what the modem or the battery says."""
        match message:
            case ctl.Notice(edge=edge, done=True):
                self._at, self._coming = edge, ""
            case ctl.Notice(edge=edge):
                self._coming = edge
            case ctl.Radio():
                self._radio = message
            case ctl.Battery(left_j=left):
                self._left_j = left

    @property
    def spent(self) -> bool:
        """Whether the battery is at its reserve."""
        return self._reserve_j is not None and self._left_j is not None and self._left_j <= self._reserve_j

    def afresh(self) -> None:
        """Begin again, where the unit was at the start. How long its cold starts take is as true as it was."""
        assert self._file.platform is not None
        self._born = self._clock()
        self._at, self._coming, self._left_j = self._file.platform.at, "", None

    def started(self, function: str, seconds: float) -> None:
        """A cold start of a function took so many seconds of the experiment, without what others took of them."""
        self._cold[function] = seconds

    def now(self) -> UnitState:
        """How it stands now."""
        return UnitState(
            name=self._file.name, kind=self._file.kind, born=self._born, speed=self._file.speed or 1.0,
            memory=self._pool.free,
            warm=self._warm(), cold=dict(self._cold), at=self._at,
            in_reach=self._radio.in_reach, battery_j=self._left_j, up=self._radio.up, down=self._radio.down,
            coming=self._coming,
        )  # fmt: skip

    def _warm(self) -> tuple[str, ...]:
        return tuple(name for name in sorted(self._pool.warm_functions().elements()) if name != measuring.NAME)

    def due(self) -> float:
        """Seconds until it has to be said again."""
        return max(self._told_at + BEAT_S * self._file.dilation - self._clock(), 0.0)

    def step(self) -> None:
        """Say it if that is due. Out of reach nothing is said, for it would only wait, and be old when it comes."""
        if not self._radio.in_reach:
            self._told, self._told_at = None, self._clock()
            return
        state = self.now()
        if state != self._told or not self.due():
            self._told, self._told_at = state, self._clock()
            self._say(state)
