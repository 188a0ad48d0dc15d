"""How long a device waits for its edge half before it takes it for lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from testbed.experiment.plan import Plan

LEAST_S = 3.0


def patience(
    plan: Plan, references: Iterable[Mapping[str, float]], layer_times: Mapping[str, float] | None = None
) -> float:
    """How long a device waits for its first answer before it asks what is wrong, s of the experiment.

    Its batch may have to wait for those of all other devices, on the slowest of the edge servers. Later it knows how
    long answers take.

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
    return max(LEAST_S, 2 * devices * step / min(speeds))
