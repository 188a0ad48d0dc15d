"""The cells of the grid: one training each, what moves in it, and what is foretold. The lists are committed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.fedfly.settings import BATCH, SETTINGS, SITES, Setting
from benchmarks.grid.store import mark
from nodes.policies.prediction import Guess, Prediction
from testbed.experiment.changes import Move

FRACTIONS = {"dev-1": 0.1, "dev-2": 0.5, "dev-3": 0.9}
"""Of a round, when each device moves where the law is measured: three fractions in one training."""
CUTS = {"SP1": 2, "SP2": 4, "SP3": 5}
"""FedFly's split points of VGG-5: layers that stay on the device."""
SPLITS: dict[str, dict[str, float] | None] = {
    "balanced": None,
    "imbalanced": {"dev-1": 0.2, "dev-2": 0.3, "dev-3": 0.5},
}
STRATEGIES = ("restart", "relay", "migrate", "shadow")
ACCEPTED_ROUNDS = 5
"""Rounds, in each of which all devices move, whose medians the law is held against."""
WHOLE_ROUNDS = 100
STATE_MOVES = 10
FIRST_MOVE_S = 2.0
PERIOD_S = {"state-100": 3.2, "state-20": 4.1, "busy-100": 3.2, "busy-20": 4.1}
"""From one move to the next: longer than the state takes, and for a standby to be in step again."""
FORETOLD_S = 0.4
"""A forecast is made so long after the move before: that one's own state may still be on its way."""


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        kind: ``law`` (each device moves at a fraction of its own), ``state`` (one device moves every few seconds),
            ``together`` (all move at 50 %) or ``whole`` (many rounds along a trace).
        setting: Name of its bed. strategy: What becomes of the edge half; ``none`` for nobody moving.
        split: Name of how data are dealt out. cut: Name of the split point.
        forecast: ``right`` or ``wrong``, made a while ahead; empty for none but the notice that a move itself has.
    """

    kind: str
    setting: str
    strategy: str
    split: str = "balanced"
    cut: str = "SP2"
    seed: int = 1
    rounds: int = 1
    forecast: str = ""

    @property
    def name(self) -> str:
        """Unique, and readable."""
        how = f"{self.strategy}-{self.forecast}" if self.forecast else self.strategy
        times = f"x{self.rounds}" if self.rounds > 1 else ""
        return f"{self.kind}{times}/{self.setting}/{self.cut}/{self.split}/{how}/seed{self.seed}"

    @property
    def base(self) -> Cell:
        """The training without moves that this one must end as."""
        kind = "law" if self.kind == "together" else self.kind
        return replace(self, kind=kind, strategy="none", forecast="", setting=_same_training(self.setting))

    @property
    def bed(self) -> Setting:
        """What it runs on."""
        return SETTINGS[self.setting]

    @property
    def devices(self) -> tuple[str, ...]:
        """Who takes part."""
        return self.bed.names


def _same_training(setting: str) -> str:
    """Beds whose trainings are the same to the bit: links change no weights."""
    kind, _, rate = setting.partition("-")
    return f"{kind}-100" if kind in ("state", "busy") and rate else setting


def moves(cell: Cell) -> tuple[Move, ...]:
    """Who goes where when, there and back in turn; none of those that a trace makes."""
    if cell.strategy == "none" or cell.kind == "whole":
        return ()
    if cell.kind == "state":
        times = [FIRST_MOVE_S + i * PERIOD_S[cell.setting] for i in range(STATE_MOVES)]
        return tuple(Move(cell.devices[0], SITES[1 - i % 2], at=at) for i, at in enumerate(times))
    return tuple(
        Move(device, SITES[number % 2], round=number, progress=_told_at(cell, device))
        for number in range(1, cell.rounds + 1)
        for device in cell.devices
    )


def _told_at(cell: Cell, device: str) -> float:
    """When a device has to hear of its move, to have done its fraction of the round when it acts on it.

    The batch that is under way then is finished first, so that is one batch earlier.
    """
    fraction = 0.5 if cell.kind == "together" else FRACTIONS[device]
    batches = math.ceil(cell.bed.samples * share(cell, device) / BATCH) * cell.bed.epochs
    return max(0.0, fraction - 1 / batches)


def share(cell: Cell, device: str) -> float:
    """A device's part of the data."""
    fractions = SPLITS[cell.split]
    return 1 / len(cell.devices) if fractions is None else fractions[device]


