"""A bed: the containers, bridges and links of one plan, standing. ``up`` makes all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from testbed.emulation import fabric as fabrics
from testbed.emulation.cgroups import CpuUse, MemoryUse
from testbed.emulation.changing import ChangingLinks, Handover, varying
from testbed.emulation.containers import Launch
from testbed.emulation.execute import ExecResult
from testbed.emulation.fleet import AppliedLimits, Fleet, NodeState
from testbed.emulation.ledger import Ledger
from testbed.emulation.links.base import Emulator
from testbed.emulation.record import BedRecord, LinkRecord, NodeRecord
from testbed.errors import EmulationError, RoambedError
from testbed.experiment.plan import NodePlan, Plan

if TYPE_CHECKING:
    from testbed.emulation.nodes import RunNet

Progress = Callable[[str, int, int], None]
"""Called with a phase (``images fabric containers links addresses``), how much is done, and of how much."""

_T = TypeVar("_T")


class Bed:
    """Containers, bridges and links of a run.

    Args:
        plan: What to make.
        run_id: Whose it is.
        ledger: Where each thing is written before it is made. It stays the caller's, to finish after ``down``.
        launch: What each node's container runs.
        emulator: Makes the links; None chooses by the plan.
    """

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        ledger: Ledger,
        launch: Callable[[NodePlan], Launch],
        emulator: Emulator | None = None,
    ) -> None:
        self.plan = plan
        self.run_id = run_id
        self.ledger = ledger
        self._launch = launch
        self._emulator = emulator
        self._fleet: Fleet | None = None
        self._fabric: fabrics.Fabric | None = None
        self._changing: ChangingLinks | None = None
        self._net: RunNet | None = None

    def up(self, progress: Progress | None = None, *, run_dir: str = "") -> None:
        """Make everything. If anything fails, all of it is taken down again before the error is raised.

        Args:
            progress: Told how far it is.
            run_dir: Where the run's results go, for others to find.
        """
        try:
            self._up(progress or (lambda *_: None), run_dir)
        except BaseException as error:
            # A node that ended meanwhile makes all kinds of things fail: it is the cause to be named.
            cause = self._fleet.ended() if self._fleet and isinstance(error, RoambedError) else None
            try:
                self.down()
            except EmulationError as left:
                (cause or error).add_note(str(left))
            if cause is not None:
                raise cause from error
            raise

    def _up(self, progress: Progress, run_dir: str) -> None:
        plan = self.plan
        nodes, links = len(plan.nodes), len(plan.links)
        addresses = fabrics.plan_addresses(plan.nodes, plan.ipv6)
        inner = fabrics.Fabric(self.run_id, plan.bridges, plan.links, plan.dilation)
        self._fleet = fleet = Fleet(self.run_id, plan.nodes, self.ledger, fabrics.known_hosts(addresses))
        progress("images", 0, 1)
        fleet.require_images()
        with fleet.starting(self._launch) as starting:
            progress("fabric", 0, 1)
            self._fabric = inner
            with self.ledger.making("netns", inner.name):
                inner.create()
            self.emulator.open()
            self._write_down_emulator()
            for done, started in enumerate(starting):
                progress("containers", done, nodes)
                started.result()
        progress("links", 0, links)
        inner.add_links(self.emulator, fleet.pids(), {name: own.mac for name, own in addresses.items()})
        self._write_down_emulator()
        progress("addresses", 0, nodes)
        congestion = {inner.configure_node(name, pid, addresses) for name, pid in fleet.pids().items()}
        inner.forward()
        record = self._describe(run_dir, addresses, congestion)
        record.save(self.ledger.directory)
        self._changing = ChangingLinks(plan, inner, self.emulator, record, self._keep)
        progress("addresses", nodes, nodes)

    def down(self) -> None:
        """Take everything down. Safe at any point of a failed ``up``; doing it twice is fine.

        Raises:
            EmulationError: Something could not be removed; all the rest was.
        """
        (self.ledger.directory / "bed.json").unlink(missing_ok=True)
        failures: list[Exception] = []

        def attempt(act: Callable[[], None]) -> None:
            try:
                act()
            except (EmulationError, OSError) as error:
                failures.append(error)

        # Shells and links end before the namespaces that hold their ends.
        if self._net is not None:
            attempt(self._net.stop)
        if self._emulator is not None:
            attempt(self._emulator.close)
        with ThreadPoolExecutor(2, thread_name_prefix="down") as pool:
            if self._fleet is not None:
                pool.submit(attempt, self._fleet.remove)
            if self._fabric is not None:
                pool.submit(attempt, self._fabric.close)
        self._changing = self._net = None
        if failures:
            raise EmulationError(
                f"run {self.run_id} could not be taken down whole",
                found="; ".join(str(failure) for failure in failures),
                remedy=f"testbed clean {self.run_id}",
            ) from failures[0]
        self._fleet = self._fabric = None

    @property
    def emulator(self) -> Emulator:
        """What makes the links."""
        if self._emulator is None:
            from testbed.emulation.links import choose

            self._emulator = choose(self.plan.link_backend, self.plan.seed)
        return self._emulator

    @property
    def fleet(self) -> Fleet:
        """The containers."""
        return self._standing(self._fleet)

    @property
    def fabric(self) -> fabrics.Fabric:
        """Bridges and forwarding."""
        return self._standing(self._fabric)

    @property
    def record(self) -> BedRecord:
        """Who is who."""
        return self._standing(self._changing).record

    @property
    def net(self) -> RunNet:
        """Mininet's own object (made on first use: it needs Mininet, which a bed alone does not)."""
        if self._net is None:
            from testbed.emulation.nodes import build_net

            self._net = build_net(self.record)
        return self._net

    def pid(self, node: str) -> int:
        """A process in the node's namespaces, as the host numbers it."""
        return self.fleet.container(node).pid

    def apply_limits(
        self, changed: Mapping[str, NodePlan] | None = None, without: Collection[str] = ()
    ) -> dict[str, AppliedLimits]:
        """Put nodes' limits in force and read them back: all but those ``without``, which have died.

        ``changed`` are nodes that get others than the plan's.

        Raises:
            NotAppliedError: The kernel enforces something else.
        """
        return self.fleet.apply_limits(changed, without)

    def handover(self, device: str, site: str) -> Handover:
        """Move a device to another site's access point, on the real link. Its address stays.

        Raises:
            InputError: There is no such device or site.
        """
        return self._standing(self._changing).handover(device, site)

    def cut(self, *links: str) -> None:
        """Cut links: what is on them is gone, nothing passes, and traffic takes other ways where there are any.

        Raises:
            InputError: There is no such link.
        """
        self._standing(self._changing).set_carrier(links, up=False)

    def mend(self, *links: str) -> None:
        """Bring links back that were cut; one that is up stays so."""
        self._standing(self._changing).set_carrier(links, up=True)

    def kill(self, node: str) -> None:
        """Kill a node's container at once, as a power failure would; it stays dead."""
        self.fleet.kill(node)

    def play(self, begin: float) -> None:
        """Have links vary as the plan says, from ``begin`` (s of CLOCK_MONOTONIC) on; played where they are shaped.

        A device that is handed over gets the schedule of where it comes to, as far as that is by then.
        """
        self._standing(self._changing).play(begin)

    def rest(self) -> None:
        """End what `play` began: links are as the plan says them to be again."""
        self._standing(self._changing).rest()

    def exec(self, node: str, argv: Sequence[str], timeout: float | None = None) -> ExecResult:
        """Run a command in a node's container and wait for it."""
        return self.fleet.exec(node, argv, timeout)

    def states(self) -> dict[str, NodeState]:
        """How every node is."""
        return self.fleet.states()

    def logs(self, node: str, tail: int | None = None) -> str:
        """What a node's program wrote."""
        return self.fleet.logs(node, tail)

    def cpu(self, node: str) -> CpuUse:
        """CPU time and throttling of a node so far."""
        return self.fleet.cpu(node)

    def memory(self, node: str) -> MemoryUse:
        """Memory that a node uses."""
        return self.fleet.memory(node)

    def _standing(self, part: _T | None) -> _T:
        if part is None:
            raise EmulationError("the bed is not up", where=self.run_id)
        return part

    def _write_down_emulator(self) -> None:
        known = {entry.pid for entry in self.ledger.entries() if entry.kind == "process"}
        for pid in self.emulator.pids():
            if pid not in known:
                self.ledger.add_process(f"links ({self.emulator.name})", pid)

    def _keep(self, record: BedRecord, link: LinkRecord) -> None:
        """A link has changed: whoever looks at the bed is to see it."""
        record.save(self.ledger.directory)
        if self._net is not None:
            self._net.relink(link)

    def _describe(self, run_dir: str, addresses: dict[str, fabrics.Address], congestion: set[str | None]) -> BedRecord:
        fleet, inner = self.fleet, self.fabric
        record = BedRecord(
            run_id=self.run_id,
            name=self.plan.name,
            source=self.plan.source,
            run_dir=run_dir,
            emulator=self.emulator.name,
            bridges=dict(inner.bridges),
            congestion_control=congestion.pop() if len(congestion) == 1 else None,
        )
        for node in self.plan.nodes:
            container, own = fleet.container(node.name), addresses[node.name]
            record.nodes[node.name] = NodeRecord(
                name=node.name,
                kind=node.kind,
                profile=node.profile,
                container=container.name,
                container_id=container.id,
                pid=container.pid,
                ip=own.ip,
                mac=own.mac,
                cpus=node.cpus,
                period=node.period,
                memory=node.memory,
                site=node.site,
                ip6=own.ip6,
                speed=node.speed,
            )
        for link in inner.links.values():
            ends = inner.interface(link, "a"), inner.interface(link, "b")
            made = LinkRecord(link.name, link.kind, link.a, link.b, *ends, link.ab, link.ba)
            owner = record.nodes.get(link.a)
            record.links[link.name] = varying(self.plan, made, owner.site if owner else None)
        return record
