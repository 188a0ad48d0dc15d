from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodes.events import Span
from testbed.report import write_report
from testbed.report.activity import edges, thrown_away
from testbed.report.gantt import MOST_OWNERS, MOST_PLOTS, caption, gantt_plots
from testbed.report.load import load
from testbed.report.pipelinegrids import pipeline_grid, stage_sums, steering_grid
from testbed.report.pipelines import (
    CHANGES,
    MOST_BOXES,
    MOST_MOMENTS,
    Lane,
    Pipelined,
    gather,
    lanes,
    moments,
    receiver,
    windows,
)
from testbed.report.records import RunRecord, SchemeRecord
from testbed.report.timeline import timeline_plot
from tests.unit.report.test_html import Page

RunOf = Callable[..., Path]
MICRO, SLOT = 4, 0.1  # s; a piece of work takes 0.08 s of its slot
CYCLE = 2 * (MICRO + 3) * SLOT
BEGIN = 5000.0
NODES = ("pi4-1", "edge-north", "cloud")


def pipeline(
    owner: str = "pi4-1", rounds: int = 2, batches: int = 8, micro: int = MICRO, nodes: Sequence[str] = NODES,
    layers: Sequence[Sequence[int]] = ((0, 2), (2, 4), (4, 5)), moves: tuple[int, int, str] | None = None,
) -> list[Span]:  # fmt: skip
    """Three stages, a batch's forwards before its backwards; ``moves``: stage 1, from that round and batch on."""
    found: list[Span] = []
    where = [owner, *nodes[1:]]
    last = len(where) - 1

    def add(kind: str, stage: int, begin: float, end: float, **more: Any) -> None:
        found.append(Span(kind=kind, node=where[stage], part=f"stage{stage}:{owner}", begin=begin, end=end, **more))

    for number in range(1, rounds + 1):
        start = BEGIN + (number - 1) * (batches * CYCLE + 1)
        for batch in range(batches):
            if moves and moves[:2] == (number, batch):
                where[1] = moves[2]
            at = start + batch * CYCLE
            back = at + (micro + 2) * SLOT
            for m in range(micro):
                label = {"round": number, "batch": batch, "micro": m}
                for s in range(last + 1):
                    done = at + (m + s) * SLOT + 0.08
                    kind = "tail-step" if s == last else "forward"
                    add(kind, s, done - 0.08, done, attrs={"stage": s}, **label)
                    if s < last:
                        add("send", s, done, done + 0.02, peer=where[s + 1], bytes=1000, **label,
                            attrs={"message": "activations"})  # fmt: skip
                    if s:
                        gone = back + (m + last - s) * SLOT + 0.08
                        add("send", s, gone, gone + 0.02, peer=where[s - 1], bytes=600, **label,
                            attrs={"message": "gradients"})  # fmt: skip
                        gone += 0.02
                    if s < last:
                        add("backward", s, back + (m + last - s) * SLOT, back + (m + last - s) * SLOT + 0.08,
                            attrs={"stage": s}, **label)  # fmt: skip
            add("update", 0, at + CYCLE - 0.03, at + CYCLE - 0.01, round=number, batch=batch, micro=micro - 1,
                attrs={"stage": 0})  # fmt: skip
        for s in range(last + 1):
            attrs = {
                "device": owner, "stage": s, "stages": 3, "layers": list(layers[s]), "schedule": "sync",
                "micro": micro, "depth": micro - s, "batches": batches, "attempt": 0, "busy_s": (1 + number) * (3 - s),
                "bubble": 0.1 * (number + s), "staleness": 0.5 * (number - 1), "staleness_most": number - 1,
                "packing_error": 0.0,
            }  # fmt: skip
            add("pipeline", s, start + s * SLOT, start + batches * CYCLE, round=number, attrs=attrs)
    return sorted(found, key=lambda s: s.begin)


def handover(at: float, owner: str = "pi4-1") -> Span:
    attrs = {"device": owner, "from": "north", "to": "south"}
    return Span(kind="handover", node=owner, begin=at, end=at + 0.003, attrs=attrs)


def record_of(*spans: Span) -> RunRecord:
    ordered = tuple(sorted(spans, key=lambda s: s.begin))
    return RunRecord(Path(), "r", "e", "ok", schemes=(SchemeRecord("edgemove", begin=BEGIN, spans=ordered),))


def one(*spans: Span) -> Pipelined:
    (found,) = gather(record_of(*spans))
    return found


