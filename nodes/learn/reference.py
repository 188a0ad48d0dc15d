"""Reference times: what each step of training takes on one unthrottled core of this machine.

Pacing divides them by a node's speed. They are stored numbers, not taken anew in each run: machines drift,
and runs paced by different numbers could not be compared.

They hold for one model, cut, batch and number of threads, as the same layers cost more in one piece than in
two. Operations are those that nodes pace:

    head.forward   device: the layers before the cut, forward
    head.backward  device: the same backward, and the update
    tail.step      edge: the layers behind the cut, forward, loss, backward, and the update
    whole.step     device, where the model is not split
    evaluate       one sample of a test set, forward
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nodes.errors import InputError
from nodes.learn import keyed, models
from nodes.learn.evaluate import evaluate
from nodes.learn.shards import Shard
from nodes.learn.stage import Sgd, Stage, use_threads
from nodes.policies.designs import WORDS

OPS = ("head.forward", "tail.step", "head.backward", "whole.step", "evaluate")
_WARM_UP = 3
_LEAST = 5  # repeats, however little time there is
_PATIENCE = 5  # times the time there is, after which fewer will do
_FEWEST = 3  # one to warm up among them
_EVALUATED = 128  # samples


@dataclass(frozen=True)
class Reference:
    """Reference times of one layout on one machine.

    Attributes:
        key: What they hold for; see `key`.
        ops: Seconds by operation (``evaluate``: a sample), see `calm`.
        spread: Half the distance between the quartiles, as a share of that, by operation.
        repeats: How often each step was measured.
    """

    key: str
    ops: dict[str, float]
    spread: dict[str, float]
    repeats: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be stored."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reference:
        """Inverse of `as_dict` (InputError if it is something else)."""
        try:
            ops = {name: float(data["ops"][name]) for name in OPS}
            spread = {name: float(data["spread"][name]) for name in OPS}
            reference = cls(str(data["key"]), ops, spread, int(data["repeats"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("not a reference of step times", found=repr(error)) from None
        if not all(0 < seconds < float("inf") for seconds in ops.values()):
            raise InputError("a reference holds a time that is none", found=str(ops))
        return reference


def key(
    model: str,
    cut: int,
    batch: int,
    threads: int,
    in_shape: tuple[int, ...] | None = None,
    torch_version: str = "",
    classes: int = 10,
) -> str:
    """What a reference holds for: this machine, a version of torch (by default this process's), and the layout."""
    return key_of(model, f"cut {cut}", batch, threads, in_shape, torch_version, classes)


def key_of(
    model: str, what: str, batch: int, threads: int, in_shape: tuple[int, ...] | None, torch_version: str, classes: int
) -> str:
    """The same for whatever is measured of a model: a cut, or its layers."""
    shape = "x".join(map(str, in_shape or models.usual_shape(model)))
    layout = f"{model} {shape} {what} batch {batch} threads {threads}"
    layout += "" if classes == 10 else f" classes {classes}"  # ten are not named: stored numbers go on holding
    return f"{cpu_model()}; torch {torch_version or torch.__version__}; {layout}"


def measure(
    model: str,
    cut: int,
    batch: int,
    threads: int,
    in_shape: tuple[int, ...] | None = None,
    classes: int = 10,
    seconds: float = 3.0,
) -> Reference:
    """Measure the reference times of a layout; takes about ``seconds``, and at least a few repeats.

    Of a model whose steps take seconds themselves there are only two repeats, after one to warm up.
    The operations are measured in turn, so that a drift of the machine meets all of them alike. With one
    thread, CPU time is taken: it leaves out what other programs took meanwhile.
    """
    before = torch.get_num_threads()
    use_threads(threads)
    try:
        return _measure(model, cut, batch, threads, in_shape or models.usual_shape(model), classes, seconds)
    finally:
        use_threads(before)


def _measure(
    model: str, cut: int, batch: int, threads: int, in_shape: tuple[int, ...], classes: int, seconds: float
) -> Reference:
    steps = Steps(model, cut, batch, in_shape, classes)
    clock: Callable[[], float] = time.thread_time if threads == 1 else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in OPS}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begin = clock()
        yield
        taken[name].append(clock() - begin)

    begin = time.monotonic()
    while wants_more(len(taken["whole.step"]), time.monotonic() - begin, seconds):
        for name in OPS:
            # Evaluation takes long, and few depend on it.
            if name != "evaluate" or len(taken[name]) < _WARM_UP + _LEAST:
                with timed(name):
                    steps.do(name)
    kept = {name: times[min(_WARM_UP, len(times) // 3) :] for name, times in taken.items()}
    found = {name: calm(times) for name, times in kept.items()}
    spread = {}
    for name, times in kept.items():
        low, _, high = statistics.quantiles(times, n=4)
        spread[name] = (high - low) / 2 / found[name]
    found["evaluate"] /= _EVALUATED
    layout = key(model, cut, batch, threads, in_shape, classes=classes)
    return Reference(layout, found, spread, len(kept["whole.step"]))


def calm(times: Sequence[float]) -> float:
    """What a step takes while nothing slows it down, s: the lowest decile of its repeats.

    CPU time grows, too, while a neighbour uses the same core or cache, on rented machines by a fifth and more, and for
    seconds. A median is then of that, and of two layouts measured in a row one seems so much slower.
    """
    return statistics.quantiles(times, n=10, method="inclusive")[0]


def wants_more(done: int, elapsed: float, seconds: float) -> bool:
    """Whether a measurement that is to take about ``seconds`` goes on after so many repeats and so long a time."""
    if elapsed < seconds or done < _FEWEST:
        return True
    return done < _WARM_UP + _LEAST and elapsed < _PATIENCE * max(seconds, 1.0)


class Steps:
    """The operations of one layout, on noise and on weights of their own: to be measured, and part of no training.

    The rate of learning is 0: what a step costs does not change with it, and weights that learn the same noise again
    and again end in numbers that are slow to compute with.
    """

    def __init__(self, model: str, cut: int, batch: int, in_shape: tuple[int, ...], classes: int = 10) -> None:
        sgd = Sgd(lr=0.0)
        front, back = models.cut(models.build(model, 0, in_shape, classes), cut)
        self._head, self._tail = Stage(front, sgd, first=True), Stage(back, sgd, first=cut == 0)
        self._whole = Stage(models.build(model, 0, in_shape, classes), sgd, first=True)
        self._x, self._labels, self._tests = _samples(model, batch, in_shape, classes)
        self._crossing = self._head.forward(self._x)
        self._gradient = self._crossing
        self._head.drop()

    def do(self, op: str) -> None:
        """One operation of `OPS`; ``head.backward`` comes after ``head.forward``."""
        match op:
            case "head.forward":
                self._crossing = self._head.forward(self._x)
            case "tail.step":
                gradient, _ = self._tail.train_step_tail(self._crossing, self._labels)
                self._gradient = self._crossing if gradient is None else gradient
            case "head.backward":
                self._head.backward(self._gradient)
                self._head.step()
            case "whole.step":
                self._whole.train_step_tail(self._x, self._labels)
            case "evaluate":
                evaluate(self._whole.layers, self._tests)
            case _:
                raise InputError(f"no operation {op}", wanted=", ".join(OPS))


def noise(model: str, batch: int, in_shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor]:
    """A batch of noise as the model takes it, and its labels."""
    x, labels, _ = _samples(model, batch, in_shape, classes)
    return x, labels


def _samples(model: str, batch: int, in_shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor, Shard]:
    """A batch and a test set of noise; what is in them does not change what they cost."""
    draw = keyed.torch_generator(0, "", "reference")
    if models.takes_tokens(model):
        words = torch.randint(WORDS, (batch + _EVALUATED, *in_shape), generator=draw)
        labels = torch.randint(classes, (batch + _EVALUATED,), generator=draw)
        return words[:batch], labels[:batch], Shard(words[batch:].to(torch.int16), labels[batch:], classes, (), ())
    x = torch.randn(batch, *in_shape, generator=draw)
    labels = torch.randint(classes, (batch,), generator=draw)
    pixels = torch.randint(256, (_EVALUATED, *in_shape), generator=draw, dtype=torch.uint8)
    tests = pixels if len(in_shape) == len(models.IN_SHAPE) else pixels.float()
    shown = torch.randint(classes, (_EVALUATED,), generator=draw)
    channels = in_shape[0]
    return x, labels, Shard(tests, shown, classes, (0.5,) * channels, (0.25,) * channels)


def cpu_model() -> str:
    """Name of this machine's processor, with the numbers that tell models of one name apart."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        pass  # no such file outside Linux; the name below will do
    known = ("model name", "cpu family", "model", "stepping", "CPU implementer", "CPU part")
    name = "/".join(fields[field] for field in known if fields.get(field))
    return name or platform.processor() or platform.machine()
