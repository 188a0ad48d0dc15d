"""What a move cost with restarting against what it cost with moving the training state, on the same seed.

The law: a device that has done the share ``f`` of a round of length ``T`` when it moves needs ``(1 + f) T`` if it
starts again and ``T + downtime`` if its state comes along. Moving the state so saves ``(f - downtime / T) / (1 + f)``,
at best ``f / (1 + f)``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from testbed.report.records import RESTART, MoveRecord, RunRecord, SchemeRecord


@dataclass(frozen=True)
class Saving:
    """One round of one device that moved in it, under two schemes.

    Attributes:
        device: Who moved. round: In which round. base: Scheme that restarts. other: Scheme that does not.
        strategy: What the other one does.
        restarting_s: The round's time with a restart. moving_s: Without one.
        f: Share of the round's batches that were done when the restart threw them away.
        downtime_s: Time that the other scheme could not train for its move.
    """

    device: str
    round: int
    base: str
    other: str
    strategy: str
    restarting_s: float | None
    moving_s: float | None
    f: float | None
    downtime_s: float | None

    @property
    def saved(self) -> float | None:
        """Share of the restarting time that was saved, as measured."""
        if self.restarting_s is None or self.moving_s is None or self.restarting_s <= 0:
            return None
        return 1 - self.moving_s / self.restarting_s

    @property
    def law(self) -> float | None:
        """The most that can be saved: f / (1 + f)."""
        return None if self.f is None else self.f / (1 + self.f)

    @property
    def law_with_downtime(self) -> float | None:
        """What should be saved given the move's own downtime; T is the round's time less that downtime."""
        if self.f is None or self.downtime_s is None or self.moving_s is None or self.moving_s <= self.downtime_s:
            return None
        return (self.f - self.downtime_s / (self.moving_s - self.downtime_s)) / (1 + self.f)


def savings(record: RunRecord) -> list[Saving]:
    """All rounds in which a device moved under a scheme that restarts and one that does not, on the same samples."""
    found = []
    for base in record.schemes:
        restarts = _by_round(m for m in base.moves if m.strategy == RESTART)
        for other in record.schemes:
            if other is base or not restarts or other.selection.get("rule") != base.selection.get("rule"):
                continue
            carried = _by_round(m for m in other.moves if m.strategy not in (RESTART, "none", "?"))
            found += [
                _saving(base, other, *key, restarts[key], carried[key]) for key in sorted(restarts) if key in carried
            ]
    return found


def _by_round(moves: Iterable[MoveRecord]) -> Mapping[tuple[str, int], list[MoveRecord]]:
    rounds: dict[tuple[str, int], list[MoveRecord]] = defaultdict(list)
    for move in moves:
        if move.round is not None:
            rounds[move.device, move.round].append(move)
    return rounds


def _saving(
    base: SchemeRecord, other: SchemeRecord, device: str, count: int,
    restarts: list[MoveRecord], carried: list[MoveRecord],
) -> Saving:  # fmt: skip
    return Saving(
        device=device,
        round=count,
        base=base.name,
        other=other.name,
        strategy=carried[0].strategy,
        restarting_s=base.time_of(device, count),
        moving_s=other.time_of(device, count),
        # Each of several restarts in a round throws its own share away.
        f=_sum(m.progress for m in restarts) if any(m.progress is not None for m in restarts)
        else _sum(m.progress for m in carried),
        downtime_s=_sum(m.downtime_s for m in carried),
    )  # fmt: skip


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if not known or None in known else sum(v for v in known if v is not None)
