"""The platform's run with an orchestrator that is played: tasks come, are told, cancelled, refused, and end."""

from __future__ import annotations

import io
import json
import threading
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest
from rich.console import Console

from nodes.events import Span
from nodes.wire import control as ctl
from nodes.wire.jobs import Status
from testbed.emulation.calibrate import Gap
from testbed.errors import InputError, NodeError
from testbed.experiment.changes import Move
from testbed.experiment.taskplan import OwnFunction, PlatformPlan
from testbed.run import deaths
from testbed.run import replay as replaying
from testbed.run.live import Live
from testbed.run.platform import desk, jobs, running, summary, training
from testbed.run.platform.running import PlatformRun
from testbed.run.record import EventLog
from tests.unit.run import platforms
from tests.unit.run.platforms import MIB, Orchestra


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a plan; returns the outcome. ``control`` is the orchestra, ``during`` is called with it in a thread."""
    monkeypatch.setattr(running, "Watch", platforms.Watch)
    monkeypatch.setattr(running, "_MEET_S", 0.0)
    monkeypatch.setattr(running, "_SETTLE_S", 0.05)
    monkeypatch.setattr(replaying, "_AFTER_S", 0.0)
    monkeypatch.setattr(replaying, "measure_gap", lambda _: nullcontext(Gap(0.0, 0)))
    monkeypatch.setattr(replaying.targets, "gap", lambda *_: None)

    def go(plan, control, *, during=None, lost=None, stop=None, live=None):
        session = platforms.session(plan, tmp_path, control)
        session.live = live or session.live
        session.lost.update(lost or {})
        log = EventLog(tmp_path / "events.jsonl")
        known = {task.name: platforms.known(plan, task) for task in plan.tasks}
        made = PlatformRun(session, known, log, stop or platforms.stop())
        helper = None
        if during is not None:
            helper = threading.Thread(target=during, args=(session,))
            helper.start()
        outcome = made.run()
        if helper is not None:
            helper.join(timeout=10)
        log.close()
        outcome.log = log
        return outcome

    return go


def ask(session, **request):
    """As the command line does, of the run in this directory."""
    path = session.directory / desk.NAME
    until = time.monotonic() + 5
    while not path.exists() and time.monotonic() < until:
        threading.Event().wait(0.01)
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.settimeout(10)
        other.connect(str(path))
        other.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(other.makefile().readline())


def test_tasks_come_in_their_time_and_the_run_ends_with_the_last(run):
    plan = platforms.plan(platforms.task(), platforms.task("later", comes=(("later-2", 0.1), ("later-1", 0.3))))
    control = Orchestra()
    outcome = run(plan, control)
    assert outcome.failure is None
    assert not outcome.interrupted
    entries = outcome.book.entries
    assert list(entries) == ["digits", "later-2", "later-1"]
    assert [entry.status.state for entry in entries.values()] == ["done"] * 3
    assert entries["later-1"].submitted >= 0.3
    assert [node for node, _ in control.said(ctl.Submit)] == ["cloud"] * 3
    begun = [type(message) for _, message in control.sent[: len(plan.nodes) + 1]]
    assert set(begun[:-1]) == {ctl.Afresh}, "units have nothing of others' tasks"
    assert begun[-1] == ctl.Platform, "and all that before the first task"
    first = [type(message) for _, message in control.sent].index(ctl.Submit)
    before = control.sent[:first]
    assert {node for node, message in before if isinstance(message, ctl.Radio)} == {"dev-1", "dev-2"}
    assert [(node, message.left_j) for node, message in before if isinstance(message, ctl.Battery)] == [
        ("dev-1", pytest.approx(240.0, abs=1.0))
    ]
    kinds = [span.kind for span in outcome.log.spans]
    assert kinds.count("accuracy") == 6
    assert {span.task for span in outcome.log.spans if span.kind == "accuracy"} == set(entries)


def test_tasks_that_are_refused_or_fail_are_results_and_others_go_on(run):
    def play(job):
        if job.name == "bad":
            return [ctl.JobStatus(Status(name="bad", state="refused", reason="best achievable 12 s"))]
        return platforms.well(job)

    plan = platforms.plan(platforms.task("bad"), platforms.task("good", comes=(("good", 0.1),)))
    outcome = run(plan, Orchestra(play))
    assert outcome.failure is None
    assert {name: entry.status.state for name, entry in outcome.book.entries.items()} == {
        "bad": "refused", "good": "done",
    }  # fmt: skip
    rows = summary.tasks(plan, outcome.book, outcome.log.spans, training.Rates(plan, (), outcome.begin), outcome.begin)
    assert rows["bad"]["reason"] == "best achievable 12 s"
    assert rows["bad"]["rounds_done"] == 0
    assert rows["bad"]["accuracy"] is None


def test_who_waits_for_nothing_waits_as_long_as_was_asked_for(run):
    plan = replace(platforms.plan(platforms.task(comes=())), platform=PlatformPlan(linger=0.6))
    begin = time.monotonic()
    said = io.StringIO()
    outcome = run(plan, Orchestra(), live=Live(console=Console(file=said, width=200)))
    assert time.monotonic() - begin >= 0.6
    assert outcome.book.entries == {}
    assert "no task came" in said.getvalue()


def test_tasks_are_submitted_told_of_and_cancelled_while_others_run(run):
    answers = {}

    def play(job):
        return [platforms.running(job)] if job.name == "digits" else platforms.well(job)

    def during(session):
        answers["again"] = ask(session, do="submit", name="digits")
        answers["status"] = ask(session, do="status")
        answers["unknown"] = ask(session, do="submit", name="digit")
        answers["none"] = ask(session, do="sing")
        answers["to come"] = ask(session, do="cancel", task="late")
        answers["nobody"] = ask(session, do="cancel", task="digits-9")
        answers["cancel"] = ask(session, do="cancel", task="digits")

    plan = platforms.plan(platforms.task(), platforms.task("late", comes=(("late", 60.0),)))
    outcome = run(plan, Orchestra(play), during=during)
    assert answers["again"]["submitted"] == ["digits-2"]
    rows = {row["task"]: row for row in answers["status"]["tasks"]}
    assert rows["digits"]["state"] in ("queued", "running")
    assert rows["late"]["state"] == "to come"
    assert "did you mean 'digits'" in answers["unknown"]["error"]["remedy"]
    assert answers["unknown"]["exit_code"] == 2
    assert "submit, status, cancel" in answers["none"]["error"]["wanted"]
    assert answers["to come"] == {"cancelled": "late", "was": "to come"}
    assert answers["cancel"]["was"] == "running"
    assert "no task 'digits-9'" in answers["nobody"]["error"]["message"]
    assert {n: e.status.state for n, e in outcome.book.entries.items()} == {"digits": "cancelled", "digits-2": "done"}


def test_a_device_moves_and_its_modem_says_so(run):
    def play(job):
        return [platforms.running(job)]

    def during(session):
        until = time.monotonic() + 5
        while len([node for node, _ in session.control.said(ctl.Radio) if node == "dev-1"]) < 2:
            assert time.monotonic() < until
            threading.Event().wait(0.02)
        ask(session, do="cancel", task="digits")

    plan = platforms.plan(platforms.task(), moves=(Move("dev-1", "south", at=0.1),), lead=0.05)
    control = Orchestra(play)
    outcome = run(plan, control, during=during)
    notices = [message for node, message in control.said(ctl.Notice) if node == "dev-1"]
    assert [(one.task, one.edge, one.done) for one in notices] == [("", "edge-south", False), ("", "edge-south", True)]
    radios = [(message.up, message.down) for node, message in control.said(ctl.Radio) if node == "dev-1"]
    assert radios == [(20e6, 40e6), (10e6, 30e6)], "at north, then at south"
    assert [(one.device, one.to) for one in outcome.moves] == [("dev-1", "south")]
    assert outcome.notes == []


def test_who_has_died_is_told_to_all_and_the_run_goes_on(run):
    gone = {"edge-south": deaths.Death(time.monotonic(), "died (exit code 137)")}
    control = Orchestra()
    outcome = run(platforms.plan(), control, lost=gone)
    assert control.said(ctl.Died) == [("", ctl.Died("", "edge-south"))]
    assert outcome.failure is None
    assert "nobody had asked for" in outcome.notes[0]
    assert outcome.recovery["deaths"][0]["node"] == "edge-south"


def test_a_platform_that_stands_still_ends_the_run_and_says_what_waits(run, monkeypatch):
    plan = platforms.plan(tolerances=replace(platforms.plan().tolerances, round_deadline=0.3))
    outcome = run(plan, Orchestra(lambda job: [platforms.running(job)]))
    assert isinstance(outcome.failure, NodeError)
    assert "digits (running)" in outcome.failure.found


def test_a_unit_that_cannot_go_on_ends_the_run(run):
    outcome = run(platforms.plan(), Orchestra(lambda job: [ctl.Failed("a defect")]))
    assert isinstance(outcome.failure, NodeError)
    assert "a defect" in outcome.failure.message


def test_who_hangs_is_given_the_time_that_an_invocation_may_take(tmp_path):
    """Else the run would end before the function does, and its task with it."""
    plan = platforms.plan()
    session = platforms.session(plan, tmp_path, Orchestra())
    known = platforms.known(plan, plan.tasks[0])
    made = PlatformRun(session, {"digits": known}, None, platforms.stop())
    entry = made._book.open("digits", known, 0.0)
    job = jobs.job(known, "digits")
    idle = made._patience()
    entry.placements.append((0.0, platforms.placed(job, seconds=1.0)))
    assert made._patience() - idle == pytest.approx(4 * 1 + 60)
    entry.placements.append((0.0, platforms.placed(job, seconds=float("inf"))))
    entry.placements.append((1.0, platforms.placed(job, seconds=200.0)))
    assert made._patience() - idle == pytest.approx(4 * 200 + 60)
    entry.states.append((2.0, Status(name="digits", state="failed")))
    assert made._patience() == idle


def test_a_users_function_has_the_time_that_it_declares(tmp_path):
    """Also one that its task's prediction knows nothing of, and in a run that is slowed down."""
    plain = platforms.plan()
    replaced = {"aggregate": OwnFunction(30.0, 96 * MIB), "evaluate": OwnFunction(900.0, 96 * MIB)}
    own = PlatformPlan(functions="my.py", replaced=replaced)
    patience = {}
    for name, plan in {"built in": plain, "own": replace(plain, platform=own)}.items():
        session = platforms.session(plan, tmp_path, Orchestra())
        session.real = replace(plan, dilation=2.0)
        made = PlatformRun(session, {"digits": platforms.known(plan, plan.tasks[0])}, None, platforms.stop())
        patience[name] = made._patience()
    assert patience["own"] - patience["built in"] == pytest.approx(2 * 900)


