"""The container engine, as far as Roambed uses it: a thin layer over the Docker SDK with one kind of error.

Containers get no network of the engine's, no capabilities, no writable root, and nothing is ever pulled
implicitly. They start without a CPU quota, so that importing a training framework does not take ten times as
long on a slow device; ``limit`` sets it once they are ready. Nodes of kind ``host`` run programs that are not ours
from the first moment on, and have theirs from then on.

This module does *not* cover reading back limits (``cgroups``) or running commands in a container (``execute``).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import docker
import requests
from docker import errors as docker_errors
from docker.types import LogConfig
from docker.types import Mount as BindMount

from testbed.emulation import rundirs
from testbed.errors import EmulationError, EnvironmentProblem, RoambedError
from testbed.experiment.plan import NodePlan

NODE_IMAGE = "roambed-node:latest"
RUN, NODE, KIND, PLACE = "roambed.run", "roambed.node", "roambed.kind", "roambed.root"
USER = "1000:1000"
_SOCKET = "unix:///var/run/docker.sock"
_PIDS = 512
_POOL = 64
_TIMEOUT = 60
_SHORTEST_QUOTA = 1000  # us; the kernel refuses less


@dataclass(frozen=True)
class Mount:
    """A directory or file of the host that a container sees."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class Launch:
    """What a container runs. ``command`` None means what its image says."""

    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()


@dataclass(frozen=True)
class Container:
    """A container that was started."""

    name: str
    id: str
    pid: int


@dataclass(frozen=True)
class State:
    """What the engine says about a container."""

    running: bool
    exit_code: int | None
    oom_killed: bool
    pid: int


def name_of(run_id: str, node: str) -> str:
    """Name of a node's container."""
    return f"rb-{run_id}-{node}"


def ended_at_once(node: str, exit_code: int | None, log: str) -> EmulationError:
    """The error for a container that did not stay up."""
    return EmulationError(
        f"the container of {node} ended as soon as it had started",
        found=f"exit code {exit_code}\n{log}".rstrip(),
        where=node,
    )


