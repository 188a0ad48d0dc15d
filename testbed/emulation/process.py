"""Processes named for good: a pid alone may be somebody else's by the time it is used."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process by its id, its start time (clock ticks since boot) and the program it runs ("" for any)."""

    pid: int
    start: int
    exe: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has ``pid`` now; None if there is none, or only a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            exe = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold anything
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), exe)

    def running(self) -> bool:
        """Whether it is this very process that still runs."""
        now = Process.of(self.pid)
        if now is None or now.start != self.start:
            return False
        # After an upgrade of the program the kernel appends " (deleted)" to the path.
        return not self.exe or now.exe.split(" (")[0] == self.exe.split(" (")[0]

    def end(self, *, patience: float = 0.0) -> bool:
        """Ask it to end (SIGTERM), and after ``patience`` seconds kill it. Without patience, kill it.

        Returns:
            Whether it was running.
        """
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.running():  # checked after the handle was taken: the handle cannot be reused
                return False
            if patience > 0:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                if _ended(handle, patience):
                    return True
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _ended(handle, 2.0)
        except ProcessLookupError:
            return True
        finally:
            os.close(handle)
        return True


def _ended(handle: int, patience: float) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(patience * 1000))
