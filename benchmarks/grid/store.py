"""What was measured so far, a line a cell: an interrupted grid goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar


class Cell(Protocol):
    """One question of a grid; its name is unique."""

    @property
    def name(self) -> str: ...


class Result(Protocol):
    """What one cell came to: a dataclass with these, and what else a benchmark keeps.

    Attributes:
        cell: Its name. mark: Fingerprint of what was measured; see `mark`.
        failed: Why it could not be measured; empty if it was.
        took_s: Seconds of all that the cell needed.
    """

    @property
    def cell(self) -> str: ...
    @property
    def mark(self) -> str: ...
    @property
    def failed(self) -> str: ...
    @property
    def took_s(self) -> float: ...


C = TypeVar("C", bound=Cell)
R = TypeVar("R", bound=Result)


def mark(*what: Any) -> str:
    """A fingerprint of what a stored result must agree in to count; plain data, or what becomes plain as JSON."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


class Store(Generic[R]):
    """Results in a file of JSON lines.

    Args:
        path: Where; made when the first result comes.
        kind: The dataclass that they are of.
    """

    def __init__(self, path: Path, kind: Callable[..., R]) -> None:
        self.path = path
        self.kind = kind
        self._found: dict[str, R] = {}
        lines = path.read_text().splitlines() if path.is_file() else []
        for line in lines:
            try:
                found = kind(**json.loads(line))
            except (ValueError, TypeError):
                continue  # the line that was being written when the machine went down: that cell is measured again
            self._found[found.cell] = found

    def get(self, cell: str, mark: str) -> R | None:
        """The result of a cell, if it was measured under the same conditions and did not fail."""
        found = self._found.get(cell)
        return found if found is not None and found.mark == mark and not found.failed else None

    def add(self, found: R) -> None:
        """Keep a result, at once."""
        self._found[found.cell] = found
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.is_file() and not self.path.read_text().endswith("\n")
        with self.path.open("a") as file:
            file.write(("\n" if torn else "") + _line(found))

    def forget(self, cells: Iterable[str]) -> None:
        """These are on a page: the next run measures them anew. What another list has left stays."""
        gone = set(cells)
        self._found = {cell: found for cell, found in self._found.items() if cell not in gone}
        if not self.path.is_file():
            return
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(map(_line, self._found.values())))
        partial.replace(self.path)


def _line(found: Any) -> str:
    return json.dumps(asdict(found)) + "\n"
