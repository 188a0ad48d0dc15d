"""What was measured so far, a line a cell: an interrupted grid goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
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


def of_run(
    cell: str, mark: str, summary: Mapping[str, Any], events: Iterable[Mapping[str, Any]], took_s: float
) -> Found:
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
        took_s=took_s,
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


class Store:
    """Results in a file of JSON lines.

    Args:
        path: Where; made when the first result comes.
    """

    kind: type[Any] = Found  # other benchmarks have their own, with ``cell``, ``mark`` and ``failed``

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Found] = {}
        lines = path.read_text().splitlines() if path.is_file() else []
        for line in lines:
            try:
                found = self.kind(**json.loads(line))
            except (ValueError, TypeError):
                continue  # the line that was being written when the machine went down: that cell is measured again
            self._found[found.cell] = found

    def get(self, cell: str, mark: str) -> Found | None:
        """The result of a cell, if it was measured under the same conditions and did not fail."""
        found = self._found.get(cell)
        return found if found is not None and found.mark == mark and not found.failed else None

    def add(self, found: Found) -> None:
        """Keep a result, at once."""
        self._found[found.cell] = found
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.is_file() and not self.path.read_text().endswith("\n")
        with self.path.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(asdict(found)) + "\n")

    def forget(self, cells: Iterable[str]) -> None:
        """These are on a page: the next run measures them anew. What another list has left stays."""
        gone = set(cells)
        left = [found for found in self._found.values() if found.cell not in gone]
        self._found = {found.cell: found for found in left}
        if not self.path.is_file():
            return
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(asdict(found)) + "\n" for found in left))
        partial.replace(self.path)
