"""What the kernel is asked for: a shape as rtnetlink requests, for netem, HTB and a fifo stacked on one interface.

Every frame goes through three of the kernel's queueing disciplines::

    sender -> netem (delay, losses ...) -> HTB (rate) -> fifo in front of it (queue) -> veth

netem is at the root, HTB below it: so the queue holds what waits for the wire and nothing else, its limit is exact in
bytes or packets, and a change of rate holds at once for all that waits. (The other way round netem is the queue: it
counts packets, those that are being delayed too, and each has its time to leave from when it came.) netem hands TCP's
segments over without their senders, so that a full queue drops, as a router's does, and does not hold the sender back.

The same bytes that make and change a link are what its schedule is made of (`step_bytes`).
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import replace

from testbed.emulation.links.shape import Bursts, Schedule, Shape, Step
from testbed.emulation.netlink_requests import Request
from testbed.errors import EmulationError

UNLIMITED = 100e9
"""bit/s that stand for no limit. With HTB always there, every change happens in place."""
UNLIMITED_QUEUE = 1 << 30
"""Bytes that stand for no limit of the queue."""
UNDER_WAY = 1_000_000
"""Packets that netem holds at most: far more than are ever being delayed, as the queue is not netem's."""
BURST_S = 0.002
"""HTB's timer may be late by so much before the rate suffers; after a pause so much of the rate may go at once."""
RELAY = "the relay can: emulation: {links: relay}"

_NEWQDISC, _NEWTCLASS = 36, 40
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_KIND, _OPTIONS, _NESTED = 1, 2, 0x8000
_ROOT = 0xFFFFFFFF
_NETEM, _HTB, _CLASS, _FIFO = 1 << 16, 0x10 << 16, 0x10 << 16 | 1, 0x20 << 16
_DIST, _REORDER, _CORRUPT, _LOSS, _RATE, _RATE64, _LATENCY64, _JITTER64 = 2, 3, 4, 5, 6, 8, 10, 11
_LOSS_GEMODEL = 2
_HTB_PARMS, _HTB_INIT, _HTB_RATE64, _HTB_CEIL64 = 1, 2, 6, 7
_HTB_VERSION, _RATE_TO_QUANTUM, _QUANTUM, _ETHERNET = 3, 10, 60_000, 1
_TICK_NS = 64
_MOST = 0xFFFFFFFF
# Always a table, as the kernel has no way back from one to its own uniform distribution.
_UNIFORM = tuple(4 * k + 2 - 8192 for k in range(4096))


def check(link: str, shape: Shape) -> None:
    """Raise EmulationError for what the kernel cannot do as asked; the error names the emulator that can."""
    if shape.rate is not None and round(shape.rate / 8) < 1:
        raise EmulationError(
            "the kernel takes rates in whole bytes a second", wanted="at least 8 bit/s", found=f"{shape.rate:g} bit/s",
            where=link, remedy=RELAY,
        )  # fmt: skip


def check_change(link: str, before: Shape, wanted: Shape) -> None:
    """Raise EmulationError for a change that the kernel cannot make in place."""
    kinds = queue_of(wanted)[0], queue_of(before)[0]
    if kinds[0] != kinds[1]:
        raise EmulationError(
            "the kernel cannot count a queue in packets that it counts in bytes, or back, and keep what waits in it",
            wanted=kinds[0], found=kinds[1], where=link, remedy=f"say both in one unit; {RELAY}",
        )  # fmt: skip


def check_schedule(link: str, schedule: Schedule) -> None:
    """Raise EmulationError for a schedule that the kernel cannot play as asked."""
    if schedule.deliveries:
        raise EmulationError(
            "the kernel cannot follow a trace of single deliveries", found=schedule.name, where=link, remedy=RELAY
        )
    if any(step.rate is not None and step.rate < 8 for step in schedule.steps):
        raise EmulationError(
            "the kernel cannot stop a link without losing what waits", found=f"{schedule.name}: a rate of 0",
            where=link, remedy=RELAY,
        )  # fmt: skip


def at_step(shape: Shape, step: Step) -> Shape:
    """The shape that is in force at a step. Its losses are single ones if the step says how many."""
    if step.rate is not None:
        shape = replace(shape, rate=step.rate)
    if step.delay is not None:
        shape = replace(shape, delay=step.delay)
    if step.loss is not None:
        shape = replace(shape, loss=step.loss, bursts=None)
    return shape


def in_force(shape: Shape, schedule: Schedule | None, elapsed: float) -> Shape:
    """The shape that is in force so many seconds after a schedule began."""
    if schedule is None or elapsed < 0:
        return shape
    if schedule.loop:
        elapsed %= schedule.length
    return at_step(shape, [step for step in schedule.steps if step.at <= elapsed][-1])


def make(ifname: str, index: int, shape: Shape) -> list[Request]:
    """Requests that put a shape in force on an interface that has none."""
    return [
        _netem(ifname, index, _CREATE | _EXCL, shape, table=True),
        _qdisc(f"shape {ifname} (HTB)", index, _CREATE | _EXCL, _NETEM | 1, _HTB, "htb", _htb_init()),
        _rate(ifname, index, _CREATE | _EXCL, shape),
        _queue(ifname, index, _CREATE | _EXCL, shape),
    ]


