"""What the tests of all benchmarks ask of what is kept on the way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.grid.store import Store


def kept(path: Path, kind: type[Any], found: Iterable[Any]) -> dict[str, Any]:
    """Results by name, as they are read again after they were written to a file."""
    store = Store(path, kind)
    names = []
    for one in found:
        store.add(one)
        names.append(one.cell)
    again = Store(path, kind)
    return {name: again.get(name, "m") for name in names}
