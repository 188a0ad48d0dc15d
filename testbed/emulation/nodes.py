"""Mininet's view of a bed: its nodes, switches and links stand for what is there already.

Containers and fabric are made by ``bed``; the objects here give users Mininet's vocabulary, its CLI and its
``net`` object on top, in the process that made the bed or in any other. A node's shell runs the host's tools in
the container's network namespace, so that an image needs no ``ip`` or ``ping``; it is started on first use.

Importing this module imports Mininet. ``import testbed`` must work without it, so import it where it is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

from testbed.emulation.record import BedRecord, LinkRecord, NodeRecord
from testbed.errors import EnvironmentProblem

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Mininet imports distutils, which says that it is going away
        from mininet.cli import CLI
        from mininet.link import Intf, Link
        from mininet.log import lg
        from mininet.net import Mininet
        from mininet.node import Node, Switch
except ImportError as missing:
    raise EnvironmentProblem(
        "Mininet cannot be imported",
        found=str(missing),
        remedy="make setup (with Python 3.12 or newer Mininet also needs setuptools < 81)",
    ) from missing

__all__ = ["ContainerNode", "FabricBridge", "RunCLI", "RunIntf", "RunLink", "RunNet", "build_net", "speak"]


class _InNamespace(Node):  # type: ignore[misc]
    """A Mininet node whose shell is started on first use, in a namespace that exists already."""

    def __init__(self, name: str, enter: Sequence[str], **params: Any) -> None:
        self._enter = list(enter)
        self._wants_shell = False
        self.controlIntf = None
        super().__init__(name, inNamespace=True, **params)

    @classmethod
    def checkSetup(cls) -> None:
        """Check nothing yet: Mininet would end the process here. What a shell needs is checked when it starts."""

    def startShell(self, mnopts: str | None = None) -> None:
        """Start the shell, unless nobody has asked for it yet (Mininet's constructor does not count)."""
        if not self._wants_shell:
            return
        for tool in ("mnexec", "nsenter", "bash"):
            if shutil.which(tool) is None:
                raise EnvironmentProblem(f"{tool} is not installed", remedy="make setup (mnexec is in mininet)")
        self.inNamespace = False  # or Mininet would make a namespace of its own
        try:
            super().startShell(mnopts)
        finally:
            self.inNamespace = True

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[Any]:
        return super()._popen([*self._enter, *cmd], **params)  # type: ignore[no-any-return]

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        """Send a command to the shell."""
        self._ensure_shell()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command in the shell and return what it printed."""
        self._ensure_shell()
        return super().cmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> subprocess.Popen[Any]:
        """Start a program of the host in this node's network namespace."""
        kwargs.setdefault("mncmd", [])  # _popen enters the namespace already
        return super().popen(*args, **kwargs)  # type: ignore[no-any-return]

    def addIntf(self, intf: Any, port: int | None = None, moveIntfFn: Any = None) -> None:
        """Register an interface. It is where it belongs already, so nothing is moved."""
        super().addIntf(intf, port=port, moveIntfFn=lambda *_: None)

    def terminate(self) -> None:
        """End the shell. What the node stands for is left alone."""
        if self.shell is not None:
            super().terminate()
            self._wants_shell = False

    def stop(self, deleteIntfs: bool = False) -> None:
        """End the shell. Interfaces belong to the bed and stay."""
        self.terminate()

    def _ensure_shell(self) -> None:
        if self.shell is None:
            self._wants_shell = True
            self.startShell()


class ContainerNode(_InNamespace):
    """A container as a Mininet host."""

    def __init__(self, record: NodeRecord) -> None:
        self.record = record
        super().__init__(record.name, ["nsenter", "-t", str(record.pid), "-n", "--"])
        self.pid = record.pid

    def startShell(self, mnopts: str | None = None) -> None:
        """Start the shell; ``pid`` stays the container's."""
        super().startShell(mnopts)
        self.pid = self.record.pid

    def setParam(self, results: Any, method: str, **param: Any) -> None:
        """Do nothing: the bed has configured the node."""


class FabricBridge(_InNamespace, Switch):  # type: ignore[misc]
    """A bridge of the fabric as a Mininet switch. ``ifname`` is its interface, short enough for the kernel."""

    def __init__(self, name: str, ifname: str, fabric: str, dpid: int) -> None:
        self.ifname = ifname
        super().__init__(name, ["nsenter", f"--net={fabric}", "--"], dpid=f"{dpid:x}")

    def start(self, controllers: Any = None) -> None:
        """Do nothing: the bridge stands."""


class RunIntf(Intf):  # type: ignore[misc]
    """An interface that exists, with addresses that are known."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Do nothing: the bed has configured it."""
        return {}

    def updateIP(self) -> str | None:
        """The address; it never changes, so nobody needs to be asked."""
        return self.ip  # type: ignore[no-any-return]

    def delete(self) -> None:
        """Forget the interface. Taking it away belongs to the bed."""
        self.node.delIntf(self)
        self.link = None


class RunLink(Link):  # type: ignore[misc]
    """A link that an emulator made."""

    def __init__(self, net: RunNet, record: LinkRecord) -> None:
        self.record = record
        ends = []
        for owner, ifname in ((record.a, record.a_ifname), (record.b, record.b_ifname)):
            node = net[owner]
            interface = RunIntf(ifname, node=node, link=self)
            if isinstance(node, ContainerNode):
                interface.ip, interface.prefixLen = node.record.ip, 16
                interface.mac = node.record.mac
            ends.append(interface)
        self.intf1, self.intf2 = ends

    def stop(self) -> None:
        """Do nothing: the emulator ends its links."""


class RunNet(Mininet):  # type: ignore[misc]
    """Mininet's object for a bed that stands."""

    # Mininet's initialisation raises kernel limits of the whole host and leaves them so. A bed needs none of
    # it: saying that it was done already keeps the host as it is.
    inited = True

    def __init__(self, record: BedRecord) -> None:
        super().__init__(controller=None, build=False, link=RunLink, intf=RunIntf)
        self.record = record
        for index, (name, ifname) in enumerate(record.bridges.items(), start=1):
            self._register(self.switches, FabricBridge(name, ifname, record.fabric, index))
        for node in record.nodes.values():
            self._register(self.hosts, ContainerNode(node))
        for link in record.links.values():
            self.links.append(RunLink(self, link))
        self.built = True

    def start(self) -> None:
        """Do nothing: the bed stands."""

    def stop(self) -> None:
        """End the shells. The bed itself is taken down by whoever put it up."""
        for node in [*self.hosts, *self.switches]:
            node.terminate()

    def relink(self, record: LinkRecord) -> None:
        """Follow a handover: the link hangs on another bridge now."""
        for index, link in enumerate(self.links):
            if link.record.name == record.name:
                link.intf1.delete()
                link.intf2.delete()
                self.links[index] = RunLink(self, record)

    def _register(self, kind: list[Any], node: Any) -> None:
        kind.append(node)
        self.nameToNode[node.name] = node


class RunCLI(CLI):  # type: ignore[misc]
    """Mininet's CLI, for node names with hyphens."""

    prompt = "testbed> "
    identchars = CLI.identchars + "-"


def speak(stream: TextIO) -> None:
    """Have Mininet write what its commands say to ``stream`` (it writes to standard error by default)."""
    lg.setLogLevel("output")
    lg.handlers[0].setStream(stream)


def build_net(record: BedRecord) -> RunNet:
    """Mininet's objects for a bed that stands."""
    if not os.path.exists(record.fabric):
        raise EnvironmentProblem(f"run {record.run_id} has no fabric any more", remedy="testbed clean")
    return RunNet(record)
