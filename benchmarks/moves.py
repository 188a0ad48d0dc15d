"""Restarting against migrating when a device moves: the law of FedFly's savings, measured.

A device that restarts its round after a share f of it takes (1 + f) T, where T is its undisturbed round; one whose edge
half migrates takes T + downtime. All runs share one bed and alternate, so that a drift of the machine meets all alike.

    sudo .venv/bin/python -m benchmarks.moves [--repeats 3]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from testbed import Experiment
from testbed.experiment.changes import Move

EXPERIMENT = """
name: moves
seed: 5
sites:
  north: {at: [0, 0], edge: {profile: edge}}
  south: {at: [400, 0], edge: {profile: edge}}
cloud: {profile: cloud}
devices:
  dev: {profile: device, at: north}
profiles:
  device: {speed: 0.1, memory: 512MiB}
  edge: {speed: 0.4, memory: 1GiB}
links:
  access: {rate: 100Mbit, delay: 2ms}
  north -- south: {rate: 100Mbit, delay: 5ms}
  north -- cloud: {rate: 100Mbit, delay: 10ms}
  south -- cloud: {rate: 100Mbit, delay: 10ms}
workload:
  scheme: fedfly
  model: vgg5
  cut: 4
  data: {set: digits}
  rounds: 1
  batch: 16
"""
FRACTIONS = (0.5, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "moves.yaml")
        path.write_text(EXPERIMENT)
        with Experiment.load(path).up(runs=Path(scratch, "runs")) as bed:
            times: dict[tuple[str, float], list[float]] = {}
            moves: dict[tuple[str, float], list[dict]] = {}
            for _ in range(repeats):
                measure(bed, "fedfly", None, times, moves)
                for fraction in FRACTIONS:
                    for scheme in ("splitfed", "fedfly"):
                        measure(bed, scheme, fraction, times, moves)
    report(times, moves)


def measure(bed, scheme, fraction, times, moves) -> None:
    plan = bed.session.plan
    move = () if fraction is None else (Move("dev", "south", round=1, progress=fraction),)
    bed.session.plan = bed.session.real = replace(plan, moves=move)
    summary = bed.train(scheme).summary
    key = (scheme, fraction or 0.0)
    times.setdefault(key, []).append(summary["devices"]["dev"][0]["time_s"])
    moves.setdefault(key, []).extend(summary["moves"])
    row = summary["moves"][-1] if summary["moves"] else {}
    print(f"  {scheme:9} f={fraction or 0:.1f}  {times[key][-1]:6.2f} s  {summary['verdict']}"
          f"  state {row.get('state_s') or 0:.3f} s  limit {row.get('limit_s') or 0:.3f} s"
          f"  gap {row.get('handover_gap_s') or 0:.3f} s  {summary['weights_sha256'][:12]}", flush=True)


def report(times, moves) -> None:
    base = median(times["fedfly", 0.0])
    print(f"\nundisturbed round T = {base:.2f} s")
    for fraction in FRACTIONS:
        restart, migrate = median(times["splitfed", fraction]), median(times["fedfly", fraction])
        f = median(m["progress"] for m in moves["splitfed", fraction])
        rows = moves["fedfly", fraction]
        down = median(m["downtime_s"] for m in rows)
        law = (f - down / base) / (1 + f)
        saved = 1 - migrate / restart
        print(f"f = {f:.3f}: restart {restart:.2f} s = {restart / base:.3f} T (law {1 + f:.3f}), "
              f"migrate {migrate:.2f} s; saving {saved:.1%} (law {law:.1%}); T / downtime = {base / down:.0f}")
        state, limit = median(m["state_s"] for m in rows), median(m["limit_s"] for m in rows)
        command, gap = median(m["handover_command_s"] for m in rows), median(m["handover_gap_s"] for m in rows)
        print(f"    state_s {state:.3f} s, limit {limit:.3f} s, ratio {state / limit:.2f} "
              f"(tolerated {1.25 * limit + 0.05:.3f} s); handover {command * 1e3:.1f} ms, gap {gap * 1e3:.0f} ms, "
              f"reconnects {sum(m['reconnects'] for m in rows)}")


if __name__ == "__main__":
    main()
