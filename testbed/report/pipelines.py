"""What the stages of pipelines did when, out of the events: `gantt` draws it, `pipelinegrids` counts it.

Drawn are windows of a few batches: one in the middle of a round in which nothing else happened, and one around each
handover and each change of the layout. A whole round has too many boxes to be read.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from nodes.events import Span
from testbed.report.activity import owner
from testbed.report.records import RunRecord, SchemeRecord, items, text, whole

WORK = ("forward", "backward", "tail-step", "update")
PROBES = ("probe", "probed")
CHANGES = ("relocate", "relay", "reopen")
MOST_MOMENTS = 3  # windows an owner besides the steady one
MOST_BOXES = 600  # in one window: more are not told apart
_BATCHES = 3  # of a steady window
_AROUND = 1.5  # batches before and after a moment
_LONGEST = 12  # batches of time that a window has at most
_OF_DEVICES = ("handover", *PROBES, *CHANGES)
_PART = re.compile(r"stage(\d{1,3}):(.+)", re.DOTALL)


class Lane(NamedTuple):
    """Where a stage was; in order of stages."""

    stage: int
    node: str


@dataclass(frozen=True)
class Moment:
    """A handover, a change of the layout, or a probe, at that time of the clock; ``end``: when it was done."""

    at: float
    text: str
    handover: bool = False
    end: float = 0.0


@dataclass(frozen=True)
class Window:
    """A part of the time that is worth a look, s of the clock."""

    begin: float
    end: float
    text: str
    moments: tuple[Moment, ...] = ()


@dataclass
class Pipelined:
    """One owner's pipeline under one scheme; all spans in order of their begin."""

    scheme: SchemeRecord
    owner: str
    work: list[Span] = field(default_factory=list)
    sends: list[Span] = field(default_factory=list)
    rounds: list[Span] = field(default_factory=list)  # kind "pipeline"
    handovers: list[Span] = field(default_factory=list)
    probes: list[Span] = field(default_factory=list)  # on servers, and as the device saw them
    changes: list[Span] = field(default_factory=list)  # stages that moved, layers that did, rounds begun again

    def within(self, window: Window) -> list[Span]:
        """The work that was done, at least partly, in a window."""
        return _within(self.work, window)

    def probing(self, window: Window) -> list[Span]:
        """Probes that were under way in a window."""
        return _within(self.probes, window)

    def messages(self, window: Window) -> list[Span]:
        """The messages that were on their way in a window."""
        return _within(self.sends, window)


def stage_of(span: Span) -> int:
    """The stage that a span of a pipeline belongs to; of a message, the one that sent it. -1: no stage's."""
    return _stage(span.part)


def lane_of(span: Span) -> Lane:
    """The lane of a piece of work, or of a message's sender."""
    return Lane(stage_of(span), span.node)


def receiver(span: Span) -> Lane:
    """The lane that a message goes to: activations to the next stage, gradients to the one before."""
    step = {"activations": 1, "gradients": -1}.get(text(span.attrs.get("message")), 0)
    return Lane(stage_of(span) + step, span.peer)


def gather(record: RunRecord) -> list[Pipelined]:
    """The pipelines of a run, scheme by scheme, those of devices that moved first; none in runs without any."""
    order = {device: i for i, device in enumerate(record.devices)}
    found: list[Pipelined] = []
    for scheme in record.schemes:
        mine = _of_scheme(scheme)
        found += sorted(mine, key=lambda p: (order.get(p.owner, len(order)), p.owner))
    return found


def _of_scheme(scheme: SchemeRecord) -> list[Pipelined]:
    found: dict[str, Pipelined] = {}
    owners: dict[str, str] = {}  # by parts: there are few of them, and very many spans
    others: list[Span] = []
    for span in scheme.spans:
        kind = span.kind
        if kind in _OF_DEVICES:
            others.append(span)
        if kind not in WORK and kind not in ("send", "pipeline"):
            continue
        name = owners.get(span.part)
        if name is None:
            name = owners[span.part] = owner(span) if stage_of(span) >= 0 else ""
        if not name:
            continue
        if name not in found:
            found[name] = Pipelined(scheme, name)
        if kind == "pipeline":
            found[name].rounds.append(span)
        elif kind != "send":
            found[name].work.append(span)
        elif span.batch >= 0:  # the others are about a round: weights, and who is ready
            found[name].sends.append(span)
    for span in others:
        device = text(span.attrs.get("device"), span.node)
        if device in found:
            pipe = found[device]
            mine = pipe.probes if span.kind in PROBES else pipe.changes if span.kind in CHANGES else pipe.handovers
            mine.append(span)
    return [p for p in found.values() if p.work]


def lanes(spans: Sequence[Span]) -> list[Lane]:
    """Lanes of pieces of work: by stage; a stage that moved has one for each node, the older first."""
    seen = dict.fromkeys((s.part, s.node) for s in spans)
    return sorted(dict.fromkeys(Lane(_stage(part), node) for part, node in seen), key=lambda lane: lane.stage)


def windows(pipe: Pipelined) -> list[Window]:
    """What to draw of a pipeline: a steady window, then those around what happened, in order of time."""
    starts = [s for s in pipe.work if s.kind == "forward" and s.micro == 0 and stage_of(s) == 0]
    if not starts:
        return []
    found = moments(pipe)
    made = [_steady(pipe, starts, found), *_around(pipe, starts, found)]
    probes = [s for s in pipe.probes if s.kind == "probed"]
    if probes and not any(pipe.probing(window) for window in made):
        first = probes[0]
        probe = Moment(first.begin, f"probe of {first.peer or '?'}", end=first.end)
        made += _around(pipe, starts, [probe])
    return made


