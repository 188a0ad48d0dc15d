"""What the report shows of a run of the serverless platform."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from nodes.events import Span
from testbed.report import html, placements, taskgrids
from testbed.report.compare import compare
from testbed.report.junit import cases
from testbed.report.load import load
from testbed.report.tables import print_summary

BEGIN = 500.0
FUNCTION = {
    "calls": 4, "cold": 1, "warm": 3, "failed": 0, "start_gb_s": 0.5, "work_gb_s": 2.0, "gb_s": 2.5, "cpu_s": 1.0,
    "sent": 1_000_000, "received": 0, "fetched": 20_000, "price": 0.25,
}  # fmt: skip
ROW = {
    "at_s": 4.0, "round": 1, "accuracy": 0.62, "predicted_s": 2.0, "measured_s": 2.5, "predicted_j": 3.0,
    "measured_j": 3.1, "cuts": {"phone": 2}, "decisions": 1,
}  # fmt: skip
TASK = {
    "state": "done", "reason": "all 1 rounds are done", "scheme": "fedfly", "model": "cnn", "data": "digits",
    "share": 0.3, "submitted_s": 0.0, "waited_s": 1.5, "took_s": 4.0, "deadline_s": 60.0, "rounds": 1, "rounds_done": 1,
    "accuracy": 0.62, "best": 0.62, "accuracy_by_round": [0.62], "round_rows": [ROW], "active_j": 3.1,
    "functions": {"train-device": FUNCTION, "train-edge": FUNCTION}, **FUNCTION, "calls": 8, "kept_sha256": "ab" * 32,
    "devices": {"phone": [{"round": 1, "time_s": 2.2, "batches": 5}]},
}  # fmt: skip
REFUSED = {"state": "refused", "reason": "best achievable 12 s", "rounds": 3, "rounds_done": 0, "round_rows": [],
           "functions": {}}  # fmt: skip


def call(node: str, begin: float, end: float, function: str, task: str = "digits", **attrs: object) -> Span:
    told = {"function": function, "fetch_s": 0.1, "start_s": 0.4, "cold": True, "owner": "phone", "kind": ""}
    return Span(kind="function", node=node, task=task, round=1, begin=BEGIN + begin, end=BEGIN + end,
                attrs=told | attrs)  # fmt: skip


SPANS = [
    call("phone", 1.0, 3.0, "train-device"), call("edge-north", 1.0, 3.0, "train-edge"),
    call("edge-north", 2.0, 3.5, "train-edge", owner="board"), call("cloud", 3.5, 3.8, "aggregate"),
    Span(kind="accuracy", node="cloud", task="digits", round=1, begin=BEGIN + 4, end=BEGIN + 4,
         attrs={"accuracy": 0.62}),
    Span(kind="handover", node="phone", begin=BEGIN + 2, end=BEGIN + 2, attrs={"to": "south"}),
]  # fmt: skip


@pytest.fixture
def record(tmp_path: Path):
    rows = [{"function": "train-device", "owner": "phone", "unit": "phone"},
            {"function": "train-edge", "owner": "phone", "unit": "edge-north"}]  # fmt: skip
    decided = {"at_s": 1.5, "task": "digits", "round": 1, "policy": "greedy", "objective": 2.2, "predicted_s": 2.0,
               "cuts": {"phone": 2}, "rows": rows, "unmet": [], "decided_s": 0.004}  # fmt: skip
    summary = {
        "run": "serverless-1", "experiment": "serverless", "scheme": "platform", "verdict": "ok", "reasons": [],
        "rounds": 1, "seed": 1, "begin": BEGIN, "duration_s": 6.0, "tasks": {"digits": TASK, "late": REFUSED},
        "placements": [decided, decided | {"task": "late", "rows": [], "unmet": ["deadline"], "predicted_s": None}],
        "predictions": {"rounds_s": 1, "error_s_mean": 0.25},
        "nodes": {"phone": {"kind": "device"}, "edge-north": {"kind": "edge"}, "cloud": {"kind": "cloud"}},
    }  # fmt: skip
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    encoder = msgspec.json.Encoder()
    (tmp_path / "events.jsonl").write_bytes(b"".join(encoder.encode(span) + b"\n" for span in SPANS))
    return load(tmp_path)


def text(grid) -> list[list[str]]:
    return [[cell.text for cell in row] for row in grid.rows]


def test_tasks_have_a_row_each_with_what_became_of_them(record):
    done, refused = text(taskgrids.task_grid(record))
    assert done[:6] == ["digits", "done", "all 1 rounds are done", "fedfly", "cnn", "digits, 30%"]
    assert "1/1" in done
    assert refused[:3] == ["late", "refused", "best achievable 12 s"]


def test_what_was_predicted_stands_beside_what_was_measured(record):
    ((task, number, cuts, *seconds),) = text(taskgrids.round_grid(record))
    assert (task, number, cuts) == ("digits", "1", "phone 2")
    assert seconds[2].startswith("+25"), "2.5 s for 2 s"
    marks = [cell.mark for cell in taskgrids.round_grid(record).rows[0]]
    assert marks.count("bad") == 1, "3 per cent of energy are within what is tolerated"
    assert "off by 25" in taskgrids.round_grid(record).note


def test_what_tasks_cost_is_told_by_function_and_in_all(record):
    rows = text(taskgrids.cost_grid(record))
    assert [row[:3] for row in rows] == [
        ["digits", "train-device", "4"], ["digits", "train-edge", "4"], ["digits", "all", "8"],
    ]  # fmt: skip


def test_decisions_say_who_does_what_or_what_is_in_the_way(record):
    first, second = text(taskgrids.placement_grid(record))
    assert first[3] == "train-device on phone cut at 2; train-edge of phone on edge-north"
    assert second[3] == "no place: deadline"


def test_invocations_at_once_have_lanes_of_their_own(record):
    found = placements.lanes(SPANS[:4])
    assert found == {0: ("phone", 0), 1: ("edge-north", 0), 2: ("edge-north", 1), 3: ("cloud", 0)}
    drawn = placements.placement_plot(record)
    assert "edge-north: train-edge 2 times" in drawn
    assert "train-device" in drawn


def test_the_page_and_the_terminal_have_the_tasks(record):
    page = html.render(record)
    for title in ("Tasks", "Placement over time", "Cost by task"):
        assert f">{title}<" in page
    assert "Accuracy after each round" not in page, "rounds are those of one task"
    out = io.StringIO()
    print_summary(record, Console(file=out, width=100))
    assert "refused" in out.getvalue()


def test_a_ci_sees_which_tasks_were_not_done(record):
    found = {case.name: case.problem for case in cases(record) if case.group == "platform.tasks"}
    assert found == {"digits": "", "late": "task late is refused: best achievable 12 s"}


def test_a_move_is_done_where_nobody_trains_or_the_task_is_done(tmp_path, record):
    """Rounds go on elsewhere: nobody has to train on the device again."""
    move = {"device": "phone", "from": "north", "to": "south", "strategy": "none", "at_s": 99.0}
    content = json.loads((tmp_path / "summary.json").read_text())
    content["tasks"]["given-up"] = REFUSED | {"state": "failed"}
    content["moves"] = [move | {"task": task} for task in (None, "digits", "given-up")]
    (tmp_path / "summary.json").write_text(json.dumps(content))
    (scheme,) = load(tmp_path).schemes
    assert [scheme.went_on(one) for one in scheme.moves] == [True, True, False]


def test_decisions_that_are_not_shown_are_told_of(record, monkeypatch):
    monkeypatch.setattr(taskgrids, "_MOST", 1)
    grid = taskgrids.placement_grid(record)
    assert len(grid.rows) == 1
    assert "first 1 of 2 decisions" in grid.note


def test_two_runs_are_compared_task_by_task(record, tmp_path):
    found = compare(tmp_path, tmp_path)
    assert [pair.a for pair in found.schemes] == ["digits", "late"]
    assert found.schemes[0].equal_digest
    assert [row.device for row in found.schemes[0].rounds] == ["phone"]
    assert not found.schemes[1].equal_digest, "it has no model"


def test_what_tasks_took_of_devices_is_compared_too(record, tmp_path):
    content = json.loads((tmp_path / "summary.json").read_text())
    content["tasks"]["digits"]["energy"] = {"phone": {"active_j": 3.1}}
    (tmp_path / "summary.json").write_text(json.dumps(content))
    done, refused = compare(tmp_path, tmp_path).schemes
    assert (done.active_j_a, done.active_j_b) == (3.1, 3.1)
    assert refused.active_j_a is None, "of it nothing is known"


def test_a_run_without_tasks_has_none_of_it(both):
    record = load(both)
    assert placements.placement_plot(record) is None
    assert placements.accuracy_plot(record) is None
    assert not taskgrids.task_grid(record).rows
    assert ">Placement over time<" not in html.render(record)
