"""How power and energy are written: watts and joules, parsed once at the edge.

As in `units`, each ``parse_*`` takes what YAML gives and raises `UnitError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from testbed.experiment.units import UnitError, split_quantity, unknown_unit

WATT_UNITS = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
JOULE_UNITS = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "mWh": 3.6, "Wh": 3600.0, "kWh": 3.6e6}
_CHARGE_UNITS = {"mAh": 3.6, "Ah": 3600.0}
"""Coulombs."""
_WATTS = f"a power such as 2.7W ({', '.join(WATT_UNITS)})"
_JOULES = f"an energy such as 15Wh ({', '.join(JOULE_UNITS)}), or a charge at a voltage: 4410mAh at 3.7V"
_AT = re.compile(r"\s*(?P<charge>.*?\S)\s+at\s+(?P<voltage>\S.*?)\s*")


def parse_watts(value: object) -> float:
    """``2.7W`` as watts; 0 needs no unit."""
    if value in (0, "0") and not isinstance(value, bool):
        return 0.0
    return _read(value, "power", WATT_UNITS, _WATTS, "2.7W")


def parse_joules(value: object) -> float:
    """``15Wh``, or ``4410mAh at 3.7V``, as joules, more than 0."""
    match = _AT.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        volts = _read(match["voltage"], "voltage", {"mV": 1e-3, "V": 1.0}, "a voltage such as 3.7V", "3.7V")
        found = volts * _read(match["charge"], "charge", _CHARGE_UNITS, "a charge such as 4410mAh", "4410mAh")
    else:
        found = _read(value, "energy", JOULE_UNITS, _JOULES, "15Wh")
    if found <= 0:
        raise UnitError("an energy must be more than 0", wanted=_JOULES, found=value, remedy="write for example 15Wh")
    return found


def _read(value: object, what: str, units: Mapping[str, float], wanted: str, example: str) -> float:
    number, unit = split_quantity(value, what, wanted, f"write for example {example}", units)
    if not unit:
        last = re.sub(r"[0-9.]", "", example)
        remedy = f"write for example {number:g}{last}"
        raise UnitError(f"a {what} needs a unit", wanted=wanted, found=value, remedy=remedy)
    if unit not in units:
        hint = f"write {number:g}{unit} at 3.7V: a charge is energy at a voltage" if unit in _CHARGE_UNITS else None
        raise unknown_unit(number, unit, what, units, wanted, value, hint if what == "energy" else None)
    if not math.isfinite(number * units[unit]):
        raise UnitError(f"a {what} must be a finite number", wanted=wanted, found=value, remedy="write a number")
    return number * units[unit]


_N = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*"
Watts = Annotated[
    float,
    BeforeValidator(parse_watts),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": rf"^\s*(0|\+?{_N}({'|'.join(WATT_UNITS)}))\s*$"}, {"const": 0}],
        "description": "Power with its unit",
        "examples": ["2.7W", "350mW"],
    }),
]  # fmt: skip
Joules = Annotated[
    float,
    BeforeValidator(parse_joules),
    WithJsonSchema({
        "type": "string",
        "pattern": rf"^\s*\+?{_N}({'|'.join(JOULE_UNITS)}|m?Ah\s+at\s+\+?{_N}m?V)\s*$",
        "description": "Energy with its unit, or a charge at a voltage",
        "examples": ["15Wh", "500J", "4410mAh at 3.7V"],
    }),
]  # fmt: skip
