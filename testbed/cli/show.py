"""What an experiment comes to, for ``run --dry-run`` and ``validate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.samples import FORMS, named
from nodes.policies.selection import BLIND
from nodes.policies.units import Battery
from testbed.cli import showtasks
from testbed.cli.options import Format, print_json
from testbed.emulation.links.shape import Schedule, Shape
from testbed.emulation.record import TraceRecord
from testbed.experiment.changes import Move
from testbed.experiment.plan import Plan
from testbed.experiment.units import format_duration, format_fraction
from testbed.run import reference
from testbed.run.again import moves_stages
from testbed.run.small import uncontrolled, ways
from testbed.run.staging import AGAIN, stagings


def show(plan: Plan, format_: Format) -> None:
    """Print the plan on stdout."""
    if format_ is Format.json:
        chosen = stagings(plan, _known_times(plan))
        print_json(plain(plan) | {"stages": {device: one.as_dict() for device, one in chosen.items()}})
        return
    console = Console()
    work = plan.workload
    own = "".join(f", {device}'s at {cut}" for device, cut in work.cuts.items())
    trained = showtasks.in_brief(plan) if plan.tasks else (
        f"{', '.join(work.schemes)} with {work.model} cut at {work.cut}{own} on {named(work.data.set)}, "
        f"{work.rounds} rounds of batch {work.batch}"
        if plan.trains
        else "a topology that only stands (testbed up)"
    )
    console.print(f"[bold]{plan.name}[/bold]: {trained}, seed {plan.seed}", highlight=False)
    nodes = Table("node", "kind", "profile", "speed", "CPU guard", "memory", "at", title="nodes")
    for node in plan.nodes:
        where = node.site or node.bridge
        memory = f"{node.memory >> 20} MiB"
        speed = f"{node.speed:g}" if node.paced else f"share {node.speed:g}"
        nodes.add_row(node.name, node.kind, node.profile, speed, f"{node.cpus:g}", memory, where)
    links = Table("link", "ends", "there", "back", title="links")
    for link in plan.links:
        there, back = describe(link.ab, link.ab_trace), describe(link.ba, link.ba_trace)
        links.add_row(link.name, f"{link.a} -- {link.b}", there, back)
    console.print(nodes, links)
    for line in batteries(plan):
        console.print(f"  {line}", highlight=False)
    for move in plan.moves:
        console.print(f"  {move.device} moves to {move.to} {when(move)}", highlight=False)
    for line in [*showtasks.platform(plan), *selection(plan), *pipeline(plan, _known_times(plan))]:
        console.print(f"  {line}", highlight=False)
    total = sum(n.speed for n in plan.nodes)
    console.print(f"  {total:g} cores of training speed in all", highlight=False)
    if plan.dilation != 1:
        factor = f"{plan.dilation:g} times slower" if plan.dilation else "as much slower as it takes to fit (auto)"
        console.print(f"  dilated: runs {factor}; all of this is in its own time", highlight=False)


def batteries(plan: Plan) -> list[str]:
    """Devices that do not live on the mains, in words; alike ones together."""
    found: dict[tuple[Battery, bool], list[str]] = {}
    for node in plan.nodes:
        if node.battery is not None:
            found.setdefault((node.battery, bool(node.charging)), []).append(node.name)
    return [
        f"{', '.join(names)}: battery of {one.capacity_j / 3600:.4g} Wh at {one.left_j / one.capacity_j:.0%}, "
        f"{one.reserve_j / one.capacity_j:.0%} kept in reserve, {'charged by a schedule' if charged else 'not charged'}"
        for (one, charged), names in found.items()
    ]


def selection(plan: Plan) -> list[str]:
    """What devices train on, in words; nothing where it is all that they have."""
    asked = plan.workload.data.select
    if asked is None:
        return []
    told_by = "the device half" if asked.features == "half" else "them"
    by = "" if asked.rule in BLIND else f", by {asked.by} on {told_by}"
    controls = [way.name for way in ways(plan, plan.workload.schemes) if way.of is not None]
    beside = f"control: {', '.join(controls)}" if controls else f"no random control: {uncontrolled(asked)}"
    return [f"each device trains on {format_fraction(asked.share)} of its samples ({asked.rule}{by}); {beside}"]


def pipeline(plan: Plan, times: Mapping[str, float] | None = None) -> list[str]:
    """How batches go through stages, in words; nothing where they do not.

    Args:
        plan: The experiment.
        times: Reference seconds by layer, from which stages are chosen, as far as they are known.
    """
    work = plan.workload
    asked = work.pipeline
    if not work.pipelined:
        return []
    lines = [f"batches of {work.batch} in {asked.micro} micro-batches of {work.micro_size}, {asked.schedule}"]
    for device, staging in stagings(plan, times).items():
        staying = "; labels stay" if asked.labels == "stay" else ""
        lines.append(f"{device}: {stages(work.model, staging.layout)}{staying}")
        if staging.prediction is not None:
            found, most = staging.prediction, staging.over_turns or 0.0
            lines.append(
                f"  chosen: {found.seconds:.3g} s a batch predicted, {found.bottleneck} the slowest; at most "
                f"{most:.2f} times as fast as one micro-batch at a time"
            )
        elif staging.why == AGAIN:
            lines.append(f"  {AGAIN}")
        elif staging.why:
            lines.append(f"  the simple plan, not a chosen one: {staging.why}")
    if any(map(moves_stages, work.schemes)):
        lines.append(_steered(plan))
    return lines


def _steered(plan: Plan) -> str:
    """What may change where stages are, in words."""
    asked = plan.workload.pipeline
    if plan.decisions is not None:
        return "does again what another run decided, and decides nothing itself"
    often = f"every {format_duration(asked.every)}" if asked.probing == "every" else asked.probing
    within = f", at most {format_fraction(asked.budget)} of time and bytes" if asked.probing != "off" else ""
    return f"probes {often}{within}; adapts {asked.adapt}"


def stages(model: str, layout: PipelineLayout) -> str:
    """``conv1 to pool1 on pi4-1 (4 under way), conv2 to fc2 on edge-north``."""
    said = []
    for stage, node in enumerate(layout.nodes):
        first, last = layout.layers(stage)
        run = LAYERS[model][first:last] or ("no layers",)
        there = run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}"
        said.append(f"{there} on {node}" + (f" ({layout.depths[stage]} under way)" if stage == 0 else ""))
    return ", ".join(said)


def _known_times(plan: Plan) -> dict[str, float] | None:
    """Times by layer that an earlier run has measured, where stages are to be chosen from them."""
    work = plan.workload
    free = {node.name for node in plan.nodes if node.kind == "device"} - set(work.cuts_written)
    if work.pipeline.plan or not free or not plan.layouts():
        return None
    return reference.stored_layers(work.model, work.micro_size, work.threads, FORMS[work.data.set])


def describe(shape: Shape, trace: Schedule | TraceRecord | None = None) -> str:
    """One direction of a link in words: everything that is asked of it."""
    parts = [f"{shape.rate / 1e6:g} Mbit/s" if shape.rate else "unshaped"]
    if shape.delay:
        spread = "" if shape.spread.name == "uniform" else f" {shape.spread.name}"
        parts.append(f"{shape.delay * 1e3:g} ms" + (f" ± {shape.jitter * 1e3:g}{spread}" if shape.jitter else ""))
    if shape.loss_share:
        bursts = "" if shape.bursts is None else f" in bursts of {1 / shape.bursts.leave:.3g}"
        parts.append(f"loss {shape.loss_share:.3%}{bursts}")
    disorder = {word: getattr(shape, word) for word in ("reorder", "duplicate", "corrupt")}
    parts += [f"{word} {share:.3%}" for word, share in disorder.items() if share]
    if shape.queue_packets:
        parts.append(f"queue {shape.queue_packets} packets")
    if trace is not None:
        again = "again and again" if trace.loop else "once"
        parts.append(f"varies by {trace.name}: {trace.length:g} s, {again}")
    return ", ".join(parts)


def plain(plan: Plan | Shape) -> dict[str, Any]:
    """A plan, or one direction of a link, as plain data: of long tables and schedules their names and lengths."""
    return asdict(plan, dict_factory=_brief)


def _brief(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = [(k, v) for k, v in pairs if k not in ("places", "decisions")]
    long = ("table", "steps", "deliveries", "charging")
    return {k: len(v) if k in long and isinstance(v, tuple) else v for k, v in told}


def when(move: Move) -> str:
    """When a move is due, in words."""
    if move.at is not None:
        return f"at {move.at:g} s"
    return f"at {move.progress:.0%} of round {move.round}"
