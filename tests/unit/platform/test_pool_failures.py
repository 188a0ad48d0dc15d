"""A pool's instances that fail, die, or say what they should not."""

import os
import select

import numpy as np
import pytest

from nodes.platform import messages as ms
from nodes.platform import outcomes, processes
from nodes.platform.outcomes import Invocation
from nodes.platform.tending import START_LIMIT, WATCH_S
from tests.unit.platform.pool_bed import beds


@pytest.fixture
def make(tmp_path):
    yield from beds(tmp_path)


def test_one_that_takes_too_long_is_killed_and_the_next_call_has_a_fresh_one(make):
    bed = make()
    fake = bed.cold(time_limit=5)
    fake.dies_at_once = False
    bed.submit(Invocation("f", "/mine.py", memory=100, time_limit=2))
    bed.after(5)
    assert fake.killed
    assert not bed.came  # it is still there
    fake.die(-9)
    bed.pool.step()
    [got] = bed.came
    assert (got.kind, got.held_s) == ("time", 5.0)
    assert "5 s" in got.reason
    bed.fakes[1].ready(time_limit=5)
    bed.pool.step()
    bed.after(2)  # this call's own limit
    bed.pool.step()
    assert [o.kind for o in bed.came] == ["time", "time"]
    assert bed.run(bed.cold()).ok
    assert bed.pool.cold == {"f": 3}


def test_one_that_does_not_get_ready_is_killed(make):
    bed = make()
    bed.submit()
    bed.after(START_LIMIT)
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
    bed.after(WATCH_S)
    bed.pool.step()
    [got] = bed.came
    assert (got.kind, got.memory) == ("memory", 101)
    assert "101" in got.reason
    idle = bed.cold()
    bed.run(idle)
    idle.resident = 101  # a leak that shows later
    bed.after(WATCH_S)
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
