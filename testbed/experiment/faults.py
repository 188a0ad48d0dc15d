"""Faults that the user asks for: edge servers and devices that die, links that are cut; their form, checks and plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from testbed.errors import InputError
from testbed.experiment import resolve
from testbed.experiment.changes import FaultPlan
from testbed.experiment.document import Document, Steps
from testbed.experiment.problems import did_you_mean
from testbed.experiment.section import Section
from testbed.experiment.training import PIPELINED_SCHEMES, SPLIT_SCHEMES, Whole
from testbed.experiment.units import Duration, Fraction, UnitError

if TYPE_CHECKING:
    from testbed.experiment.model import Spec


class Fault(Section):
    """Something that breaks, at a time or at a point of a device's training."""

    kill: str | None = None
    """Edge server or device whose container is killed, as by a power failure. It does not come back. Rounds go on
    without a device only with `workload.late`: `{drop: ...}`; those of ``tasks`` always do. All edge servers may be
    killed where the scheme is ``edgemove``: a device then trains the whole model by itself."""
    cut: str | None = None
    """Link that is cut: one of ``links`` (``north -- south``), or a device's access link by the device's name."""
    spoil: str | None = None
    """Edge server on which a bit flips in a copy of training state: in a standby that it holds, else in the next state
    that arrives. Digests do not match then."""
    lasting: Duration | None = None
    """How long a link is cut. By default for good."""
    at: Duration | None = None
    """When, after the start of training; instead of `device`, `round` and `progress`."""
    device: str | None = None
    """Device by whose training the moment is told."""
    round: Whole | None = None
    """Round of that device, counted from 1."""
    progress: Fraction | None = None
    """Share of its batches of that round that are done. Without it: 0%."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        asked = [name for name in ("kill", "cut", "spoil") if getattr(self, name) is not None]
        if len(asked) != 1:
            wanted, found = "kill: EDGE or DEVICE, cut: LINK or spoil: EDGE", " and ".join(asked) or "none of them"
            raise UnitError("a fault is one thing", wanted=wanted, found=found)
        if (self.at is None) == (self.round is None):
            raise UnitError(
                "a fault needs one moment", wanted="at, or device, round and progress", found="both or neither"
            )
        if self.round is not None and self.device is None:
            raise UnitError("whose round?", wanted="device, round and progress", found=f"round {self.round}")
        if self.cut is None and self.lasting is not None:
            raise UnitError("only a cut comes to an end", wanted="lasting with cut", found=f"lasting with {asked[0]}")
        return self


def check(faults: list[Fault], resolver: Resolver) -> Iterator[InputError]:
    """Problems of what the faults name."""
    for i, fault in enumerate(faults):
        path: Steps = ("faults", i)
        if fault.kill is not None and fault.kill not in (*resolver.edges, *resolver.devices):
            known = [*resolver.edges, *resolver.devices]
            yield resolver.unknown((*path, "kill"), "edge server or device", fault.kill, known)
        if fault.kill in resolver.devices and not resolver.drops:
            yield resolver.document.problem(
                (*path, "kill"), f"{fault.kill} is killed, and every round waits for it",
                wanted="workload.late: {drop: 30s}", found="late: wait", remedy="say after how long rounds go on",
            )  # fmt: skip
        if fault.spoil is not None and fault.spoil not in resolver.edges:
            yield resolver.unknown((*path, "spoil"), "edge server", fault.spoil, resolver.edges)
        if fault.cut is not None and resolver.link(fault.cut) is None:
            yield resolver.unknown((*path, "cut"), "link", fault.cut, [*resolver.links, *resolver.devices])
        if fault.device is not None and fault.device not in resolver.devices:
            yield resolver.unknown((*path, "device"), "device", fault.device, resolver.devices)
        if fault.round is not None and fault.round > resolver.rounds:
            yield resolver.document.problem(
                (*path, "round"), f"a fault in round {fault.round}, and there are {resolver.rounds} rounds",
                wanted=f"1 to {resolver.rounds}",
            )  # fmt: skip
    for what, all_ in (("edge server", [] if resolver.alone else resolver.edges), ("device", resolver.devices)):
        if all_ and {f.kill for f in faults} >= set(all_):
            yield resolver.document.problem(
                ("faults",), f"every {what} is killed: nobody is left to train with", remedy="leave one"
            )


class Resolver:
    """Names of an experiment that faults may use."""

    def __init__(self, spec: Spec, document: Document) -> None:
        self.document = document
        self.rounds = spec.workload.rounds
        self.drops = spec.workload.late.drop is not None or bool(spec.tasks)
        self.alone = set(spec.workload.scheme) <= set(PIPELINED_SCHEMES) & set(SPLIT_SCHEMES)
        """Whether devices can train without any edge server."""
        self.devices = list(resolve.devices(spec))
        self.edges = [e for s, settings in spec.sites.items() if (e := resolve.edge_name(s, settings))]
        self.links = {" -- ".join(ends): ends for name in spec.links.backhaul if (ends := resolve.ends(name))}

    def link(self, name: str) -> str | None:
        """The plan's name of a link as the user writes it, in either direction; None if there is none."""
        if name in self.devices:
            return f"access:{name}"
        ends = resolve.ends(name)
        for known, both in self.links.items():
            if ends is not None and set(ends) == set(both):
                return known
        return None

    def unknown(self, path: Steps, what: str, name: str, known: list[str]) -> InputError:
        """The error for a name that is not there."""
        return self.document.problem(
            path, f"there is no {what} {name!r}", wanted=", ".join(known), remedy=did_you_mean(name, known)
        )


def plan(faults: list[Fault], resolver: Resolver) -> tuple[FaultPlan, ...]:
    """The faults with every name resolved."""
    return tuple(
        FaultPlan(
            kind="cut" if fault.cut is not None else "kill" if fault.kill is not None else "spoil",
            target=fault.kill or fault.spoil or resolver.link(fault.cut or "") or "",
            at=fault.at,
            device=fault.device,
            round=fault.round,
            progress=None if fault.round is None else fault.progress or 0.0,
            lasting=fault.lasting,
        )
        for fault in faults
    )
