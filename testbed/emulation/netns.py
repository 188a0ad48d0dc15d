"""Network namespaces: make, delete, and act inside one without leaving one's own.

Joining a namespace concerns one thread only, so each act gets a thread of its own that ends with it. The
controller never changes namespace, and what such a thread opened (a socket, a file) keeps working afterwards.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from testbed.errors import EmulationError, EnvironmentProblem

CLONE_NEWNET = 0x40000000
MOUNTS = "/run/netns"
PREFIX = "rb-"

_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


def name_of(run_id: str) -> str:
    """Name of a run's fabric namespace."""
    return PREFIX + run_id


def path_of(name: str) -> str:
    """Path of a named namespace."""
    return f"{MOUNTS}/{name}"


def of_pid(pid: int) -> str:
    """Path of the namespace that a process is in."""
    return f"/proc/{pid}/ns/net"


def names() -> list[str]:
    """Every named namespace of this machine."""
    try:
        return sorted(os.listdir(MOUNTS))
    except FileNotFoundError:
        return []


def create(name: str) -> str:
    """Make a named namespace and return its path.

    Raises:
        EnvironmentProblem: No right to, or no ``ip``.
        EmulationError: It exists already.
    """
    _ip("netns", "add", name)
    return path_of(name)


def delete(name: str) -> bool:
    """Delete a named namespace with all interfaces in it; deleting twice is fine.

    Returns:
        Whether there was one.
    """
    if name not in names():
        return False
    _ip("netns", "del", name)
    return True


def inside(path: str, act: Callable[[], _T]) -> _T:
    """Do something in a network namespace and return what it returned."""
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(handle, CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code), path)
            finally:
                os.close(handle)
            outcome.append(act())
        except BaseException as error:  # handed to the caller, whose call this is
            failure.append(error)

    thread = threading.Thread(target=work, name="netns", daemon=True)
    thread.start()
    thread.join()
    if not failure:
        return outcome[0]
    error = failure[0]
    if isinstance(error, OSError) and error.filename == path:
        raise EmulationError(
            "cannot enter a network namespace",
            found=f"{path}: {error.strerror}",
            remedy="run as root; if a node's process has just ended, see its log",
        ) from error
    raise error


def write_sysctls(path: str, values: Mapping[str, str]) -> list[str]:
    """Set network sysctls (``net.ipv4.x``) in a namespace.

    Returns:
        Those that this kernel does not have, or does not let us set.
    """

    def write() -> list[str]:
        refused = []
        for name, value in values.items():
            # Below /proc/sys/net a thread sees the settings of the namespace that it is in.
            try:
                Path("/proc/sys", *name.split(".")).write_text(value)
            except OSError:
                refused.append(name)
        return refused

    return inside(path, write)


def read_sysctl(path: str, name: str) -> str | None:
    """One network sysctl of a namespace; None if this kernel does not have it."""

    def read() -> str | None:
        try:
            return Path("/proc/sys", *name.split(".")).read_text().strip()
        except OSError:
            return None

    return inside(path, read)


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError as error:
        raise EnvironmentProblem("ip is not installed", remedy="apt install iproute2, or: make setup") from error
    if done.returncode == 0:
        return
    if os.geteuid() != 0:
        raise EnvironmentProblem("network namespaces need root", found=done.stderr.strip(), remedy="run as root (sudo)")
    raise EmulationError(
        f"ip {' '.join(arguments)} failed", found=done.stderr.strip(), remedy="testbed clean removes what is left"
    )
