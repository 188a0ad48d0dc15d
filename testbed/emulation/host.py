"""What this machine is and can do, one fact a function, and the check that every run makes first.

``preflight`` asks only what would make a run fail, in a fraction of a second. ``facts`` asks everything there is to
know and is what ``testbed doctor`` prints. What has to be tried out is in ``features``.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.emulation import rundirs
from testbed.emulation.cgroups import parse_mounts
from testbed.emulation.containers import NODE_IMAGE, Engine, engine_errors
from testbed.emulation.image import expected_tag
from testbed.errors import EnvironmentProblem, RoambedError

TUN = "/dev/net/tun"
KERNEL = (5, 3)  # pidfd_open, by which processes are ended without ever hitting another
HELPERS = {
    "tc": "to look at links",
    "bridge": "to look at forwarding",
    "nsenter": "for testbed shell",
    "gcc": "to build native/",
}
_GIB = 1 << 30
_PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "bridge": "iproute2",
    "nsenter": "util-linux",
    "mnexec": "mininet",
    "gcc": "gcc libc6-dev",
}


@dataclass(frozen=True)
class Check:
    """One fact about this machine.

    Attributes:
        name: What was looked at.
        found: What is there.
        needed: What a run needs.
        ok: Whether that is enough; None means that a run works, but less well.
        remedy: What to do about it, empty if there is nothing to do.
    """

    name: str
    found: str
    needed: str
    ok: bool | None
    remedy: str = ""

    def require(self) -> None:
        """Raise if a run cannot work.

        Raises:
            EnvironmentProblem: The check failed; a warning passes.
        """
        if self.ok is False:
            raise EnvironmentProblem(
                f"this machine cannot run experiments as it stands: {self.name}",
                wanted=self.needed,
                found=self.found,
                remedy=self.remedy or "testbed doctor shows everything that was looked at",
            )


def preflight() -> None:
    """Refuse early, and with a remedy, what could not work: asked before anything is made.

    Raises:
        EnvironmentProblem: Something a run cannot do without is not here.
    """
    for ask in (system, root, mnexec, ip_tool, tun_device):
        ask().require()
    with Engine() as engine:
        with engine_errors("ask the container engine about itself"):
            info = engine.api.info()
        for judge in (docker_desktop, rootless, engine_is_here):
            judge(info).require()
        engine.require_image(NODE_IMAGE)


def facts() -> list[Check]:
    """Everything there is to know, in the order in which problems should be solved."""
    from testbed.emulation import features

    found = [system(), kernel(), root(), cores(), memory(), cgroup()]
    found += [mnexec(), ip_tool(), *(helper(name) for name in HELPERS), tun_device()]
    found += features.kernel_features()
    found += [features.real_time(), features.clock_jitter()]
    found += engine_facts()
    found += [torch_build(), leftovers()]
    return found


def system() -> Check:
    """The operating system."""
    linux = sys.platform.startswith("linux")
    return Check("operating system", sys.platform, "linux", linux, "" if linux else "use a Linux machine, or a VM")


def root() -> Check:
    """The rights to make namespaces, links and limits."""
    is_root = os.geteuid() == 0
    return Check("rights", "root" if is_root else f"user {os.geteuid()}", "root", is_root, "" if is_root else "sudo")


def cores() -> Check:
    """Cores that this process may use."""
    number = len(os.sched_getaffinity(0))
    remedy = "" if number >= 2 else "expect late training steps: links and training share one core"
    return Check("cores", str(number), "2 or more", True if number >= 2 else None, remedy)


def memory() -> Check:
    """Memory of the machine."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = size >= 3.5 * _GIB
    remedy = "" if enough else "every node that trains needs 256 MiB or more: use few"
    return Check("memory", f"{size / _GIB:.1f} GiB", "4 GiB or more", True if enough else None, remedy)


