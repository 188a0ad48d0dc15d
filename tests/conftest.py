"""What every test gets: skips with a reason where the machine lacks something, and a check for leaks.

With ``ROAMBED_REQUIRE_DOCKER=1`` a test that would be skipped for want of root, engine or image fails instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from testbed.emulation.fabric import LABEL, owner_of
from tests.support import IMAGE, eventually

_CGROUPS = Path("/sys/fs/cgroup")


@cache
def _no_root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


@cache
def _no_docker() -> str | None:
    from testbed.emulation.containers import Engine
    from testbed.errors import RoambedError

    try:
        with Engine() as engine:
            engine.require_image(IMAGE)
    except RoambedError as error:
        return error.message
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="N/M", default="1/1", help="run the tests of every M-th file, from the N-th on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    first, of = map(int, config.getoption("--part").split("/"))
    mine = set(sorted({item.path for item in items})[first - 1 :: of])
    config.hook.pytest_deselected(items=[item for item in items if item.path not in mine])
    items[:] = [item for item in items if item.path in mine]


def pytest_runtest_setup(item: pytest.Item) -> None:
    lacks = (_no_root() if item.get_closest_marker("root") else None) or (
        _no_docker() if item.get_closest_marker("docker") else None
    )
    if lacks is None:
        return
    if os.environ.get("ROAMBED_REQUIRE_DOCKER") == "1":
        pytest.fail(f"needed, but this machine lacks it: {lacks}", pytrace=False)
    pytest.skip(lacks)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests that make things on this machine leave none of them behind.

    They keep their ledgers in a directory of their own. As everything they make is marked with its path, tests see
    only what is theirs, also while others (or a user's runs) make and remove things on the same machine.
    """
    if not (request.node.get_closest_marker("root") or request.node.get_closest_marker("docker")):
        yield
        return
    runs = Path("/run") / f"rbtest-{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**6}"
    monkeypatch.setenv("ROAMBED_RUN_DIR", str(runs))
    before = _Machine.now()
    yield
    left: dict[str, set[str]] = {}

    def nothing_left() -> bool:
        left.clear()
        left.update(_Machine.now().more_than(before, runs))
        return not left

    try:
        # The kernel takes namespaces and cgroups apart in the background.
        assert eventually(nothing_left), f"left behind: {left}"
    finally:
        if left or runs.is_dir():
            from testbed.emulation.clean import clean

            clean(force=True)
            shutil.rmtree(runs, ignore_errors=True)


class _Machine:
    """What there is on this machine that a test may have made."""

    def __init__(self) -> None:
        self.at = time.time()
        self.seen: dict[str, set[str]] = {
            "namespaces": set(_entries(Path("/run/netns"))),
            "interfaces": set(_entries(Path("/sys/class/net"))),
            "children": _children(),
            "cgroups": _cgroups(),
        }

    @classmethod
    def now(cls) -> _Machine:
        return cls()

    def more_than(self, before: _Machine, runs: Path) -> dict[str, set[str]]:
        ours = set()
        for name in self.seen["namespaces"]:
            if name.startswith("rb-"):
                mark = _mark(name)
                new = name not in before.seen["namespaces"]
                if (mark or "").startswith(f"{LABEL}{runs}:") or (mark is None and new):
                    ours.add(name)
        cgroups = self.seen["cgroups"] - before.seen["cgroups"]
        more = {
            "namespaces": ours,
            # veth and TAP interfaces of the fabric have no business in the host's own namespace.
            "interfaces": {
                name
                for name in self.seen["interfaces"] - before.seen["interfaces"]
                if name[:1] in "pb" and any(ch.isdigit() for ch in name)
            },
            "children": self.seen["children"] - before.seen["children"],
            "containers": set(_containers(runs)),
            "cgroups": cgroups & _made_since(before.at, runs) if cgroups else set(),
            "runs": {name for name in _entries(runs) if not name.startswith("bystander")},
        }
        return {kind: names for kind, names in more.items() if names}


def _entries(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _children() -> set[str]:
    found = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return {line.strip() for line in found.stdout.splitlines() if not line.strip().endswith(" ps")}


def _mark(namespace: str) -> str | None:
    return owner_of(f"/run/netns/{namespace}")


def _cgroups() -> set[str]:
    """Ids of containers that have a cgroup, whatever the version and the driver."""
    memory = _CGROUPS / "memory"
    base = memory if memory.is_dir() else _CGROUPS
    names = [*_entries(base / "docker"), *_entries(base / "system.slice")]
    return {name.removeprefix("docker-").removesuffix(".scope") for name in names if len(name) >= 64}


def _containers(runs: Path) -> list[str]:
    if _no_docker():
        return []
    from testbed.emulation.containers import PLACE, Engine

    with Engine() as engine:
        listed = engine.api.containers(all=True, filters={"label": f"{PLACE}={runs}"})
    return [item["Names"][0].lstrip("/") for item in listed]


def _made_since(since: float, runs: Path) -> set[str]:
    """Ids of the containers that this test has made, be they there or gone."""
    if _no_docker():
        return set()
    from testbed.emulation.containers import PLACE, Engine

    wanted = {"label": f"{PLACE}={runs}", "event": "create"}
    with Engine() as engine:
        events = engine.api.events(since=since, until=time.time(), filters=wanted, decode=True)
        return {event["id"] for event in events}
