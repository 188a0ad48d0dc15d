"""What a call of a function costs beyond its work: cold and warm, CPU time of the instance and of the agent.

``python -m benchmarks.warm_calls [CALLS]`` prints a line for each kind of call. The acceptance figure is the CPU time
of a warm call over the work itself, with about the weights of vgg5 (2.3 MB) read, verified, and others written: at most
5 ms. Each call is given what the last one has returned, as the rounds of a task are. The store is on a tmpfs, and
instances have the allocator's settings, as in a container.
"""

from __future__ import annotations

import os
import select
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nodes.platform.instances import Pool
from nodes.platform.outcomes import Invocation, Outcome
from nodes.platform.store import Store
from testbed.run.birth import ALLOCATOR

FILE = """
from nodes.platform.functions import MIB, Tensors, function

@function(inputs={"n": int}, outputs={"n": int}, memory=96 * MIB)
def plain(n):
    return {"n": n}

@function(inputs={"weights": Tensors(), "n": int}, outputs={"weights": Tensors(like="weights")}, memory=160 * MIB)
def weights(weights, n):
    for array in weights.values():
        array += n + 1
    return {"weights": weights}

@function(inputs={"weights": Tensors(), "n": int}, outputs={"weights": Tensors(like="weights")}, memory=600 * MIB,
          torch=True)
def torched(weights, n):
    for array in weights.values():
        array += n + 1
    return {"weights": weights}
"""
SIZES = (864, 32, 18432, 64, 36864, 64, 524288, 128, 1280, 10)  # about those of vgg5


TMPFS = "/dev/shm"


def call(pool: Pool, invocation: Invocation) -> tuple[Outcome, float]:
    """The outcome, its blobs pinned, and the agent's CPU time for it."""
    found: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        pool.store.pin(outcome.outputs.values())
        found.append(outcome)

    poll = select.poll()
    poll.register(pool, select.POLLIN)
    begin = time.process_time()
    pool.submit(invocation, done)
    while not found:
        poll.poll(min(pool.due() or 1.0, 1.0) * 1000)
        pool.step()
    return found[0], time.process_time() - begin


def used(pool: Pool) -> float:
    """CPU time that the one instance has used so far, whatever for."""
    [pid] = pool.pids()
    return time.clock_gettime(~pid << 3 | 2)  # the clock of another process, as clock_getcpuclockid(3) makes it


def rounds(pool: Pool, name: str, source: str, calls: int) -> tuple[Outcome, list[tuple[float, float]]]:
    """A cold call, and CPU seconds of so many warm ones beyond the work itself: of both processes, and of the agent's.

    Each is on the weights that the last one has returned. All that the instance does between two answers counts.
    """
    weights = {f"layer{n}.weight": np.ones(size, np.float32) for n, size in enumerate(SIZES)}
    blob = "" if name == "plain" else pool.store.put(weights)
    pool.store.pin([blob] if blob else [])
    cold, costs, before = None, [], 0.0
    for n in range(calls + 1):
        found, agent = call(pool, Invocation(name, source, inputs={"weights": blob} if blob else {}, values={"n": n}))
        assert found.ok, found.reason
        if blob:
            pool.store.unpin([blob])
            blob = found.outputs["weights"]
        now = used(pool)  # what it has yet to do after its answer is counted with the next call
        if cold is None:
            cold = found
        else:
            costs.append((now - before - found.cpu_s + agent, agent))
        before = now
    assert cold is not None
    pool.drain()
    while pool.pids():
        select.select([pool], [], [])
        pool.step()
    return cold, costs


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    os.environ["GLIBC_TUNABLES"] = ALLOCATOR
    with tempfile.TemporaryDirectory(dir=TMPFS if os.path.isdir(TMPFS) else None) as place:
        path = Path(place) / "functions.py"
        path.write_text(FILE)
        pool = Pool(Store(Path(place) / "blobs", limit=64 << 20), 2 << 30)
        try:
            for name in ("plain", "weights", "torched"):
                cold, costs = rounds(pool, name, str(path), calls)
                around = sorted(1e3 * both for both, _ in costs)
                print(
                    f"{name:8} cold: {cold.process_s:.3f} s process, {cold.imports_s:.3f} s imports,"
                    f" {cold.start_cpu_s:.3f} s CPU, {cold.memory / 1e6:.0f} MB;"
                    f" warm, CPU over the work: {statistics.median(around):.2f} ms"
                    f" (p95 {around[int(0.95 * (len(around) - 1))]:.2f}), of it the agent's"
                    f" {1e3 * statistics.median(agent for _, agent in costs):.2f}"
                )
        finally:
            pool.close()


if __name__ == "__main__":
    main()