def in_run(run: Path, spans: Sequence[Span]) -> Path:
    (run / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(s) + b"\n" for s in spans))
    return run


def cells(pipes: Sequence[Pipelined]) -> list[list[str]]:
    return [[cell.text for cell in row] for row in pipeline_grid(pipes).rows]


def test_the_section_is_there_with_the_numbers(run_of: RunOf) -> None:
    moved = BEGIN + 8 * CYCLE + 1 + 4.5 * CYCLE
    spans = [*pipeline(moves=(2, 5, "edge-south")), handover(moved)]
    run = in_run(run_of(schemes=["edgemove"], devices=["pi4-1"], moves=[]), spans)
    first = write_report(run).read_bytes()
    page = Page(first.decode())
    assert page.ids["pipeline"] == 1
    assert [name for name, times in page.ids.items() if times > 1] == []
    for said in ("edgemove, pi4-1: batches 3 to 5 of round 1.", "Schedule sync, 4 micro-batches a batch, at most 4",
                 "handover north to south", "stage 1 from edge-north to edge-south", "forward, loss and backward",
                 "Stages of the pipelines"):  # fmt: skip
        assert said in page.text, said
    described = [label for label in page.labels if label.startswith("Gantt chart.")]
    assert len(described) == 2
    # In three batches of 1.4 s: 12 forwards, 12 backwards and 3 updates on the device, 12 tails in the cloud.
    assert "stage 0 on pi4-1 busy 47 %; stage 1 on edge-north busy 46 %; stage 2 on cloud busy 23 %" in described[0]
    assert write_report(run).read_bytes() == first


def test_without_pipelines_there_is_nothing_to_draw(both: Path) -> None:
    pipes = gather(load(both))
    assert pipes == []
    assert gantt_plots(pipes) == []
    assert pipeline_grid(pipes).rows == []


def test_sums_by_stage() -> None:
    pipe = one(*pipeline())
    rows = stage_sums(pipe)
    assert [row.lane for row in rows] == [Lane(0, "pi4-1"), Lane(1, "edge-north"), Lane(2, "cloud")]
    lasted = 8 * CYCLE
    assert [row.busy for row in rows] == pytest.approx([5 * (3 - s) / (2 * lasted) for s in range(3)])
    assert [row.bubble for row in rows] == pytest.approx([0.15, 0.25, 0.35])
    assert [row.staleness for row in rows] == pytest.approx([0.25] * 3)
    sent = 2 * 8 * MICRO
    assert [dict(row.sent) for row in rows] == [
        {"activations": 1000 * sent}, {"activations": 1000 * sent, "gradients": 600 * sent}, {"gradients": 600 * sent},
    ]  # fmt: skip
    assert cells([pipe])[1] == [
        "pi4-1", "1", "edge-north", "2-4", "3", "2", "44.6 %", "25.0 %", "0.25", "1", "64 kB", "38.4 kB", "edgemove",
    ]  # fmt: skip


def test_bytes_of_a_stage_that_moved_stay_with_the_node_that_sent_them() -> None:
    pipe = one(*pipeline(moves=(2, 5, "edge-south")))
    rows = {row.lane: row for row in stage_sums(pipe)}
    assert list(rows) == [Lane(0, "pi4-1"), Lane(1, "edge-north"), Lane(1, "edge-south"), Lane(2, "cloud")]
    assert rows[Lane(1, "edge-north")].sent["activations"] == 1000 * MICRO * (8 + 5)
    assert rows[Lane(1, "edge-south")].sent["activations"] == 1000 * MICRO * 3
    assert (rows[Lane(1, "edge-north")].rounds, rows[Lane(1, "edge-south")].rounds) == (1, 1)


def test_a_run_that_broke_off_in_its_first_round_is_drawn_without_sums() -> None:
    pipe = one(*(s for s in pipeline(rounds=1) if s.kind != "pipeline"))
    assert len(gantt_plots([pipe])) == 1
    assert cells([pipe])[0][3:10] == ["–", "–", "0", "–", "–", "–", "–"]  # noqa: RUF001


def test_lanes_are_in_the_order_of_stages_whoever_begins() -> None:
    spans = pipeline()
    random.Random(1).shuffle(spans)
    assert [lane.stage for lane in lanes(spans)] == [0, 1, 2]
    chart = gantt_plots([one(*pipeline())])[0][1]
    places = [chart.index(f">{name}<") for name in NODES]
    assert places == sorted(places)


