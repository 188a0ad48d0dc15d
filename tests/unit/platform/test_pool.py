"""The pool's own doings, on instances that are no processes and a clock that is set."""

import os
import select

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import InputError, RunError
from nodes.platform import messages as ms
from nodes.platform import needs, outcomes, processes
from nodes.platform import store as stores
from nodes.platform.instances import KEEP_ALIVE, Pool
from nodes.platform.outcomes import Invocation
from nodes.platform.slots import Crowd
from nodes.platform.store import Store
from nodes.platform.tending import START_LIMIT, WATCH_S
from tests.unit.platform.fakes import Clock, Fakes

F = Invocation("f", "/mine.py", memory=100)
G = Invocation("g", "/mine.py", memory=100)


class Bed:
    def __init__(self, directory, memory=300, **more):
        self.clock, self.fakes, self.came = Clock(), Fakes(), []
        self.passed, self.heard = [], []
        self.store = Store(directory)
        self.pool = Pool(
            self.store, memory, clock=self.clock, launch=self.fakes,
            forward=lambda invocation, node, frames: self.passed.append((invocation, node, [bytes(f) for f in frames])),
            say=lambda invocation, frame: self.heard.append(frame), **more,
        )  # fmt: skip

    def submit(self, invocation=F):
        return self.pool.submit(invocation, self.came.append)

    def run(self, fake, **more):
        """Have an instance do what it was told, and the pool hear of it."""
        fake.result(**more)
        self.pool.step()
        return self.came[-1]

    def cold(self, invocation=F, **more):
        """An invocation that an instance is started for, as far as that it works."""
        self.submit(invocation)
        self.fakes[-1].ready(invocation.function, **more)
        self.pool.step()
        return self.fakes[-1]

    def close(self):
        self.pool.close()
        self.fakes.close()


@pytest.fixture
def make(tmp_path):
    made = []

    def make(**more):
        made.append(Bed(tmp_path / f"store{len(made)}", **more))
        return made[-1]

    yield make
    for bed in made:
        bed.close()


def test_a_cold_start_and_a_warm_one_are_told_apart_and_counted(make):
    bed = make()
    fake = bed.cold()
    bed.clock.now += 3
    first = bed.run(fake, cpu_s=0.5, memory=9)
    assert (first.ok, first.cold, first.instance, first.process_s, first.imports_s) == (True, True, 1, 0.25, 0.5)
    assert (first.start_cpu_s, first.cpu_s, first.memory, first.reserved, first.held_s) == (0.125, 0.5, 9, 100, 3.0)
    bed.submit()
    second = bed.run(fake)
    assert (second.ok, second.cold, second.instance, second.start_s) == (True, False, 1, 0.0)
    assert (len(bed.fakes), bed.pool.cold, bed.pool.warm) == (1, {"f": 1}, {"f": 1})
    bed.submit(G)  # an instance is of one function
    assert (len(bed.fakes), bed.pool.cold) == (2, {"f": 1, "g": 1})


def test_a_warm_call_is_one_message_each_way_and_nothing_else(make):
    bed = make()
    fake = bed.cold()
    bed.run(fake)
    before = list(fake.all)
    for _ in range(10):
        bed.submit()
        bed.run(fake)
    assert [type(m).__name__ for m, _ in fake.all[len(before):]] == ["Invoke"] * 10
    assert len(bed.fakes) == 1
    assert len(bed.came) == 11


def test_one_that_nobody_needs_ends_after_its_time_and_not_before(make):
    bed = make()
    fake = bed.cold()
    bed.run(fake)
    bed.clock.now += KEEP_ALIVE - 0.001
    bed.pool.step()
    assert not fake.killed
    assert bed.pool.warm_functions() == {"f": 1}
    bed.submit()
    bed.run(fake)  # used again: its time begins anew
    bed.clock.now += KEEP_ALIVE - 0.001
    bed.pool.step()
    assert not fake.killed
    fake.dies_at_once = False
    bed.clock.now += 0.001
    assert bed.pool.due() == 0.0
    bed.pool.step()
    assert fake.killed
    assert (bed.pool.used, bed.pool.warm_functions()) == (100, {})  # its memory is not back before it is gone
    fake.die(-9)
    bed.pool.step()
    assert (bed.pool.used, bed.pool.pids(), bed.pool.due()) == (0, [], None)
    assert not fake.directory.exists()
    [life] = bed.pool.lives
    assert life.idle_s == life.ended - life.born
    assert (life.invocations, life.starting_s, life.busy_s) == (2, 0.0, 0.0)
    assert life.idle_s == pytest.approx(2 * KEEP_ALIVE - 0.001)


