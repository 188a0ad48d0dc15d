from __future__ import annotations

import dataclasses
from pathlib import Path

import networkx as nx
import pytest

from nodes.policies import samples
from nodes.policies.layers import LAYERS
from testbed.cli.options import Format
from testbed.cli.show import plain, selection, show
from testbed.emulation.links.shape import Shape
from testbed.errors import InputError
from testbed.experiment import Plan, load_plan
from testbed.experiment.changes import Move
from testbed.experiment.plan import SelectPlan, Tolerances

ROOT = Path(__file__).parents[3]
TOPOLOGIES = sorted((ROOT / "topologies").glob("*.yaml"))
GIB = 2**30


def links(plan: Plan):
    return {link.name: link for link in plan.links}


def test_nodes(write):
    plan = load_plan(write())
    assert [(n.name, n.kind, n.profile, n.site, n.bridge) for n in plan.nodes] == [
        ("dev-1", "device", "tiny-device", "north", "ap-north"),
        ("dev-2", "device", "tiny-device", "north", "ap-north"),
        ("lone", "device", "pi4", "south", "ap-south"),
        ("edge-north", "edge", "edge-server", "north", "ap-north"),
        ("edge-south", "edge", "tiny-edge", "south", "ap-south"),
        ("cloud", "cloud", "cloud", None, "sw-cloud"),
    ]
    lone = plan.node("lone")
    assert (lone.speed, lone.memory, lone.period, lone.threads) == (0.16, GIB, 0.1, 1)
    assert lone.cpus == pytest.approx(0.4)
    assert plan.bridges == ("ap-north", "ap-south", "sw-cloud")
    assert (plan.name, plan.seed, plan.link_backend, plan.lead) == ("good", 5, "auto", 0.3)
    assert plan.tolerances == Tolerances()


def test_count_of_one_keeps_the_bare_name(write):
    plan = load_plan(write(("{profile: pi4, at: south}", "{profile: pi4, at: south, count: 1}")))
    assert plan.node("lone").kind == "device"


def test_links(write):
    by_name = links(load_plan(write()))
    access = by_name["access:dev-1"]
    assert (access.kind, access.a, access.b) == ("access", "dev-1", "ap-north")
    assert access.ab == Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.001, queue=250_000)
    assert access.ba == Shape(rate=40e6, delay=0.004, jitter=0.001, loss=0.001, queue=500_000)
    edge = by_name["edge:edge-south"]
    assert (edge.kind, edge.a, edge.b) == ("edge", "edge-south", "ap-south")
    assert edge.ab == edge.ba == Shape(rate=1e9, delay=0.0002, queue=12_500_000)
    wire = by_name["wire:cloud"]
    assert (wire.kind, wire.a, wire.b, wire.ab, wire.ba) == ("wire", "cloud", "sw-cloud", Shape(), Shape())
    backhaul = by_name["north -- cloud"]
    assert (backhaul.kind, backhaul.a, backhaul.b) == ("backhaul", "ap-north", "sw-cloud")
    assert backhaul.ab == backhaul.ba == Shape(rate=50e6, delay=0.005, queue=625_000)  # delay: the default
    assert len(by_name) == 8


def test_up_on_a_backhaul_goes_from_the_first_to_the_second(write):
    plan = load_plan(write(("{rate: 50Mbit}", "{rate: {up: 5Mbit, down: 7Mbit}}")))
    link = links(plan)["north -- cloud"]
    assert (link.a, link.ab.rate, link.ba.rate) == ("ap-north", 5e6, 7e6)


def test_a_link_left_blank_has_the_defaults(write):
    link = links(load_plan(write(("{rate: 50Mbit}", ""))))["north -- cloud"]
    assert link.ab == Shape(rate=100e6, delay=0.005, queue=1_250_000)


def test_spaces_in_a_link_name_do_not_matter(write):
    assert "north -- cloud" in links(load_plan(write(("north -- cloud:", "north--cloud:"))))


def test_sites_override_single_access_settings(write):
    text = "{profile: tiny-edge}, access: {rate: 8Mbit, queue: 10p}, edge_link: {delay: 1ms}"
    plan = load_plan(write(("{profile: tiny-edge}", text)))
    south, north = plan.site("south"), plan.site("north")
    assert south.access_up == Shape(rate=8e6, delay=0.004, jitter=0.001, loss=0.001, queue_packets=10)
    assert north.access_up.rate == 20e6
    by_name = links(plan)
    assert by_name["access:lone"].ab == south.access_up
    assert by_name["access:lone"].ba == south.access_down
    assert by_name["edge:edge-south"].ab.delay == 0.001
    assert by_name["edge:edge-north"].ab.delay == 0.0002


