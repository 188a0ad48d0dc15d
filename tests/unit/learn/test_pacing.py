from __future__ import annotations

import threading
import time

import pytest

from nodes.errors import InputError
from nodes.learn.pacing import MAX_DEBT, Pacer, ThreadClock


class FakeClock:
    """Time that passes only where a test or a sleep lets it."""

    def __init__(self, oversleep: float = 0.0) -> None:
        self.time = 100.0
        self.used = 5.0
        self.slept: list[float] = []
        self.oversleep = oversleep

    def now(self) -> float:
        return self.time

    def cpu(self) -> float:
        return self.used

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds + self.oversleep

    def work(self, wall: float, cpu: float | None = None) -> None:
        self.time += wall
        self.used += wall if cpu is None else cpu


def run(pacer: Pacer, clock: FakeClock, wall: float, reference: float = 0.010) -> tuple[float, bool]:
    """Length of one step, and whether it was late."""
    with pacer.step(reference) as step:
        clock.work(wall)
    assert step.wall_s == pytest.approx(wall)
    return step.end - step.begin, step.late


def test_a_step_takes_reference_over_speed() -> None:
    clock = FakeClock()
    pacer = Pacer(0.25, clock)
    for wall in (0.010, 0.001, 0.039):
        assert run(pacer, clock, wall) == (pytest.approx(0.040), False)
    assert clock.slept == pytest.approx([0.030, 0.039, 0.001])
    assert (pacer.totals.steps, pacer.totals.late, pacer.totals.dropped) == (3, 0, 0)


def test_who_shares_the_speed_waits_for_a_turn_before_a_step_begins_and_gives_it_back() -> None:
    clock, turns = FakeClock(), []

    class Turns:
        def __enter__(self) -> None:
            clock.time += 1.0
            turns.append("taken")

        def __exit__(self, *_: object) -> None:
            turns.append(f"back after {clock.slept[-1:]}")

    pacer = Pacer(0.25, clock, turns=Turns())
    assert run(pacer, clock, 0.010) == (pytest.approx(0.040), False)
    assert pacer.debt == pytest.approx(0.0)
    with pytest.raises(KeyError), pacer.step(0.010):
        raise KeyError
    assert turns == ["taken", f"back after {clock.slept}", "taken", f"back after {clock.slept}"]
    run(Pacer(None, clock, turns=Turns()), clock, 0.010)  # as fast as it goes: nobody is held to a speed
    assert len(turns) == 4


def test_work_without_a_reference_takes_its_own_cpu_time_over_speed() -> None:
    clock = FakeClock()
    pacer = Pacer(0.25, clock)
    with pacer.step(None) as step:
        clock.work(wall=0.020, cpu=0.010)  # held back by a quota meanwhile
    assert step.end - step.begin == pytest.approx(0.040)
    assert not step.late
    assert pacer.totals.asked_s == pytest.approx(0.040)
    with pacer.step(None) as step:
        clock.work(wall=0.100, cpu=0.010)  # the machine was busy with others
    assert step.late


def test_what_a_step_tells() -> None:
    clock = FakeClock()
    pacer = Pacer(0.5, clock)
    with pacer.step(0.010) as step:
        clock.work(wall=0.012, cpu=0.008)
    assert (step.begin, step.end) == (100.0, pytest.approx(100.020))
    assert step.wall_s == pytest.approx(0.012)
    assert step.cpu_s == pytest.approx(0.008)
    totals = pacer.totals.as_dict()
    expected = {"steps": 1, "late": 0, "dropped": 0, "dropped_s": 0.0, "cpu_s": pytest.approx(0.008)}
    assert {name: totals[name] for name in expected} == expected


def test_debt_is_worked_off_by_the_next_steps() -> None:
    clock = FakeClock()
    pacer = Pacer(0.5, clock)  # 20 ms a step
    begin = clock.time
    assert run(pacer, clock, 0.050) == (pytest.approx(0.050), True)
    assert pacer.debt == pytest.approx(0.030)
    assert run(pacer, clock, 0.005) == (pytest.approx(0.005), False)  # still 15 ms behind
    assert run(pacer, clock, 0.005) == (pytest.approx(0.005), False)  # on time to the ms
    assert run(pacer, clock, 0.005) == (pytest.approx(0.020), False)
    assert clock.time - begin == pytest.approx(4 * 0.020)
    assert pacer.totals.late == 1


def test_waiting_between_steps_saves_nothing_up() -> None:
    clock = FakeClock()
    pacer = Pacer(0.5, clock)
    run(pacer, clock, 0.005)
    clock.work(10.0)  # the network
    assert run(pacer, clock, 0.005) == (pytest.approx(0.020), False)


def test_debt_is_bounded_and_what_is_dropped_is_counted() -> None:
    clock = FakeClock()
    pacer = Pacer(1.0, clock)
    run(pacer, clock, 0.100)  # 90 ms behind, of which 5 x 10 ms are kept
    assert pacer.debt == pytest.approx(MAX_DEBT * 0.010)
    assert pacer.totals.dropped == 1
    assert pacer.totals.dropped_s == pytest.approx(0.040)


