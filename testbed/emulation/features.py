"""What the kernel really does, tried out in scratch namespaces that are gone afterwards.

A kernel's configuration is neither always readable nor the whole truth (modules may be missing, rights withheld),
so every feature is used once and judged by what happened.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testbed.emulation import netns
from testbed.emulation.host import TUN, Check
from testbed.errors import RoambedError

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x2, 0x1000
_FIFO_PRIORITY = 10
_TICK = 0.001
_USUAL_JITTER_MS = 1.0


def kernel_features() -> list[Check]:
    """Links, bridges and queueing disciplines, each tried once."""
    relay = "links in userspace are used instead"
    asked: list[tuple[str, Callable[[], str | None], bool, str]] = [
        ("veth", lambda: _run("ip", "link", "add", "rbv0", "type", "veth", "peer", "name", "rbv1"), True, "veth"),
        ("bridge", lambda: _run("ip", "link", "add", "rbb0", "type", "bridge"), True, "bridge"),
        ("TAP", _tap, True, "tun"),
        ("HTB", lambda: _run("tc", "qdisc", "add", "dev", "lo", "root", "htb", "default", "1"), False, "sch_htb"),
        ("netem", lambda: _run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"), False, "sch_netem"),
    ]
    checks = []
    for name, attempt, necessary, module in asked:
        needed = "works" if necessary else f"works, or {relay}"
        remedy = f"modprobe {module}, or a kernel that has it" + ("" if necessary else f"; until then {relay}")
        try:
            with scratch() as place:
                refusal = netns.inside(place, attempt)
        except RoambedError as error:
            refusal, remedy = error.found or error.message, error.remedy or remedy
        except (OSError, subprocess.SubprocessError) as error:
            refusal = str(error)
        if refusal is None:
            checks.append(Check(f"kernel: {name}", "works", needed, True))
        else:
            checks.append(Check(f"kernel: {name}", refusal, needed, False if necessary else None, remedy))
    return checks


@contextmanager
def scratch() -> Iterator[str]:
    """A network namespace for one attempt."""
    name = f"rbprobe-{uuid.uuid4().hex[:8]}"
    place = netns.create(name)
    try:
        yield place
    finally:
        netns.delete(name)


def real_time() -> Check:
    """Whether the userspace links may run ahead of everything else (SCHED_FIFO)."""
    refusal: list[str] = []

    def attempt() -> None:
        # The policy belongs to this thread only and ends with it.
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIFO_PRIORITY))
        except OSError as error:
            refusal.append(error.strerror or str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if not refusal:
        return Check("real-time priority", "granted", "SCHED_FIFO", True)
    remedy = "run as root with CAP_SYS_NICE; without it delays are less exact when all cores are busy"
    return Check("real-time priority", refusal[0], "SCHED_FIFO", None, remedy)


def clock_jitter(seconds: float = 0.5) -> Check:
    """How late a timer of 1 ms is, at the 99th percentile."""
    late = sorted(_lateness(seconds))
    worst = late[min(len(late) - 1, int(len(late) * 0.99))] * 1e3
    fine = worst <= _USUAL_JITTER_MS
    remedy = "" if fine else "close what else runs here; on a VM, give it cores of its own"
    found = f"{worst:.2f} ms late (99th percentile of {len(late)})"
    return Check("timer of 1 ms", found, f"{_USUAL_JITTER_MS:g} ms late at most", True if fine else None, remedy)


def _lateness(seconds: float) -> list[float]:
    begin = time.monotonic()
    late = []
    due = begin + _TICK
    while due < begin + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        late.append(max(0.0, now - due))
        due = max(due + _TICK, now)  # a late tick is counted once, not again in all that follow
    return late


def _run(*command: str) -> str | None:
    """Run a program; what it complained about, None if it did not."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode == 0:
        return None
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return said[-1] if said else f"{command[0]} ended with {done.returncode}"


def _tap() -> str | None:
    try:
        handle = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"{TUN}: {error.strerror}"
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", b"rbt0", _IFF_TAP | _IFF_NO_PI))
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(handle)
    return None
