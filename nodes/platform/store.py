"""State by digest: blobs of named tensors in a directory of the unit, each there once.

A **blob** is a group of named arrays, such as a model's weights. Its name is the SHA-256 of its content
(`nodes.learn.digest`), so a model's blob is called what summaries call its ``weights_sha256``, wherever it came from.

One process, the unit's agent, owns the directory (`Store`): it alone puts blobs there and drops them. Instances read
them (`read`), and write what they return beside them (`stage`); the agent takes it over from there (`Store.adopt`).
So nothing has to be locked, and an instance that dies leaves nothing in the store.

Hashing a blob takes longer than reading it. So it is hashed when it is made or comes from elsewhere, and its file is
then *sealed*: nobody may write to it (not its owner either, without asking for that first), and what the kernel says of
it is kept. Whoever reads a file whose seal is unbroken need not hash it again; all others do. What a seal does not
show is damage of the memory under the file system: that is no better kept than the memory of those who use it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError, RunError
from nodes.learn import tensorfile
from nodes.learn.digest import arrays_digest
from nodes.wire.codec import Tensors

_SUFFIX = ".safetensors"
_HEX = frozenset("0123456789abcdef")
PIECE, PIECES = 32 << 10, 64
"""Bytes of a piece at least, and how many there are at most."""
STAGING = "staging"
"""Directory beside the blobs in which instances have theirs."""
_READ_ONLY = 0o444

Seal = tuple[int, int, int, int]
"""Inode, bytes, and when content and inode of a blob's file last changed, ns. The last is nobody's to set."""


class DamagedError(RunError):
    """Raised when a blob is missing or not what its digest says."""

    def __init__(self, digest: str, found: str) -> None:
        super().__init__(
            f"blob {digest[:12]} cannot be used", wanted=f"content of digest {digest}", found=found,
            remedy="it is dropped; fetch it again from where it came from",
        )  # fmt: skip
        self.digest = digest


def path_of(directory: Path, digest: str) -> Path:
    """File of a blob (InputError: that is no digest, and might be a path to anywhere)."""
    if len(digest) != 64 or not _HEX.issuperset(digest):
        raise InputError("not a digest", wanted="64 hexadecimal digits", found=repr(digest[:80]))
    return directory / (digest + _SUFFIX)


def seal_of(path: Path) -> Seal:
    """What the seal of a file is now (OSError: there is no such file)."""
    about = os.stat(path)
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def read(directory: Path, digest: str, seal: Seal | None = None) -> Tensors:
    """A blob's arrays, verified: by the seal that its owner says it has, or if that is broken by its content.

    Raises:
        DamagedError: It is not there, or not what it was.
    """
    path = path_of(directory, digest)
    try:
        before = seal_of(path)
        arrays, _ = tensorfile.read(path)
        if before == seal == seal_of(path):
            return arrays
    except OSError:
        raise DamagedError(digest, "no such blob here") from None
    except InputError as error:
        raise DamagedError(digest, str(error.found)) from None
    found = arrays_digest(arrays)
    if found != digest:
        raise DamagedError(digest, f"content of digest {found}")
    return arrays


def stage(directory: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Write a blob for `Store.adopt` and return its digest; ``directory`` is the writer's own.

    Raises:
        RunError: There is no room for it.
    """
    digest = arrays_digest(arrays)
    path = path_of(directory, digest)
    if not path.exists():
        tensorfile.write(path, arrays, {}, _READ_ONLY)
    return digest


def reject(directory: Path, digests: Iterable[str]) -> None:
    """Remove what was staged there, and nobody takes; what is no digest is nobody's."""
    for digest in digests:
        with suppress(InputError):
            path_of(directory, digest).unlink(missing_ok=True)


