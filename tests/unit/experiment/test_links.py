"""What links are asked to do, from the file to the plan."""

from __future__ import annotations

import pytest

from testbed.cli.show import describe, plain
from testbed.emulation.links.shape import Bursts, Shape, Spread, Step
from testbed.emulation.links.spreads import normal
from testbed.experiment import load_plan

CLOUD = "{rate: 50Mbit}"


def cloud_link(plan):
    return next(link for link in plan.links if link.name == "north -- cloud")


def test_everything_at_once(write):
    settings = (
        "{rate: 50Mbit, delay: 30ms, jitter: 3ms, distribution: normal, loss: {burst: 4, share: 1%}, queue: 50p, "
        "reorder: 2%, duplicate: 3%, corrupt: {up: 0.1%, down: 0}}"
    )
    link = cloud_link(load_plan(write((CLOUD, settings))))
    assert link.ab == Shape(
        rate=50e6, delay=0.03, jitter=0.003, spread=Spread("normal", normal()), loss=0.0, bursts=link.ab.bursts,
        queue=None, queue_packets=50, reorder=0.02, duplicate=0.03, corrupt=0.001,
    )  # fmt: skip
    assert link.ba.corrupt == 0
    assert (link.ab_trace, link.ba_trace) == (None, None)


@pytest.mark.parametrize(("burst", "share"), [(4, 0.01), (1, 0.05), (1, 0.5), (2.5, 0.3), (100, 0.9)])
def test_bursts_by_their_length(write, burst, share):
    bursts = cloud_link(load_plan(write((CLOUD, f"{{loss: {{burst: {burst}, share: {share}}}}}")))).ab.bursts
    assert bursts is not None
    assert (bursts.bad, bursts.good, 1 / bursts.leave) == (1.0, 0.0, pytest.approx(burst))
    assert bursts.share == pytest.approx(share)
    assert 0 < bursts.enter <= 1


def test_bursts_in_full_and_in_one_direction(write):
    link = cloud_link(load_plan(write((CLOUD, "{loss: {up: {enter: 1%, leave: 25%, bad: 80%}, down: 2%}}"))))
    assert link.ab.bursts == Bursts(enter=0.01, leave=0.25, bad=0.8, good=0.0)
    assert (link.ab.loss, link.ba.loss, link.ba.bursts) == (0.0, 0.02, None)


def test_traces_and_who_has_them(write, tmp_path):
    (tmp_path / "t.csv").write_text("t,rate\n0,5Mbit\n1,\n")
    access = "{trace: {up: t.csv, down: none}, loop: true, "
    plan = load_plan(
        write(("access: {", f"access: {access}"), ("at: [100, 0]", "at: [100, 0], access: {trace: none}"))
    )
    assert [link.name for link in plan.links if link.ab_trace] == ["access:dev-1", "access:dev-2"]
    north, south = plan.site("north"), plan.site("south")
    assert north.access_up_trace is not None
    assert north.access_up_trace.steps == (Step(0.0, 5e6), Step(1.0))
    assert north.access_up_trace.loop
    assert (north.access_down_trace, south.access_up_trace) == (None, None)
    assert plan.links[0].ab_trace == north.access_up_trace
    assert north.access_up.rate == 20e6


def test_a_packet_delivery_trace_is_in_place_of_the_rate(write, tmp_path):
    (tmp_path / "lte").write_text("".join(f"{ms}\n" for ms in range(1, 1001)))
    settings = "{rate: {up: trace, down: 50Mbit}, trace: {up: lte, down: none}, queue: 100ms}"
    link = cloud_link(load_plan(write((CLOUD, settings))))
    assert link.ab.rate == 1514 * 8 * 1000  # a full frame a millisecond
    assert link.ab.queue == 151_400
    assert (link.ba.rate, link.ba_trace) == (50e6, None)
    assert link.ab_trace is not None
    assert (link.ab_trace.loop, link.ab_trace.length) == (True, 1.0)


def test_a_site_may_have_a_packet_delivery_trace_where_others_have_a_rate(write, tmp_path):
    (tmp_path / "lte").write_text("1\n2\n3\n")
    plan = load_plan(write(("at: [100, 0]", "at: [100, 0], access: {trace: lte}")))
    assert plan.site("south").access_up.rate == pytest.approx(12.112e6)
    assert plan.site("north").access_up.rate == 20e6


def test_the_rendered_file_runs_from_anywhere(write, tmp_path):
    (tmp_path / "t.csv").write_text("t,rate\n0,5Mbit\n")
    (tmp_path / "t.dist").write_text("-8192 0 8192\n")
    settings = "{trace: {up: t.csv, down: none}, jitter: 1ms, distribution: t.dist}"
    site = "at: [100, 0], access: {trace: t.csv}"
    plan = load_plan(write((CLOUD, settings), ("at: [100, 0]", site)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "exp.yaml").write_text(plan.rendered)
    again = load_plan(elsewhere / "exp.yaml")
    assert cloud_link(again).ab_trace == cloud_link(plan).ab_trace
    assert cloud_link(again).ab.spread.table == (-8192, 0, 8192)
    assert again.site("south").access_up_trace == plan.site("south").access_up_trace
    assert again.rendered == plan.rendered


def test_shares_are_not_paced(write):
    plan = load_plan(write(("workload:", "profiles: {pi4: {share: 0.3}}\nworkload:")))
    lone, dev = plan.node("lone"), plan.node("dev-1")
    assert (lone.paced, lone.speed, lone.cpus) == (False, 0.3, 0.3)
    assert dev.paced


def test_how_the_experiment_is_made_real(write):
    plan = load_plan(write(("workload:", "dilation: 2.5\nemulation: {speed_check: 0}\nworkload:")))
    assert (plan.dilation, plan.speed_check) == (2.5, 0.0)
    assert (load_plan(write()).dilation, load_plan(write()).speed_check) == (1.0, 5.0)


@pytest.mark.parametrize("change", ["round=3", "progress=90%", "to=edge-south"])
def test_a_move_in_a_sentence_can_be_changed(write, change):
    path = write(("{device: dev-1, to: south, round: 2, progress: 50%}", "dev-1 to south at 50% of round 2"))
    move = load_plan(path, [f"mobility.moves.0.{change}"]).moves[0]
    assert (move.round, move.progress) == {"r": (3, 0.5), "p": (2, 0.9), "t": (2, 0.5)}[change[0]]
    assert move.to == "south"


def test_links_in_words(write, tmp_path):
    (tmp_path / "t.csv").write_text("t,rate\n0,5Mbit\n1,\n")
    settings = "{delay: 30ms, jitter: 3ms, distribution: normal, loss: {burst: 4, share: 1%}, queue: 9p, trace: t.csv}"
    plan = load_plan(write((CLOUD, settings)))
    link = cloud_link(plan)
    assert describe(link.ab, link.ab_trace) == (
        "100 Mbit/s, 30 ms ± 3 normal, loss 1.000% in bursts of 4, queue 9 packets, varies by t.csv: 2 s, once"
    )
    told = next(link for link in plain(plan)["links"] if link["name"] == "north -- cloud")
    assert (told["ab"]["spread"], told["ab_trace"]["steps"]) == ({"name": "normal", "table": 4096}, 2)


def test_ipv6_is_off_unless_asked_for(write):
    assert load_plan(write()).ipv6 is False
    assert load_plan(write(("workload:", "emulation: {ipv6: true}\nworkload:"))).ipv6 is True
