"""Tables of movement: handovers planned and carried out, links that were down, predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.experiment.changes import FAULTS
from testbed.report import became, words
from testbed.report.grids import BAD, QUIET, Cell, Grid, rounds_without
from testbed.report.records import RunRecord, SchemeRecord, number, table, text, whole

MOST_ROWS = 200
LATE = 0.1
"""Seconds from which on a handover's lateness is marked."""


def all_grids(record: RunRecord) -> list[Grid]:
    """Those that have rows."""
    found = (
        sums_grid(record), handover_grid(record), outage_grid(record), prediction_grid(record), fault_grid(record),
        standby_grid(record),
    )  # fmt: skip
    return [grid for grid in found if grid.rows]


def notes(record: RunRecord) -> list[str]:
    """What a reader has to know of how movement was replayed."""
    pace = 1.0 if record.motion is None else record.motion.pace
    if pace == 1 or pace <= 0:
        return []
    how = f"{max(pace, 1 / pace):.3g} times {'faster' if pace < 1 else 'slower'}"
    return [
        f"The trace was replayed {how} than it was recorded (mobility.trace.scale.time). Devices then move otherwise "
        "in relation to training and links: it is another experiment. Dilation would slow everything down alike, and "
        "keep it."
    ]


def sums_grid(record: RunRecord) -> Grid:
    """How many handovers were carried out, and how late."""
    grid = Grid(
        "Handovers, all in all",
        ("scheme", "planned", "carried out", "device had died", "worst lateness", "median", "of"),
        note="Planned: those that were due before training ended, and those at points of it. Lateness runs from when "
        "the port was to move to when it had moved.",
    )  # fmt: skip
    for scheme in record.schemes:
        sums = table(scheme.mobility.get("handovers"))
        if sums and (whole(sums.get("planned")) or whole(sums.get("carried_out"))):
            worst = number(sums.get("late_max_s"))
            grid.add(
                scheme.name, words.plain(whole(sums.get("planned"))), words.plain(whole(sums.get("carried_out"))),
                words.plain(whole(sums.get("died_before"))), _late(worst),
                words.seconds(number(sums.get("late_median_s"))), text(sums.get("latest"), words.DASH),
            )  # fmt: skip
    return grid


def handover_grid(record: RunRecord) -> Grid:
    """Each handover of the timeline beside what each scheme made of it."""
    heads = [head for s in record.schemes for head in (f"{s.name}: at", "late")]
    grid = Grid("Handovers, planned and carried out", ("device", "from", "to", "due", *heads), names=3)
    if record.motion is None:
        return grid
    columns = [became.pairs(record.motion, s) for s in record.schemes]
    planned = record.motion.handovers
    for i, handover in enumerate(planned[:MOST_ROWS]):
        cells: list[str | Cell] = []
        for scheme, column in zip(record.schemes, columns, strict=True):
            cells += _did(column[i], scheme)
        grid.add(handover.device, handover.source, handover.to, handover.due, *cells)
    left_out = len(planned) - MOST_ROWS
    if left_out > 0:
        return Grid(grid.title, grid.head, grid.rows, f"{left_out} more are in mobility.json and summary.json.", 3)
    return grid


def outage_grid(record: RunRecord) -> Grid:
    """Seconds without a link, by device."""
    grid = Grid(
        "Links down", ("device", "scheme", "times", "out of coverage", "absent", "interrupted", "planned"),
        note="Planned: seconds out of coverage or absent that the timeline has until training ended. Interrupted: by "
        "handovers (mobility.interruption).",
        names=2,
    )  # fmt: skip
    for scheme in record.schemes:
        for device, row in table(scheme.mobility.get("outages")).items():
            mine = table(row)
            times = [number(mine.get(f"{key}_s")) for key in ("out_of_coverage", "absent", "interrupted", "planned")]
            grid.add(device, scheme.name, words.plain(whole(mine.get("times"))), *map(words.seconds, times))
    return grid


