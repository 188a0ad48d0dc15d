"""Runs the probe (``native/probe.c``): frames between the ends of a link, seen from outside of whatever shapes it.

This module covers starting it and reading what it says. What is measured when, and what is made of it, is in
``calibrate``.
"""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from testbed.emulation import native
from testbed.emulation.links.shape import LinkEnd
from testbed.errors import EmulationError

_START_S = 5.0
_END_S = 10.0


@dataclass(frozen=True)
class RateSeen:
    """What came through in one direction, in layer-2 bit/s, and what was offered."""

    rate: float
    offered: float
    frames: int
    overruns: int  # frames that the probe itself lost


@dataclass(frozen=True)
class StreamSeen:
    """One direction of a stream of small frames; delays in s, None if nothing arrived."""

    sent: int
    received: int
    reordered: int
    samples: int
    p10: float | None = None
    p50: float | None = None
    p90: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half-width of the uniform distribution whose 10th and 90th percentile these are."""
        return None if self.p10 is None or self.p90 is None else (self.p90 - self.p10) / 1.6


@dataclass(frozen=True)
class Streams:
    """Both directions of a stream. ``rtt`` is the median over pairs of frames, ``frame`` their size in bytes."""

    ab: StreamSeen
    ba: StreamSeen
    rtt: float | None
    frame: int


@dataclass(frozen=True)
class GapTarget:
    """Where a gap is looked for: frames go from an interface to the address of another, across what lies between."""

    source_netns: str
    source_ifname: str
    target_netns: str
    target_ifname: str
    target_mac: str


@dataclass
class Gap:
    """The longest silence of a thin stream; filled in when the measurement ends.

    Attributes:
        gap_s: Its length less the spacing of the stream. begin, end: Last arrival before it, first after it,
            CLOCK_MONOTONIC. sent, lost: Frames of the whole stream. open: It lasted to the end of the stream.
        problem: Why there is no result.
    """

    gap_s: float | None = None
    begin: float | None = None
    end: float | None = None
    sent: int | None = None
    lost: int | None = None
    open: bool = False
    problem: str | None = None


def rate(
    a: LinkEnd, b: LinkEnd, ab: float, ba: float, *, warmup: float, window: float, patience: float
) -> dict[str, RateSeen]:
    """Saturate a link in both directions at once.

    Args:
        a: One end.
        b: The other end.
        ab: Rate asked of the direction a to b; a fifth more is offered. 0 leaves it out.
        ba: The same from b to a.
        warmup: Seconds after the first frame's arrival that do not count.
        window: Seconds that do.
        patience: Seconds after which the directions end that have not seen their window.
    """
    found = _run("rate", a, b, ab=ab, ba=ba, warmup=warmup, window=window, patience=patience)
    return {name: RateSeen(**{key: seen[key] for key in RateSeen.__annotations__}) for name, seen in found.items()}


def stream(a: LinkEnd, b: LinkEnd, *, count: int, interval: float, burst: int = 1, patience: float = 0.5) -> Streams:
    """Send small frames in both directions.

    Args:
        a: One end.
        b: The other end.
        count: Bursts a direction.
        interval: Seconds from one to the next.
        burst: Frames in each; only the first one's delay counts, all count for losses.
        patience: Seconds to wait for the last ones.
    """
    found = _run("stream", a, b, count=count, interval=interval, burst=burst, patience=patience)
    ab, ba = (
        StreamSeen(**{key: found[name][key] for key in StreamSeen.__annotations__ if key in found[name]})
        for name in ("ab", "ba")
    )
    return Streams(ab, ba, found["rtt"].get("p50"), int(found["frame"]))


@contextmanager
def measure_gap(target: GapTarget, *, interval: float = 0.002, longest: float = 600.0) -> Iterator[Gap]:
    """Send a thin stream as long as the block lasts; what it gives is filled in when the block ends.

    Args:
        target: From where to where.
        interval: Seconds between frames.
        longest: Seconds after which it ends by itself.

    Raises:
        EmulationError: It cannot be started.
    """
    gap = Gap()
    command = [
        str(native.build().probe),
        "gap",
        f"a={target.source_netns},{target.source_ifname}",
        f"b={target.target_netns},{target.target_ifname}",
        f"interval={interval}",
        f"duration={longest}",
    ]
    process = subprocess.Popen(
        command,
        bufsize=0,  # or what is buffered when "ready" is read would be lost to communicate()
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _START_S)
        if not ready or process.stdout.readline() != b"ready\n":
            process.kill()
            said = process.communicate()[1].decode(errors="replace").strip()
            raise EmulationError("the gap of a handover cannot be measured", found=said or "the probe does not start")
        try:
            yield gap
        finally:
            _fill(gap, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _fill(gap: Gap, process: subprocess.Popen[bytes]) -> None:
    try:
        out, err = process.communicate(timeout=_END_S)  # closes its standard input, at which it ends
        seen = json.loads(out)
    except (subprocess.TimeoutExpired, ValueError) as error:
        gap.problem = f"the probe did not end in order: {error}"
        return
    if process.returncode != 0:
        gap.problem = err.decode(errors="replace").strip()
        return
    gap.gap_s = max(0.0, seen["gap"] - seen["interval"])
    gap.begin, gap.end = seen["begin"], seen["end"]
    gap.sent, gap.lost, gap.open = seen["sent"], seen["lost"], seen["open"]


def _run(mode: str, a: LinkEnd, b: LinkEnd, **arguments: float) -> dict[str, Any]:
    ends = [f"{side}={end.netns},{end.ifname}" for side, end in (("a", a), ("b", b))]
    command: Sequence[str] = [
        str(native.build().probe),
        mode,
        *ends,
        *(f"{key}={value!r}" for key, value in arguments.items()),
    ]
    limit = _END_S + arguments["patience"] + arguments.get("count", 0) * arguments.get("interval", 0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"the probe ({mode}) does not end", where=" ".join(ends)) from error
    if done.returncode != 0:
        raise EmulationError(
            f"a link cannot be measured ({mode})",
            found=done.stderr.strip(),
            where=" ".join(ends),
            remedy="run as root; are both interfaces up?",
        )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
