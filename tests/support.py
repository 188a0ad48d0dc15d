"""Things several tests need: a plan built by hand, a link emulator that does nothing to packets."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from testbed.emulation import netlink, netns
from testbed.emulation.containers import NODE_IMAGE, Launch
from testbed.emulation.links.shape import LinkEnd, LinkStats, Shape
from testbed.experiment.plan import DataPlan, LinkPlan, NodePlan, Plan, SitePlan, Tolerances, WorkloadPlan

IMAGE = os.environ.get("ROAMBED_TEST_IMAGE", NODE_IMAGE)
MEMORY = 256 << 20
IDLE = Launch(("sleep", "infinity"))
NORTH_UP, NORTH_DOWN = Shape(rate=20e6, delay=0.002), Shape(rate=40e6, delay=0.002)
SOUTH_UP, SOUTH_DOWN = Shape(rate=10e6, delay=0.003), Shape(rate=30e6, delay=0.003)


def run_id(prefix: str = "t") -> str:
    """A run id that no other test has."""
    return f"{prefix}{uuid.uuid4().hex[:8]}"


def node(name: str, kind: str, **changes: object) -> NodePlan:
    made = NodePlan(name, kind, kind, speed=0.2, cpus=0.3, period=0.1, memory=MEMORY, image=IMAGE)
    return replace(made, **changes)  # type: ignore[arg-type]


def workload() -> WorkloadPlan:
    data = DataPlan("digits", None, None, None)
    return WorkloadPlan(("fedavg",), "cnn", 1, data, 1, 16, 1, 0.05, 0.9, 0.0, 1, None)


def loop_plan(devices: int = 2, name: str = "loop") -> Plan:
    """Devices at north; edges north and south; a cloud; the backhaul north, south, cloud is a loop."""
    access = [
        LinkPlan(f"access:dev-{i}", "access", f"dev-{i}", "ap-north", NORTH_UP, NORTH_DOWN)
        for i in range(1, devices + 1)
    ]
    trunk = Shape(rate=100e6, delay=0.001)
    far = Shape(rate=50e6, delay=0.004)
    return Plan(
        name=name,
        seed=1,
        nodes=(
            *(node(f"dev-{i}", "device", site="north", bridge="ap-north") for i in range(1, devices + 1)),
            node("edge-north", "edge", site="north", bridge="ap-north"),
            node("edge-south", "edge", site="south", bridge="ap-south"),
            node("cloud", "cloud", bridge="sw-cloud"),
        ),
        sites=(
            SitePlan("north", (0, 0), "ap-north", "edge-north", NORTH_UP, NORTH_DOWN),
            SitePlan("south", (400, 0), "ap-south", "edge-south", SOUTH_UP, SOUTH_DOWN),
        ),
        bridges=("ap-north", "ap-south", "sw-cloud"),
        links=(
            *access,
            LinkPlan("edge:edge-north", "edge", "edge-north", "ap-north", trunk, trunk),
            LinkPlan("edge:edge-south", "edge", "edge-south", "ap-south", trunk, trunk),
            LinkPlan("wire:cloud", "wire", "cloud", "sw-cloud", Shape(), Shape()),
            LinkPlan("north--south", "backhaul", "ap-north", "ap-south", trunk, trunk),
            LinkPlan("north--cloud", "backhaul", "ap-north", "sw-cloud", far, far),
            LinkPlan("south--cloud", "backhaul", "ap-south", "sw-cloud", far, far),
        ),
        moves=(),
        workload=workload(),
        link_backend="auto",
        lead=0.5,
        tolerances=Tolerances(),
        source="tests/support.py",
        rendered="",
    )


class VethEmulator:
    """Plain veth pairs: every link as fast as the machine. What was asked for is remembered."""

    name = "veth"

    def __init__(self, fail_at: str | None = None) -> None:
        self.shapes: dict[str, tuple[Shape, Shape]] = {}
        self.ends: dict[str, tuple[LinkEnd, LinkEnd]] = {}
        self.closed = 0
        self._fail_at = fail_at

    def open(self) -> None:
        pass

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        if link == self._fail_at:
            raise RuntimeError(f"told to fail at {link}")
        there = os.open(b.netns, os.O_RDONLY)
        try:
            with netlink.Netlink(a.netns) as socket:
                socket.run([netlink.create_veth(a.ifname, a.mac, b.ifname, b.mac, there)])
        finally:
            os.close(there)
        self.shapes[link], self.ends[link] = (ab, ba), (a, b)

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        old = self.shapes[link]
        self.shapes[link] = (ab or old[0], ba or old[1])

    def read(self, link: str) -> tuple[Shape, Shape]:
        return self.shapes[link]

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        return LinkStats(), LinkStats()

    def hold(self, link: str, seconds: float) -> None:
        """Nothing is kept."""

    def carrier(self, link: str, up: bool) -> None:
        a, _ = self.ends[link]
        with netlink.Netlink(a.netns) as socket:
            socket.run([netlink.set_link(a.ifname, up=up)])

    def remove(self, link: str) -> None:
        self.shapes.pop(link, None)
        self.ends.pop(link, None)

    def check(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1

    def pids(self) -> list[int]:
        return []


def in_netns(path: str, argv: list[str], timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a program of the host in a network namespace."""
    return subprocess.run(
        ["nsenter", f"--net={path}", "--", *argv], capture_output=True, text=True, timeout=timeout, check=False
    )


def ip_json(path: str, *arguments: str) -> list[dict[str, object]]:
    done = in_netns(path, ["ip", "-j", *arguments])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "[]")  # type: ignore[no-any-return]


def pings(pid: int, address: str, count: int = 1) -> bool:
    done = in_netns(netns.of_pid(pid), ["ping", "-n", "-q", f"-c{count}", "-i0.05", "-W1", address])
    return done.returncode == 0


def eventually(check: Callable[[], bool], patience: float = 5.0) -> bool:
    """Wait for a condition of the kernel or the engine that nothing announces."""
    deadline = time.monotonic() + patience
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
