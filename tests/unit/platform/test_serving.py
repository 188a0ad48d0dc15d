"""What a unit runs and what it says of that, on a network and a pool that are none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import WireError
from nodes.wire.platform_messages import Blob, InvokeOn, KeepBlobs, NoBlob
from tests.unit.platform.unit_bed import Unit, arrays, digest_of, needs, units


@pytest.fixture
def unit(tmp_path):
    yield from units(tmp_path)


@pytest.fixture
def slow(tmp_path):
    yield from units(tmp_path, dilation=4.0)


def test_a_call_is_cancelled_wherever_it_is(tmp_path, unit):
    digest = digest_of(tmp_path, 1)
    unit.invoke(1, **needs(digest))
    unit.invoke(2)
    unit.calls.cancel(1)
    unit.calls.cancel(2)
    unit.calls.cancel(9)
    unit.step()
    assert [(e.call, e.kind) for e in unit.ended] == [(1, "cancelled"), (2, "cancelled")]
    unit.blobs.hear("cloud", Blob(digest), arrays(1), 1)
    unit.step()
    assert len(unit.ended) == 2
    assert digest in unit.store  # it has come all the same
    assert len(unit.fakes) == 1


def test_a_unit_that_begins_afresh_keeps_and_takes_nothing_of_what_was_on_its_way(tmp_path, unit):
    one, two = digest_of(tmp_path, 1), digest_of(tmp_path, 2)
    unit.invoke(1, inputs={"many": {"a": one, "b": two}}, where={one: "cloud", two: "cloud"})
    unit.blobs.hear("cloud", Blob(one), arrays(1), 77)
    unit.calls.cancel_all()
    unit.blobs.clear()
    [ended] = unit.ended
    assert (ended.kind, ended.fetched_from) == ("cancelled", {"cloud": 77})
    unit.blobs.hear("cloud", Blob(two), arrays(2), 5)
    assert (len(unit.store), +unit.store._pins, unit.blobs.due()) == (0, {}, None)


def test_a_blob_that_is_damaged_here_is_told_of(tmp_path, unit):
    digest = unit.store.put(arrays(1))
    unit.invoke(1, inputs={"x": digest})
    unit.fakes[0].ready()
    unit.pool.step()
    unit.fakes[0].fails("damaged", digest)
    unit.step()
    [ended] = unit.ended
    assert (ended.kind, ended.lacks) == ("damaged", ((digest, "ea"),))


def test_a_unit_that_halts_ends_what_it_is_at_and_begins_nothing_until_it_goes_on(tmp_path, unit):
    digest = digest_of(tmp_path, 1)
    unit.invoke(1, **needs(digest))
    unit.invoke(2)
    unit.fakes[0].ready()
    unit.pool.step()
    unit.calls.halt("the battery is at its reserve")
    unit.invoke(3)
    unit.step()
    ends = [(1, "cancelled"), (3, "cancelled"), (2, "cancelled")]  # that one's process has to end first
    assert [(e.call, e.kind) for e in unit.ended] == ends
    assert {e.reason for e in unit.ended} == {"the battery is at its reserve"}
    assert (len(unit.calls), len(unit.fakes), unit.fakes[0].killed) == (0, 1, True)
    unit.calls.halt("")
    unit.invoke(4)
    assert len(unit.fakes) == 2


def test_a_call_is_not_run_twice(unit):
    unit.invoke(1)
    unit.invoke(1)
    assert (len(unit.fakes), len(unit.notes)) == (1, 1)


def test_what_a_call_returns_is_kept_for_the_orchestrator_until_it_lets_it_go(tmp_path, unit):
    from nodes.platform import store as stores

    unit.store.limit = 1000
    made = []
    for call in (1, 2):  # the same twice
        unit.invoke(call)
        if call == 1:
            unit.fakes[0].ready()
            unit.pool.step()
        [staging] = (tmp_path / "ea" / "staging").iterdir()
        made.append(stores.stage(staging, arrays(1)))
        unit.fakes[0].result(outputs={"y": made[-1]})
        unit.step()
    assert unit.ended[0].outputs == {"y": made[0]}
    assert unit.ended[0].sizes == {made[0]: unit.store.size(made[0])} != {made[0]: 0}

    def crowd():
        for value in range(10, 30):
            unit.store.put(arrays(value))

    crowd()
    assert made[0] in unit.store
    unit.blobs.keep(KeepBlobs(unpin=(made[0],)))
    crowd()
    assert made[0] in unit.store
    unit.store.pin([made[0]])  # for somebody else: that is not the orchestrator's to take back
    unit.blobs.keep(KeepBlobs(unpin=(made[0],)))
    unit.blobs.keep(KeepBlobs(unpin=(made[0],)))
    crowd()
    assert made[0] in unit.store
    unit.store.unpin([made[0]])
    crowd()
    assert made[0] not in unit.store


def test_an_end_that_no_message_holds_is_told_without_what_was_returned(tmp_path, unit):
    from nodes.platform import store as stores

    told = []

    def tell(ended):
        if ended.values:
            raise WireError("too large")
        told.append(ended)

    unit.calls._tell = tell
    unit.invoke(1)
    unit.fakes[0].ready()
    unit.pool.step()
    [staging] = (tmp_path / "ea" / "staging").iterdir()
    unit.fakes[0].result(outputs={"y": stores.stage(staging, arrays(1))}, values={"n": 3})
    unit.step()
    [ended] = told
    assert (ended.call, ended.kind, ended.outputs, ended.sizes) == (1, "returned", {}, {})
    assert (ended.cold, ended.start_s, ended.work_s) == (True, 0.75, 1.0)  # it is charged all the same
    assert not unit.store._pins


def test_the_unit_says_itself_what_it_knows_best(unit):
    values = {"owner": "d1", "round": 1, "node": "eb", "dilation": 3.0}
    unit.calls.invoke(InvokeOn(call=1, function="train-edge", values=values, memory=100))
    unit.fakes[0].ready("train-edge")
    unit.pool.step()
    [told] = [m for m, _ in unit.fakes[0].heard() if hasattr(m, "inputs")]
    assert told.values == {"owner": "d1", "round": 1, "node": "ea", "dilation": 1.0}
    unit.calls.invoke(InvokeOn(call=2, function="broadcast", values={"layers": []}, memory=100))
    unit.fakes[1].ready("broadcast")
    unit.pool.step()
    [told] = [m for m, _ in unit.fakes[1].heard() if hasattr(m, "inputs")]
    assert told.values == {"layers": []}


def test_times_are_told_in_the_experiments_seconds(slow):
    slow.invoke(1)
    slow.fakes[0].ready()
    slow.pool.step()
    slow.clock.now += 8
    slow.fakes[0].result()
    slow.step()
    [ended] = slow.ended
    assert (ended.held_s, ended.start_s, ended.work_s, ended.reserved) == (2.0, 0.1875, 0.25, 100)
    assert slow.cold == {"f": 0.1875}


def test_outputs_of_a_selection_stay_on_the_unit(tmp_path, unit):
    from nodes.platform import store as stores

    for call, function in enumerate(("f", "select-data")):
        unit.invoke(call, function=function)
        unit.fakes[-1].ready(function)
        unit.pool.step()
        newest = max((tmp_path / "ea" / "staging").iterdir(), key=lambda path: int(path.name))
        unit.fakes[-1].result(outputs={"y": stores.stage(newest, arrays(call))})
        unit.step()
    free, own = (ended.outputs["y"] for ended in unit.ended)
    assert unit.blobs.private == {own} != {free}


@given(st.lists(st.sampled_from(["pin", "unpin", "invoke", "come", "fail", "cancel", "step"]), max_size=30))
@settings(deadline=None, max_examples=60)
def test_every_call_ends_at_most_once_and_nothing_stays_pinned(tmp_path_factory, doings):
    directory = tmp_path_factory.mktemp("unit")
    unit, digest, calls, pins = Unit(directory), digest_of(directory, 1), 0, 0
    for doing in doings:
        match doing:
            case "invoke":
                calls += 1
                unit.invoke(calls, **needs(digest))
            case "come":
                unit.blobs.hear("cloud", Blob(digest), arrays(1), 1)
            case "fail":
                unit.blobs.hear("cloud", NoBlob(digest, "no"), {}, 1)
            case "cancel":
                unit.calls.cancel(calls)
            case "pin":
                unit.blobs.keep(KeepBlobs(pin=(digest,)))
                pins += 1
            case "unpin":
                unit.blobs.keep(KeepBlobs(unpin=(digest,)))
                pins = max(pins - 1, 0)
            case "step":
                unit.step()
    unit.blobs.lost("cloud")
    for call in range(1, calls + 1):
        unit.calls.cancel(call)
    unit.step()
    unit.blobs.keep(KeepBlobs(unpin=(digest,) * pins))
    assert sorted(e.call for e in unit.ended) == list(range(1, calls + 1))
    assert not unit.store._pins
    unit.close()
