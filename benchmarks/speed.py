"""How fast nodes are: paced training at bring-up, and programs that are not ours under a governor.

    sudo .venv/bin/python -m benchmarks.speed [paced] [foreign] [overload] [--repeats 3]

``paced`` brings up four classes of hardware and a cloud, has all of them train at once for 20 s, and tells the worst
window of 5 s. ``foreign`` runs a busy loop and a torch script from their start on, and tells their *work* in every
stretch of 20 s against what they do unthrottled just before and just after. ``overload`` is ``paced`` beside two busy
loops of the machine's. Figures mean something only on an otherwise idle machine: what others used is told, too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import struct
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from testbed.experiment import load_plan
from testbed.run.live import Live
from testbed.run.record import new_run_id
from testbed.run.session import Session
from testbed.run.speed import ratio_error

TRAINING = """
name: speeds
sites: {north: {edge: {profile: edge-server}}}
cloud: {}
devices:
  pi3: {profile: pi3, at: north}
  pi4: {profile: pi4, at: north}
  jetson: {profile: jetson-nano, at: north}
links: {north -- cloud: {}}
workload: {scheme: fedfly, model: vgg5, cut: 4, data: {set: digits}}
emulation: {speed_check: 20s}
"""
HOST = """
name: foreign
sites: {north: {edge: none}}
profiles:
  foreign: {speed: %g, memory: 512MiB, period: %gms}
  idle: {speed: 0.05, memory: 384MiB}
cloud: {profile: idle} # it and the device do nothing here, but an experiment has them
devices: {none: {profile: idle, at: north}}
links: {north -- cloud: {}}
workload: {scheme: fedavg, model: cnn}
hosts: {foreign: {at: north, profile: foreign}}
"""
PROGRAM = """
import mmap, os, struct, sys
%s
with open("/tmp/work", "wb+") as file:
    file.truncate(9)
    count = mmap.mmap(file.fileno(), 9)
done = 0
while not count[8]:
    %s
    done += 1
    count[:8] = struct.pack("q", done)
"""
PROGRAMS = {
    "loop": ("", "sum(range(30_000))"),
    "torch": (
        "import torch; torch.set_num_threads(1); net = torch.nn.Conv2d(3, 32, 3); x = torch.zeros(16, 3, 32, 32)",
        "net(x).square().mean().backward()",
    ),
}
STRETCH_S, GOVERNED_S, FREE_S, EACH_S = 20.0, 40.0, 4.0, 0.5


def paced(repeats: int, busy: int = 0) -> None:
    """Bring-ups whose speeds are checked, beside so many busy loops."""
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(busy)]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "speeds.yaml"
        file.write_text(TRAINING)
        for _ in range(repeats):
            load = os.getloadavg()[0]
            with Session(load_plan(file), new_run_id("speeds"), Live(quiet=True), measure_links=False) as session:
                reference = session.reference()
                session.limit()
                for other in others:
                    other.start()
                begin, before = time.monotonic(), _others(session)
                try:
                    session.check_speeds(reference)
                    others_cores = (_others(session) - before) / (time.monotonic() - begin)
                finally:
                    for other in others:
                        other.kill()
                        other.join()
                for name, speed in session.speeds.items():
                    tell(
                        "paced", node=name, asked=speed.asked, measured=speed.measured, error_pct=pct(speed.error),
                        worst_window_error_pct=pct(speed.worst_error), windows=len(speed.windows), steps=speed.steps,
                        late_share=round(speed.late_share, 4), cpus=speed.cpus,
                    )  # fmt: skip
                drift = session.drift and session.drift["value"]
                ratio = ratio_error(session.speeds, windows=True)
                tell(
                    "bring-up", busy=busy, load=load, others_cores=round(others_cores, 2), ratio_error_pct=pct(ratio),
                    reference_drift_pct=pct(drift),
                )  # fmt: skip
            others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(busy)]


def _others(session: Session) -> float:
    """CPU time that everything but the nodes has used, s."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # without idling and waiting for disks
    return busy - sum(session.bed.cpu(node.name).usage_s for node in session.plan.nodes)


