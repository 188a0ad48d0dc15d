"""Tables about small data: what was trained on, what choosing it took, and whether the rule was worth it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.report import words
from testbed.report.grids import BAD, GOOD, Cell, Grid
from testbed.report.records import RunRecord, SchemeRecord, items, number, table, text


def rule_grid(record: RunRecord) -> Grid:
    """A row a scheme that selected its data: how much of it, by what, and accuracy against the random control."""
    grid = Grid(
        "Selection of data",
        ("scheme", "rule", "by", "share", "kept", "accuracy", "random", "against random"),
        note=" ".join(_notes(record)), names=3,
    )  # fmt: skip
    for scheme in record.schemes:
        found = scheme.selection
        if not found:
            continue
        control = record.scheme(text(found.get("control"), "?"))
        ours, theirs = scheme.final_accuracy, control.final_accuracy if control else None
        points = None if ours is None or theirs is None else 100 * (ours - theirs)
        grid.add(
            scheme.name, text(found.get("rule"), "?"), _by(found), words.percent(number(found.get("share")), 0),
            f"{words.plain(number(found.get('kept')))} of {words.plain(number(found.get('samples')))}",
            words.percent(ours), words.percent(theirs),
            Cell(words.DASH) if points is None else Cell(f"{points:+.1f} points", GOOD if points > 0 else BAD),
        )  # fmt: skip
    return grid


def device_grid(record: RunRecord) -> Grid:
    """A row a device and scheme: what is kept of each class, and what selecting it took."""
    grid = Grid(
        "What each device kept",
        ("device", "scheme", "kept", "of", "by class", "selection", "CPU", "of its training"),
        note="These counts are all that left a device of its selection. The last column holds the selection's time "
        "against the device's own time of work in all rounds.",
        names=2,
    )  # fmt: skip
    for scheme in record.schemes:
        for device, row in table(scheme.selection.get("devices")).items():
            one = table(row)
            grid.add(
                device, scheme.name, words.plain(number(one.get("kept"))), words.plain(number(one.get("samples"))),
                " ".join(words.plain(number(count)) for count in items(one.get("by_class"))),
                words.seconds(number(one.get("time_s"))), words.seconds(number(one.get("cpu_s"))),
                words.percent(number(one.get("of_compute")), 2),
            )  # fmt: skip
    return grid


def _by(found: Mapping[str, Any]) -> str:
    if not found.get("by"):
        return words.DASH
    return f"{text(found.get('by'))}, {'device half' if found.get('features') == 'half' else 'samples'}"


def _notes(record: RunRecord) -> list[str]:
    """What the table does not say by itself: whose control is whose, and where there is none."""
    said = []
    for scheme in record.schemes:
        if of := text(scheme.selection.get("control_of")):
            said.append(f"{scheme.name} is the control of {of}: as many samples, at random.")
        elif why := _uncontrolled(record, scheme):
            said.append(f"{scheme.name} has no random control: {why}.")
    return said


def _uncontrolled(record: RunRecord, scheme: SchemeRecord) -> str:
    control = text(scheme.selection.get("control"))
    if control and record.scheme(control) is None:
        return f"{control} was not run"
    return text(scheme.selection.get("no_control"))
