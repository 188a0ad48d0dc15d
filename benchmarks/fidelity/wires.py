"""Two scratch namespaces with a link between them, made by this testbed's own link code; gone afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from testbed.emulation import links, netns
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import LinkEnd, Shape

ADDRESSES = ("10.9.0.1", "10.9.0.2")
LINK = "fidelity"
_SEED = 7
_numbers = count()


@dataclass(frozen=True)
class Wire:
    """A link that is up, both its ends with an address.

    Attributes:
        a, b: Its ends. emulator: What shapes it, None if it is not one of ours. name: Of it, for `Emulator`.
    """

    a: LinkEnd
    b: LinkEnd
    emulator: Emulator | None = None
    name: str = LINK


def inside(place: str, *argv: str) -> list[str]:
    """A command that runs in a namespace."""
    return ["nsenter", f"--net={place}", "--", *argv]


@contextmanager
def places(number: int = 2) -> Iterator[list[str]]:
    """Network namespaces."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            name = f"rbfid{os.getpid()}-{next(_numbers)}"
            made.append(netns.create(name))
            stack.callback(netns.delete, name)
            netns.write_sysctls(made[-1], {"net.ipv6.conf.all.disable_ipv6": "1"})
        yield made


def bring_up(end: LinkEnd, address: str) -> None:
    """Give an interface its address and take it up."""
    for words in (("address", "add", f"{address}/24", "dev", end.ifname), ("link", "set", end.ifname, "up")):
        subprocess.run(inside(end.netns, "ip", *words), check=True)


def mac_of(place: str, ifname: str) -> str:
    return netns.inside(place, lambda: _mac(ifname))


def _mac(ifname: str) -> str:
    done = subprocess.run(["ip", "-br", "link", "show", ifname], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


@contextmanager
def product(*shapes: Shape, back: Shape | None = None, backend: str = "auto") -> Iterator[list[Wire]]:
    """A link for each shape, all of one emulator; ``back`` is the other direction's, the same unless said."""
    with ExitStack() as stack:
        emulator = links.choose(backend, _SEED)
        stack.callback(emulator.close)
        emulator.open()
        wires = []
        for index, shape in enumerate(shapes):
            pair = stack.enter_context(places())
            ends = [LinkEnd(place, "eth0", f"02:00:00:00:{index:02x}:{side:02x}") for side, place in enumerate(pair, 1)]
            name = f"{LINK}{index}"
            emulator.add(name, *ends, shape, back or shape)
            for end, address in zip(ends, ADDRESSES, strict=True):
                bring_up(end, address)
            wires.append(Wire(ends[0], ends[1], emulator, name))
        yield wires


@contextmanager
def one(shape: Shape, back: Shape | None = None) -> Iterator[Wire]:
    """A single link."""
    with product(shape, back=back) as wires:
        yield wires[0]


def cpu_s(pids: list[int]) -> float:
    """Processor time that processes have had, s."""
    used = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used
