"""The plain functions of the fidelity benchmark: what is made of arrivals, marks and cases."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.fidelity import delay, loss, page, plots, speeds, suite, tcp, varying
from benchmarks.fidelity.cases import FIGURES, Case, Record, as_json, figures
from benchmarks.fidelity.delay import Delays
from benchmarks.fidelity.frames import Arrival
from benchmarks.grid.machine import Machine
from testbed.emulation.links.shape import MTU_FRAME, UNIFORM, Schedule, Step
from testbed.emulation.links.spreads import spread
from testbed.errors import EmulationError


def case(kind: str = "tcp", error: float | None = 0.2, **more) -> Case:
    return Case(kind, more.pop("what", "TCP goodput at 5 Mbit/s"), 5.0, 5.01, error, "Mbit/s", 9, **more)


def delays(**changes: float) -> Delays:
    values = {"p10": 0.01, "p50": 0.01, "p90": 0.01, "p99": 0.01, "sd": 0.0, **changes}
    return Delays(**values, sent=9, received=9, reordered=0, overruns=0)


def evenly(rate: float, begin: float, end: float, first: int = 0) -> list[Arrival]:
    """Full frames as a link of that rate delivers them."""
    gap = MTU_FRAME * 8 / rate
    number = math.floor((end - begin) / gap + 1e-9)
    return [Arrival(first + i, begin + (i + 1) * gap, MTU_FRAME) for i in range(number)]


def test_each_figure_is_the_worst_of_its_kind_by_its_size():
    cases = [case(error=0.2), case(error=-0.7), case(error=9.0, by="wirefilter"), case("delay p99 busy", 0.4)]
    found = figures(cases)
    assert list(found) == list(FIGURES)
    assert found["tcp_error_pct_max"] == 0.7
    assert found["owd_error_ms_p99_busy_max"] == 0.4
    assert found["speed_error_pct_max"] is None


def test_a_case_that_failed_takes_its_figure_with_it_and_stays():
    record = Record()
    record.add(case())
    with record.attempt("tcp", "TCP goodput at 9 Mbit/s", "Mbit/s", 9.0):
        raise EmulationError("no answer")
    found = as_json(record.cases)
    assert found["tcp_error_pct_max"] is None
    last = found["cases"][1]
    assert (last["what"], last["asked"]) == ("TCP goodput at 9 Mbit/s", 9.0)
    assert (last["measured"], last["error"]) == (None, None)
    assert "no answer" in last["note"]
    assert record.failed


def test_what_is_missing_elsewhere_is_no_failure():
    record = Record()
    record.missing("tcp", "TCP goodput", "TCLink", "not available: this kernel has no netem")
    assert not record.failed
    assert set(as_json(record.cases)) == {*FIGURES, "cases"}


@pytest.mark.parametrize(("error", "held"), [(1.0, True), (-1.01, False), (None, None)])
def test_a_limit_holds_either_way(error, held):
    assert case(error=error, limit=1.0).held is held


def test_a_cost_is_its_own_figure():
    cost = Case("relay cpu 100", "relay", None, 18.0, None, "% of a core", 5, limit=20.0)
    assert cost.held
    assert figures([cost])["relay_cpu_pct_100mbit"] == 18.0


def test_goodput_is_that_between_marks():
    assert tcp.goodput([(10.0, 500), (10.5, 900), (12.0, 1500)]) == 4000
    with pytest.raises(EmulationError, match="nothing arrived"):
        tcp.goodput([(10.0, 500)])


def test_of_repeats_the_median_counts_and_of_directions_the_worse():
    runs = [(delays(p99=0.0101), delays(p99=value)) for value in (0.012, 0.5, 0.011)]
    assert delay.median_of(runs, 0.01, "p99") == 0.012
    assert delay.median_of([(delays(p50=0.007), delays(p50=0.011))], 0.01, "p50") == 0.007


def test_quantiles_of_jitter():
    uniform = delay.quantiles(UNIFORM, 0.02, 0.002)
    assert uniform == pytest.approx({"p10": 0.0184, "p50": 0.02, "p90": 0.0216})
    normal = delay.quantiles(spread("normal", Path()), 0.02, 0.002)
    assert normal == pytest.approx({"p10": 0.02 - 1.2816 * 0.002, "p50": 0.02, "p90": 0.02 + 1.2816 * 0.002}, abs=3e-6)
    found = delays(p10=0.0184, p50=0.0201, p90=0.0217)
    assert delay.furthest(uniform, found, {"p10": 1, "p50": 1e-4, "p90": 1}) == ("p50", pytest.approx(1e-4))


def test_quantiles_of_fewer_samples_may_be_further_off():
    few, many = (delay.allowed(UNIFORM, 0.002, number) for number in (100, 10_000))
    assert few["p50"] == pytest.approx(4 * 0.5 / 10 * 0.004)
    assert many["p50"] == pytest.approx(few["p50"] / 10)
    tail = delay.allowed(spread("pareto", Path()), 0.002, 100)
    assert tail["p90"] > 5 * tail["p10"]


def test_runs_of_losses_count_at_the_edges_too():
    arrivals = [Arrival(number, 0.0, 100) for number in (2, 3, 7, 8)]
    assert loss.lost_runs(arrivals, 10) == [2, 3, 1]
    assert loss.lost_runs([], 4) == [4]


def test_allowed_losses_are_four_sigma():
    assert loss.allowed(0.01, 10_000) == pytest.approx(4 * math.sqrt(0.01 * 0.99 / 10_000))
    assert loss.allowed(0.0, 10_000) == 0.0


def test_a_step_is_measured_by_what_was_carried_in_it():
    schedule = Schedule("two", steps=(Step(0.0, rate=5e6), Step(0.25, rate=20e6)), length=0.5)
    slow = evenly(5e6, 100.0, 100.25)
    fast = evenly(20e6, slow[-1].at, 100.6, len(slow))
    first, second = varying.step_rates([Arrival(0, 99.9, MTU_FRAME), *slow, *fast], 100.0, schedule, 0.0)
    assert first == pytest.approx(5e6, rel=0.02)  # a frame at the edge is counted at one of the two rates
    assert second == pytest.approx(20e6, rel=0.005)


def test_bytes_carried_are_those_between_frames():
    arrivals = [Arrival(0, 1.0, 1000), Arrival(1, 2.0, 1000), Arrival(2, 4.0, 500)]
    assert varying.carried(arrivals, [0.5, 1.0, 1.5, 3.0, 9.0]) == [0.0, 0.0, 500.0, 1250.0, 1500.0]


def test_traces_are_such_as_users_have():
    schedule = suite.made(varying.mahimahi_lines(4))
    deliveries = schedule.deliveries
    assert schedule.length == 4.0
    assert sum(varying.chances_per_second(deliveries, 4)) == sum(ms < 4000 for ms in deliveries) > 100
    steps = suite.made(varying.sine_lines(8)).steps
    assert [step.at for step in steps] == [i * 0.25 for i in range(8)]
    assert len({step.rate for step in steps}) == 8
    assert all(5e6 <= (step.rate or 0) <= 50e6 for step in steps)


def test_speed_is_what_steps_should_take_over_what_they_took():
    reference = {"head.forward": 0.1, "head.backward": 0.2}
    spans = [
        {"kind": "forward", "begin": 0.0, "end": 1.0},
        {"kind": "backward", "begin": 3.0, "end": 5.0},  # the wait between is not its own
        {"kind": "forward", "begin": 6.0, "end": 6.5},
        {"kind": "forward", "begin": 10.0, "end": 10.5},
    ]
    assert speeds.speed(spans[:2], reference) == pytest.approx(0.1)
    assert speeds.windows(spans, reference, 5.5) == pytest.approx([0.1])
    assert speeds.windows(spans, reference, 5.0) == pytest.approx([0.1, 0.3 / 2.5])


def test_what_arrives_at_the_begin_of_a_second_is_of_it():
    arrivals = [Arrival(i, 50 + at, 1514) for i, at in enumerate((0.0001, 0.9991, 0.99995, 1.0001, 2.5))]
    assert varying.per_second(arrivals, 50.0, 0.0, 2) == [2, 2]


def test_correlation():
    assert varying.correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)


def everything() -> list[Case]:
    record = Record()
    record.add(case(error=0.4, limit=1.0))
    record.add(case(error=-38.0, by="wirefilter"))
    record.add(case("delay p99", 2.0, what="one-way delay of 5 ms, idle, p99", limit=1.0))
    record.add(case("trace steps", 0.1, what="step at 0.25 s"))
    record.missing("tcp", "TCP goodput", "TCLink", "not available: this kernel has no netem")
    return record.cases


def test_the_page_tells_every_case_and_what_missed():
    here = Machine((("kernel", "Linux 9"),))
    text = page.text_of(everything(), here, ["fidelity-tcp"], quick=True)
    assert "A quick run" in text
    assert "| kernel | Linux 9 |" in text
    assert "not available: this kernel has no netem" in text
    assert "5 cases: 1 missed their limit, 0 could not be measured." in text
    assert "| 2 **missed** | 1 |" in text
    assert "![tcp](fidelity-tcp.svg)" in text
    assert "A quick run" not in page.text_of(everything(), here, [], quick=False)


def test_what_is_written_can_be_read(tmp_path):
    record = Record(everything())
    page.write(tmp_path, record, Machine(()), quick=False)
    found = json.loads((tmp_path / "fidelity.json").read_text())
    assert set(found) == {*FIGURES, "cases"}
    assert len(found["cases"]) == 5
    text = (tmp_path / "fidelity.md").read_text()
    for name in ("fidelity-tcp", "fidelity-delay", "fidelity-trace"):
        assert f"({name}.svg)" in text
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert ET.fromstring(drawn).tag.endswith("svg")
        assert "mathdefault" not in drawn


def test_plots_show_nothing_that_was_not_measured():
    assert plots.plots([case("loss", 0.1, what="loss of 1 %")]) == {}
