"""Movement traces, whole, whose nodes are called as devices are. Parts of traces and other names: `select`.

Any format of `testbed.mobility.readers` will do. A trace that breaks a rule is refused with the line that does:
nothing is guessed or repaired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from testbed.errors import InputError
from testbed.experiment.problems import did_you_mean
from testbed.mobility.readers import opened_trace
from testbed.mobility.row import FAR, Row

__all__ = ["FAR", "Row", "read"]


def read(path: Path, nodes: Collection[str], *, named_at: str | None = None) -> Iterator[Row]:
    """The rows of a trace, one at a time.

    Args:
        path: The file.
        nodes: Names that it may use.
        named_at: Place that names the trace, for the error if there is no such file.

    Raises:
        InputError: The file cannot be read or breaks the format.
    """
    known = set(nodes)
    with opened_trace(path, named_at=named_at) as trace:
        for row in trace.rows():
            if row.node not in known:
                raise unknown(row.node, nodes, trace.where())
            yield row


def unknown(node: str, nodes: Collection[str], where: str) -> InputError:
    """For a name that no device has."""
    return InputError(
        f"the trace names {node!r}, which is no device of the experiment",
        wanted=", ".join(sorted(nodes)),
        found=node,
        where=where,
        remedy=did_you_mean(node, nodes) or f"add a device {node!r}, or take its rows out",
    )