def predictions(cell: Cell) -> tuple[Prediction, ...]:
    """What is foretold ahead of each move: where it goes, or the one site that it never goes to."""
    if not cell.forecast:
        return ()
    found, before = [], 0.0
    for move in moves(cell):
        assert move.at is not None, "only moves at a time are foretold"
        to = move.to if cell.forecast == "right" else SITES[2]
        found.append(Prediction(move.device, before + FORETOLD_S, Guess(to, move.at)))
        before = move.at
    return tuple(found)


def quick() -> list[Cell]:
    """The committed list that the figures come from, bed by bed."""
    law = Cell("law", "device-bound", "none", rounds=ACCEPTED_ROUNDS)
    once = replace(law, rounds=1)
    state, slow = Cell("state", "state-100", "none"), Cell("state", "state-20", "none")
    return [
        law,
        replace(law, strategy="restart"),
        replace(law, strategy="migrate"),
        once,
        replace(once, strategy="relay"),
        replace(once, strategy="shadow"),
        state,
        *_states(state),
        *_states(slow)[:2],  # what a wrong forecast costs is told apart best where the state is fast
        *(Cell("law", bed, how) for bed in ("edge-bound", "link-bound") for how in ("none", "restart", "migrate")),
    ]


def busy() -> list[Cell]:
    """What the state takes where edge servers are at work for others.

    No standby over 20 Mbit/s: the batches of a device this fast need nearly all of that, so none would be in step.
    """
    still, slow = Cell("state", "busy-100", "none"), Cell("state", "busy-20", "none")
    return [still, *_states(still)[:2], _states(slow)[0]]


def _states(base: Cell) -> list[Cell]:
    return [
        replace(base, strategy="migrate"),
        replace(base, strategy="shadow", forecast="right"),
        replace(base, strategy="shadow", forecast="wrong"),
    ]


def full(seeds: Sequence[int], traces: bool = False) -> list[Cell]:
    """The quick list, and the whole grid after it, so that what matters most is there first on each bed.

    Args:
        seeds: Of the grid. traces: Whether there are traces, and so the whole runs.
    """
    found = dict.fromkeys([*quick(), *busy(), *_grid(seeds), *(whole() if traces else ())])
    order = list(SETTINGS)
    return sorted(found, key=lambda cell: order.index(cell.setting))


def _grid(seeds: Sequence[int]) -> Iterator[Cell]:
    for seed in seeds:
        for split in SPLITS:
            for cut in CUTS:
                for strategy in ("none", *STRATEGIES):
                    yield Cell("law", "device-bound", strategy, split, cut, seed)
        for strategy in ("migrate", "shadow"):
            yield Cell("together", "device-bound", strategy, seed=seed)
        for setting in ("edge-bound", "link-bound"):
            for strategy in ("none", *STRATEGIES):
                yield Cell("law", setting, strategy, seed=seed)


def whole() -> list[Cell]:
    """Whole runs: as many rounds as the published experiment has, along real movement."""
    names = [name for name, setting in SETTINGS.items() if setting.trace]
    return [Cell("whole", name, how, rounds=WHOLE_ROUNDS) for name in names for how in ("none", *STRATEGIES)]


def fingerprint(cell: Cell, code: str, data: str) -> str:
    """What a stored result must agree in to count: the cell and its bed, moves and forecasts, the code, the data."""
    what = [asdict(cell), asdict(cell.bed), [asdict(m) for m in moves(cell)], [asdict(p) for p in predictions(cell)]]
    return mark(what, code, data)
