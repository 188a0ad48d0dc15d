"""What steers a pipeline: it tells the device's policies what happens, and has the driver do what they decide.

The policies (`nodes.policies.steering`) are plain and know no network. Their seconds and bytes are the experiment's, so
clocks are divided by the dilation here, and rates multiplied by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from nodes.errors import InputError
from nodes.events import Span
from nodes.policies import decisions, layouts, order
from nodes.policies.adapting import AdaptPolicy
from nodes.policies.decisions import Decision, Position
from nodes.policies.layout import Layout as Bare
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import Layout
from nodes.policies.plans import Problem
from nodes.policies.probing import ProbePolicy
from nodes.policies.profile import ModelProfile
from nodes.policies.steering import Steering, seconds_at_least
from nodes.runtime.part import Context
from nodes.schemes._base import stage_role
from nodes.schemes._probes import Probes
from nodes.wire.control import Pipeline
from nodes.wire.messages import Body, PartId


class Steered(Protocol):
    """What is steered: the driver."""

    def relocate(self, stage: int, node: str, *, go: bool) -> None:
        """Keep a standby of a stage on a node, or move it there."""

    def relay(self, layout: Layout) -> None:
        """Take other cuts from the next batch on that has not begun."""


class Helm:
    """Steers one owner's pipeline.

    Args:
        context: The runtime. part: The driver's address. driver: It. batches: Of a round.
        probes: Of the edge servers; None if there are to be none.
    """

    def __init__(self, context: Context, part: PartId, driver: Steered, batches: int, probes: Probes | None) -> None:
        settings = context.task.pipeline
        assert settings is not None, "the scheme has settings of a pipeline"
        self._context, self._part, self._driver, self._probes = context, part, driver, probes
        self._settings: Pipeline = settings
        self._batches = batches
        self._written: dict[Position, Decision] | None = None
        if settings.decisions is not None:
            self._written = decisions.changes(settings.decisions, part.owner)
        self._problem: Problem | None = settings.problems.get(part.owner)
        self._steering: Steering | None = None
        self._layout: Layout | None = None       # at work, or decided on
        self._queue: list[str] = []              # servers to be probed, one after the other
        self._then: Callable[[], None] | None = None  # what waits for that
        self._began = 0.0                        # of the batch under way
        self.bytes = 0
        """Of everything on the device's access link."""
