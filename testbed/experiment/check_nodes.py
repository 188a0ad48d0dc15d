"""What a file may say in good form and still not mean: profiles, and whether what trains fits into their memory."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from nodes.policies.samples import taken
from testbed.errors import InputError
from testbed.experiment import check_power, footprint, resolve
from testbed.experiment.cuts import CUTS
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean
from testbed.experiment.profiles import GUARD, TORCH_MEMORY
from testbed.experiment.training import HALVING_SCHEMES, PIPELINED_SCHEMES, SPLIT_SCHEMES
from testbed.experiment.units import format_duration, format_size

MIN_QUOTA = 0.001
"""Least CPU time a period, in seconds, that the kernel takes."""
SHORTEST_PERIOD, LONGEST_PERIOD = 0.001, 1.0
"""Periods of a quota, in seconds, that the kernel takes."""
FASTEST = 1.0
"""Speed of a core of this machine, in units of itself."""
_MIB = 1 << 20


@dataclass(frozen=True)
class _Use:
    """A place of the file that names a profile, and the memory that such a node needs (0: it does not train)."""

    profile: str
    path: Steps
    memory: int = 0
    why: str = ""


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of profiles."""
    profiles = (problem for name in spec.profiles for problem in _profile(spec, document, name))
    return [*_unknown(spec, document), *_memory(spec, document), *profiles, *check_power.check(spec, document)]


def _unknown(spec: Spec, document: Document) -> Iterator[InputError]:
    known = resolve.profile_names(spec)
    for use in _uses(spec):
        if use.profile not in known:
            near = did_you_mean(use.profile, known) or "add it under 'profiles:'"
            yield document.problem(
                use.path, f"unknown profile {use.profile!r}", wanted=", ".join(known), remedy=near
            )


def _uses(spec: Spec) -> Iterator[_Use]:
    """Every place that names a profile. What trains there is what the most demanding scheme of the file has there."""
    work, devices = spec.workload, resolve.devices(spec)
    layers, like = len(footprint.layers(work.model)), taken(work.data.set, work.model)
    cuts = {group: _cut(spec, group) for group in spec.devices}
    splits = any(scheme in HALVING_SCHEMES for scheme in work.scheme)
    whole = any(scheme not in SPLIT_SCHEMES and scheme not in PIPELINED_SCHEMES for scheme in work.scheme)
    train, test = footprint.SAMPLES[work.data.set]
    samples, shares = min(work.data.train or train, train), work.data.split.fractions or {}
    batch = min(work.batch, train)
    of = f"{work.model} at batch {work.batch}"
    staged = _staged(spec)

    for name, group in spec.devices.items():
        share = max((shares.get(d, 1 / len(devices)) for d in resolve.device_names(spec, name)), default=0)
        needs = [(0, "")]
        if whole or splits:
            half = "" if whole else f"the first {cuts[name]} layers of "
            trained = footprint.training(work.model, 0, layers if whole else cuts[name], batch, 1, like)
            needs.append((trained, f"{half}{of}"))
        needs += [staged.get(device, (0, "")) for device in resolve.device_names(spec, name)]
        device, why = max(needs)
        held = int(share * samples) * like.nbytes
        yield _Use(group.profile, ("devices", name, "profile"), device + held, why)
    for name, site in spec.sites.items():
        if site.edge is not None:
            here = [cuts[g] for g, d in spec.devices.items() if d.at == name for _ in resolve.device_names(spec, g)]
            times = f", for {len(here)} devices" if len(here) > 1 else ""
            here = here or list(cuts.values())[:1]  # a site where nobody starts may have one come
            edge = footprint.tails(work.model, here, batch, like) if splits else footprint.BASE
            if work.aggregation == "hierarchical":
                edge += footprint.models(work.model, len(here) + 1, like)
            whose = resolve.edge_name(name, site) or ""
            needed = max((edge, f"the other layers of {of}{times}"), staged.get(whose, (0, "")))
            yield _Use(site.edge.profile, ("sites", name, "edge", "profile"), *needed)
    if spec.cloud is not None:
        cloud = footprint.evaluating(work.model, min(work.data.test or test, test), len(devices), like)
        why = f"averaging and evaluating {work.model}"
        yield _Use(spec.cloud.profile, ("cloud", "profile"), cloud, why)
    for name, host in spec.hosts.items():
        yield _Use(host.profile, ("hosts", name, "profile"))


