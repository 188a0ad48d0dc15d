"""What a file may say in good form about pipelines and still not mean."""

from __future__ import annotations

from collections.abc import Iterator

from nodes.policies.layers import LAYERS
from nodes.policies.layouts import DEVICE, MOST, NEAREST, bounds
from testbed.errors import InputError
from testbed.experiment import resolve
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean
from testbed.experiment.training import HALVING_SCHEMES, PIPELINED_SCHEMES, SPLIT_SCHEMES
from testbed.experiment.units import format_fraction

PATH: Steps = ("workload", "pipeline")


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of the pipeline's settings."""
    names = [name for name in spec.workload.scheme if name in PIPELINED_SCHEMES]
    if not names:
        return list(_unused(spec, document))
    problems = [*_micro(spec, document), *_depth(spec, document)]
    if any(name in SPLIT_SCHEMES for name in names):
        problems += [*_nothing_to_choose(spec, document), *_no_probes(spec, document), *_stages(spec, document)]
    return problems


def _unused(spec: Spec, document: Document) -> Iterator[InputError]:
    if "pipeline" in spec.workload.model_fields_set:
        yield document.problem(
            PATH, f"a pipeline has nothing to act on: {' and '.join(spec.workload.scheme)} divides no batches",
            wanted=f"a pipeline beside {' or '.join(PIPELINED_SCHEMES)}",
            remedy=f"take pipeline out, or use scheme: {PIPELINED_SCHEMES[0]}",
        )  # fmt: skip


def _micro(spec: Spec, document: Document) -> Iterator[InputError]:
    batch, micro = spec.workload.batch, spec.workload.pipeline.micro
    if batch % micro:
        divisors = [n for n in range(1, batch + 1) if batch % n == 0]
        near = max((n for n in divisors if n <= micro), default=1)
        message = "more micro-batches than samples in a batch" if micro > batch else "a batch cannot be divided evenly"
        yield document.problem(
            _nearest(spec, "micro"), message, wanted=f"one of {', '.join(map(str, divisors))}: batch is {batch}",
            found=f"micro: {micro}", remedy=f"set workload.pipeline.micro to {near}, or workload.batch to "
            f"{-(-batch // micro) * micro}",
        )  # fmt: skip


def _depth(spec: Spec, document: Document) -> Iterator[InputError]:
    pipeline = spec.workload.pipeline
    if pipeline.depth is not None and pipeline.schedule != "1f1b":
        yield document.problem(
            (*PATH, "depth"), f"a depth has nothing to act on: the schedule {pipeline.schedule!r} has its own",
            wanted="a depth beside schedule: 1f1b", found=str(pipeline.depth), remedy="take depth out",
        )  # fmt: skip


def _nothing_to_choose(spec: Spec, document: Document) -> Iterator[InputError]:
    """Settings of a plan that is chosen, beside one that is given."""
    pipeline, work = spec.workload.pipeline, spec.workload
    if not pipeline.plan:
        return
    if "stages" in pipeline.model_fields_set and pipeline.stages < len(pipeline.plan):
        yield document.problem(
            (*PATH, "plan"), "the plan has more stages than there may be", wanted=f"at most {pipeline.stages}",
            found=str(len(pipeline.plan)), remedy="take stages out: the plan says how many there are",
        )  # fmt: skip
    if any(name in HALVING_SCHEMES for name in work.scheme):
        return
    cuts: list[Steps] = [("devices", name, "cut") for name, group in spec.devices.items() if group.cut is not None]
    if work.cut is not None:
        cuts.append(("workload", "cut"))
    for path in cuts:
        yield document.problem(
            path, "a cut has nothing to act on: the plan says what stays on the device",
            wanted="a cut or workload.pipeline.plan", remedy="take one of them out",
        )  # fmt: skip


def _no_probes(spec: Spec, document: Document) -> Iterator[InputError]:
    """Settings of probes, where there are none."""
    pipeline = spec.workload.pipeline
    if pipeline.probing != "off":
        return
    for key, found in (("profile", pipeline.profile), ("probe_budget", format_fraction(pipeline.probe_budget))):
        if key in pipeline.model_fields_set and (key != "probe_budget" or pipeline.probe_budget):
            yield document.problem(
                (*PATH, key), f"{key} has nothing to act on: probing is off", wanted=f"{key} or probing: off",
                found=found, remedy=f"take {key} out, or write probing: adaptive",
            )  # fmt: skip


def _stages(spec: Spec, document: Document) -> Iterator[InputError]:
    """The model has as many layers as the stages need, of which those that are to be kept stay on the device."""
    pipeline, model = spec.workload.pipeline, spec.workload.model
    layers, behind = len(LAYERS[model]), 2 if pipeline.labels == "stay" else 1
    if pipeline.keep > layers - behind:
        yield document.problem(
            _nearest(spec, "keep"), f"as many layers cannot be kept on the device: {model!r} has {layers}",
            wanted=f"0 to {layers - behind}: something must be left for the stage{'s' if behind > 1 else ''} behind",
            found=f"keep: {pipeline.keep}", remedy=f"set workload.pipeline.keep to {layers - behind} or less",
        )  # fmt: skip
    elif pipeline.plan:
        yield from _plan(spec, document, layers)
    else:
        yield from _chosen(spec, document, layers, behind)


