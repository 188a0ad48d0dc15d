"""The page's tables of runs on the platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from benchmarks.grid.figures import measured
from benchmarks.grid.page import plus_minus
from benchmarks.serverless.cells import Cell
from benchmarks.serverless.compared import Cost, Results, against, costs, errors, greedy, reached
from benchmarks.serverless.lessons import ALL
from benchmarks.serverless.scenarios import GREEDY, SCENARIOS

NEAR = 0.9
"""Of the accuracy that the orchestrator's run ended with: time to that is told."""
_COSTS = "objective | seconds | joules | price | left out | cold starts | MB sent"


def comparisons(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    """A row a scenario and policy."""
    groups = _groups(cells, ALL)
    if not groups:
        return
    yield f"| scenario | who decides | {_COSTS} | above | seeds |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for (scenario, policy), mine in groups.items():
        begin = f"| {_title(scenario, policy)} |"
        there = [one for cell in mine if (one := costs(results, cell)) is not None]
        if not there:
            yield f"{begin} not measured | | | | | | | | |"
            continue
        yield f"{begin} {_cost(there)} | {_above(results, cells, scenario, policy)} | {len(there)} of {len(mine)} |"


def _cost(there: Sequence[Cost]) -> str:
    return (
        f"{plus_minus([one.objective for one in there], 2)} | {mean(one.seconds for one in there):.1f} | "
        f"{mean(one.joules for one in there):.1f} | {mean(one.price for one in there):.2e} | "
        f"{mean(one.absent for one in there):.1f} | {mean(one.cold for one in there):.0f} of "
        f"{mean(one.cold + one.warm for one in there):.0f} | {mean(one.sent for one in there) / 1e6:.1f}"
    )


def _above(results: Results, cells: Sequence[Cell], scenario: str, policy: str) -> str:
    if policy == GREEDY:
        return ""
    found = against(results, cells, scenario, policy)
    if found is None:
        return "not measured"
    above = 100 * (mean(found.other) / mean(found.ours) - 1)
    half = found.less_pct[1]
    sure = "" if half is None else f" ± {half * mean(found.other) / mean(found.ours):.1f}"
    missed = " **missed**" if found.above_pct > 3 or (policy == SCENARIOS[scenario].blind and not found.beaten) else ""
    return f"{above:+.1f}{sure} %{missed}"


def tasks(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    """What became of the tasks of the first seed's runs."""
    listed = [cell for mine in _groups(cells, ALL).values() for cell in mine if cell.seed == 1]
    if not listed:
        return
    yield (
        "| scenario | who decides | task | state | rounds | waited | took | accuracy | to 90 % | GB-s "
        "| energy by device [J] |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for cell in listed:
        found = measured(results, cell)
        begin = f"| {_title(cell.setting, cell.way)} |"
        if found is None:
            yield f"{begin} | not measured | | | | | | | |"
            continue
        other = measured(results, greedy(cell.setting, cell.seed))
        for name, task in found.row["tasks"].items():
            best = _last(other.row["tasks"].get(name)) if other is not None else None
            at = None if best is None else reached(task, NEAR * best)
            spent = ", ".join(f"{device} {joules:.1f}" for device, joules in task["energy"].items())
            yield (
                f"{begin} {name} | {task['state']} | {task['rounds_done']} of {task['rounds']} | "
                f"{_s(task['waited_s'])} | {_s(task['took_s'])} | {_share(_last(task))} | {_s(at)} | "
                f"{task['gb_s']:.1f} | {spent} |"
            )


def predictions(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    """How near predictions came, a row a run of the orchestrator."""
    listed = [cell for (_, policy), mine in _groups(cells, ALL).items() if policy == GREEDY for cell in mine]
    if not listed:
        return
    yield "| scenario | seed | seconds off by | joules off by | longest decision | handovers | reserve kept |"
    yield "|---|---|---|---|---|---|---|"
    for cell in listed:
        found, told = measured(results, cell), errors(results, cell)
        begin = f"| {SCENARIOS[cell.setting].title} | {cell.seed} |"
        if found is None or told is None:
            yield f"{begin} not measured | | | | |"
            continue
        left = found.row["batteries"].values()
        kept = "" if not left else "yes" if min(left) >= 0 else f"**no, {-min(left):.1f} J below**"
        yield (
            f"{begin} {_error(told.get('s'))} | {_error(told.get('j'))} | {1000 * found.row['decided_s']:.0f} ms | "
            f"{found.row['handovers']} | {kept} |"
        )


def ruled(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    """Shares of the data on the platform, a row a scenario and rule, beside all data."""
    rules = list(dict.fromkeys(c.rule for c in cells if c.kind == "platform" and c.rule != ALL))
    if not rules:
        return
    yield f"| scenario | trained on | {_COSTS} | accuracy | seeds |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for scenario in dict.fromkeys(c.setting for c in cells if c.kind == "platform" and c.rule != ALL):
        for rule in (ALL, *rules):
            mine = _groups(cells, rule).get((scenario, GREEDY), [])
            there = [one for cell in mine if (one := costs(results, cell)) is not None]
            begin = f"| {SCENARIOS[scenario].title} | {'all data' if rule == ALL else f'`{rule}`'} |"
            if not there:
                yield f"{begin} not measured | | | | | | | | |"
                continue
            rows = [found.row for cell in mine if (found := measured(results, cell)) is not None]
            ends = [last for row in rows for task in row["tasks"].values() if (last := _last(task)) is not None]
            yield (
                f"{begin} {_cost(there)} | {_share(mean(ends) if ends else None)} | {len(there)} of {len(mine)} |"
            )


def _groups(cells: Sequence[Cell], rule: str) -> dict[tuple[str, str], list[Cell]]:
    """Cells of a rule by scenario and policy, scenario by scenario, the orchestrator first."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.kind == "platform" and cell.rule == rule:
            found.setdefault((cell.setting, cell.way), []).append(cell)
    names = list(SCENARIOS)
    return dict(sorted(found.items(), key=lambda item: (names.index(item[0][0]), item[0][1] != GREEDY)))


def _title(scenario: str, policy: str) -> str:
    return f"{SCENARIOS[scenario].title} | {f'**{policy}**' if policy == GREEDY else policy}"


def _last(task: object) -> float | None:
    if not isinstance(task, dict):
        return None
    known = [one["accuracy"] for one in task["round_rows"] if one["accuracy"] is not None]
    return known[-1] if known else None


def _s(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
