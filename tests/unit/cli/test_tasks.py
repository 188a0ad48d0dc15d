"""``submit``, ``status`` and ``cancel``: what is asked of the run, and what is shown of its answer."""

from __future__ import annotations

import importlib
import json
import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed.errors import InputError, RoambedError
from testbed.run.platform import desk
from testbed.run.platform.desk import Desk

ROWS = [{"task": "digits", "state": "running", "round": 1, "rounds": 3, "accuracy": 0.5, "best": 0.5, "since_s": 2.0,
         "submitted_s": 0.0, "reason": ""},
        {"task": "late", "state": "to come", "round": 0, "rounds": None, "accuracy": None, "best": None,
         "since_s": None, "submitted_s": None, "reason": "comes at 9.0 s"}]  # fmt: skip


@pytest.fixture(scope="module")
def app():
    main = importlib.import_module("testbed.cli.main")  # the package has a function of that name
    if not main.app.registered_commands:
        main._wire()
    return main.app


@pytest.fixture
def asked(monkeypatch):
    found = []
    answers = {"submit": {"submitted": ["digits-2"], "at_s": 3.21}, "status": {"at_s": 3.2, "tasks": ROWS},
               "cancel": {"cancelled": "digits", "was": "running"}}  # fmt: skip

    def ask(run, request):
        found.append((run, request))
        return answers[request["do"]]

    monkeypatch.setattr(desk, "ask", ask)
    return found


def test_a_name_is_submitted_by_its_name_and_a_file_by_its_path(app, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "submitted digits-2 at 3.2 s" in CliRunner().invoke(app, ["submit", "digits", "--to", "r-1"]).output
    CliRunner().invoke(app, ["submit", "more.yaml"])
    assert asked == [
        ("r-1", {"do": "submit", "name": "digits"}),
        (None, {"do": "submit", "file": str(tmp_path / "more.yaml")}),
    ]


def test_a_name_of_any_length_is_one(app, asked):
    shown = CliRunner().invoke(app, ["submit", "a" * 5000])
    assert shown.exit_code == 0, shown.exception
    assert asked == [(None, {"do": "submit", "name": "a" * 5000})]


def test_status_shows_a_reason_as_it_is(app, asked, monkeypatch):
    """What a function raised may look like a style."""
    odd = [ROWS[0] | {"state": "failed", "reason": "[/red] of [batch]"}]
    monkeypatch.setattr(desk, "ask", lambda *_: {"at_s": 3.2, "tasks": odd})
    shown = CliRunner().invoke(app, ["status"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0, shown.exception
    assert "[/red] of [batch]" in shown.output


def test_status_shows_each_task(app, asked):
    shown = CliRunner().invoke(app, ["status", "r-1"], env={"COLUMNS": "120"}).output
    assert "50.0%" in shown
    assert "comes at 9.0 s" in shown
    assert json.loads(CliRunner().invoke(app, ["status", "--format", "json"]).output)["tasks"] == ROWS


def test_a_task_is_cancelled(app, asked):
    assert "digits is cancelled (it was running)" in CliRunner().invoke(app, ["cancel", "digits", "r-1"]).output
    assert asked == [("r-1", {"do": "cancel", "task": "digits"})]


def test_the_run_may_be_named_by_the_environment(app, asked):
    for words in (["submit", "digits"], ["status"], ["cancel", "digits"]):
        CliRunner().invoke(app, words, env={"ROAMBED_RUN": "r-7"})
    assert [run for run, _ in asked] == ["r-7"] * 3


# --- the desk ---


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A run's directory with a desk's socket; returns where it is."""
    path = tmp_path / desk.NAME
    monkeypatch.setattr(desk, "_found", lambda _: path)
    return path


def serve(made: Desk, answer) -> threading.Thread:
    def run() -> None:
        answer(made.requests.get(timeout=10))

    helper = threading.Thread(target=run)
    helper.start()
    return helper


def test_a_request_is_prepared_handed_over_and_answered(place):
    made = Desk(place, lambda content: {"ready": content["name"]})
    try:
        helper = serve(made, lambda one: one.answer({"got": one.prepared, "do": one.content["do"]}))
        assert desk.ask("r", {"do": "submit", "name": "x"}) == {"got": {"ready": "x"}, "do": "submit"}
        helper.join(timeout=10)
        assert place.stat().st_mode & 0o777 == 0o600
    finally:
        made.close()
    assert not place.exists()


def test_an_error_comes_through_as_it_is(place):
    def refuse(_: object) -> None:
        raise InputError("no such task", wanted="digits", found="digit", where="more.yaml:3", remedy="look")

    made = Desk(place, refuse)
    try:
        with pytest.raises(RoambedError) as caught:
            desk.ask("r", {"do": "submit"})
    finally:
        made.close()
    error = caught.value
    assert (error.message, error.wanted, error.found, error.where, error.remedy) == (
        "no such task", "digits", "digit", "more.yaml:3", "look",
    )  # fmt: skip
    assert error.exit_code == InputError.exit_code


def test_a_defect_of_one_request_does_not_end_the_desk(place):
    def broken(content: dict) -> object:
        return 1 / content["by"]

    made = Desk(place, broken)
    try:
        with pytest.raises(RoambedError, match="cannot be carried out"):
            desk.ask("r", {"by": 0})
        helper = serve(made, lambda one: one.answer({"half": one.prepared}))
        assert desk.ask("r", {"by": 2}) == {"half": 0.5}
        helper.join(timeout=10)
    finally:
        made.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\n"])
def test_what_is_no_request_is_refused(place, line):
    made = Desk(place)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.settimeout(10)
            other.connect(str(place))
            other.sendall(line)
            answer = json.loads(other.makefile().readline())
    finally:
        made.close()
    assert answer["error"]["message"] == "a request that is none"


def test_a_run_that_is_over_takes_no_more(place):
    made = Desk(place)
    made.close()
    made.close()
    with pytest.raises(InputError, match="takes no tasks any more"):
        desk.ask("r", {"do": "status"})


def test_a_request_that_comes_as_the_run_ends_is_told_so(place):
    """After whoever closes has looked for those that wait, and before it is known that nobody takes any more."""
    made = Desk(place)
    taken = made.requests

    class Late:
        get_nowait = staticmethod(taken.get_nowait)

        @staticmethod
        def put(asked):
            made._over.set()
            taken.put(asked)

    made.requests = Late()
    try:
        with pytest.raises(RoambedError, match="the run is over"):
            desk.ask("r", {"do": "status"}, patience=10)
    finally:
        made.close()


def test_a_run_without_tasks_has_no_desk(tmp_path, monkeypatch):
    monkeypatch.setenv("ROAMBED_RUN_DIR", str(tmp_path))
    with pytest.raises(InputError, match="no run takes tasks"):
        desk.ask(None, {"do": "status"})
    assert not list(Path(tmp_path).iterdir())