def kernel(release: str | None = None) -> Check:
    """The kernel's release."""
    found = release or os.uname().release
    numbers = re.match(r"(\d+)\.(\d+)", found)
    new = numbers is not None and (int(numbers[1]), int(numbers[2])) >= KERNEL
    needed = ".".join(map(str, KERNEL)) + " or newer"
    return Check("kernel", found, needed, new, "" if new else "upgrade the distribution")


def cgroup(mountinfo: Path = Path("/proc/self/mountinfo"), base: Path = Path("/")) -> Check:
    """Which cgroup version enforces limits, and with which controllers."""
    needed = "cpu and memory controllers"
    remedy = "mount cgroups as systemd does (for version 1: with cpu, cpuacct and memory)"
    try:
        mounts = parse_mounts(mountinfo.read_text())
    except OSError as error:
        return Check("cgroups", f"{mountinfo}: {error.strerror}", needed, False, remedy)
    first = frozenset[str]().union(*(mount.controllers for mount in mounts))
    second: set[str] = set()
    unified = [mount.point for mount in mounts if not mount.controllers]
    for point in unified:
        try:
            second |= set((base / str(point).lstrip("/") / "cgroup.controllers").read_text().split())
        except OSError:
            continue
    if "cpu" in first:
        version, there, wanted = "1", first, {"cpu", "cpuacct", "memory"}
        version += ", hybrid" if unified else ""
    else:
        version, there, wanted = "2", frozenset(second), {"cpu", "memory"}
    if not mounts:
        return Check("cgroups", "not mounted", needed, False, remedy)
    missing = sorted(wanted - there)
    found = f"version {version}: " + (f"no {', '.join(missing)}" if missing else ", ".join(sorted(wanted)))
    return Check("cgroups", found, needed, not missing, remedy if missing else "")


def mnexec() -> Check:
    """Mininet's helper program, which the Python package does not bring."""
    return tool("mnexec")


def ip_tool() -> Check:
    """The program that makes network namespaces."""
    return tool("ip")


def tool(name: str) -> Check:
    """A program that a run starts."""
    place = shutil.which(name)
    remedy = "" if place else f"make setup, or: apt install {_PACKAGES[name]}"
    return Check(name, place or "not installed", "installed", place is not None, remedy)


def helper(name: str) -> Check:
    """A program that a run can do without, see ``HELPERS``."""
    found = tool(name)
    return Check(found.name, found.found, f"installed, {HELPERS[name]}", found.ok or None, found.remedy)


def tun_device() -> Check:
    """The device by which the userspace links see packets."""
    there = Path(TUN).is_char_device()
    remedy = "" if there else f"modprobe tun; in a container: --device {TUN}"
    return Check(TUN, "present" if there else "missing", "present", there, remedy)


def engine_facts() -> list[Check]:
    """What the container engine says about itself, and whether it has the node image."""
    try:
        with Engine() as engine:
            with engine_errors("ask the container engine about itself"):
                info = engine.api.info()
            return [
                Check("container engine", f"Docker {info.get('ServerVersion', '?')}", "running", True),
                docker_desktop(info),
                rootless(info),
                engine_is_here(info),
                engine_limits(info),
                cgroup_driver(info),
                node_image(engine),
            ]
    except RoambedError as error:
        return [Check("container engine", error.found or error.message, "running", False, error.remedy or "make setup")]


def docker_desktop(info: Mapping[str, Any]) -> Check:
    """Docker Desktop keeps its containers in a virtual machine, out of reach of links made here."""
    desktop = "docker desktop" in str(info.get("OperatingSystem", "")).lower()
    remedy = "install Docker Engine itself (docs.docker.com/engine/install), or run inside a Linux VM"
    found = "Docker Desktop" if desktop else "no"
    return Check("Docker Desktop", found, "no: its containers are in a VM", not desktop, remedy if desktop else "")


