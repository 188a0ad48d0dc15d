"""Devices that join and leave by a table: from the file to the timeline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from testbed.experiment import resolve
from testbed.experiment.changes import Move
from testbed.experiment.document import Document
from testbed.experiment.model import Spec
from testbed.mobility import availability
from testbed.mobility.associate import Presence
from testbed.mobility.timeline import Down, Timeline, ordered


def path(spec: Spec, document: Document) -> Path | None:
    """The table that says when devices are there; None without one."""
    asked = spec.mobility.presence.file
    return None if asked is None else document.path.parent / asked


def presence(spec: Spec, document: Document) -> Presence | None:
    """When devices are there, of those that the table names; None without one.

    Raises:
        InputError: The table cannot be used.
    """
    table = path(spec, document)
    if table is None:
        return None
    names = {group: resolve.device_names(spec, group) for group in spec.devices}
    names |= {device: [device] for device in resolve.devices(spec) if device not in names}
    return availability.read(table, names, named_at=document.where(("mobility", "presence")))


def standing(timeline: Timeline, stays: Presence | None) -> Timeline:
    """The timeline, and when those devices come and go that do not move in it."""
    if stays is None:
        return timeline
    still = {device: mine for device, mine in stays.items() if device not in timeline.starts}
    return replace(timeline, down=timeline.down | availability.absences(still))


def scripted(moves: Iterable[Move], stays: Presence | None, spec: Spec, document: Document) -> Timeline:
    """The timeline of scripted moves. Who is to move while it is away comes back there; it takes no detour.

    Raises:
        InputError: A device is to move that does not come back.
    """
    found = list(moves)
    if stays is None:
        return Timeline({}, ordered(found))
    down = availability.absences(stays)
    for i, move in enumerate(spec.mobility.moves):
        if move.at is not None and _back(move.at, down.get(move.device, ())) == math.inf:
            raise document.problem(
                ("mobility", "moves", i), f"{move.device!r} is away then, and does not come back",
                wanted="a move of a device that is there, or comes back later", found=f"away by {path(spec, document)}",
                remedy="take the move out, or let the device join again",
            )  # fmt: skip
    homes = {device: spec.devices[group].at or "" for device, group in resolve.devices(spec).items()}
    return Timeline({}, ordered(_when_back(found, down, homes)), 0.0, {}, down)


def _when_back(moves: list[Move], down: Mapping[str, tuple[Down, ...]], homes: Mapping[str, str]) -> list[Move]:
    """The moves, those during an absence at its end: the last of them, and none where it leads to where it was."""
    found = [move for move in moves if move.at is None]
    by_rounds = {move.device for move in found}
    here = dict(homes)
    timed: dict[tuple[str, float], Move] = {}
    for move in ordered(move for move in moves if move.at is not None):
        assert move.at is not None, "those are left"
        due = _back(move.at, down.get(move.device, ()))
        timed[move.device, due] = replace(move, at=due)
    for move in ordered(timed.values()):
        if move.to != here[move.device] or move.device in by_rounds:
            found.append(move)
        here[move.device] = move.to
    return found


def _back(at: float, downs: Iterable[Down]) -> float:
    """When a device that is away at a moment is there again; that moment if it is there."""
    return next((down.end for down in downs if down.begin <= at < down.end), at)
