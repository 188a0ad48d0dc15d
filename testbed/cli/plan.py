"""``testbed plan FILE``: where the stages of pipelines will be, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.options import (
    RUNS,
    FileArgument,
    Format,
    FormatOption,
    RunsOption,
    SchemeOption,
    SetOption,
    print_json,
)

if TYPE_CHECKING:
    from nodes.policies.plans import Plan as Prediction
    from testbed.experiment.plan import Plan
    from testbed.run.planned import Planned
    from testbed.run.taken import Taken

MOST_CHAINS = 12


def command(
    file: FileArgument,
    set_: SetOption = None,
    scheme: SchemeOption = None,
    measured: Annotated[
        str | None,
        typer.Option("--measured", metavar="RUN", help="Compare with what this run took, by its id or directory."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure times by layer here, if they are not known, and keep them.")
    ] = False,
    runs: RunsOption = RUNS,
    format_: FormatOption = Format.table,
) -> None:
    """Print the layout of each device's pipeline, what it is predicted to take, and what else was considered."""
    from testbed.experiment import load_plan
    from testbed.report.find import find_run
    from testbed.report.load import load
    from testbed.run.planned import layer_times, planned, require_stages, whole_times
    from testbed.run.taken import require_same, taken

    plan = load_plan(file, set_ or [], schemes=scheme or None)
    require_stages(plan)
    record = None if measured is None else load(find_run(measured, runs))
    pipes = [] if record is None else require_same(record, plan)
    # A run's steps were paced by its own times.
    own = {} if record is None else record.manifest.get("reference_by_layer")
    times = own if isinstance(own, dict) and own else layer_times(plan, measure=measure)
    whole = whole_times(plan, measure=measure)
    found = planned(plan, times, whole)
    took = taken(pipes, found)
    if format_ is Format.json:
        print_json({
            "experiment": plan.name, "model": plan.workload.model, "batch": plan.workload.batch,
            "micro": plan.workload.pipeline.micro, "schedule": plan.workload.pipeline.schedule, "times": times,
            "devices": {device: one.as_dict() for device, one in found.items()},
            "measured": None if record is None else {"run": record.run, "layouts": [one.as_dict() for one in took]},
        })  # fmt: skip
        return
    console = Console()
    for device, one in found.items():
        _show(console, plan, device, one)
    if record is not None:
        _compare(console, plan, record.run, took)


def _show(console: Console, plan: Plan, device: str, one: Planned) -> None:
    from nodes.policies.plans import rows
    from testbed.cli.show import stages

    model = plan.workload.model
    layout, found, best = one.staging.layout, one.prediction, one.best
    console.print(f"[bold]{device}[/bold]: {stages(model, layout)}", highlight=False)
    if one.staging.prediction is None and one.staging.why:
        _say(console, f"not chosen: {one.staging.why}")
    if one.why:
        _say(console, one.why)
    if found is not None:
        _say(console, f"{found.seconds:.4g} s a batch predicted with {found.schedule}, {found.rate:.4g} samples a "
             f"second; {found.bottleneck} is the slowest: no order of work takes less than "
             f"{found.micro * found.bound:.4g} s")  # fmt: skip
        if found.staleness:
            _say(console, f"weights are {found.staleness} update{'s' * (found.staleness > 1)} old at most")
    if best is not None and (best.layout.bounds, best.layout.nodes) != (layout.bounds, layout.nodes):
        _say(console, f"the best would be {best.layout}: {best.seconds:.4g} s a batch")
    _beside(console, "split, without a pipeline", one.split, one.speedup)
    if one.split is None:
        _say(console, "split, without a pipeline: times of whole batches are not measured yet; --measure does")
    _beside(console, "one micro-batch at a time", one.sequential, one.over_turns)
    if found is not None:
        head, lines = rows(found)
        table = Table(*head, title=f"{device}: what a micro-batch takes")
        for line in lines:
            table.add_row(*line)
        console.print(table)
    if best is not None:
        console.print(_chains(device, best))


def _beside(console: Console, what: str, other: Prediction | None, speedup: float | None) -> None:
    if other is not None:
        most = "" if speedup is None else f"; the pipeline is at most {speedup:.2f} times as fast"
        _say(console, f"{what}: {other.seconds:.4g} s a batch at best, {other.layout}{most}")


def _chains(device: str, best: Prediction) -> Table:
    """The best of each chain of nodes, the fastest first, and what cannot be."""
    every = sorted(best.considered, key=lambda c: (c.score is None, c.score or 0.0, len(c.nodes), c.nodes))
    left = len(every) - MOST_CHAINS
    title = f"{device}: chains considered" + (f", the first {MOST_CHAINS} of {len(every)}" if left > 0 else "")
    table = Table("nodes", "s a batch", "why not", title=title)
    for one in every[:MOST_CHAINS]:
        seconds = "" if one.score is None else f"{best.micro * one.score:.4g}"
        table.add_row(" > ".join(one.nodes), seconds, one.why)
    return table


def _compare(console: Console, plan: Plan, run: str, took: list[Taken]) -> None:
    from testbed.cli.show import stages

    console.print(f"[bold]{run}[/bold]: predicted and measured", highlight=False)
    if not took:
        _say(console, "there is no round in which all stages stayed where they were")
    for one in took:
        which = f"round{'s' * (len(one.rounds) > 1)} {', '.join(map(str, one.rounds))}"
        _say(console, f"{which}, {one.device}: {stages(plan.workload.model, one.layout)}")
        if one.why:
            _say(console, one.why)
        table = Table("", "node", "predicted s a batch", "measured", "off")
        table.add_row("a batch", "", *_cells(None if one.prediction is None else one.prediction.seconds, one.seconds))
        for stage in one.stages:
            table.add_row(f"work of stage {stage.stage}", stage.node, *_cells(stage.predicted, stage.measured))
        console.print(table)


def _cells(predicted: float | None, measured: float | None) -> tuple[str, str, str]:
    off = "" if not predicted or measured is None else f"{measured / predicted - 1:+.1%}"
    return ("" if predicted is None else f"{predicted:.4g}", "" if measured is None else f"{measured:.4g}", off)


def _say(console: Console, line: str) -> None:
    console.print(f"  {line}", highlight=False, markup=False)
