"""Paced training work on layers one by one, and what it takes: the same on a device and on a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from nodes.errors import RunError
from nodes.learn.layer_work import LayerWork
from nodes.policies.profile import FULL, ModelProfile, middle
from nodes.policies.stage_times import WAYS, operations
from nodes.runtime.part import Context
from nodes.wire.messages import PartId

REPEATS = 3
"""Of each layer: the fewest of which a median leaves out one that something else disturbed."""


class Bench:
    """Paced work on layers one by one, as events of a kind, and what it took.

    Args:
        context: The part's.
        part: Whose work it is.
        kind: Of events.

    Attributes:
        slowdowns: Of the last run, by repeat: what its work took as a multiple of its reference times.
    """

    def __init__(self, context: Context, part: PartId, kind: str) -> None:
        task = context.task
        if task.pipeline is None:
            raise RunError(f"{task.scheme} without settings of a pipeline", where=context.node)
        self._context, self._part, self._kind = context, part, kind
        self._times = task.pipeline.times
        micro = task.batch // task.pipeline.micro
        self._layers = LayerWork(task.model, micro, tuple(task.in_shape), task.classes)
        self._device = ""
        self._taken: dict[str, list[float]] = {}
        self.slowdowns: list[float] = []

    def rehearse(self) -> None:
        """All layers once, as fast as they go: first times are slow."""
        for name in self._layers.names:
            self._layers.layer(name, lambda _: nullcontext())

    def run(
        self, names: tuple[str, ...], repeats: int, most: float, device: str, *, loss: bool = False
    ) -> tuple[dict[str, tuple[float, float]], float]:
        """Work through layers again and again.

        Args:
            names: The layers.
            repeats: How often at most.
            most: After so many seconds of work no repeat begins but the first.
            device: Whom it is done for.
            loss: Whether the loss is worked out as well.

        Returns:
            Median and spread of the seconds of each operation, and the seconds in all.
        """
        self._device, self._taken, self.slowdowns = device, {}, []
        asked = [op for op in operations(names) if loss or op != "loss"]
        for _ in range(repeats):
            if self._taken and self._sum() >= most:
                break
            before = self._sum()
            for name in names:
                self._layers.layer(name, self._timing)
            if loss:
                self._layers.loss(self._timing)
            self.slowdowns.append((self._sum() - before) / sum(self._times[op] for op in asked))
        return {name: middle(times) for name, times in self._taken.items()}, self._sum()

    def _sum(self) -> float:
        return sum(sum(times) for times in self._taken.values())

    @contextmanager
    def _timing(self, op: str) -> Iterator[None]:
        attrs = {"op": op, "device": self._device}
        work = self._context.work(self._part, self._kind, None, seconds=self._times[op], attrs=attrs)
        with work as timed:
            yield
        self._taken.setdefault(op, []).append(timed.end - timed.begin)


def timed(profile: ModelProfile, times: Mapping[str, tuple[float, float]]) -> ModelProfile:
    """A profile with these times (RunError if one is missing): medians, and of spreads the mean by seconds."""
    missing = [name for name in operations([one.name for one in profile.layers]) if name not in times]
    if missing:
        raise RunError("a profile without times of all layers", found=", ".join(missing[:4]))
    layers = []
    for one in profile.layers:
        (forward, a), (backward, b), (update, _) = (times[f"{way}.{one.name}"] for way in WAYS)
        both = forward + backward
        spread = (a * forward + b * backward) / both if both else 0.0
        layers.append(replace(one, forward=forward, backward=backward, update=update, spread=spread))
    return replace(profile, layers=tuple(layers), loss=times["loss"][0], kind=FULL)
