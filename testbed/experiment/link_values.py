"""Values that only links have: losses, rates within bounds, queues, and the factor of dilation beside them.

As in `units`, each ``parse_*`` takes what YAML gives and raises `UnitError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from testbed.emulation.links.shape import Bursts
from testbed.experiment.limits import LARGEST_QUEUE, LEAST_QUEUE, LEAST_RATE, LONGEST_DELAY, MOST_RATE
from testbed.experiment.problems import did_you_mean
from testbed.experiment.units import (
    DURATION_UNITS,
    FRAME,
    RATE_SCHEMA,
    SIZE_UNITS,
    UnitError,
    format_fraction,
    format_rate,
    format_size,
    parse_fraction,
    parse_rate,
    split_quantity,
    unknown_unit,
)

BY_TRACE = "trace"
"""A link's rate that its Mahimahi trace says."""
_UNITS = {**DURATION_UNITS, **SIZE_UNITS}
_LONGEST_BURST = 1_000_000
LOSS_WANTED = "a share (1%), {burst: 4, share: 1%}, or {enter: …, leave: …, bad: …, good: …}"


@dataclass(frozen=True)
class QueueLimit:
    """How much may wait for the wire: exactly one of seconds at the link's rate, bytes and full packets."""

    seconds: float | None = None
    size: int | None = None
    packets: int | None = None

    def bytes_at(self, rate: float) -> int | None:
        """The limit in bytes on a link of that many bits per second; None where it counts packets."""
        if self.seconds is not None:
            return math.ceil(self.seconds * rate / 8 - 1e-6)
        return self.size


def parse_link_rate(value: object) -> float | None:
    """A rate that a link can have, in bits per second; None for ``trace``: as its trace says."""
    if value == BY_TRACE:
        return None
    rate = parse_rate(value)
    if not LEAST_RATE <= rate < MOST_RATE:
        low = rate < LEAST_RATE
        raise UnitError(
            f"the rate is {'lower than a link can be given' if low else 'higher than any machine carries'}",
            wanted=f"{format_rate(LEAST_RATE)} (a full packet takes 1.5 s) to less than {format_rate(MOST_RATE)}",
            found=value,
            remedy=f"write {format_rate(LEAST_RATE)} or more" if low else "mind the unit: 1Gbit is a fast link",
        )
    return rate


def parse_queue(value: object) -> QueueLimit:
    """``100ms``, ``64kB`` or ``100p`` (full packets) as a limit: two packets at least."""
    wanted = "a time (100ms), a size (64kB) or a number of packets (100p)"
    if isinstance(value, QueueLimit):
        return value
    number, unit = split_quantity(
        value, "queue", wanted, "write for example 100ms, 64kB or 100p", (*_UNITS, "p", "packets")
    )
    if not unit and not number:
        raise _too_short(value)
    if not unit:
        remedy = f"write {number:g}ms, {number:g}kB or {number:g}p"
        raise UnitError("a queue needs a unit", wanted=wanted, found=value, remedy=remedy)
    packets = unit in ("p", "packets")
    if packets and number != int(number):
        raise UnitError("a queue holds whole packets", wanted=wanted, found=value, remedy=f"write {number:.0f}p")
    if not packets and unit not in _UNITS:
        raise unknown_unit(number, unit, "queue", {**_UNITS, "p": 1.0}, wanted, value)
    lasts = unit in DURATION_UNITS
    held = number * (FRAME if packets else _UNITS[unit])  # seconds or bytes
    if held > (LONGEST_DELAY if lasts else LARGEST_QUEUE):
        raise UnitError(
            "the queue is larger than a link can have", wanted=f"at most {format_size(LARGEST_QUEUE)}", found=value,
            remedy="mind the unit: 100ms is a usual queue",
        )  # fmt: skip
    if not lasts and held < LEAST_QUEUE:
        raise _too_short(value)
    if packets:
        return QueueLimit(packets=int(number))
    return QueueLimit(seconds=held) if lasts else QueueLimit(size=round(held))


def _too_short(value: object) -> UnitError:
    return UnitError(
        "the queue cannot hold two packets", wanted=f"at least {LEAST_QUEUE}B or 2p", found=value,
        remedy=f"write {LEAST_QUEUE}B or more, or 2p",
    )  # fmt: skip


