"""Instances of one unit share its speed: no two do a paced step at once, and each comes to its turn."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest

from nodes.platform.instances import Pool
from nodes.platform.outcomes import Invocation
from nodes.platform.store import STAGING, Store
from nodes.platform.turns import Turns
from tests.unit.platform.pools import drive, invoke, write

MEMORY = 1 << 30
STEPS = """
@plain(inputs={"count": int}, outputs={"steps": list[tuple[float, float]]}, paced=True)
def work(count, pacer):
    steps = []
    for _ in range(count):
        with pacer.step(0.01) as step:
            pass
        steps.append((step.begin, step.end))
    return {"steps": steps}
"""


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "blobs")
    made.staging("1")
    return made


def until(there):
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.001)


def taken(directory):
    """Whether somebody holds that lock."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_who_has_just_had_a_turn_is_not_before_who_waits(store):
    mine, theirs, order = Turns(store.directory), Turns(store.directory), []

    def other():
        with theirs:
            order.append("other")

    thread = threading.Thread(target=other)
    with mine:
        thread.start()
        until(lambda: taken(store.directory / STAGING))  # it stands in the door
        assert taken(store.directory)
        order.append("first")
    with mine:
        order.append("again")
    thread.join()
    assert order == ["first", "other", "again"]
    assert not taken(store.directory)
    assert not taken(store.directory / STAGING)


def test_a_process_that_is_killed_in_its_turn_gives_it_back(store):
    code = "import sys, time; from pathlib import Path; from nodes.platform.turns import Turns\n" \
           "with Turns(Path(sys.argv[1])): time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, str(store.directory)])
    until(lambda: taken(store.directory))
    process.kill()
    process.wait()
    assert not taken(store.directory)


def test_instances_together_are_as_fast_as_their_unit(tmp_path):
    path = write(tmp_path, STEPS)
    pool, found = Pool(Store(tmp_path / "blobs"), MEMORY, speed=0.5), []
    try:
        for count in (1, 20):  # cold, so that both are there; then both at once
            found.clear()
            for _ in range(2):
                pool.submit(Invocation("work", path, values={"count": count}), found.append)
            drive([pool], lambda: len(found) == 2)
        assert pool.cold == {"work": 2}
        assert [outcome.reason for outcome in found] == ["", ""]
        one, two = ([*map(tuple, outcome.values["steps"])] for outcome in found)
        every = sorted([*one, *two])
        assert all(before[1] <= after[0] for before, after in pairwise(every)), "two steps at once"
        assert sum((a in one) != (b in one) for a, b in pairwise(every)) > 5, "one has all its turns before the other"
        assert every[-1][1] - every[0][0] > 0.9 * len(every) * 0.02
    finally:
        pool.close()


def test_without_a_speed_nobody_waits_for_anybody(tmp_path):
    path = write(tmp_path, STEPS)
    pool = Pool(Store(tmp_path / "blobs"), MEMORY)
    try:
        pool.store.staging("another")
        with Turns(pool.store.directory):
            assert invoke(pool, "work", path, values={"count": 3}).ok
    finally:
        pool.close()


def test_a_function_that_is_paced_takes_its_pacer(tmp_path):
    path = write(tmp_path, "@plain(paced=True)\ndef f():\n    return {}\n")
    pool = Pool(Store(tmp_path / "blobs"), MEMORY)
    try:
        outcome = invoke(pool, "f", path)
        assert (outcome.kind, "pacer" in outcome.reason) == ("no-start", True)
    finally:
        pool.close()
