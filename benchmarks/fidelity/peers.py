"""The same links by other tools: vde2's wirefilter, and Mininet's TCLink as it comes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.fidelity.wires import ADDRESSES, Wire, bring_up, inside, mac_of, places
from testbed.emulation import links, netns
from testbed.emulation.links.shape import LinkEnd, Shape
from testbed.errors import EmulationError

WIREFILTER, TCLINK = "wirefilter", "TCLink"
_NEEDED = ("wirefilter", "vde_plug2tap")
_PATIENCE = 5.0


def wirefilter_missing(install: bool) -> str | None:
    """Why there is no wirefilter, None if there is; ``install`` fetches it first."""
    if install and not all(map(shutil.which, _NEEDED)):
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "vde2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            return f"vde2 cannot be installed: {said[-1] if said else done.returncode}"
    if all(map(shutil.which, _NEEDED)):
        return None
    return "not available: vde2 is not installed (INSTALL=1 installs it)"


@contextmanager
def wirefilter(shape: Shape) -> Iterator[Wire]:
    """A link through wirefilter: a process at each end that owns a TAP there, and the filter between them."""
    with ExitStack() as stack:
        pair = stack.enter_context(places())
        pipes = [os.pipe() for _ in range(4)]  # a to filter, filter to a, b to filter, filter to b
        handles = [handle for pipe in pipes for handle in pipe]
        (a_in, a_out), (back_in, back_out), (b_in, b_out), (forth_in, forth_out) = pipes
        try:
            for place, read, write in ((pair[0], back_in, a_out), (pair[1], forth_in, b_out)):
                _start(stack, inside(place, "vde_plug2tap", "-s", "-", "eth0"), stdin=read, stdout=write)
            words = ["wirefilter", *_options(shape)]
            _start(stack, words, stdin=a_in, stdout=back_out, other=(b_in, forth_out))
        finally:
            for handle in handles:
                os.close(handle)
        ends = []
        for place, address in zip(pair, ADDRESSES, strict=True):
            _await_interface(place)
            bring_up(LinkEnd(place, "eth0", ""), address)
            ends.append(LinkEnd(place, "eth0", mac_of(place, "eth0")))
        yield Wire(*ends)


def _options(shape: Shape) -> list[str]:
    options = []
    if shape.delay:
        options += ["-d", f"{shape.delay * 1e3:g}"]
    if shape.rate:
        options += ["-b", f"{shape.rate / 8:.0f}", "-c", str(shape.queue_bytes)]
    if shape.loss:
        options += ["-l", f"{shape.loss * 100:g}"]
    return options


def _start(
    stack: ExitStack, argv: list[str], *, stdin: int, stdout: int, other: tuple[int, int] | tuple[()] = ()
) -> None:
    # As dpipe does it: the pipes to what is on the other side are told by the environment.
    environment = {**os.environ, **dict(zip(("ALTERNATE_STDIN", "ALTERNATE_STDOUT"), map(str, other), strict=False))}
    process = subprocess.Popen(
        argv, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, pass_fds=other, env=environment
    )
    stack.callback(process.wait)
    stack.callback(process.kill)


def _await_interface(place: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            mac_of(place, "eth0")
            return
        except subprocess.CalledProcessError as error:
            if time.monotonic() > deadline:
                raise EmulationError("wirefilter made no interface", where=place) from error
        time.sleep(0.02)


def tclink_missing() -> str | None:
    """Why Mininet's TCLink cannot shape links here, None if it can."""
    why = links.netem_missing()
    if why is None:
        return None
    # Mininet itself prints an error and carries on without any delay.
    return f"not available: this kernel has no netem ({why.splitlines()[-1].strip()})"


@contextmanager
def tclink(shape: Shape) -> Iterator[Wire]:
    """Two Mininet hosts and a TCLink between them, without a switch."""
    from mininet.link import TCLink
    from mininet.log import setLogLevel
    from mininet.net import Mininet

    setLogLevel("error")
    net = Mininet(topo=None, link=TCLink, controller=None, build=False)
    try:
        hosts = [net.addHost(name, ip=f"{ip}/24") for name, ip in zip(("rbfa", "rbfb"), ADDRESSES, strict=True)]
        queue = max(2, round(shape.queue_bytes / 1514)) if shape.rate else None
        settings = {
            "bw": shape.rate / 1e6 if shape.rate else None,
            "delay": f"{shape.delay * 1e3:g}ms" if shape.delay else None,
            "loss": shape.loss * 100 if shape.loss else None,
            "max_queue_size": queue,
        }
        net.addLink(*hosts, **{name: value for name, value in settings.items() if value is not None})
        net.build()
        ends = []
        for host in hosts:
            interface = host.defaultIntf()
            place = netns.of_pid(host.pid)
            netns.write_sysctls(place, {"net.ipv6.conf.all.disable_ipv6": "1"})
            ends.append(LinkEnd(place, interface.name, interface.MAC()))
        yield Wire(*ends)
    finally:
        net.stop()
