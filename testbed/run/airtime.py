"""How long nodes' own links were in use: bytes that crossed them, at the rates that were in force then.

All in the experiment's own (virtual) time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from nodes.events import Span
from testbed.emulation.links.shape import MTU_FRAME, Schedule, Shape
from testbed.experiment.plan import LinkPlan, Plan

Way: TypeAlias = Literal["send", "receive"]


@dataclass(frozen=True)
class Carried:
    """Bytes that a node sent or received between two moments, and the seconds that they took on the air."""

    begin: float
    end: float
    way: Way
    bytes: int
    air_s: float


@dataclass(frozen=True)
class _Stay:
    """From a moment on, a link is so, in both directions from the node on."""

    at: float
    shapes: Mapping[Way, Shape]
    schedules: Mapping[Way, Schedule | None]


class Rates:
    """The rates of nodes' own links over a training: of devices by where they were, and as these links varied.

    Args:
        plan: In virtual time. spans: Of the training; its ``handover`` events tell where devices went.
        begin: When the training began.
    """

    def __init__(self, plan: Plan, spans: Sequence[Span], begin: float) -> None:
        self._begin = begin
        self._stays: dict[str, list[_Stay]] = {}
        self.links: dict[str, str] = {}
        moved: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for span in spans:
            if span.kind == "handover":
                moved[span.node].append((span.end, str(span.attrs.get("to"))))
        for link in plan.links:
            if link.kind == "backhaul":
                continue
            self.links[link.name] = link.a
            node = plan.node(link.a)
            if link.kind != "access":
                self._stays[link.a] = [_stay(begin, link, link.ab, link.ba, link.ab_trace, link.ba_trace)]
                continue
            sites = [(begin, node.site or ""), *sorted(moved[link.a])]
            self._stays[link.a] = [_at_site(plan, link, at, site) for at, site in sites]

    def mean(self, node: str, way: Way, begin: float, end: float) -> float | None:
        """bit/s between two moments, on average over the time in which anything could pass; None: unbounded.

        Where nothing could pass all the time, it is what the link has otherwise.
        """
        bits = seconds = 0.0
        rate: float | None = None
        for stay, since, until in self._during(node, begin, end):
            rate = stay.shapes[way].rate
            if rate is None:
                return None
            schedule = stay.schedules[way]
            for one, took in _pieces(rate, schedule, since - self._begin, until - self._begin):
                if one > 0:
                    bits, seconds = bits + one * took, seconds + took
        return bits / seconds if seconds > 0 else rate

    def _during(self, node: str, begin: float, end: float) -> Iterator[tuple[_Stay, float, float]]:
        stays = self._stays[node]
        for stay, following in pairwise([*stays, None]):
            assert stay is not None
            since = begin if stay is stays[0] else max(begin, stay.at)
            until = end if following is None else min(end, following.at)
            if since < until or (since == until == begin == end):
                yield stay, since, until


def carried(plan: Plan, rates: Rates, spans: Sequence[Span]) -> tuple[dict[str, list[Carried]], str]:
    """What crossed nodes' own links, by node, and from what that is known.

    It is known from the links' own counters (``links``): all frames with their headers, acknowledgements, what was sent
    and then lost on purpose (as full frames), whoever sent it. Where nobody watched the links, from the messages that
    tell of themselves (``messages``): bytes of weights, activations, gradients, states.
    """
    found: dict[str, list[Carried]] = defaultdict(list)

    def add(node: str, way: Way, begin: float, end: float, size: int) -> None:
        if size > 0:
            rate = rates.mean(node, way, begin, end)
            found[node].append(Carried(begin, end, way, size, 8 * size / rate if rate else 0.0))

    watched = [span for span in spans if span.kind == "link"]
    for span in watched:
        node = rates.links.get(str(span.attrs.get("link")))
        if node is None:
            continue
        lost = (span.attrs.get("ab_lost") or 0) * MTU_FRAME
        add(node, "send", span.begin, span.end, (span.attrs.get("ab_bytes") or 0) + lost)
        add(node, "receive", span.begin, span.end, span.attrs.get("ba_bytes") or 0)
    if watched:
        return found, "links"
    known = {node.name for node in plan.nodes}
    for span in spans:
        if span.kind in ("send", "transfer") and span.node != span.peer:
            if span.node in known:
                add(span.node, "send", span.begin, span.end, span.bytes)
            if span.peer in known:
                add(span.peer, "receive", span.begin, span.end, span.bytes)
    return found, "messages"


def _at_site(plan: Plan, link: LinkPlan, at: float, site: str) -> _Stay:
    place = next((place for place in plan.sites if place.name == site), None)
    if place is None:
        return _stay(at, link, link.ab, link.ba, link.ab_trace, link.ba_trace)
    up, down = (link.ab_trace, link.ba_trace) if link.roams else (place.access_up_trace, place.access_down_trace)
    return _stay(at, link, place.access_up, place.access_down, up, down)


def _stay(at: float, link: LinkPlan, up: Shape, down: Shape, ups: Schedule | None, downs: Schedule | None) -> _Stay:
    return _Stay(at, {"send": up, "receive": down}, {"send": ups, "receive": downs})


def _pieces(rate: float, schedule: Schedule | None, begin: float, end: float) -> Iterator[tuple[float, float]]:
    """Rates between two moments of a schedule, s since it began, and for how long each."""
    if schedule is None or not schedule.steps:  # chances to send come at the shape's rate on average
        yield rate, max(end - begin, 1e-9)
        return
    ends = [*(step.at for step in schedule.steps[1:]), schedule.length if schedule.loop else float("inf")]
    turn = int(max(begin, 0.0) // schedule.length) if schedule.loop else 0
    while True:
        offset = turn * schedule.length if schedule.loop else 0.0
        for step, until in zip(schedule.steps, ends, strict=True):
            took = min(end, until + offset) - max(begin, step.at + offset)
            if took > 0 or (begin == end and step.at + offset <= begin < until + offset):
                yield (rate if step.rate is None else step.rate), max(took, 1e-9)
        turn += 1
        if not schedule.loop or turn * schedule.length >= end:
            return