def rootless(info: Mapping[str, Any]) -> Check:
    """A rootless engine may neither set all limits nor share namespaces with root's processes."""
    is_so = any("name=rootless" in option for option in info.get("SecurityOptions") or ())
    remedy = "use the system's engine: unset DOCKER_HOST, systemctl start docker, docker context use default"
    return Check("rootless engine", "yes" if is_so else "no", "no", not is_so, remedy if is_so else "")


def engine_is_here(info: Mapping[str, Any]) -> Check:
    """Links end in the containers' namespaces, so that engine and testbed must share one kernel."""
    theirs, ours = str(info.get("KernelVersion", "")), os.uname().release
    here = theirs == ours
    found = "this machine" if here else f"on another kernel: {theirs or 'unknown'}"
    return Check("engine runs on", found, "this machine", here, "" if here else "unset DOCKER_HOST and DOCKER_CONTEXT")


def engine_limits(info: Mapping[str, Any]) -> Check:
    """Limits that the engine says it can set."""
    needed = {"CpuCfsQuota": "CPU quota", "CpuCfsPeriod": "CPU period", "MemoryLimit": "memory"}
    missing = [words for key, words in needed.items() if not info.get(key)]
    if missing:
        remedy = "boot a kernel with CFS bandwidth control and the memory controller (cgroup_enable=memory)"
        return Check("limits", f"no {', '.join(missing)}", "CPU quota and memory", False, remedy)
    if not info.get("SwapLimit"):
        remedy = "boot with swapaccount=1, or turn swap off (swapoff -a): nodes may use swap beyond their memory"
        return Check("limits", "CPU, memory, not swap", "CPU quota, memory, swap", None, remedy)
    return Check("limits", "CPU quota, memory, swap", "CPU quota, memory, swap", True)


def cgroup_driver(info: Mapping[str, Any]) -> Check:
    """Who makes the containers' cgroups. Either driver will do, none will not."""
    driver = str(info.get("CgroupDriver", "none"))
    fine = driver in ("cgroupfs", "systemd")
    return Check("cgroup driver", driver, "cgroupfs or systemd", fine, "" if fine else "use the system's engine")


def node_image(engine: Engine) -> Check:
    """The image that nodes run."""
    try:
        digest = engine.require_image(NODE_IMAGE)
    except RoambedError as error:
        return Check("node image", error.message, NODE_IMAGE, False, error.remedy or "make image")
    found = digest.removeprefix("sha256:")[:12]
    wanted = expected_tag()
    try:
        fits = wanted is None or engine.require_image(wanted) == digest
    except EnvironmentProblem:
        fits = False
    if fits:
        return Check("node image", found, wanted or NODE_IMAGE, True)
    return Check("node image", f"{found}, built for another checkout", str(wanted), None, "make image")


def torch_build() -> Check:
    """Which build of PyTorch the testbed's own Python has, found without importing it."""
    needed, remedy = "a CPU build", "make setup"
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return Check("PyTorch", "not installed", needed, False, remedy)
    version = importlib.metadata.version("torch")
    cuda = _assigned(Path(spec.origin).with_name("version.py"), "cuda")
    if cuda is None:
        return Check("PyTorch", version, needed, True)
    remedy = "works, with gigabytes unused; make setup installs the CPU build"
    return Check("PyTorch", f"{version} for CUDA {cuda}", needed, None, remedy)


def leftovers() -> Check:
    """What runs that died have left standing."""
    dead = [run.run_id for run in rundirs.runs() if not run.alive]
    remedy = "testbed clean" if dead else ""
    return Check("left by dead runs", ", ".join(dead) or "nothing", "nothing", None if dead else True, remedy)


def _assigned(file: Path, name: str) -> str | None:
    """The text that a module assigns to a name, without running it."""
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError):
        return None
    for statement in tree.body:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0] if isinstance(statement.targets[0], ast.Name) else None
        if isinstance(target, ast.Name) and target.id == name and isinstance(statement, ast.Assign | ast.AnnAssign):
            value = statement.value
            return str(value.value) if isinstance(value, ast.Constant) and value.value is not None else None
    return None
