"""Links through the kernel: a veth pair with HTB (rate) and netem (delay, jitter, loss, queue) at each sender.

Settings mean the same as with the relay, as far as the kernel lets them:

- *Order is kept.* netem reorders jittered packets unless it has a rate; it is given one far above any link's, so
  that a packet is never sent before the one in front of it.
- *Queue.* netem counts packets, and those that are being delayed too. Its limit is the queue in full frames plus as
  many as are under way at the link's rate: `packet_limit`. Queues of small packets hold fewer bytes than asked.
- *Loss is decided for each segment.* netem would drop a large TCP frame whole, so TCP is made to hand over single
  segments (``gso_max_segs 1`` at every end). Unlike with the relay, a lost packet does not use the wire.
- *Counters.* The kernel does not tell packets dropped at the full queue from those lost on purpose: with loss set,
  all count as lost.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from testbed.emulation.links import plain
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import MTU_FRAME, LinkEnd, LinkStats, Schedule, Shape
from testbed.errors import EmulationError, EnvironmentProblem, NotAppliedError

UNLIMITED = 100e9
"""bit/s that stand for no limit. With HTB always there, every change happens in place."""
_BURST_S = 0.001  # HTB's timer may be late by so much before the rate suffers
_LEAST_LIMIT = 16
_MOST_LIMIT = 1_000_000
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_NETEM_REQUIRED = (
    "a kernel with CONFIG_NET_SCH_NETEM and CONFIG_NET_SCH_HTB (modprobe sch_netem sch_htb); "
    "or shape links in user space: emulation: {links: relay}"
)


class NetemEmulator(Emulator):
    """Links that the kernel shapes."""

    name = "netem"

    def __init__(self) -> None:
        self._ends: dict[str, tuple[LinkEnd, LinkEnd]] = {}
        self._asked: dict[str, tuple[Shape, Shape]] = {}

    def open(self) -> None:
        """Nothing to start."""

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        """Make a link; both interfaces are down and without address."""
        if link in self._ends:
            raise EmulationError("the link exists already", where=link)
        plain.make_veth(link, a, b)
        self._ends[link] = (a, b)
        self._asked[link] = (ab, ba)
        try:
            for end, shape in ((a, ab), (b, ba)):
                single_segments(link, end)
                run_tc(link, end, ["-batch", "-"], commands("add", end.ifname, shape))
                self._verify(link, end, shape)
        except EmulationError:
            self.remove(link)
            raise

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        """Change a live link in place and read back what is in force."""
        a, b = self._of(link)
        for end, shape in ((a, ab), (b, ba)):
            if shape is not None:
                run_tc(link, end, ["-batch", "-"], commands("change", end.ifname, shape))
                self._verify(link, end, shape)
        was = self._asked[link]
        self._asked[link] = (ab or was[0], ba or was[1])

    def read(self, link: str) -> tuple[Shape, Shape]:
        """What is in force now, as the kernel tells it."""
        a, b = self._of(link)
        asked = self._asked[link]
        return self._read(link, a, asked[0]), self._read(link, b, asked[1])

    def play(self, link: str, begin: float, ab: Schedule | None = None, ba: Schedule | None = None) -> None:
        """Have a link vary over time."""
        raise EmulationError("this kind of link cannot vary over time", found=self.name, where=link)

    def rest(self, link: str) -> None:
        """End what plays on a link: nothing ever does."""

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters as (a to b, b to a)."""
        a, b = self._of(link)
        ab, ba = (parse_stats(_qdiscs(link, end)) for end in (a, b))
        return ab, ba

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link or bring it back."""
        plain.set_carrier(link, self._of(link), up)

    def remove(self, link: str) -> None:
        """Remove a link with its interfaces; removing twice is fine."""
        ends = self._ends.pop(link, None)
        self._asked.pop(link, None)
        if ends is not None:
            plain.delete_veth(ends)

    def close(self) -> None:
        """Remove every link; closing twice is fine."""
        for link in list(self._ends):
            self.remove(link)

    def pids(self) -> list[int]:
        """No process is behind it."""
        return []

    def _of(self, link: str) -> tuple[LinkEnd, LinkEnd]:
        try:
            return self._ends[link]
        except KeyError:
            raise EmulationError("there is no such link", where=link) from None

    def _read(self, link: str, end: LinkEnd, asked: Shape) -> Shape:
        classes = run_tc(link, end, ["class", "show", "dev", end.ifname])
        return parse(classes, _qdiscs(link, end), asked)

    def _verify(self, link: str, end: LinkEnd, shape: Shape) -> None:
        found = self._read(link, end, shape)
        if not same(shape, found):
            raise NotAppliedError(
                "the kernel enforces something else than was set",
                wanted=str(shape),
                found=str(found),
                where=f"{link}, {end.ifname}",
            )


def commands(verb: str, ifname: str, shape: Shape) -> list[str]:
    """Lines for ``tc -batch`` that put a shape in force (``add``) or change it in place (``change``)."""
    rate = UNLIMITED if shape.rate is None else shape.rate
    burst = max(2 * MTU_FRAME, round(rate / 8 * _BURST_S))
    htb = f"rate {rate:.0f}bit ceil {rate:.0f}bit burst {burst} cburst {burst} quantum {60_000}"
    netem = (
        f"limit {packet_limit(shape)} delay {shape.delay * 1e6:.3f}us {shape.jitter * 1e6:.3f}us "
        f"loss {shape.loss * 100:.7f}% rate {UNLIMITED:.0f}bit"
    )
    lines = [
        f"class {verb} dev {ifname} parent 1: classid 1:1 htb {htb}",
        f"qdisc {verb} dev {ifname} parent 1:1 handle 10: netem {netem}",
    ]
    root = f"qdisc add dev {ifname} root handle 1: htb default 1"
    return [root, *lines] if verb == "add" else lines


def packet_limit(shape: Shape) -> int:
    """The limit that netem gets: the queue in full frames, and those that are being delayed at full rate."""
    if shape.rate is None:
        return _MOST_LIMIT
    under_way = shape.rate / 8 * (shape.delay + shape.jitter)
    frames = math.ceil(shape.queue_bytes / MTU_FRAME) + math.ceil(under_way / MTU_FRAME)
    return min(max(frames, _LEAST_LIMIT), _MOST_LIMIT)


def parse(classes: str, qdiscs: Sequence[dict[str, Any]], asked: Shape) -> Shape:
    """The shape that ``tc class show`` and ``tc -j qdisc show`` describe.

    A packet limit stands for many queues: the asked one is told if the limit is the one that belongs to it.
    """
    rate = re.search(r"class htb 1:1 .*?\brate (\d+)([KMGT]?)bit\b.*?\bceil (\d+)([KMGT]?)bit\b", classes)
    netem = next((q["options"] for q in qdiscs if q["kind"] == "netem" and q.get("parent") == "1:1"), None)
    if rate is None or netem is None or rate.group(1, 2) != rate.group(3, 4):
        raise NotAppliedError("the kernel does not shape the link", found=f"{classes.strip()} {json.dumps(qdiscs)}")
    found_rate = float(rate[1]) * _UNITS[rate[2]]
    delay = netem.get("delay", {})
    limit = int(netem["limit"])
    return Shape(
        rate=None if found_rate >= UNLIMITED else found_rate,
        delay=float(delay.get("delay", 0.0)),
        jitter=float(delay.get("jitter", 0.0)),
        loss=float(netem.get("loss-random", {}).get("loss", 0.0)),
        queue=asked.queue if limit == packet_limit(asked) else limit * MTU_FRAME,
    )


def parse_stats(qdiscs: Sequence[dict[str, Any]]) -> LinkStats:
    """Counters of one direction from ``tc -s -j qdisc show``."""
    root = next(q for q in qdiscs if q["kind"] == "htb")
    netem = next(q for q in qdiscs if q["kind"] == "netem")
    lossy = "loss-random" in netem["options"]
    drops = int(netem["drops"])
    return LinkStats(
        tx_bytes=int(root["bytes"]),
        tx_packets=int(root["packets"]),
        dropped_queue=0 if lossy else drops,
        dropped_loss=drops if lossy else 0,
        queue_bytes=int(netem["backlog"]),
    )


def same(wanted: Shape, found: Shape) -> bool:
    """Whether two shapes mean the same, given the precision in which ``tc`` prints them."""
    return (
        math.isclose(wanted.rate or UNLIMITED, found.rate or UNLIMITED, rel_tol=1.5e-3)
        and math.isclose(wanted.delay, found.delay, rel_tol=1e-4, abs_tol=1e-6)
        and math.isclose(wanted.jitter, found.jitter, rel_tol=1e-4, abs_tol=1e-6)
        and math.isclose(wanted.loss, found.loss, rel_tol=1e-4, abs_tol=1e-8)
        and wanted.queue == found.queue
    )


def netem_missing() -> str | None:
    """Why this kernel cannot shape links with HTB and netem, in its own words; None if it can.

    Tried in a scratch namespace without a name, which is gone with the command.
    """
    command = ["unshare", "--net", "tc", "-batch", "-"]
    try:
        done = subprocess.run(
            command, input="\n".join(commands("add", "lo", Shape(rate=1e9, delay=1e-3))) + "\n",
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[0]


def require_netem() -> None:
    """Raise EnvironmentProblem if this kernel cannot shape links."""
    missing = netem_missing()
    if missing is not None:
        raise EnvironmentProblem(
            "this machine's kernel cannot emulate links (netem)", found=missing, remedy=_NETEM_REQUIRED
        )


def single_segments(link: str, end: LinkEnd) -> None:
    """Have TCP hand over single segments at an end, and check that it will."""
    _run(link, end, ["ip", "link", "set", "dev", end.ifname, "gso_max_segs", "1"])
    found = json.loads(_run(link, end, ["ip", "-d", "-j", "link", "show", "dev", end.ifname]))[0]
    if found.get("gso_max_segs") != 1:
        raise NotAppliedError(
            "TCP would hand over many segments at once", wanted="gso_max_segs 1", found=str(found.get("gso_max_segs")),
            where=f"{link}, {end.ifname}",
        )  # fmt: skip


def run_tc(link: str, end: LinkEnd, arguments: Sequence[str], lines: Sequence[str] = ()) -> str:
    """Run ``tc`` in an end's namespace, with ``lines`` as its batch."""
    return _run(link, end, ["tc", *arguments], "\n".join(lines) + "\n")


def _qdiscs(link: str, end: LinkEnd) -> list[dict[str, Any]]:
    found = json.loads(run_tc(link, end, ["-s", "-j", "qdisc", "show", "dev", end.ifname]) or "[]")
    assert isinstance(found, list)
    return found


def _run(link: str, end: LinkEnd, argv: Sequence[str], text: str = "") -> str:
    command = ["nsenter", f"--net={end.netns}", "--", *argv]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError as error:
        raise EnvironmentProblem(
            "nsenter is not installed", found=str(error), remedy="apt install util-linux iproute2"
        ) from error
    if done.returncode != 0:
        raise EmulationError(
            f"{argv[0]} failed", wanted=" ".join(argv[1:]), found=done.stderr.strip(), where=f"{link}, {end.ifname}"
        )
    return done.stdout
