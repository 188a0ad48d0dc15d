"""A check of a node's speed: the experiment's own steps, paced as in training, back to back.

They are done on noise and on weights of their own (`nodes.learn.reference.Steps`): no training is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodes.learn.pacing import Clock, Pacer, ThreadClock, Window
from nodes.learn.reference import Steps
from nodes.learn.stage import use_threads

_REHEARSALS = 3


class SpeedCheck:
    """Operations of one layout, built and rehearsed.

    Args:
        steps: What does them. ops: Which, in order. reference: Seconds of each at speed 1.
        speed: What they are paced to, None for not at all.
        clock: Stands in for the machine's in tests.
    """

    def __init__(
        self,
        steps: Steps,
        ops: Sequence[str],
        reference: Mapping[str, float],
        speed: float | None,
        clock: Clock | None = None,
    ) -> None:
        self._steps = steps
        self._ops = tuple(ops)
        self._reference = reference
        self._speed = speed
        self._clock = clock or ThreadClock()
        for _ in range(_REHEARSALS):
            for op in self._ops:
                steps.do(op)

    def run(self, begin: float, seconds: float, window_s: float) -> list[Window]:
        """Step from ``begin`` (s of CLOCK_MONOTONIC) on for ``seconds``; windows are counted from then.

        Work is asked for without a break, so that all time counts: also what passes between two steps. What is left of
        the last window and is shorter than half of one belongs to the one before.
        """
        clock = self._clock
        pacer = Pacer(self._speed, clock)
        while (now := clock.now()) < begin:
            clock.sleep(begin - now)
        count = max(1, round(seconds / window_s))
        windows = [Window(begin + i * window_s, 0.0) for i in range(count)]
        ended = begin
        while True:
            for op in self._ops:
                with pacer.step(self._reference[op]) as step:
                    self._steps.do(op)
                window = windows[min(int((step.end - begin) / window_s), count - 1)]
                window.end = step.end
                window.steps += 1
                window.late += step.late
                window.asked_s += self._reference[op] / (self._speed or 1.0)
                window.took_s += step.end - ended
                ended = step.end
            if ended >= begin + seconds:
                return [window for window in windows if window.steps]


def prepare(
    model: str,
    cut: int,
    batch: int,
    threads: int,
    in_shape: tuple[int, ...],
    ops: Sequence[str],
    reference: Mapping[str, float],
    speed: float | None,
    classes: int = 10,
) -> SpeedCheck:
    """Build and rehearse a check; sets this process's number of threads to the training's."""
    use_threads(threads)
    return SpeedCheck(Steps(model, cut, batch, in_shape, classes), ops, reference, speed)
