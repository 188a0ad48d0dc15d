"""Who is who in a bed that stands: written to ``bed.json``, so that other processes can find their way in."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from testbed.emulation import netns
from testbed.emulation.links.shape import Schedule, Shape
from testbed.errors import InputError

FILE = "bed.json"


@dataclass(frozen=True)
class NodeRecord:
    """A node and its container. Limits are those asked for; ``site`` is where a device is now.

    ``cpus`` is the guard: where programs that are not ours run, the quota in force is a governor's, by ``speed``.
    """

    name: str
    kind: str
    profile: str
    container: str
    container_id: str
    pid: int
    ip: str
    mac: str
    cpus: float
    period: float
    memory: int
    site: str | None = None
    ip6: str | None = None
    speed: float | None = None


@dataclass(frozen=True)
class TraceRecord:
    """By what one direction of a link varies: the trace's name, its length in seconds, whether it begins again."""

    name: str
    length: float
    loop: bool

    @classmethod
    def of(cls, schedule: Schedule | None) -> TraceRecord | None:
        """What is to be known of a schedule, None where there is none."""
        return None if schedule is None else cls(schedule.name, schedule.length, schedule.loop)


@dataclass(frozen=True)
class LinkRecord:
    """A link: its ends, their interfaces, and the shape asked for in each direction, with what it varies by."""

    name: str
    kind: str
    a: str
    b: str
    a_ifname: str
    b_ifname: str
    ab: Shape
    ba: Shape
    ab_trace: TraceRecord | None = None
    ba_trace: TraceRecord | None = None


@dataclass(frozen=True)
class BedRecord:
    """A whole bed. ``bridges`` maps their names to those of their interfaces in the fabric's namespace."""

    run_id: str
    name: str
    source: str
    run_dir: str
    emulator: str
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    bridges: dict[str, str] = field(default_factory=dict)
    links: dict[str, LinkRecord] = field(default_factory=dict)
    congestion_control: str | None = None

    @property
    def fabric(self) -> str:
        """Path of the fabric's namespace."""
        return netns.path_of(netns.name_of(self.run_id))

    def node(self, name: str) -> NodeRecord:
        """The node of that name.

        Raises:
            InputError: There is none.
        """
        if name not in self.nodes:
            raise InputError(f"no node {name} in run {self.run_id}", found=f"nodes: {', '.join(sorted(self.nodes))}")
        return self.nodes[name]

    def moved(self, node: str, site: str, link: LinkRecord) -> BedRecord:
        """The record after a handover."""
        return replace(
            self,
            nodes={**self.nodes, node: replace(self.nodes[node], site=site)},
            links={**self.links, link.name: link},
        )

    def save(self, directory: Path) -> None:
        """Write it, whole or not at all."""
        staging = directory / f".{FILE}.{os.getpid()}"
        staging.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(staging, directory / FILE)

    @classmethod
    def load(cls, directory: Path) -> BedRecord:
        """Read it.

        Raises:
            InputError: The run has none: it is still coming up, or going down.
        """
        try:
            data: dict[str, Any] = json.loads((directory / FILE).read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f"run {directory.name} has no bed that stands",
                found="it is coming up, going down, or dead",
                remedy="testbed ls; for a dead run: testbed clean",
            ) from error
        data["nodes"] = {name: NodeRecord(**item) for name, item in data["nodes"].items()}
        data["links"] = {
            name: msgspec.convert(item, LinkRecord)
            for name, item in data["links"].items()
        }
        return cls(**data)
