"""The way into a bed that another process put up: its nodes, Mininet's view of it, commands in its containers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from testbed.emulation import execute, rundirs
from testbed.emulation.cgroups import Cgroup, CpuUse, Limits, MemoryUse
from testbed.emulation.containers import Engine
from testbed.emulation.ledger import Ledger
from testbed.emulation.oom import OomWatch
from testbed.emulation.record import BedRecord
from testbed.errors import EmulationError, InputError

if TYPE_CHECKING:
    from testbed.emulation.nodes import RunNet


class AttachedBed:
    """A bed that stands. Nothing of it is made or taken down from here."""

    def __init__(self, record: BedRecord) -> None:
        self.record = record
        self._engine: Engine | None = None
        self._net: RunNet | None = None

    @property
    def engine(self) -> Engine:
        """The container engine."""
        if self._engine is None:
            self._engine = Engine()
        return self._engine

    @property
    def net(self) -> RunNet:
        """Mininet's object for it."""
        if self._net is None:
            from testbed.emulation.nodes import build_net

            self._net = build_net(self.record)
        return self._net

    def pid(self, node: str) -> int:
        """A process in the node's namespaces, as the host numbers it."""
        return self.record.node(node).pid

    def exec(self, node: str, argv: Sequence[str], timeout: float | None = None) -> execute.ExecResult:
        """Run a command in a node's container and wait for it."""
        watch = self.oom_watch(node)
        return watch.noted(execute.run(self.engine, self.record.node(node).container_id, argv, timeout))

    def oom_watch(self, node: str) -> OomWatch:
        """Counts from now on what is killed in a node for want of memory."""
        record, group = self.record.node(node), None
        with suppress(EmulationError):  # it may have ended: the engine says so of whatever is to run there
            group = Cgroup.of(record.pid)
        return OomWatch(record, group, self.engine, record.container_id)

    def oom_kills(self, node: str) -> int | None:
        """Processes of a node killed for want of memory so far; None if the kernel does not tell."""
        return Cgroup.of(self.pid(node)).oom_kills_if_told()

    def limits(self, node: str) -> Limits:
        """Limits that the kernel enforces on a node now."""
        return Cgroup.of(self.pid(node)).limits()

    def cpu(self, node: str) -> CpuUse:
        """CPU time and throttling of a node so far."""
        return Cgroup.of(self.pid(node)).cpu()

    def memory(self, node: str) -> MemoryUse:
        """Memory that a node uses."""
        return Cgroup.of(self.pid(node)).memory()

    def running(self) -> dict[str, bool]:
        """Which containers run."""
        listed = {item["Id"]: item["State"] == "running" for item in self.engine.ours(self.record.run_id)}
        return {name: listed.get(node.container_id, False) for name, node in self.record.nodes.items()}

    def close(self) -> None:
        """End what was started on this side; the bed stands on."""
        if self._net is not None:
            self._net.stop()
            self._net = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def __enter__(self) -> AttachedBed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach(run_id: str | None = None) -> AttachedBed:
    """Find the bed of a run; without an id, that of the only run that stands.

    Raises:
        InputError: There is no such run, it is dead, or several stand and none was named.
    """
    if run_id is None:
        standing = [run.run_id for run in rundirs.runs() if run.alive]
        if len(standing) != 1:
            raise InputError(
                "several runs stand" if standing else "no run stands",
                found=", ".join(standing) or None,
                remedy="name one with --run" if standing else "testbed up FILE",
            )
        run_id = standing[0]
    book = Ledger.open(run_id)
    if not book.alive():
        raise InputError(f"run {run_id} is dead", found="its controller has ended", remedy=f"testbed clean {run_id}")
    return AttachedBed(BedRecord.load(book.directory))
