"""Links through a process of ours, for kernels without netem: TAP interfaces with a relay between them.

The relay (``native/relay.c``) serves all links of a run. It is told what to do line by line over its standard input
and ends by itself, with all interfaces it made, when that closes: also when this process is killed.
"""

from __future__ import annotations

import hashlib
import math
import select
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from testbed.emulation import native
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import LinkEnd, LinkStats, Schedule, Shape
from testbed.errors import EmulationError, NotAppliedError

_PATIENCE = 10.0  # s for an answer; a command takes well under a millisecond
_LOSS_UNIT = 1e9
_DIRECTIONS = ("ab", "ba")


class RelayEmulator(Emulator):
    """Links through the relay.

    Args:
        seed: Of the run. Losses and jitter of a link follow from it, the link's name, and the packets that pass.
        program: The relay to run; None builds it.
    """

    name = "relay"

    def __init__(self, seed: int = 0, program: Path | None = None) -> None:
        self.priority = ""
        self._seed = seed
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._received = b""
        self._guard = threading.Lock()
        self._numbers: dict[str, str] = {}
        self._made = 0

    def open(self) -> None:
        """Start the relay; opening twice is fine."""
        if self._process is not None:
            return
        program = self._program or native.build().relay
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the relay
        # In a session of its own, so that Ctrl-C in a terminal leaves it to us when it ends.
        self._process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            bufsize=0,
            start_new_session=True,
        )
        with self._guard:
            status, words = self._answer("start")
        if status != "ready":
            self.close()
            raise EmulationError("the relay cannot start", found=words, remedy="run as root (sudo)")
        self.priority = dict(word.split("=", 1) for word in words.split()).get("priority", "")

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        """Make a link; both interfaces come into being inside their namespaces, under their final names."""
        if link in self._numbers:
            raise EmulationError("the link exists already", where=link)
        for end in (a, b):
            _check(end, link)
        self._made += 1
        number = f"L{self._made}"
        self._ask(link, "add", number, a.ifname, a.netns, a.mac, b.ifname, b.netns, b.mac)
        self._numbers[link] = number
        try:
            digest = hashlib.sha256(f"{self._seed}:{link}".encode()).digest()
            self._ask(link, "seed", number, str(int.from_bytes(digest[:7], "big")))
            self.set(link, ab, ba)
        except EmulationError:
            self.remove(link)
            raise

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        """Change a live link in place and read back what is in force."""
        number = self._number(link)
        for direction, shape in zip(_DIRECTIONS, (ab, ba), strict=True):
            if shape is None:
                continue
            self._ask(
                link,
                "set",
                number,
                direction,
                f"{shape.rate or 0:.3f}",
                f"{shape.delay * 1e9:.0f}",
                f"{shape.jitter * 1e9:.0f}",
                f"{shape.loss * _LOSS_UNIT:.0f}",
                str(shape.queue_bytes),
            )
            found = self._read(link, number, direction)
            if not same(shape, found):
                raise NotAppliedError(
                    "the relay enforces something else than was set",
                    wanted=str(shape),
                    found=str(found),
                    where=f"{link} {direction}",
                )

    def read(self, link: str) -> tuple[Shape, Shape]:
        """What is in force now, as the relay tells it."""
        number = self._number(link)
        return self._read(link, number, "ab"), self._read(link, number, "ba")

    def play(self, link: str, begin: float, ab: Schedule | None = None, ba: Schedule | None = None) -> None:
        """Have a link vary over time."""
        raise EmulationError("this kind of link cannot vary over time", found=self.name, where=link)

    def rest(self, link: str) -> None:
        """End what plays on a link: nothing ever does."""

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters as (a to b, b to a)."""
        number = self._number(link)
        ab, ba = (_values(self._ask(link, "stats", number, direction)) for direction in _DIRECTIONS)
        return _stats(ab), _stats(ba)

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link (what is on its way is gone, both interfaces lose their carrier) or bring it back."""
        number = self._number(link)
        self._ask(link, "carrier", number, "1" if up else "0")
        found = _values(self._ask(link, "state", number))["carrier"]
        if bool(found) != up:
            raise NotAppliedError("the carrier is not as set", wanted=str(up), found=str(bool(found)), where=link)

    def remove(self, link: str) -> None:
        """Remove a link with its interfaces; removing twice is fine."""
        number = self._numbers.pop(link, None)
        if number is not None:
            self._ask(link, "del", number)

    def close(self) -> None:
        """End the relay and with it every link; closing twice is fine."""
        process, self._process = self._process, None
        self._numbers.clear()
        self._received = b""
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._complaints is not None:
            self._complaints.close()
            self._complaints = None

    def pids(self) -> list[int]:
        """The relay's process."""
        return [] if self._process is None else [self._process.pid]

    def _number(self, link: str) -> str:
        try:
            return self._numbers[link]
        except KeyError:
            raise EmulationError("there is no such link", where=link) from None

    def _read(self, link: str, number: str, direction: str) -> Shape:
        found = _values(self._ask(link, "get", number, direction))
        return Shape(
            rate=found["rate"] or None,
            delay=found["delay"] / 1e9,
            jitter=found["jitter"] / 1e9,
            loss=found["loss"] / _LOSS_UNIT,
            queue=int(found["queue"]) or None,
        )

    def _ask(self, link: str, *words: str) -> str:
        """Send a command; what the relay answered after ``ok``."""
        with self._guard:
            if self._process is None or self._process.stdin is None:
                raise EmulationError("the relay is not running", where=link)
            try:
                self._process.stdin.write((" ".join(words) + "\n").encode())
            except BrokenPipeError:
                raise self._ended(link) from None
            status, answer = self._answer(link)
        if status != "ok":
            raise EmulationError(f"the relay refused to {words[0]} a link", found=answer, where=link)
        return answer

    def _answer(self, where: str) -> tuple[str, str]:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + _PATIENCE
        poller = select.poll()
        poller.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._received:
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise EmulationError("the relay does not answer", where=where)
            data = self._process.stdout.read(1 << 16)
            if not data:
                raise self._ended(where)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        status, _, rest = line.decode(errors="replace").partition(" ")
        return status, rest

    def _ended(self, where: str) -> EmulationError:
        assert self._process is not None
        said = ""
        if self._complaints is not None:
            self._complaints.seek(0)
            said = self._complaints.read().decode(errors="replace").strip()[-500:]
        try:
            code = str(self._process.wait(1))
        except subprocess.TimeoutExpired:
            code = "unknown"
        return EmulationError(
            "the relay has ended, and all links with it", found=f"exit code {code} {said}".strip(), where=where
        )


