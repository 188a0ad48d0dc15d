"""What a file may say in good form and still not mean: tasks of the serverless platform, and how it decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nodes.policies.layers import LAYERS, cut_at
from testbed.errors import InputError
from testbed.experiment import check_training, resolve, taskview
from testbed.experiment.check_network import LABEL, NAME_LENGTH, better_name
from testbed.experiment.cuts import described, names
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean
from testbed.experiment.tasking import MOST, Task, as_cut
from testbed.experiment.taskplan import OwnFunction
from testbed.experiment.training import PIPELINED_SCHEMES, SCHEMES, SPLIT_SCHEMES

_NOT_HOSTED = {
    "shadow": "functions keep no standbys: they end with their round",
    "carry": "functions' states go across the backhaul",
}
HOSTED = tuple(name for name in SCHEMES if name not in PIPELINED_SCHEMES)
"""Schemes whose parts the platform's functions host."""


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of tasks and platform; nothing for a file without."""
    found = [*_either(spec, document)]
    if found or not spec.tasks:
        return found
    for name in spec.tasks:
        found += _task(spec, document, name)
    return [*found, *_names(spec, document), *_moments(spec, document), *_functions(spec, document),
            *_devices(spec, document)]  # fmt: skip


def coming(spec: Spec, document: Document) -> Iterator[InputError]:
    """Of a run's own file: a task has to come by itself, or the run to wait for one that is submitted."""
    waits = spec.platform.linger > 0
    if spec.tasks and not waits and all(task.at == [] for task in spec.tasks.values()):
        yield document.problem(
            ("tasks",), "no task comes, and the run waits for none: it would end as it begins",
            wanted="a task that comes by itself, or platform.linger", found="at: [] of each",
            remedy="set platform.linger to how long the run is to wait for 'testbed submit', or give a task another at",
        )  # fmt: skip


def _either(spec: Spec, document: Document) -> Iterator[InputError]:
    """A file has a workload or tasks."""
    if "tasks" in spec.model_fields_set and not spec.tasks:
        yield document.problem(("tasks",), "there are no tasks", wanted="tasks: {digits: {model: cnn}}",
                               remedy="add one, or take tasks out")  # fmt: skip
    if spec.tasks and "workload" in spec.model_fields_set:
        yield document.problem(
            ("workload",), "there are tasks and a workload", wanted="one of them",
            found=f"tasks {', '.join(spec.tasks)}",
            remedy="take one out; what --scheme sets of a workload, --set tasks.NAME.scheme=… sets of a task",
        )  # fmt: skip
    if "platform" in spec.model_fields_set and not spec.tasks:
        yield document.problem(("platform",), "there is a platform, and nothing comes to it", wanted="tasks beside it",
                               remedy="add 'tasks: {digits: {model: cnn}}', or take platform out")  # fmt: skip


def _task(spec: Spec, document: Document, name: str) -> Iterator[InputError]:
    task, path = spec.tasks[name], ("tasks", name)
    made, within = taskview.view(spec, document, name)
    told = list(_owners(spec, document, name))
    yield from told
    if task.scheme not in HOSTED:
        yield document.problem(
            (*path, "scheme"), f"task {name!r}: the platform does not run {task.scheme!r}: its stages are opened by "
            "their own driver", wanted=", ".join(HOSTED), found=task.scheme,
            remedy="use one of them, or a workload instead of tasks",
        )  # fmt: skip
        return
    yield from _cuts(spec, document, name)
    if task.strategy in _NOT_HOSTED:
        yield document.problem(
            (*path, "strategy"), f"task {name!r}: {_NOT_HOSTED[task.strategy]}",
            wanted="restart, migrate or relay", found=task.strategy, remedy="use migrate",
        )  # fmt: skip
    if task.privacy.labels == "stay" and any(cut < len(LAYERS[task.model]) for cut in taskview.cuts(task)):
        yield document.problem(
            (*path, "privacy", "labels"), f"task {name!r}: labels are to stay, and {task.scheme!r} takes them to a "
            "server wherever the model is cut", wanted="the whole model on the device", found=task.scheme,
            remedy="use cuts: [whole], or scheme: fedavg",
        )  # fmt: skip
    select = task.data.select
    if select is not None and "control" in select.model_fields_set:
        yield document.problem(
            (*path, "data", "select", "control"), f"task {name!r}: a task has no control of its own",
            wanted="a task beside it on a random share", found=f"control: {select.control}",
            remedy=f"take it out, and add '{name}-random: {{like: {name}, data: {{select: {{rule: random, "
            f"share: {select.share:g}}}}}}}'",
        )  # fmt: skip
    if not told and made.devices:
        yield from check_training.of_work(made, within)


def _owners(spec: Spec, document: Document, name: str) -> Iterator[InputError]:
    task, devices, path = spec.tasks[name], resolve.devices(spec), ("tasks", name, "owners")
    for i, owner in enumerate(task.owners or ()):
        if owner not in devices and owner not in spec.devices:
            yield document.problem((*path, i), f"task {name!r}: there is no device {owner!r}",
                                   wanted=", ".join(devices), found=owner,
                                   remedy=did_you_mean(owner, [*devices, *spec.devices]))  # fmt: skip
        elif owner in (task.owners or ())[:i]:
            yield document.problem((*path, i), f"task {name!r}: owner {owner!r} is there twice",
                                   remedy="take one of them out")  # fmt: skip
    count = len(taskview.owners(spec, task))
    if count and task.least > count:
        yield document.problem(
            ("tasks", name, "least"), f"task {name!r}: a round needs more owners than there are",
            wanted=f"at most {count}", found=str(task.least), remedy=f"set tasks.{name}.least to {count} or less",
        )  # fmt: skip


