"""What the kernel says is in force, as ``tc`` prints it: another way than the one by which it was asked for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from testbed.emulation.links.netem_settings import UNDER_WAY, UNLIMITED, UNLIMITED_QUEUE, queue_of
from testbed.emulation.links.shape import UNIFORM, Bursts, LinkStats, Schedule, Shape
from testbed.errors import NotAppliedError

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_CLASS = re.compile(r"class htb 10:1 .*?\brate (\d+)([KMGT]?)bit\b.*?\bceil (\d+)([KMGT]?)bit\b")


def shape_told(classes: str, qdiscs: Sequence[dict[str, Any]], asked: Shape) -> Shape:
    """The shape that ``tc class show`` and ``tc -j qdisc show`` describe.

    The kernel does not tell a distribution: that one is taken from what was asked (one that the kernel does not take is
    refused when it is set).
    """
    rate = _CLASS.search(classes)
    netem = next((q["options"] for q in qdiscs if q["kind"] == "netem" and q.get("root")), None)
    fifo = next((q for q in qdiscs if q["kind"] in ("bfifo", "pfifo") and q.get("parent") == "10:1"), None)
    if rate is None or netem is None or fifo is None or rate.group(1, 2) != rate.group(3, 4):
        raise NotAppliedError("the kernel does not shape the link", found=f"{classes.strip()} {json.dumps(qdiscs)}")
    if int(netem["limit"]) != UNDER_WAY or not _whole_order(netem):
        raise NotAppliedError("the kernel's netem is not ours", found=json.dumps(netem))
    found_rate = float(rate[1]) * _UNITS[rate[2]]
    delay = netem.get("delay", {})
    jitter = float(delay.get("jitter", 0.0))
    bursts = netem.get("loss-gemodel")
    limit = int(fifo["options"]["limit"])
    return Shape(
        rate=None if found_rate >= UNLIMITED else found_rate,
        delay=float(delay.get("delay", 0.0)),
        jitter=jitter,
        loss=float(netem.get("loss-random", {}).get("loss", 0.0)),
        queue=limit if fifo["kind"] == "bfifo" and limit != UNLIMITED_QUEUE else None,
        spread=asked.spread if jitter else UNIFORM,
        bursts=bursts and Bursts(*(float(bursts[name]) for name in ("p", "r", "1-h", "1-k"))),
        queue_packets=limit if fifo["kind"] == "pfifo" else None,
        reorder=float(netem.get("reorder", {}).get("reorder", 0.0)),
        duplicate=float(netem.get("duplicate", {}).get("duplicate", 0.0)),
        corrupt=float(netem.get("corrupt", {}).get("corrupt", 0.0)),
    )


def stats_told(qdiscs: Sequence[dict[str, Any]]) -> LinkStats:
    """Counters of one direction from ``tc -s -j qdisc show``."""
    kinds = ("netem",), ("htb",), ("bfifo", "pfifo")
    netem, htb, fifo = (next(q for q in qdiscs if q["kind"] in kind) for kind in kinds)
    queue = int(fifo["drops"])
    return LinkStats(
        tx_bytes=int(htb["bytes"]),
        tx_packets=int(htb["packets"]),
        dropped_queue=queue,
        dropped_loss=max(0, int(netem["drops"]) - queue),  # netem counts what is dropped below it as well
        queue_bytes=int(fifo["backlog"]),
    )


def same(wanted: Shape, found: Shape, schedule: Schedule | None = None) -> bool:
    """Whether two shapes mean the same, given the precision in which ``tc`` prints them.

    Args:
        wanted: What was asked.
        found: What is there.
        schedule: What plays: settings that it decides are not compared.
    """
    queue = ("pfifo", found.queue_packets) if found.queue_packets else ("bfifo", found.queue or UNLIMITED_QUEUE)
    if queue != queue_of(wanted):
        return False
    steps = schedule.steps if schedule is not None else ()
    if any(step.rate is not None for step in steps):
        wanted = replace(wanted, rate=found.rate)
    if any(step.delay is not None for step in steps):
        wanted = replace(wanted, delay=found.delay)
    if any(step.loss is not None for step in steps):
        wanted = replace(wanted, loss=found.loss, bursts=found.bursts)
    ours, theirs = ([*_chances(shape)] for shape in (wanted, found))
    return (
        math.isclose(wanted.rate or UNLIMITED, found.rate or UNLIMITED, rel_tol=1.5e-3)
        and math.isclose(wanted.delay, found.delay, rel_tol=1e-4, abs_tol=1e-6)
        and math.isclose(wanted.jitter, found.jitter, rel_tol=1e-4, abs_tol=1e-6)
        and (not wanted.jitter or wanted.spread == found.spread)
        and all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-8) for a, b in zip(ours, theirs, strict=True))
    )


def _whole_order(netem: dict[str, Any]) -> bool:
    # Without a rate of its own netem reorders what it delays unevenly.
    return int(netem.get("rate", {}).get("rate", 0)) == round(UNLIMITED / 8)


def _chances(shape: Shape) -> tuple[float, ...]:
    bursts = shape.bursts or Bursts(0.0, 0.0, 0.0, 0.0)
    return (
        *(shape.loss, shape.reorder, shape.duplicate, shape.corrupt),
        *(bursts.enter, bursts.leave, bursts.bad, bursts.good),
    )
