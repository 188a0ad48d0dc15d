"""What was asked, what was measured: the rows that everything else here adds to, and the figures made of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PRODUCT = "roambed"

FIGURES: dict[str, tuple[str, float]] = {
    "tcp_error_pct_max": ("tcp", 1.0),
    "owd_error_ms_p50_max": ("delay p50", 0.15),
    "owd_error_ms_p99_max": ("delay p99", 1.0),
    "owd_error_ms_p99_busy_max": ("delay p99 busy", 1.0),
    "trace_step_error_pct_max": ("trace steps", 3.0),
    "speed_error_pct_max": ("speed", 2.0),
    "relay_cpu_pct_100mbit": ("relay cpu 100", 20.0),
    "relay_cpu_pct_1gbit": ("relay cpu 1000", 30.0),
}
"""Every figure: the kind of case it is the worst of, and what it may be at most."""


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        kind: Cases of a kind are of one table, and compare.
        by: Who did it: this testbed, or another tool.
        what: In words. asked, measured, error: In ``unit``, but an error may have one of its own in ``error_unit``.
        n: Samples that the measured value stands on.
        limit: What the error may be at most, either way (where nothing was asked, the value itself); None: no promise.
        note: Why there is no value, or what to know about it.
        failed: It should have been measured and could not be.
    """

    kind: str
    what: str
    asked: float | None
    measured: float | None
    error: float | None
    unit: str
    n: int
    by: str = PRODUCT
    error_unit: str = ""
    limit: float | None = None
    note: str = ""
    failed: bool = False

    @property
    def judged(self) -> float | None:
        """What is held against the limit: the error, or where nothing was asked the measured value itself."""
        return self.measured if self.asked is None else self.error

    @property
    def held(self) -> bool | None:
        """Whether that is within the limit; None where nothing is promised or nothing was measured."""
        return None if self.limit is None or self.judged is None else abs(self.judged) <= self.limit


@dataclass
class Record:
    """All cases so far, told as they come."""

    cases: list[Case] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def add(self, case: Case) -> None:
        self.cases.append(case)
        print(f"[{time.monotonic() - self.begun:5.0f} s] {told(case)}", flush=True)

    @contextmanager
    def attempt(self, kind: str, what: str, unit: str, asked: float | None = None, by: str = PRODUCT) -> Iterator[None]:
        """What goes wrong within is a case of its own: a benchmark that stops half-way shows nothing."""
        try:
            yield
        except Exception as error:
            note = " ".join(str(error).split())[:300] or type(error).__name__
            self.add(Case(kind, what, asked, None, None, unit, 0, by, note=note, failed=True))

    def missing(self, kind: str, what: str, by: str, why: str, asked: float | None = None, unit: str = "") -> None:
        """What cannot be measured here, through nobody's fault."""
        self.add(Case(kind, what, asked, None, None, unit, 0, by, note=why))

    @property
    def failed(self) -> list[Case]:
        return [case for case in self.cases if case.failed]

    @property
    def failed_ours(self) -> list[Case]:
        """This testbed's of them: that another tool could not do something is a finding, not a failure."""
        return [case for case in self.failed if case.by == PRODUCT]


def told(case: Case) -> str:
    """A case as a line for a terminal."""
    said = f"{case.by}: {case.what}"
    if case.measured is None:
        return f"{said}: {'FAILED' if case.failed else 'not measured'}: {case.note}"
    if case.asked is not None:
        said += f": asked {case.asked:g}, measured {case.measured:.5g} {case.unit}"
    else:
        said += f": {case.measured:.4g} {case.unit}"
    if case.error is not None:
        said += f", error {case.error:+.3g} {case.error_unit or case.unit}"
    if case.held is False:
        said += f"  <-- more than {case.limit:g}" + (f" ({case.note})" if case.note else "")
    return said


def figures(cases: list[Case]) -> dict[str, float | None]:
    """The worst error of each kind, of this testbed's cases; None if none of them was measured, or one failed."""
    ours = [case for case in cases if case.by == PRODUCT]
    return {name: _worst([case for case in ours if case.kind == kind]) for name, (kind, _) in FIGURES.items()}


def _worst(cases: list[Case]) -> float | None:
    errors = [abs(case.judged) for case in cases if case.judged is not None]
    if not errors or any(case.failed for case in cases):
        return None
    return round(max(errors), 4)


def as_json(cases: list[Case]) -> dict[str, object]:
    """What fidelity.json holds."""
    rows = [
        {
            "what": case.what,
            "asked": case.asked,
            "measured": None if case.measured is None else round(case.measured, 6),
            "error": None if case.error is None else round(case.error, 6),
            "unit": case.unit,
            "n": case.n,
            "kind": case.kind,
            "by": case.by,
            "error_unit": case.error_unit or case.unit,
            "limit": case.limit,
            "note": case.note,
        }
        for case in cases
    ]
    return {**figures(cases), "cases": rows}