def test_a_reason_may_have_brackets_in_it(run):
    """A function may raise with anything: that is told as it is, and not taken for a style."""
    why = "ValueError: [/dim] shape [batch, 10]"

    def play(job):
        return [ctl.JobStatus(Status(name=job.name, state="failed", reason=why))]

    said = io.StringIO()
    live = Live(console=Console(file=said, width=200))
    outcome = run(platforms.plan(), Orchestra(play), live=live)
    assert outcome.failure is None
    assert outcome.book.entries["digits"].status.reason == why
    assert why in said.getvalue()


def test_a_request_that_cannot_be_carried_out_ends_no_run(run, monkeypatch):
    answers = {}

    def broken(known, name, sources):
        if name == "late":
            raise KeyError("dev-9")
        return made(known, name, sources)

    made = jobs.job
    monkeypatch.setattr(jobs, "job", broken)

    def during(session):
        answers["late"] = ask(session, do="submit", name="late")
        answers["status"] = ask(session, do="status")
        ask(session, do="cancel", task="digits")

    plan = platforms.plan(platforms.task(), platforms.task("late", comes=()))
    outcome = run(plan, Orchestra(lambda job: [platforms.running(job)]), during=during)
    assert outcome.failure is None
    assert "KeyError" in answers["late"]["error"]["found"]
    assert [row["task"] for row in answers["status"]["tasks"]] == ["digits"], "nobody waits for what was not submitted"


