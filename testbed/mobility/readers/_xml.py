"""XML as a stream: expat, piece by piece, without document types, entities or unbounded anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.parsers import expat

from testbed.errors import InputError
from testbed.mobility.readers._source import HEAD, Source
from testbed.mobility.row import Row

DEEPEST = 64
"""Elements within elements at most; traces have a handful."""
LONGEST_TOKEN = 1 << 20
"""Bytes of a tag with its attributes, of a comment or of a run of text at most."""
Attributes = dict[str, str]


class Elements:
    """What a reader sees of a document; made by `stream`.

    Attributes:
        source: The file.
        depth: Elements that are open, the one that begins or ends with them.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = HEAD
        self._rows: list[Row] = []
        self._lines: list[int] = []

    @property
    def line(self) -> int:
        """Line at which the parser is."""
        return self.parser.CurrentLineNumber

    @property
    def where(self) -> str:
        """File and line at which the parser is."""
        return self.source.at(self.parser.CurrentLineNumber)

    def put(self, row: Row) -> None:
        """Yield a row."""
        self._rows.append(row)
        self._lines.append(self.parser.CurrentLineNumber)

    def taken(self) -> tuple[list[Row], list[int]]:
        """Rows that were put, and their lines."""
        rows, lines, self._rows, self._lines = self._rows, self._lines, [], []
        return rows, lines


def stream(
    elements: Elements,
    begin: Callable[[str, Attributes], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> Iterator[Row]:
    """Read a document to its end; yields what the callbacks put.

    Args:
        elements: The document.
        begin: Told each element's name, without prefix, and attributes.
        end: Told each element's name when it ends.
        text: Told text, in pieces.

    Raises:
        InputError: It is not well-formed, cut off, in an encoding that is not read, or has a document type, which
            traces need not and bombs do.
    """
    parser, source = elements.parser, elements.source
    source.bound_lines = False  # all may be in one line; tokens are bounded instead
    encoding: str | None = None

    def began(name: str, attributes: Attributes) -> None:
        elements.depth += 1
        if elements.depth > DEEPEST:
            raise InputError(
                "elements are nested too deeply", wanted=f"at most {DEEPEST} levels", found=f"<{name[:40]}>",
                where=elements.where, remedy="is this a trace?",
            )  # fmt: skip
        begin(name.rpartition(":")[2], attributes)

    def ended(name: str) -> None:
        if end is not None:
            end(name.rpartition(":")[2])
        elements.depth -= 1

    def declared(_: str, name: str | None, __: int) -> None:
        nonlocal encoding
        encoding = name

    def refuse(*_: object) -> None:
        raise InputError(
            "a trace has no document type or entities", wanted="XML without <!DOCTYPE>", found="<!DOCTYPE",
            where=elements.where, remedy="take the declaration out",
        )  # fmt: skip

    parser.StartElementHandler = began
    parser.EndElementHandler = ended
    parser.XmlDeclHandler = declared
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    if text is not None:
        parser.CharacterDataHandler = text
    fed = 0
    while True:
        chunk = source.read1(HEAD)
        try:
            parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            raise InputError(
                f"this is not well-formed XML: {expat.ErrorString(error.code)}",
                wanted="the whole file" if not chunk else "well-formed XML",
                found="its end" if not chunk else None,
                where=source.at(error.lineno), remedy="is the file cut off?" if not chunk else "write the file again",
            ) from None  # fmt: skip
        except (LookupError, ValueError):
            if elements.depth:  # it is the reader's; encodings are looked up before the first element
                raise
            raise InputError(
                "the XML is in an encoding that is not read", wanted="UTF-8", found=(encoding or "none")[:60],
                where=elements.where, remedy="save it as UTF-8, and let its first line say so",
            ) from None  # fmt: skip
        fed += len(chunk)
        if fed - max(0, parser.CurrentByteIndex) > LONGEST_TOKEN:
            raise InputError(
                "a piece of the XML is too long", wanted=f"tags and texts of at most {LONGEST_TOKEN >> 20} MiB",
                where=elements.where, remedy="is this a trace?",
            )  # fmt: skip
        rows, lines = elements.taken()
        for row, line in zip(rows, lines, strict=True):
            source.line = line.__int__
            yield row
        if not chunk:
            return