@pytest.mark.parametrize(
    ("behind", "late"), [(0.0, False), (0.0029, False), (0.0031, True)], ids=["none", "under", "over"]
)
def test_late_is_five_percent_and_two_ms(behind: float, late: bool) -> None:
    clock = FakeClock()
    pacer = Pacer(0.5, clock)
    assert run(pacer, clock, 0.020 + behind)[1] == late
    assert pacer.totals.late == late


def test_oversleeping_does_not_add_up() -> None:
    clock = FakeClock(oversleep=0.0004)
    pacer = Pacer(0.5, clock)
    begin = clock.time
    for _ in range(100):
        assert not run(pacer, clock, 0.005)[1]
    assert clock.time - begin == pytest.approx(100 * 0.020, abs=0.0005)


def test_a_sleep_cut_short_is_taken_up_again() -> None:
    class Impatient(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds / 2 if seconds > 1e-4 else seconds)

    clock = Impatient()
    assert run(Pacer(0.5, clock), clock, 0.005)[0] == pytest.approx(0.020)
    assert len(clock.slept) > 2


def test_unpaced_measures_and_waits_for_nothing() -> None:
    clock = FakeClock()
    pacer = Pacer(None, clock)
    for wall in (0.005, 0.500):
        assert run(pacer, clock, wall) == (pytest.approx(wall), False)
    assert clock.slept == []
    assert (pacer.totals.steps, pacer.totals.late) == (2, 0)


def test_a_body_that_fails_is_not_waited_for() -> None:
    clock = FakeClock()
    pacer = Pacer(0.5, clock)
    with pytest.raises(KeyError), pacer.step(0.010):
        raise KeyError
    assert clock.slept == []
    assert pacer.totals.steps == 0


def test_windows_hold_the_steps_that_ended_in_them() -> None:
    clock = FakeClock()
    pacer = Pacer(0.5, clock, window_s=0.1)  # from 100.0 on; a step takes 30 ms
    for _ in range(5):
        run(pacer, clock, 0.001, reference=0.015)
    assert [(w.begin, w.end, w.steps) for w in pacer.windows()] == [(pytest.approx(100.0), pytest.approx(100.09), 3)]
    clock.work(1.0)  # waiting for the network is no work
    run(pacer, clock, 0.045, reference=0.015)
    [first, last] = pacer.windows(last=True)
    assert (first.steps, first.late, first.asked_s, first.took_s) == (2, 0, pytest.approx(0.06), pytest.approx(0.06))
    assert (last.steps, last.late, last.asked_s, last.took_s) == (1, 1, pytest.approx(0.03), pytest.approx(0.045))
    assert pacer.windows(last=True) == []


def test_windows_of_steps_that_are_not_paced_ask_for_speed_one() -> None:
    clock = FakeClock()
    pacer = Pacer(None, clock)
    run(pacer, clock, 0.040, reference=0.010)
    [window] = pacer.windows(last=True)
    assert window.asked_s / window.took_s == pytest.approx(0.25)
    assert pacer.totals.asked_s / pacer.totals.took_s == pytest.approx(0.25)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_speeds_that_are_none(speed: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        Pacer(speed)


def test_the_machines_clock_never_ends_a_step_early() -> None:
    pacer = Pacer(0.5)
    begin, waited = time.monotonic(), time.thread_time()
    for _ in range(20):
        with pacer.step(0.002) as step:
            pass
        assert step.end - step.begin > 0
    # No upper bound: a loaded machine may be late, which is what the pacer counts.
    assert time.monotonic() - begin >= 20 * 0.004 - 1e-6
    assert time.thread_time() - waited < 0.040  # it slept: a spinning one would use 80 ms


def test_every_thread_gets_exact_timers() -> None:
    """The timer slack is a thread's own; 50 us is the usual one."""
    clock = ThreadClock()
    slack: list[int] = []

    def sleep_and_look() -> None:
        import ctypes

        clock.sleep(0.0)
        get_timer_slack = 30
        slack.append(ctypes.CDLL(None).prctl(get_timer_slack, 0, 0, 0, 0))

    for _ in range(2):
        thread = threading.Thread(target=sleep_and_look)
        thread.start()
        thread.join()
    assert slack == [1, 1]


def test_what_is_forgotten_counts_no_more() -> None:
    clock = FakeClock()
    pacer = Pacer(0.5, clock)
    run(pacer, clock, 0.050)
    pacer.forget()
    assert (pacer.debt, pacer.totals.steps, pacer.totals.late) == (0.0, 0, 0)
    assert pacer.windows(last=True) == []
    assert run(pacer, clock, 0.005) == (pytest.approx(0.020), False)
    assert [window.steps for window in pacer.windows(last=True)] == [1]
