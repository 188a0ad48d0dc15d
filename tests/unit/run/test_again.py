"""Decisions that are written down, and those that another run is given."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest

from nodes.events import Span
from nodes.policies.decisions import Decision, begins, lines, read
from nodes.policies.layout import Layout
from testbed.errors import InputError
from testbed.experiment import load_plan
from testbed.run import again, runner
from testbed.run.staging import AGAIN, stagings
from tests.unit.run.test_staging import LAST, TEXT, TIMES

CHANGE = Decision(
    "plan", "change", "it repays", 7.0, (2, 3, 0), "dev", Layout((0, 2, LAST + 1), ("dev", "edge-south")), (4, 1),
    {"gain_s": 4.0, "current_s": float("inf")},
)  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "staged.yaml"
    path.write_text(TEXT % {"device": 0.1, "near": 1, "far": 1, "access": "100Mbit", "more": ""})
    return load_plan(path)


def decided(one: Decision, at: float) -> Span:
    return Span(kind="decision", node=one.device, begin=at, end=at, attrs=one.as_dict())


def test_a_run_writes_what_it_began_with_and_what_it_decided(plan) -> None:
    chosen = stagings(plan, TIMES)
    wait = Decision("probe", "wait", "next in 3 s", 1.0, device="dev", figures={"next": float("inf")})
    text = again.text(chosen, [decided(CHANGE, 1008.5), Span(kind="round", node="dev", begin=1, end=2),
                               decided(wait, 1001.0)], 1000.0)  # fmt: skip
    first, second, third = read(text)
    assert (first.act, first.device, first.position, first.now) == ("begin", "dev", (1, 0, 0), 0.0)
    assert first.layout == Layout(chosen["dev"].layout.bounds, chosen["dev"].layout.nodes)
    assert first.depths == chosen["dev"].layout.depths
    assert (second.act, second.now, second.figures) == ("wait", 1.0, {})
    assert third == replace(CHANGE, now=8.5, figures={"gain_s": 4.0})


def test_events_that_were_written_down_are_read_the_same(plan) -> None:
    """Numbers without bounds are null in JSON."""
    spans = [decided(CHANGE, 1008.5)]
    stored = [msgspec.json.decode(msgspec.json.encode(span), type=Span) for span in spans]
    assert again.text({}, stored, 1000.0) == again.text({}, spans, 1000.0)


def test_the_other_run_begins_where_the_first_one_began(plan) -> None:
    began = Decision("plan", "begin", "", 0.0, (1, 0, 0), "dev", CHANGE.layout, (3, 1))
    found = again.replayed(plan, (began, CHANGE), "d.jsonl")
    [one] = stagings(found, TIMES).values()
    assert (one.layout.bounds, one.layout.nodes, one.layout.depths) == ((0, 2, LAST + 1), ("dev", "edge-south"), (3, 1))
    assert one.why == AGAIN
    assert begins(read(again.text(stagings(found, TIMES), [], 0.0)))["dev"].layout == began.layout


def test_no_decisions_are_something_to_do_again_too(plan) -> None:
    assert plan.decisions is None
    assert again.replayed(plan, (), "d.jsonl").decisions == ()


@pytest.mark.parametrize(
    ("changed", "message", "remedy"),
    [
        ({"device": "dve", "layout": None}, "about device 'dve'", "did you mean 'dev'?"),
        ({"layout": Layout((0, 2, LAST + 1), ("dev", "edge-soth"))}, "about edge server 'edge-soth'", "'edge-south'"),
        ({"layout": Layout((0, 2, LAST), ("dev", "edge-south"))}, "another model or device", f"{LAST + 1} layers"),
        ({"layout": Layout((0, 2, LAST + 1), ("edge-north", "edge-south"))}, "another model or device", "on dev"),
        ({"depths": (4, 1, 1)}, "not one depth a stage", "2: dev"),
        ({"position": (9, 0, 0)}, "is for round 9, and there are 4", "set workload.rounds to 9"),
        ({"layout": None}, "cannot be replayed", ""),
    ],
)
def test_decisions_of_another_experiment_are_refused(plan, changed, message, remedy) -> None:
    with pytest.raises(InputError, match=r"\w") as caught:
        again.replayed(plan, (replace(CHANGE, **changed),), "some/decisions.jsonl")
    assert message in str(caught.value)
    assert remedy in str(caught.value)


def test_two_changes_at_a_place_and_schemes_without_stages_are_refused(plan) -> None:
    with pytest.raises(InputError, match="cannot be replayed"):
        again.replayed(plan, (CHANGE, CHANGE), "d.jsonl")
    whole = replace(plan, workload=replace(plan.workload, schemes=("local", "fedfly")))
    with pytest.raises(InputError, match="nothing to act on: local and fedfly"):
        again.replayed(whole, (CHANGE,), "d.jsonl")


def test_they_are_found_by_run_scheme_or_file(tmp_path) -> None:
    run = tmp_path / "runs" / "edgemove-1"
    for scheme in ("edgemove", "local"):
        (run / scheme).mkdir(parents=True)
        (run / scheme / "events.jsonl").write_text("")
    (run / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="without decisions to do again"):
        again.find("edgemove-1", tmp_path / "runs")
    file = run / "edgemove" / again.NAME
    file.write_text("".join(lines([CHANGE])))
    for given in ("edgemove-1", "edgemove-1/edgemove", str(run), str(file)):
        assert again.find(given, tmp_path / "runs") == file
        assert again.load(given, tmp_path / "runs")[0][0].device == "dev"
    with pytest.raises(InputError, match="there is no run 'edgemoev-1'") as caught:
        again.find("edgemoev-1", tmp_path / "runs")
    assert caught.value.remedy == "did you mean edgemove-1?"
    (run / "local" / again.NAME).write_text("")
    with pytest.raises(InputError, match="several schemes"):
        again.find("edgemove-1", tmp_path / "runs")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        again.load(str(file), tmp_path)
    file.write_text("{}\n")
    with pytest.raises(InputError, match="a line is no decision") as caught:
        again.load(str(file), tmp_path)
    assert caught.value.where == f"{file}:1"


def test_a_decision_that_is_none_costs_no_run_its_results(plan, tmp_path) -> None:
    warned: list[str] = []
    session = SimpleNamespace(plan=plan, layer_times=TIMES, live=SimpleNamespace(warn=warned.append))
    path = tmp_path / again.NAME
    for attrs, told in ((CHANGE.as_dict(), 0), ({"version": 9}, 1)):
        log = SimpleNamespace(spans=[Span(kind="decision", node="dev", begin=8.0, end=8.0, attrs=attrs)])
        runner._write_decisions(session, SimpleNamespace(begin=1.0), log, path)
        assert len(warned) == told
    assert [one.act for one in read(path.read_text())] == ["begin", "change"]