class Store:
    """The blobs of one unit.

    Args:
        directory: Where they are; what is there already is taken over, so a unit keeps its blobs over a restart.
        limit: Bytes that they may take; beyond it those go that were not used for the longest time. None: no limit.
    """

    def __init__(self, directory: Path, limit: int | None = None) -> None:
        if limit is not None and limit <= 0:
            raise InputError("a store needs room", wanted="a limit above 0 bytes", found=str(limit))
        self.directory = directory
        self.limit = limit
        self._sizes: OrderedDict[str, int] = OrderedDict()  # bytes by digest, the one used last at the end
        self._seals: dict[str, Seal] = {}
        self._pins: Counter[str] = Counter()
        self.evicted = 0
        directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(directory / STAGING, ignore_errors=True)  # of instances that are gone
        self._take_over()
        self._trim(0)

    @property
    def bytes(self) -> int:
        """Bytes of all blobs."""
        return sum(self._sizes.values())

    def __contains__(self, digest: object) -> bool:
        return digest in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that are not here, each once, in the order given: what is to be fetched. Reads no file."""
        return [digest for digest in dict.fromkeys(digests) if digest not in self._sizes]

    def size(self, digest: str) -> int:
        """Bytes of a blob (DamagedError: it is not here)."""
        if digest not in self._sizes:
            raise DamagedError(digest, "no such blob here")
        return self._sizes[digest]

    def seals(self, digests: Iterable[str]) -> dict[str, Seal]:
        """The seals of these, for `read`; of what was here before the unit's agent there is none."""
        return {digest: self._seals[digest] for digest in digests if digest in self._seals}

    def get(self, digest: str) -> Tensors:
        """A blob's arrays, verified by their content: they are to go elsewhere.

        Raises:
            DamagedError: It is not here; or it is damaged, and has been dropped.
        """
        try:
            arrays = read(self.directory, digest)
        except DamagedError:
            self.drop(digest)
            raise
        self._touch(digest)
        return arrays

    def piece(self, digest: str, number: int) -> tuple[npt.NDArray[np.uint8], int]:
        """A piece of a blob's file, which is not verified, and how many there are (DamagedError: there is none)."""
        try:
            with open(path_of(self.directory, digest), "rb") as file:
                length = max(PIECE, -(-self.size(digest) // PIECES))
                file.seek(number * length)
                data = file.read(length)
        except OSError:
            raise DamagedError(digest, "no such blob here") from None
        if not data:
            raise DamagedError(digest, f"no piece {number} of it")
        return np.frombuffer(data, np.uint8), -(-self.size(digest) // length)

    def put(self, arrays: Mapping[str, npt.NDArray[Any]], digest: str = "") -> str:
        """Keep a blob and return its digest.

        Args:
            arrays: Its content.
            digest: What it should be, of a blob that came over the network.

        Raises:
            DamagedError: It is something else. RunError: There is no room beside what is pinned, or on the file system.
        """
        found = arrays_digest(arrays)
        if digest and digest != found:
            raise DamagedError(digest, f"content of digest {found}")
        if found in self._sizes:
            self._touch(found)
            return found
        path = path_of(self.directory, found)
        self._make_room(found, sum(int(a.nbytes) for a in arrays.values()))
        tensorfile.write(path, arrays, {}, _READ_ONLY)
        self._keep(found, path)
        return found

    def staging(self, name: str) -> Path:
        """Make a directory for one writer (`stage`); it is empty."""
        path = self.directory / STAGING / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def discard(self, staging: Path) -> None:
        """Remove a writer's directory, with all that it has in it."""
        shutil.rmtree(staging, ignore_errors=True)

    def adopt(self, staging: Path, digest: str) -> None:
        """Take a blob over from its writer; if it is here already, the writer's goes.

        Its content is not read again: its writer has hashed it, and nobody else has written to its directory since.

        Raises:
            DamagedError: The writer has none. RunError: There is no room beside what is pinned.
        """
        source = path_of(staging, digest)
        if digest in self._sizes:
            self._touch(digest)
            source.unlink(missing_ok=True)
            return
        if not source.is_file():
            raise DamagedError(digest, "its writer has not written it")
        try:
            self._make_room(digest, source.stat().st_size)
        except RunError:
            source.unlink(missing_ok=True)
            raise
        target = path_of(self.directory, digest)
        os.replace(source, target)
        self._keep(digest, target)

    def drop(self, digest: str) -> None:
        """Forget a blob, pinned or not; one that is not here is fine."""
        self._sizes.pop(digest, None)
        self._seals.pop(digest, None)
        path_of(self.directory, digest).unlink(missing_ok=True)

    def clear(self) -> None:
        """Drop all that is not pinned."""
        for digest in [digest for digest in self._sizes if not self._pins[digest]]:
            self.drop(digest)

    def pin(self, digests: Iterable[str]) -> None:
        """Keep these whatever room is needed; as often as it is pinned, a blob has to be unpinned."""
        self._pins.update(digests)

    def unpin(self, digests: Iterable[str]) -> None:
        """Take pins back."""
        self._pins.subtract(digests)
        self._pins = +self._pins
        self._trim(0)

    def _take_over(self) -> None:
        found: list[tuple[int, str, int]] = []
        for path in self.directory.iterdir():
            digest = path.name.removesuffix(_SUFFIX)
            if path.is_dir():
                continue
            if path.name.endswith(_SUFFIX) and len(digest) == 64 and _HEX.issuperset(digest):
                about = path.stat()
                found.append((about.st_mtime_ns, digest, about.st_size))
            elif path.name.startswith("."):
                path.unlink()  # half written when the unit ended
        self._sizes.update((digest, size) for _, digest, size in sorted(found))

    def _keep(self, digest: str, path: Path) -> None:
        self._seals[digest] = seal = seal_of(path)
        self._sizes[digest] = seal[1]
        self._trim(0, but=digest)

    def _touch(self, digest: str) -> None:
        if digest not in self._sizes:
            return
        self._sizes.move_to_end(digest)
        seal, path = self._seals.pop(digest, None), path_of(self.directory, digest)
        with suppress(FileNotFoundError):  # whoever reads it finds out
            unbroken = seal == seal_of(path)
            os.utime(path)  # for the order after a restart
            if unbroken:
                self._seals[digest] = seal_of(path)

    def _make_room(self, digest: str, size: int) -> None:
        pinned = sum(bytes_ for held, bytes_ in self._sizes.items() if self._pins[held])
        if self.limit is not None and pinned + size > self.limit:
            raise RunError(
                f"no room for blob {digest[:12]} in the store", where=str(self.directory),
                wanted=f"{size} bytes", found=f"{self.limit - pinned} of {self.limit}, {pinned} are pinned",
                remedy="give the unit a larger store, or fewer tasks at once",
            )  # fmt: skip
        self._trim(size)

    def _trim(self, room: int, but: str = "") -> None:
        if self.limit is None:
            return
        over = self.bytes + room - self.limit
        for digest in list(self._sizes):
            if over <= 0:
                return
            if not self._pins[digest] and digest != but:
                over -= self._sizes[digest]
                self.evicted += 1
                self.drop(digest)
