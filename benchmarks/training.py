"""How fast, how exact and how accurate training is, on this machine: `python -m benchmarks.training`.

Prints, one JSON object a line:

    reference   step times of each model at its usual cut (what pacing divides by a node's speed)
    state       capture, digest and restore of FedFly's edge half, ms
    pacing      paced speed over asked speed, alone and with the machine kept busy
    accuracy    of the whole model on the embedded digits, by round
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from nodes.learn import datasets, models, reference
from nodes.learn.evaluate import evaluate
from nodes.learn.pacing import Pacer
from nodes.learn.shards import Batches, Shard
from nodes.learn.stage import Sgd, Stage, use_threads
from nodes.learn.state import capture

LAYOUTS = (("vgg5", 4, 16), ("vgg5", 4, 100), ("cnn", 2, 16))


def tell(what: str, **figures: Any) -> None:
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in figures.items()}
    print(json.dumps({"what": what, **rounded}), flush=True)


def references() -> None:
    for model, cut, batch in LAYOUTS:
        measured = reference.measure(model, cut, batch, 1)
        ops = {op: round(seconds * 1000, 3) for op, seconds in measured.ops.items()}
        tell("reference", key=measured.key, ms=ops, spread=max(measured.spread.values()))


def state(repeats: int = 30) -> None:
    _, tail = models.cut(models.build("vgg5", 0), 4)
    stage = Stage(tail, Sgd())
    gradient = torch.zeros(16, 64, 8, 8)
    held = capture(stage, pending=gradient)
    work: dict[str, Callable[[], object]] = {
        "capture": lambda: capture(stage, pending=gradient),
        "digest": held.digest,
        "restore": lambda: held.restore(stage),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, operation in work.items():
            begin = time.perf_counter()
            operation()
            times[name].append((time.perf_counter() - begin) * 1000)
    tell("state", bytes=held.nbytes(), **{name: statistics.median(t) for name, t in times.items()})


def pacing(seconds: float = 5.0) -> None:
    measured = reference.measure("vgg5", 4, 16, 1, seconds=2.0)
    whole = measured.ops["whole.step"]
    for speed, busy in ((0.1, 0), (0.25, 0), (0.5, 0), (0.25, 2), (0.5, 2)):
        others = [multiprocessing.Process(target=_spin, args=(seconds + 30,), daemon=True) for _ in range(busy)]
        for other in others:
            other.start()
        try:
            pacer = Pacer(speed)
            stage = Stage(models.build("vgg5", 0), Sgd(), first=True)
            x, y = torch.zeros(16, 3, 32, 32), torch.zeros(16, dtype=torch.int64)
            steps = max(10, round(seconds * speed / whole))
            begin = time.monotonic()
            for _ in range(steps):
                with pacer.step(whole):
                    stage.train_step_tail(x, y)
            ratio = steps * whole / speed / (time.monotonic() - begin)
        finally:
            for other in others:
                other.kill()
                other.join()
        late = pacer.totals.late / steps
        tell("pacing", speed=speed, busy=busy, of_asked=ratio, late=late, dropped_s=pacer.totals.dropped_s)


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def accuracy(rounds: int = 4) -> None:
    data = datasets.load("digits")
    train, test = (
        Shard(torch.from_numpy(x), torch.from_numpy(y), data.classes, data.mean, data.std)
        for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y))
    )
    for model, batch in (("vgg5", 16), ("cnn", 16)):
        stage = Stage(models.build(model, 7), Sgd(), first=True)
        batches = Batches(train, 7, "all", batch)
        reached = []
        for at in range(1, rounds + 1):
            for index in range(len(batches)):
                stage.train_step_tail(*batches.get(at, index))
            reached.append(round(evaluate(stage.layers, test).accuracy, 4))
        tell("accuracy", model=model, batch=batch, by_round=reached)


def main(wanted: list[str]) -> None:
    use_threads(1)
    parts = {"reference": references, "state": state, "pacing": pacing, "accuracy": accuracy}
    for name in wanted or list(parts):
        parts[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