def test_default_queue_is_100_ms_and_at_least_two_packets(write):
    plan = load_plan(write((", queue: 100ms}", "}"), ("{rate: 50Mbit}", "{rate: 80kbit}")))
    assert links(plan)["access:lone"].ab.queue == 250_000
    assert links(plan)["north -- cloud"].ab.queue == 3028


def test_profiles_are_changed_field_by_field(write):
    text = "profiles:\n  pi4: {speed: 0.2}\n  mine: {speed: 0.1, memory: 300MiB, cpus: 1, period: 20ms}\nworkload:"
    plan = load_plan(write(("workload:", text), ("tiny-device, count", "mine, count")))
    lone, dev = plan.node("lone"), plan.node("dev-1")
    assert (lone.speed, lone.memory) == (0.2, GIB)
    assert lone.cpus == pytest.approx(0.5)  # the guard follows the speed
    assert (dev.speed, dev.memory, dev.cpus, dev.period) == (0.1, 300 * 2**20, 1, 0.02)


def test_an_edge_server_may_have_a_name_and_moves_may_use_it(write):
    plan = load_plan(write(("{profile: tiny-edge}", "{profile: tiny-edge, name: edge-b}"), ("to: south", "to: edge-b")))
    assert plan.site("south").edge == "edge-b"
    assert plan.moves == (Move("dev-1", "south", round=2, progress=0.5),)


def test_site_without_an_edge_server(write):
    plan = load_plan(write(("{profile: tiny-edge}", "none"), ("[splitfed, fedfly]", "fedavg")))
    assert plan.site("south").edge is None
    assert [n.name for n in plan.nodes if n.kind == "edge"] == ["edge-north"]


@pytest.mark.parametrize(
    ("sentence", "move"),
    [
        ("dev-1 to south at 50% of round 2", Move("dev-1", "south", round=2, progress=0.5)),
        ("dev-1 to edge-south at 50 % of round 2", Move("dev-1", "south", round=2, progress=0.5)),
        ("dev-1 to south at 0.9 of round 3", Move("dev-1", "south", round=3, progress=0.9)),
        ("dev-1  to  south  at  12s", Move("dev-1", "south", at=12.0)),
        ("{device: dev-1, to: south, round: 1}", Move("dev-1", "south", round=1, progress=0.0)),
        ("{device: dev-1, to: south, at: 0}", Move("dev-1", "south", at=0.0)),
    ],
)
def test_ways_to_write_a_move(write, sentence, move):
    plan = load_plan(write(("{device: dev-1, to: south, round: 2, progress: 50%}", sentence)))
    assert plan.moves == (move,)


def test_moves_come_in_order(write):
    first = "    - {device: dev-1, to: south, round: 2, progress: 50%}"
    more = "\n    - dev-2 to south at 10% of round 1\n    - dev-1 to north at 10% of round 3\n    - lone to north at 1s"
    plan = load_plan(write((first, first + more)))
    assert [(m.device, m.at, m.round) for m in plan.moves] == [
        ("lone", 1.0, None), ("dev-2", None, 1), ("dev-1", None, 2), ("dev-1", None, 3),
    ]  # fmt: skip


def test_hosts(write):
    hosts = "  probe: {at: south, command: [iperf3, -s]}\n  web: {image: 'nginx:1'}\n  idle: {at: north}"
    text = f"hosts:\n{hosts}\nlinks:\n  web -- south: {{}}"
    plan = load_plan(write(("links:", text)))
    probe, web, idle = plan.node("probe"), plan.node("web"), plan.node("idle")
    assert (probe.kind, probe.bridge, probe.command, probe.image) == ("host", "ap-south", ("iperf3", "-s"), None)
    assert (web.site, web.bridge, web.command, web.image) == (None, "sw-web", None, "nginx:1")
    assert idle.command == ("sleep", "infinity")
    by_name = links(plan)
    assert by_name["wire:web"].b == by_name["web -- south"].a == "sw-web"
    assert by_name["wire:probe"].b == "ap-south"
    assert "sw-web" in plan.bridges


def test_a_short_file_is_enough(write):
    text = "sites: {here:}\ncloud:\ndevices: {dev: {profile: pi4, at: here}}\nlinks: {here -- cloud:}\n"
    plan = load_plan(write(text=text, name="my first file!.yaml"))
    assert plan.name == "my-first-file"
    work = plan.workload
    assert (work.schemes, work.model, work.cut, work.rounds, work.batch) == (("fedfly",), "vgg5", 4, 4, 16)
    assert (work.lr, work.momentum, work.weight_decay, work.threads, work.strategy) == (0.01, 0.9, 0.0, 1, None)
    assert (work.data.set, work.data.dir, work.data.dirichlet, work.data.fractions) == ("digits", None, None, None)


