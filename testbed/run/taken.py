"""What pipelines took in a finished run, against what their layouts were predicted to take."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from nodes.errors import InputError
from nodes.events import Span
from nodes.policies.layouts import PipelineLayout
from nodes.policies.plans import Plan as Prediction
from testbed.experiment.plan import Plan
from testbed.report.pipelines import Pipelined, gather, stage_of
from testbed.report.records import RunRecord, items, number, whole
from testbed.run.again import moves_stages
from testbed.run.planned import Planned, as_laid


@dataclass(frozen=True)
class StageTaken:
    """Seconds a batch that a stage's work took, and was predicted to take (None: no prediction)."""

    stage: int
    node: str
    layers: tuple[int, int]
    measured: float
    predicted: float | None


@dataclass(frozen=True)
class Taken:
    """What one layout took.

    Attributes:
        device: Whose.
        layout: Where the stages were.
        rounds: In which rounds: those in which nothing moved, counted from 1.
        seconds: A batch, once the pipeline was full; None: too few batches to tell.
        prediction: What was predicted of this layout; None: it cannot be by what is known now.
        why: Why there is none.
        stages: Each stage's own work.
    """

    device: str
    layout: PipelineLayout
    rounds: tuple[int, ...]
    seconds: float | None
    prediction: Prediction | None
    why: str
    stages: tuple[StageTaken, ...]

    @property
    def off(self) -> float | None:
        """By what share the measured seconds a batch are above the predicted ones."""
        if self.seconds is None or self.prediction is None or self.prediction.seconds <= 0:
            return None
        return self.seconds / self.prediction.seconds - 1

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "device": self.device, "bounds": list(self.layout.bounds), "nodes": list(self.layout.nodes),
            "depths": list(self.layout.depths), "rounds": list(self.rounds), "batch_s": self.seconds,
            "predicted_s": None if self.prediction is None else self.prediction.seconds, "off": self.off,
            "why": self.why,
            "stages": [
                {"stage": s.stage, "node": s.node, "layers": list(s.layers), "batch_s": s.measured,
                 "predicted_s": s.predicted} for s in self.stages
            ],
        }  # fmt: skip


def require_same(record: RunRecord, plan: Plan) -> list[Pipelined]:
    """The pipelines of a run of an experiment.

    Raises:
        InputError: It has none, or is a run of another experiment.
    """
    pipes = [pipe for pipe in gather(record) if moves_stages_of(pipe)]
    if not pipes:
        raise InputError("a run without pipelines to compare with", where=str(record.path),
                         found=", ".join(s.name for s in record.schemes) or "no schemes",
                         wanted="a run of edgemove that has finished a round")  # fmt: skip
    asked = plan.workload.pipeline
    devices = {node.name for node in plan.nodes if node.kind == "device"}
    for pipe in pipes:
        found = {(span.attrs.get("schedule"), whole(span.attrs.get("micro"))) for span in pipe.rounds}
        if pipe.owner not in devices or (found and found != {(asked.schedule, asked.micro)}):
            told = "; ".join(f"{schedule}, {micro} micro-batches" for schedule, micro in sorted(found, key=str))
            raise InputError(
                "a run of another experiment", where=str(record.path),
                found=f"{record.experiment}: {pipe.owner}, {told}",
                wanted=f"{plan.name}: {', '.join(sorted(devices))}, {asked.schedule}, {asked.micro} micro-batches",
                remedy="take the run's own file, experiment.yaml in its directory",
            )  # fmt: skip
    return pipes


def moves_stages_of(pipe: Pipelined) -> bool:
    """Whether a pipeline has more than the device's own stage; of schemes that this testbed has, and no controls."""
    try:
        return moves_stages(pipe.scheme.name)
    except InputError:
        return False


def taken(pipes: Sequence[Pipelined], known: Mapping[str, Planned]) -> list[Taken]:
    """What each layout of each device took, in order of their first rounds."""
    return [one for pipe in pipes if pipe.owner in known for one in _of_owner(pipe, known[pipe.owner])]


