"""What access links carry over time: from a course and a radio model, or straight from what a trace recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from nodes.policies import propagation
from nodes.policies import radio as waves
from nodes.policies.radio import Quality, Radio
from testbed.emulation.links.shape import Schedule, Shape, Step
from testbed.experiment.limits import LEAST_RATE
from testbed.mobility.associate import NOWHERE, Course
from testbed.mobility.tracks import Track

Ways = tuple[Shape, Shape]
"""A device's access link, up and down, as the file has it."""
REPORT = 1.0
"""dB to which signal is told, as in TS 36.133, 9.1.4 (RSRP): what differs by less makes no new step."""


def of_radio(
    course: Course, radio: Radio, access: Mapping[str, Ways], *, interval: float, sharing: str = "time"
) -> dict[str, tuple[Schedule, Schedule]]:
    """Schedules of each device's access link, up and down.

    All devices on a site always have something to send: each gets its share of the airtime and no more. The file's
    rate is an upper bound, its delay comes before that of repetitions, its loss besides that of the radio. While a
    device is nowhere, nothing passes.

    Args:
        course: Where devices are.
        radio: The model.
        access: Of each site.
        interval: From step to step, s; handovers and the ends of coverage make steps of their own.
        sharing: ``time``, ``frames`` (see `waves.airtime`), or ``none``: each device as if it were alone.
    """
    if not (math.isfinite(interval) and interval > 0):
        raise ValueError(f"interval must be more than 0, not {interval:g}")
    every = max(1, round(interval / (course.times[1] - course.times[0]))) if len(course.times) > 1 else 1
    changes = np.flatnonzero(np.any(np.diff(course.on, axis=0), axis=1)) + 1
    looks = sorted({*range(0, len(course.times), every), *changes.tolist()})
    known: dict[float, tuple[Quality, Quality]] = {}
    up_at, down_at = propagation.snr(0.0, radio)
    least = waves.coverage(radio)[0] - min(float(up_at), float(down_at))  # rounding ends no coverage

    def quality(power: float) -> tuple[Quality, Quality]:
        told = max(round(power / REPORT) * REPORT, least)
        if told not in known:
            known[told] = (waves.quality(told + float(up_at), radio), waves.quality(told + float(down_at), radio))
        return known[told]

    steps: dict[str, tuple[list[Step], list[Step]]] = {device: ([], []) for device in course.devices}
    for i in looks:
        at = float(course.times[i])
        there: dict[int, dict[str, tuple[Quality, Quality]]] = {}
        for d, device in enumerate(course.devices):
            site = int(course.on[i, d])
            if site == NOWHERE:
                for way in (0, 1):
                    _add(steps[device][way], Step(at, rate=0.0))
            else:
                there.setdefault(site, {})[device] = quality(float(course.power[i, d]))
        for site, found in there.items():
            shapes = access[course.sites[site]]
            for way in (0, 1):
                alone = {device: both[way].rate for device, both in found.items()}
                shares = dict.fromkeys(alone, 1.0) if sharing == "none" else waves.airtime(alone, sharing)
                for device, both in found.items():
                    _add(steps[device][way], _step(at, both[way], shares[device], shapes[way]))
    length = float(course.times[-1]) + float(course.times[1] if len(course.times) > 1 else 1.0)
    return {
        device: (_schedule(f"{device} up", up, length), _schedule(f"{device} down", down, length))
        for device, (up, down) in steps.items()
    }


def of_samples(
    name: str, samples: Iterable[tuple[float, float | None, float | None, float | None]], length: float
) -> Schedule:
    """The schedule of what was recorded: (t, rate, delay, loss), each from its time on; None leaves the file's.

    Times before 0 and after ``length`` are left out; the last before 0 holds from 0 on.
    """
    steps: list[Step] = []
    for t, rate, delay, loss in samples:
        if t > length:
            break
        if t < 0:
            steps.clear()
        step = Step(max(t, 0.0), None if rate is None else _rate(rate), delay, loss)
        if steps and steps[-1].at == step.at:
            steps.pop()
        _add(steps, step)
    if not steps or steps[0].at > 0:
        steps.insert(0, Step(0.0))
    return _schedule(name, steps, length)


def of_record(track: Track, up: float | None, length: float) -> tuple[Schedule, Schedule] | None:
    """Schedules of what was recorded along a track: None if it holds neither rates nor round-trip times.

    Each way has half the round-trip time as its delay. What was not recorded at a position is as the file has it.

    Args:
        track: With the rates towards the device.
        up: Share of them that the way up has; None leaves it to the file.
        length: Of the schedules, s.
    """
    if not len(track.rate) and not len(track.rtt):
        return None
    rates = track.rate if len(track.rate) else np.full(len(track.t), math.nan)
    trips = track.rtt if len(track.rtt) else np.full(len(track.t), math.nan)

    def samples(share: float | None) -> Iterable[tuple[float, float | None, float | None, float | None]]:
        for t, rate, rtt in zip(track.t.tolist(), rates.tolist(), trips.tolist(), strict=True):
            bits = None if share is None or math.isnan(rate) else rate * share
            yield t, bits, None if math.isnan(rtt) else round(rtt / 2, 4), None

    return of_samples("recorded up", samples(up), length), of_samples("recorded down", samples(1.0), length)


def mean_rate(schedule: Schedule, shape: Shape, begin: float, end: float) -> float | None:
    """bit/s on average between two moments; None where nothing bounds the rate."""
    total = 0.0
    for step, until in _spans(schedule.steps):
        seconds = min(until, end) - max(step.at, begin)
        if seconds <= 0:
            continue
        rate = shape.rate if step.rate is None else step.rate
        if rate is None:
            return None
        total += rate * seconds
    return total / (end - begin) if end > begin else None


def _spans(steps: Sequence[Step]) -> Iterable[tuple[Step, float]]:
    return zip(steps, [*(s.at for s in steps[1:]), math.inf], strict=True)


def _step(at: float, quality: Quality, share: float, shape: Shape) -> Step:
    rate = quality.rate * share
    if shape.rate is not None:
        rate = min(rate, shape.rate)
    delay = round(shape.delay + quality.delay, 4) if quality.delay >= 5e-5 else None
    loss = round(1 - (1 - shape.loss_share) * (1 - quality.loss), 4) if quality.loss >= 5e-5 else None
    return Step(at, _rate(rate), delay, loss)


def _rate(rate: float) -> float:
    return 0.0 if rate <= 0 else float(max(round(rate, -2), LEAST_RATE))


def _add(steps: list[Step], step: Step) -> None:
    """Append what differs from the step before."""
    last = steps[-1] if steps else None
    if last is None or (last.rate, last.delay, last.loss) != (step.rate, step.delay, step.loss):
        steps.append(step)


def _schedule(name: str, steps: list[Step], length: float) -> Schedule:
    return Schedule(name, tuple(steps), length=length)
