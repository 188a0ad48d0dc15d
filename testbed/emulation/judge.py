"""What a link was measured to do, against what was asked: figures and, for those missed, words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from testbed.emulation.links.shape import Direction, LinkCalibration, Shape, Spread
from testbed.emulation.measure import RateSeen, Streams, StreamSeen
from testbed.experiment.dilate import dilated_shape
from testbed.experiment.plan import Tolerances

_SIGMAS = 4.0
_TAIL = 3.2e-5           # chance of a value beyond four sigma, one-sided
_JITTER_SHARE, _JITTER_S = 0.15, 0.0002  # tolerated; what the machine itself does without load comes on top
_LEAST_SAMPLE = 20
_TABLE_UNIT = 8192       # of a spread's table
_SATURATED = 1.03        # offered over asked, below which a rate that was not reached is the source's


@dataclass(frozen=True)
class Finding:
    """Raw measurements of one link; pairs are (a to b, b to a)."""

    link: str
    kind: str
    a: str
    b: str
    asked: tuple[Shape, Shape]
    read_back: tuple[Shape, Shape]
    clean: Streams
    noisy: Streams | None
    rates: Mapping[str, RateSeen]


def virtual(found: Finding, dilation: float) -> Finding:
    """The same link as it looks in virtual time."""
    if dilation == 1:
        return found
    rates = {
        name: replace(seen, rate=seen.rate * dilation, offered=seen.offered * dilation)
        for name, seen in found.rates.items()
    }
    return replace(
        found,
        asked=undilated(found.asked, dilation),
        read_back=undilated(found.read_back, dilation),
        clean=_faster(found.clean, dilation),
        noisy=None if found.noisy is None else _faster(found.noisy, dilation),
        rates=rates,
    )


def undilated(pair: tuple[Shape, Shape], dilation: float) -> tuple[Shape, Shape]:
    """Both directions of a link as they are in virtual time."""
    return dilated_shape(pair[0], 1 / dilation), dilated_shape(pair[1], 1 / dilation)


def _faster(streams: Streams, dilation: float) -> Streams:
    def one(seen: StreamSeen) -> StreamSeen:
        p10, p50, p90 = (None if p is None else p / dilation for p in (seen.p10, seen.p50, seen.p90))
        return replace(seen, p10=p10, p50=p50, p90=p90)

    rtt = None if streams.rtt is None else streams.rtt / dilation
    return replace(streams, ab=one(streams.ab), ba=one(streams.ba), rtt=rtt)


def judge(found: Finding, tolerances: Tolerances) -> LinkCalibration:
    """Make a link's record of what was measured; ``problems`` says in words what missed its tolerance."""
    problems: list[str] = []
    notes: list[str] = []
    rtt_asked = sum(shape.delay for shape in found.asked)
    rtt = rtt_error = None
    on_wire = sum(_on_wire(shape, found.clean.frame) for shape in found.asked)
    if found.clean.rtt is not None:
        rtt_error = _less_own_time(found.clean.rtt - rtt_asked, on_wire)
        rtt = rtt_asked + rtt_error
        if abs(rtt_error) > tolerances.rtt:
            problems.append(
                f"{found.link}: asked round trip {rtt_asked * 1e3:g} ms, "
                f"measured {rtt * 1e3:.2f} ({rtt_error * 1e3:+.2f} ms)"
            )
    directions = []
    for index, name in enumerate(("ab", "ba")):
        words = f"{found.link} ({found.a} to {found.b})" if name == "ab" else f"{found.link} ({found.b} to {found.a})"
        clean = found.clean.ab if name == "ab" else found.clean.ba
        noisy = None if found.noisy is None else (found.noisy.ab if name == "ab" else found.noisy.ba)
        asked = found.asked[index]
        rate, rate_error = _rate(words, asked, found.rates.get(name), tolerances, problems, notes)
        delay = _delay(words, asked, clean, found.clean.frame, problems)
        sample = clean if noisy is None else noisy
        loss = _loss(words, asked, sample, problems)
        jitter = _jitter(words, asked, clean, noisy, problems)
        directions.append(
            Direction(
                asked=asked,
                read_back=found.read_back[index],
                rate=rate,
                rate_error=rate_error,
                delay=delay,
                jitter=jitter,
                loss=loss,
                loss_sample=sample.sent,
                offered=found.rates[name].offered if name in found.rates else None,
            )
        )
    return LinkCalibration(
        found.link, found.kind, found.a, found.b, directions[0], directions[1], rtt_asked, rtt, rtt_error,
        problems, notes,
    )  # fmt: skip


def binomial_tails(count: int, n: int, p: float) -> tuple[float, float]:
    """Chances of at most and of at least ``count`` losses among ``n`` with probability ``p`` each."""
    if p <= 0 or p >= 1:
        certain = 0 if p <= 0 else n
        return float(count >= certain), float(count <= certain)

    def exactly(k: int) -> float:
        log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))

    # The shorter sum is the exact one: the other tail follows from it.
    if count <= n * p:
        most = math.fsum(exactly(k) for k in range(count + 1))
        return most, 1 - most + exactly(count)
    least = math.fsum(exactly(k) for k in range(count, n + 1))
    return 1 - least + exactly(count), least


