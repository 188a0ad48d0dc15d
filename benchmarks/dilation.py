"""The same experiment at full speed and dilated: do its round times agree in virtual time?

Runs alternate, so that a drift of the machine meets all factors alike. Of each round, and of each device's part of it,
the median over the repeats is compared; weights must be the same to the bit. A round takes as long as its slowest
device. How long the others wait in between depends on the order in which the edge serves them, so it differs more.

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
    for factor, summaries in found.items():
        whole, parts = errors(rounds(summaries), rounds(found[base])), errors(devices(summaries), devices(found[base]))
        worst, worst_part = (max(part, key=lambda key, of=part: abs(of[key])) for part in (whole, parts))
        tell(
            "dilation", factor=factor, against=base, round_worst_error_pct=pct(whole[worst]), round_worst=worst,
            round_median_error_pct=pct(median(whole.values())), device_worst_error_pct=pct(parts[worst_part]),
            device_worst=f"{worst_part[0]}, round {worst_part[1]}", device_median_error_pct=pct(median(parts.values())),
            digests=len(digests),
        )  # fmt: skip


def rounds(summaries: list[dict[str, Any]]) -> dict[int, float]:
    """Median virtual time of each round, s: of the device that took longest."""
    times: dict[int, list[float]] = {}
    for summary in summaries:
        own: dict[int, float] = {}
        for rows in summary["devices"].values():
            for row in rows:
                own[row["round"]] = max(own.get(row["round"], 0.0), row["time_s"])
        for number, took in own.items():
            times.setdefault(number, []).append(took)
    return {number: median(values) for number, values in times.items()}


def devices(summaries: list[dict[str, Any]]) -> dict[tuple[str, int], float]:
    """Median virtual time of each device's rounds, s."""
    times: dict[tuple[str, int], list[float]] = {}
    for summary in summaries:
        for device, rows in summary["devices"].items():
            for row in rows:
                times.setdefault((device, row["round"]), []).append(row["time_s"])
    return {key: median(values) for key, values in times.items()}


def errors(found: dict[Any, float], usual: dict[Any, float]) -> dict[Any, float]:
    return {key: seconds / usual[key] - 1 for key, seconds in found.items()}


def pct(share: float) -> float:
    return round(100 * share, 2)


def tell(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


if __name__ == "__main__":
    main()