def test_an_interruption_ends_it_in_order(run):
    stop = threading.Event()
    outcome = run(platforms.plan(), Orchestra(lambda job: [stop.set(), platforms.running(job)][1:]), stop=stop)
    assert outcome.interrupted
    assert outcome.failure is None
    assert outcome.book.entries["digits"].status.state in ("queued", "running")


def test_the_summary_adds_up(run):
    plan = platforms.plan()
    outcome = run(plan, Orchestra())
    rates = training.Rates(plan, (), outcome.begin)
    row = summary.tasks(plan, outcome.book, outcome.log.spans, rates, outcome.begin)["digits"]
    assert (row["state"], row["rounds_done"], row["kept_sha256"]) == ("done", 2, "k" * 64)
    assert row["accuracy_by_round"] == pytest.approx([0.6, 0.7])
    assert row["best"] == pytest.approx(0.7)
    functions = row["functions"]
    assert functions["aggregate"]["gb_s"] == pytest.approx(2 * 0.4 * 2.0)
    assert functions["aggregate"]["price"] == pytest.approx(2 * 0.8 * 2.0), "2 a GB-second in the cloud"
    assert functions["aggregate"]["fetched"] == 1_000_000
    assert (row["calls"], row["cold"], row["warm"], row["sent"]) == (4, 4, 0, 2_000_000)
    sent = 8 * 1e6 / (1448 / 1514) / 20e6
    assert row["energy"]["dev-1"]["send_j"] == pytest.approx(2 * 1.6 * sent)
    assert row["active_j"] == pytest.approx(row["energy"]["dev-1"]["active_j"])
    first = row["round_rows"][0]
    assert (first["predicted_s"], first["predicted_j"], first["cuts"]) == (2.0, 3.0, {"dev-1": 2, "dev-2": 1})
    assert first["measured_j"] == pytest.approx(row["active_j"] / 2)
    placements = summary.placements(outcome.book)
    assert [one["round"] for one in placements] == [1, 2]
    assert placements[0]["rows"][-1] == {"function": "aggregate", "owner": "", "unit": "cloud"}
    assert json.dumps(placements)
    bill = summary.charges(plan, outcome.book)
    assert bill["calls"] == 4
    assert set(bill["units"]) == {"dev-1", "cloud"}
    found = summary.predictions({"digits": row})
    assert found["rounds_j"] == 2
    assert found["error_j_mean"] == pytest.approx(abs(3.0 / first["measured_j"] - 1))
    pairs = ((2.0, 1.0), (2.0, 4.0), (2.0, None))
    rounds = [{"predicted_s": a, "measured_s": b, "predicted_j": None, "measured_j": b} for a, b in pairs]
    found = summary.predictions({"digits": {"round_rows": rounds}})
    assert (found["rounds_s"], found["error_s_mean"], found["error_s_worst"]) == (2, 0.75, 1.0)
    assert (found["rounds_j"], found["error_j_mean"]) == (0, None)