def parse_loss(value: object) -> float | Bursts:
    """A share of packets lost one by one, or how they are lost in bursts."""
    if isinstance(value, Bursts):
        return value
    if not isinstance(value, Mapping):
        return parse_fraction(value)
    for keys, read in ((("burst", "share"), _by_length), (("enter", "leave", "bad", "good"), _by_state)):
        if keys[0] in value or keys[1] in value:
            for key in value:
                if key not in keys:
                    raise UnitError(
                        f"unknown key {str(key)!r} in a loss", wanted=LOSS_WANTED, found=str(key),
                        remedy=did_you_mean(key, keys) or "take it out",
                    )  # fmt: skip
            for key in keys[:2]:
                if key not in value:
                    raise UnitError(f"{key!r} is missing", wanted=LOSS_WANTED, found=_shown(value),
                                    remedy=f"add '{key}: …'")  # fmt: skip
            return read(value)
    near = next((m for key in value if (m := did_you_mean(key, _KEYS))), None)
    raise UnitError("this is no loss", wanted=LOSS_WANTED, found=_shown(value), remedy=near or "write 1% for example")


_KEYS = ("burst", "share", "enter", "leave", "bad", "good", "up", "down")


def parse_dilation(value: object) -> float:
    """How many times slower than told an experiment runs: 1 or more, 0 for ``auto``."""
    wanted = "a number from 1 to 1000, or auto"
    if value == "auto":
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise UnitError("this is no dilation", wanted=wanted, found=value, remedy="write 2, for example, or auto")
    if not 1 <= value <= 1000:
        remedy = "an experiment cannot run faster than it is: leave it out" if value < 1 else "write 1000 at most"
        raise UnitError("the dilation is out of range", wanted=wanted, found=value, remedy=remedy)
    return float(value)


def _by_length(value: Mapping[str, object]) -> Bursts:
    burst, share = value["burst"], _part(value, "share")
    if isinstance(burst, bool) or not isinstance(burst, int | float) or not 1 <= burst <= _LONGEST_BURST:
        raise UnitError(
            "burst: not a length of bursts", wanted=f"packets lost in a row on average, 1 to {_LONGEST_BURST}",
            found=burst, remedy="write 4, for example",
        )  # fmt: skip
    most = burst / (burst + 1)
    if not 0 < share <= most:
        problem = "nothing would be lost" if share == 0 else "more is lost than bursts of that length allow"
        raise UnitError(
            f"share: {problem}", wanted=f"more than 0%, at most {format_fraction(most)} with bursts of {burst:g}",
            found=value["share"], remedy="write 0 for a loss of nothing" if share == 0 else "write longer bursts",
        )  # fmt: skip
    leave = 1 / burst
    return Bursts(enter=min(1.0, leave * share / (1 - share)), leave=leave)


def _by_state(value: Mapping[str, object]) -> Bursts:
    given = {key: _part(value, key) for key in value}
    for key in ("enter", "leave"):
        if given[key] == 0:
            problem = "never lost in bursts" if key == "enter" else "bad for ever once it is"
            raise UnitError(f"{key}: the link is {problem}", wanted="more than 0%", found=value[key],
                            remedy="write a plain share, such as loss: 1%")  # fmt: skip
    return Bursts(**given)


def _part(value: Mapping[str, object], key: str) -> float:
    try:
        return parse_fraction(value[key])
    except UnitError as error:
        raise error.about(key) from None


def _shown(value: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{key}: {inner}" for key, inner in value.items()) + "}"


_FRACTION = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1},
                       {"type": "string", "pattern": r"^\s*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*%?\s*$"}]}  # fmt: skip
_LOSS: dict[str, Any] = {
    "description": "Share of packets lost one by one, or how they are lost in bursts",
    "examples": ["1%", {"burst": 4, "share": "1%"}],
    "anyOf": [
        *_FRACTION["anyOf"],
        {
            "type": "object", "additionalProperties": False, "required": ["burst", "share"],
            "properties": {"burst": {"type": "number", "minimum": 1, "maximum": _LONGEST_BURST}, "share": _FRACTION},
        },
        {
            "type": "object", "additionalProperties": False, "required": ["enter", "leave"],
            "properties": dict.fromkeys(("enter", "leave", "bad", "good"), _FRACTION),
        },
    ],
}  # fmt: skip
_QUEUE = {
    "type": "string",
    "pattern": r"^\s*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(us|ms|s|min|h|B|kB|MB|GB|KiB|MiB|GiB|p|packets)\s*$",
    "description": "A time at the link's rate, a size, or full packets",
    "examples": ["100ms", "64kB", "100p"],
}

Loss = Annotated[float | Bursts, BeforeValidator(parse_loss), WithJsonSchema(_LOSS)]
Queue = Annotated[QueueLimit, BeforeValidator(parse_queue), WithJsonSchema(_QUEUE)]
LinkRate = Annotated[
    float | None,
    BeforeValidator(parse_link_rate),
    WithJsonSchema({"anyOf": [RATE_SCHEMA, {"const": BY_TRACE}]}),
]
Dilation = Annotated[
    float,
    BeforeValidator(parse_dilation),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 1, "maximum": 1000}, {"const": "auto"}]}),
]
