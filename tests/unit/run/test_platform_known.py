"""What is known of a platform and its tasks before they come: settings, costs, jobs, batteries, radios."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.events import Span
from nodes.learn import models
from nodes.platform import serving
from nodes.platform.outcomes import Invocation, Outcome
from nodes.policies.energy import Meter
from nodes.policies.layers import LAYERS
from nodes.policies.samples import FORMS, fits
from nodes.wire import control as ctl
from nodes.wire.platform_messages import InvokeOn
from testbed.emulation.links.shape import Schedule, Step
from testbed.experiment.plan import SelectPlan
from testbed.experiment.taskplan import OwnFunction, PlatformPlan
from testbed.run import energy
from testbed.run.airtime import Rates
from testbed.run.platform import billing, costs, jobs, known
from testbed.run.platform import settings as platform_settings
from testbed.run.platform.arrivals import Arrivals
from testbed.run.platform.batteries import Batteries
from testbed.run.platform.radio import Handed, Radios
from testbed.run.staging import PAYLOAD
from tests.unit.run import platforms
from tests.unit.run.platforms import MIB, OPS

BEGIN = 1000.0


def test_a_unit_is_told_what_its_instances_may_take_and_where_it_is():
    plan = platforms.plan()
    device, cloud = (platform_settings.unit(plan, plan.node(name)) for name in ("dev-1", "cloud"))
    assert device.at == "edge-north"
    assert cloud.at == ""
    assert device.orchestrator == cloud.orchestrator == "cloud"
    assert device.memory == (1024 - 64 - 128) * MIB
    assert cloud.memory < device.memory, "the orchestrator takes more"
    assert (device.reserve_j, cloud.reserve_j) == (60.0, None)
    small = platform_settings.unit(plan, replace(plan.node("dev-1"), memory=64 * MIB))
    assert small.memory == 0


def test_the_orchestrator_is_told_prices_powers_batteries_and_paths():
    plan = platforms.plan()
    told = platform_settings.platform(plan)
    assert told.prices["cloud"] == (2.0, 0.5)
    assert told.batteries == {"dev-1": (300.0, 240.0, 60.0)}
    assert set(told.powers) == {"dev-1", "dev-2"}
    assert told.sites == {"dev-1": "edge-north", "dev-2": "edge-north"}
    paths = {(a, b): (rate, rtt) for a, b, rate, rtt in told.paths}
    assert len(paths) == 5 * 4
    assert paths["dev-1", "edge-north"][0] == pytest.approx(20e6 * PAYLOAD)
    assert paths["edge-north", "dev-1"][0] == pytest.approx(40e6 * PAYLOAD)
    assert paths["dev-1", "cloud"][1] == pytest.approx(2 * (0.002 + 0.004))
    assert paths["edge-north", "edge-south"][0] == pytest.approx(100e6 * PAYLOAD)
    shared = {one.name: one for one in told.shared}
    assert shared["north--cloud"].units == {"dev-1", "dev-2", "edge-north"}
    assert shared["north--cloud"].beyond == {"cloud"}
    assert "south--cloud" not in shared, "who has a link for himself shares it with nobody"


@given(st.sampled_from([(model, data) for model in LAYERS for data in FORMS if fits(model, FORMS[data].kind)]))
@settings(max_examples=20, deadline=None)
def test_weights_are_those_of_the_model(case):
    model, data = case
    work = platforms.work(model=model)
    work = replace(work, data=replace(work.data, set=data))
    form = FORMS[data]
    made = models.build(model, None, form.shape, form.classes)
    exact = sum(one.numel() * one.element_size() for one in made.state_dict().values())
    assert costs.weights(work) == pytest.approx(exact, rel=0.02)


def test_halves_of_a_cut_are_together_the_model_and_work_is_as_measured():
    one = platforms.task(cuts=(1, 2, 5))
    first, second, whole = costs.cuts(one, {1: OPS, 2: OPS})
    for cut in (first, second):
        assert cut.place == "split"
        assert cut.device_weights + cut.edge_weights == costs.weights(one.work)
        assert (cut.device_s, cut.edge_s) == pytest.approx((0.03, 0.05))
        assert cut.up_bytes > cut.down_bytes, "labels go up, too"
        assert cut.labels_leave
    assert whole.place == "device"
    assert whole.device_s == OPS["whole.step"]
    assert whole.device_weights == costs.weights(one.work)
    assert not whole.labels_leave
    assert costs.halves(one) == {1: first.device_weights, 2: second.device_weights, 5: whole.device_weights}


@given(samples=st.integers(1, 500), batch=st.integers(1, 64), epochs=st.integers(1, 3))
def test_batches_are_as_many_as_are_dealt_out(samples, batch, epochs):
    import torch

    from nodes.learn.shards import Batches, Shard

    shard = Shard(torch.zeros((samples, 3, 2, 2), dtype=torch.uint8), torch.zeros(samples, dtype=torch.int64), 2,
                  (0.5,) * 3, (0.5,) * 3)  # fmt: skip
    dealt = Batches(shard, 1, "dev-1", batch, epochs)
    work = platforms.work(batch=batch, local_epochs=epochs)
    assert costs.batches(work, {"dev-1": samples}) == {"dev-1": len(dealt)}


@given(st.integers(1, 256))
def test_larger_batches_take_more_memory(batch):
    less, more = (
        costs.cuts(replace(platforms.task(), work=platforms.work(batch=size)), {1: OPS, 2: OPS})[0]
        for size in (batch, batch + 1)
    )
    assert costs.TORCH_MEMORY < less.device_memory < more.device_memory


def select_s(work, cuts=(1, 2)):
    return costs.select_s(platforms.task(work=work, cuts=cuts), {cut: OPS for cut in cuts if cut < 5})


def test_selecting_costs_what_scoring_costs():
    work = platforms.work()
    assert select_s(work) == 0.0
    rules = [replace(work, data=replace(work.data, select=SelectPlan(rule, 0.3))) for rule in ("random", "hard")]
    blind, hard = (select_s(one) for one in rules)
    assert 0 < blind < hard
    every = replace(work, data=replace(work.data, select=SelectPlan("hard", 1.0)))
    assert select_s(every) == 0.0


def test_selecting_by_the_device_half_costs_its_forward_pass_too():
    work = platforms.work()
    plain, half = (replace(work, data=replace(work.data, select=SelectPlan("hard", 0.3, features=features)))
                   for features in ("samples", "half"))  # fmt: skip
    assert select_s(half) - select_s(plain) == pytest.approx(OPS["head.forward"] / work.batch)
    assert select_s(half, (2, 5)) - select_s(plain) == pytest.approx((0.01 / work.batch + OPS["evaluate"]) / 2)


def test_a_job_has_all_that_the_orchestrator_needs():
    select = SelectPlan("hard", 0.3)
    work = platforms.work()
    one = platforms.task(work=replace(work, data=replace(work.data, select=select)), target=0.9, deadline=60.0, least=2)
    own = PlatformPlan(functions="my.py", replaced={"aggregate": OwnFunction(30.0, 96 * MIB)})
    plan = replace(platforms.plan(one), platform=own)
    job = jobs.job(platforms.known(plan, one), "digits-2", {"aggregate": "/run/roambed/functions.py"})
    assert job.name == job.task.id == "digits-2"
    assert job.task.placement == ()
    assert job.task.owners == ("dev-1", "dev-2")
    assert (job.task.scheme, job.task.strategy, job.task.seed) == ("fedfly", "migrate", plan.seed)
    assert set(job.task.references) | {job.task.cut} == {1, 2}
    assert (job.share, job.select.rule, job.least, job.target, job.deadline_s) == (0.3, "hard", 2, 0.9, 60.0)
    assert job.batches == {"dev-1": 10, "dev-2": 10}
    assert job.evaluate_s == pytest.approx(0.1)
    assert job.sources == {"aggregate": "/run/roambed/functions.py"}
    assert job.raw_stays
    from nodes.wire import control as ctl

    assert ctl.to_node(ctl.encode(ctl.Submit(job))) == ctl.Submit(job), "it goes over the wire as it is"
    told = ctl.Platform(platform_settings.platform(plan))
    assert ctl.to_node(ctl.encode(told)) == told


@pytest.mark.parametrize("function", ["train-device", "train-edge", "aggregate"])
def test_a_users_function_has_the_memory_and_the_time_that_it_declares(function):
    one = platforms.task(cuts=(2, 5))
    own = PlatformPlan(functions="my.py", replaced={function: OwnFunction(900.0, 777 * MIB)})
    plan = replace(platforms.plan(one), platform=own)
    plain = jobs.job(platforms.known(platforms.plan(one), one), "digits")
    job = jobs.job(platforms.known(plan, one), "digits", {function: "/run/roambed/functions.py"})
    assert (plain.limits, job.limits) == ({}, {function: 900.0})
    split, whole = ((cut.device_memory, cut.edge_memory) for cut in job.cuts)
    before, before_whole = ((cut.device_memory, cut.edge_memory) for cut in plain.cuts)
    assert split == (777 * MIB if function == "train-device" else before[0],
                     777 * MIB if function == "train-edge" else before[1])  # fmt: skip
    assert whole == (777 * MIB if function == "train-device" else before_whole[0], 0)
    assert job.memories[function] == 777 * MIB
    assert {**job.memories, function: 0} == {**plain.memories, function: 0}


def test_a_share_of_all_is_no_selection():
    work = platforms.work()
    one = platforms.task(work=replace(work, data=replace(work.data, select=SelectPlan("hard", 1.0))))
    job = jobs.job(platforms.known(platforms.plan(one), one), "digits")
    assert job.select is None
    assert job.task.select is None
    assert job.share == 1.0


def test_whole_models_are_measured_at_the_usual_cut():
    assert known.measured_at(platforms.task(cuts=(5,))) == [2]
    assert known.measured_at(platforms.task(cuts=(1, 5))) == [1]


def test_names_of_copies_are_free():
    assert jobs.named("a", {}) == "a"
    assert jobs.named("a", {"a", "a-2"}) == "a-3"


@given(st.lists(st.tuples(st.floats(0, 100), st.text("abc", min_size=1, max_size=3)), unique_by=lambda one: one[1]),
       st.lists(st.floats(0, 120)))  # fmt: skip
def test_every_task_comes_once_and_in_its_time(coming, looks):
    arrivals = Arrivals((at, name, None) for at, name in coming)
    came = []
    for now in [*sorted(looks), 1000.0]:
        due = arrivals.due()
        for at, name, _ in arrivals.come(now):
            assert at <= now
            assert due is not None
            came.append((at, name))
    assert came == sorted(coming)
    assert not len(arrivals)


def test_what_is_dropped_does_not_come():
    arrivals = Arrivals([(1.0, "a", None), (2.0, "b", None)])
    assert arrivals.drop("a")
    assert not arrivals.drop("a")
    assert [name for _, name, _ in arrivals.come(5.0)] == ["b"]


# --- batteries and radios ---


def work_span(begin: float, end: float, kind: str = "forward") -> Span:
    return Span(kind=kind, node="dev-1", begin=BEGIN + begin, end=BEGIN + end)


def link_span(begin: float, end: float, up: int, down: int) -> Span:
    attrs = {"link": "access:dev-1", "ab_bytes": up, "ba_bytes": down}
    return Span(kind="link", node="", begin=BEGIN + begin, end=BEGIN + end, attrs=attrs)


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 3)), max_size=12),
    st.lists(st.integers(0, 10**6), max_size=10),
)
@settings(deadline=None)
def test_batteries_as_they_go_end_where_the_account_at_the_end_does(stretches, sizes):
    plan = platforms.plan()
    spans = [work_span(begin, begin + took) for begin, took in stretches]
    spans += [link_span(i, i + 1.0, size, size // 2) for i, size in enumerate(sizes)]
    last = 30.0
    rates = Rates(plan, (), BEGIN)
    batteries = Batteries(plan, BEGIN)
    for now in range(1, 32):
        fresh = [span for span in spans if now - 1 < span.end - BEGIN + 0.5 <= now]
        batteries.changes(BEGIN + min(now, last), fresh, rates)
    used, _ = energy.measured(plan, spans, BEGIN, BEGIN + last)
    at_the_end = energy.section(plan, used, "links")["nodes"]["dev-1"]["battery"]["end_j"]
    assert batteries.left()["dev-1"] == pytest.approx(at_the_end, abs=1e-6)


def test_batteries_say_when_the_reserve_is_reached_however_little_that_is():
    plan = platforms.plan()
    battery = replace(plan.node("dev-1").battery, left_j=60.05)
    nodes = tuple(replace(one, battery=battery) if one.battery else one for one in plan.nodes)
    batteries = Batteries(replace(plan, nodes=nodes), BEGIN)
    rates = Rates(plan, (), BEGIN)
    assert batteries.changes(BEGIN, [], rates) == {"dev-1": pytest.approx(60.05)}
    assert batteries.changes(BEGIN + 0.1, [], rates) == {}, "0.03 J of 300 are not worth a word"
    assert batteries.changes(BEGIN + 0.3, [], rates) == {"dev-1": pytest.approx(59.96)}
    assert batteries.changes(BEGIN + 9.0, [], rates, ["dev-1"]) == {}, "the dead draw nothing"
    assert isinstance(Meter(battery).left_j, float)


def test_of_a_large_battery_every_second_of_work_is_told():
    plan = platforms.plan()
    battery = replace(plan.node("dev-1").battery, capacity_j=36_000.0, left_j=30_000.0)
    nodes = tuple(replace(one, battery=battery) if one.battery else one for one in plan.nodes)
    batteries, rates = Batteries(replace(plan, nodes=nodes), BEGIN), Rates(plan, (), BEGIN)
    batteries.changes(BEGIN, [], rates)
    for now in (1.0, 2.0, 3.0):
        assert "dev-1" in batteries.changes(BEGIN + now, [work_span(now - 1, now)], rates)
    assert batteries.changes(BEGIN + 3.2, [], rates) == {}


def test_modems_say_what_links_are_as_they_change():
    plan = platforms.plan()
    varying = Schedule("t", (Step(0.0, 20e6), Step(5.0, 5e6), Step(6.0, 4.95e6)), (), 10.0, False)
    sites = tuple(replace(one, access_up_trace=varying) if one.name == "north" else one for one in plan.sites)
    plan = replace(plan, sites=sites)
    radios = Radios(plan, BEGIN)
    first = radios.changes(BEGIN, (), {})
    assert {name: (one.up, one.down, one.in_reach) for name, one in first.items()} == dict.fromkeys(
        ("dev-1", "dev-2"), (20e6, 40e6, True)
    )
    assert radios.changes(BEGIN + 4.9, (), {}) == {}
    assert radios.changes(BEGIN + 5.1, (), {})["dev-1"].up == 5e6
    assert radios.changes(BEGIN + 6.1, (), {}) == {}, "one per cent is not worth a word"
    assert not radios.changes(BEGIN + 6.2, (), {"dev-1": {"out of coverage"}})["dev-1"].in_reach
    moved = radios.changes(BEGIN + 7.0, [Handed("dev-1", "south", BEGIN + 6.9)], {})
    assert list(moved) == ["dev-1"]
    assert (moved["dev-1"].up, moved["dev-1"].in_reach) == (10e6, True)


def test_rows_of_bills_add_up():
    plan = platforms.plan()
    job = jobs.job(platforms.known(plan, plan.tasks[0]), "digits")
    messages = [platforms.charged(job, "aggregate", "cloud", sent=10**9), platforms.charged(job, "evaluate", "cloud")]
    rows = billing.by_function(plan, messages)
    assert list(rows) == ["aggregate", "evaluate"]
    assert rows["aggregate"]["price"] == pytest.approx(0.8 * 2.0 + 0.5)
    assert billing.total(rows.values()) == billing.row(plan, messages) | {
        "price": pytest.approx(2 * 1.6 + 0.5), "gb_s": pytest.approx(1.6)
    }  # fmt: skip
    times = [one["gb_s"] for one in rows.values()]
    assert all(a == b for a, b in pairwise(times))


def test_weights_are_charged_at_the_price_of_who_sends_them():
    """As they are predicted: to whoever needs them, and nothing where they come from a unit without a price."""
    plan = platforms.plan()
    job = jobs.job(platforms.known(plan, plan.tasks[0]), "digits")
    got = {"fetched": 3 * 10**9, "fetched_from": {"cloud": 2 * 10**9, "edge-north": 10**9}}
    [bare, fetching] = [billing.row(plan, [platforms.charged(job, "train-edge", "edge-south", **more)])
                        for more in ({}, got)]  # fmt: skip
    assert fetching["price"] - bare["price"] == pytest.approx(2 * 0.5)
    assert fetching["fetched"] == 3 * 10**9


def test_a_run_that_is_slowed_down_has_the_same_bill():
    """Twice the seconds at half the speed is the same work: GB-seconds and CPU time, as well as joules."""
    plan = platforms.plan()
    rows = []
    for dilation in (1.0, 2.0):
        outcome = Outcome(
            1, Invocation("aggregate"), instance=1, reserved=10**9, cold=True, process_s=dilation, sent=dilation,
            begin=dilation, end=3 * dilation, ended=3 * dilation, start_cpu_s=0.5, cpu_s=1.0, around_cpu_s=0.25,
        )  # fmt: skip
        ended = serving.told(InvokeOn(call=1, function="aggregate"), outcome, {"edge-north": 5}, {}, dilation)
        rows.append(billing.row(plan, [ctl.Charged(task="digits", function="aggregate", unit="cloud", ended=ended)]))
    assert rows[0] == pytest.approx(rows[1])
    assert (rows[0]["cpu_s"], rows[0]["gb_s"] > 0, rows[0]["fetched"]) == (1.75, True, 5)


def test_a_second_in_which_nobody_looked_at_links_counts_nothing_twice():
    plan = platforms.plan()
    batteries, rates = Batteries(plan, BEGIN), Rates(plan, (), BEGIN)
    sent = Span(kind="send", node="dev-1", peer="edge-north", begin=BEGIN, end=BEGIN + 1, bytes=2_500_000)
    batteries.changes(BEGIN + 1.0, [sent], rates)
    assert batteries.left()["dev-1"] == pytest.approx(240.0 - 0.3), "idling alone"
    batteries.changes(BEGIN + 2.0, [link_span(0.0, 2.0, 2_500_000, 0)], rates)
    assert batteries.left()["dev-1"] == pytest.approx(240.0 - 0.6 - 1.6), "a second on the air"