def test_an_instances_time_is_told_apart(make):
    bed = make()
    bed.submit()
    bed.clock.now += 2
    bed.fakes[0].ready()
    bed.pool.step()
    bed.clock.now += 3
    bed.run(bed.fakes[0])
    bed.clock.now += 5
    [life] = bed.pool.alive()
    assert (life.starting_s, life.busy_s, life.idle_s, life.ended - life.born) == (2, 3, 5, 10)
    bed.submit()
    bed.clock.now += 7
    bed.pool.cancel(2)
    bed.pool.step()
    assert [(life.starting_s, life.busy_s, life.idle_s) for life in bed.pool.lives] == [(2, 10, 5)]


def test_how_many_started_meanwhile_is_told_of_a_cold_start(make):
    bed = make()
    for invocation in (F, G):
        bed.submit(invocation)
    bed.clock.now += 4
    bed.fakes[1].ready("g")
    bed.pool.step()
    bed.clock.now += 4
    bed.fakes[0].ready()
    bed.pool.step()
    second, first = bed.run(bed.fakes[1]), bed.run(bed.fakes[0])
    assert second.crowd == pytest.approx(2.0)
    assert first.crowd == pytest.approx(8 / 6)  # 4 s with the other one, 4 s alone: alone it would have taken 6
    bed.cold(Invocation("h", "/mine.py", memory=100))
    assert bed.run(bed.fakes[2]).crowd == 1.0


def test_one_that_is_killed_while_it_starts_is_in_nobodys_way(make):
    bed = make()
    id_ = bed.submit(F)
    bed.pool.cancel(id_)
    bed.pool.step()
    bed.submit(G)
    bed.clock.now += 4
    bed.fakes[1].ready("g")
    bed.pool.step()
    assert bed.run(bed.fakes[1]).crowd == 1.0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 3)), max_size=20))
def test_what_each_would_have_taken_alone_is_together_the_time_in_which_any_was_there(moves):
    clock = Clock()
    crowd, inside, alone, busy = Crowd(clock), {}, 0.0, 0.0
    for seconds, who in [*moves, *((1.0, who) for who in range(4))]:
        busy += seconds if inside else 0.0
        clock.now += seconds
        if who in inside:
            since, entered = inside.pop(who)
            alone += (clock.now - since) / crowd.leave(entered)
        elif len(inside) < 4 and seconds != 1.0:
            inside[who] = clock.now, crowd.enter()
    assert not inside
    assert alone == pytest.approx(busy, abs=1e-6)


def test_one_that_is_held_stays_and_has_all_its_time_afterwards(make):
    bed = make(keep_alive=10)
    fake = bed.cold()
    bed.run(fake)
    bed.clock.now += 9
    bed.pool.hold(True)
    bed.clock.now += 1000
    bed.pool.step()
    assert not fake.killed
    bed.pool.hold(False)
    bed.clock.now += 9.9
    bed.pool.step()
    assert not fake.killed
    bed.clock.now += 0.2
    bed.pool.step()
    assert fake.killed
    bed.pool.step()
    [life] = bed.pool.lives
    assert life.idle_s == pytest.approx(1019.1)


def test_without_keeping_alive_every_call_is_cold(make):
    bed = make(keep_alive=0)
    for n in range(3):
        bed.run(bed.cold())
        assert bed.fakes[n].killed
    assert (bed.pool.cold, bed.pool.warm) == ({"f": 3}, {})


def test_in_dilated_time_everything_may_take_longer(make):
    bed = make(dilation=3.0, keep_alive=10)
    fake = bed.cold(time_limit=5)
    bed.clock.now += 14.9
    bed.pool.step()
    assert not bed.came
    bed.run(fake)
    bed.clock.now += 29.9
    bed.pool.step()
    assert not fake.killed
    bed.clock.now += 0.2
    bed.pool.step()
    assert fake.killed


