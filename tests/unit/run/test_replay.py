"""When the replay does what, with a bed that only writes it down."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nodes.policies.prediction import Guess, Prediction
from nodes.wire import control as ctl
from testbed.emulation.calibrate import Gap
from testbed.errors import EmulationError
from testbed.experiment.changes import Move, Outage
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

    def run(seconds: float, dies: float | None = None, bed: Bed | None = None, expendable=frozenset(), **changes):
        plan = replace(support.loop_plan(), lead=0.05, **changes)
        bed = bed or Bed()

        def send(device, message):
            foretold = isinstance(message, ctl.Forecast)
            bed.note("foretold" if foretold else "arrived" if message.done else "told", device)

        session = SimpleNamespace(real=plan, bed=bed, control=SimpleNamespace(send=send), lost={},
                                   expendable=expendable)  # fmt: skip
        replay = Replay(session, "t", plan.moves)
        begin = time.monotonic()
        replay.start(begin)
        while time.monotonic() < begin + seconds:
            if dies is not None and time.monotonic() >= begin + dies and not session.lost:
                session.lost["dev-1"] = "dead"
                replay.bury("dev-1", time.monotonic())
            replay.run_due()
            due = [when for when in (replay.next_due(), begin + dies if dies and not session.lost else None) if when]
            time.sleep(max(0.0, min([*due, begin + seconds]) - time.monotonic()))
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


def test_who_is_away_when_a_point_of_the_training_is_reached_is_handed_over_then(carry_out):
    moves, outages = (Move("dev-1", "south", round=1, progress=0.0),), (Outage("dev-1", 0.0, 0.15, "absent"),)
    bed, begin, missing = carry_out(0.25, moves=moves, outages=outages)
    link = "access:dev-1"
    assert bed.done == [("told", "dev-1"), ("down", link), ("to south", "dev-1"), ("arrived", "dev-1"), ("up", link)]
    assert bed.at[-1] - begin == pytest.approx(0.15, abs=0.04)
    assert missing == []


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


DEAD_MOVES = (
    Move("dev-1", "south", at=0.15), Move("dev-2", "south", at=0.15), Move("dev-1", "north", round=9, progress=0.0),
)  # fmt: skip


def test_what_the_dead_were_to_do_is_not_done_nor_missed(carry_out):
    outages = (Outage("dev-1", 0.05, 0.2, "absent"), Outage("dev-1", 0.22, 0.25, "out of coverage"))
    bed, begin, missing = carry_out(0.3, dies=0.08, moves=DEAD_MOVES, outages=outages)
    assert bed.done == [("down", "access:dev-1"), ("told", "dev-2"), ("to south", "dev-2"), ("arrived", "dev-2")]
    assert missing == []
    (down,) = bed.replay.downs
    assert down.end - begin == pytest.approx(0.08, abs=0.03), "who is dead is not out of coverage"
    assert [d.end is not None for d in bed.replay.changed()] == [False, True]


def test_who_dies_between_the_notice_and_the_handover_is_not_handed_over(carry_out):
    bed, _, missing = carry_out(0.25, dies=0.12, moves=DEAD_MOVES[:1])
    assert bed.done == [("told", "dev-1")]
    (carried,) = bed.replay.carried
    assert not carried.done
    assert carried.gap is None, "its silence is not the handover's"
    assert missing == []


@pytest.mark.parametrize("interruption", [0.0, 0.05])
def test_a_link_that_goes_with_its_device_stops_nothing(carry_out, monkeypatch, interruption):
    class Gone(Bed):
        def handover(self, device, site):
            if device == "dev-1":
                raise EmulationError("its port is gone")
            return super().handover(device, site)

    moves = DEAD_MOVES[:2]
    monkeypatch.setattr(module, "_SHOWS_S", 0.05)
    may_die = frozenset({"dev-1", "dev-2"})
    bed = Gone()
    carry_out(0.3, dies=0.18, bed=bed, moves=moves, interruption=interruption, expendable=may_die)
    assert ("to south", "dev-2") in bed.done
    for able in (frozenset(), may_die):  # it is alive: something else is wrong
        with pytest.raises(EmulationError):
            carry_out(0.3, bed=Gone(), moves=moves, interruption=interruption, expendable=able)


def test_a_device_hears_where_it_is_expected_next_and_in_how_many_seconds():
    """Seconds of the experiment: in a run that takes twice as long, half of those that are left."""
    told = []
    for factor in (1.0, 2.0):
        predictions = (Prediction("dev-1", 0.0, Guess("south", 8.0)), Prediction("dev-1", 0.0, None),
                       Prediction("dev-2", 0.0, Guess("north", 0.0)))  # fmt: skip
        plan = replace(support.loop_plan(), predictions=predictions, dilation=factor)
        control = SimpleNamespace(send=lambda device, message: told.append((device, message)))
        session = SimpleNamespace(real=plan, bed=Bed(), control=control, lost={}, expendable=frozenset())
        replay = Replay(session, "t", ())
        replay.start(time.monotonic())
        replay.run_due()
    assert [(device, one.edge) for device, one in told] == [
        ("dev-1", "edge-south"), ("dev-1", ""), ("dev-2", "edge-north")
    ] * 2  # fmt: skip
    assert [one.in_s for _, one in told] == [
        pytest.approx(8.0, abs=0.2), None, 0.0, pytest.approx(4.0, abs=0.2), None, 0.0
    ]  # fmt: skip


def test_who_moves_on_during_an_interruption_stays_down_until_that_of_the_last_move_is_over(carry_out):
    moves = (Move("dev-1", "south", at=0.1), Move("dev-1", "north", at=0.16))
    bed, _, missing = carry_out(0.4, moves=moves, interruption=0.12)
    link = "access:dev-1"
    assert [what for what, _ in bed.done if what != "told"] == ["down", "to south", "to north", "up", "arrived"]
    at = {what: t for (what, _), t in zip(bed.done, bed.at, strict=True)}
    assert at["up"] - at["to north"] == pytest.approx(0.12, abs=0.04)
    assert ("up", link) in bed.done
    assert missing == []
    assert all(c.done for c in bed.replay.carried)


def test_what_is_expected_at_a_handovers_own_moment_is_said_after_it(carry_out):
    moves = (Move("dev-1", "south", at=0.1),)
    bed, _, _ = carry_out(0.2, moves=moves, predictions=(Prediction("dev-1", 0.1, Guess("north", 0.19)),))
    assert [what for what, _ in bed.done] == ["told", "to south", "arrived", "foretold"]
