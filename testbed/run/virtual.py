"""Virtual time: what a dilated run tells of itself, as if it had run at full speed.

See `testbed.experiment.dilate` for what is slowed down. Here real moments and durations become virtual ones again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from nodes.events import Span
from nodes.learn.pacing import Window


@dataclass(frozen=True)
class VirtualTime:
    """Tells real times as virtual ones.

    Attributes:
        factor: Real seconds that a virtual one takes.
        origin: The moment that is the same in both, s of CLOCK_MONOTONIC.
    """

    factor: float = 1.0
    origin: float = 0.0

    def at(self, real: float) -> float:
        """The virtual moment of a real one."""
        return real if self.factor == 1 else self.origin + (real - self.origin) / self.factor

    def lasting(self, real: float) -> float:
        """Virtual seconds of real ones."""
        return real / self.factor

    def spans(self, spans: Iterable[Span]) -> list[Span]:
        """Events in virtual time: begin, end, CPU time, and every attribute in seconds (named ``…_s``)."""
        if self.factor == 1:
            return list(spans)
        return [
            msgspec.structs.replace(
                span,
                begin=self.at(span.begin),
                end=self.at(span.end),
                cpu_s=self.lasting(span.cpu_s),
                attrs={key: self._attribute(key, value) for key, value in span.attrs.items()},
            )
            for span in spans
        ]

    def window(self, real: Window) -> Window:
        """A window of paced steps in virtual time."""
        return Window(
            self.at(real.begin),
            self.at(real.end),
            real.steps,
            real.late,
            self.lasting(real.asked_s),
            self.lasting(real.took_s),
        )

    def _attribute(self, key: str, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.lasting(value) if number and key.endswith("_s") else value
