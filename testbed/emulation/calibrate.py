"""Calibration: every link of a run measured in both directions, against what was asked of it.

In this order, so that no figure disturbs another:

1. loss and jitter off; round-trip time by small frames without load, all links at once
2. rate, saturating both directions, as many links at once as the machine can serve
3. loss and jitter on again; both by small frames far below the rate

What is outside its tolerance is measured once more before it is called missed (rate and round-trip time with the link
alone): the machine may have been busy. Losses are judged by the exact binomial distribution, jitter with its sampling
error. Plain wires are listed, but there is nothing to compare. How much of a link is measured is in `sampling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from testbed.emulation import sampling
from testbed.emulation.judge import Finding, judge, undilated, virtual
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import Direction, LinkCalibration, Shape
from testbed.emulation.measure import Gap, GapTarget, RateSeen, Streams, measure_gap
from testbed.emulation.sampling import CalTarget
from testbed.errors import EmulationError, NotAppliedError
from testbed.experiment.plan import Tolerances

__all__ = ["CalTarget", "Gap", "GapTarget", "calibrate", "measure_gap"]

BUDGET_S = 10.0
_AT_ONCE = 12  # links with a stream each
_WINDOW_S = (0.5, 0.8)
_LOSS_S = (0.5, 2.0)

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Scale:
    """By what figures are judged, and in which time they are told."""

    tolerances: Tolerances
    dilation: float


@dataclass
class _Measured:
    clean: Streams | None = None
    noisy: Streams | None = None
    rates: dict[str, RateSeen] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missed: bool = False  # its rate or round-trip time, twice


def calibrate(
    emulator: Emulator,
    links: Sequence[CalTarget],
    tolerances: Tolerances,
    budget_s: float = BUDGET_S,
    dilation: float = 1.0,
) -> list[LinkCalibration]:
    """Measure links. They are left as they were asked to be, which is read back.

    Args:
        emulator: What made the links.
        links: Those to measure.
        tolerances: What may be missed by how much.
        budget_s: Seconds that it may take. With very many links it takes longer rather than measure too little.
        dilation: Real seconds that a virtual one takes. Links are as they are; figures, and tolerances, are virtual.

    Raises:
        NotAppliedError: A link does not have the settings that were made.
        EmulationError: A link cannot be measured.
    """
    scale = _Scale(tolerances, dilation)
    shaped = [target for target in links if not all(shape.unshaped for shape in target.shapes)]
    measured = {target.link: _Measured() for target in links}
    uncertain = [target for target in shaped if target.uncertain]
    rated = [target for target in shaped if sampling.rates(target) != (0.0, 0.0)]
    try:
        for target in uncertain:
            emulator.set(target.link, *target.quiet)
        for batch in _batches(shaped, _AT_ONCE):
            for target, seen in _all(batch, sampling.round_trips):
                measured[target.link].clean = seen
        groups = sampling.groups(rated)
        window = _share(budget_s * 0.5, len(groups), _WINDOW_S, sampling.WARMUP_S)
        for group in groups:
            for target, rates in _all(group, lambda target: sampling.rate(target, window)):
                measured[target.link].rates = rates
        for target in rated:
            sampling.drained(emulator, target)
        for target in shaped:
            _once_more(emulator, target, measured[target.link], window, scale)
    finally:
        _restore(emulator, uncertain)
    read_back = {target.link: _verified(emulator, target) for target in links}
    seconds = min(max(budget_s * 0.2, _LOSS_S[0]), _LOSS_S[1])
    for batch in _batches(uncertain, _AT_ONCE):
        _sample(batch, measured, seconds)
    found = {t.link: _record(t, t.shapes, read_back[t.link], measured[t.link], scale) for t in links}
    wrong = [target for target in uncertain if found[target.link].problems and not measured[target.link].missed]
    for batch in _batches(wrong, _AT_ONCE):
        first = {target.link: measured[target.link].noisy for target in batch}
        _sample(batch, measured, seconds)
        for t in batch:
            measured[t.link].noisy = _together(first[t.link], measured[t.link].noisy)
            measured[t.link].notes.append(f"{t.link}: losses and jitter sampled twice; both samples' losses count")
            found[t.link] = _record(t, t.shapes, read_back[t.link], measured[t.link], scale)
    return list(found.values())


def _once_more(
    emulator: Emulator, target: CalTarget, first: _Measured, window: float, scale: _Scale
) -> None:
    """Measure a link alone if it missed a tolerance; of each figure the better one stands."""
    if not _record(target, target.quiet, target.quiet, first, scale).problems:
        return
    second = sampling.round_trips(target)
    asked = sum(shape.delay for shape in target.shapes)
    if second.rtt is not None and (
        first.clean is None or first.clean.rtt is None or abs(second.rtt - asked) < abs(first.clean.rtt - asked)
    ):
        first.clean = second
    if first.rates:
        wanted = filter(None, sampling.rates(target))
        for (name, seen), rate in zip(sampling.rate(target, window).items(), wanted, strict=True):
            if abs(seen.rate - rate) < abs(first.rates[name].rate - rate):
                first.rates[name] = seen
        sampling.drained(emulator, target)
    first.notes.append(f"{target.link}: rate or round trip measured twice; the better figures stand")
    first.missed = bool(_record(target, target.quiet, target.quiet, first, scale).problems)


def _sample(links: Sequence[CalTarget], measured: dict[str, _Measured], seconds: float) -> None:
    for target, seen in _all(links, lambda target: sampling.losses(target, seconds, len(links))):
        measured[target.link].noisy = seen


def _together(first: Streams | None, second: Streams | None) -> Streams | None:
    """The second sample with the losses of both: choosing the better of two would let wrong links pass."""
    if first is None or second is None:
        return second
    counts = ("sent", "received", "reordered")
    ab, ba = (
        replace(new, **{name: getattr(old, name) + getattr(new, name) for name in counts})
        for old, new in ((first.ab, second.ab), (first.ba, second.ba))
    )
    return replace(second, ab=ab, ba=ba)


def _restore(emulator: Emulator, links: Sequence[CalTarget]) -> None:
    """Put all shapes back, also if one of them cannot be."""
    failures = []
    for target in links:
        try:
            emulator.set(target.link, *target.shapes)
        except EmulationError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _verified(emulator: Emulator, target: CalTarget) -> tuple[Shape, Shape]:
    """What is in force now, which must be what was asked, in the coarsest units that an emulator tells it in."""
    found = emulator.read(target.link)
    for asked, read in zip(target.shapes, found, strict=True):
        keys = ("delay", "jitter", "loss", "reorder", "duplicate", "corrupt")
        pairs = [(getattr(asked, key), getattr(read, key)) for key in keys]
        alike = all(math.isclose(x, y, rel_tol=1e-3, abs_tol=1e-6) for x, y in pairs)
        if not alike or not math.isclose(asked.rate or 0.0, read.rate or 0.0, rel_tol=2e-3):
            raise NotAppliedError("a link is not as asked", wanted=str(asked), found=str(read), where=target.link)
    return found


def _record(
    target: CalTarget,
    asked: tuple[Shape, Shape],
    read_back: tuple[Shape, Shape],
    measured: _Measured,
    scale: _Scale,
) -> LinkCalibration:
    if measured.clean is None:  # a plain wire
        told, found = undilated(asked, scale.dilation), undilated(read_back, scale.dilation)
        ab, ba = (Direction(*pair) for pair in zip(told, found, strict=True))
        return LinkCalibration(target.link, target.kind, target.a, target.b, ab, ba)
    finding = Finding(
        link=target.link, kind=target.kind, a=target.a, b=target.b, asked=asked, read_back=read_back,
        clean=measured.clean, noisy=measured.noisy, rates=measured.rates,
    )  # fmt: skip
    judged = judge(virtual(finding, scale.dilation), scale.tolerances)
    return replace(judged, notes=[*judged.notes, *measured.notes])


def _share(budget: float, count: int, limits: tuple[float, float], overhead: float) -> float:
    return min(max(budget / max(count, 1) - overhead, limits[0]), limits[1])


def _batches(links: Sequence[CalTarget], size: int) -> list[Sequence[CalTarget]]:
    return [links[start : start + size] for start in range(0, len(links), size)]


def _all(links: Sequence[CalTarget], act: Callable[[CalTarget], _T]) -> list[tuple[CalTarget, _T]]:
    with ThreadPoolExecutor(max(1, len(links)), thread_name_prefix="calibrate") as pool:
        return list(zip(links, pool.map(act, links), strict=True))