def foreign(repeats: int, speeds: list[float], periods: list[float]) -> None:
    """Programs that are not ours, by their work."""
    for _ in range(repeats):
        for speed in speeds:
            for period in periods:
                for program in PROGRAMS:
                    _foreign(program, speed, period)


def _foreign(program: str, speed: float, period: float) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "foreign.yaml"
        file.write_text(HOST % (speed, period * 1000))
        load = os.getloadavg()[0]
        with Session(load_plan(file), new_run_id("foreign"), Live(quiet=True), measure_links=False) as session:
            session.limit(standing=True)
            session.release()
            before = _free(session, program)
            session.limit(standing=True)
            samples = _watch(session, program, GOVERNED_S)
            governed = session.governed()["foreign"]
            session.release()
            after = _free(session, program)
    free = (before + after) / 2
    ends = {round(t / EACH_S): (t, done, cpu) for t, done, cpu in samples}
    steps = round(STRETCH_S / EACH_S)
    stretches = [(ends[i], ends[i + steps]) for i in ends if i + steps in ends]
    work = [(b[1] - a[1]) / (b[0] - a[0]) / free / speed - 1 for a, b in stretches]
    cpu = [(b[2] - a[2]) / (b[0] - a[0]) / speed - 1 for a, b in stretches]
    tell(
        "foreign", program=program, speed=speed, period=period, load=load,
        work_error_pct=pct(sum(work) / len(work)), worst_work_error_pct=pct(max(work, key=abs)),
        first_work_error_pct=pct(work[0]), worst_cpu_error_pct=pct(max(cpu, key=abs)), first_cpu_error_pct=pct(cpu[0]),
        free_drift_pct=pct(after / before - 1), cpus=[governed["cpus_lowest"], governed["cpus_highest"]],
    )  # fmt: skip


def _free(session: Session, program: str) -> float:
    """Work a second without a limit."""
    period = session.real.node("foreign").period
    session.bed.fleet.set_quota("foreign", None, period)
    try:
        samples = _watch(session, program, FREE_S)
    finally:
        session.bed.fleet.set_quota("foreign", session.real.node("foreign").speed, period)
    (t, done, _), (end, all_done, _) = samples[0], samples[-1]
    return (all_done - done) / (end - t)


def _watch(session: Session, program: str, seconds: float) -> list[tuple[float, int, float]]:
    """Start a program and watch it from its first work on; rows of time, work done and CPU time."""
    prepare, work = PROGRAMS[program]
    argv = ["timeout", "-s", "KILL", f"{seconds + 120:g}", "python3", "-c", PROGRAM % (prepare, work)]
    counter = Path(f"/proc/{session.bed.pid('foreign')}/root/tmp/work")
    counter.unlink(missing_ok=True)
    thread = threading.Thread(target=session.bed.exec, args=("foreign", argv, None))
    thread.start()
    rows: list[tuple[float, int, float]] = []
    try:
        while not (counter.exists() and _read(counter)):
            time.sleep(0.02)  # nothing tells of another program's first work
        begin, used = time.monotonic(), session.bed.cpu("foreign").usage_s
        done = _read(counter)
        for i in range(round(seconds / EACH_S) + 1):
            time.sleep(max(0.0, begin + i * EACH_S - time.monotonic()))
            now = time.monotonic()
            rows.append((now - begin, _read(counter) - done, session.bed.cpu("foreign").usage_s - used))
    finally:
        with counter.open("r+b") as file:  # it looks at the last byte
            file.seek(8)
            file.write(b"1")
        thread.join()
    return rows


def _read(counter: Path) -> int:
    content = counter.read_bytes()
    return int(struct.unpack("q", content[:8])[0]) if len(content) == 9 else 0


def _spin() -> None:
    while True:
        pass


def pct(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)


def tell(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["paced", "foreign", "overload"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--speeds", type=float, nargs="+", default=[0.1, 0.25, 0.5])
    parser.add_argument("--periods", type=float, nargs="+", default=[0.1])
    asked = parser.parse_args()
    if "paced" in asked.parts:
        paced(asked.repeats)
    if "foreign" in asked.parts:
        foreign(max(1, asked.repeats // 3), asked.speeds, asked.periods)
    if "overload" in asked.parts:
        paced(1, busy=os.cpu_count() or 1)


if __name__ == "__main__":
    main()
