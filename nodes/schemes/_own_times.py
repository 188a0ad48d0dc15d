"""How long the layers take on the device itself: measured before the training, and followed while it goes on."""

from __future__ import annotations

from nodes.errors import RunError
from nodes.policies.layers import LAYERS
from nodes.policies.offers import ALPHA
from nodes.policies.profile import FULL, SHARES, ModelProfile
from nodes.runtime.part import Context
from nodes.schemes._admission import bytes_of
from nodes.schemes._bench import REPEATS, Bench, timed
from nodes.wire.messages import PartId
from nodes.wire.task import Pipeline

OWN_S = 10.0
"""Seconds of work after which no further repeat begins, s of the experiment."""
NEWS = 0.03
"""By less than that a device has not become slower or faster."""


class OwnTimes:
    """A device's times by layer.

    Args:
        context: The driver's.
        part: The driver.
        settings: The pipeline's.
    """

    def __init__(self, context: Context, part: PartId, settings: Pipeline) -> None:
        self._context, self._part, self._settings = context, part, settings
        self._profile: ModelProfile | None = None
        self._slowdown = 1.0

    @property
    def profile(self) -> ModelProfile:
        """The model's times by layer on this device, with spreads, and its bytes (RunError before `measure`).

        Activations and gradients are as large as they are packed on their way.
        """
        if self._profile is None:
            raise RunError("a device's own times are not measured yet", where=self._context.node)
        return self._profile

    def measure(self) -> None:
        """Measure them: each layer `REPEATS` times, fewer if that takes longer than `OWN_S`. Events ``profile``.

        What is measured is how much slower than the reference this device is, in the best of the repeats: a layer by
        itself can be held up for longer than it takes (all nodes begin at once, and a CPU quota that was used up takes
        its time to fill). Proportions of layers are those of the reference. `slowed` goes on from there.
        """
        bench = Bench(self._context, self._part, "profile")
        names = LAYERS[self._context.task.model]
        times, _ = bench.run(names, REPEATS, OWN_S * self._context.dilation, self._part.owner, loss=True)
        slower, known = min(bench.slowdowns), self._settings.times
        even = {op: (known[op] * slower, spread) for op, (_, spread) in times.items()}
        self._profile = timed(bytes_of(self._context.task).compressed(SHARES[self._settings.compress]), even)
        self._slowdown = slower

    def slowed(self, slowdown: float) -> bool:
        """Training itself takes so many times its reference times here; whether that is news."""
        found = self._slowdown + ALPHA * (slowdown - self._slowdown)
        if abs(found - self._slowdown) <= NEWS * self._slowdown:
            return False
        self._profile, self._slowdown = self.profile.scaled(found / self._slowdown, FULL), found
        return True
