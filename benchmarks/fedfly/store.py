"""What is kept of a cell: of its run's summary, and of the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOVE_KEYS = (
    "device", "to", "round", "progress", "downtime_s", "handover_gap_s", "state_s", "state_bytes", "limit_s",
    "lost_s", "standby_bytes", "standby_s", "reconnects",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What one cell came to.

    Attributes:
        cell: Its name. mark: Fingerprint of what was measured.
        rounds: Times of each device's rounds, s. batches: Of each device's first round.
        moves: Rows of the run's summary, the keys `MOVE_KEYS`.
        standby_bytes: Sent for standbys, also for those that nobody came to. standby_s: Edge servers' time on them.
        verdict: The run's own. reasons: Why, if not ``ok``.
        failed: Why it could not be measured; empty if it was.
        duration_s: Of the training, s. took_s: Of all that the cell needed, s.
    """

    cell: str
    mark: str
    rounds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    batches: Mapping[str, int] = field(default_factory=dict)
    moves: Sequence[Mapping[str, Any]] = ()
    standby_bytes: int = 0
    standby_s: float = 0.0
    weights_sha256: str | None = None
    accuracy: float | None = None
    verdict: str = ""
    reasons: Sequence[str] = ()
    failed: str = ""
    duration_s: float | None = None
    took_s: float = 0.0


def of_run(cell: str, mark: str, summary: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Found:
    """What is kept of a run: of its summary, and of its events what all its standbys took."""
    sent, spent = standbys(events)
    devices = summary["devices"]
    return Found(
        cell=cell,
        mark=mark,
        rounds={device: [row["time_s"] for row in rows] for device, rows in devices.items()},
        batches={device: rows[0]["batches"] for device, rows in devices.items() if rows},
        moves=[{key: move.get(key) for key in MOVE_KEYS} for move in summary["moves"]],
        standby_bytes=sent,
        standby_s=spent,
        weights_sha256=summary["weights_sha256"],
        accuracy=summary["accuracy"],
        verdict=summary["verdict"],
        reasons=list(summary["reasons"]),
        duration_s=summary["duration_s"],
    )


def standbys(events: Iterable[Mapping[str, Any]]) -> tuple[int, float]:
    """Bytes sent for standbys, and seconds that edge servers spent on applying batches for them.

    A summary counts a move's own standby only; one that a wrong forecast made has cost as much.
    """
    sent, spent = 0, 0.0
    for event in events:
        if event.get("attrs", {}).get("message") in ("standby", "replay"):  # a state, and the batches after it
            sent += event.get("bytes", 0)
        elif event["kind"] == "replay-step":
            spent += event["end"] - event["begin"]
    return sent, spent
