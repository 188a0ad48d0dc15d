"""How long a device waits for its edge half before it takes it for lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nodes.policies.samples import taken
from testbed.experiment import footprint
from testbed.experiment.plan import LinkPlan, Plan

LEAST_S = 3.0


def patience(
    plan: Plan, references: Iterable[Mapping[str, float]], layer_times: Mapping[str, float] | None = None
) -> float:
    """How long a device waits for its first answer before it asks what is wrong, s of the experiment.

    Its batch may have to wait for those of all other devices, on the slowest of the edge servers, and for the slowest
    of the access links. Later it knows how long answers take.

    Args:
        plan: The experiment.
        references: Step times, s by operation, of each cut.
        layer_times: Of pipelines those of each layer and way, s a micro-batch: any stage may have all of them.
    """
    speeds = [node.speed for node in plan.nodes if node.kind == "edge"] or [1.0]
    devices = sum(node.kind == "device" for node in plan.nodes)
    step = max(ops["tail.step"] for ops in references)
    if layer_times:
        step = max(step, plan.workload.pipeline.micro * sum(layer_times.values()))
    return max(LEAST_S, 2 * devices * step / min(speeds) + _on_the_way(plan))


def _on_the_way(plan: Plan) -> float:
    """Seconds that the largest activations of a batch, and their gradients, take on the slowest access link.

    They may be before the question whether a server is there, and before its answer. The first answer of a pipeline
    comes when a micro-batch is back, and others may be before it on the device's link.
    """
    work = plan.workload
    every = footprint.layers(work.model, taken(work.data.set, work.model))
    size = footprint.NUMBER * work.batch * max(layer.output for layer in every)
    rates = [rate for link in plan.links if link.kind == "access" for rate in _rates(link)]
    return 2 * 8 * size / min(rates) if rates else 0.0


def _rates(link: LinkPlan) -> list[float]:
    """What a link carries, bit/s, by settings or over time, both ways."""
    ways = ((link.ab, link.ab_trace), (link.ba, link.ba_trace))
    found = [shape.rate if step.rate is None else step.rate for shape, trace in ways if trace for step in trace.steps]
    found += [shape.rate for shape, trace in ways if not trace]
    return [rate for rate in found if rate]
