"""Experiments for tests: a good file as text, and a way to write variants of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """\
name: good
seed: 5
sites:
  north: {at: [0, 0]}
  south: {at: [100, 0], edge: {profile: tiny-edge}}
cloud: {}
devices:
  dev: {profile: tiny-device, count: 2, at: north}
  lone: {profile: pi4, at: south}
links:
  access: {rate: {up: 20Mbit, down: 40Mbit}, delay: 4ms, jitter: 1ms, loss: 0.1%, queue: 100ms}
  north -- south: {rate: 100Mbit, delay: 5ms}
  north -- cloud: {rate: 50Mbit}
mobility:
  moves:
    - {device: dev-1, to: south, round: 2, progress: 50%}
workload:
  scheme: [splitfed, fedfly]
  model: vgg5
  cut: 4
  rounds: 3
"""
"""Lines count from 1: ``sites`` is on 3, ``devices`` on 7, ``links`` on 10, ``mobility`` on 14, ``workload`` on 17."""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the good file with replacements (each must apply), or any text, and returns its path."""

    def write(*replacements: tuple[str, str], text: str = GOOD, name: str = "exp.yaml") -> Path:
        for old, new in replacements:
            assert text.count(old) == 1, f"{old!r} is in the text {text.count(old)} times"
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