def change(
    ifname: str, index: int, shape: Shape, schedule: Schedule | None = None, elapsed: float = 0.0
) -> list[Request]:
    """Requests that change it in place, to where its schedule is by now; the unit of the queue stays what it was."""
    there = in_force(shape, schedule, elapsed)
    return [
        _netem(ifname, index, 0, there, table=True),
        _rate(ifname, index, 0, there),
        _queue(ifname, index, 0, shape),
    ]


def step_bytes(ifname: str, index: int, shape: Shape, schedule: Schedule) -> bytes:
    """A schedule's steps as ``native/player.c`` reads them: when, in ns; how many bytes; the messages to the kernel."""
    rated = any(step.rate is not None for step in schedule.steps)
    others = any(step.delay is not None or step.loss is not None for step in schedule.steps)
    made = bytearray()
    for step in schedule.steps:
        there = at_step(shape, step)
        wanted = [_rate(ifname, index, 0, there)] if rated else []
        if others:
            wanted.append(_netem(ifname, index, 0, there, table=False))
        messages = b"".join(_message(number, request) for number, request in enumerate(wanted, 1))
        made += struct.pack("=qQ", round(step.at * 1e9), len(messages)) + messages + bytes(-len(messages) % 8)
    return bytes(made)


def _netem(ifname: str, index: int, flags: int, shape: Shape, *, table: bool) -> Request:
    delay, jitter = round(shape.delay * 1e9), round(shape.jitter * 1e9)
    options = struct.pack(
        "=6I",
        *(min(delay // _TICK_NS, _MOST), UNDER_WAY, _share(shape.loss), 1 if shape.reorder else 0),
        *(_share(shape.duplicate), min(jitter // _TICK_NS, _MOST)),
    )
    options += _attribute(_LATENCY64, struct.pack("=q", delay)) + _attribute(_JITTER64, struct.pack("=q", jitter))
    # Without a rate netem would reorder what it delays unevenly.
    options += _attribute(_RATE, struct.pack("=IiIi", _MOST, 0, 0, 0))
    options += _attribute(_RATE64, struct.pack("=Q", round(UNLIMITED / 8)))
    options += _attribute(_REORDER, struct.pack("=II", _share(shape.reorder), 0))
    options += _attribute(_CORRUPT, struct.pack("=II", _share(shape.corrupt), 0))
    if shape.bursts is not None:
        options += _attribute(_LOSS | _NESTED, _attribute(_LOSS_GEMODEL, _bursts(shape.bursts)))
    if table and shape.jitter:
        options += _attribute(_DIST, array("h", shape.spread.table or _UNIFORM).tobytes())
    return _qdisc(f"shape {ifname} (netem)", index, flags, _ROOT, _NETEM, "netem", options)


def _bursts(bursts: Bursts) -> bytes:
    # The kernel has the share of what survives in the bad state, and that of what is lost in the good one.
    return struct.pack("=4I", *map(_share, (bursts.enter, bursts.leave, 1 - bursts.bad, bursts.good)))


def _htb_init() -> bytes:
    return _attribute(_HTB_INIT, struct.pack("=5I", _HTB_VERSION, _RATE_TO_QUANTUM, 1, 0, 0))


def _rate(ifname: str, index: int, flags: int, shape: Shape) -> Request:
    rate = round((UNLIMITED if shape.rate is None else shape.rate) / 8)
    spec = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, min(rate, _MOST))
    burst = round(BURST_S * 1e9 / _TICK_NS)
    options = _attribute(_HTB_PARMS, spec + spec + struct.pack("=5I", burst, burst, _QUANTUM, 0, 0))
    options += _attribute(_HTB_RATE64, struct.pack("=Q", rate)) + _attribute(_HTB_CEIL64, struct.pack("=Q", rate))
    return _tc(f"set the rate of {ifname}", _NEWTCLASS, flags, index, _HTB, _CLASS, "htb", options)


def _queue(ifname: str, index: int, flags: int, shape: Shape) -> Request:
    kind, limit = queue_of(shape)
    what = f"set the queue of {ifname}"
    return _qdisc(what, index, flags, _CLASS, _FIFO, kind, struct.pack("=I", limit))


def queue_of(shape: Shape) -> tuple[str, int]:
    """The kind of fifo in front of the wire, and its limit in bytes (``bfifo``) or packets (``pfifo``)."""
    if shape.queue_packets is not None and shape.queue is None:
        return "pfifo", shape.queue_packets
    return "bfifo", shape.queue_bytes or UNLIMITED_QUEUE


def _qdisc(what: str, index: int, flags: int, parent: int, handle: int, kind: str, options: bytes) -> Request:
    return _tc(what, _NEWQDISC, flags, index, parent, handle, kind, options)


def _tc(what: str, verb: int, flags: int, index: int, parent: int, handle: int, kind: str, options: bytes) -> Request:
    body = struct.pack("=BxxxiIII", 0, index, handle, parent, 0)
    body += _attribute(_KIND, kind.encode() + b"\0") + _attribute(_OPTIONS, options)
    return Request(what, verb, flags, body)


def _message(number: int, request: Request) -> bytes:
    padded = request.body + bytes(-len(request.body) % 4)
    return struct.pack("=IHHII", 16 + len(padded), request.kind, request.flags | _REQUEST | _ACK, number, 0) + padded


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _share(probability: float) -> int:
    return min(round(probability * 2**32), _MOST)
