"""Reference times by layer, from which those of any stage follow (`nodes.policies.stage_times`).

As in `nodes.learn.reference`: on one unthrottled core, on noise, undisturbed (`calm`). Layers are measured in the order
in which training goes through them, forward, loss, backward, update, so that each finds its data as cold as there.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional

from nodes.learn import models
from nodes.learn.layer_work import stages
from nodes.learn.reference import calm, key_of, noise, wants_more
from nodes.learn.stage import use_threads

_WARM_UP = 3


def key(
    model: str,
    micro: int,
    threads: int,
    in_shape: tuple[int, ...] | None = None,
    torch_version: str = "",
    classes: int = 10,
) -> str:
    """What times by layer hold for: this machine, a version of torch, model, samples of a micro-batch, threads."""
    return key_of(model, "layers", micro, threads, in_shape, torch_version, classes)


def measure(
    model: str,
    micro: int,
    threads: int,
    in_shape: tuple[int, ...] | None = None,
    classes: int = 10,
    seconds: float = 3.0,
) -> dict[str, float]:
    """Seconds by operation (`stage_times.operations`) for ``micro`` samples; takes about ``seconds``."""
    before = torch.get_num_threads()
    use_threads(threads)
    try:
        return _measure(model, micro, threads, in_shape or models.usual_shape(model), classes, seconds)
    finally:
        use_threads(before)


def _measure(
    model: str, micro: int, threads: int, in_shape: tuple[int, ...], classes: int, seconds: float
) -> dict[str, float]:
    clock: Callable[[], float] = time.thread_time if threads == 1 else time.perf_counter
    taken: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begin = clock()
        yield
        taken[name].append(clock() - begin)

    layers = stages(model, in_shape, classes)
    x, labels = noise(model, micro, in_shape, classes)
    begin = time.monotonic()
    while wants_more(len(taken["loss"]), time.monotonic() - begin, seconds):
        crossing = x
        for name, stage in layers.items():
            with timed(f"forward.{name}"):
                crossing = stage.forward(crossing)
        with timed("loss"):
            crossing.requires_grad_()
            [gradient] = torch.autograd.grad(functional.cross_entropy(crossing, labels), [crossing])
        for name, stage in reversed(layers.items()):
            with timed(f"backward.{name}"):
                back = stage.backward(gradient)
            gradient = gradient if back is None else back
        for name, stage in layers.items():
            with timed(f"update.{name}"):
                stage.step()
    return {name: calm(times[min(_WARM_UP, len(times) // 3) :]) for name, times in taken.items()}