def _chosen(spec: Spec, document: Document, layers: int, behind: int) -> Iterator[InputError]:
    """A plan that is to be chosen can be."""
    pipeline = spec.workload.pipeline
    if pipeline.labels == "stay" and pipeline.stages < 3:
        yield document.problem(
            (*PATH, "labels"), "labels that stay on the device take a third stage: device, edge server, device",
            wanted="stages: 3 or 4", found=f"stages: {pipeline.stages}", remedy="set workload.pipeline.stages to 3",
        )  # fmt: skip
    if pipeline.stages > layers:
        yield document.problem(
            _nearest(spec, "stages"), "the model has fewer layers than there may be stages",
            wanted=f"at most {layers}", found=str(pipeline.stages),
            remedy=f"set workload.pipeline.stages to {layers} or less",
        )  # fmt: skip
    asked: list[tuple[Steps, str | None]] = [(("workload", "cut"), None)]
    asked += [(("devices", name, "cut"), name) for name, group in spec.devices.items() if group.cut is not None]
    for path, group in asked:
        cut = resolve.cut(spec, group)
        written = group is not None or spec.workload.cut is not None
        if cut is None or not written:
            continue
        if cut < pipeline.keep:
            yield document.problem(
                path, "the cut leaves fewer layers on the device than are to be kept there",
                wanted=f"{pipeline.keep} or more: workload.pipeline.keep", found=str(cut),
                remedy=f"set it to {pipeline.keep} or more, or keep to {cut}",
            )  # fmt: skip
        elif pipeline.labels == "stay" and cut > layers - behind:
            yield document.problem(
                path, "the cut leaves no layer for the edge server: labels stay, so the last one is on the device",
                wanted=f"at most {layers - behind}", found=str(cut), remedy=f"set it to {layers - behind} or less",
            )  # fmt: skip


def _plan(spec: Spec, document: Document, layers: int) -> Iterator[InputError]:
    """A plan that is given makes sense."""
    pipeline, path = spec.workload.pipeline, (*PATH, "plan")
    plan = pipeline.plan
    if not 2 <= len(plan) <= MOST:
        yield document.problem(
            path, f"a pipeline of {len(plan)} stage{'s' if len(plan) > 1 else ''}", wanted=f"2 to {MOST} stages",
            remedy="use scheme: local for a model that is all on the device" if len(plan) < 2 else "take some out",
        )  # fmt: skip
        return
    edges = [name for site, settings in spec.sites.items() if (name := resolve.edge_name(site, settings))]
    known, last = [DEVICE, NEAREST, *edges], len(plan) - 1
    for i, stage in enumerate(plan):
        here: Steps = (*path, i, "node")
        if stage.node not in known:
            yield document.problem(
                here, f"there is no edge server {stage.node!r}", wanted=", ".join(known), found=stage.node,
                remedy=did_you_mean(stage.node, known) or f"write one of {', '.join(known)}",
            )  # fmt: skip
        elif i == 0 and stage.node != DEVICE:
            yield document.problem(
                here, "the first stage is where the data is", wanted=DEVICE, found=stage.node,
                remedy="begin with {node: device, layers: 0} if it is to have no layers (and set keep to 0)",
            )  # fmt: skip
        elif stage.node == DEVICE and 0 < i < last:
            yield document.problem(
                here, "a stage in the middle is on the device again", wanted="an edge server", found=DEVICE,
                remedy=f"write {NEAREST}, or an edge server's name",
            )  # fmt: skip
    if plan[last].node == DEVICE and pipeline.labels == "leave":
        yield document.problem(
            (*path, last, "node"), "the last stage is on the device, and labels leave it", wanted="labels: stay",
            remedy="set workload.pipeline.labels to stay",
        )  # fmt: skip
    elif plan[last].node != DEVICE and pipeline.labels == "stay":
        yield document.problem(
            (*path, last, "node"), "labels stay on the device, and the last stage, which needs them, does not",
            wanted=DEVICE, found=plan[last].node, remedy="end the plan with {node: device, layers: 1}",
        )  # fmt: skip
    yield from _layers(spec, document, layers)


def _layers(spec: Spec, document: Document, layers: int) -> Iterator[InputError]:
    pipeline, path = spec.workload.pipeline, (*PATH, "plan")
    try:
        found = bounds([(stage.node, stage.layers) for stage in pipeline.plan], layers)
    except InputError as error:
        yield document.problem(
            path, error.message, wanted=error.wanted, found=error.found,
            remedy=f"{spec.workload.model} has {layers} layers ({', '.join(LAYERS[spec.workload.model])}); leave out "
            "those of one stage",
        )  # fmt: skip
        return
    if found[1] < pipeline.keep:
        yield document.problem(
            (*path, 0), "the plan leaves fewer layers on the device than are to be kept there",
            wanted=f"{pipeline.keep} or more: workload.pipeline.keep", found=str(found[1]),
            remedy=f"give the device {pipeline.keep} layers, or set keep to {found[1]}",
        )  # fmt: skip


def _nearest(spec: Spec, key: str) -> Steps:
    """Where a setting stands, or the closest to it that the file has (`Document.problem` goes up from there)."""
    return (*PATH, key) if key in spec.workload.pipeline.model_fields_set else ("workload", "scheme")
