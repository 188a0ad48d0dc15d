"""What a file may say in good form and still not mean: the data set, and what each device has of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from nodes.policies.samples import FORMS, IN_WORDS, fits, sets_for, takers
from nodes.policies.selection import BLIND, RULES
from testbed.errors import InputError
from testbed.experiment import footprint, resolve
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean

ROUNDING = 0.002
"""How far shares may miss the whole and still be meant as it: three times 33.3% does."""


def data_directory(spec: Spec, document: Document) -> Path | None:
    """Where the data set's files are expected; None for those that are built in."""
    data = spec.workload.data
    return None if FORMS[data.set].built_in else (document.path.parent / (data.dir or f"data/{data.set}")).resolve()


def of_set(spec: Spec, document: Document) -> Iterator[InputError]:
    """All problems of the data set: it goes with the model, and is there."""
    data, count = spec.workload.data, len(resolve.devices(spec))
    model, form = spec.workload.model, FORMS[data.set]
    if not fits(model, form.kind):
        # At what the file has of the two: the model may be the one by default.
        written = "model" in spec.workload.model_fields_set
        path: Steps = ("workload", "model") if written else ("workload", "data", "set")
        yield document.problem(
            path, f"the model {model!r} does not take {IN_WORDS[form.kind]}, which {data.set!r} has",
            wanted=f"one of {', '.join(takers(form.kind))} with {data.set}, or one of {', '.join(sets_for(model))} "
            f"with {model}",
            found=f"{model} with {data.set}", remedy=f"set workload.model to {takers(form.kind)[0]}",
        )  # fmt: skip
    directory = data_directory(spec, document)
    if directory is not None and not directory.is_dir():
        yield document.problem(
            ("workload", "data", "dir" if data.dir else "set"),
            f"the data directory of {data.set!r} is missing",
            wanted=f"the standard files of {data.set} in {directory}",
            remedy="put them there, set workload.data.dir, or use a set that is built in: "
            + ", ".join(name for name in sets_for(model) if FORMS[name].built_in),
        )
    if directory is None and data.dir is not None:
        yield document.problem(
            ("workload", "data", "dir"), f"{data.set!r} is built in: its files are read from nowhere",
            wanted="dir for another set", found=data.dir, remedy="take dir out, or name the set that is there",
        )  # fmt: skip
    for key, there in zip(("train", "test"), footprint.SAMPLES[data.set], strict=True):
        asked = getattr(data, key)
        if directory is None and asked is not None and asked > there:
            yield document.problem(
                ("workload", "data", key), f"{data.set!r} has fewer samples than are asked for",
                wanted=f"at most {there}", found=str(asked), remedy=f"leave {key} out for all of them",
            )  # fmt: skip
    if data.train is not None and data.train < count:
        yield document.problem(
            ("workload", "data", "train"),
            "fewer training samples than devices",
            wanted=f"at least {count}",
            found=str(data.train),
        )


def of_devices(spec: Spec, document: Document) -> list[InputError]:
    """All problems of what devices have of the data: batches, what is selected, shares."""
    return [*_batch(spec, document), *_selection(spec, document), *_fractions(spec, document)]


def _poorest(spec: Spec) -> tuple[int, str, str] | None:
    """The fewest samples that a device has (or has on average), whose they are, and of how many; None without any."""
    data, devices = spec.workload.data, resolve.devices(spec)
    there, split = footprint.SAMPLES[data.set][0], data.split
    samples = min(data.train or there, there)
    if not devices or samples < len(devices):
        return None
    least = samples // len(devices)
    whose = "each device" if len(devices) > 1 else "the device"
    if split.fractions and min(split.fractions.values()) > 0:
        poorest = min(split.fractions, key=lambda name: split.fractions[name])  # type: ignore[index]
        least, whose = round(split.fractions[poorest] * samples), repr(poorest)
    on_average = " on average" if split.dirichlet else ""
    return least, whose, f"{samples} samples among {len(devices)} devices{on_average}"


def _batch(spec: Spec, document: Document) -> Iterator[InputError]:
    """Each device fills a batch; a smaller one would train on something else than was asked for."""
    work, found = spec.workload, _poorest(spec)
    if found is None:
        return
    least, whose, of = found
    if work.batch > least:
        yield document.problem(
            ("workload", "batch"),
            f"a batch is more than {whose} has",
            wanted=f"at most {least}: {of}",
            found=str(work.batch),
            remedy=f"set workload.batch to {max(least, 1)} or less, or use fewer devices",
        )


def _selection(spec: Spec, document: Document) -> Iterator[InputError]:
    """What is kept fills a batch, and what is set about it has something to act on."""
    work, asked, found = spec.workload, spec.workload.data.select, _poorest(spec)
    if asked is None:
        return
    path: Steps = ("workload", "data", "select")
    if found is not None and found[0] >= work.batch:
        least, whose, of = found
        left = math.floor(asked.share * least + 0.5)
        if left < work.batch:
            yield document.problem(
                (*path, "share"), f"the share leaves {whose} less than a batch",
                wanted=f"at least {work.batch} of {least} samples ({of})", found=f"{left}",
                remedy=f"keep {math.ceil(100 * work.batch / least)}% or more, or set workload.batch to {max(left, 1)} "
                "or less",
            )  # fmt: skip
    if asked.rule in BLIND:
        for key in ("by", "features"):
            if key in asked.model_fields_set:
                yield document.problem(
                    (*path, key), f"{key!r} has nothing to act on: the rule {asked.rule!r} looks at no scores",
                    wanted=f"it beside {', '.join(rule for rule in RULES if rule not in BLIND)}",
                    remedy=f"take {key} out, or choose one of those rules",
                )  # fmt: skip
    elif asked.features == "half":
        bare = [group for group in spec.devices if resolve.cut(spec, group) == 0]
        if bare:
            yield document.problem(
                (*path, "features"), f"the device half of {bare[0]!r} has no layers to tell samples by",
                wanted="a cut of 1 or more, or features: samples", found=f"cut 0 of {', '.join(bare)}",
                remedy="set features: samples, or another cut",
            )  # fmt: skip


def _fractions(spec: Spec, document: Document) -> Iterator[InputError]:
    fractions = spec.workload.data.split.fractions
    if fractions is None:
        return
    path: Steps = ("workload", "data", "split", "fractions")
    devices = resolve.devices(spec)
    for name, share in fractions.items():
        if name not in devices:
            near = did_you_mean(name, devices) or "take it out"
            if name in spec.devices:
                near = f"name each of {', '.join(resolve.device_names(spec, name))}"
            yield document.problem(
                (*path, name), f"there is no device {name!r}", wanted=", ".join(devices), remedy=near
            )
        elif share <= 0:
            yield document.problem((*path, name), f"device {name!r} is given no data", wanted="more than 0%")
    for name in devices:
        if name not in fractions:
            yield document.problem(path, f"device {name!r} has no share", remedy=f"add '{name}: …%'")
    total = sum(fractions.values())
    if abs(total - 1) > ROUNDING:
        yield document.problem(
            path, "the shares do not add up to the whole", wanted="100%", found=f"{100 * total:.6g}%",
            remedy=f"multiply each by {1 / total:.4g}" if total else None,
        )  # fmt: skip
