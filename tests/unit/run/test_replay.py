"""When the replay does what, with a bed that only writes it down."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from testbed.emulation.calibrate import Gap
from testbed.experiment.plan import Move, Outage
from testbed.run import replay as module
from testbed.run.replay import Replay
from tests import support


class Bed:
    """Notes what is done, with the time."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.at: list[float] = []
        self._site = {"dev-1": "north", "dev-2": "north"}
        self.record = SimpleNamespace(node=lambda name: SimpleNamespace(site=self._site[name]))
        self.emulator = SimpleNamespace(carrier=lambda link, up: self.note("up" if up else "down", link))

    def note(self, what: str, who: str) -> None:
        self.done.append((what, who))
        self.at.append(time.monotonic())

    def handover(self, device: str, site: str) -> SimpleNamespace:
        begin, source = time.monotonic(), self._site[device]
        self._site[device] = site
        self.note(f"to {site}", device)
        return SimpleNamespace(begin=begin, end=time.monotonic(), command_s=0.0, source=source)


@pytest.fixture
def carry_out(monkeypatch):
    @contextmanager
    def measured(_target):
        yield Gap(0.0, 0)

    monkeypatch.setattr(module, "measure_gap", measured)
    monkeypatch.setattr(module.targets, "gap", lambda *_: None)
    monkeypatch.setattr(module, "_AFTER_S", 0.01)

    def run(seconds: float, **changes) -> tuple[Bed, float, list[str]]:
        plan = replace(support.loop_plan(), lead=0.05, **changes)
        bed = Bed()
        send = lambda device, notice: bed.note("told" if not notice.done else "arrived", device)  # noqa: E731
        session = SimpleNamespace(real=plan, bed=bed, control=SimpleNamespace(send=send), lost={},
                                   expendable=set())  # fmt: skip
        replay = Replay(session, "t", plan.moves)
        begin = time.monotonic()
        replay.start(begin)
        while time.monotonic() < begin + seconds:
            replay.run_due()
            due = replay.next_due()
            time.sleep(max(0.0, min(due or 1e9, begin + seconds) - time.monotonic()))
        bed.replay = replay
        return bed, begin, replay.finish()

    return run


def test_the_port_moves_when_the_move_is_due_and_the_device_hears_of_it_before(carry_out):
    bed, begin, missing = carry_out(0.25, moves=(Move("dev-1", "south", at=0.15),))
    assert bed.done == [("told", "dev-1"), ("to south", "dev-1"), ("arrived", "dev-1")]
    assert bed.at[0] - begin == pytest.approx(0.10, abs=0.04)
    assert bed.at[1] - begin == pytest.approx(0.15, abs=0.04)
    assert missing == []


def test_in_a_handover_the_link_is_down_for_the_interruption(carry_out):
    bed, _, _ = carry_out(0.3, moves=(Move("dev-1", "south", at=0.1),), interruption=0.08)
    link = "access:dev-1"
    assert bed.done == [("told", "dev-1"), ("down", link), ("to south", "dev-1"), ("up", link), ("arrived", "dev-1")]
    assert bed.at[3] - bed.at[2] == pytest.approx(0.08, abs=0.04)


def test_who_comes_back_elsewhere_is_there_before_its_link_is_up(carry_out):
    outages = (Outage("dev-1", 0.05, 0.15, "out of coverage"), Outage("dev-2", 0.1, None, "absent"))
    bed, begin, _ = carry_out(0.25, moves=(Move("dev-1", "south", at=0.15),), outages=outages)
    assert bed.done == [
        ("down", "access:dev-1"), ("down", "access:dev-2"), ("told", "dev-1"), ("to south", "dev-1"),
        ("arrived", "dev-1"), ("up", "access:dev-1"), ("up", "access:dev-2"),
    ]  # fmt: skip
    assert [t - begin for t in bed.at[:4]] == pytest.approx([0.05, 0.1, 0.15, 0.15], abs=0.04)


def test_what_is_down_at_the_end_comes_up_and_what_was_not_due_is_told(carry_out):
    bed, _, missing = carry_out(
        0.1, moves=(Move("dev-1", "south", at=9.0),), outages=(Outage("dev-1", 0.02, 5.0, "absent"),)
    )
    assert bed.done == [("down", "access:dev-1"), ("up", "access:dev-1")]
    assert missing == ["the move of dev-1 to south did not happen: training had ended before"]
    assert carry_out(0.1, moves=(Move("dev-1", "south", at=9.0, wandered=True),))[2] == []


def test_how_late_a_handover_was_is_known(carry_out):
    bed, begin, _ = carry_out(0.25, moves=(Move("dev-1", "south", at=0.15),), interruption=0.05)
    (carried,) = bed.replay.carried
    assert carried.due == pytest.approx(begin + 0.15)
    assert carried.late == pytest.approx(bed.at[2] - begin - 0.15, abs=0.01), "the interruption is not lateness"
    assert carried.end - carried.moved == pytest.approx(0.05, abs=0.04)


def test_links_that_were_down_are_told_as_they_go(carry_out):
    outages = (Outage("dev-1", 0.0, 0.1, "absent"), Outage("dev-2", 0.05, None, "out of coverage"))
    bed, begin, _ = carry_out(0.15, outages=outages)
    first, second = bed.replay.downs
    assert (first.device, first.why, first.first) == ("dev-1", "absent", True)
    assert first.end - first.begin == pytest.approx(0.1, abs=0.04)
    assert (second.due, second.first) == (pytest.approx(begin + 0.05), False)
    changed = bed.replay.changed()
    assert [(d.device, d.end is not None) for d in changed] == [
        ("dev-1", False), ("dev-2", False), ("dev-1", True), ("dev-2", True)
    ]  # fmt: skip
    assert bed.replay.changed() == []