def test_a_last_stage_on_the_device_has_a_lane_of_its_own() -> None:
    pipe = one(*pipeline(nodes=("pi4-1", "edge-north", "pi4-1")))
    window, *_ = windows(pipe)
    assert lanes(pipe.within(window)) == [Lane(0, "pi4-1"), Lane(1, "edge-north"), Lane(2, "pi4-1")]
    back = next(s for s in pipe.sends if s.part == "stage2:pi4-1")
    assert receiver(back) == Lane(1, "edge-north")
    assert edges(record_of(*pipe.work)) == ("edge-north",)
    assert timeline_plot(record_of(*pipe.work, *pipe.rounds))


def test_the_steady_window_is_in_a_round_in_which_nothing_happened() -> None:
    quiet = one(*pipeline())
    disturbed = one(*pipeline(), handover(BEGIN + 2 * CYCLE))
    assert [w.text for w in windows(quiet)] == ["batches 3 to 5 of round 1"]
    steady, around = windows(disturbed)
    assert steady.text == "batches 3 to 5 of round 2"
    assert steady.end - steady.begin == pytest.approx(3 * CYCLE)
    assert around.begin < BEGIN + 2 * CYCLE < around.end
    assert around.moments[0].handover


def test_layers_that_go_to_another_stage_are_a_moment() -> None:
    before = [s for s in pipeline() if s.round == 1]
    after = [s for s in pipeline(layers=((0, 3), (3, 4), (4, 5))) if s.round == 2]
    (found,) = moments(one(*before, *after))
    assert found.text == "layers of stage 0 0-2 to 0-3, stage 1 2-4 to 3-4"
    assert found.at == pytest.approx(BEGIN + 8 * CYCLE + 1)


def test_windows_and_charts_are_few() -> None:
    owners = [f"pi4-{i}" for i in range(1, 8)]
    spans = [s for name in owners for s in pipeline(name, rounds=3, batches=20)]
    spans += [handover(BEGIN + i * 8 * CYCLE, name) for name in owners for i in range(6)]
    pipes = gather(record_of(*spans))
    assert [p.owner for p in pipes] == owners
    assert all(len(windows(p)) == 1 + MOST_MOMENTS for p in pipes)
    charts = gantt_plots(pipes)
    assert len(charts) == MOST_PLOTS
    assert f"Drawn: {MOST_OWNERS} of 7" in pipeline_grid(pipes).note


def test_very_many_events_take_no_longer_and_no_more_room() -> None:
    spans = [*pipeline(batches=1_200, micro=25, rounds=1), handover(BEGIN + 700.0), handover(BEGIN + 1500.0)]
    record = record_of(*spans)
    assert len(spans) > 250_000
    begin = time.process_time()
    pipes = gather(record)
    found, rows = windows(pipes[0]), pipeline_grid(pipes).rows
    took = time.process_time() - begin
    assert took < 2  # a second on an idle machine
    assert len(rows) == 3
    assert all(len(pipes[0].within(w)) <= MOST_BOXES + 60 for w in found)


def test_a_batch_with_too_many_boxes_shows_its_beginning() -> None:
    pipe = one(*pipeline(batches=2, micro=400, rounds=1))
    (window,) = windows(pipe)
    assert window.text == "batches 1 to 2 of round 1, their beginning"
    ((said, chart),) = gantt_plots([pipe])
    assert said == caption(pipe, window)
    assert len(chart) < 400_000


def test_micro_batches_are_not_mistaken_for_work_that_was_thrown_away() -> None:
    spans = pipeline(rounds=1)
    assert thrown_away(spans) == []
    later = [msgspec.structs.replace(s, begin=s.begin + 100, end=s.end + 100) for s in spans]
    ((begin, end),) = thrown_away([*spans, *later])
    assert (begin, round(end - begin)) == (BEGIN, round(8 * CYCLE))


def test_only_owners_are_devices() -> None:
    assert record_of(*pipeline()).devices == ("pi4-1",)


