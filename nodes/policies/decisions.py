"""What an adaptive run decided, as plain records: written down, and replayed later.

A decision names the place in the training where it takes effect, not a time alone: a run that is given the decisions of
another one does the same with the same micro-batches, whatever its links do, and ends with the same weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nodes.errors import InputError
from nodes.policies.layout import Layout

Position: TypeAlias = tuple[int, int, int]
"""Round, batch, micro-batch: the first one that a decision is for."""

VERSION = 1
KINDS = ("probe", "plan")
ACTS = ("begin", "probe", "wait", "put off", "keep", "prepare", "change")
"""``begin``: the layout that training began with, so that a file of decisions has all that was ever at work."""


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        kind: ``probe`` or ``plan``.
        act: What is done; one of `ACTS`.
        why: In words.
        now: When it was made, s.
        position: From where in the training on.
        device: Whose.
        layout: The layout to prepare or to change to.
        depths: Micro-batches in flight with it.
        figures: What it stands on: seconds, bytes, shares by name.
    """

    kind: str
    act: str
    why: str
    now: float
    position: Position = (0, 0, 0)
    device: str = ""
    layout: Layout | None = None
    depths: tuple[int, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "version": VERSION, "kind": self.kind, "act": self.act, "why": self.why, "now": self.now,
            "position": list(self.position), "device": self.device,
            "layout": None if self.layout is None else self.layout.as_dict(), "depths": list(self.depths),
            "figures": dict(self.figures),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Inverse of `as_dict` (InputError if it is something else)."""
        try:
            if data["version"] != VERSION or data["kind"] not in KINDS or data["act"] not in ACTS:
                raise ValueError(f"version {data['version']}, {data['kind']}, {data['act']}")
            round_, batch, micro = (int(n) for n in data["position"])
            layout = None if data["layout"] is None else Layout.from_dict(data["layout"])
            return cls(
                str(data["kind"]), str(data["act"]), str(data["why"]), float(data["now"]), (round_, batch, micro),
                str(data["device"]), layout, tuple(int(n) for n in data["depths"]),
                {str(name): float(value) for name, value in data["figures"].items()},
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError("not a decision", wanted=f"one of version {VERSION}", found=repr(error)) from None


def lines(decisions: Iterable[Decision]) -> Iterator[str]:
    """Decisions as lines of JSON, each with its line feed. Figures without bounds are left out."""
    for one in decisions:
        data = one.as_dict()
        data["figures"] = {name: value for name, value in data["figures"].items() if math.isfinite(value)}
        yield json.dumps(data, allow_nan=False) + "\n"


def read(text: str, where: str = "decisions") -> tuple[Decision, ...]:
    """Inverse of `lines`; empty lines are none.

    Raises:
        InputError: A line is no decision; names it.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if not isinstance(data, dict):
                raise InputError("not a decision", found=line[:80])
            found.append(Decision.from_dict(data))
        except (json.JSONDecodeError, InputError) as error:
            told = error.found if isinstance(error, InputError) else str(error)
            raise InputError("a line is no decision", where=f"{where}:{number}", found=told,
                             remedy="take the file as a run has written it") from None  # fmt: skip
    return tuple(found)


def begins(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """What training began with, by device.

    Raises:
        InputError: A device began twice, or without a layout.
    """
    found: dict[str, Decision] = {}
    for one in decisions:
        if one.act == "begin":
            if one.layout is None or one.device in found:
                raise InputError("decisions that cannot be replayed", found=f"two beginnings of {one.device}"
                                 if one.layout else "a beginning without a layout")  # fmt: skip
            found[one.device] = one
    return found


def changes(decisions: Iterable[Decision], device: str) -> dict[Position, Decision]:
    """What a replay needs: the changes of one device's layout, by the place where they take effect.

    Raises:
        InputError: Two are for the same place, or one has no layout.
    """
    found: dict[Position, Decision] = {}
    for one in decisions:
        if one.kind != "plan" or one.act != "change" or one.device != device:
            continue
        if one.layout is None or one.position in found:
            raise InputError("decisions that cannot be replayed", found=f"{one.act} at {one.position}",
                             wanted="one change with a layout at a place")  # fmt: skip
        found[one.position] = one
    return found
