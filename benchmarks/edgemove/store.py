"""What is kept of a cell: of each of its trainings, what the events and the summary say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.edgemove import timing
from benchmarks.edgemove.settings import DEVICE


@dataclass(frozen=True)
class Found:
    """What one cell came to.

    Attributes:
        cell: Its name. mark: Fingerprint of what was measured.
        rows: Its trainings, in order; see `row`.
        failed: Why it could not be measured; empty if it was.
        took_s: Seconds of all that the cell needed.
    """

    cell: str
    mark: str
    rows: Sequence[Mapping[str, Any]] = ()
    failed: str = ""
    took_s: float = 0.0


def row(
    what: str, events: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], staging: Mapping[str, Any], micro: int,
    samples: int,
) -> dict[str, Any]:  # fmt: skip
    """What is kept of a training.

    Args:
        what: What it was of the cell's: ``chosen``, ``plan``, ``again`` ...
        events: As they were recorded. summary: The run's.
        staging: What the manifest says of the stages; empty for schemes without.
        micro: Micro-batches a batch. samples: Samples a batch.
    """
    done, began = timing.ends(events, DEVICE), timing.begins(events, DEVICE)
    moved = timing.handovers(events, DEVICE)
    usual = timing.undisturbed(done, moved)
    rounds = [
        {"batches": len(ends), "steady_s": timing.steady(ends), "s": ends[-1] - began[number]}
        for number, ends in done.items()
    ]
    predicted = staging.get("prediction")
    told = summary.get("pipeline", {}).get(DEVICE, {})
    return {
        "what": what,
        "nodes": staging.get("nodes", [DEVICE]),
        "bounds": staging.get("bounds", []),
        "depths": staging.get("depths", []),
        "chosen": bool(staging.get("chosen")),
        "why_not": staging.get("why_not", ""),
        "predicted": None if predicted is None else {
            "batch_s": predicted["seconds"], "bound_s": predicted["bound"] * micro,
            "bottleneck": predicted["bottleneck"],
        },
        "over_turns_bound": staging.get("over_turns_bound"),
        "micro": micro,
        "samples": samples,
        "rounds": rounds,
        "parts": timing.stages(events, micro),
        "crossings": timing.crossings(events),
        "gaps": timing.gaps(events),
        "stages": timing.pipeline(events),
        "handovers": len(moved),
        "usual_s": usual,
        "stalls": [] if usual is None else timing.stalls(done, moved, usual),
        "probes": {name: told.get(f"probe_{name}") or 0.0 for name in ("time_share", "bytes_share")}
        | {"count": told.get("probes", 0)},
        "changes": sum(told.get("changes", {}).values()),
        "accuracy": list(summary["accuracy_by_round"]),
        "round_ends": [ends[-1] - summary["begin"] for ends in done.values()],
        "weights_sha256": summary["weights_sha256"],
        "verdict": summary["verdict"],
        "reasons": list(summary["reasons"]),
        "duration_s": summary["duration_s"],
    }  # fmt: skip
