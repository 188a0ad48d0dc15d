"""What is measured of links, in which order: every function adds the cases of one kind."""

from __future__ import annotations

import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.fidelity import delay, loss, tcp, varying
from benchmarks.fidelity.cases import FIGURES, PRODUCT, Case, Record
from benchmarks.fidelity.frames import Receiver, Sender
from benchmarks.fidelity.wires import Wire, cpu_s, one, product
from testbed.emulation.links.shape import MTU_FRAME, Bursts, Schedule, Shape
from testbed.emulation.links.spreads import NAMES, spread
from testbed.errors import EmulationError
from testbed.mobility import link_trace

Maker = Callable[[Shape], AbstractContextManager[Wire]]

_TCP_DELAY = 0.005
_FAST = 100e6


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        rates: Mbit/s. delays: ms. losses: Of 1. warmup, window: Of TCP, s. probes, repeats: Of delays.
        packets: For losses. bursts: Of losses. samples: For jitter. steps: Of the rate trace.
        mahimahi_s: Length of that trace.
    """

    rates: tuple[float, ...] = (1, 5, 25, 100, 500, 1000)
    delays: tuple[float, ...] = (0, 1, 5, 20, 50, 200)
    losses: tuple[float, ...] = (0.0, 0.001, 0.01, 0.05, 0.1)
    warmup: float = 2.0
    window: float = 5.0
    probes: int = 2000
    repeats: int = 3
    packets: int = 10_000
    bursts: int = 1500
    samples: int = 1000
    steps: int = 48
    mahimahi_s: int = 15


QUICK = Extent(
    rates=(1, 100, 1000), delays=(0, 5, 50), losses=(0.0, 0.01, 0.05), window=3.0, probes=500, repeats=1,
    packets=4000, bursts=1000, samples=400, steps=16, mahimahi_s=8,
)  # fmt: skip


def limit_of(kind: str) -> float | None:
    return next((limit for of, limit in FIGURES.values() if of == kind), None)


def goodput(record: Record, extent: Extent, make: Maker = one, by: str = PRODUCT) -> None:
    """TCP over every rate; of our own relay also what it costs."""
    for mbit in extent.rates:
        asked = mbit * tcp.IDEAL
        what = f"TCP goodput at {mbit:g} Mbit/s"
        with record.attempt("tcp", what, "Mbit/s", asked, by):
            with make(Shape(rate=mbit * 1e6, delay=_TCP_DELAY)) as wire:
                bulk, share = _bulk_with_cost(wire, extent)
            found = bulk.goodput / 1e6
            record.add(
                Case(
                    "tcp", what, asked, found, (found / asked - 1) * 100, "Mbit/s", len(bulk.marks), by, "%",
                    limit_of("tcp") if by == PRODUCT else None, f"{bulk.congestion}, {extent.window:g} s",
                )
            )
            if by == PRODUCT and mbit in (100, 1000):
                _cost(record, f"relay cpu {mbit:g}", f"relay at {mbit:g} Mbit/s of TCP", share, extent)


def _bulk_with_cost(wire: Wire, extent: Extent) -> tuple[tcp.Bulk, float | None]:
    pids = wire.emulator.pids() if wire.emulator else []
    mark: list[tuple[float, float]] = []
    with tcp.Connection(wire) as connection:
        bulk = connection.run(extent.warmup, extent.window, lambda: mark.append((time.monotonic(), cpu_s(pids))))
        end, used = time.monotonic(), cpu_s(pids)
    share = (used - mark[0][1]) / (end - mark[0][0]) * 100 if pids and mark else None
    return bulk, share


def _cost(
    record: Record, kind: str, what: str, share: float | None, extent: Extent, limit: float | None = None
) -> None:
    if share is None:
        record.missing(kind, what, PRODUCT, "the links are the kernel's: there is no relay", unit="% of a core")
        return
    limit = limit if limit is not None else limit_of(kind)
    record.add(Case(kind, what, None, share, None, "% of a core", round(extent.window), limit=limit))


def ten_links(record: Record, extent: Extent, number: int = 10, mbit: float = 20) -> None:
    """What many links in one relay cost, and whether each still has its rate."""
    asked = mbit * tcp.IDEAL
    what = f"TCP over {number} links of {mbit:g} Mbit/s at once"
    with record.attempt("many links", what, "Mbit/s", asked):
        with product(*[Shape(rate=mbit * 1e6, delay=_TCP_DELAY)] * number) as wires:
            pids = wires[0].emulator.pids() if wires[0].emulator else []
            begin, used = time.monotonic(), cpu_s(pids)
            bulks = tcp.several(wires, extent.warmup, extent.window)
            share = (cpu_s(pids) - used) / (time.monotonic() - begin) * 100 if pids else None
        rates = [bulk.goodput / 1e6 for bulk in bulks]
        worst = max(rates, key=lambda value: abs(value - asked))
        record.add(
            Case("many links", f"{what}, the worst of them", asked, worst, (worst / asked - 1) * 100, "Mbit/s",
                 number, error_unit="%", limit=limit_of("tcp"))
        )  # fmt: skip
        _cost(record, "many links", f"relay with {number} links of {mbit:g} Mbit/s", share, extent, 60.0)


def one_way(
    record: Record, extent: Extent, make: Maker = one, by: str = PRODUCT, *, repeats: int | None = None
) -> None:
    """Delays, with the machine idle and with every core kept busy."""
    for is_busy in (False, True):
        state = "all cores busy" if is_busy else "idle"
        for ms in extent.delays:
            what = f"one-way delay of {ms:g} ms, {state}"
            kind = "delay p99 busy" if is_busy else "delay p50"
            with record.attempt(kind, what, "ms", ms, by):
                shape = Shape(rate=_FAST, delay=ms / 1e3)
                with make(shape) as wire, delay.busy() if is_busy else contextlib.nullcontext():
                    delay.stream(wire, 50, 0.002, patience=ms / 1e3 + 0.3)  # neighbours are known, caches are warm
                    runs = [
                        delay.stream(wire, extent.probes, 0.0016, patience=ms / 1e3 + 0.3)
                        for _ in range(repeats or extent.repeats)
                    ]
                _delays(record, runs, ms, what, by, is_busy)


def _delays(
    record: Record, runs: list[tuple[delay.Delays, delay.Delays]], ms: float, what: str, by: str, is_busy: bool
) -> None:
    asked = ms / 1e3 + delay.PROBE_BITS / _FAST  # the probe itself takes some microseconds at the link's rate
    n = sum(side.received for run in runs for side in run)
    for quantile in ("p50", "p99"):
        kind = f"delay {quantile}" + (" busy" if is_busy else "")
        found = delay.median_of(runs, asked, quantile) * 1e3
        limit = limit_of(kind) if by == PRODUCT else None
        record.add(Case(kind, f"{what}, {quantile}", asked * 1e3, found, found - asked * 1e3, "ms", n, by, limit=limit))


def losses(record: Record, extent: Extent, make: Maker = one, by: str = PRODUCT) -> None:
    """Independent losses, of small probes and of what TCP sends."""
    per_burst = 5
    for share in extent.losses:
        what = f"loss of {share * 100:g} %"
        with record.attempt("loss", what, "%", share * 100, by):
            with make(Shape(rate=_FAST, loss=share)) as wire:
                delay.stream(wire, 20, 0.002)
                sides = delay.stream(wire, extent.packets // per_burst, 0.001, burst=per_burst)
            for name, side in zip(("there", "back"), sides, strict=True):
                _loss(record, f"{what}, {name}", share, side.sent - side.received - side.overruns, side.sent, by)
    if by != PRODUCT:
        return
    for share in (0.01, 0.05):
        what = f"loss of {share * 100:g} %, segments of a TCP transfer"
        with record.attempt("loss", what, "%", share * 100):
            with make(Shape(rate=_FAST, delay=0.001, loss=share, queue=4 << 20)) as wire:
                # The other direction loses acknowledgements too, which costs no data segment.
                segments = loss.tcp_segments(wire, extent.packets, 40.0)
            _loss(record, what, share, segments.sent - segments.received, segments.sent, by)


def _loss(record: Record, what: str, share: float, lost: int, sent: int, by: str) -> None:
    found = lost / sent * 100
    limit = loss.allowed(share, sent) * 100 if by == PRODUCT else None
    record.add(Case("loss", what, share * 100, found, found - share * 100, "%", sent, by, "points", limit))


def bursts(record: Record, extent: Extent) -> None:
    """Losses in bursts: how many, and how long."""
    model = Bursts(enter=0.02, leave=0.25)
    mean = 1 / model.leave
    what = f"bursts of losses, {mean:g} long on average"
    frames = round(extent.bursts / (model.enter * (1 - model.enter / (model.enter + model.leave))))
    with record.attempt("bursts", what, "frames", mean):
        with one(Shape(rate=_FAST, bursts=model)) as wire:
            arrivals, sent = loss.numbered(wire, frames, 8e6)
        runs = loss.lost_runs(arrivals, sent)
        length, lost = statistics.mean(runs), sum(runs) / sent * 100
        record.add(
            Case("bursts", what, mean, length, (length / mean - 1) * 100, "frames", len(runs), error_unit="%", limit=10)
        )
        asked = model.share * 100
        # Variance of the count of a chain with memory: larger than that of independent losses by this factor.
        memory = (2 - model.enter - model.leave) / (model.enter + model.leave)
        limit = loss.allowed(model.share, sent) * math.sqrt(memory) * 100
        what = "share lost in bursts"
        record.add(Case("bursts", what, asked, lost, lost - asked, "%", sent, error_unit="points", limit=limit))


def jitter(record: Record, extent: Extent) -> None:
    """How delays are spread: their quantiles against those of the distribution."""
    mean, width = 0.02, 0.002
    for name in NAMES:
        varied = spread(name, Path())
        what = f"jitter of 2 ms around 20 ms, {name}"
        with record.attempt("jitter", what, "ms"):
            with one(Shape(rate=_FAST, delay=mean, jitter=width, spread=varied)) as wire:
                delay.stream(wire, 20, 0.008)
                found, _ = delay.stream(wire, extent.samples, 0.008)
            asked = delay.quantiles(varied, mean, width)
            late = limit_of("delay p50") or 0.0
            limits = {
                name: value + late / 1e3 for name, value in delay.allowed(varied, width, found.received).items()
            }
            quantile, error = delay.furthest(asked, found, limits)
            record.add(
                Case("jitter", f"{what}, {quantile} (the worst of p10, p50, p90)", asked[quantile] * 1e3,
                     getattr(found, quantile) * 1e3, error * 1e3, "ms", found.received, limit=limits[quantile] * 1e3)
            )  # fmt: skip


def rate_trace(record: Record, extent: Extent) -> None:
    """Every step of 250 ms."""
    schedule = made(varying.sine_lines(extent.steps))
    what = f"rate trace, {extent.steps} steps of 250 ms, 5 to 50 Mbit/s"
    with record.attempt("trace steps", what, "Mbit/s"):
        with one(Shape(rate=varying.HIGHEST, queue=150_000)) as wire:
            arrivals, begin = varying.played(wire, schedule, varying.HIGHEST)
        found = varying.step_rates(arrivals, begin, schedule, 0.0)
        errors = [value / (step.rate or math.inf) - 1 for value, step in zip(found, schedule.steps, strict=True)]
        for step, value, error in zip(schedule.steps, found, errors, strict=True):
            record.add(
                Case("trace steps", f"step at {step.at:g} s", (step.rate or 0) / 1e6, value / 1e6, error * 100,
                     "Mbit/s", round(value * varying.STEP_S / 8 / MTU_FRAME), error_unit="%",
                     limit=limit_of("trace steps"))
            )  # fmt: skip


def made(lines: list[str]) -> Schedule:
    """A trace as users have it, read from a file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "made.trace"
        path.write_text("\n".join(lines) + "\n")
        return link_trace.read(path)


