"""What a unit fetches, runs, gives and says, on a network and a pool that are none."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import WireError
from nodes.platform.blobs import FETCH_S, Blobs
from nodes.platform.instances import Pool
from nodes.platform.seat import Seat
from nodes.platform.serving import Calls
from nodes.platform.standing import Standing
from nodes.platform.store import PIECE, Store
from nodes.platform.streaming import Parts
from nodes.wire import control as ctl
from nodes.wire.jobs import PlatformSettings, UnitSettings
from nodes.wire.platform_messages import (
    Blob,
    CallEnded,
    CancelCall,
    InvokeOn,
    KeepBlobs,
    NoBlob,
    UnitLost,
    UnitState,
    WantBlob,
)
from tests.unit.platform.fakes import Clock, Fakes

MINE = "/mine.py"


def arrays(value):
    return {"a": np.full(10, value, np.float32)}


class Unit:
    """One unit; what it sends to others lies in ``sent``."""

    def __init__(self, directory, name="ea", dilation=1.0):
        self.name, self.clock, self.fakes = name, Clock(), Fakes()
        self.sent, self.ended, self.spans, self.notes, self.cold = deque(), [], [], [], {}
        self.deaf = set()
        self.store = Store(directory / name)
        self.pool = Pool(self.store, 300, clock=self.clock, launch=self.fakes, dilation=dilation)
        self.parts = Parts(name, self.pool, lambda *_: None)
        self.blobs = Blobs(name, self.store, self.post, emit=self.spans.append, note=self.notes.append,
                           clock=self.clock, dilation=dilation)  # fmt: skip
        self.calls = Calls(
            name, self.pool, self.parts, self.blobs, known={"node": name, "dilation": dilation},
            tell=self.ended.append, emit=self.spans.append, started=self.cold.__setitem__, note=self.notes.append,
            clock=self.clock, dilation=dilation,
        )  # fmt: skip

    def post(self, unit, body, tensors):
        if unit in self.deaf:
            raise WireError(f"{unit} cannot be reached")
        self.sent.append((unit, body, tensors))

    def invoke(self, call, *, function="f", **more):
        self.calls.invoke(InvokeOn(call=call, function=function, source=MINE, memory=100, **more))

    def step(self):
        self.pool.step()
        self.blobs.step()

    def close(self):
        self.pool.close()
        self.fakes.close()


@pytest.fixture
def unit(tmp_path):
    made = Unit(tmp_path)
    yield made
    made.close()


@pytest.fixture
def slow(tmp_path):
    made = Unit(tmp_path, dilation=4.0)
    yield made
    made.close()


def digest_of(tmp_path, value):
    return Store(tmp_path / "elsewhere").put(arrays(value))


def needs(digest, *, source="cloud", name="x"):
    return {"inputs": {name: digest}, "where": {digest: source}}


def large(tmp_path):
    """Digest of a blob of several pieces, and the store that has it."""
    store = Store(tmp_path / "elsewhere")
    return store.put({"a": np.arange(50_000, dtype=np.float32), "b": np.ones(3, np.int64)}), store


def test_what_nobody_waits_for_comes_piece_by_piece(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.invoke(1, gently=True, **needs(digest))
    came = []
    while unit.sent:
        source, wanted, _ = unit.sent.popleft()
        assert (source, wanted) == ("cloud", WantBlob(digest, len(came)))
        data, pieces = store.piece(digest, wanted.piece)
        came.append(len(data))
        assert not unit.fakes
        unit.blobs.hear("cloud", Blob(digest, wanted.piece, pieces), {"": data}, 40_000)
    assert came == [PIECE] * 6 + [store.size(digest) - 6 * PIECE]
    np.testing.assert_array_equal(unit.store.get(digest)["a"], store.get(digest)["a"])
    [fake] = unit.fakes
    fake.ready()
    unit.pool.step()
    fake.result()
    unit.step()
    [ended] = unit.ended
    assert (ended.kind, ended.fetched) == ("", 7 * 40_000)
    [fetch] = [s for s in unit.spans if s.kind == "fetch"]
    assert fetch.bytes == store.size(digest)


def test_once_somebody_waits_for_it_all_of_it_is_asked_for(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.invoke(1, gently=True, **needs(digest))
    unit.invoke(2, **needs(digest))
    assert [wanted for _, wanted, _ in unit.sent] == [WantBlob(digest, 0), WantBlob(digest)]
    data, pieces = store.piece(digest, 0)
    unit.blobs.hear("cloud", Blob(digest, 0, pieces), {"": data}, 77)
    assert len(unit.sent) == 2
    unit.blobs.hear("cloud", Blob(digest), store.get(digest), 77)
    assert len(unit.fakes) == 2
    unit.blobs.hear("cloud", Blob(digest, 0, pieces), {"": data}, 77)  # late, and no matter
    assert not unit.notes


def test_pieces_that_are_no_blob_are_none(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.invoke(1, gently=True, **needs(digest))
    unit.blobs.hear("cloud", Blob(digest, 0, 1), {"": store.piece(digest, 0)[0]}, 77)
    unit.step()
    assert [(ended.kind, digest in unit.store) for ended in unit.ended] == [("missing", False)]


def test_a_piece_is_given_as_it_is_asked_for_and_none_of_what_is_not_here(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.blobs.hear("eb", WantBlob(digest, 0), {}, 9)
    answer = unit.sent.pop()[1]
    assert isinstance(answer, NoBlob)
    assert "no such blob" in answer.reason
    unit.store.put(store.get(digest))
    unit.blobs.hear("eb", WantBlob(digest, 6), {}, 9)
    _, answer, tensors = unit.sent.pop()
    assert answer == Blob(digest, 6, 7)
    np.testing.assert_array_equal(tensors[""], store.piece(digest, 6)[0])
    unit.blobs.hear("eb", WantBlob(digest, 7), {}, 9)
    assert isinstance(unit.sent.pop()[1], NoBlob)


def test_what_is_not_here_is_fetched_once_and_then_run(tmp_path, unit):
    digest = digest_of(tmp_path, 1)
    unit.invoke(1, **needs(digest))
    unit.invoke(2, **needs(digest, source="eb"))
    assert list(unit.sent) == [("cloud", WantBlob(digest), {})]
    assert not unit.fakes
    unit.clock.now += 2
    unit.blobs.hear("cloud", Blob(digest), arrays(1), 77)
    assert len(unit.fakes) == 2
    for fake in unit.fakes:
        fake.ready()
        unit.pool.step()
        fake.result(values={"n": 3})
    unit.step()
    first, second = unit.ended
    assert (first.call, first.kind, first.values, first.fetched) == (1, "", {"n": 3}, 77)
    assert first.fetched_from == {"cloud": 77}
    assert second.fetched == 0  # it came for another one
    assert (first.cold, first.start_s, first.work_s, first.cpu_s) == (True, 0.75, 1.0, 0.626)
    assert unit.cold == {"f": 0.75}
    [fetch] = [s for s in unit.spans if s.kind == "fetch"]
    assert (fetch.peer, fetch.end - fetch.begin, fetch.bytes) == ("cloud", 2.0, 77)
    [one, _] = [s for s in unit.spans if s.kind == "function"]
    assert (one.attrs["fetch_s"], one.attrs["function"], one.bytes) == (2.0, "f", 77)
    unit.invoke(3, **needs(digest))  # here by now
    assert len(unit.sent) == 1
    assert len(unit.calls) == 1


def test_blobs_of_several_units_are_all_waited_for(tmp_path, unit):
    one, two = digest_of(tmp_path, 1), digest_of(tmp_path, 2)
    unit.invoke(1, inputs={"many": {"a": one, "b": two}}, where={one: "cloud", two: "d1"})
    assert [(to, body.digest) for to, body, _ in unit.sent] == [("cloud", one), ("d1", two)]
    unit.blobs.hear("d1", Blob(two), arrays(2), 5)
    assert not unit.fakes
    unit.store.limit = 3 * unit.store.bytes
    for value in range(10, 20):
        unit.store.put(arrays(value))
    unit.blobs.hear("cloud", Blob(one), arrays(1), 6)  # what came before has stayed meanwhile
    assert len(unit.fakes) == 1


@pytest.mark.parametrize("how", ["said", "other", "damaged", "late", "gone", "deaf", "nowhere", "itself"])
def test_what_cannot_be_had_ends_the_call_and_says_why(tmp_path, unit, how):
    digest = digest_of(tmp_path, 1)
    if how == "deaf":
        unit.deaf.add("cloud")
    unit.invoke(1, **needs(digest, source={"nowhere": "", "itself": "ea"}.get(how, "cloud")))
    match how:
        case "said":
            unit.blobs.hear("cloud", NoBlob(digest, "not here"), {}, 1)
        case "other":  # who was not asked has no say
            unit.blobs.hear("eb", Blob(digest), arrays(1), 1)
            unit.blobs.hear("eb", NoBlob(digest, "no"), {}, 1)
            assert not unit.ended
            assert len(unit.notes) == 2
            unit.blobs.lost("eb")
            assert not unit.ended
            unit.blobs.lost("cloud")
        case "damaged":
            unit.blobs.hear("cloud", Blob(digest), arrays(2), 1)
        case "late":
            unit.clock.now += FETCH_S
        case "gone":
            unit.blobs.lost("cloud")
    assert unit.blobs.due() == (0.0 if how in ("late", "deaf") else None)
    unit.step()
    [ended] = unit.ended
    said = {"said": "not here", "other": "gone", "damaged": "content of digest", "late": "no answer in time",
            "gone": "cloud is gone", "deaf": "cannot be reached", "nowhere": "nobody was named",
            "itself": "nobody was named"}  # fmt: skip
    assert (ended.kind, said[how] in ended.reason) == ("missing", True)
    assert ended.lacks == ((digest, "ea"), *([(digest, "cloud")] if how == "said" else []))
    assert not unit.fakes
    unit.deaf.clear()
    unit.invoke(2, **needs(digest))  # it may be asked for again
    assert unit.sent[-1][1] == WantBlob(digest)


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


def test_what_was_fetched_for_a_call_that_is_cancelled_is_told(tmp_path, unit):
    one, two = digest_of(tmp_path, 1), digest_of(tmp_path, 2)
    unit.invoke(1, inputs={"many": {"a": one, "b": two}}, where={one: "cloud", two: "d1"})
    unit.blobs.hear("cloud", Blob(one), arrays(1), 77)
    unit.calls.cancel(1)
    [ended] = unit.ended
    assert (ended.kind, ended.fetched, ended.fetched_from) == ("cancelled", 77, {"cloud": 77})
    [span] = [span for span in unit.spans if span.kind == "function"]
    assert span.bytes == 77
    unit.blobs.hear("d1", Blob(two), arrays(2), 5)
    assert not unit.store._pins
    assert len(unit.ended) == 1


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


def test_blobs_are_given_but_for_those_that_do_not_leave(tmp_path, unit):
    kept, own = unit.store.put(arrays(1)), unit.store.put(arrays(2))
    unit.blobs.private.add(own)
    for digest in (kept, own, "0" * 64, "../x"):
        unit.blobs.hear("d1", WantBlob(digest), {}, 1)
    (_, blob, tensors), *refused = unit.sent
    assert blob == Blob(kept)
    np.testing.assert_array_equal(tensors["a"], arrays(1)["a"])
    assert [(to, type(body), tensors) for to, body, tensors in refused] == [("d1", NoBlob, {})] * 3
    assert ["does not leave" in body.reason for _, body, _ in refused] == [True, False, False]


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


def standing(tmp_path, dilation=2.0, **more):
    said, clock = [], Clock()
    file = ctl.NodeFile(
        "d1", "device", 0.25, "", "", "", "", 1, dilation,
        UnitSettings(memory=300, orchestrator="cloud", store="", at="ea", **more),
    )  # fmt: skip
    pool = Pool(Store(tmp_path / "s"), 300, clock=clock, launch=Fakes())
    return Standing(file, pool, said.append, clock), said, clock


def test_a_unit_says_how_it_stands_when_something_changes_and_every_second(tmp_path):
    unit, said, clock = standing(tmp_path)
    unit.step()
    unit.step()
    assert said == [UnitState(name="d1", kind="device", born=1000.0, speed=0.25, memory=300, at="ea")]
    assert unit.due() == 2.0  # a second of the experiment
    clock.now += 1
    unit.hear(ctl.Notice("", "eb", False, 1.0))
    unit.step()
    assert (said[-1].at, said[-1].coming, unit.due()) == ("ea", "eb", 2.0)
    unit.hear(ctl.Notice("", "eb", True))
    unit.hear(ctl.Battery(12.5))
    unit.hear(ctl.Radio(1e6, 2e6))
    unit.started("f", 0.5)
    unit.step()
    assert (said[-1].at, said[-1].coming, said[-1].battery_j, said[-1].up, said[-1].down) == ("eb", "", 12.5, 1e6, 2e6)
    assert (said[-1].cold, len(said)) == ({"f": 0.5}, 3)
    clock.now += 2
    unit.step()
    assert said[-1] == said[-2]


@pytest.mark.parametrize(("reserve", "spent"), [(None, [False] * 3), (20.0, [False, True, False]), (0.0, [False] * 3)])
def test_a_battery_is_spent_at_its_reserve_and_not_before(tmp_path, reserve, spent):
    unit, _, _ = standing(tmp_path, reserve_j=reserve)
    assert not unit.spent  # as long as nobody has said what is left
    found = []
    for left in (20.5, 20.0, 21.0):
        unit.hear(ctl.Battery(left))
        found.append(unit.spent)
    assert found == spent
    unit.hear(ctl.Battery(0.0))
    assert unit.spent == (reserve is not None)


def test_out_of_reach_nothing_is_said_and_at_once_when_it_is_back(tmp_path):
    unit, said, clock = standing(tmp_path)
    unit.step()
    unit.hear(ctl.Radio(None, None, False))
    clock.now += 10
    unit.step()
    assert (len(said), unit.due() > 0) == (1, True)
    unit.hear(ctl.Radio(None, None, True))
    unit.step()
    assert len(said) == 2


class Brain:
    """An orchestrator that writes down what it is told."""

    def __init__(self, settings, act, clock):
        self.act, self.clock, self.heard, self.at = act, clock, [], None

    def __getattr__(self, name):
        return lambda *what: self.heard.append((name, *what))

    def due(self):
        return self.at


def test_the_orchestrator_is_fed_and_its_orders_are_carried_out():
    posted, said, made, clock = [], [], [], Clock()

    def make(*what):
        made.append(Brain(*what))
        return made[-1]

    def post(unit, order):
        posted.append((unit, order))
        return "no way there" if unit == "eb" else ""

    seat = Seat(post, said.append, make=make, dilation=2.0, clock=clock)
    seat.told(ctl.CancelJob("t"))
    seat.hear("d1", UnitState(name="d1", kind="device"))
    seat.lost("d1")
    assert [type(m) for m in said] == [ctl.Failed]
    assert seat.due() is None
    seat.begin(PlatformSettings())
    [brain] = made
    clock.now += 4
    assert brain.clock() == 2.0
    seat.told(ctl.CancelJob("t"))
    seat.lost("d1")
    brain.at = 1.5
    assert seat.due() == 3.0
    seat.step()
    brain.at = 0.0
    seat.step()
    assert brain.heard == [("cancel", "t"), ("lost", "d1"), ("step",)]
    brain.act.cancel("ea", 3)
    brain.act.keep("ea", KeepBlobs(pin=("x",)))
    brain.act.gone("ea", "eb")
    brain.act.say(ctl.CancelJob("x"))
    assert posted == [("ea", CancelCall(3)), ("ea", KeepBlobs(pin=("x",))), ("ea", UnitLost("eb"))]
    assert said[1:] == [ctl.CancelJob("x")]
    # What cannot be sent is heard of as an end; not in the middle of the asking.
    brain.heard.clear()
    brain.at = None
    brain.act.invoke("eb", InvokeOn(call=7, function="f"))
    assert (brain.heard, seat.due()) == ([], 0.0)
    seat.step()
    assert brain.heard == [("ended", "eb", CallEnded(call=7, kind="died", reason="no way there"))]


def test_an_orchestrator_is_told_nothing_more_when_units_begin_afresh():
    """It would take what they give up for losses, and ask them anew."""
    made = []

    def make(*what):
        made.append(Brain(*what))
        return made[-1]

    seat = Seat(lambda *_: "no way there", lambda _: None, make=make, clock=Clock())
    seat.begin(PlatformSettings())
    seat.invoke("d1", InvokeOn(call=1, function="f"))
    seat.afresh()
    made[0].at = 0.0
    seat.step()
    seat.hear("d1", UnitState(name="d1", kind="device", born=2.0))
    seat.hear("d1", CallEnded(call=1, kind="cancelled"))
    assert (made[0].heard, seat.due()) == ([], None)
    seat.begin(PlatformSettings())
    seat.hear("d1", UnitState(name="d1", kind="device", born=2.0))
    seat.step()
    assert [[what[0] for what in brain.heard] for brain in made] == [[], ["state"]]
    assert made[0].act.number() < made[1].act.number(), "what was asked for before may still come"


def test_what_the_dead_said_last_does_not_bring_them_back():
    made = []

    def make(*what):
        made.append(Brain(*what))
        return made[-1]

    seat = Seat(lambda *_: "", lambda _: None, make=make, clock=Clock())
    seat.begin(PlatformSettings())
    [brain] = made
    seat.hear("d1", UnitState(name="d1", kind="device"))
    seat.lost("d1")
    seat.hear("d1", UnitState(name="d1", kind="device", memory=1))
    seat.hear("d1", CallEnded(call=3))  # what it has done is charged
    assert [what[0] for what in brain.heard] == ["state", "lost", "ended"]