def test_pacing_of_invocations_adds_up_by_node(run):
    def play(job):
        told = {"steps": 10, "late": 1, "dropped_s": 0.0, "asked_s": 2.0, "took_s": 2.5}
        found = platforms.well(job)
        found[2:2] = [platforms.charged(job, "train-device", "dev-1", values={"pacing": told}) for _ in range(2)]
        return found

    outcome = run(platforms.plan(), Orchestra(play))
    found = training.pacing(outcome, platforms.VirtualTime())
    assert found["dev-1"].steps == 20
    assert found["dev-1"].took_s == pytest.approx(5.0)


def test_pacing_is_taken_from_no_users_words(run):
    def play(job):
        found = platforms.well(job)
        odd = {"steps": "many", "asked_s": float("nan"), "took_s": 2.0, "late": None}
        found[2:2] = [platforms.charged(job, "train-device", "dev-1", values={"pacing": odd})]
        return found

    found = training.pacing(run(platforms.plan(), Orchestra(play)), platforms.VirtualTime())
    assert (found["dev-1"].steps, found["dev-1"].asked_s, found["dev-1"].took_s) == (0, 0.0, 2.0)


def test_choosing_data_counts_in_the_round_that_it_was_done_for(run):
    """As it is predicted; its event says of no round."""
    def play(job):
        found = platforms.well(job)
        found[2:2] = [platforms.charged(job, "select-data", "dev-1")]
        return found

    plan = platforms.plan()
    outcome = run(plan, Orchestra(play))
    at = outcome.begin + next(at for at, one in outcome.book.entries["digits"].charges if one.function == "select-data")
    chose = Span(kind="select", node="dev-1", task="digits", begin=at - 2.0, end=at - 0.001, attrs={"device": "dev-1"})
    trained = [Span(kind="forward", node="dev-1", task="digits", round=n, begin=at + n, end=at + n + 0.5)
               for n in (1, 2)]  # fmt: skip
    rates = training.Rates(plan, (), outcome.begin)
    row = summary.tasks(plan, outcome.book, [chose, *trained], rates, outcome.begin)["digits"]
    first, second = row["round_rows"]
    per_s = row["energy"]["dev-1"]["compute_j"] / row["energy"]["dev-1"]["busy_s"]
    assert first["measured_j"] - second["measured_j"] == pytest.approx(1.999 * per_s)
    assert first["measured_j"] + second["measured_j"] == pytest.approx(row["active_j"])


def test_a_desk_of_nobody_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("ROAMBED_RUN_DIR", str(tmp_path))
    with pytest.raises(InputError, match="no run takes tasks"):
        desk.ask(None, {"do": "status"})


def test_a_model_that_has_come_apart_has_no_score(run):
    def play(job):
        nan = float("nan")
        done = Status(name=job.name, state="done", accuracy=nan, best=nan)
        return [
            platforms.running(job), platforms.placed(job, seconds=float("inf")),
            ctl.RoundDone(job.name, 1, nan, float("inf")), ctl.Kept(job.name, "k", nan), ctl.JobStatus(done),
        ]  # fmt: skip

    plan = platforms.plan()
    outcome = run(plan, Orchestra(play))
    rates = training.Rates(plan, (), outcome.begin)
    rows = summary.tasks(plan, outcome.book, outcome.log.spans, rates, outcome.begin)
    everything = [rows, summary.placements(outcome.book), summary.predictions(rows), outcome.book.rows()]
    assert json.dumps(everything, allow_nan=False)
    assert rows["digits"]["accuracy_by_round"] == [None]