def test_who_finds_no_memory_waits_in_turn(make):
    bed = make(memory=250)
    bed.cold(), bed.cold()
    bed.submit(G)
    bed.submit(F)
    assert (len(bed.fakes), bed.pool.waiting, bed.pool.used) == (2, 2, 200)
    bed.run(bed.fakes[0])  # f is idle now, but g was first: it goes for g
    assert bed.fakes[0].killed
    bed.pool.step()
    assert (len(bed.fakes), bed.pool.waiting, bed.pool.used) == (3, 1, 200)
    bed.run(bed.fakes[1])  # and this one takes the f that has waited
    assert (len(bed.fakes), bed.pool.waiting, bed.pool.warm) == (3, 0, {"f": 1})


def test_what_is_free_is_what_another_would_find(make):
    bed = make(memory=250)
    assert bed.pool.free == 250
    first, second = bed.cold(), bed.cold()
    assert bed.pool.free == 50
    bed.submit(G)
    assert bed.pool.free == 0  # one waits for it
    bed.run(first)
    bed.pool.step()
    bed.run(second)  # has nothing to do any more: it would make room
    assert (bed.pool.used, bed.pool.free) == (200, 150)


def test_an_idle_one_goes_for_another_function_the_one_used_longest_ago_first(make):
    bed = make(memory=300)
    fakes = [bed.cold(Invocation(name, "/mine.py", memory=100)) for name in ("a", "b", "c")]
    for fake in (fakes[1], fakes[0], fakes[2]):
        bed.clock.now += 1
        bed.run(fake)
    bed.submit(Invocation("d", "/mine.py", memory=150))
    assert [fake.killed for fake in fakes] == [True, True, False]
    bed.pool.step()
    assert len(bed.fakes) == 4


@pytest.mark.parametrize(
    ("invocation", "kind", "said"),
    [
        (Invocation("f", "/mine.py", memory=301), "refused", "301"),
        (Invocation("f", "/mine.py", memory=0), "refused", "above 0"),
        (Invocation("f", "/mine.py", memory=1, time_limit=0), "refused", "above 0"),
        (Invocation("no-such-function"), "refused", "no function"),
        (Invocation("aggregate"), "refused", "bytes of memory"),  # torch does not fit into 300 bytes
        (Invocation("f", "/mine.py", inputs={"w": "0" * 64}, memory=1), "damaged", "000000000000"),
        (Invocation("f", "/mine.py", inputs={"w": {"a": "not a digest"}}, memory=1), "damaged", "not in this unit"),
    ],
)
def test_what_cannot_be_is_refused_at_once(make, invocation, kind, said):
    bed = make()
    bed.submit(invocation)
    assert not bed.came  # never from within submit
    bed.pool.step()
    [got] = bed.came
    assert (got.kind, said in got.reason, got.held_s) == (kind, True, 0.0)
    assert (bed.fakes, bed.pool.failed) == ([], {kind: 1})


def test_too_many_that_wait_are_refused(make, monkeypatch):
    monkeypatch.setattr(needs, "QUEUE", 3)
    bed = make(memory=100)
    bed.cold()
    for _ in range(5):
        bed.submit()
    bed.pool.step()
    assert [o.kind for o in bed.came] == ["refused"] * 2
    assert bed.pool.waiting == 3


def test_a_pool_without_memory_is_none(make):
    for bad in ({"memory": 0}, {"keep_alive": -1}):
        with pytest.raises(InputError, match="memory"):
            make(**bad)


def test_one_that_takes_too_long_is_killed_and_the_next_call_has_a_fresh_one(make):
    bed = make()
    fake = bed.cold(time_limit=5)
    fake.dies_at_once = False
    bed.submit(Invocation("f", "/mine.py", memory=100, time_limit=2))
    bed.clock.now += 5
    bed.pool.step()
    assert fake.killed
    assert not bed.came  # it is still there
    fake.die(-9)
    bed.pool.step()
    [got] = bed.came
    assert (got.kind, got.held_s) == ("time", 5.0)
    assert "5 s" in got.reason
    bed.fakes[1].ready(time_limit=5)
    bed.pool.step()
    bed.clock.now += 2  # this call's own limit
    bed.pool.step()
    bed.pool.step()
    assert [o.kind for o in bed.came] == ["time", "time"]
    assert bed.run(bed.cold()).ok
    assert bed.pool.cold == {"f": 3}


