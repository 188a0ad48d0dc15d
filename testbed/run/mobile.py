"""What became of the timeline in a run: handovers and how late they were, links that were down, predictions.

All in the experiment's own (virtual) time. ``testbed.run.moves`` tells what each move cost the training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from nodes.policies.prediction import score
from testbed.experiment.plan import Plan
from testbed.run.moves import Carried
from testbed.run.virtual import VirtualTime

COVERAGE, ABSENT, HANDOVER = "out of coverage", "absent", "handover"
_FIELDS = {COVERAGE: "out_of_coverage_s", ABSENT: "absent_s", HANDOVER: "interrupted_s"}


@dataclass
class LinkDown:
    """A device's access link being down for one reason; times are CLOCK_MONOTONIC.

    Attributes:
        device: Which.
        why: `COVERAGE`, `ABSENT` or `HANDOVER` (its interruption).
        begin: When it was down.
        due: When it was to be.
        end: When it was up again, as far as this reason goes; None as long as it is not.
        first: Whether it was so from the training's beginning on.
        turned: Whether the link itself went down or came up just now; not while it is down for another reason as well.
    """

    device: str
    why: str
    begin: float
    due: float
    end: float | None = None
    first: bool = False
    turned: bool = True

    def told(self, time: VirtualTime) -> LinkDown:
        """The same in virtual time."""
        end = None if self.end is None else time.at(self.end)
        return replace(self, begin=time.at(self.begin), due=time.at(self.due), end=end)


def events(down: LinkDown) -> list[tuple[str, float, float, dict[str, Any]]]:
    """Events of a link that has just gone down or come up again: kind, begin, end, attributes.

    A device that is absent from the beginning on has not left; it only joins.
    """
    absent = down.why == ABSENT
    attrs: dict[str, Any] = {"device": down.device, "why": down.why}
    if down.end is None:
        kind = "leave" if absent else "link-down"
        told = not down.first if absent else down.turned
        return [(kind, down.begin, down.begin, attrs | {"late_s": down.begin - down.due})] if told else []
    whole = ("outage", down.begin, down.end, attrs)
    return [("join" if absent else "link-up", down.end, down.end, attrs), whole] if absent or down.turned else [whole]


def section(
    plan: Plan, moves: Sequence[Carried], downs: Iterable[LinkDown], begin: float, end: float,
    died: Mapping[str, float] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """``mobility`` in ``summary.json``.

    Args:
        plan: In virtual time.
        moves: As they were carried out, in virtual time.
        downs: Links that were down, likewise.
        begin: When training began.
        end: When it ended: what was due later is not missed.
        died: Devices that died, and when: they had nothing to do after that.
    """
    lasted = end - begin
    lived = {device: at - begin for device, at in (died or {}).items()}
    return {
        "handovers": _handovers(plan, moves, lasted, lived),
        "outages": _outages(plan, downs, begin, end, lived),
        "prediction": _prediction(plan, moves, begin, lasted, lived),
    }


def _handovers(plan: Plan, moves: Sequence[Carried], lasted: float, lived: Mapping[str, float]) -> dict[str, Any]:
    planned = [m for m in plan.moves if m.at is None or m.at <= lasted]
    done = [(late, m) for m in moves if m.done and (late := m.late) is not None]
    worst = max(done, key=lambda d: d[0], default=None)
    return {
        "planned": len(planned),
        "carried_out": sum(m.done for m in moves),
        "died_before": sum(m.device in lived for m in planned) - sum(m.done and m.device in lived for m in moves),
        "late_max_s": None if worst is None else worst[0],
        "late_median_s": median(late for late, _ in done) if done else None,
        "latest": None if worst is None else f"{worst[1].device} to {worst[1].to}",
    }


def _outages(
    plan: Plan, downs: Iterable[LinkDown], begin: float, end: float, lived: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}

    def row(device: str) -> dict[str, Any]:
        return rows.setdefault(device, {"times": 0, **dict.fromkeys(_FIELDS.values(), 0.0), "planned_s": 0.0})

    for outage in plan.outages:
        last = min(end - begin, lived.get(outage.device, math.inf))
        until = math.inf if outage.end is None else outage.end
        row(outage.device)["planned_s"] += max(0.0, min(until, last) - min(outage.begin, last))
    for down in downs:
        mine = row(down.device)
        mine["times"] += down.why != HANDOVER
        until = end if down.end is None else min(down.end, end)
        mine[_FIELDS.get(down.why, _FIELDS[COVERAGE])] += max(0.0, until - down.begin)
    return dict(sorted(rows.items()))


def _prediction(
    plan: Plan, moves: Sequence[Carried], begin: float, lasted: float, lived: Mapping[str, float]
) -> dict[str, Any] | None:
    if plan.predictor is None:
        return None
    # By when they were due: what was expected at that very moment is about the handover after it.
    came = [(m.device, round((m.begin if m.due is None else m.due) - begin, 6), m.to) for m in moves if m.done]
    found = score(plan.predictions, came, notice=plan.lead, until=lasted, ends=lived)
    return {"policy": plan.predictor, **found.as_dict()}
