"""The same experiment at full speed and dilated: do its round times agree in virtual time?

Runs alternate, so that a drift of the machine meets all factors alike. Per device and round, the median over the
repeats is compared; weights must be the same to the bit.

    sudo .venv/bin/python -m benchmarks.dilation [--file topologies/fedfly.yaml] [--factors 1 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from testbed import Experiment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", default="topologies/fedfly.yaml")
    parser.add_argument("--scheme", default="fedfly")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    found: dict[float, list[dict[str, Any]]] = {factor: [] for factor in asked.factors}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(asked.repeats):
            for factor in asked.factors:
                experiment = Experiment.load(asked.file, [f"dilation={factor:g}"])
                with experiment.up(runs=Path(scratch)) as bed:
                    result = bed.train(asked.scheme)
                if result.failure is not None:
                    raise result.failure
                found[factor].append(result.summary)
                tell("run", dilation=factor, verdict=result.summary["verdict"], reasons=result.summary["reasons"])
    compare(found, asked.factors[0])


def compare(found: dict[float, list[dict[str, Any]]], base: float) -> None:
    digests = {summary["weights_sha256"] for summaries in found.values() for summary in summaries}
    usual = rounds(found[base])
    for factor, summaries in found.items():
        errors = {key: seconds / usual[key] - 1 for key, seconds in rounds(summaries).items()}
        worst = max(errors, key=lambda key: abs(errors[key]))
        tell(
            "dilation",
            factor=factor,
            against=base,
            worst_error_pct=round(100 * errors[worst], 2),
            worst_at=f"{worst[0]}, round {worst[1]}",
            median_error_pct=round(100 * median(errors.values()), 2),
            digests=len(digests),
        )


def rounds(summaries: list[dict[str, Any]]) -> dict[tuple[str, int], float]:
    """Median virtual time of each device's rounds, s."""
    times: dict[tuple[str, int], list[float]] = {}
    for summary in summaries:
        for device, rows in summary["devices"].items():
            for row in rows:
                times.setdefault((device, row["round"]), []).append(row["time_s"])
    return {key: median(values) for key, values in times.items()}


def tell(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


if __name__ == "__main__":
    main()
