"""What the kernel kills in a node for want of memory while a command runs there, in words.

Such a command ends with 137 and says nothing, or it is another process of the node that is killed: only the count
of the node's cgroup tells.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from testbed.emulation.cgroups import Cgroup
from testbed.emulation.containers import Engine
from testbed.emulation.execute import ExecResult
from testbed.emulation.record import NodeRecord
from testbed.errors import EmulationError
from testbed.experiment.plan import NodePlan


class OomWatch:
    """Counts from when it is made.

    Args:
        node: Its name, its profile, and the memory it may use, bytes.
        group: Its cgroup; None if it cannot be found, as that of a node that has ended.
        engine: Asked if the count is gone, which it is with the container.
        container: Name or id.
    """

    def __init__(self, node: NodeRecord | NodePlan, group: Cgroup | None, engine: Engine, container: str) -> None:
        self._node = node
        self._group = group
        self._engine = engine
        self._container = container
        self._before = self._count()

    def kills(self) -> int | None:
        """Processes killed since then; None if nobody can tell."""
        if self._before is None:
            return None
        after = self._count()
        if after is not None:
            return after - self._before
        with suppress(EmulationError):
            state = self._engine.state(self._container)
            if not state.running and state.oom_killed:
                return 1  # the main process at least
        return None

    def note(self, kills: int | None) -> str:
        """What to tell of so many kills; empty if there were none, or none are known of."""
        if not kills:
            return ""
        node, what = self._node, "a process" if kills == 1 else f"{kills} processes"
        return (
            f"{node.name}: the kernel killed {what} of it for want of memory during the command\n"
            f"  found:  a memory limit of {node.memory / (1 << 20):g} MiB\n"
            f"  remedy: set profiles.{node.profile}.memory higher, or have the command use less"
        )

    def noted(self, result: ExecResult) -> ExecResult:
        """How the command ended, with the kills, and with the note at the end of what it said on standard error."""
        kills = self.kills()
        note = self.note(kills)
        if not note:
            return replace(result, oom_kills=kills)
        said = result.stderr
        if said and not said.endswith("\n"):
            said += "\n"
        return replace(result, oom_kills=kills, stderr=f"{said}{note}\n")

    def _count(self) -> int | None:
        with suppress(EmulationError):
            return None if self._group is None else self._group.oom_kills_if_told()
        return None