class Engine:
    """A connection to the container engine, to be used from several threads."""

    def __init__(self) -> None:
        with engine_errors("connect to the container engine"):
            _knock(os.environ.get("DOCKER_HOST") or _SOCKET)
            self._client = docker.DockerClient.from_env(timeout=_TIMEOUT, max_pool_size=_POOL, version="auto")
        self.api = self._client.api

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        self._client.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def require_image(self, image: str) -> str:
        """Digest of an image that is here.

        Raises:
            EnvironmentProblem: It is not: nothing is pulled behind the user's back.
        """
        with engine_errors(f"look for image {image}", image=image):
            return str(self._client.images.get(image).id)

    def start(
        self, run_id: str, node: NodePlan, launch: Launch, hosts: Sequence[tuple[str, str]] = ()
    ) -> Container:
        """Create and start a node's container, without a CPU quota.

        Args:
            run_id: Whose it is.
            node: What it is.
            launch: What it runs.
            hosts: Names that it knows, each with an address; a name may have several.

        Raises:
            EmulationError: The engine refused, or the container ended at once.
        """
        name = name_of(run_id, node.name)
        image = node.image or NODE_IMAGE
        with engine_errors(f"create the container of {node.name}", where=node.name, image=image):
            made = self.api.create_container(
                image,
                command=list(launch.command) if launch.command is not None else None,
                name=name,
                hostname=node.name,
                user=USER,
                environment=dict(launch.env),
                labels={RUN: run_id, NODE: node.name, KIND: node.kind, PLACE: str(rundirs.root())},
                host_config=self._host_config(node, launch, hosts),
            )
        try:
            with engine_errors(f"start the container of {node.name}", where=node.name):
                self.api.start(made["Id"])
            state = self.state(made["Id"])
            if not state.running or not state.pid:
                raise ended_at_once(node.name, state.exit_code, self.logs(made["Id"], tail=20))
        except BaseException:
            self.remove(made["Id"])
            raise
        return Container(name, str(made["Id"]), state.pid)

    def limit(self, container: str, node: NodePlan) -> None:
        """Put a node's limits in force.

        Raises:
            EmulationError: The engine refused.
        """
        period = round(node.period * 1e6)
        quota = round(node.cpus * period)
        if quota < _SHORTEST_QUOTA:
            raise EmulationError(
                f"the CPU quota of {node.name} is shorter than the kernel takes",
                wanted="at least 1 ms of CPU time a period",
                found=f"{node.cpus:g} cores x {period / 1000:g} ms = {quota / 1000:g} ms",
                where=node.name,
                remedy="choose a longer period",
            )
        with engine_errors(f"limit {node.name}", where=node.name):
            self.api.update_container(
                container,
                cpu_period=period,
                cpu_quota=quota,
                mem_limit=node.memory,
                memswap_limit=node.memory,
            )

    def state(self, container: str) -> State:
        """What the engine says about a container; one that is gone counts as ended."""
        try:
            with engine_errors(f"inspect {container}"):
                state = self.api.inspect_container(container)["State"]
        except EmulationError as error:
            if isinstance(error.__cause__, docker_errors.NotFound):
                return State(running=False, exit_code=None, oom_killed=False, pid=0)
            raise
        running = bool(state["Running"])
        return State(running, None if running else int(state["ExitCode"]), bool(state["OOMKilled"]), int(state["Pid"]))

    def logs(self, container: str, tail: int | None = None) -> str:
        """What a container wrote to its standard output and error."""
        with engine_errors(f"read the log of {container}"):
            output: bytes = self.api.logs(container, tail="all" if tail is None else tail)
        return output.decode(errors="replace")

    def kill(self, container: str) -> None:
        """Kill a container's processes."""
        with engine_errors(f"kill {container}"):
            self.api.kill(container)

    def remove(self, container: str) -> bool:
        """Kill and remove a container.

        Returns:
            Whether there was one; removing twice, or at the same time as another, is fine.
        """
        try:
            with engine_errors(f"remove {container}"):
                self.api.remove_container(container, force=True, v=True)
        except EmulationError as error:
            if isinstance(error.__cause__, docker_errors.NotFound) or "already in progress" in str(error.found):
                return False
            raise
        return True

    def ours(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Containers that runs made (of one run, or of all), running or not, as the engine lists them."""
        label = RUN if run_id is None else f"{RUN}={run_id}"
        with engine_errors("list containers"):
            listed = self.api.containers(all=True, filters={"label": label})
        return [item for item in listed if item["Labels"].get(PLACE) == str(rundirs.root())]

    def _host_config(self, node: NodePlan, launch: Launch, hosts: Sequence[tuple[str, str]]) -> Any:
        period = quota = None
        if node.kind == "host":
            period = round(node.period * 1e6)
            quota = max(_SHORTEST_QUOTA, round(min(node.speed, node.cpus) * period))
        sysctls = {}
        if os.path.isdir("/proc/sys/net/ipv6"):  # until the node's interface is there, and set up (see `fabric`)
            sysctls = {f"net.ipv6.conf.{scope}.disable_ipv6": "1" for scope in ("all", "default")}
        return self.api.create_host_config(
            network_mode="none",
            init=True,
            # Not `binds`: for those the engine makes what is missing on the host, as root, and leaves it there.
            mounts=[BindMount(m.target, m.source, type="bind", read_only=m.read_only) for m in launch.mounts],
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": "rw,nosuid,nodev,mode=1777"},
            mem_limit=node.memory,
            memswap_limit=node.memory,
            pids_limit=_PIDS,
            sysctls=sysctls,
            extra_hosts=[f"{name}:{address}" for name, address in hosts],
            cpu_period=period,
            cpu_quota=quota,
            log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "1"}),
        )


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at a Unix socket: the SDK would leave its own socket open, and say less."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as door:
            try:
                door.connect(path)
            except OSError as error:
                raise OSError(error.errno, error.strerror, path) from error


@contextmanager
def engine_errors(doing: str, *, where: str | None = None, image: str | None = None) -> Iterator[None]:
    """Turn the SDK's errors into ours: the engine refused, or it does not answer."""
    try:
        yield
    except RoambedError:
        raise
    except docker_errors.ImageNotFound as error:
        remedy = "make image" if image == NODE_IMAGE else f"docker pull {image}"
        raise EnvironmentProblem(f"the image {image} is not here", where=where, remedy=remedy) from error
    except docker_errors.APIError as error:
        conflict = error.status_code == 409
        raise EmulationError(
            f"the container engine refused to {doing}",
            found=str(error.explanation or error),
            where=where,
            remedy="testbed clean removes what dead runs left" if conflict else None,
        ) from error
    except (docker_errors.DockerException, requests.RequestException, OSError) as error:
        raise EnvironmentProblem(
            f"cannot {doing}: the container engine does not answer",
            found=str(error).splitlines()[0],
            where=where,
            remedy="start it (systemctl start docker, or dockerd &), run as root, and see: testbed doctor",
        ) from error
