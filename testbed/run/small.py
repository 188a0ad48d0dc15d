"""Small data: what each scheme of a run trains on, its random control, and what the selection came to.

A rule is worth something only if it does better than any other samples, so a scheme that trains on a share by a rule is
followed by itself on a random subset of the same size: a further result of the same run, called ``fedfly-random``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nodes.events import Span
from nodes.policies.selection import BLIND, CONTROL
from nodes.wire.task import Select
from testbed.experiment.plan import Plan, SelectPlan


@dataclass(frozen=True)
class Way:
    """One training of a run.

    Attributes:
        scheme: How it trains. name: What its results are called.
        select: What it trains on; None: all that there is.
        of: Of a control, the name of the results that it is held against.
    """

    scheme: str
    name: str
    select: SelectPlan | None = None
    of: str | None = None

    def told(self) -> Select | None:
        """What nodes are told of it."""
        asked = self.select
        return None if asked is None else Select(asked.rule, asked.share, asked.by, asked.features)


def ways(plan: Plan, names: Iterable[str]) -> list[Way]:
    """What these schemes come to, in order: each is followed by its control, if it has one."""
    asked, found = plan.workload.data.select, []
    for name in names:
        found.append(Way(name, name, asked))
        if asked is not None and controlled(asked):
            found.append(Way(name, f"{name}-{CONTROL}", replace(asked, rule=CONTROL), of=name))
    return found


def controlled(asked: SelectPlan) -> bool:
    """Whether a random control runs beside it: not where it is random itself, or keeps everything."""
    return asked.control and asked.rule != CONTROL and asked.share < 1


def uncontrolled(asked: SelectPlan) -> str | None:
    """Why no control runs, in words; None where one does."""
    if controlled(asked):
        return None
    if asked.rule == CONTROL:
        return "it is random itself"
    return "all samples are kept" if asked.share >= 1 else "the experiment says control: no"


def section(way: Way, spans: Iterable[Span], devices: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The ``selection`` of a summary.

    Args:
        way: What was trained, with a selection.
        spans: Events, those of kind ``select`` among them.
        devices: Rounds by device, as the summary has them: what the cost is held against.
    """
    asked = way.select
    assert asked is not None, "the way has a selection"
    rows: dict[str, dict[str, Any]] = {}
    for span in spans:
        if span.kind == "select":
            device, took = str(span.attrs["device"]), span.end - span.begin
            trained = sum(float(line["compute_s"]) for line in devices.get(device, ()))
            rows[device] = {
                "samples": span.attrs["samples"],
                "kept": span.attrs["kept"],
                "by_class": span.attrs["by_class"],
                "time_s": took,
                "cpu_s": span.cpu_s,
                "late": span.late,
                "of_compute": took / trained if trained else None,
            }
    return {
        "rule": asked.rule,
        "share": asked.share,
        **({} if asked.rule in BLIND else {"by": asked.by, "features": asked.features}),
        "control_of": way.of,
        "control": None if way.of is not None or uncontrolled(asked) is not None else f"{way.name}-{CONTROL}",
        "no_control": None if way.of is not None else uncontrolled(asked),
        "samples": sum(row["samples"] for row in rows.values()),
        "kept": sum(row["kept"] for row in rows.values()),
        "time_s": sum(row["time_s"] for row in rows.values()),
        "devices": dict(sorted(rows.items())),
    }
