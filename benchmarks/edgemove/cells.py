"""The cells of the grid: a question each, answered by one or more trainings on its bed. The lists are committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.edgemove.settings import ALL_ON_EDGE, SETTINGS, Setting, Training
from benchmarks.grid.store import mark

ADAPTS = ("proactive", "reactive", "static")
VARIANTS = {
    "proactive": Training(adapt="proactive", probing="adaptive"),
    "reactive": Training(adapt="reactive", probing="adaptive"),
    "static": Training(adapt="static", probing="off"),
    "every-2s": Training(adapt="proactive", probing="{every: 2s}"),
    "unprobed": Training(adapt="proactive", probing="off"),
    "full-profile": Training(adapt="proactive", probing="adaptive", profile="full"),
}
"""What an adaptive training is compared in; the first three make up the accepted figures, the others are ablations."""
STEADY = ("auto", "sequential", "local", "edge", "sync")
"""What is measured of a setting where nothing changes: the chosen pipeline, and what it is compared with."""
BOUND_ROUNDS = 3
AGAIN = 2
"""Rounds, where what was measured is measured again."""


@dataclass(frozen=True)
class Cell:
    """One question.

    Attributes:
        kind: ``bound`` (how close a pipeline comes to what bounds it), ``plans`` (the chosen plan against all),
            ``split`` (unpipelined, at its best cut), ``steady`` (everything else where nothing changes), ``moving``
            (the device moves), ``load`` (servers are at work for others, now and then), ``traces`` (recorded links),
            ``accuracy`` (pipelined against plain training).
        setting: Its name. way: What of it; see `trainings`. seed: Of everything random.
    """

    kind: str
    setting: str
    way: str
    seed: int = 1

    @property
    def name(self) -> str:
        """Unique, and readable."""
        return f"{self.kind}/{self.setting}/{self.way}" + (f"/seed{self.seed}" if self.seed != 1 else "")

    @property
    def on(self) -> Setting:
        """What it is measured on."""
        return SETTINGS[self.setting]

    def beside(self, way: str, kind: str = "") -> Cell:
        """The cell that is compared with."""
        return replace(self, way=way, kind=kind or self.kind)


def training(cell: Cell) -> Training:
    """What a cell begins with; those of kind ``plans`` and ``split`` change the plan or cut from one to the next."""
    setting = cell.on
    base = Training(seed=cell.seed, batches=setting.batches)
    match cell.kind, cell.way:
        case "bound", "apart":
            # One micro-batch at a time: nothing goes on beside it.
            return replace(base, plan=setting.plan, schedule="sequential", rounds=BOUND_ROUNDS, batches=2)
        case "bound", schedule:
            return replace(
                base, plan=setting.plan, schedule=schedule, rounds=BOUND_ROUNDS, batches=setting.batches,
                depth=setting.depth,
            )  # fmt: skip
        case "plans", _:
            return base
        case "split", _:
            return replace(base, schedule="sequential", micro=1)
        case "steady", "local":
            return replace(base, scheme="local", rounds=BOUND_ROUNDS)
        case "steady", "edge":
            return replace(base, plan=ALL_ON_EDGE, keep=0, rounds=BOUND_ROUNDS)
        case "steady", "auto":
            return replace(base, rounds=BOUND_ROUNDS)
        case "steady", schedule:
            return replace(base, schedule=schedule, rounds=AGAIN)
        case "accuracy", "local":
            return replace(base, scheme="local", rounds=setting.rounds, test=360)
        case "accuracy", _:
            return replace(base, rounds=setting.rounds, test=360)
        case _, way:
            own = VARIANTS[way]
            return replace(base, adapt=own.adapt, probing=own.probing, profile=own.profile, rounds=setting.rounds)


def quick() -> list[Cell]:
    """The committed list that the figures come from, bed by bed."""
    listed = [*_bounds(), *_plans(), *_steady(("auto", "sequential")), *_moving(1)]
    beside = {"split": "steady"}  # measured for those
    return in_order([cell for cell in listed if beside.get(cell.kind, cell.kind) not in cell.on.longer])


def full(seeds: Sequence[int], traces: bool = False) -> list[Cell]:
    """The quick list, and the whole grid after it, so that what matters most is there first on each bed.

    Args:
        seeds: Of the grid. traces: Whether there are traces.
    """
    listed = [*quick(), *_plans(), *_steady(STEADY), *_accuracy(seeds)]
    for seed in seeds:
        listed += [*_moving(seed), *_ablations(seed), *_loads(seed)]
    if traces:
        listed += [Cell("traces", name, way) for name in _of_kind("traces") for way in ADAPTS]
    return in_order(dict.fromkeys(listed))


def _bounds() -> Iterator[Cell]:
    for name, setting in SETTINGS.items():
        if setting.slowest:
            yield from (Cell("bound", name, way) for way in ("apart", "1f1b", "sync"))


def _plans() -> Iterator[Cell]:
    yield from (Cell("plans", name, "all") for name in _of_kind("plans"))


def _steady(ways: Sequence[str]) -> Iterator[Cell]:
    for name in _of_kind("steady"):
        yield Cell("split", name, "cuts")
        yield from (Cell("steady", name, way) for way in ways)


def _moving(seed: int) -> Iterator[Cell]:
    yield from (Cell("moving", name, way, seed) for name in _of_kind("moving") for way in ADAPTS)


def _ablations(seed: int) -> Iterator[Cell]:
    yield from (Cell("moving", name, way, seed) for name in _of_kind("moving") for way in VARIANTS)


def _loads(seed: int) -> Iterator[Cell]:
    yield from (Cell("load", name, way, seed) for name in _of_kind("load") for way in ADAPTS)


def _accuracy(seeds: Sequence[int]) -> Iterator[Cell]:
    for name in _of_kind("accuracy"):
        yield from (Cell("accuracy", name, way, seed) for seed in seeds for way in ("local", "1f1b"))


def _of_kind(kind: str) -> list[str]:
    return [name for name, setting in SETTINGS.items() if kind in setting.kinds]


def in_order(listed: Sequence[Cell] | dict[Cell, None]) -> list[Cell]:
    """By bed, and otherwise as they are."""
    beds = list(dict.fromkeys(setting.bed.name for setting in SETTINGS.values()))
    return sorted(listed, key=lambda cell: beds.index(cell.on.bed.name))


def fingerprint(cell: Cell, code: str, data: str) -> str:
    """What a stored result must agree in to count: the cell, its setting and bed, its training, the code, the data."""
    return mark(asdict(cell), asdict(cell.on), asdict(training(cell)), code, data)