def mahimahi(record: Record, extent: Extent) -> None:
    """A packet-delivery trace: what it delivered in all, and second by second."""
    seconds = extent.mahimahi_s
    schedule = made(varying.mahimahi_lines(seconds))
    deliveries = schedule.deliveries
    what = f"Mahimahi trace of {seconds} s"
    with record.attempt("mahimahi", what, "MB"):
        with one(Shape(rate=30e6, queue=150_000)) as wire:
            arrivals, begin = varying.played(wire, schedule, 30e6)
        asked = varying.chances_per_second(deliveries, seconds)
        found = varying.per_second(arrivals, begin, 0.0, seconds)
        capacity, delivered = sum(asked) * varying.CHANCE / 1e6, sum(found) * varying.CHANCE / 1e6
        record.add(
            Case("mahimahi", f"{what}: bytes delivered", capacity, delivered, (delivered / capacity - 1) * 100, "MB",
                 sum(found), error_unit="%", limit=1.0)
        )  # fmt: skip
        r = varying.correlation(asked, found)
        record.add(Case("mahimahi", f"{what}: correlation by second", 1.0, r, r - 1, "r", seconds, limit=0.01))


def tail_drop(record: Record, extent: Extent) -> None:
    """A queue that is full drops what comes last: as many frames wait as it has room for."""
    size, room = 1014, 10
    asked = {
        "bytes": Shape(rate=1e6, queue=room * size),
        "packets": Shape(rate=1e6, queue_packets=room),
    }
    for name, shape in asked.items():
        what = f"queue of {room} frames, in {name}: delivered of 50 at once"
        with record.attempt("queue", what, "frames", room + 1):
            with (
                one(shape, replace(shape, queue=None, queue_packets=None)) as wire,
                Receiver(wire.b) as receiver,
                Sender(wire.a, size) as sender,
            ):
                sender.send(50)
                found = receiver.until(lambda seen: False, 1.0, 5.0)
            numbers = [arrival.number for arrival in found]
            if numbers != list(range(len(numbers))):
                raise EmulationError("what was dropped is not the tail", found=str(numbers))
            record.add(Case("queue", what, room + 1, len(numbers), len(numbers) - room - 1, "frames", 50, limit=0))
