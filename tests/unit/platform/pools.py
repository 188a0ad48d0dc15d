"""Pools driven as an agent does it: poll what they say, step, until what is waited for has come."""

import select
import time

from nodes.platform.outcomes import Invocation

LIGHT = '''
from nodes.platform.functions import MIB, Tensors, Value, function


def plain(**more):
    return function(**({"inputs": {}, "outputs": {}, "memory": 64 * MIB, "time_limit": 30} | more))
'''
"""The head of a file of functions that need no torch."""


def write(directory, body, name="mine.py"):
    """A file of functions."""
    path = directory / name
    path.write_text(LIGHT + body)
    return str(path)


def drive(pools, over, seconds=120.0):
    """Step until ``over()``."""
    end = time.monotonic() + seconds
    poll = select.poll()
    for pool in pools:
        poll.register(pool, select.POLLIN)
    while not over():
        assert time.monotonic() < end, "nothing came of it"
        due = min((d for d in (pool.due() for pool in pools) if d is not None), default=1.0)
        poll.poll(min(due, 1.0) * 1000)
        for pool in pools:
            pool.step()


def invoke(pool, function, source="", **more):
    """The outcome of one invocation."""
    found = []
    pool.submit(Invocation(function, source, **more), found.append)
    drive([pool], lambda: found)
    return found[0]


def gone(pool, pid):
    """Let the pool find out that a process of its has ended."""
    drive([pool], lambda: pid not in pool.pids())
