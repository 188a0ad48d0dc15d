"""Compares two runs: the same result, in the same time, under the same conditions?

Two runs are *the same* when every scheme ended with equal weights and every round of every device took the same time
within the tolerance. Other differences (versions, calibration) are listed, as what may explain it; they do not decide.
Tasks of a serverless platform are compared as schemes are, by their names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from testbed.errors import InputError
from testbed.report import words
from testbed.report.conditions import Difference, calibrations, manifests
from testbed.report.grids import BAD, GOOD, Cell, Grid
from testbed.report.load import load
from testbed.report.records import RunRecord, SchemeRecord
from testbed.report.taskrecords import by_task

TOLERANCE = 0.05


@dataclass(frozen=True)
class RoundPair:
    """One round of one device in both runs; ``ratio`` is b over a, None where it is missing in one."""

    device: str
    round: int
    a_s: float | None
    b_s: float | None
    ratio: float | None

    def within(self, tolerance: float) -> bool:
        """Whether both took the same time."""
        return self.ratio is not None and abs(self.ratio - 1) <= tolerance


@dataclass(frozen=True)
class SchemePair:
    """One scheme in both runs. ``reasons`` says what keeps the two from being the same."""

    a: str
    b: str
    same: bool
    reasons: tuple[str, ...]
    digest_a: str | None
    digest_b: str | None
    equal_digest: bool
    accuracy_a: float | None
    accuracy_b: float | None
    accuracy_difference: float | None
    worst_ratio_off: float | None
    median_ratio: float | None
    rounds: tuple[RoundPair, ...]
    active_j_a: float | None = None
    active_j_b: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    a: str
    b: str
    tolerance: float
    same: bool
    reasons: tuple[str, ...]
    schemes: tuple[SchemePair, ...]
    differences: tuple[Difference, ...]
    experiment_diff: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def compare(a: Path, b: Path, tolerance: float = TOLERANCE) -> Comparison:
    """Compare two run directories, or those of two schemes.

    Runs of several schemes are compared scheme by scheme. If each side is a single scheme, these are compared even
    if their names differ.

    Raises:
        InputError: They have no scheme in common.
    """
    whole = load(a), load(b)
    left, right = (by_task(record) for record in whole)
    pairs = _pairs(left, right)
    matched = [_scheme(x, y, tolerance) for x, y in pairs]
    reasons = [f"{name}: only in {run.run}" for run, name in _unmatched(left, right, pairs)]
    for pair in matched:
        reasons += [f"{_both(pair)}: {reason}" for reason in pair.reasons]
    diff = difflib.unified_diff(
        left.rendered.splitlines(), right.rendered.splitlines(), left.run, right.run, lineterm="", n=1
    )
    return Comparison(
        a=_name(whole[0], a),
        b=_name(whole[1], b),
        tolerance=tolerance,
        same=not reasons,
        reasons=tuple(reasons),
        schemes=tuple(matched),
        differences=(*manifests(left.manifest, right.manifest), *calibrations(left, right)),
        experiment_diff=tuple(diff),
    )


def comparison_grids(found: Comparison) -> list[Grid]:
    """The comparison as tables: results, times, and what else differs."""
    known = any(pair.active_j_a is not None or pair.active_j_b is not None for pair in found.schemes)
    energy = ("active energy",) if known else ()
    head = ("scheme", "weights", "accuracy", "difference", *energy, "round times", "same")
    results = Grid(f"{found.a} against {found.b}", head)
    times = Grid("Time of each round", ("device", "scheme", "round", "first", "second", "ratio"), names=2)
    for pair in found.schemes:
        off = pair.worst_ratio_off
        results.add(
            _both(pair),
            Cell("equal" if pair.equal_digest else f"{words.short(pair.digest_a)}, {words.short(pair.digest_b)}",
                 GOOD if pair.equal_digest else BAD),
            f"{words.percent(pair.accuracy_a)}, {words.percent(pair.accuracy_b)}",
            words.percent(pair.accuracy_difference, 2, sign=True),
            *((f"{words.joules(pair.active_j_a)}, {words.joules(pair.active_j_b)}",) if known else ()),
            Cell(f"within {words.percent(off)}" if off is not None else words.DASH,
                 GOOD if off is not None and off <= found.tolerance else BAD),
            Cell("yes" if pair.same else "no", GOOD if pair.same else BAD),
        )  # fmt: skip
        for row in pair.rounds:
            ratio = words.DASH if row.ratio is None else f"{row.ratio:.3f}"
            times.add(
                row.device, _both(pair), str(row.round), words.seconds(row.a_s), words.seconds(row.b_s),
                Cell(ratio, "" if row.within(found.tolerance) else BAD),
            )  # fmt: skip
    rest = Grid("What else differs", ("what", "first", "second"), names=3)
    for difference in found.differences:
        rest.add(difference.what, difference.a, difference.b)
    return [grid for grid in (results, times, rest) if grid.rows]


def _pairs(left: RunRecord, right: RunRecord) -> list[tuple[SchemeRecord, SchemeRecord]]:
    common = [(s, other) for s in left.schemes if (other := right.scheme(s.name)) is not None]
    if common:
        return common
    if len(left.schemes) == len(right.schemes) == 1:
        return [(left.schemes[0], right.schemes[0])]
    raise InputError(
        "the two runs have no scheme in common",
        found=f"{left.run}: {_names(left)}; {right.run}: {_names(right)}",
        remedy="name the schemes to compare: testbed compare RUN/SCHEME RUN/SCHEME",
    )


def _names(record: RunRecord) -> str:
    return ", ".join(s.name for s in record.schemes) or "none"


def _unmatched(
    left: RunRecord, right: RunRecord, pairs: list[tuple[SchemeRecord, SchemeRecord]]
) -> Iterator[tuple[RunRecord, str]]:
    for run, matched in ((left, {a.name for a, _ in pairs}), (right, {b.name for _, b in pairs})):
        for scheme in run.schemes:
            if scheme.name not in matched:
                yield run, scheme.name


def _scheme(a: SchemeRecord, b: SchemeRecord, tolerance: float) -> SchemePair:
    rounds = tuple(_rounds(a, b))
    ratios = [r.ratio for r in rounds if r.ratio is not None]
    off = [r for r in rounds if not r.within(tolerance)]
    equal = a.weights_sha256 is not None and a.weights_sha256 == b.weights_sha256
    reasons = []
    if not equal:
        known = a.weights_sha256 and b.weights_sha256
        reasons.append("the weights differ" if known else "one of the two ended without weights")
    if not rounds:
        reasons.append("no round was finished")
    if off:
        worst = max(off, key=lambda r: abs(r.ratio - 1) if r.ratio is not None else float("inf"))
        how = f"{worst.ratio:.3f} times" if worst.ratio is not None else "missing in one"
        reasons.append(
            f"{len(off)} of {len(rounds)} round times are more than {words.percent(tolerance, 0)} apart "
            f"(worst: {worst.device}, round {worst.round}, {how})"
        )
    return SchemePair(
        a=a.name,
        b=b.name,
        same=not reasons,
        reasons=tuple(reasons),
        digest_a=a.weights_sha256,
        digest_b=b.weights_sha256,
        equal_digest=equal,
        accuracy_a=a.final_accuracy,
        accuracy_b=b.final_accuracy,
        accuracy_difference=None
        if a.final_accuracy is None or b.final_accuracy is None
        else b.final_accuracy - a.final_accuracy,
        worst_ratio_off=max((abs(r - 1) for r in ratios), default=None),
        median_ratio=median(ratios) if ratios else None,
        rounds=rounds,
        active_j_a=a.active_j,
        active_j_b=b.active_j,
    )


def _rounds(a: SchemeRecord, b: SchemeRecord) -> Iterator[RoundPair]:
    for device in sorted({*a.devices, *b.devices}):
        numbers = {r.round for s in (a, b) for r in s.devices.get(device, ())}
        for count in sorted(numbers):
            here, there = a.time_of(device, count), b.time_of(device, count)
            ratio = there / here if here and there is not None else None
            yield RoundPair(device, count, here, there, ratio)


def _both(pair: SchemePair) -> str:
    return pair.a if pair.a == pair.b else f"{pair.a} / {pair.b}"


def _name(record: RunRecord, path: Path) -> str:
    here = path.resolve()
    whole = len(record.schemes) != 1 or here.name != record.schemes[0].name
    return here.name if whole else f"{here.parent.name}/{here.name}"


__all__ = ["TOLERANCE", "Comparison", "Difference", "RoundPair", "SchemePair", "compare", "comparison_grids"]
