from __future__ import annotations

import math

import pytest

from testbed.emulation.links.shape import Step
from testbed.errors import InputError
from testbed.experiment import load, load_plan, motion
from testbed.experiment.changes import Move
from testbed.experiment.dilate import dilated
from testbed.mobility.row import Row
from testbed.mobility.tracks import of_rows

BASE = """\
sites: {west: {at: [0, 0]}, east: {at: [100, 0]}}
cloud:
devices:
  a: {profile: pi4, at: west}
  b: {profile: pi4, at: east}
links: {west -- cloud:, east -- cloud:, access: {rate: 30Mbit, delay: 3ms}}
workload: {rounds: 40}
mobility:
"""


@pytest.fixture
def plan(tmp_path):
    def load(*mobility: str, base: str = BASE, trace: str | None = None, **how):
        path = tmp_path / "exp.yaml"
        path.write_text(base + "".join(f"  {line}\n" for line in mobility))
        if trace is not None:
            (tmp_path / "t.csv").write_text("t,node,x,y\n" + trace)
        return load_plan(path, **how)

    return load


def access(found, device):
    return next(link for link in found.links if link.name == f"access:{device}")


def test_movement_made_up(plan):
    lines = ("model: {random-waypoint: {speed: [5, 10], pause: 2s, area: [[0, -10], [100, 10]], duration: 5min}}",)
    found = plan(*lines)
    assert found.moves
    assert found.moves == plan(*lines).moves != plan(*lines, overrides=["seed=2"]).moves
    assert all(m.at is not None and m.at <= 300 for m in found.moves)
    assert found.outages == found.predictions == ()
    assert access(found, "a").ab_trace is None


def test_only_those_who_are_named_move(plan):
    found = plan("model: {manhattan: {devices: [a], block: 20}}")
    assert {m.device for m in found.moves} == {"a"}
    assert found.node("b").site == "east"


def test_those_who_stand_have_their_share_of_the_air_and_take_it_from_those_who_walk(plan):
    """b is at east all the time, and a comes there."""
    lines = ("trace: t.csv", "radio: {wifi: {shadowing: 0dB}}")
    found = plan(*lines, trace="0,a,0,0\n100,a,100,0\n")
    [move] = [m for m in found.moves if m.device == "a"]
    assert {m.device for m in found.moves} == {"a"}
    alone, shared = (next(s.rate for s in reversed(access(found, "b").ab_trace.steps) if s.at <= t)
                     for t in (0.0, 100.0))  # fmt: skip
    assert shared == pytest.approx(alone / 2, rel=0.02)
    last = access(found, "a").ab_trace.steps[-1].rate
    assert last == pytest.approx(alone / 2, rel=0.02)
    assert move.to == "east"


def test_those_who_stand_count_where_the_least_loaded_site_is_looked_for(plan):
    """All are within reach without a radio model, and b stands at east: a goes where nobody is."""
    found = plan("trace: t.csv", "association: least-loaded", trace="0,a,52,0\n10,a,53,0\n")
    assert found.node("a").site == "west"


@pytest.mark.parametrize(("written", "least", "most"), [("", 60e6, 200e6), ("rate: 30Mbit, ", 30e6, 30e6)])
def test_a_rate_that_nobody_has_written_bounds_no_radio_model(plan, written, least, most):
    base = BASE.replace("rate: 30Mbit, ", written)
    found = plan("trace: t.csv", "radio: {wifi: {shadowing: 0dB, bandwidth: 80MHz, sharing: none}}", base=base,
                 trace="0,a,1,0\n10,a,2,0\n")  # fmt: skip
    assert least <= access(found, "a").ab_trace.steps[0].rate <= most


def test_a_radio_model_makes_schedules_and_outages(plan):
    found = plan("trace: t.csv", "association: strongest", "radio: {wifi: {shadowing: 0dB, sharing: none}}",
                 "prediction: {oracle: {horizon: 4s}}", "interruption: 50ms",
                 trace="0,a,0,5\n0,b,100,5\n50,a,100,5\n100,a,300,5\n")  # fmt: skip
    (move,) = found.moves
    assert (move.device, move.to) == ("a", "east")
    link = access(found, "a")
    assert max(s.rate or 0 for s in link.ab_trace.steps) > 20e6
    assert link.ab_trace.steps[0].rate > min(s.rate for s in link.ab_trace.steps if s.rate)
    (out,) = found.outages
    assert (out.device, out.why, out.end) == ("a", "out of coverage", None)
    assert access(found, "b").ab_trace.steps[0].rate > 20e6
    first = found.predictions[0]
    assert (first.device, first.guess.to, first.guess.at) == ("a", "east", move.at)
    assert found.interruption == 0.05
    slow = dilated(plan("trace: t.csv", "radio: {wifi: {shadowing: 0dB}}", "prediction: oracle", "interruption: 50ms",
                        overrides=["dilation=2"]))  # fmt: skip
    assert slow.interruption == 0.1
    assert slow.outages[0].begin == pytest.approx(2 * out.begin)
    assert slow.predictions[0].guess.at == slow.moves[0].at


