"""``summary.json``, ``pipeline``: what probes cost, and how often pipelines changed, by owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nodes.events import Span
from testbed.experiment.plan import PipelinePlan

CHANGES = ("relocate", "relay", "reopen")
"""Kinds of events: a stage went elsewhere, layers went to other stages, a round began again with another layout."""
_OF_PROBES = ("ping", "pong", "probe", "probed")
"""Messages that probes are made of."""


def section(spans: Sequence[Span], asked: PipelinePlan, begin: float, end: float) -> dict[str, dict[str, Any]]:
    """A row for each owner.

    ``probe_time_share`` is the time that probes cost, as the budget counts it, against the training's;
    ``probe_bytes_share`` what they sent both ways, against all that the owner's device sent and received. None: there
    was nothing to share.

    Args:
        spans: Events of one scheme.
        asked: Settings of the pipeline.
        begin: When training began.
        end: When it ended.
    """
    rounds = [span for span in spans if span.kind == "pipeline"]
    owners = {str(span.attrs.get("device") or "") for span in rounds} | {s.node for s in spans if s.kind == "round"}
    owners |= {span.node for span in spans if span.kind in ("probed", "decision")}
    carried = _carried(spans)
    return {owner: _row(owner, spans, rounds, asked, end - begin, carried[owner]) for owner in sorted(owners - {""})}


def _row(
    owner: str, spans: Iterable[Span], rounds: Iterable[Span], asked: PipelinePlan, lasted: float, carried: int
) -> dict[str, Any]:
    mine = [span for span in spans if span.node == owner or span.attrs.get("device") == owner]
    probed = [span for span in mine if span.kind == "probed"]
    acts = Counter(str(span.attrs.get("act")) for span in mine if span.kind == "decision")
    seconds = sum(_seconds(span) for span in probed)
    amount = sum(span.bytes for span in probed)
    stale = [span.attrs.get("staleness_most") or 0 for span in rounds if span.attrs.get("device") == owner]
    return {
        "changes": {kind: sum(span.kind == kind for span in mine) for kind in CHANGES},
        "changes_s": sum(span.end - span.begin for span in mine if span.kind in CHANGES),
        "prepared": acts["prepare"],
        "probes": len(probed),
        "probes_lost": sum(bool(span.attrs.get("lost")) for span in probed),
        "probes_put_off": acts["put off"],
        "probe_s": seconds,
        "probe_bytes": amount,
        "probe_time_share": seconds / lasted if lasted > 0 else None,
        "probe_bytes_share": amount / (carried + amount) if carried + amount > 0 else None,
        "probe_budget": asked.budget,
        "staleness_most": max(stale, default=None),
    }


def _seconds(probed: Span) -> float:
    """What a probe cost, as its device counted it; all of its time where that is not told."""
    told = probed.attrs.get("took_s")
    return float(told) if isinstance(told, int | float) else probed.end - probed.begin


def _carried(spans: Iterable[Span]) -> Counter[str]:
    """Bytes that each node sent or received, messages of probes left out: those say themselves what they were."""
    found: Counter[str] = Counter()
    for span in spans:
        if span.kind in ("send", "transfer") and span.attrs.get("message") not in _OF_PROBES:
            for node in {span.node, span.peer}:
                found[node] += span.bytes
    return found
