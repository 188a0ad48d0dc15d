"""What system tests of links share: namespaces to put ends in, and a relay."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.emulation import netns
from testbed.emulation.links.relay import RelayEmulator


@pytest.fixture
def places() -> Iterator[Callable[[], str]]:
    """Makes namespaces; all are gone afterwards."""
    made: list[str] = []

    def make() -> str:
        name = f"rbt{uuid.uuid4().hex[:10]}"
        made.append(name)
        return netns.create(name)

    yield make
    for name in made:
        netns.delete(name)


@pytest.fixture
def relay() -> Iterator[RelayEmulator]:
    """A relay that runs. ROAMBED_TEST_RELAY names the program, say one with sanitizers (native/Makefile)."""
    program = os.environ.get("ROAMBED_TEST_RELAY")
    emulator = RelayEmulator(seed=1, program=Path(program) if program else None)
    emulator.open()
    yield emulator
    emulator.close()