def same(wanted: Shape, found: Shape) -> bool:
    """Whether two shapes mean the same, given the relay's resolution."""
    return (
        math.isclose(wanted.rate or 0.0, found.rate or 0.0, rel_tol=1e-6, abs_tol=1e-3)
        and abs(wanted.delay - found.delay) < 1e-8
        and abs(wanted.jitter - found.jitter) < 1e-8
        and abs(wanted.loss - found.loss) < 1e-8
        and wanted.queue_bytes == found.queue_bytes
    )


def _check(end: LinkEnd, link: str) -> None:
    if not 0 < len(end.ifname) <= 15 or not end.ifname.isprintable() or set(end.ifname) & set(" /:"):
        raise EmulationError("not a name for an interface", found=repr(end.ifname), where=link)
    if not end.netns.isprintable() or " " in end.netns:
        raise EmulationError("not a path of a namespace", found=repr(end.netns), where=link)


def _values(answer: str) -> dict[str, float]:
    return {key: float(value) for key, _, value in (word.partition("=") for word in answer.split())}


def _stats(found: dict[str, float]) -> LinkStats:
    return LinkStats(
        tx_bytes=int(found["tx_bytes"]),
        tx_packets=int(found["tx_packets"]),
        dropped_queue=int(found["dropq"]),
        dropped_loss=int(found["dropl"]),
        queue_bytes=int(found["waiting"]),
        late_max_s=found["late_max"] / 1e9,
    )