def _by_chance(lost: int, sent: int, asked: Shape) -> float:
    """Chance of a number of losses at least so far off. Losses in bursts vary more than independent ones."""
    if asked.bursts is None:
        return min(binomial_tails(lost, sent, asked.loss))
    memory = 1 - asked.bursts.enter - asked.bursts.leave
    spread = asked.bursts.bad - asked.bursts.good
    there = asked.bursts.enter / (asked.bursts.enter + asked.bursts.leave) if asked.bursts.enter else 0.0
    single = asked.loss_share * (1 - asked.loss_share)
    together = 2 * there * (1 - there) * spread**2 * memory / (1 - memory) if memory < 1 else 0.0
    deviation = math.sqrt(max(sent * (single + together), 1.0))
    return math.erfc(max(0.0, abs(lost - sent * asked.loss_share) - 1) / deviation / math.sqrt(2)) / 2


def _rate(
    words: str, asked: Shape, seen: RateSeen | None, tolerances: Tolerances, problems: list[str], notes: list[str]
) -> tuple[float | None, float | None]:
    if asked.rate is None or seen is None:
        return None, None
    error = seen.rate / asked.rate - 1
    wanted, found = f"{asked.rate / 1e6:g} Mbit/s", f"{seen.rate / 1e6:.4g}"
    if error < -tolerances.rate and seen.offered < asked.rate * _SATURATED:
        notes.append(
            f"{words}: asked {wanted}; source-limited: this machine offered {seen.offered / 1e6:.4g}, "
            f"so it is at least {found}"
        )
        return seen.rate, None
    if error < -tolerances.rate and seen.overruns:
        notes.append(f"{words}: asked {wanted}; receiver-limited: frames were lost in measuring, so at least {found}")
        return seen.rate, None
    if abs(error) > tolerances.rate:
        problems.append(f"{words}: asked {wanted}, measured {found} ({error * 100:+.1f} %)")
    return seen.rate, error


def _delay(words: str, asked: Shape, clean: StreamSeen, frame: int, problems: list[str]) -> float | None:
    if clean.p50 is None:
        problems.append(f"{words}: nothing came through ({clean.sent} frames sent)")
        return None
    return asked.delay + _less_own_time(clean.p50 - asked.delay, _on_wire(asked, frame))


def _loss(words: str, asked: Shape, sample: StreamSeen, problems: list[str]) -> float | None:
    if not sample.sent:
        return None
    if asked.duplicate:
        return None  # frames that came twice are counted as received: they hide those that were lost
    lost, share = max(0, sample.sent - sample.received), asked.loss_share
    if _by_chance(lost, sample.sent, asked) < _TAIL and sample.received:
        problems.append(
            f"{words}: asked {share * 100:g} % loss, measured {lost / sample.sent * 100:.3g} "
            f"({lost} of {sample.sent} frames, expected {share * sample.sent:.3g})"
        )
    if sample.reordered and not asked.reorder:
        problems.append(f"{words}: {sample.reordered} of {sample.sent} frames overtook others")
    return lost / sample.sent


def _jitter(
    words: str, asked: Shape, clean: StreamSeen, noisy: StreamSeen | None, problems: list[str]
) -> float | None:
    own = clean.half_width
    if noisy is None or not asked.jitter:
        return own
    if noisy.p10 is None or noisy.p90 is None:
        return None
    low, wide, relative = _shape_of(asked.spread)
    measured = (noisy.p90 - noisy.p10) / wide
    if noisy.samples < _LEAST_SAMPLE or asked.delay + low * asked.jitter < 0 or asked.reorder:
        return measured  # a delay cannot be negative: what is cut off there has another distribution
    chance = _SIGMAS * relative * asked.jitter / math.sqrt(noisy.samples)
    tolerated = max(chance, _JITTER_SHARE * asked.jitter) + _JITTER_S + (own or 0.0)
    if abs(measured - asked.jitter) > tolerated:
        problems.append(
            f"{words}: asked jitter +-{asked.jitter * 1e3:g} ms ({asked.spread.name}), measured {measured * 1e3:.2f} "
            f"(tolerated: {tolerated * 1e3:.2f} more or less)"
        )
    return measured


def _shape_of(spread: Spread) -> tuple[float, float, float]:
    """Of a distribution, in jitters: its 10th percentile, the distance from there to the 90th, its uncertainty.

    The last is a share of that distance, for one value; with n values it is divided by the root of n.
    """
    if not spread.table:
        return -0.8, 1.6, 0.5
    values = sorted(spread.table)

    def at(share: float) -> float:
        return values[min(int(share * len(values)), len(values) - 1)] / _TABLE_UNIT

    wide = at(0.9) - at(0.1) or 1.0
    # The deviation of a quantile is sqrt(q (1 - q)) over the density there, here the slope of the table.
    slopes = [max(at(q + 0.02) - at(q - 0.02), 0.0) / 0.04 for q in (0.1, 0.9)]
    return at(0.1), wide, 0.3 * math.hypot(*slopes) / wide


def _on_wire(shape: Shape, frame: int) -> float:
    return frame * 8 / shape.rate if shape.rate else 0.0


def _less_own_time(error: float, on_wire: float) -> float:
    """An error of delay without the time that the probe's own frame takes on the wire.

    A serialiser takes it for every frame, a token bucket lets a lone one through at once: both are right.
    """
    return error - min(max(error, 0.0), on_wire)