def _staged(spec: Spec) -> dict[str, tuple[int, str]]:
    """What pipelines need on each node, in bytes, and in words."""
    work = spec.workload
    micro, like = max(1, work.batch // work.pipeline.micro), taken(work.data.set, work.model)
    here: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    if any(scheme in SPLIT_SCHEMES for scheme in work.scheme if scheme in PIPELINED_SCHEMES):
        for layout in resolve.layouts(spec).values():
            for stage, node in enumerate(layout.nodes):
                here[node].append((*layout.layers(stage), layout.depths[stage]))
    of = f"{work.model} in micro-batches of {micro}"
    found = {
        node: (
            footprint.staged(work.model, stages, micro, like),
            f"{len(stages)} stage{'s' if stages[1:] else ''} of {of}",
        )
        for node, stages in here.items()
    }
    if any(scheme in PIPELINED_SCHEMES and scheme not in SPLIT_SCHEMES for scheme in work.scheme):
        every = footprint.staged(work.model, [(0, len(footprint.layers(work.model)), 1)], micro, like), of
        found |= {device: max(every, found.get(device, (0, ""))) for device in resolve.devices(spec)}
    return found


def _cut(spec: Spec, group: str) -> int:
    """Layers on the devices of an entry, brought into the model if they are not (which the check of training tells)."""
    cut = resolve.cut(spec, group)
    return min(max(CUTS[spec.workload.model] if cut is None else cut, 0), len(footprint.layers(spec.workload.model)))


def _memory(spec: Spec, document: Document) -> Iterator[InputError]:
    """Too little memory, told once a profile of the file's own, for what needs most of those that use it."""
    most: dict[Steps, _Use] = {}
    for use in _uses(spec):
        if not use.memory or use.profile not in resolve.profile_names(spec):
            continue
        origin: Steps = ("profiles", use.profile, "memory") if use.profile in spec.profiles else use.path
        if origin not in most or use.memory > most[origin].memory:
            most[origin] = use
    for origin, use in most.items():
        memory = resolve.hardware(spec, use.profile).memory
        needed = max(TORCH_MEMORY, use.memory)
        if memory is None or memory >= needed:
            continue
        enough = -(-needed // (64 * _MIB)) * 64 * _MIB
        yield document.problem(
            origin,
            f"profile {use.profile!r} has too little memory for a node that trains",
            wanted=f"about {-(-needed // _MIB)}MiB: {footprint.BASE // _MIB}MiB for torch, the rest for {use.why}",
            found=format_size(memory),
            remedy=f"set profiles.{use.profile}.memory to {enough // _MIB}MiB or more ({enough * 3 // 2 // _MIB}MiB is "
            "comfortable)" + (", or use a smaller batch" if use.memory > TORCH_MEMORY else ""),
        )


def _short(spec: Spec, document: Document, name: str, hardware: resolve.Hardware) -> InputError:
    """Less CPU time a period than the kernel takes: a longer period helps, unless the longest is too short."""
    message = f"profile {name!r} has less than 1ms of CPU a period, which the kernel does not take"
    found = f"{hardware.cpus:.3g} cores x {format_duration(hardware.period)}"
    needed = math.ceil(1000 * MIN_QUOTA / hardware.cpus - 1e-9) / 1000  # whole milliseconds
    if needed <= LONGEST_PERIOD:
        longer = format_duration(needed)
        return document.problem(
            ("profiles", name, "period"), message, wanted=f"a period of {longer} or more", found=found,
            remedy=f"set profiles.{name}.period to {longer}, or more",
        )  # fmt: skip
    own = spec.profiles[name].cpus is not None
    key = "cpus" if own else ("speed" if hardware.paced else "share")
    least = MIN_QUOTA / LONGEST_PERIOD / (GUARD if key == "speed" else 1.0)
    least = math.ceil(least * 1e5 - 1e-6) / 1e5
    return document.problem(
        ("profiles", name, key), message, wanted=f"a {key} of {least:g} or more, in the longest period",
        found=found, remedy=f"set profiles.{name}.{key} to {least:g} or more, and its period to "
        f"{format_duration(LONGEST_PERIOD)}",
    )  # fmt: skip


def _profile(spec: Spec, document: Document, name: str) -> Iterator[InputError]:
    hardware = resolve.hardware(spec, name)
    path: Steps = ("profiles", name)
    if hardware.speed is None or hardware.memory is None:
        missing = " and ".join(k for k in ("speed", "memory") if getattr(hardware, k) is None)
        yield document.problem(
            path,
            f"profile {name!r} has no {missing}",
            wanted="speed and memory, unless a shipped profile has that name",
            remedy=did_you_mean(name, [p for p in resolve.profile_names(spec) if p != name]) or f"add {missing}",
        )
        return
    if hardware.cpus < hardware.speed:
        yield document.problem(
            (*path, "cpus"),
            f"profile {name!r} has a CPU quota below its speed",
            wanted=f"cpus above {hardware.speed:g}",
            found=f"{hardware.cpus:g}",
            remedy="leave cpus out: it follows the speed then",
        )
    if not SHORTEST_PERIOD <= hardware.period <= LONGEST_PERIOD:
        yield document.problem(
            (*path, "period"),
            f"profile {name!r} has a period that the kernel does not take",
            wanted=f"{format_duration(SHORTEST_PERIOD)} to {format_duration(LONGEST_PERIOD)}",
            found=format_duration(hardware.period),
            remedy="leave period out for 100ms, or write one within these bounds",
        )
    elif hardware.cpus * hardware.period < MIN_QUOTA * (1 - 1e-9):
        yield _short(spec, document, name, hardware)
    measure, fastest = ("speed", "share")[not hardware.paced], FASTEST * (spec.dilation or hardware.speed)
    if hardware.speed > fastest:
        yield document.problem(
            (*path, measure),
            f"profile {name!r} is faster than a core of this machine"
            + (f" at a dilation of {fastest:g}" if fastest > 1 else ""),
            wanted=f"a {measure} of at most {fastest:g}",
            found=f"{hardware.speed:g}",
            remedy=f"set profiles.{name}.{measure} to {fastest:g} or less, and lower all speeds alike to keep their "
            f"ratios; or set dilation to {hardware.speed:g}, or auto",
        )
