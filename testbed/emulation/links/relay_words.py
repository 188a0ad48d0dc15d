"""What the relay is told and what it tells: settings as words, tables and schedules as bytes, counters."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from testbed.emulation.links.shape import UNIFORM, Bursts, LinkStats, Schedule, Shape, Spread

_UNIT = 1e9  # probabilities are told in parts per so many, times in ns


@dataclass(frozen=True)
class RelayHealth:
    """How the relay itself is.

    Attributes:
        priority: ``fifo:50``, or ``nice:-20`` where that is not allowed, or while the relay is too busy for it.
        yields: How often real-time priority was given up, not to take the machine from all others.
        cpu_s: CPU time used since it started.
        frames: Deliveries since somebody last asked. A large TCP frame is a few of them.
        late_p50_s: How much later than due they were; half of them no more than this. late_p99_s: 99 % of them.
        late_p999_s: 99.9 %. late_max_s: All. Percentiles are right within an eighth.
    """

    priority: str
    yields: int
    cpu_s: float
    frames: int
    late_p50_s: float
    late_p99_s: float
    late_p999_s: float
    late_max_s: float


def settings(shape: Shape, table: str | None) -> list[str]:
    """Words that ask for a shape.

    Args:
        shape: Of one direction.
        table: Under what name the relay knows the spread's table; None where there is none.
    """
    chances = {
        "loss": shape.loss, "reorder": shape.reorder, "duplicate": shape.duplicate, "corrupt": shape.corrupt,
    }  # fmt: skip
    if shape.bursts is not None:
        own = shape.bursts
        chances |= {"enter": own.enter, "leave": own.leave, "bad": own.bad, "good": own.good}
    words = [
        f"rate={'inf' if shape.rate is None else format(shape.rate, '.3f')}",
        f"delay={shape.delay * 1e9:.0f}",
        f"jitter={shape.jitter * 1e9:.0f}",
        f"queue={shape.queue_bytes}",
        f"packets={shape.queue_packets or 0}",
        *(f"{name}={value * _UNIT:.0f}" for name, value in chances.items()),
    ]
    return words if table is None else [*words, f"table={table}"]


def shape_told(answer: str, spreads: Mapping[str, Spread]) -> Shape:
    """The shape that the relay tells."""
    told = words(answer)
    spread = spreads.get(told.pop("table"), UNIFORM)
    told.pop("plays")
    found = {name: float(value) for name, value in told.items()}
    chance = {name: found[name] / _UNIT for name in ("enter", "leave", "bad", "good")}
    return Shape(
        rate=None if math.isinf(found["rate"]) else found["rate"],
        delay=found["delay"] / 1e9,
        jitter=found["jitter"] / 1e9,
        loss=found["loss"] / _UNIT,
        queue=int(found["queue"]) or None,
        spread=spread,
        bursts=Bursts(**chance) if found["bursty"] else None,
        queue_packets=int(found["packets"]) or None,
        reorder=found["reorder"] / _UNIT,
        duplicate=found["duplicate"] / _UNIT,
        corrupt=found["corrupt"] / _UNIT,
    )


def same(wanted: Shape, found: Shape) -> bool:
    """Whether two shapes mean the same, given the relay's resolution."""
    ours, theirs = ([*_chances(shape)] for shape in (wanted, found))
    return (
        (wanted.rate is None) == (found.rate is None)
        and math.isclose(wanted.rate or 0.0, found.rate or 0.0, rel_tol=1e-6, abs_tol=1e-3)
        and abs(wanted.delay - found.delay) < 1e-8
        and abs(wanted.jitter - found.jitter) < 1e-8
        and wanted.spread.table == found.spread.table
        and all(abs(a - b) < 1e-8 for a, b in zip(ours, theirs, strict=True))
        and wanted.queue_bytes == found.queue_bytes
        and wanted.queue_packets == found.queue_packets
    )


def _chances(shape: Shape) -> tuple[float, ...]:
    bursts = shape.bursts or Bursts(0.0, 0.0, 0.0, 0.0)
    return (
        *(shape.loss, shape.reorder, shape.duplicate, shape.corrupt),
        *(bursts.enter, bursts.leave, bursts.bad, bursts.good),
    )


def table_bytes(spread: Spread) -> bytes:
    """A spread's table, as the relay reads it."""
    return array("h", spread.table).tobytes()


def schedule_bytes(schedule: Schedule) -> bytes:
    """A schedule's entries, as the relay reads them."""
    if schedule.deliveries:
        return array("q", schedule.deliveries).tobytes()
    entries = array("d")
    for step in schedule.steps:
        loss = math.nan if step.loss is None else step.loss * _UNIT
        entries.extend((
            step.at * 1e9,
            math.nan if step.rate is None else step.rate,
            math.nan if step.delay is None else step.delay * 1e9,
            loss,
        ))  # fmt: skip
    return entries.tobytes()


def words(answer: str) -> dict[str, str]:
    """An answer of ``name=value`` words."""
    return dict(word.split("=", 1) for word in answer.split())


def stats_told(answer: str) -> LinkStats:
    """Counters of one direction."""
    found = words(answer)
    names = ("tx_bytes", "tx_packets", "dropq", "dropl", "errors", "waiting", "late_max")
    return _stats(*(found[name] for name in names))


def all_stats_told(answer: str) -> dict[str, tuple[LinkStats, LinkStats]]:
    """Counters of all links as (a to b, b to a), by the number that the relay knows a link by."""
    found: dict[str, dict[str, LinkStats]] = {}
    for word in answer.split():
        number, direction, *values = word.split(",")
        found.setdefault(number, {})[direction] = _stats(*values)
    return {number: (both["ab"], both["ba"]) for number, both in found.items()}


def health_told(answer: str) -> RelayHealth:
    """How the relay itself is."""
    found = words(answer)
    return RelayHealth(
        priority=found["priority"],
        yields=int(found["yields"]),
        cpu_s=int(found["cpu"]) / 1e9,
        frames=int(found["frames"]),
        late_p50_s=int(found["p50"]) / 1e9,
        late_p99_s=int(found["p99"]) / 1e9,
        late_p999_s=int(found["p999"]) / 1e9,
        late_max_s=int(found["max"]) / 1e9,
    )


def _stats(
    tx_bytes: str, tx_packets: str, dropq: str, dropl: str, errors: str, waiting: str, late_max: str
) -> LinkStats:
    return LinkStats(
        tx_bytes=int(tx_bytes),
        tx_packets=int(tx_packets),
        dropped_queue=int(dropq),
        dropped_loss=int(dropl),
        refused=int(errors),
        queue_bytes=int(waiting),
        late_max_s=int(late_max) / 1e9,
    )
