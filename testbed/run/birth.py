"""What each node is born with: its keys and the controller's address, in a file that its container alone can read."""

from __future__ import annotations

import compileall
import os
from pathlib import Path

import msgspec

from nodes.wire.control import NodeFile
from nodes.wire.jobs import UnitSettings
from nodes.wire.keys import KeyPair
from testbed.emulation.containers import Launch, Mount
from testbed.experiment.plan import NodePlan

DATA_PORT = 5600
NODE_USER = 1000
_HERE = "/run/roambed"        # inside a container: its own file and data
_CONTROL = "/run/roambed-control"
_CODE = "/opt/roambed/nodes"
ALLOCATOR = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=536870912:glibc.malloc.top_pad=1048576"
"""What is freed stays the process' own. By default glibc gives activations back to the kernel batch by batch, and has
them back as pages that fault one by one: up to 30 ms of a step of 8 ms on an edge server with several devices."""


def nodes_source() -> Path:
    """Directory of the ``nodes`` package, which every container mounts read-only."""
    import nodes

    return Path(nodes.__file__).resolve().parent


def prepare(directory: Path) -> None:
    """Make the directories that containers mount, inside the run's own; nodes' code is brought into byte code.

    What runs in a container can keep none: without this each process would compile all that it imports, at every start.
    """
    if os.access(nodes_source(), os.W_OK):
        compileall.compile_dir(nodes_source(), quiet=2)
    for name in ("c", "n"):
        (directory / name).mkdir(mode=0o755, exist_ok=True)


def write(
    directory: Path, plan: NodePlan, keys: KeyPair, control: KeyPair, dilation: float = 1.0,
    platform: UnitSettings | None = None,
) -> Launch:  # fmt: skip
    """Write a node's file and say how its container is launched; with ``platform`` it is a unit of that."""
    home = directory / "n" / plan.name
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    file = NodeFile(
        name=plan.name, kind=plan.kind, speed=plan.speed if plan.paced else None, control=f"ipc://{_CONTROL}/s",
        control_key=control.public, public_key=keys.public, secret_key=keys.secret, data_port=DATA_PORT,
        dilation=dilation, platform=platform,
    )  # fmt: skip
    path = home / "node.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400)
    with os.fdopen(descriptor, "wb") as out:
        out.write(msgspec.json.encode(file))
    os.chown(path, NODE_USER, NODE_USER)
    mounts = (
        Mount(str(nodes_source()), _CODE),
        Mount(str(directory / "c"), _CONTROL),
        Mount(str(home), _HERE),
    )
    env = {"ROAMBED_NODE_FILE": f"{_HERE}/node.json", "PYTHONPATH": "/opt/roambed", "GLIBC_TUNABLES": ALLOCATOR}
    return Launch(("python3", "-m", "nodes.runtime"), env, mounts)


def socket(directory: Path) -> Path:
    """The controller's socket, as the host sees it."""
    return directory / "c" / "s"


def shard(directory: Path, node: str, name: str = "data") -> tuple[Path, str]:
    """Where a node's data of that name goes: the path on the host and inside its container."""
    return own_file(directory, node, f"{name}.safetensors")


def own_file(directory: Path, node: str, name: str) -> tuple[Path, str]:
    """A file for a node alone: the path on the host and inside its container."""
    return directory / "n" / node / name, f"{_HERE}/{name}"
