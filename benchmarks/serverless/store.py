"""What is kept of a cell, and of a training on containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

ENERGY = ("busy_s", "sent_bytes", "received_bytes", "compute_j", "send_j", "receive_j", "active_j")
"""What is added up over the devices."""


@dataclass(frozen=True)
class Found:
    """What one cell came to.

    Attributes:
        cell: Its name. mark: Fingerprint of what was measured.
        rows: What was found, in order: a training, a run, or cases; see `trained` and `benchmarks.serverless.alone`.
        failed: Why it could not be measured; empty if it was.
        took_s: Seconds of all that the cell needed.
    """

    cell: str
    mark: str
    rows: Sequence[Mapping[str, Any]] = ()
    failed: str = ""
    took_s: float = 0.0

    @property
    def row(self) -> Mapping[str, Any]:
        """The one row."""
        return self.rows[0]


def trained(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a training: seconds, joules and bytes of all devices, the selection among them.

    ``busy_s`` is the devices' time of work; ``round_s`` of rounds, waiting for the server and the link included.
    """
    devices = summary["devices"]
    nodes = [row for name, row in summary["energy"]["nodes"].items() if name in devices]
    return {
        **{key: sum(row[key] for row in nodes) for key in ENERGY},
        "round_s": median(line["time_s"] for lines in devices.values() for line in lines),
        "batches": sum(line["batches"] for lines in devices.values() for line in lines),
        "select_s": summary.get("selection", {}).get("time_s", 0.0),
        "kept": summary.get("selection", {}).get("kept"),
        "bytes_from": summary["energy"]["bytes_from"],
        "accuracy": list(summary["accuracy_by_round"]),
        "verdict": summary["verdict"],
        "reasons": list(summary["reasons"]),
        "duration_s": summary["duration_s"],
    }


TASK = (
    "of", "state", "reason", "submitted_s", "began_s", "ended_s", "waited_s", "took_s", "rounds", "rounds_done",
    "owners", "calls", "cold", "warm", "failed", "gb_s", "sent", "fetched", "price", "active_j",
    "weights_sha256",
)  # fmt: skip
ROUND = ("round", "at_s", "accuracy", "predicted_s", "measured_s", "predicted_j", "measured_j", "decisions", "cuts")


def ran(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run of tasks on the platform.

    ``dropped`` has by round how many owners were not averaged, ``decided_s`` the longest decision, ``batteries`` what
    was left at least above the reserve, by device that has one.
    """
    tasks = {
        name: {
            **{key: task.get(key) for key in TASK},
            "dropped": {str(row["round"]): len(row["devices"]) for row in task["dropped"]},
            "round_rows": [{key: row.get(key) for key in ROUND} for row in task["round_rows"]],
            "energy": {device: row["active_j"] for device, row in task["energy"].items()},
        }
        for name, task in summary["tasks"].items()
    }
    nodes = summary.get("energy", {}).get("nodes", {})
    return {
        "tasks": tasks,
        "decided_s": max((one["decided_s"] for one in summary["placements"]), default=0.0),
        "unmet": sorted({name for one in summary["placements"] for name in one["unmet"]}),
        "batteries": {name: row["battery"]["least_j"] - row["battery"]["reserve_j"]
                      for name, row in nodes.items() if "battery" in row},
        "handovers": sum(1 for move in summary["moves"] if move.get("task")),
        "verdict": summary["verdict"],
        "reasons": list(summary["reasons"]),
        "duration_s": summary["duration_s"],
    }  # fmt: skip


def said(found: Found) -> str:
    """What a cell came to, short."""
    row = found.row
    if len(found.rows) > 1:
        return f"{len(found.rows)} cases"
    if "seconds" in row:
        return f"{max(row['seconds']):.2f} s"
    if "tasks" in row:
        states = ", ".join(sorted({str(task["state"]) for task in row["tasks"].values()}))
        return f"{row['verdict']}, {len(row['tasks'])} tasks {states}"
    accuracy = f"{row['accuracy'][-1]:.1%}" if row.get("accuracy") else ""
    return f"{row['verdict']}, {accuracy}" if "verdict" in row else accuracy
