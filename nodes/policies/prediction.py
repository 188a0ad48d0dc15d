"""Where a device will be handed over to next, before it happens; and how often such a guess was right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

Fix = tuple[float, float, float]
"""Where a device was: seconds, metres, metres."""
Step = tuple[float, str]
"""When a device is handed over, s, and to which site."""


@dataclass(frozen=True)
class Guess:
    """The next handover as expected: to which site, and when (s)."""

    to: str
    at: float


@dataclass(frozen=True)
class Prediction:
    """From ``made`` (s) on, this is expected of a device, until its next prediction; None takes the one before back."""

    device: str
    made: float
    guess: Guess | None


def oracle(now: float, handovers: Sequence[Step], horizon: float) -> Guess | None:
    """What the trace knows: the next handover, if it is at most ``horizon`` seconds away.

    Args:
        now: Seconds.
        handovers: The device's, in order of time.
        horizon: Seconds.
    """
    ahead = next(((at, to) for at, to in handovers if at > now), None)
    return Guess(ahead[1], ahead[0]) if ahead is not None and ahead[0] - now <= horizon + 1e-9 else None


def linear(
    now: float,
    fixes: Sequence[Fix],
    here: str,
    site_at: Callable[[float, float], str | None],
    *,
    horizon: float,
    step: float = 0.5,
) -> Guess | None:
    """Straight on: the last positions make a velocity (least squares), and the first other site on that way is it.

    Args:
        now: Seconds.
        fixes: The last positions, oldest first; two at least, or nothing is expected.
        here: Site that the device is on.
        site_at: Site that a device at (x, y) would be on.
        horizon: How far to look ahead, s.
        step: How finely, s.
    """
    if len(fixes) < 2:
        return None
    middle = sum(t for t, _, _ in fixes) / len(fixes)
    spread = sum((t - middle) ** 2 for t, _, _ in fixes)
    if spread == 0:
        return None
    vx = sum((t - middle) * x for t, x, _ in fixes) / spread
    vy = sum((t - middle) * y for t, _, y in fixes) / spread
    _, x, y = fixes[-1]
    for i in range(int(horizon / step + 1e-9) + 1):
        there = site_at(x + vx * i * step, y + vy * i * step)
        if there is not None and there != here:
            return Guess(there, now + i * step)
    return None


@dataclass(frozen=True)
class Score:
    """How predictions turned out.

    Attributes:
        hits: Handovers whose site was expected, and in time.
        wrong: Handovers for which another site was expected.
        unforeseen: Handovers for which none was.
        withdrawn: Expectations that were dropped or replaced before any handover came.
        lead: Median time by which the hits were expected ahead, s; None without hits.
        error: Median of how far off the expected moment was, s, of the hits; None without.
        late: Handovers whose site was expected, but no sooner than the device was told of them anyway.
        mean_lead: Mean of what `lead` is the median of.
    """

    hits: int
    wrong: int
    unforeseen: int
    withdrawn: int
    lead: float | None
    error: float | None
    late: int = 0
    mean_lead: float | None = None

    @property
    def misses(self) -> int:
        """Handovers that were not expected, or not there, or not in time."""
        return self.wrong + self.unforeseen + self.late

    @property
    def false_alarms(self) -> int:
        """Expectations of a handover that did not come: to another site, or none at all."""
        return self.wrong + self.withdrawn

    def as_dict(self) -> dict[str, Any]:
        """As it is told: with misses and false alarms beside what they are made of."""
        return {**asdict(self), "misses": self.misses, "false_alarms": self.false_alarms}

    @property
    def recall(self) -> float | None:
        """Share of handovers that were expected; None if there were none."""
        total = self.hits + self.misses
        return self.hits / total if total else None

    @property
    def precision(self) -> float | None:
        """Share of expectations that came true; None if there were none."""
        total = self.hits + self.late + self.false_alarms
        return self.hits / total if total else None


def score(
    predictions: Sequence[Prediction], handovers: Sequence[tuple[str, float, str]], *, notice: float = 0.0,
    until: float = math.inf, ends: Mapping[str, float] | None = None,
) -> Score:  # fmt: skip
    """How predictions compare with the handovers (device, time, site) that came.

    What is expected at a handover's own moment counts if it was made before. An expectation is one as long as it names
    the same site: a new moment for it changes nothing, and a handover ends it.

    Args:
        predictions: What was expected.
        handovers: What came.
        notice: Seconds before each handover at which its device is told of it: what is expected later is too late.
        until: When looking ended, s: predictions made later do not count, nor do expectations of what comes later.
        ends: Devices with whom it ended before that, and when.
    """
    hits, wrong, unforeseen, withdrawn, late = 0, 0, 0, 0, 0
    leads: list[float] = []
    errors: list[float] = []
    devices = sorted({p.device for p in predictions} | {device for device, _, _ in handovers})
    for device in devices:
        last = min(until, (ends or {}).get(device, until))
        said = [(p.made, 1, p.guess) for p in predictions if p.device == device and p.made <= last]
        came = [(at, 0, Guess(to, at)) for name, at, to in handovers if name == device]
        standing: Guess | None = None
        since = 0.0
        for when, kind, what in sorted([*said, *came], key=lambda e: e[:2]):
            if kind == 1:
                if standing is not None and (what is None or what.to != standing.to):
                    withdrawn += 1
                if what is not None and (standing is None or what.to != standing.to):
                    since = when
                standing = what
                continue
            assert what is not None
            if standing is None:
                unforeseen += 1
            elif standing.to != what.to:
                wrong += 1
            elif when - since < notice - 1e-9:
                late += 1
            else:
                hits += 1
                leads.append(when - since)
                errors.append(abs(standing.at - when))
            standing = None
        withdrawn += standing is not None and standing.at <= last
    return Score(
        hits, wrong, unforeseen, withdrawn, median(leads) if leads else None, median(errors) if errors else None, late,
        fmean(leads) if leads else None,
    )  # fmt: skip
