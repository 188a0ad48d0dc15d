"""The pool's own doings, on instances that are no processes and a clock that is set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import InputError, RunError
from nodes.platform import messages as ms
from nodes.platform import needs
from nodes.platform import store as stores
from nodes.platform.outcomes import Invocation
from tests.unit.platform.pool_bed import Bed, F, G, beds


@pytest.fixture
def make(tmp_path):
    yield from beds(tmp_path)


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
