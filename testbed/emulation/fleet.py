"""All containers of a run at once: started, limited, watched and removed in parallel."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from testbed.emulation import execute
from testbed.emulation.cgroups import Cgroup, CpuUse, Limits, MemoryUse
from testbed.emulation.containers import NODE_IMAGE, Container, Engine, Launch, ended_at_once, name_of
from testbed.emulation.ledger import Ledger
from testbed.emulation.oom import OomWatch
from testbed.emulation.process import Process
from testbed.errors import EmulationError, EnvironmentProblem, InputError, NotAppliedError, RoambedError
from testbed.experiment.plan import NodePlan

_THREADS = 16
_KERNEL_GRAIN = 1e-6  # s; quotas and periods are whole microseconds
_PAGE = os.sysconf("SC_PAGE_SIZE")

_T = TypeVar("_T")


@dataclass(frozen=True)
class AppliedLimits:
    """Limits asked for and read back. ``swap_accounted`` is False where the kernel does not limit swap."""

    asked: Limits
    read_back: Limits
    swap_accounted: bool


@dataclass(frozen=True)
class NodeState:
    """How a node is.

    Attributes:
        running: Whether its container runs. exit_code: How it ended.
        oom_killed: Its main process was killed for want of memory.
        oom_child_kills: So many of its other processes were, while the main one lived.
    """

    running: bool
    exit_code: int | None
    oom_killed: bool
    oom_child_kills: int


class Fleet:
    """The containers of one run; ``hosts`` are the addresses that they know by name."""

    def __init__(
        self, run_id: str, nodes: Sequence[NodePlan], ledger: Ledger, hosts: Sequence[tuple[str, str]]
    ) -> None:
        self.run_id = run_id
        self.engine = Engine()
        self._plans = {node.name: node for node in nodes}
        self._ledger = ledger
        self._hosts = hosts
        self._containers: dict[str, Container] = {}
        self._cgroups: dict[str, Cgroup] = {}
        self._processes: dict[str, Process | None] = {}
        self._oom_kills: dict[str, int] = {}
        self._stop_starting = threading.Event()

    def require_images(self) -> None:
        """Make sure that every image is here before anything is made."""
        for image in sorted({node.image or NODE_IMAGE for node in self._plans.values()}):
            self.engine.require_image(image)

    @contextmanager
    def starting(self, launch: Callable[[NodePlan], Launch]) -> Iterator[list[Future[None]]]:
        """Start all containers in the background while the block runs; it gives a future for each.

        Leaving the block by an error keeps those from starting that have not yet.
        """
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="start") as pool:
            futures = [pool.submit(self._start, node, launch) for node in self._plans.values()]
            try:
                yield futures
            except BaseException:
                self._stop_starting.set()
                raise
            finally:
                wait(futures)

    def container(self, node: str) -> Container:
        """A node's container.

        Raises:
            InputError: There is no such node.
        """
        if node not in self._containers:
            known = ", ".join(self._containers) or "none"
            raise InputError(f"no node {node} in run {self.run_id}", found=f"nodes: {known}")
        return self._containers[node]

    def pids(self) -> dict[str, int]:
        """A process in each node's namespaces, as the host numbers it; in the plan's order."""
        return {name: self._containers[name].pid for name in self._plans if name in self._containers}

    def apply_limits(
        self, changed: Mapping[str, NodePlan] | None = None, without: Collection[str] = ()
    ) -> dict[str, AppliedLimits]:
        """Put all limits in force and read them back.

        Args:
            changed: Nodes whose limits differ from the plan's, by name.
            without: Nodes that are known to have died.

        Raises:
            NotAppliedError: The kernel enforces something else.
        """
        plans = self._plans | dict(changed or {})
        return self._each(lambda name: self._limit(name, plans[name]), without)

    def limits(self, node: str) -> Limits:
        """Limits in force on a node."""
        return self._cgroup(node).limits()

    def set_quota(self, node: str, cpus: float | None, period: float) -> Limits:
        """Change a node's CPU quota alone (None: none), and read back what is in force.

        Raises:
            NotAppliedError: The kernel enforces something else.
        """
        self._cgroup(node).set_quota(cpus, period)
        found = self.limits(node)
        wanted = None if cpus is None else round(cpus * period * 1e6) / 1e6
        if found.quota != wanted and not _close(wanted, found.quota, _KERNEL_GRAIN):
            raise NotAppliedError(
                f"the CPU quota of {node} is not in force", wanted=str(wanted), found=str(found.quota), where=node
            )
        return found

    def states(self) -> dict[str, NodeState]:
        """How every node is."""
        return {name: self._state(name) for name in self.pids()}

    def ended(self) -> EmulationError | None:
        """An error about the first node that was started and has ended; None if there is none."""
        for name in self.pids():
            with suppress(RoambedError):
                state = self.engine.state(self.container(name).id)
                if not state.running:
                    return ended_at_once(name, state.exit_code, self.logs(name, tail=20))
        return None

    def cgroup(self, node: str) -> Cgroup:
        """Where the kernel keeps a node's limits and counters."""
        return self._cgroup(node)

    def cpu(self, node: str) -> CpuUse:
        """CPU time and throttling of a node so far."""
        return self._cgroup(node).cpu()

    def memory(self, node: str) -> MemoryUse:
        """Memory that a node uses."""
        return self._cgroup(node).memory()

    def exec(self, node: str, argv: Sequence[str], timeout: float | None = None) -> execute.ExecResult:
        """Run a command in a node's container and wait for it."""
        container = self.container(node).id
        watch = OomWatch(self._plans[node], self._cgroup(node), self.engine, container)
        return watch.noted(execute.run(self.engine, container, argv, timeout))

    def kill(self, node: str) -> None:
        """Kill a node's container."""
        self.engine.kill(self.container(node).id)

    def logs(self, node: str, tail: int | None = None) -> str:
        """What a node's program wrote."""
        return self.engine.logs(self.container(node).id, tail)

    def remove(self) -> None:
        """Kill and remove all containers that were started here, and close the engine; twice is fine.

        Raises:
            EmulationError: Some could not be removed; all others were.
        """
        removing = dict(self._containers)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="remove") as pool:
            futures = {name: pool.submit(self.engine.remove, item.id) for name, item in removing.items()}
        failed = {name: future.exception() for name, future in futures.items() if future.exception()}
        for name in removing.keys() - failed.keys():
            del self._containers[name]
        if failed:
            raise EmulationError("containers could not be removed", found="; ".join(map(str, failed.values())))
        self.engine.close()

    def _start(self, node: NodePlan, launch: Callable[[NodePlan], Launch]) -> None:
        if self._stop_starting.is_set():
            return
        what = launch(node)
        with self._ledger.making("container", name_of(self.run_id, node.name)):
            container = self.engine.start(self.run_id, node, what, self._hosts)
        self._containers[node.name] = container
        first = Process.of(container.pid)
        # Right after its start it may still run the engine's helper, which then becomes the node's program.
        self._processes[node.name] = first and replace(first, exe="")
        _require_visible(node.name, container)
        self._cgroups[node.name] = Cgroup.of(container.pid)

    def _limit(self, name: str, node: NodePlan) -> AppliedLimits:
        self.engine.limit(self.container(name).id, node)
        asked = Limits(node.period, node.cpus * node.period, node.memory, node.memory)
        found = self._cgroup(name).limits()
        if not _in_force(asked, found):
            raise NotAppliedError(
                f"the limits of {name} are not in force",
                wanted=str(asked),
                found=str(found),
                where=name,
                remedy="testbed doctor shows what this kernel's cgroups can do",
            )
        return AppliedLimits(asked, found, swap_accounted=found.memory_swap is not None)

    def _state(self, name: str) -> NodeState:
        kills = self._oom_kills.get(name, 0)
        # The count dies with the container's cgroup: then the last one read is the one to report.
        with suppress(EmulationError):
            kills = self._cgroup(name).oom_kills()
        # The engine is asked only once the main process has gone: it is looked at every second while nodes train.
        process = self._processes[name]
        if process is not None and process.running():
            self._oom_kills[name] = kills
            return NodeState(running=True, exit_code=None, oom_killed=False, oom_child_kills=kills)
        state = self.engine.state(self.container(name).id)
        return NodeState(state.running, state.exit_code, state.oom_killed, self._oom_kills.get(name, 0))

    def _cgroup(self, name: str) -> Cgroup:
        self.container(name)
        return self._cgroups[name]

    def _each(self, act: Callable[[str], _T], without: Collection[str] = ()) -> dict[str, _T]:
        names = [name for name in self.pids() if name not in without]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="fleet") as pool:
            return dict(zip(names, pool.map(act, names), strict=True))


def _require_visible(name: str, container: Container) -> None:
    """Make sure that the pid which the engine names is the container's here, and not some other process's."""
    try:
        member = Path(f"/proc/{container.pid}/cgroup").read_text()
    except OSError:
        member = ""
    if container.id not in member:
        raise EnvironmentProblem(
            "the processes of containers are not to be seen from here",
            wanted=f"container {container.id[:12]} at pid {container.pid}",
            found=member.strip().splitlines()[-1] if member else "no such process",
            where=name,
            remedy="use an engine on this very machine (not Docker Desktop, not rootless, not remote); "
            "from a container, give it the host's pid namespace",
        )


def _in_force(asked: Limits, found: Limits) -> bool:
    """Whether the kernel enforces what was asked, in its own units (swap only where it accounts for it)."""
    return (
        _close(asked.period, found.period, _KERNEL_GRAIN)
        and _close(asked.quota, found.quota, _KERNEL_GRAIN)
        and _close(asked.memory, found.memory, _PAGE)
        and (found.memory_swap is None or _close(asked.memory_swap, found.memory_swap, _PAGE))
    )


def _close(one: float | None, other: float | None, grain: float) -> bool:
    return one is not None and other is not None and abs(one - other) <= grain
