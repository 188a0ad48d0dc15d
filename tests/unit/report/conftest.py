from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.report.sample import make_run


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both schemes, for tests that only read it."""
    return make_run(tmp_path_factory.mktemp("both"))


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Path]:
    """Makes runs in ``tmp_path / "runs"``."""

    def make(run: str = "fedfly-1121-023000-a3", **changes: Any) -> Path:
        return make_run(tmp_path / "runs", run, **changes)

    return make
