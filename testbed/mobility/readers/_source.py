"""The bytes of a trace: plain, gzip, xz or one member of a zip archive, read once from front to end within bounds."""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from testbed.errors import InputError
from testbed.mobility.project import Plane

HEAD = 1 << 16
"""Bytes from which a format is told."""
LONGEST_LINE = 8 << 20
"""Bytes in a line at most; BonnMotion has a node's whole way in one."""
MOST_BYTES = 4 << 30
"""Bytes, unpacked, at most: some hundred million rows."""
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


class Source(BufferedIOBase):
    """A trace as bytes; knows how far it has been read, for errors.

    Attributes:
        path: The file; a zip archive's member is named as if the archive were a directory.
        head: Its first bytes.
        plane: Where latitudes and longitudes go; without one, the first position becomes the origin.
        lines: Lines read so far; readers are some ahead of what they yield.
        line: Gives the line of the row yielded last.
        bound_lines: Whether long lines are refused. XML has its own bounds.
    """

    def __init__(self, path: Path, inner: BufferedIOBase, plane: Plane | None) -> None:
        self.path = path
        self.plane = plane
        self.lines = 0
        self.line: Callable[[], int] = lambda: 1
        self.bound_lines = True
        self._inner = inner
        self._total = 0
        self._since = 0
        self._error: Exception | None = None
        self.head = self._first()
        self._ahead = self.head

    def _first(self) -> bytes:
        head = b""
        while len(head) < HEAD and self._error is None:
            try:
                more = self._inner.read1(HEAD - len(head))
            except _BROKEN as error:  # told when what came before it has been read, so that the line is right
                self._error = error
                break
            if not more:
                break
            head += more
        return head

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most so many bytes; the same as `read1`, which is all that readers need."""
        return self.read1(HEAD if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """The next bytes, at most ``size``; none at the end (InputError: the file is broken, or out of bounds)."""
        size = HEAD if size < 0 else size
        if self._ahead:
            chunk, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            try:
                if self._error is not None:
                    raise self._error
                chunk = self._inner.read1(size)
            except _BROKEN as error:
                raise self._broken(error) from None
        self._count(chunk)
        return chunk

    def check_head(self) -> None:
        """Refuse a file that broke before its first bytes could be unpacked (InputError): what came out is noise."""
        if self._error is not None:
            raise self._broken(self._error)

    def _count(self, chunk: bytes) -> None:
        self._total += len(chunk)
        if self._total > MOST_BYTES:
            raise InputError(
                "the trace is too large", wanted=f"at most {MOST_BYTES >> 30} GiB unpacked", found="more",
                where=f"{self.path}:{self.lines + 1}", remedy="take a part of it",
            )  # fmt: skip
        self.lines += chunk.count(b"\n")
        last = chunk.rfind(b"\n")
        self._since = self._since + len(chunk) if last < 0 else len(chunk) - last - 1
        if self.bound_lines and self._since > LONGEST_LINE:
            raise InputError(
                "a line is too long", wanted=f"at most {LONGEST_LINE >> 20} MiB",
                where=f"{self.path}:{self.lines + 1}", remedy="is this text, with line ends?",
            )  # fmt: skip

    def _broken(self, error: Exception) -> InputError:
        if isinstance(error, EOFError) or "end-of-stream" in str(error) or "incomplete" in str(error):
            problem, remedy = "the packed file is cut off", "fetch or pack it again"
        elif isinstance(error, RuntimeError):
            problem, remedy = "the archive's member cannot be unpacked", "unpack it, and name the file"
        else:
            problem, remedy = "the packed file is broken", "fetch or pack it again"
        return InputError(problem, found=str(error), where=f"{self.path}:{self.lines + 1}", remedy=remedy)

    def text(self) -> TextIO:
        """The rest as text with the lines' own ends."""
        text = io.TextIOWrapper(cast(BinaryIO, self), encoding="utf-8-sig", newline="")
        text._CHUNK_SIZE = HEAD  # type: ignore[attr-defined]  # 8 KiB by default: half the speed
        return text

    def project(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Metres of a position (ValueError: there is no such place, or too far from the others)."""
        if self.plane is None:
            self.plane = Plane(latitude, longitude)
        return self.plane.to_metres(latitude, longitude)

    def at(self, line: int) -> str:
        """A line of the file as errors name it."""
        return f"{self.path}:{line}"


@contextmanager
def opened(path: Path, *, named_at: str | None = None, plane: Plane | None = None) -> Iterator[Source]:
    """A trace, opened (InputError if it cannot be)."""
    with ExitStack() as stack:
        try:
            source = Source(path, _unpacked(path, stack, named_at), plane)
        except (OSError, ValueError) as error:  # a path with a null byte is a ValueError
            raise _unreadable(path, error, named_at) from None
        try:
            yield source
        except OSError as error:
            raise _unreadable(path, error, named_at) from None


def _unreadable(path: Path, error: Exception, named_at: str | None) -> InputError:
    return InputError(
        f"the trace cannot be read ({getattr(error, 'strerror', None) or error})",
        wanted=str(path),
        where=named_at or str(path),
        remedy="a trace is found relative to the experiment file",
    )


def _unpacked(path: Path, stack: ExitStack, named_at: str | None) -> BufferedIOBase:
    archive = next((p for p in path.parents if p.is_file()), None)
    if archive is not None:
        return _member(archive, str(path.relative_to(archive)), stack)
    if path.exists() and not path.is_file():
        raise InputError("the trace is not a file", found=str(path), where=named_at or str(path))
    file = stack.enter_context(path.open("rb"))
    magic = file.peek(6)[:6]
    if magic.startswith(b"\x1f\x8b"):
        return cast(BufferedIOBase, stack.enter_context(gzip.GzipFile(fileobj=file)))
    if magic == b"\xfd7zXZ\0":
        return cast(BufferedIOBase, stack.enter_context(lzma.LZMAFile(file)))
    if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _member(path, None, stack)
    return file


def _member(archive: Path, name: str | None, stack: ExitStack) -> BufferedIOBase:
    """A member of a zip archive: the one named, or the only one."""
    try:
        packed = stack.enter_context(zipfile.ZipFile(archive))
        names = [n for n in packed.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
        if name is None and len(names) != 1:
            raise InputError(
                "the archive holds several files" if names else "the archive is empty", wanted="one trace",
                found=", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or None,
                where=f"{archive}:1", remedy=f"name one: {archive.name}/{names[0]}" if names else "name another",
            )  # fmt: skip
        if name is not None and name not in names:
            raise InputError(
                f"the archive has no file {name!r}", wanted=", ".join(names[:3]), found=name, where=str(archive),
                remedy="name a member as if the archive were a directory",
            )  # fmt: skip
        return cast(BufferedIOBase, stack.enter_context(packed.open(name or names[0])))
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(
            "the archive cannot be opened", wanted="a zip archive without a password", found=str(error),
            where=f"{archive}:1", remedy="fetch or pack it again",
        ) from None  # fmt: skip