def test_devices_come_and_go_with_the_trace(plan):
    trace = "0,a,0,0\n0,b,100,0\n1,b,100,0\n2,a,0,0\n20,a,0,0\n21,a,0,0\n"
    found = plan("trace: t.csv", "presence: trace", "gap: 5s", trace=trace)
    assert [(o.device, o.begin, o.end, o.why) for o in found.outages] == [
        ("b", 1.1, None, "absent"), ("a", 2.1, 20.0, "absent")
    ]  # fmt: skip


def test_no_moves_leaves_all_of_it_out(plan):
    found = plan("model: manhattan", "radio: wifi", "prediction: oracle", "interruption: 1s", no_moves=True)
    assert (found.moves, found.outages, found.predictions, found.interruption) == ((), (), (), 0.0)
    assert access(found, "a").ab_trace is None


def test_as_the_trace_says(plan, tmp_path):
    rows = "t,node,x,y,cell\n0,a,0,0,17\n0,b,0,0,\n3,a,0,0,99\n5,a,0,0,18\n9,a,0,0,17\n"
    (tmp_path / "t.csv").write_text(rows)
    lines = ("trace: t.csv", "association:", "  trace: {cells: {'17': east, '18': west}}")
    with pytest.raises(InputError, match="names no site that 'b' is on"):
        plan(*lines)
    (tmp_path / "t.csv").write_text(rows.replace("0,b,0,0,", "0,b,0,0,18"))
    found = plan(*lines)
    assert (found.node("a").site, found.node("b").site) == ("east", "west")
    assert found.moves == (Move("a", "west", at=5.0), Move("a", "east", at=9.0))  # of cell 99 nothing is known


def test_rates_and_delays_that_were_recorded(plan, monkeypatch):
    rows = [Row(0, "a", 0, 0, rate=8e6, rtt=0.05), Row(0, "b", 9, 0, rtt=0.02), Row(4, "a", 0, 0, rate=0.0),
            Row(6, "a", 9, 0, rate=4e6, rtt=0.05)]  # fmt: skip
    monkeypatch.setattr(motion, "_rows", lambda *_: iter(rows))
    link = access(plan("trace: t.csv", "radio: {trace: {up: 25%}}"), "a")
    assert link.roams
    assert link.ba_trace.steps == (Step(0, 8e6, 0.025), Step(4, 0.0), Step(6, 4e6, 0.025))
    assert [s.rate for s in link.ab_trace.steps] == [2e6, 0.0, 1e6]
    found = plan("trace: t.csv", "radio: trace")
    assert access(found, "a").ab_trace.steps[0] == Step(0, None, 0.025)
    assert access(found, "b").ba_trace.steps == (Step(0, None, 0.01),)
    rows[1] = Row(0, "b", 9, 0)
    with pytest.raises(InputError, match="neither rates nor round-trip times of 'b'"):
        plan("trace: t.csv", "radio: trace")


def test_moves_that_repeat(plan):
    found = plan("moves: [a to east every 10 rounds, b to west at 50% of every 20 rounds]")
    assert found.moves == (
        Move("a", "east", round=10, progress=0.0), Move("a", "west", round=20, progress=0.0),
        Move("b", "west", round=20, progress=0.5), Move("a", "east", round=30, progress=0.0),
        Move("a", "west", round=40, progress=0.0), Move("b", "east", round=40, progress=0.5),
    )  # fmt: skip