def test_one_that_does_not_get_ready_is_killed(make):
    bed = make()
    bed.submit()
    bed.clock.now += START_LIMIT
    bed.pool.step()
    bed.pool.step()
    assert bed.came[0].kind == "no-start"
    bed.submit()
    bed.fakes[1].say(ms.Failed(0, outcomes.NO_START, "it does not load"))
    bed.pool.step()
    bed.pool.step()
    assert (bed.came[1].kind, bed.came[1].reason) == ("no-start", "it does not load")
    bed.submit()
    bed.fakes[2].die(-11)
    bed.pool.step()
    assert (bed.came[2].kind, "signal 11" in bed.came[2].reason) == ("no-start", True)


def test_one_that_takes_too_much_memory_is_killed(make):
    bed = make()
    fake = bed.cold()
    fake.resident = 101
    bed.pool.step()
    assert not fake.killed  # nobody has looked
    bed.clock.now += WATCH_S
    bed.pool.step()
    bed.pool.step()
    [got] = bed.came
    assert (got.kind, got.memory) == ("memory", 101)
    assert "101" in got.reason
    idle = bed.cold()
    bed.run(idle)
    idle.resident = 101  # a leak that shows later
    bed.clock.now += WATCH_S
    bed.pool.step()
    assert idle.killed


@pytest.mark.parametrize("kind", sorted({"given", "damaged", "raised", "returned"}))
def test_after_a_failure_of_the_functions_own_its_instance_is_not_used_again(make, kind):
    bed = make()
    fake = bed.cold()
    fake.fails(kind)
    bed.pool.step()
    [got] = bed.came
    assert (got.kind, got.reason, got.cpu_s) == (kind, "why", 0.25)
    assert fake.killed == (kind in ("raised", "returned"))


def test_a_damaged_blob_is_dropped(make):
    bed = make()
    digest = bed.store.put({"w": np.zeros(3)})
    fake = bed.cold(Invocation("f", "/mine.py", inputs={"w": digest}, memory=100))
    fake.fails("damaged", digest)
    bed.pool.step()
    assert bed.store.missing([digest]) == [digest]


def test_a_blob_that_was_not_given_is_not_dropped(make):
    bed = make()
    digest = bed.store.put({"w": np.zeros(3)})
    fake = bed.cold()
    for dropped in (digest, "no digest"):
        fake.fails("damaged", dropped)
        bed.pool.step()
        assert bed.came[-1].kind == "damaged"
        bed.submit()
    assert digest in bed.store


@pytest.mark.parametrize(("code", "said"), [(3, "exit code 3"), (-11, "signal 11"), (-9, "for want of memory")])
def test_one_that_dies_says_how(make, code, said):
    bed = make()
    bed.cold().die(code)
    bed.pool.step()
    [got] = bed.came
    assert got.kind == "died"
    assert said in got.reason


@pytest.mark.parametrize("what", ["bytes", "result", "start", "ready", "no digest"])
def test_what_an_instance_says_out_of_turn_is_its_end(make, what):
    bed = make()
    fake = bed.cold()
    match what:
        case "bytes":
            fake.socket.sendall(b"\xff" * 100)
        case "result":
            fake.say(ms.Result(99, {}, {}, 0, 0, 0, 0, 0, 0, 0))
        case "start":
            fake.say(ms.Start("f", "", "", "", 0.0))
        case "ready":
            fake.ready()
        case "no digest":
            fake.result(outputs={"w": "../../mine"})
    bed.pool.step()
    bed.pool.step()
    assert bed.came[0].kind == "died"
    assert fake.killed


def test_one_that_has_ended_is_an_event_whoever_has_its_socket(make):
    bed = make()
    fake = bed.cold()
    child = fake.socket.dup()  # of a process that it has started
    fake.say(ms.Said(b"last words"))
    fake.die(4)
    assert select.select([bed.pool], [], [], 0)[0]
    bed.pool.step()
    assert bed.heard == [b"last words"]
    assert (bed.came[0].kind, "exit code 4" in bed.came[0].reason) == ("died", True)
    assert fake.killed  # and with it what it had started
    assert bed.pool.used == 0
    assert not select.select([bed.pool], [], [], 0)[0]
    child.close()


