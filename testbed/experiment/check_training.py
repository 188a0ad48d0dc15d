"""What a file may say in good form and still not mean: the workload. Its data is `check_data`'s."""

from __future__ import annotations

from collections.abc import Iterator

from nodes.policies.layers import LAYERS
from testbed.errors import InputError
from testbed.experiment import check_data, resolve
from testbed.experiment.cuts import CUTS, described, names
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean
from testbed.experiment.training import HALVING_SCHEMES, SPLIT_SCHEMES

MOST = 1_000_000
"""Rounds at most, and passes over the data in one."""


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of the workload; those of tasks are told by `check_tasks`."""
    return [] if spec.tasks else of_work(spec, document)


def of_work(spec: Spec, document: Document) -> list[InputError]:
    """All problems of the workload itself."""
    return [
        *_schemes(spec, document),
        *_strategy(spec, document),
        *_cut(spec, document),
        *_averaging(spec, document),
        *check_data.of_set(spec, document),
        *_lengths(spec, document),
        *check_data.of_devices(spec, document),
    ]


def _schemes(spec: Spec, document: Document) -> Iterator[InputError]:
    schemes = spec.workload.scheme
    for i, scheme in enumerate(schemes):
        if scheme in schemes[:i]:
            yield document.problem(
                ("workload", "scheme", i), f"scheme {scheme!r} is there twice", remedy="take one of them out"
            )


def _strategy(spec: Spec, document: Document) -> Iterator[InputError]:
    strategy, names = spec.workload.strategy, spec.workload.scheme
    if strategy is None or any(name in HALVING_SCHEMES for name in names):
        return
    yield document.problem(
        ("workload", "strategy"),
        f"strategy {strategy!r} has nothing to act on: {' and '.join(names)} leaves no half of it on an edge server",
        wanted=f"a strategy beside {' or '.join(HALVING_SCHEMES)}",
        found=f"scheme {', '.join(names)}",
        remedy=f"take strategy out, or use scheme: {HALVING_SCHEMES[0]}",
    )


def _cut(spec: Spec, document: Document) -> Iterator[InputError]:
    workload = spec.workload
    splits = [s for s in workload.scheme if s in SPLIT_SCHEMES]
    asked = [(("devices", name, "cut"), name) for name, group in spec.devices.items() if group.cut is not None]
    if asked and not splits:
        yield document.problem(
            asked[0][0], f"a device's cut has nothing to act on: {' and '.join(workload.scheme)} cuts no model",
            wanted=f"a cut beside {' or '.join(SPLIT_SCHEMES)}",
            remedy=f"take cut out, or use scheme: {SPLIT_SCHEMES[0]}",
        )  # fmt: skip
    yield from _cut_within(spec, document, ("workload", "cut"), None)
    for path, group in asked:
        yield from _cut_within(spec, document, path, group)
    needed = {d.at for d in spec.devices.values()} | {resolve.site_of(spec, m.to) for m in spec.mobility.moves}
    if spec.mobility.moving:
        needed |= set(spec.sites)
    for site, settings in spec.sites.items():
        if splits and settings.edge is None and site in needed:
            yield document.problem(
                ("sites", site, "edge"),
                f"site {site!r} has no edge server, and {splits[0]!r} needs one wherever devices are",
                remedy="leave 'edge: none' out, or keep devices away from it",
            )


def _cut_within(spec: Spec, document: Document, path: Steps, group: str | None) -> Iterator[InputError]:
    """The cut that the file has there lies in the model, with something on both sides where the model is split."""
    model, splits = spec.workload.model, [s for s in spec.workload.scheme if s in SPLIT_SCHEMES]
    low, high = (1, len(LAYERS[model]) - 1) if splits else (0, len(LAYERS[model]))
    if splits and not any(s in HALVING_SCHEMES for s in splits):
        low = 0  # a pipeline's first stage may have no layers; how many are to be kept is another setting
    cut, written = resolve.cut(spec, group), spec.devices[group].cut if group else spec.workload.cut
    if cut is None:
        yield document.problem(
            path, f"{model!r} has no layer or cut {written!r}", wanted=described(model, low, high),
            remedy=did_you_mean(str(written), list(names(model))),
        )  # fmt: skip
    elif not low <= cut <= high:
        shown = f"cut {cut}" if written is None or isinstance(written, int) else f"cut {written} ({cut})"
        yield document.problem(
            path, f"{shown} lies outside the model {model!r}", wanted=described(model, low, high), found=str(written),
            remedy=f"leave it out for {CUTS[model]}, or set one of {low} to {high}",
        )  # fmt: skip


def _averaging(spec: Spec, document: Document) -> Iterator[InputError]:
    work, deadline = spec.workload, spec.tolerances.round_deadline
    whole = [scheme for scheme in work.scheme if scheme not in HALVING_SCHEMES]
    if work.aggregation == "hierarchical" and whole:
        yield document.problem(
            ("workload", "aggregation"), f"the devices of {whole[0]!r} deal with the cloud alone",
            wanted=f"hierarchical aggregation beside {' or '.join(HALVING_SCHEMES)}", found=f"scheme {whole[0]}",
            remedy=f"use aggregation: flat, or scheme: {HALVING_SCHEMES[0]}",
        )  # fmt: skip
    if work.late.drop is not None and deadline is not None and deadline <= work.late.drop:
        yield document.problem(
            ("workload", "late", "drop"), "the run ends for want of progress before late devices are dropped",
            wanted=f"less than tolerances.round_deadline, {deadline:g}s", found=f"{work.late.drop:g}s",
            remedy="drop earlier, or leave round_deadline out",
        )  # fmt: skip


def _lengths(spec: Spec, document: Document) -> Iterator[InputError]:
    """Rounds can be counted, also in messages: their numbers have 64 bits."""
    for key in ("rounds", "local_epochs"):
        asked = getattr(spec.workload, key)
        if asked > MOST:
            yield document.problem(
                ("workload", key), f"so many {key.replace('_', ' ')} are no experiment", wanted=f"at most {MOST}",
                found=str(asked), remedy=f"set workload.{key} to {MOST} or less",
            )  # fmt: skip
