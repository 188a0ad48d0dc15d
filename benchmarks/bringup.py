"""Bring-up of the fedfly topology against the plainest thing Docker can do: the same containers importing torch.

    sudo .venv/bin/python -m benchmarks.bringup [--repeats 3]

Both are measured in turn; the ratio is what counts. Ready means: every node has imported torch and done one step.
"""

from __future__ import annotations

import argparse
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from testbed.emulation.containers import NODE_IMAGE
from testbed.experiment import load_plan
from testbed.run.live import Live
from testbed.run.session import Session

ROOT = Path(__file__).resolve().parents[1]
IMPORT = (
    "import torch, zmq; torch.set_num_threads(1); l = torch.nn.Conv2d(3, 4, 3); "
    "l(torch.zeros(1, 3, 8, 8)).sum().backward(); print('ready', flush=True); import time; time.sleep(60)"
)


def plain(count: int) -> float:
    """Start so many containers at once; seconds until all have printed ready."""
    tag = uuid.uuid4().hex[:8]

    def one(i: int) -> None:
        command = ["docker", "run", "--rm", "--init", "--network=none", f"--name=plain-{tag}-{i}", NODE_IMAGE]
        with subprocess.Popen([*command, "python3", "-c", IMPORT], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
            ready.append(time.monotonic())
            subprocess.run(["docker", "kill", f"plain-{tag}-{i}"], capture_output=True, check=True)

    ready: list[float] = []
    begin = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))
    return max(ready) - begin


def ours(plan) -> tuple[float, float]:
    """Seconds until all nodes are ready, and for taking everything down."""
    session = Session(plan, f"bench-{uuid.uuid4().hex[:6]}", Live(quiet=True), measure_links=False)
    with session:
        pass
    return session.timings["ready_s"], session.timings["down_s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    plan = load_plan(ROOT / "topologies" / "fedfly.yaml")
    rows = []
    for _ in range(repeats):
        baseline = plain(len(plan.nodes))
        ready, down = ours(plan)
        rows.append((baseline, ready, down))
        ratio = ready / baseline
        print(f"  plain {baseline:5.2f} s   ours {ready:5.2f} s   ratio {ratio:4.2f}   down {down:4.2f} s", flush=True)
    print(f"median ratio {median(r / b for b, r, _ in rows):.2f}, down {median(d for *_, d in rows):.2f} s")


if __name__ == "__main__":
    main()