def test_nothing_is_looked_at_while_instances_end(make):
    bed = make()
    fake = bed.cold()
    fake.dies_at_once = False
    bed.pool.cancel(1)
    assert bed.pool.due() is None
    fake.die(-9)
    assert select.select([bed.pool], [], [], 0)[0]


def test_one_that_never_stops_talking_holds_up_nobody(make, monkeypatch):
    monkeypatch.setattr(processes, "_CHUNK", 64)
    bed = make()
    talking, other = bed.cold(), bed.cold()
    for _ in range(200):
        talking.say(ms.Said(bytes(64)))
    other.result()
    bed.pool.step()
    assert len(bed.came) == 1
    assert 0 < len(bed.heard) < 200
    while len(bed.heard) < 200:
        bed.pool.step()


def test_without_a_process_to_be_had_the_call_fails_and_nothing_is_left(make):
    bed = make()
    bed.fakes.refusal = OSError(11, "Resource temporarily unavailable")
    before = os.listdir("/proc/self/fd")
    bed.submit()
    bed.pool.step()
    assert (bed.came[0].kind, "temporarily" in bed.came[0].reason) == ("no-start", True)
    assert (bed.pool.used, bed.pool.cold) == (0, {})
    assert list((bed.store.directory / "staging").iterdir()) == []
    assert os.listdir("/proc/self/fd") == before


def test_who_is_not_wanted_any_more_is_ended(make):
    bed = make(memory=100)
    first, second = bed.submit(), bed.submit()
    bed.pool.cancel(second)
    bed.pool.cancel(first, "the task was cancelled")
    bed.pool.cancel(99)
    bed.pool.step()
    bed.pool.step()
    assert {o.id: (o.kind, o.reason) for o in bed.came}[first] == ("cancelled", "the task was cancelled")
    assert {o.id: o.kind for o in bed.came}[second] == "cancelled"
    assert bed.pool.used == 0


def test_at_the_end_of_the_unit_nothing_is_left(make):
    bed = make(memory=200)
    bed.cold(), bed.submit(), bed.submit()
    bed.pool.close()
    assert [o.kind for o in bed.came] == ["cancelled"] * 3
    assert all(fake.killed for fake in bed.fakes)
    assert list((bed.store.directory / "staging").iterdir()) == []
    bed.close = lambda: bed.fakes.close()


def test_a_function_that_needs_more_than_was_thought_waits_for_it(make, monkeypatch):
    monkeypatch.setattr(needs, "UNKNOWN_MEMORY", 100)
    bed = make(memory=300)
    other = bed.cold(G)
    unknown = Invocation("f", "/mine.py")
    bed.submit(unknown)
    assert bed.pool.used == 200
    bed.fakes[1].ready(memory=250)
    bed.pool.step()
    bed.pool.step()
    assert bed.fakes[1].killed
    assert (bed.pool.waiting, bed.pool.used, bed.came) == (1, 100, [])
    bed.run(other)
    bed.pool.step()
    assert bed.pool.used == 250
    bed.fakes[2].ready(memory=250)
    bed.pool.step()
    assert bed.run(bed.fakes[2]).ok
    assert bed.pool.cold == {"f": 2, "g": 1}
    bed.submit(Invocation("h", "/mine.py"))
    bed.pool.step()
    bed.fakes[3].ready("h", memory=301)
    bed.pool.step()
    bed.pool.step()
    assert bed.came[-1].kind == "refused"


