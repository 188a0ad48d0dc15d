"""Limits of a container where cgroups are of version 2; where they are of version 1, see ``make test-netem``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from testbed.emulation.cgroups import Cgroup
from testbed.emulation.containers import Container, Engine
from tests.support import IDLE, MEMORY, node, run_id

pytestmark = pytest.mark.docker


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


@pytest.fixture
def container(engine: Engine) -> Iterator[Container]:
    made = engine.start(run_id(), node("dev-1", "device"), IDLE)
    if Cgroup.of(made.pid).version != 2:
        engine.remove(made.id)
        pytest.skip("cgroups are of version 1 here: make test-netem")
    yield made
    engine.remove(made.id)


def test_limits_are_read_back(engine: Engine, container: Container) -> None:
    cgroup = Cgroup.of(container.pid)
    assert cgroup.limits().quota is None, "nodes start unthrottled"
    engine.limit(container.id, node("dev-1", "device"))
    found = cgroup.limits()
    assert (found.cpus, found.period, found.memory) == (pytest.approx(0.3), pytest.approx(0.1), MEMORY)
    engine.limit(container.id, replace(node("dev-1", "device"), cpus=1.5, memory=2 * MEMORY))
    assert (cgroup.limits().cpus, cgroup.limits().memory) == (pytest.approx(1.5), 2 * MEMORY)


def test_use_is_counted(container: Container) -> None:
    cgroup = Cgroup.of(container.pid)
    first = cgroup.cpu()
    time.sleep(0.2)
    second = cgroup.cpu()
    assert 0 < first.usage_s <= second.usage_s < first.usage_s + 0.1, "it waits"
    assert 0 < cgroup.memory().working <= cgroup.memory().usage < MEMORY