def steered() -> list[Span]:
    """A pipeline whose second stage moves ahead of a handover, and which is probed."""
    at = BEGIN + 8 * CYCLE + 1 + 4.5 * CYCLE
    more = [
        Span(kind="relocate", node="pi4-1", begin=at - 0.4, end=at - 0.1, bytes=10**6,
             attrs={"device": "pi4-1", "stage": 1, "from": "edge-north", "to": "edge-south"}),
        Span(kind="relay", node="pi4-1", begin=at + CYCLE, end=at + CYCLE + 0.2,
             attrs={"device": "pi4-1", "stage": -1, "from": "0-2, 2-4", "to": ["0-3", "3-4"]}),
        Span(kind="reopen", node="pi4-1", round=2, begin=at + 2 * CYCLE, end=at + 2 * CYCLE + 0.2,
             attrs={"device": "pi4-1", "from": "edge-south", "to": "", "why": "edge-south died"}),
        Span(kind="probed", node="pi4-1", begin=at - 1, end=at - 0.5, peer="edge-north", bytes=1000,
             attrs={"up": 1e6, "down": None, "lost": False}),
        Span(kind="probe", node="edge-north", part="prober:edge-north", begin=at - 0.8, end=at - 0.7,
             attrs={"device": "pi4-1"}),
        handover(at),
    ]  # fmt: skip
    return [*pipeline(moves=(2, 5, "edge-south")), *more]


def test_changes_are_told_as_the_device_told_them_and_once() -> None:
    found = moments(one(*steered()))
    assert [m.text for m in found] == [
        "stage 1 from edge-north to edge-south", "handover north to south", "layers from 0-2, 2-4 to 0-3, 3-4",
        "round 2 again, edge-south to ?: edge-south died",
    ]  # fmt: skip
    assert [round(m.end - m.at, 3) for m in found if m.end] == [0.3, 0.2, 0.2]


def test_what_happened_is_drawn_with_its_probes(run_of: RunOf) -> None:
    run = in_run(run_of(schemes=["edgemove"], devices=["pi4-1"], moves=[]), steered())
    page = Page(write_report(run).read_bytes().decode())
    for said in ("stage 1 from edge-north to edge-south", "layers from 0-2, 2-4", "round 2 again", "probe"):
        assert said in page.text, said
    described = [label for label in page.labels if label.startswith("Gantt chart.")]
    assert any(label.endswith("; 1 probe.") for label in described)


def test_a_probe_in_a_quiet_run_has_a_window_of_its_own() -> None:
    probed = [Span(kind="probed", node="pi4-1", begin=BEGIN + (8.5 + i) * CYCLE + 1, end=BEGIN + (8.6 + i) * CYCLE + 1,
                   peer=f"edge-{i}") for i in range(3)]  # fmt: skip
    steady, around = windows(one(*pipeline(), *probed))
    assert steady.text == "batches 3 to 5 of round 1"
    assert around.text == "probe of edge-0"
    assert around.begin < probed[0].begin < around.end
    assert windows(one(*pipeline())) == [steady]


def test_changes_without_what_they_ought_to_say_are_drawn_all_the_same() -> None:
    bare = [Span(kind=kind, node="pi4-1", begin=BEGIN + CYCLE, end=BEGIN + CYCLE) for kind in CHANGES]
    pipe = one(*pipeline(), *bare, Span(kind="probed", node="pi4-1", begin=BEGIN, end=BEGIN))
    assert len(gantt_plots([pipe])) == 2
    assert "stage ? from ? to ?" in [m.text for m in moments(pipe)]


def test_what_probes_took_is_a_table() -> None:
    row = {"changes": {"relocate": 2, "relay": 1, "reopen": 0}, "probes": 5, "probes_lost": 1, "probes_put_off": 3,
           "probe_s": 1.5, "probe_bytes": 2_000_000, "probe_time_share": 0.015, "probe_bytes_share": 0.03,
           "probe_budget": 0.02, "staleness_most": 1}  # fmt: skip
    record = RunRecord(Path(), "r", "e", "ok", schemes=(SchemeRecord("edgemove", pipeline={"pi4-1": row, "odd": 3}),))
    first, odd = steering_grid(record).rows
    assert [cell.text for cell in first] == [
        "pi4-1", "5", "1", "3", "1.50 s", "1.5 %", "2 MB", "3.0 %", "2.0 %", "2", "1", "0", "1", "edgemove",
    ]  # fmt: skip
    assert [cell.mark for cell in first][5:8] == ["", "", "bad"]
    assert {cell.text for cell in odd[1:-1]} == {"–"}  # noqa: RUF001


def test_the_timeline_says_stage_of_a_stage() -> None:
    drawn = timeline_plot(record_of(*pipeline()))
    assert drawn is not None
    assert "stage on edge-north" in drawn
    assert "edge half" not in drawn