def prediction_grid(record: RunRecord) -> Grid:
    """How predictions turned out, by policy: as planned, and in each run."""
    grid = Grid(
        "Predictions",
        ("policy", "handovers of", "hits", "misses", "other site", "too late", "unforeseen", "false alarms",
         "mean lead"),
        note="A hit names the right site before the device is told of the handover anyway. A miss is a handover "
        "without one; a false alarm is a prediction of a handover that did not come.",
        names=2,
    )  # fmt: skip
    rows = [(s.name, table(s.mobility.get("prediction"))) for s in record.schemes]
    if record.motion is not None and record.motion.score:
        rows.insert(0, ("the timeline", record.motion.score))
    for of, row in rows:
        if row:
            counts = [whole(row.get(k)) for k in ("hits", "misses", "wrong", "late", "unforeseen", "false_alarms")]
            lead = words.seconds(number(row.get("mean_lead")))
            grid.add(text(row.get("policy"), words.DASH), of, *map(words.plain, counts), lead)
    return grid


def fault_grid(record: RunRecord) -> Grid:
    """What broke as the experiment asked, and what nodes said while they went on."""
    grid = Grid(
        "What broke, and what was done about it", ("at", "scheme", "what"), names=3,
        note="Faults are those that the experiment asked for; then who died, and what nodes said.",
    )  # fmt: skip
    for scheme in record.schemes:
        rows = [(number(one.get("at_s")) or 0.0, _broke(one)) for one in scheme.faults]
        rows += [(number(one.get("at_s")) or 0.0, _died(one)) for one in scheme.deaths]
        rows += [
            (number(one.get("at_s")) or 0.0, f"{text(one.get('node'))}: {text(one.get('text'))}")
            for one in scheme.notes
        ]
        rows.sort(key=lambda row: row[0])
        for at, what in rows[:MOST_ROWS]:
            grid.add(words.seconds(at), scheme.name, what)
    return grid


def _broke(fault: Mapping[str, Any]) -> str:
    target, mended = text(fault.get("target")), number(fault.get("mended_s"))
    done = FAULTS.get(text(fault.get("kind")), "broken")
    return f"{target} was {done}" + ("" if mended is None else f", and mended at {words.seconds(mended)}")


def _died(death: Mapping[str, Any]) -> str:
    asked = "as asked" if death.get("asked") else "which nobody had asked for"
    without = rounds_without(death)
    rounds = f"; averaged without it: {without}" if without else ""
    return f"{text(death.get('node'))} {text(death.get('how'), 'died')}, {asked}{rounds}"


def standby_grid(record: RunRecord) -> Grid:
    """What standbys cost."""
    grid = Grid(
        "Standbys", ("scheme", "made", "bytes", "time on edge servers", "bytes unused", "time unused"),
        note="Bytes: of state, and of batches sent for a standby to apply. Unused: of those that no move came to.",
    )  # fmt: skip
    for scheme in record.schemes:
        if scheme.standbys:
            row = scheme.standbys
            grid.add(
                scheme.name, words.plain(whole(row.get("made"))), words.size(number(row.get("bytes"))),
                words.seconds(number(row.get("edge_s"))), words.size(number(row.get("unused_bytes"))),
                words.seconds(number(row.get("unused_edge_s"))),
            )  # fmt: skip
    return grid


def _did(pair: became.Pair, scheme: SchemeRecord) -> tuple[str | Cell, str | Cell]:
    if pair.move is not None:
        return words.seconds(pair.move.at_s), _late(number(pair.move.raw.get("late_s")))
    died = None if pair.planned is None else scheme.died(pair.planned.device)
    if pair.planned is not None and died is not None and (pair.planned.at is None or pair.planned.at >= died):
        return Cell("its device had died", QUIET), Cell(words.DASH, QUIET)
    over = pair.planned is not None and pair.planned.at is not None and pair.planned.at > became.end(scheme)
    return (Cell("training had ended", QUIET) if over else Cell("not carried out", BAD)), Cell(words.DASH, QUIET)


def _late(late: float | None) -> str | Cell:
    return Cell(words.seconds(late), BAD if late is not None and late > LATE else "")
