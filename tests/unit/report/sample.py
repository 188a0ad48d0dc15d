"""Run directories as a real run leaves them, computed instead of measured: a fake for the tests of reports.

Two edge servers, a cloud, devices that train a split model. `Job` computes the events of one scheme with the laws that
hold on the testbed: a restart throws a share of the round away, a migration costs its downtime.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nodes.events import Span
from testbed.emulation.links.shape import Direction, LinkCalibration, Shape
from testbed.run.record import write_metrics

STRATEGIES = {"splitfed": "restart", "fedfly": "migrate"}
SPEEDS = {"pi3": 0.08, "pi4": 0.16}
DOWNTIME, STATE_S, STATE_BYTES, LIMIT_S, GAP_S = 0.52, 0.43, 4_770_996, 0.392, 0.041
DIGEST = "9f3a61c07be2d5148c6e" + "0" * 44

Move = tuple[str, int, float, str]  # device, round, progress, to


@dataclass
class Job:
    """The events of one scheme. ``factor`` stretches all times; ``begin`` is where its clock starts."""

    scheme: str
    devices: Sequence[str]
    rounds: int
    batches: int
    moves: Sequence[Move]
    begin: float = 5000.0
    factor: float = 1.0
    spans: list[Span] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    done_moves: list[dict[str, Any]] = field(default_factory=list)
    site: dict[str, str] = field(default_factory=dict)
    now: float = 0.0

    def run(self) -> Job:
        self.now = self.begin + 0.4
        for number in range(1, self.rounds + 1):
            ends = [self.round(device, number) for device in self.devices]
            self.now = max(ends) + 0.15
            self.add("evaluate", "cloud", self.now - 0.1, self.now - 0.02, round=number)
            self.add("accuracy", "cloud", self.now, self.now, round=number, attrs=scores(number))
            self.now += 0.2
        self.links()
        self.watch()
        self.spans.sort(key=lambda s: s.end)
        return self

    def round(self, device: str, number: int) -> float:
        at, begun, attempt, work, wait = self.now, self.now, self.now, 0.0, 0.0
        due = next((m for m in self.moves if m[0] == device and m[1] == number), None)
        leave = round(due[2] * self.batches) if due else None
        restarting = STRATEGIES.get(self.scheme) == "restart"
        batch = 0
        while batch < self.batches:
            if due and batch == leave and restarting:
                leave = None
                self.moved(due, at - 0.05, restart=(begun, at, batch))
                batch, at = 0, at + 0.03
                attempt = at  # a round's own span is that of its last attempt
                continue
            migrating = bool(due) and leave is not None and batch == leave - 1 and not restarting
            before = at
            at, computed = self.one(device, number, batch, at, due if migrating else None)
            work += computed
            wait += at - before - computed
            batch += 1
        self.add("round", device, attempt, at, part=f"head:{device}", round=number,
                 attrs={"batches": self.batches, "device": device, "attempt": int(bool(due) and restarting)})
        self.rows.setdefault(device, []).append(
            {"round": number, "time_s": at - begun, "batches": self.batches, "compute_s": work, "wait_s": wait,
             "late_steps": 0}
        )
        return at

    def one(self, device: str, number: int, batch: int, at: float, due: Move | None) -> tuple[float, float]:
        labels = {"round": number, "batch": batch}
        step = 0.0088 / SPEEDS[device.split("-")[0]] * self.factor
        edge = f"edge-{self.site.setdefault(device, 'north')}"
        head, tail = f"head:{device}", f"tail:{device}"
        sent = at + step
        self.add("forward", device, at, sent, part=head, **labels)
        self.add("send", device, sent, sent + 0.018, peer=edge, part=head, attrs={"message": "activations"}, **labels)
        stepped = sent + 0.018 + 0.014
        self.add("tail-step", edge, sent + 0.018, stepped, part=tail, **labels)
        back = stepped + 0.012
        if due is not None:
            to = f"edge-{due[3]}"
            mine = {"part": tail, "attrs": {"device": device}}
            self.add("capture", edge, stepped, stepped + 0.004, peer=to, bytes=STATE_BYTES, **mine)
            self.add("transfer", edge, stepped + 0.004, stepped + STATE_S - 0.02, peer=to, bytes=STATE_BYTES, **mine)
            self.add("restore", to, stepped + STATE_S - 0.02, stepped + STATE_S - 0.012, peer=edge, **mine)
            back = stepped + DOWNTIME
            self.moved(due, stepped + 0.1, migrate=batch)
            edge = to
        self.add("send", edge, back - 0.012, back, peer=device, part=tail, attrs={"message": "gradients"}, **labels)
        self.add("wait", device, sent, back, part=head, **labels)
        self.add("backward", device, back, back + 1.1 * step, part=head, **labels)
        return back + 1.1 * step, 2.1 * step

    def moved(self, due: Move, at: float, restart: tuple[float, float, int] | None = None, migrate: int = -1) -> None:
        device, number, progress, to = due
        origin = self.site[device]
        self.site[device] = to
        row: dict[str, Any] = {
            "device": device, "at_s": at - self.begin, "from": origin, "to": to,
            "strategy": STRATEGIES[self.scheme], "round": number, "batch": migrate, "progress": progress,
            "downtime_s": DOWNTIME, "handover_gap_s": GAP_S, "handover_command_s": 0.0031, "state_s": STATE_S,
            "state_bytes": STATE_BYTES, "limit_s": LIMIT_S, "lost_batches": 0, "lost_s": 0.0, "reconnects": 0,
        }  # fmt: skip
        if restart:
            begun, decided, lost = restart
            row |= {"batch": lost, "downtime_s": 0.03, "state_s": 0.0, "state_bytes": 0, "limit_s": 0.0,
                    "lost_batches": lost, "lost_s": decided - begun}
            self.add("restart", device, begun, decided, part=f"head:{device}", round=number, batch=lost,
                     attrs={"from": f"edge-{origin}", "to": f"edge-{to}"})
        where = {"device": device, "from": origin, "to": to}
        self.add("handover", device, at, at + 0.003, attrs=where)
        self.add("move", device, at - 0.5, at + 0.003, attrs=row)
        self.done_moves.append(row)

    def links(self) -> None:
        sends = [s for s in self.spans if s.kind == "send"]
        second = self.begin
        while second < self.now:
            for device in self.devices:
                here = [s for s in sends if second <= s.begin < second + 1 and device in (s.node, s.peer)]
                there = sum(65536 for s in here if s.node == device)
                if here:
                    attrs = {"link": f"access:{device}", "ab_bytes": there, "ba_bytes": 65536 * len(here) - there,
                             "ab_dropped": 0, "ba_late_max_s": None}
                    self.add("link", "", second, second + 1, attrs=attrs)
            second += 1
        for move in self.done_moves:
            at = self.begin + move["at_s"]
            self.add("link", "", at - 0.1, at + 0.9,
                     attrs={"link": "north--south", "ab_bytes": move["state_bytes"] + 900, "ba_bytes": 5000})

    def watch(self) -> None:
        """Every second: pi3-1 is starved by others in the third one, edge-north drops two packets to it."""
        nodes = [*self.devices, "edge-north", "edge-south"]
        for i in range(int(self.now - self.begin)):
            begin = self.begin + i
            for name in nodes:
                starved = 0.6 if (name, i) == ("pi3-1", 2) else 0.01
                attrs = {"throttled_s": 0.02, "starved_s": starved, "starved_by_others_s": 0.9 * starved,
                         "memory": 230 << 20, "memory_working": 210 << 20, "memory_peak": 240 << 20, "oom_kills": 0,
                         "cpu_stalled_s": None, "memory_stalled_s": None}  # fmt: skip
                self.add("watch", name, begin, begin + 1, cpu_s=0.08, attrs=attrs)
            attrs = {"cores": 2, "nodes_s": 0.08 * len(nodes), "testbed_s": 0.2, "others_s": 1.2 * (i == 2),
                     "steal_s": 0.0, "relay_late_p999_s": 0.0002}  # fmt: skip
            self.add("watch", "", begin, begin + 1, cpu_s=1.0, attrs=attrs)
            if i == 2:
                attrs = {"link": "edge:edge-north", "ab_bytes": 9000, "ba_bytes": 0, "ab_dropped": 2, "ab_lost": 1,
                         "ba_refused": 3, "ab_queue": 48_000, "ab_late_max_s": 0.0004}  # fmt: skip
                self.add("link", "", begin, begin + 1, attrs=attrs)

    def add(self, kind: str, node: str, begin: float, end: float, **more: Any) -> None:
        self.spans.append(
            Span(kind=kind, node=node, begin=begin, end=end, scheme=self.scheme, task=self.scheme, **more)
        )


def scores(number: int) -> dict[str, float]:
    return {"accuracy": round(0.95 - 0.75 * 0.45**number, 4), "loss": round(2.2 * 0.5**number, 4)}


def calibration(*, missed: bool = False) -> list[LinkCalibration]:
    up = Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.001, queue=250_000)
    down = Shape(rate=40e6, delay=0.004, jitter=0.001, loss=0.001, queue=500_000)
    trunk = Shape(rate=100e6, delay=0.005)

    def way(asked: Shape, error: float) -> Direction:
        assert asked.rate
        return Direction(asked, asked, asked.rate * (1 + error), error, asked.delay + 3e-5, asked.jitter or None,
                         0.0012 if asked.loss else 0.0, 8000)

    found = [
        LinkCalibration(f"access:{d}", "access", d, "ap-north", way(up, -4e-3), way(down, -7e-3), 8e-3, 8.12e-3, 12e-5)
        for d in ("pi3-1", "pi3-2", "pi4-1", "pi4-2")
    ]
    error = -0.06 if missed else -0.003
    problems = ["north--south: rate 94.0 Mbit/s is 6.0 % off 100 Mbit/s"] if missed else []
    found.append(
        LinkCalibration("north--south", "backhaul", "ap-north", "ap-south", way(trunk, error), way(trunk, -0.002), 0.01,
                        0.01009, 9e-5, problems)
    )
    bare = Direction(Shape(), Shape())
    found.append(LinkCalibration("wire:cloud", "wire", "cloud", "sw-cloud", bare, bare))
    return found


def summary(job: Job, run: str, *, digest: str = DIGEST, reasons: Sequence[str] = ()) -> dict[str, Any]:
    period = 0.1
    nodes = {
        name: {
            "kind": kind, "profile": profile, "speed": speed, "speed_measured": speed * 1.0004, "steps": 400,
            "late_share": 0.0 if name != "pi4-1" else 0.004, "cpus": 1.5 * speed, "memory": 512 << 20,
            "limits": {"read_back": {"period": period, "quota": 1.5 * speed * period, "memory": 512 << 20}},
            "watch": {"cores": 0.08, "throttled_share": 0.02, "starved_s": 0.6, "starved_share": 0.05,
                      "starved_by_others_share": 0.03 if name == "pi3-1" else 0.0, "memory_peak": 240 << 20,
                      "oom_kills": int(name == "edge-south")},
        }
        for name, kind, profile, speed in [
            *((d, "device", d.split("-")[0], SPEEDS[d.split("-")[0]]) for d in job.devices),
            ("edge-north", "edge", "edge-server", 0.5), ("edge-south", "edge", "edge-server", 0.5),
        ]
    }  # fmt: skip
    curve = [scores(n) for n in range(1, job.rounds + 1)]
    return {
        "run": run, "experiment": "fedfly", "scheme": job.scheme, "strategy": STRATEGIES.get(job.scheme, "none"),
        "verdict": "invalid" if reasons else "ok", "reasons": list(reasons), "rounds": job.rounds,
        "accuracy": curve[-1]["accuracy"], "accuracy_by_round": [c["accuracy"] for c in curve],
        "loss_by_round": [c["loss"] for c in curve], "weights_sha256": digest, "seed": 7, "begin": job.begin,
        "duration_s": job.now - job.begin, "devices": job.rows, "moves": job.done_moves, "nodes": nodes,
        "links": {"backend": "relay", "asked": "auto"},
        "calibration": {"worst_rate_error": 0.007, "worst_rtt_error_s": 1.2e-4},
    }  # fmt: skip


def experiment(schemes: Sequence[str], rounds: int, moves: Sequence[Move]) -> str:
    lines = [f"  - {{device: {d}, to: {to}, round: {n}, progress: {p:.0%}}}" for d, n, p, to in moves]
    listed = "\n".join(["mobility:", "  moves:", *(f"  {line}" for line in lines)]) if moves else ""
    return (
        f"name: fedfly\nseed: 7\n{listed}\ntolerances: {{rate: 2%, rtt: 500us, late_steps: 5%}}\n"
        f"workload:\n  scheme: [{', '.join(schemes)}]\n  model: vgg5\n  rounds: {rounds}\n"
    )


def manifest(run: str) -> dict[str, Any]:
    return {
        "run": run, "experiment": "fedfly", "seed": 7, "started": "2025-11-21T02:30:00+0000", "roambed": "0.1.0",
        "git": {"commit": "931368c", "changed": False}, "python": "3.11.7", "kernel": "6.18.5",
        "packages": {"torch": "2.9.1", "numpy": "2.3.5"}, "images": {"roambed-node": "sha256:ab12"},
        "links": {"backend": "relay", "asked": "auto"}, "timings": {"ready_s": 6.2},
    }  # fmt: skip


MOVES: tuple[Move, ...] = (("pi3-1", 2, 0.5, "south"), ("pi4-1", 3, 0.9, "south"))
DEVICES = ("pi3-1", "pi3-2", "pi4-1", "pi4-2")


def make_run(
    base: Path,
    run: str = "fedfly-1121-023000-a3",
    schemes: Sequence[str] = ("splitfed", "fedfly"),
    *,
    devices: Sequence[str] = DEVICES,
    rounds: int = 4,
    batches: int = 20,
    moves: Sequence[Move] = MOVES,
    factor: float = 1.0,
    digest: str = DIGEST,
    missed: bool = False,
) -> Path:
    """A whole run directory under ``base``."""
    path = base / run
    path.mkdir(parents=True)
    (path / "experiment.yaml").write_text(experiment(schemes, rounds, moves))
    write(path / "manifest.json", manifest(run))
    write(path / "calibration.json", msgspec.to_builtins(calibration(missed=missed)))
    rows, begin = [], 5000.0
    for scheme in schemes:
        job = Job(scheme, devices, rounds, batches, moves, begin=begin, factor=factor).run()
        begin = job.now + 3
        place = path / scheme if len(schemes) > 1 else path
        place.mkdir(exist_ok=True)
        (place / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(s) + b"\n" for s in job.spans))
        reasons = ["north--south: rate 94.0 Mbit/s is 6.0 % off 100 Mbit/s"] if missed else []
        row = summary(job, run, digest=digest, reasons=reasons)
        rows.append(row)
        write(place / "summary.json", row)
        metrics = [
            {**line, "scheme": scheme, "device": device, **scores(line["round"])}
            for device, lines in job.rows.items()
            for line in lines
        ]
        write_metrics(place / "metrics.csv", metrics)
    if len(schemes) > 1:
        reasons = [f"{row['scheme']}: {reason}" for row in rows for reason in row["reasons"]]
        write(path / "summary.json", {
            "run": run, "experiment": "fedfly", "scheme": list(schemes), "verdict": "invalid" if reasons else "ok",
            "reasons": reasons, "seed": 7, "duration_s": sum(r["duration_s"] for r in rows), "results": rows,
        })  # fmt: skip
    return path


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2))
