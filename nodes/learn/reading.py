"""What readers of data sets share: finding and unpacking standard files, holding a part out, counting bad rows.

What is missing or damaged is told with its place.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError
from nodes.learn import keyed

Samples = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
T = TypeVar("T")

_SKIPPED = 0.05
"""Share of malformed rows that a file may have: above it is not the file that it is taken for."""


class Read(NamedTuple):
    """A data set as it was read: training samples and their classes, test samples and theirs, and what was left out."""

    train_x: Samples
    train_y: Labels
    test_x: Samples
    test_y: Labels
    notes: tuple[str, ...] = ()


def hold_out(n: int, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices to train with and to test with: a fifth is held out.

    The split is part of the set, so no experiment's seed is in it.
    """
    order = keyed.permutation(n, 0, "", f"{name}/split")
    tests = n // 5 + 1
    return order[tests:], order[:tests]


def rows(path: Path, lines: Iterable[tuple[int, str]], parse: Callable[[str], T]) -> tuple[list[T], tuple[str, ...]]:
    """What ``parse`` makes of each line; malformed ones (it raises ValueError) are skipped, counted and told.

    Args:
        path: The file.
        lines: Their numbers, and they.
        parse: Makes a row of one.

    Raises:
        InputError: There is no row, or one in twenty is malformed.
    """
    found: list[T] = []
    bad: list[tuple[int, str]] = []
    for number, line in lines:
        try:
            found.append(parse(line))
        except ValueError as error:
            bad.append((number, str(error)))
    if bad and len(bad) >= _SKIPPED * (len(bad) + len(found)):
        raise damaged(
            path, "a row of the set", bad[0][1] + (f", and {len(bad) - 1} more rows like it" if bad[1:] else ""),
            line=bad[0][0],
        )  # fmt: skip
    if not found:
        raise damaged(path, "rows of data", "none")
    if not bad:
        return found, ()
    many = "rows were" if bad[1:] else "row was"
    return found, (f"{len(bad)} malformed {many} skipped, the first at {path}:{bad[0][0]} ({bad[0][1]})",)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers, of a UTF-8 text, plain or packed."""
    for number, line in enumerate(content(path).split(b"\n"), 1):
        try:
            text = line.decode("utf-8").strip("\r")
        except UnicodeDecodeError:
            raise damaged(path, "UTF-8 text", "other bytes", line=number) from None
        if text.strip():
            yield number, text


def existing(name: str, directory: Path | None, usual: str) -> Path:
    """The directory, or the one of the usual name in it."""
    remedy = f"set workload.data.dir to the directory that holds the files of {name}"
    if directory is None:
        raise InputError(f"the data set {name} needs a directory", remedy=remedy)
    if not directory.is_dir():
        raise InputError("data directory not found", where=str(directory), remedy=remedy)
    return directory / usual if (directory / usual).is_dir() else directory


def either(base: Path, name: str, packed: str) -> Path | None:
    """The file of that name, plain or packed; None if there is neither."""
    return next((path for path in (base / name, base / (name + packed)) if path.is_file()), None)


def only(base: Path, pattern: str) -> Path | None:
    """The one file of this pattern, plain or packed; None unless there is exactly one."""
    found = [*base.glob(pattern), *base.glob(f"{pattern}.xz")]
    return found[0] if len(found) == 1 else None


def content(path: Path) -> bytes:
    """The file's bytes, unpacked as its name says."""
    try:
        packed = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(packed)
        return lzma.decompress(packed) if path.suffix == ".xz" else packed
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise damaged(path, "a whole file", str(error) or type(error).__name__) from None


def damaged(path: Path, wanted: str, found: str, line: int | None = None) -> InputError:
    """The error that a file is not what it should be."""
    return InputError(
        "data file is damaged", where=str(path) if line is None else f"{path}:{line}", wanted=wanted, found=found,
        remedy="fetch the file again",
    )  # fmt: skip