def moments(pipe: Pipelined) -> list[Moment]:
    """Handovers of the owner, stages that went on on another node, and layers that went to another stage.

    Changes that the device has told are taken as told; others are seen in what the stages did.
    """
    found = [
        Moment(s.begin, f"handover {text(s.attrs.get('from'), '?')} to {text(s.attrs.get('to'), '?')}", True)
        for s in pipe.handovers
    ]
    found += [Moment(s.begin, _said(s), end=s.end) for s in pipe.changes]
    if not pipe.changes:
        last: dict[str, str] = {}
        for span in pipe.work:
            before = last.get(span.part)
            if before is not None and before != span.node:
                found.append(Moment(span.begin, f"stage {stage_of(span)} from {before} to {span.node}"))
            last[span.part] = span.node
        found += _cuts(pipe.rounds)
    return sorted(found, key=lambda m: (m.at, not m.handover, m.text))


def layers_of(span: Span) -> str:
    """``0-2``: the first layer, and the one after the last, as layouts are written elsewhere."""
    return "-".join(str(n) for n in map(whole, items(span.attrs.get("layers"))) if n is not None)


def _said(change: Span) -> str:
    """A change of the layout in words."""
    attrs = change.attrs
    there = f"{_plainly(attrs.get('from'))} to {_plainly(attrs.get('to'))}"
    match change.kind:
        case "relocate":
            return f"stage {_plainly(attrs.get('stage'))} from {there}"
        case "relay":
            return f"layers from {there}"
        case _:
            why = text(attrs.get("why"))
            return f"round {change.round} again, {there}" + (f": {why}" if why else "")


def _plainly(value: object) -> str:
    """What an event says of nodes, stages or layers, which may be several."""
    return ", ".join(map(str, items(value))) or ("?" if value is None or value == "" or value == [] else str(value))


@lru_cache(maxsize=4096)
def _stage(part: str) -> int:
    found = _PART.fullmatch(part)
    return int(found[1]) if found else -1


def _within(spans: Sequence[Span], window: Window) -> list[Span]:
    before = bisect_right(spans, window.end, key=lambda s: s.begin)
    return [s for s in spans[:before] if s.end >= window.begin]


def _cuts(rounds: Sequence[Span]) -> list[Moment]:
    layouts: dict[tuple[int, int], dict[int, Span]] = {}
    for span in rounds:
        layouts.setdefault((span.round, whole(span.attrs.get("attempt")) or 0), {})[stage_of(span)] = span
    found = []
    for before, now in pairwise(layouts.values()):
        # Of a round that was broken off, some stages have told nothing.
        changed = [s for s in sorted(now.keys() & before.keys()) if layers_of(now[s]) != layers_of(before[s])]
        if changed:
            which = ", ".join(f"stage {s} {layers_of(before[s])} to {layers_of(now[s])}" for s in changed)
            found.append(Moment(min(s.begin for s in now.values()), f"layers of {which}"))
    return found


def _steady(pipe: Pipelined, starts: Sequence[Span], found: Sequence[Moment]) -> Window:
    """A few batches in the middle of the first round in which nothing happened, or of the first one."""
    lasted: dict[int, tuple[float, float]] = {}
    for span in pipe.work:
        begin, end = lasted.get(span.round, (span.begin, span.end))
        lasted[span.round] = (begin, max(end, span.end))
    numbers = list(dict.fromkeys(s.round for s in starts))
    calm = [n for n in numbers if not any(lasted[n][0] <= m.at <= lasted[n][1] for m in found)]
    number = (calm or numbers)[0]
    mine = [s for s in starts if s.round == number]
    count = min(_BATCHES, len(mine))
    first = (len(mine) - count) // 2
    begin = mine[first].begin
    end = mine[first + count].begin if first + count < len(mine) else lasted[number][1]
    one, other = mine[first].batch + 1, mine[first + count - 1].batch + 1  # batches count from 1 for people
    which = f"batch {one}" if count == 1 else f"batches {one} to {other}"
    cut = _limited(pipe, begin, end)
    return Window(begin, cut, f"{which} of round {number}" + (", their beginning" if cut < end else ""))


def _around(pipe: Pipelined, starts: Sequence[Span], found: Sequence[Moment]) -> list[Window]:
    gaps = [b.begin - a.begin for a, b in pairwise(starts) if a.round == b.round]
    cycle = median(gaps) if gaps else max(starts[-1].end - starts[-1].begin, 1e-3) * 4
    begins = [s.begin for s in pipe.work if stage_of(s) == 0]
    together: list[list[Moment]] = []
    for moment in found:
        if together and moment.at - together[-1][-1].at < 2 * _AROUND * cycle:
            together[-1].append(moment)
        else:
            together.append([moment])
    made: list[Window] = []
    for group in together:
        begin, after = group[0].at - _AROUND * cycle, bisect_left(begins, group[-1].at)
        goes_on = begins[after] if after < len(begins) else group[-1].at
        end = min(goes_on + _AROUND * cycle, begin + _LONGEST * cycle)
        said = tuple(group)
        window = Window(begin, _limited(pipe, begin, end), "; ".join(dict.fromkeys(m.text for m in said)), said)
        if len(made) < MOST_MOMENTS and pipe.within(window):
            made.append(window)
    return made


def _limited(pipe: Pipelined, begin: float, end: float) -> float:
    """The end of a window that has not too many boxes."""
    first = bisect_left(pipe.work, begin, key=lambda s: s.begin) + MOST_BOXES
    return min(end, pipe.work[first].begin) if first < len(pipe.work) else end