def test_cut_defaults_to_the_models(write):
    assert load_plan(write(("model: vgg5\n  cut: 4", "model: cnn"))).workload.cut == 2


@pytest.mark.parametrize(
    ("model", "cut", "k"),
    [("vgg5", "SP1", 2), ("vgg5", "sp2", 4), ("vgg5", "SP3", 5), ("vgg5", "pool1", 2), ("vgg11", "pool2", 4),
     ("resnet18", "block2", 3), ("mobilenetv3-small", "neck4", 5), ("cnn", "1", 1)],
)  # fmt: skip
def test_a_cut_may_be_named(write, model, cut, k):
    assert load_plan(write(("model: vgg5\n  cut: 4", f"model: {model}\n  cut: {cut}"))).workload.cut == k


def test_every_model_has_a_cut_by_default(write):
    for model, layers in LAYERS.items():
        data = next(samples.sets_for(model))  # one that is built in
        file = write(("model: vgg5\n  cut: 4", f"model: {model}\n  data: {{set: {data}}}"))
        assert 0 < load_plan(file).workload.cut < len(layers)


def test_devices_may_have_cuts_of_their_own(write):
    own = ("count: 2, at: north}", "count: 2, at: north, cut: SP1}")
    work = load_plan(write(own)).workload
    assert work.cuts == {"dev-1": 2, "dev-2": 2}
    assert (work.cut_of("dev-2"), work.cut_of("lone"), work.cut_of("edge-south")) == (2, 4, 4)
    assert load_plan(write(("count: 2, at: north}", "count: 2, at: north, cut: SP2}"))).workload.cuts == {}


def test_a_device_has_no_cut_where_nothing_is_split(write):
    with pytest.raises(InputError, match="device's cut has nothing to act on") as error:
        load_plan(write(("[splitfed, fedfly]", "fedavg"), ("count: 2, at: north}", "count: 2, at: north, cut: 2}")))
    assert str(error.value.where).endswith(":8")


def test_rounds_wait_for_all_and_average_flat_unless_the_file_says(write):
    work = load_plan(write()).workload
    assert (work.drop, work.hierarchical) == (None, False)
    same = load_plan(write(("rounds: 3", "rounds: 3\n  late: wait\n  aggregation: flat"))).workload
    assert same == work
    other = load_plan(write(("rounds: 3", "rounds: 3\n  late: {drop: 1min}\n  aggregation: hierarchical"))).workload
    assert (other.drop, other.hierarchical) == (60.0, True)


def test_an_edge_server_that_averages_needs_room_for_the_models(write):
    small = ("rounds: 3", "rounds: 3\nprofiles: {tiny-edge: {memory: 400MiB}}")
    model = ("model: vgg5\n  cut: 4", "model: vgg11")
    load_plan(write(small, model))
    with pytest.raises(InputError, match="too little memory"):
        load_plan(write(small, (model[0], model[1] + "\n  aggregation: hierarchical")))


def test_fedavg_takes_any_cut_of_the_model(write):
    assert load_plan(write(("[splitfed, fedfly]", "fedavg"), ("cut: 4", "cut: 7"))).workload.cut == 7
    with pytest.raises(InputError, match="cut 8 lies outside"):
        load_plan(write(("[splitfed, fedfly]", "fedavg"), ("cut: 4", "cut: 8")))


def test_data_directory_is_relative_to_the_file(write, tmp_path):
    (tmp_path / "sets").mkdir()
    plan = load_plan(write(("rounds: 3", "data: {set: cifar10, dir: sets, train: 100, test: 50}")))
    assert plan.workload.data.dir == str(tmp_path / "sets")
    assert (plan.workload.data.train_samples, plan.workload.data.test_samples) == (100, 50)


def test_fractions_are_made_whole(write):
    thirds = "data: {split: {fractions: {dev-1: 33.3%, dev-2: 33.3%, lone: 33.3%}}}"
    fractions = load_plan(write(("rounds: 3", thirds))).workload.data.fractions
    assert fractions == pytest.approx(dict.fromkeys(["dev-1", "dev-2", "lone"], 1 / 3))
    assert sum(fractions.values()) == pytest.approx(1, abs=1e-15)


def test_tolerances(write):
    text = (
        "tolerances: {rate: 5%, rtt: 1ms, speed: 3%, late_steps: 10%, starved: 4%, link_late: 8ms, "
        "link_late_share: 3%, node_silence: 20s, round_deadline: 2min}\nworkload:"
    )
    expected = Tolerances(0.05, 0.001, 0.03, 0.1, 0.04, 0.008, 0.03, 20.0, 120.0)
    assert load_plan(write(("workload:", text))).tolerances == expected


