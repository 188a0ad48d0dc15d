"""Speed before any training: reference times, and the check of a node's speed, as the controller asks for them."""

from __future__ import annotations

from nodes.learn import layer_times, reference, speed
from nodes.wire import control as ctl


def measure(asked: ctl.Measure) -> ctl.Measured:
    """Measure the reference times of this work, unpaced."""
    if asked.layers:
        work = (asked.model, asked.batch, asked.threads, asked.in_shape)
        times = layer_times.measure(*work, asked.classes, asked.seconds)
        return ctl.Measured(layer_times.key(*work, classes=asked.classes), times)
    found = reference.measure(
        asked.model, asked.cut, asked.batch, asked.threads, asked.in_shape, asked.classes, asked.seconds
    )
    return ctl.Measured(found.key, dict(found.ops))


def prepare(asked: ctl.PrepareSpeed, pace: float | None) -> speed.SpeedCheck:
    """Build and rehearse the steps that are asked for, paced to a node's speed."""
    return speed.prepare(
        asked.model, asked.cut, asked.batch, asked.threads, asked.in_shape, asked.ops, asked.reference, pace,
        asked.classes,
    )  # fmt: skip
