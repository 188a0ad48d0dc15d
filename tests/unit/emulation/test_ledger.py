"""The ledger: who holds it, what it says, and what becomes of it after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.emulation import rundirs
from testbed.emulation.ledger import Entry, Ledger
from testbed.emulation.process import Process
from testbed.errors import EmulationError, EnvironmentProblem, InputError

HOLD = """
import sys, signal
from testbed.emulation.ledger import Ledger
book = Ledger.create(sys.argv[1])
book.add("container", "rb-x-y")
print("holding", flush=True)
signal.pause()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROAMBED_RUN_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, "other"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "holding\n"
        yield child
        child.kill()


def test_a_ledger_tells_what_was_written(here: Path) -> None:
    with Ledger.create("run-1") as book:
        book.add("container", "rb-run-1-dev")
        book.add("netns", "rb-run-1")
        entries = Ledger.open("run-1").entries()
        assert entries[0] == Entry(
            "process", "controller", os.getpid(), entries[0].start, os.readlink("/proc/self/exe")
        )
        assert entries[1:] == [Entry("container", "rb-run-1-dev"), Entry("netns", "rb-run-1")]
        assert [(run.run_id, run.alive) for run in rundirs.runs()] == [("run-1", True)]
    assert rundirs.runs() == []
    assert list(here.iterdir()) == []


def test_what_is_in_the_making_is_known_until_it_is_over() -> None:
    with Ledger.create("run-1") as book:
        book.add("directory", "/nowhere")
        with book.making("netns", "rb-run-1"):
            assert book.unsettled()[0] == {("netns", "rb-run-1")}
            with pytest.raises(ZeroDivisionError), book.making("container", "rb-run-1-dev"):
                raise ZeroDivisionError
        waiting, since = book.unsettled()
        assert waiting == set()
        assert abs(since - time.time()) < 60
        assert [(entry.name, entry.settled) for entry in book.entries()[2:]] == [
            ("rb-run-1", True),
            ("rb-run-1-dev", True),
        ]


def test_a_second_run_of_the_same_name_is_refused() -> None:
    with Ledger.create("twice") as book:
        book.add("netns", "rb-twice")
        with pytest.raises(InputError, match="exists"):
            Ledger.create("twice")
        assert book.alive()
        assert len(Ledger.open("twice").entries()) == 2


def test_a_dead_run_of_the_same_name_is_refused_too() -> None:
    book = Ledger.create("dead")
    book.release()
    with pytest.raises(InputError) as raised:
        Ledger.create("dead")
    assert "clean" in str(raised.value.remedy)


@pytest.mark.parametrize("bad", ["", "-a", "a/b", "..", "a b", "a.b", "ä", "x" * 41, "a\n"])
def test_ids_that_cannot_name_things_are_refused(bad: str, here: Path) -> None:
    with pytest.raises(InputError, match="not a run id"):
        Ledger.create(bad)
    with pytest.raises(InputError, match="not a run id"):
        Ledger.open(bad)
    assert not here.exists()


def test_a_run_that_does_not_exist() -> None:
    with Ledger.create("known"), pytest.raises(InputError) as raised:
        Ledger.open("unknown")
    assert "known" in str(raised.value.found)


def test_kill_9_frees_the_lock_and_keeps_the_ledger(holder: subprocess.Popen[str]) -> None:
    book = Ledger.open("other")
    assert book.alive()
    with book.take_over() as held:
        assert not held
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not book.alive()
    assert [entry.name for entry in book.entries()] == ["controller", "rb-x-y"]
    with book.take_over() as held:
        assert held
        assert book.alive(), "whoever cleans it holds it: another clean-up keeps off"


def test_looking_does_not_take_the_lock_away(holder: subprocess.Popen[str]) -> None:
    looks = [Ledger.open("other").alive() for _ in range(50)]
    assert all(looks)


def test_a_torn_last_line_is_left_out(here: Path) -> None:
    with Ledger.create("torn") as book:
        with (here / "torn" / "ledger.jsonl").open("a") as out:
            out.write('{"kind": "netns", "na')
        assert [entry.name for entry in book.entries()] == ["controller"]


def test_half_made_directories_go_when_they_are_old(here: Path) -> None:
    for name, age in ((".new-old-1", 3600), (".new-fresh-2", 0)):
        (here / name).mkdir(parents=True)
        (here / name / "lock").touch()
        os.utime(here / name / "lock", (time.time() - age, time.time() - age))
    assert rundirs.runs() == []
    rundirs.remove_abandoned()
    assert [child.name for child in here.iterdir()] == [".new-fresh-2"]


def test_a_directory_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROAMBED_RUN_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(EnvironmentProblem, match="cannot make"):
        Ledger.create("nowhere")


def test_socket_paths_fit_into_a_socket_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ROAMBED_RUN_DIR")
    longest = Ledger("x" * 40, Path(rundirs.ROOT) / ("x" * 40))
    assert len(str(longest.socket_path("control.sock"))) <= 106
    with pytest.raises(EmulationError, match="too long"):
        longest.socket_path("y" * 60)


def test_processes_are_named_for_good() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        process = Process.of(child.pid)
        assert process is not None
        assert process.running()
        impostor = Process(process.pid, process.start + 1, process.exe)
        assert not impostor.running()
        assert not impostor.end()
        assert not Process(process.pid, process.start, "/bin/other").end()
        assert child.poll() is None, "a process of the same pid that is not the one meant stays"
        assert process.end(patience=5)
        assert child.wait() == -signal.SIGTERM
    assert not process.end()


def test_a_process_that_ignores_the_request_is_killed() -> None:
    stubborn = [
        sys.executable,
        "-c",
        "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()",
    ]
    with subprocess.Popen(stubborn, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = Process.of(child.pid)
        assert process is not None
        assert process.end(patience=0.2)
        assert child.wait() == -signal.SIGKILL