def _cuts(spec: Spec, document: Document, name: str) -> Iterator[InputError]:
    task, path = spec.tasks[name], ("tasks", name, "cuts")
    if task.cuts is None:
        return
    if task.scheme not in SPLIT_SCHEMES:
        yield document.problem(path, f"task {name!r}: {task.scheme!r} cuts no model",
                               wanted=f"cuts beside {' or '.join(s for s in SPLIT_SCHEMES if s in HOSTED)}",
                               found=task.scheme, remedy="take cuts out")  # fmt: skip
        return
    layers, seen = len(LAYERS[task.model]), set[int]()
    wanted = f"whole, or {described(task.model, 1, layers - 1)}"
    for i, written in enumerate(task.cuts):
        cut = cut_at(task.model, as_cut(written, layers))
        steps: Steps = (*path, i)
        if cut is None:
            yield document.problem(
                steps, f"task {name!r}: {task.model!r} has no layer or cut {written!r}", wanted=wanted,
                found=str(written), remedy=did_you_mean(str(written), [*names(task.model), "whole"]),
            )  # fmt: skip
        elif not 1 <= cut <= layers or (cut == layers and written != "whole"):
            yield document.problem(steps, f"task {name!r}: cut {written} leaves nothing on one of the sides",
                                   wanted=wanted, found=str(written),
                                   remedy=f"use 1 to {layers - 1}, or whole")  # fmt: skip
        elif cut in seen:
            yield document.problem(steps, f"task {name!r}: cut {written} is there twice", remedy="take one of them out")
        else:
            seen.add(cut)


def _names(spec: Spec, document: Document) -> Iterator[InputError]:
    seen: dict[str, str] = {}
    for name, task in spec.tasks.items():
        path: Steps = ("tasks", name)
        for copy in copies(name, task):
            if len(copy) > NAME_LENGTH or not LABEL.fullmatch(copy) or "--" in copy:
                yield document.problem(
                    path, f"{copy!r} cannot be the name of a task",
                    wanted=f"a-z, 0-9 and single '-' inside, {NAME_LENGTH} characters at most", found=copy,
                    remedy=better_name(copy),
                )  # fmt: skip
                break
            if copy in seen:
                yield document.problem(path, f"two tasks are called {copy!r}", found=f"of {seen[copy]} and of {name}",
                                       remedy="give one of them another name")  # fmt: skip
                break
            seen[copy] = name
    if len(seen) > MOST:
        yield document.problem(("tasks",), "these are too many tasks", wanted=f"at most {MOST}", found=str(len(seen)),
                               remedy="lower counts of arrivals")  # fmt: skip


def copies(name: str, task: Task) -> list[str]:
    """Names of the tasks that an entry brings: its own, or numbered from 1."""
    count = task.arrivals.count if task.arrivals is not None else 1 if task.at is None else len(task.at)
    alone = task.arrivals is None and count == 1
    return [name] if alone else [f"{name}-{i}" for i in range(1, count + 1)]


def _moments(spec: Spec, document: Document) -> Iterator[InputError]:
    """Rounds are those of one task, and here are several: what is to happen has a time."""
    for i, move in enumerate(spec.mobility.moves):
        if move.at is None:
            yield document.problem(
                ("mobility", "moves", i), "a move by rounds, and there are tasks: whose rounds?", wanted="a time",
                found=f"round {move.round or move.every}", remedy=f"write '{move.device} to {move.to} at 12s'",
            )  # fmt: skip
    for i, fault in enumerate(spec.faults):
        if fault.at is None:
            yield document.problem(
                ("faults", i), "a fault by rounds, and there are tasks: whose rounds?", wanted="at: 12s",
                found=f"round {fault.round}", remedy="write at instead",
            )  # fmt: skip
        if fault.spoil is not None:
            yield document.problem(("faults", i, "spoil"), "nothing spoils a training state on the platform",
                                   wanted="kill or cut", found="spoil", remedy="take it out")  # fmt: skip


def _devices(spec: Spec, document: Document) -> Iterator[InputError]:
    for name, group in spec.devices.items():
        if group.cut is not None:
            yield document.problem(
                ("devices", name, "cut"), "a device's cut has nothing to act on: the platform chooses one for each "
                "device and round", wanted="cuts of a task", found=str(group.cut), remedy="take it out",
            )  # fmt: skip


def _functions(spec: Spec, document: Document) -> Iterator[InputError]:
    path = functions_file(spec, document)
    if path is None:
        return
    try:
        replaced(path)
    except InputError as error:
        error.where = error.where or document.where(("platform", "functions"))
        yield error


def functions_file(spec: Spec, document: Document) -> Path | None:
    """The user's file of functions, if there is one."""
    asked = spec.platform.functions
    return None if asked is None else (document.path.parent / asked).resolve()


def replaced(path: Path) -> dict[str, OwnFunction]:
    """Functions of a user's file that stand in for built-in ones, by name, sorted.

    Raises:
        InputError: It cannot be used, or what it has cannot be invoked as the built-in functions are.
    """
    from nodes.platform.describing import describe
    from nodes.platform.library import BUILT_IN, RESERVED

    own, theirs = describe(path), BUILT_IN.keys() - RESERVED
    known = sorted(theirs & own.keys())
    if not known:
        raise InputError(
            "none of these functions is called as a built-in one: nothing would ever invoke them", where=str(path),
            wanted=f"one or more of {', '.join(sorted(theirs))}", found=", ".join(sorted(own)),
        )  # fmt: skip
    return {name: OwnFunction(own[name].time_limit, own[name].memory) for name in known}