def _of_owner(pipe: Pipelined, known: Planned) -> Iterator[Taken]:
    by_round: dict[tuple[int, int], dict[int, Span]] = defaultdict(dict)
    for span in pipe.rounds:
        by_round[span.round, whole(span.attrs.get("attempt")) or 0][stage_of(span)] = span
    same: dict[PipelineLayout, list[dict[int, Span]]] = defaultdict(list)
    for told in by_round.values():
        layout = _layout(told)
        if layout is not None and not _moved(pipe, told):
            same[layout].append(told)
    for layout, rounds in same.items():
        prediction, why = None, ""
        try:
            prediction = as_laid(known.problem, layout)
        except InputError as error:
            why = f"{error.message}: {error.wanted or error.found}"
        gaps = [gap for told in rounds for gap in _gaps(pipe, told[0], layout, known.problem.micro)]
        yield Taken(
            pipe.owner, layout, tuple(dict.fromkeys(told[0].round for told in rounds)), fmean(gaps) if gaps else None,
            prediction, why, tuple(_stage(stage, layout, rounds, prediction) for stage in range(layout.stages)),
        )  # fmt: skip


def _layout(told: Mapping[int, Span]) -> PipelineLayout | None:
    """The layout of a round, as its stages told it at the end; None where some have not."""
    stages = [told[stage] for stage in sorted(told)]
    counts = {whole(span.attrs.get("stages")) for span in stages}
    runs = [tuple(whole(n) for n in items(span.attrs.get("layers"))) for span in stages]
    if sorted(told) != list(range(len(told))) or counts != {len(told)} or any(len(run) != 2 for run in runs):
        return None
    bounds = (runs[0][0], *(run[1] for run in runs))
    depths = [whole(span.attrs.get("depth")) for span in stages]
    if None in bounds or None in depths or any(a[1] != b[0] for a, b in pairwise(runs)):
        return None
    return PipelineLayout(
        tuple(n or 0 for n in bounds), tuple(span.node for span in stages), tuple(n or 0 for n in depths)
    )  # fmt: skip


def _moved(pipe: Pipelined, told: Mapping[int, Span]) -> bool:
    """Whether something happened to the pipeline in a round, so that no one layout is to be told of it."""
    begin, end = min(s.begin for s in told.values()), max(s.end for s in told.values())
    where = {stage: span.node for stage, span in told.items()}
    elsewhere = any(begin <= s.begin <= end and where.get(stage_of(s)) != s.node for s in pipe.work)
    return elsewhere or any(s.begin <= end and s.end >= begin for s in (*pipe.changes, *pipe.handovers))


def _gaps(pipe: Pipelined, told: Span, layout: PipelineLayout, micro: int) -> list[float]:
    """Seconds from update to update of the first stage, without those in which the pipeline fills and drains."""
    ends = [
        s.end for s in pipe.work
        if s.kind == "update" and stage_of(s) == 0 and s.round == told.round and told.begin <= s.begin <= told.end
    ]  # fmt: skip
    gaps = [b - a for a, b in pairwise(ends)]
    drain = math.ceil(layout.depths[0] / micro)
    return gaps[1:-drain] if len(gaps) > 2 + drain else gaps


def _stage(
    stage: int, layout: PipelineLayout, rounds: Sequence[Mapping[int, Span]], prediction: Prediction | None
) -> StageTaken:
    busy = sum(number(told[stage].attrs.get("busy_s")) or 0.0 for told in rounds)
    batches = sum(whole(told[stage].attrs.get("batches")) or 0 for told in rounds)
    predicted = None
    if prediction is not None:
        one = prediction.chain.stages[stage]
        predicted = prediction.micro * (one.forward + one.backward) + one.update
    return StageTaken(
        stage, layout.nodes[stage], layout.layers(stage), busy / batches if batches else 0.0, predicted
    )  # fmt: skip