def test_what_streams_is_passed_on_both_ways_and_counted(make):
    bed = make()
    id_ = bed.submit()
    early = [b"early", b"", b"frame"]
    assert bed.pool.send(id_, ms.Passed("eb", (5, 0, 5)), early)
    fake = bed.fakes[0]
    fake.ready()
    bed.pool.step()
    assert bed.pool.send(id_, ms.Said(b"a notice"))
    heard = fake.heard()
    assert [type(m).__name__ for m, _ in heard] == ["Start", "Invoke", "Passed", "Said"]
    assert [bytes(f) for f in heard[2][1]] == early
    large = bytes(5_000_000)  # more than a socket takes at once
    assert bed.pool.send(id_, ms.Passed("eb", (len(large),)), [large])
    got = []
    while not got:
        got = fake.heard()
        bed.pool.step()
    assert bytes(got[0][1][0]) == large
    fake.say(ms.Passed("ea", (3, 4)), [b"one", b"four"])
    fake.say(ms.Said(b"progress"))
    bed.pool.step()
    assert [p[1:] for p in bed.passed] == [("ea", [b"one", b"four"])]
    assert bed.heard == [b"progress"]
    got = bed.run(fake)
    assert (got.sent_bytes, got.received_bytes) == (7, 10 + len(large))
    assert not bed.pool.send(id_, ms.Said(b"too late"))


def test_outputs_are_in_the_store_when_the_outcome_comes_and_stay_if_pinned(tmp_path, make):
    bed = make()
    bed.store.limit = 1000
    fake = bed.cold()
    digest = stores.stage(fake.directory, {"w": np.zeros(100)})
    bed.run(fake, outputs={"weights": digest})
    assert bed.came[0].outputs == {"weights": digest}
    bed.store.get(digest)
    bed.store.pin([digest])
    bed.submit()
    other = stores.stage(fake.directory, {"w": np.ones(100)})
    third = stores.stage(fake.directory, {"w": np.full(100, 2)})
    got = bed.run(fake, outputs={"weights": other, "more": third})
    assert got.kind == "no-room"
    assert not fake.killed
    assert list(fake.directory.iterdir()) == []  # what nobody takes takes no room either
    bed.store.unpin([digest])
    bed.submit()
    stores.stage(fake.directory, {"w": np.ones(100)})
    assert bed.run(fake, outputs={"weights": other}).ok


def test_inputs_stay_in_the_store_while_they_are_worked_on(make):
    bed = make()
    bed.store.limit = 1200
    digest = bed.store.put({"w": np.zeros(100)})
    fake = bed.cold(Invocation("f", "/mine.py", inputs={"w": digest}, memory=100))
    with pytest.raises(RunError, match="no room"):
        bed.store.put({"w": np.ones(100)})
    bed.run(fake)
    bed.store.put({"w": np.ones(100)})
    assert digest not in bed.store


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ssrrfdtk"), st.integers(0, 3)), max_size=40))
def test_memory_is_never_promised_twice_and_every_call_ends_once(tmp_path_factory, acts):
    bed = Bed(tmp_path_factory.mktemp("p"), memory=250, keep_alive=10)
    asked = 0
    try:
        for act, n in acts:
            up = [fake for fake in bed.fakes if fake.code is None]
            fake = up[n % len(up)] if up else None
            busy = fake and any(isinstance(m, ms.Invoke) for m, _ in [*fake.heard(), *fake.all])
            match act:
                case "s":
                    bed.submit(Invocation("fg"[n % 2], "/mine.py", memory=60 + 40 * (n // 2)))
                    asked += 1
                case "r" if fake and not busy:
                    fake.ready("f", memory=100)
                case "r" | "f" if busy:
                    made = [m for m, _ in fake.all if isinstance(m, ms.Invoke | ms.Start)]
                    if isinstance(made[-1], ms.Invoke) and made[-1].id not in [o.id for o in bed.came]:
                        fake.result() if act == "r" else fake.fails("raised")
                case "d" if fake:
                    fake.die(n)
                case "t":
                    bed.clock.now += 4
                case "k" if fake:
                    fake.resident = 1000
            bed.pool.step()
            assert bed.pool.used <= 250
            ids = [o.id for o in bed.came]
            assert len(ids) == len(set(ids))
            for life in [*bed.pool.lives, *bed.pool.alive()]:
                spent = life.starting_s + life.busy_s + life.idle_s
                assert spent <= life.ended - life.born + 1e-9
        bed.pool.close()
        assert len(bed.came) == asked
        assert sum(bed.pool.cold.values()) == len(bed.fakes) == len(bed.pool.lives)
    finally:
        bed.fakes.close()