def test_schemes_and_no_moves_as_arguments(write):
    plan = load_plan(write(), schemes=["fedavg"], no_moves=True)
    assert plan.workload.schemes == ("fedavg",)
    assert plan.moves == ()
    with pytest.raises(InputError, match="unknown scheme"):
        load_plan(write(), schemes=["fed]avg"])


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda p: p.name)
def test_what_is_rendered_plans_the_same_from_elsewhere(path, tmp_path):
    rounds = "tasks.digits.rounds=5" if path.stem == "serverless" else "workload.rounds=5"
    plan = load_plan(path, [rounds, "links.access.loss={up: 1%, down: 0}"], no_moves=path.stem == "walk")
    copy = tmp_path / "experiment.yaml"
    copy.write_text(plan.rendered, encoding="utf-8")
    again = load_plan(copy)
    assert dataclasses.replace(again, source=plan.source) == plan


def test_rendered_keeps_the_name_and_the_data_directory(write, tmp_path):
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    plan = load_plan(write(("name: good\n", ""), ("rounds: 3", "data: {set: cifar10}"), name="mine.yaml"))
    copy = tmp_path / "elsewhere" / "experiment.yaml"
    copy.parent.mkdir()
    copy.write_text(plan.rendered, encoding="utf-8")
    again = load_plan(copy)
    assert (again.name, again.workload) == ("mine", plan.workload)


def test_a_data_set_by_override_alone_can_be_rendered(write, tmp_path):
    (tmp_path / "sets").mkdir()
    text = "sites: {here:}\ncloud:\ndevices: {dev: {profile: pi4, at: here}}\nlinks: {here -- cloud:}\nworkload:\n"
    plan = load_plan(write(text=text), ["workload.data.set=cifar10", "workload.data.dir=sets"])
    assert f"dir: {tmp_path / 'sets'}" in plan.rendered


def test_what_is_made_up_says_so(capsys):
    motion, text = (load_plan(ROOT / f"topologies/{name}.yaml") for name in ("motion", "text"))
    show(motion, Format.table)
    assert "on motion (synthetic)" in " ".join(capsys.readouterr().out.split())
    show(text, Format.table)
    assert "synthetic" not in capsys.readouterr().out
    assert plain(motion)["workload"]["data"]["synthetic"] is True


def test_topologies_that_ship_are_what_the_docs_say():
    assert {p.stem for p in TOPOLOGIES} >= {"smoke", "fedfly", "walk"}
    smoke, fedfly = load_plan(ROOT / "topologies/smoke.yaml"), load_plan(ROOT / "topologies/fedfly.yaml")
    kinds = [n.kind for n in smoke.nodes]
    assert (kinds.count("device"), kinds.count("edge"), kinds.count("cloud")) == (2, 2, 1)
    assert fedfly.workload.schemes == ("splitfed", "fedfly")
    assert [n.profile for n in fedfly.nodes if n.kind == "device"] == ["pi3", "pi3", "pi4", "pi4"]
    assert sum(n.speed for n in fedfly.nodes) == pytest.approx(1.43)
    backhaul = nx.Graph((link.a, link.b) for link in fedfly.links if link.kind == "backhaul")
    assert len(nx.cycle_basis(backhaul)) == 1


def test_places_are_no_part_of_what_a_plan_is(write):
    plan = load_plan(write())
    assert plan.where("north -- cloud") == f"{plan.source}:13"
    assert plan.where("nothing", "access:south") == f"{plan.source}:11"
    assert plan.where("nothing") == plan.source
    assert "places" not in plain(plan)
    assert dataclasses.replace(plan, places={}) == plan


def test_a_selection_and_what_is_said_of_it(write):
    asked = "rounds: 3\n  data: {select: {rule: hard, share: 30%, by: logistic, features: half, control: no}}"
    plan = load_plan(write(("rounds: 3", asked)))
    assert plan.workload.data.select == SelectPlan("hard", 0.3, "logistic", "half", control=False)
    [said] = selection(plan)
    assert said == (
        "each device trains on 30% of its samples (hard, by logistic on the device half); "
        "no random control: the experiment says control: no"
    )
    short = load_plan(write(("rounds: 3", "rounds: 3\n  data: {select: {rule: balanced, share: 0.5}}")))
    assert short.workload.data.select == SelectPlan("balanced", 0.5)
    [said] = selection(short)
    assert said.endswith("(balanced); control: splitfed-random, fedfly-random")
    assert selection(load_plan(write())) == []
