"""Tables of the serverless platform: what became of tasks, what was decided, predicted and measured, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from testbed.report import words
from testbed.report.grids import BAD, GOOD, QUIET, Cell, Grid
from testbed.report.records import RunRecord, SchemeRecord, items, number, table, text, whole

_MARKS = {"done": GOOD, "failed": BAD, "refused": BAD}
_OFF = 0.15
"""A prediction that missed by more is marked."""
_MOST = 200
"""Decisions that are told one by one."""


def task_grid(record: RunRecord) -> Grid:
    """A row a task: how far it came, how long it waited and took, what it drew and cost."""
    grid = Grid(
        "Tasks",
        ("task", "state", "why", "scheme", "model", "data", "came", "waited", "took", "deadline", "rounds", "accuracy",
         "best", "active energy", "cost"),
        note="Waited: from when it came to when its first round was placed. Active energy: of devices, by the task's "
        "own work, messages and weights. Cost: of its invocations and what they sent, in the money of the profiles.",
        names=6,
    )  # fmt: skip
    for _, name, task in _tasks(record):
        state, share = text(task.get("state"), words.DASH), number(task.get("share"))
        data = text(task.get("data"), words.DASH) + (f", {share:.0%}" if share is not None and share < 1 else "")
        grid.add(
            name, Cell(state, _MARKS.get(state, "")), Cell(text(task.get("reason")), QUIET), text(task.get("scheme")),
            text(task.get("model")), data, words.seconds(number(task.get("submitted_s"))),
            *(words.seconds(number(task.get(key))) for key in ("waited_s", "took_s", "deadline_s")),
            f"{words.plain(whole(task.get('rounds_done')))}/{words.plain(whole(task.get('rounds')))}",
            words.percent(number(task.get("accuracy"))), words.percent(number(task.get("best"))),
            words.joules(number(task.get("active_j"))), words.plain(number(task.get("price")), 3),
        )  # fmt: skip
    return grid


def round_grid(record: RunRecord) -> Grid:
    """Each round: predicted when it was decided about, and measured."""
    grid = Grid(
        "Predicted and measured",
        ("task", "round", "cuts", "predicted", "measured", "off", "predicted energy", "measured", "off", "decisions"),
        note="Seconds from the decision to the end of the evaluation. Energy: active, of devices. Cuts: layers that "
        "stay on each device. Decisions: more than one where something changed within the round."
        + _overall(record),
    )  # fmt: skip
    for _, name, task in _tasks(record):
        for row in items(task.get("round_rows")):
            one = table(row)
            cells: list[str | Cell] = []
            for key, say in (("s", words.seconds), ("j", words.joules)):
                asked, got = number(one.get(f"predicted_{key}")), number(one.get(f"measured_{key}"))
                off = got / asked - 1 if asked and got is not None else None
                mark = BAD if off is not None and abs(off) > _OFF else ""
                cells += [say(asked), say(got), Cell(words.percent(off, sign=True), mark)]
            cuts = ", ".join(f"{device} {cut}" for device, cut in table(one.get("cuts")).items())
            grid.add(name, words.plain(whole(one.get("round"))), Cell(cuts, QUIET), *cells,
                     words.plain(whole(one.get("decisions"))))  # fmt: skip
    return grid


def cost_grid(record: RunRecord) -> Grid:
    """By task and function: invocations, cold starts, GB-seconds, bytes, and what that costs."""
    grid = Grid(
        "Cost by task",
        ("task", "function", "calls", "cold", "failed", "GB-seconds", "of these starting", "CPU", "sent", "fetched",
         "cost"),
        note="A GB-second is a GB (1e9 bytes) reserved for an instance during a second, while it worked or was started "
        "for it. Sent: bytes of activations, gradients and states. Fetched: weights, from other units' stores; what "
        "they cost their senders is in the table of nodes.",
        names=2,
    )  # fmt: skip
    for _, name, task in _tasks(record):
        functions = table(task.get("functions"))
        for function, row in functions.items():
            grid.add(name, function, *_charged(table(row)))
        if len(functions) > 1:
            grid.add(Cell(name), Cell("all", QUIET), *_charged(task))
    return grid


def placement_grid(record: RunRecord) -> Grid:
    """What was decided, in order of time."""
    more = max((len(scheme.placements) for scheme in record.schemes), default=0)
    grid = Grid(
        "Decisions", ("at", "task", "round", "who does what", "objective", "predicted", "decided in"),
        note="Objective: what the policy counts the placement as, by the weights of the experiment."
        + (f" The first {_MOST} of {more} decisions; summary.json has all." if more > _MOST else ""),
    )  # fmt: skip
    for scheme in record.schemes:
        for one in scheme.placements[:_MOST]:
            unmet = ", ".join(map(str, items(one.get("unmet"))))
            does: str | Cell = Cell(f"no place: {unmet}", BAD) if unmet else _rows(one)
            took = number(one.get("decided_s"))
            grid.add(
                words.seconds(number(one.get("at_s"))), text(one.get("task")), words.plain(whole(one.get("round"))),
                does, words.plain(number(one.get("objective")), 3), words.seconds(number(one.get("predicted_s"))),
                words.millis(took),
            )  # fmt: skip
    return grid


def _tasks(record: RunRecord) -> Iterator[tuple[SchemeRecord, str, Mapping[str, Any]]]:
    for scheme in record.schemes:
        for name, task in scheme.tasks.items():
            yield scheme, name, task


def _overall(record: RunRecord) -> str:
    for scheme in record.schemes:
        mean, count = number(scheme.predictions.get("error_s_mean")), whole(scheme.predictions.get("rounds_s"))
        if mean is not None and count:
            return f" Over all {count} rounds seconds were off by {words.percent(mean)} on average."
    return ""


def _charged(row: Mapping[str, Any]) -> list[str]:
    return [
        *(words.plain(whole(row.get(key))) for key in ("calls", "cold", "failed")),
        *(words.plain(number(row.get(key)), 3) for key in ("gb_s", "start_gb_s")),
        words.seconds(number(row.get("cpu_s"))),
        *(words.size(number(row.get(key))) for key in ("sent", "fetched")), words.plain(number(row.get("price")), 3),
    ]  # fmt: skip


def _rows(one: Mapping[str, Any]) -> str:
    cuts, said = table(one.get("cuts")), []
    for row in items(one.get("rows")):
        function, owner, unit = (text(table(row).get(key)) for key in ("function", "owner", "unit"))
        cut = f" cut at {cuts[owner]}" if owner in cuts and function == "train-device" else ""
        said.append(f"{function} of {owner} on {unit}" if owner and owner != unit else f"{function} on {unit}{cut}")
    return "; ".join(said)
