"""What each direction of a link is, from the layers of settings that say so; what the check and the plan both need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.emulation.links.shape import UNIFORM, Bursts, Schedule, Shape, Spread
from testbed.emulation.links.spreads import NAMES, spread
from testbed.experiment.document import Document, Steps
from testbed.experiment.limits import LARGEST_QUEUE, LEAST_QUEUE
from testbed.experiment.link_settings import LinkSettings
from testbed.experiment.link_values import BY_TRACE, QueueLimit
from testbed.mobility import link_trace
from testbed.mobility.mahimahi import mean_rate

WAYS = ("up", "down")
NONE = "none"
"""A trace that is none, where an outer layer has one."""


@dataclass(frozen=True)
class Layer:
    """Settings and their section in the file; our own defaults have none. A later layer goes before an earlier one."""

    settings: LinkSettings
    section: Steps = ()


@dataclass(frozen=True)
class Setting:
    """One key's value in one direction, and the layer that has it: its section, and how far up it is."""

    value: Any
    section: Steps
    depth: int


@dataclass(frozen=True)
class Way:
    """One direction of a link: what it is, and how it varies."""

    shape: Shape
    trace: Schedule | None


def settings(layers: Sequence[Layer], way: str) -> dict[str, Setting]:
    """Each key of one direction, as the last layer has it that sets it."""
    found: dict[str, Setting] = {}
    for depth, layer in enumerate(layers):
        for key in LinkSettings.model_fields:
            if (both := getattr(layer.settings, key)) is not None:
                found[key] = Setting(both.way(way), layer.section, depth)
    return found


def both_ways(document: Document, layers: Sequence[Layer]) -> tuple[Way, Way]:
    """What the layers make of a link, as (up, down); the first layer sets rate, delay and queue.

    Raises:
        InputError: A trace or a table cannot be used, or a packet-delivery trace and the rate contradict each other.
    """
    up, down = (one_way(document, settings(layers, way), way) for way in WAYS)
    return up, down


def one_way(document: Document, found: dict[str, Setting], way: str) -> Way:
    """What the settings make of one direction (InputError as `both_ways`)."""
    trace = _trace(document, found, way)
    rate = _rate(document, found, trace, way)
    loss, queue = found["loss"].value, found["queue"]
    bursts = loss if isinstance(loss, Bursts) else None
    limit: QueueLimit = queue.value
    size = limit.bytes_at(rate)
    if size is not None and not queue.section:  # what nobody asked for gives way
        size = min(max(size, LEAST_QUEUE), LARGEST_QUEUE)
    plain = {key: found[key].value for key in ("reorder", "duplicate", "corrupt") if key in found}
    shape = Shape(
        rate=rate,
        delay=found["delay"].value,
        jitter=found["jitter"].value,
        loss=0.0 if bursts else loss,
        queue=size,
        spread=_spread(document, found, way),
        bursts=bursts,
        queue_packets=limit.packets,
        **plain,
    )
    return Way(shape, trace)


def files(document: Document, settings: LinkSettings) -> dict[str, dict[str, str]]:
    """Files that the settings name, absolute: by key and direction (names that are no files as they are)."""
    found: dict[str, dict[str, str]] = {}
    for key, words in (("trace", (NONE,)), ("distribution", NAMES)):
        both = getattr(settings, key)
        if both is not None:
            each = {way: both.way(way) for way in WAYS}
            found[key] = {w: v if v in words else str(_path(document, v).resolve()) for w, v in each.items()}
    return found


def _path(document: Document, name: str) -> Path:
    return document.path.parent / name


def _trace(document: Document, found: dict[str, Setting], way: str) -> Schedule | None:
    named = found.get("trace")
    if named is None or named.value == NONE:
        return None
    loop = found["loop"].value if "loop" in found else None
    place = document.where((*named.section, "trace", way))
    return link_trace.read(_path(document, named.value), loop=loop, named_at=place)


def _spread(document: Document, found: dict[str, Setting], way: str) -> Spread:
    named = found.get("distribution")
    if named is None:
        return UNIFORM
    place = document.where((*named.section, "distribution", way))
    return spread(named.value, document.path.parent, named_at=place)


def _rate(document: Document, found: dict[str, Setting], trace: Schedule | None, way: str) -> float:
    """The rate of a direction: that of a packet-delivery trace is its mean."""
    rate = found["rate"]
    if trace is None or not trace.deliveries:
        if rate.value is None:
            raise document.problem(
                (*rate.section, "rate", way),
                f"the rate is to be as the trace says, and no packet-delivery trace is there going {way}",
                wanted="a Mahimahi file as trace, or a rate",
                found=BY_TRACE,
                remedy="write a rate such as 20Mbit",
            )
        assert isinstance(rate.value, float)
        return rate.value
    if rate.value is not None and rate.section and rate.depth >= found["trace"].depth:
        raise document.problem(
            (*rate.section, "rate", way),
            f"a Mahimahi trace is in place of the rate, and there are both going {way}",
            wanted="rate or trace",
            found=f"rate at {document.where((*rate.section, 'rate', way))}, trace {trace.name}",
            remedy=f"take one of them out; {{{way}: {BY_TRACE}, …}} gives the other direction a rate alone",
        )
    return mean_rate(trace)
