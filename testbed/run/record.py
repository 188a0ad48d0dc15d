"""The run directory: what is written while a run goes on, so that whatever happens what was measured is kept."""

from __future__ import annotations

import csv
import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from nodes.events import Span
from testbed.emulation.links.shape import LinkCalibration
from testbed.errors import EnvironmentProblem

METRICS = (
    "scheme", "round", "device", "time_s", "batches", "compute_s", "wait_s", "late_steps", "accuracy", "loss",
)  # fmt: skip


def new_run_id(name: str) -> str:
    """An id that sorts by time and fits into socket paths: ``fedfly-1121-143005-a3``."""
    return f"{name[:14]}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(1)}"


class RunDirectory:
    """``runs/<id>/``, with a subdirectory per scheme where a run has several.

    Raises:
        EnvironmentProblem: The directory cannot be made.
    """

    def __init__(self, base: Path, run_id: str) -> None:
        self.path = base / run_id
        self.run_id = run_id
        self._made_base = not base.exists()
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise EnvironmentProblem(
                "cannot make the run's directory",
                where=str(self.path),
                found=str(error),
                remedy="choose another with --runs DIR",
            ) from None

    def write_json(self, name: str, content: Any, *, scheme: str | None = None, compact: bool = False) -> Path:
        """Write a JSON file, whole or not at all; ``compact`` without spaces and lines."""
        path = self.place(scheme) / name
        partial = path.with_suffix(".partial")
        form: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
        partial.write_text(json.dumps(content, default=_plain, **form) + "\n")
        partial.replace(path)
        return path

    def place(self, scheme: str | None = None) -> Path:
        """The run's directory, or that of one of its schemes."""
        path = self.path / scheme if scheme else self.path
        path.mkdir(exist_ok=True)
        return path

    def discard(self) -> None:
        """Take the directory away again: the run could not begin, and there is nothing in it."""
        self.path.rmdir()
        if self._made_base:
            with suppress(OSError):  # somebody else's run has begun there meanwhile
                self.path.parent.rmdir()

    def hand_over(self) -> None:
        """Give all files to the user who called sudo."""
        uid, gid = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
        if os.geteuid() or uid is None or gid is None:
            return
        mine = [self.path, *self.path.rglob("*")]
        if self.path.parent.stat().st_uid == 0 and self.path.parent.name == "runs":
            mine.append(self.path.parent)
        for path in mine:
            os.chown(path, int(uid), int(gid))


class EventLog:
    """``events.jsonl``: one span a line, written as it comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._encode = msgspec.json.Encoder().encode
        self.spans: list[Span] = []

    def add(self, spans: Iterable[Span]) -> None:
        """Write spans and keep them for the summary."""
        for span in spans:
            self.spans.append(span)
            self._file.write(self._encode(span) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; the spans stay in memory."""
        self._file.close()


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """``metrics.csv``: one row a device and round."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, METRICS)
        writer.writeheader()
        writer.writerows([{k: row.get(k) for k in METRICS} for row in rows])


def plain_calibration(links: Iterable[LinkCalibration]) -> list[dict[str, Any]]:
    """Calibration as plain data. Tables of distributions, thousands of numbers long, are told by their names."""
    found: list[dict[str, Any]] = [msgspec.to_builtins(link) for link in links]
    for link in found:
        for shape in (link[way][which] for way in ("ab", "ba") for which in ("asked", "read_back")):
            shape["spread"]["table"] = []
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return msgspec.to_builtins(value)
