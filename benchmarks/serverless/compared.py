"""The arithmetic of orchestrators: what the objective came to, against baselines, and against its prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from benchmarks.grid.figures import interval, measured, most
from benchmarks.serverless.cells import Cell, run
from benchmarks.serverless.lessons import ALL
from benchmarks.serverless.scenarios import ABSENT, GREEDY, SCENARIOS, Scenario
from benchmarks.serverless.store import Found

Results = Mapping[str, Found]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """What a run came to.

    Attributes:
        seconds: Of rounds that were done, and of the time that a task took without coming to another one.
        joules: Of devices, active. price: Charged. absent: Owners left out, by round. cold, warm: Starts.
        sent: Bytes. objective: All of it, as the scenario weighs it.
    """

    seconds: float
    joules: float
    price: float
    absent: int
    cold: int
    warm: int
    sent: int
    objective: float


@dataclass(frozen=True)
class Against:
    """The orchestrator against a baseline in a scenario: objectives by seed, in pairs."""

    ours: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def above_pct(self) -> float:
        """Per cent that the orchestrator's objective is above the baseline's, of the means; below 0: it is better."""
        return 100 * (mean(self.ours) / mean(self.other) - 1)

    @property
    def less_pct(self) -> tuple[float, float | None]:
        """Per cent of the baseline's mean that the orchestrator's is less, and half the interval; None of one pair."""
        whole = mean(self.other)
        return interval([100 * (b - a) / whole for a, b in zip(self.ours, self.other, strict=True)])

    @property
    def beaten(self) -> bool:
        """Whether the baseline is worse, outside the interval."""
        middle, half = self.less_pct
        return half is not None and middle - half > 0


def cost(scenario: Scenario, row: Row) -> Cost:
    """Of a run's row. A round that was not done counts as one without anybody, unless the task is done without it."""
    seconds = joules = price = 0.0
    absent = cold = warm = sent = 0
    for task in row["tasks"].values():
        took = sum(one["measured_s"] for one in task["round_rows"] if one["measured_s"] is not None)
        over = task["state"] == "done"
        if not over and task["began_s"] is not None and task["ended_s"] is not None:
            took = max(took, task["ended_s"] - task["began_s"])
        missing = 0 if over else task["rounds"] - task["rounds_done"]
        absent += sum(task["dropped"].values()) + missing * len(task["owners"])
        seconds, joules, price = seconds + took, joules + task["active_j"], price + task["price"]
        cold, warm, sent = cold + task["cold"], warm + task["warm"], sent + task["sent"]
    time_w, energy_w, price_w = scenario.weights
    objective = time_w * seconds + energy_w * joules + price_w * price + ABSENT * absent
    return Cost(seconds, joules, price, absent, cold, warm, sent, objective)


def costs(results: Results, cell: Cell) -> Cost | None:
    """Of a cell; None if it is not there."""
    found = measured(results, cell)
    return None if found is None else cost(SCENARIOS[cell.setting], found.row)


def against(results: Results, cells: Sequence[Cell], scenario: str, policy: str) -> Against | None:
    """The orchestrator against a baseline, over the seeds of that one's cells; None if one of a pair is missing."""
    at = ("platform", scenario, policy, ALL)
    mine = [cell for cell in cells if (cell.kind, cell.setting, cell.way, cell.rule) == at]
    pairs = [(costs(results, replace(cell, way=GREEDY)), costs(results, cell)) for cell in mine]
    known = [(a.objective, b.objective) for a, b in pairs if a is not None and b is not None]
    if not known or len(known) < len(pairs):
        return None
    ours, other = zip(*known, strict=True)
    return Against(ours, other)


def pairs(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Scenarios and baselines that were to be measured."""
    every = [cell for cell in cells if cell.kind == "platform" and cell.rule == ALL and cell.way != GREEDY]
    return list(dict.fromkeys((cell.setting, cell.way) for cell in every))


def errors(results: Results, cell: Cell) -> dict[str, float] | None:
    """How far predictions were off, mean over a run's tasks: of seconds (``s``) and joules (``j``); None: unknown.

    A task's error is what its rounds were off by, too much or too little, over what they were measured to take: neither
    rounds nor tasks make good for each other.
    """
    found = measured(results, cell)
    if found is None:
        return None
    told = {}
    for key in ("s", "j"):
        known = [off for task in found.row["tasks"].values() if (off := _off(task["round_rows"], key)) is not None]
        if known:
            told[key] = mean(known)
    return told


def _off(rounds: Sequence[Row], key: str) -> float | None:
    both = [(one[f"predicted_{key}"], one[f"measured_{key}"]) for one in rounds]
    known = [(a, b) for a, b in both if a is not None and b is not None]
    whole = sum(b for _, b in known)
    return sum(abs(a - b) for a, b in known) / whole if whole > 0 else None


def off_by(results: Results, cells: Sequence[Cell]) -> dict[str, float | None]:
    """Per cent that predictions were off, by scenario and quantity, means over the orchestrator's runs of it."""
    own = [cell for cell in cells if (cell.kind, cell.way, cell.rule) == ("platform", GREEDY, ALL)]
    found: dict[str, float | None] = {}
    for scenario in dict.fromkeys(cell.setting for cell in own):
        told = [errors(results, cell) for cell in own if cell.setting == scenario]
        for key, quantity in (("s", "seconds"), ("j", "joules")):
            known = [100 * one[key] for one in told if one is not None and key in one]
            found[f"{scenario}, {quantity}"] = round(mean(known), 3) if len(known) == len(told) else None
    return found


def figures(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """The figures of orchestrators."""
    found = {at: against(results, cells, *at) for at in pairs(cells)}
    about = {at.blind: found.get((name, at.blind)) for name, at in SCENARIOS.items() if at.blind}
    off = off_by(results, cells)
    return {
        "worst_against_baseline_pct": most(None if one is None else one.above_pct for one in found.values()),
        "blind_beaten": None if None in about.values() else all(one.beaten for one in about.values() if one),
        "blind_beaten_by_pct": {policy: None if one is None else round(one.less_pct[0], 3)
                                for policy, one in about.items()},
        "prediction_error_pct": most(_mean(value for name, value in off.items() if name.endswith(quantity))
                                     for quantity in ("seconds", "joules")),
        "prediction_error_by_pct": off,
    }  # fmt: skip


def _mean(values: Iterable[float | None]) -> float | None:
    """None if one is missing, or there is none."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    return mean(known) if known and len(known) == len(listed) else None


def told(cell: Cell, found: Found) -> dict[str, Any]:
    """A run's own figures, beside what it came to."""
    one = cost(SCENARIOS[cell.setting], found.row)
    return {"objective": one.objective, "seconds": one.seconds, "joules": one.joules, "left_out": one.absent}


def reached(task: Row, accuracy: float) -> float | None:
    """Seconds from when a task came until it was so accurate; None if it never was."""
    for one in task["round_rows"]:
        if one["accuracy"] is not None and one["accuracy"] >= accuracy:
            return float(one["at_s"] - task["submitted_s"])
    return None


def greedy(scenario: str, seed: int) -> Cell:
    """The orchestrator's cell."""
    return run(scenario, GREEDY, seed)
