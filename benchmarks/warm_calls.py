"""What a call of a function costs beyond its work: cold and warm, CPU time of the instance and of the agent.

``python -m benchmarks.warm_calls [CALLS]`` prints a line for each kind of call. The acceptance figure is the CPU time
of a warm call over the work itself, with about the weights of vgg5 (2.3 MB) read, verified, and others written: at most
5 ms.
"""

from __future__ import annotations

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


def call(pool: Pool, invocation: Invocation) -> tuple[Outcome, float]:
    """The outcome, and the agent's CPU time for it."""
    found: list[Outcome] = []
    poll = select.poll()
    poll.register(pool, select.POLLIN)
    begin = time.process_time()
    pool.submit(invocation, found.append)
    while not found:
        poll.poll(min(pool.due() or 1.0, 1.0) * 1000)
        pool.step()
    return found[0], time.process_time() - begin


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "functions.py"
        path.write_text(FILE)
        pool = Pool(Store(Path(place) / "blobs", limit=64 << 20), 2 << 30)
        blob = pool.store.put({f"layer{n}.weight": np.ones(size, np.float32) for n, size in enumerate(SIZES)})
        try:
            for name in ("plain", "weights", "torched"):
                inputs = {} if name == "plain" else {"weights": blob}
                made = [
                    call(pool, Invocation(name, str(path), inputs=inputs, values={"n": n})) for n in range(calls + 1)
                ]
                cold = made[0][0]
                assert all(outcome.ok for outcome, _ in made), next(o.reason for o, _ in made if not o.ok)
                around = sorted((o.around_cpu_s + agent) * 1e3 for o, agent in made[1:])
                print(
                    f"{name:8} cold: {cold.process_s:.3f} s process, {cold.imports_s:.3f} s imports,"
                    f" {cold.start_cpu_s:.3f} s CPU, {cold.memory / 1e6:.0f} MB;"
                    f" warm, CPU over the work: {statistics.median(around):.2f} ms"
                    f" (p95 {around[int(0.95 * (len(around) - 1))]:.2f}), of it the agent's"
                    f" {statistics.median(agent * 1e3 for _, agent in made[1:]):.2f}"
                )
        finally:
            pool.close()


if __name__ == "__main__":
    main()