TRACE = "0,a,0,5\n0,b,100,5\n"
BAD = {
    "negative": (["trace: t.csv", "association: {strongest: {hysteresis: -3dB}}"], 10, "hysteresis: below 0"),
    "no unit": (["trace: t.csv", "association: {strongest: {hysteresis: 3}}"], 10, "not a level"),
    "unknown policy": (["trace: t.csv", "association: strogest"], 10, "unknown choice 'strogest'"),
    "two policies": (["trace: t.csv", "association: {nearest: {}, strongest: {}}"], 10, "no choice"),
    "unknown setting": (["trace: t.csv", "association:", "  least-loaded: {magin: 3dB}"], 11, "unknown key 'magin'"),
    "model and trace": (["trace: t.csv", "model: manhattan"], 10, "a model and a trace"),
    "model and moves": (["model: manhattan", "moves: [a to east at 1s]"], 9, "moves and a model"),
    "radio without movement": (["radio: wifi"], 9, "radio needs to know where devices are"),
    "association without movement": (["association: strongest"], 9, "nobody moves but by script"),
    "made-up records": (["model: manhattan", "radio: trace"], 10, "records nothing"),
    "no such site": (["trace: t.csv", "association:", "  trace: {cells: {x: north}}"], 11, "no site 'north'"),
    "gap alone": (["trace: t.csv", "gap: 5s"], 10, "gap means nothing"),
    "present in nothing": (["model: manhattan", "presence: trace"], 10, "no trace to be present in"),
    "no such device": (["model:", "  manhattan:", "    devices:", "      - c"], 12, "no device 'c'"),
    "no such channel": (["trace: t.csv", "radio:", "  wifi: {bandwidth: 30MHz}"], 11, "has bandwidths of"),
    "positions rarer than the gap": (["trace: {file: t.csv, every: 10s}", "presence: trace", "gap: 5s"], 11,
                                     "would be gone"),
    "negative deviation": (["trace: t.csv", "radio:", "  lte: {shadowing: -3dB}"], 11, "shadowing must be 0 or more"),
    "no speed": (["model: {random-waypoint: {speed: [0, 2]}}"], 9, "no speeds"),
    "no area": (["model: {random-waypoint: {area: [[5, 5], [0, 9]]}}"], 9, "no area"),
    "no block fits": (["model: {manhattan: {block: 900}}"], 9, "nothing can move so"),
    "no time": (["model: {manhattan: {duration: 0}}"], 9, "duration"),
    "no horizon": (["trace: t.csv", "prediction: {linear: {horizon: 0}}"], 10, "greater than 0"),
    "too seldom": (["moves: [a to east every 50 rounds]"], 9, "a move every 50 rounds, and there are 40"),
    "where it is": (["moves: [a to west every 5 rounds]"], 9, "is at 'west' already"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_mobility(plan, case):
    lines, line, message = BAD[case]
    with pytest.raises(InputError) as caught:
        plan(*lines, trace=TRACE)
    assert message in caught.value.message
    assert str(caught.value.where).endswith(f"exp.yaml:{line}")


def test_sites_at_one_place_are_no_places_to_move_between(plan):
    base = BASE.replace("[100, 0]", "[0, 0]")
    with pytest.raises(InputError, match="all sites are at one place") as caught:
        plan("model: manhattan", base=base)
    assert caught.value.where.endswith(":1")
    plan("model: manhattan", "association: least-loaded", base=base)


@pytest.mark.parametrize("extra", ["loss: {burst: 4, share: 1%}", "trace: link.csv"])
def test_a_radio_model_and_links_that_say_the_same(plan, tmp_path, extra):
    (tmp_path / "link.csv").write_text("t,rate\n0,5Mbit\n")
    base = BASE.replace("delay: 3ms", f"delay: 3ms, {extra}")
    with pytest.raises(InputError, match="radio model") as caught:
        plan("model: manhattan", "radio: wifi", base=base)
    assert caught.value.where.endswith(":6")


def test_the_overview_of_a_long_trace_keeps_little_of_it_and_knows_where_handovers_are(tmp_path, monkeypatch):
    path = tmp_path / "exp.yaml"
    path.write_text(BASE + "  trace: t.csv\n")
    rows = "".join(f"{t / 10},a,{50 - 50 * math.cos(t / 99):.3f},{t % 7}\n" for t in range(5000))
    (tmp_path / "t.csv").write_text("t,node,x,y\n0,b,100,0\n" + rows)
    found, loaded = load_plan(path), load(path)
    assert len(found.moves) > 10
    short = motion.overview(loaded.spec, loaded.document, found)
    monkeypatch.setattr(motion, "thinned", lambda rows, *_: of_rows(rows))
    whole = motion.overview(loaded.spec, loaded.document, found)
    assert short.handovers == whole.handovers
    assert short.end == whole.end
    assert [len(d.path) for d in short.devices] == [len(d.path) for d in whole.devices]
    for one, other in zip(short.devices[0].path, whole.devices[0].path, strict=True):
        assert one == pytest.approx(other, abs=7)


def test_where_a_trace_is_taken_row_by_row_nothing_keeps_all_of_it(tmp_path, monkeypatch):
    path = tmp_path / "exp.yaml"
    path.write_text(BASE + "  trace: t.csv\n")
    (tmp_path / "t.csv").write_text("t,node,x,y\n0,a,0,0\n0,b,100,0\n9,a,100,0\n")
    monkeypatch.setattr(motion, "of_rows", lambda *_: pytest.fail("all rows are kept"))
    seen = motion.overview(load(path).spec, load(path).document, load_plan(path))
    assert [(h.at, h.x) for h in seen.handovers] == [(4.5, 50.0)]
    assert seen.devices[0].path == ((0.0, 0.0, 0.0), (4.5, 50.0, 0.0), (9.0, 100.0, 0.0))
