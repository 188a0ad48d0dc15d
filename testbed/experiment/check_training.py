"""What a file may say in good form and still not mean: workload and scripted moves."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from nodes.policies.layers import LAYERS
from nodes.policies.samples import FORMS, IN_WORDS, fits, sets_for, takers
from nodes.policies.selection import BLIND, RULES
from testbed.errors import InputError
from testbed.experiment import footprint, resolve
from testbed.experiment.cuts import CUTS, described, names
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean
from testbed.experiment.training import HALVING_SCHEMES, SPLIT_SCHEMES, Move

MOST = 1_000_000
"""Rounds at most, and passes over the data in one."""
ROUNDING = 0.002
"""How far shares may miss the whole and still be meant as it: three times 33.3% does."""


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of the training part; those of tasks are told by `check_tasks`."""
    work = [] if spec.tasks else of_work(spec, document)
    return [*work, *_moves(spec, document), *_orders(spec, document)]


def of_work(spec: Spec, document: Document) -> list[InputError]:
    """All problems of the workload itself."""
    return [
        *_schemes(spec, document),
        *_strategy(spec, document),
        *_cut(spec, document),
        *_averaging(spec, document),
        *_data(spec, document),
        *_lengths(spec, document),
        *_batch(spec, document),
        *_selection(spec, document),
        *_fractions(spec, document),
    ]


def data_directory(spec: Spec, document: Document) -> Path | None:
    """Where the data set's files are expected; None for those that are built in."""
    data = spec.workload.data
    return None if FORMS[data.set].built_in else (document.path.parent / (data.dir or f"data/{data.set}")).resolve()


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


def _data(spec: Spec, document: Document) -> Iterator[InputError]:
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


def _lengths(spec: Spec, document: Document) -> Iterator[InputError]:
    """Rounds can be counted, also in messages: their numbers have 64 bits."""
    for key in ("rounds", "local_epochs"):
        asked = getattr(spec.workload, key)
        if asked > MOST:
            yield document.problem(
                ("workload", key), f"so many {key.replace('_', ' ')} are no experiment", wanted=f"at most {MOST}",
                found=str(asked), remedy=f"set workload.{key} to {MOST} or less",
            )  # fmt: skip


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


def _moves(spec: Spec, document: Document) -> Iterator[InputError]:
    mobility, devices = spec.mobility, resolve.devices(spec)
    if mobility.trace and mobility.moves:
        yield document.problem(
            ("mobility", "trace"), "there are moves and a trace", wanted="one of them", remedy="take one out"
        )
    for i, move in enumerate(mobility.moves):
        path: Steps = ("mobility", "moves", i)
        if move.device not in devices:
            remedy = did_you_mean(move.device, devices) or f"add {move.device!r} under 'devices:'"
            if move.device in spec.devices:
                remedy = f"name one of {', '.join(resolve.device_names(spec, move.device))}"
            yield document.problem(
                (*path, "device"), f"there is no device {move.device!r}", wanted=", ".join(devices), remedy=remedy
            )
        if resolve.site_of(spec, move.to) is None:
            edges = [e for s, settings in spec.sites.items() if (e := resolve.edge_name(s, settings))]
            known = [*spec.sites, *edges]
            yield document.problem(
                (*path, "to"), f"there is no site or edge server {move.to!r}", wanted=", ".join(known),
                remedy=did_you_mean(move.to, known) or f"add {move.to!r} under 'sites:'",
            )  # fmt: skip
        if move.every is not None and move.every > spec.workload.rounds:
            yield document.problem(
                (*path, "every"), f"a move every {move.every} rounds, and there are {spec.workload.rounds} rounds",
                wanted=f"1 to {spec.workload.rounds}",
                remedy=f"move more often, or set workload.rounds to {move.every}",
            )  # fmt: skip
        if move.round is not None and move.round > spec.workload.rounds:
            yield document.problem(
                (*path, "round"),
                f"a move in round {move.round}, and there are {spec.workload.rounds} rounds",
                wanted=f"1 to {spec.workload.rounds}",
                remedy=f"move earlier, or set workload.rounds to {move.round}",
            )
        elif move.round == spec.workload.rounds and move.progress == 1:
            yield document.problem(
                (*path, "progress"),
                "a move at the end of the last round comes when training is over",
                wanted=f"less than 100% of round {move.round}",
                remedy="move a little earlier, or train one round more",
            )


def _orders(spec: Spec, document: Document) -> Iterator[InputError]:
    """Moves that go nowhere, or two at once. Rounds and times cannot be ordered, so those are left alone."""
    devices = resolve.devices(spec)
    by_device: dict[str, list[tuple[int, Move]]] = defaultdict(list)
    for i, move in enumerate(spec.mobility.moves):
        if move.device in devices and resolve.site_of(spec, move.to):
            by_device[move.device].append((i, move))
    for device, moves in by_device.items():
        if len({move.at is None for _, move in moves}) > 1:
            continue
        here, before = spec.devices[devices[device]].at, None
        home, rounds = spec.devices[devices[device]].at, spec.workload.rounds
        for i, move in sorted(_one_by_one(moves, home, rounds), key=lambda item: moment(item[1])):
            there, path = resolve.site_of(spec, move.to), ("mobility", "moves", i)
            if moment(move) == before:
                yield document.problem(path, f"{device!r} moves twice at one moment", remedy="take one move out")
            elif there == here:
                yield document.problem(
                    path, f"{device!r} is at {there!r} already then", wanted="a move to another site",
                    remedy="take the move out, or change 'to'",
                )  # fmt: skip
            here, before = there, moment(move)


def _one_by_one(moves: list[tuple[int, Move]], home: str | None, rounds: int) -> Iterator[tuple[int, Move]]:
    """Moves that repeat, each time by itself: there, home, there."""
    for i, move in moves:
        if move.every is None:
            yield i, move
            continue
        for n, number in enumerate(range(move.every, rounds + 1, move.every)):
            to = move.to if n % 2 == 0 else home or move.to
            yield i, move.model_copy(update={"round": number, "every": None, "to": to})


def moment(move: Move) -> tuple[float, float, float]:
    """Sorting key: by time, else by round and progress."""
    return (move.at or 0.0, float(move.round or 0), move.progress or 0.0)
