from __future__ import annotations

import pytest

from testbed.errors import InputError
from testbed.experiment import load, load_plan


@pytest.mark.parametrize(
    ("override", "found", "value"),
    [
        ("seed=9", lambda p: p.seed, 9),
        ("workload.rounds=7", lambda p: p.workload.rounds, 7),
        ("workload.optimizer.lr=1e-3", lambda p: p.workload.lr, 0.001),  # the section is not in the file
        ("workload.data={set: digits, train: 99}", lambda p: p.workload.data.train_samples, 99),
        ("workload.data.split.dirichlet=0.5", lambda p: p.workload.data.dirichlet, 0.5),
        ("workload.scheme=fedavg", lambda p: p.workload.schemes, ("fedavg",)),
        ("mobility.moves=[]", lambda p: p.moves, ()),
        ("mobility.moves.0.round=3", lambda p: p.moves[0].round, 3),
        ("mobility.moves.0=lone to north at 3s", lambda p: p.moves[0].at, 3.0),
        ("links.access.rate=10Mbit", lambda p: p.links[0].ab.rate, 10e6),
        ("links.access.rate.up=10Mbit", lambda p: p.links[0].ab.rate, 10e6),
        ("links.edge.rate=10Mbit", lambda p: p.links[3].ab.rate, 10e6),
        ("links.north -- cloud.rate=10Mbit", lambda p: p.links[-1].ab.rate, 10e6),
        ("links.north--cloud.rate=10Mbit", lambda p: p.links[-1].ab.rate, 10e6),
        ("links.south -- cloud={rate: 10Mbit}", lambda p: p.links[-1].ab.rate, 10e6),
        ("profiles.pi4.speed=0.2", lambda p: p.node("lone").speed, 0.2),  # shipped, not in the file
        ("devices.dev.count=3", lambda p: len(p.nodes), 7),
        ("devices.new={profile: pi4, at: north}", lambda p: p.node("new").site, "north"),
        ("sites.south.access.rate=1Mbit", lambda p: p.site("south").access_up.rate, 1e6),
        (" seed = 9", lambda p: p.seed, 9),
        ("name=a=b".replace("a=b", "ab"), lambda p: p.name, "ab"),
        ("emulation.links=relay", lambda p: p.link_backend, "relay"),
    ],
)
def test_any_field_can_be_set(write, override, found, value):
    plan = load_plan(write(), [override])
    assert found(plan) == value
    assert found(load_plan(write(text=plan.rendered))) == value


def test_the_last_one_wins(write):
    assert load_plan(write(), ["seed=1", "seed=2"]).seed == 2


def test_an_alias_in_the_file_is_not_shared(write):
    anchor = ("at: [0, 0]}", "at: [0, 0], access: &a {rate: 9Mbit}}")
    path = write(anchor, ("{profile: tiny-edge}}", "{profile: tiny-edge}, access: *a}"))
    plan = load_plan(path, ["sites.north.access.rate=3Mbit"])
    assert (plan.site("north").access_up.rate, plan.site("south").access_up.rate) == (3e6, 9e6)


@pytest.mark.parametrize(
    ("override", "where", "message", "remedy"),
    [
        ("workload.round=7", "workload.round", "unknown key 'round' in workload", "did you mean 'rounds'?"),
        ("sed=7", "sed", "unknown key 'sed'", "did you mean 'seed'?"),
        ("workload.optimizer.learning=7", "workload.optimizer.learning", "unknown key", "docs/experiment.md"),
        ("wrkload.rounds=7", "wrkload.rounds", "unknown key 'wrkload'", "did you mean 'workload'?"),
        ("devices.lonne.at=north", "devices.lonne.at", "there is no 'lonne' in devices", "did you mean 'lone'?"),
        ("profiles.pi5.speed=1", "profiles.pi5.speed", "there is no 'pi5' in profiles", "did you mean 'pi"),
        ("links.nroth -- south.rate=1Mbit", "links.nroth -- south.rate", "there is no link", "'north -- south'"),
        ("links.cloud -- north.rate=1Mbit", "links.cloud -- north.rate", "is called 'north -- cloud'", "links.north"),
        ("mobility.moves.7.round=1", "mobility.moves.7.round", "has no item '7'", "set the whole list"),
        ("mobility.moves.x=1", "mobility.moves.x", "has no item 'x'", "set the whole list"),
        ("seed.deep=1", "seed.deep", "seed is a single value", "set all of it"),
        ("links.access.delay.up=1ms", "links.access.delay.up", "links.access.delay is a single value", "={…}"),
        ("workload.rounds=0", "workload.rounds", "workload.rounds: the value must be greater", ""),
        ("links.access.rate=5Mbps", "links.access.rate", "unknown unit 'Mbps'", "5Mbit"),
        ("workload.cut=9", "workload.cut", "cut 9 lies outside", "1 to 6"),
        ("workload.optimizer={lr: fast}", "workload.optimizer", "workload.optimizer.lr", ""),
        ("workload.scheme=[a", "workload.scheme", "not YAML", ""),
        ("devices.new={profile: pi4, at: nowhere}", "devices.new", "there is no site 'nowhere'", "add"),
    ],
)
def test_what_cannot_be_set(write, override, where, message, remedy):
    with pytest.raises(InputError) as caught:
        load(write(), [override])
    assert caught.value.where == f"--set {where}=..."
    assert message in caught.value.message
    assert remedy in (caught.value.remedy or "")


@pytest.mark.parametrize("override", ["seed", "=1", "", "a..b=1", ".=2"])
def test_not_an_override(write, override):
    with pytest.raises(InputError, match="form key=value") as caught:
        load(write(), [override])
    assert caught.value.where == f"--set {override}"


def test_other_places_stay_in_the_file(write):
    path = write(("cut: 4", "cut: 9"))
    with pytest.raises(InputError) as caught:
        load(path, ["workload.rounds=7"])
    assert caught.value.where == f"{path}:20"
