"""How levels, powers, frequencies, speeds and areas are written: parsed to numbers in SI units (levels in dB, dBm)."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from testbed.experiment.units import UnitError

_LEVEL = r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*{}\s*$"
_HERTZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}


def _level(value: object, units: tuple[str, ...], what: str, example: str) -> float:
    text = value.strip() if isinstance(value, str) else ""
    unit = next((u for u in units if text.endswith(u)), None)
    try:
        number = float(text[: -len(unit)]) if unit else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 200:
        known = not isinstance(value, bool) and isinstance(value, int | float)
        remedy = f"write {value}{units[0]}" if known else f"write for example {example}"
        raise UnitError(f"this is not a {what}", wanted=f"a {what} such as {example}", found=value, remedy=remedy)
    return number


def parse_decibel(value: object) -> float:
    """``3dB`` as 3; may be negative."""
    return _level(value, ("dB", "dBi"), "level", "3dB")


def parse_power(value: object) -> float:
    """``20dBm`` as 20; may be negative."""
    return _level(value, ("dBm",), "power", "20dBm")


def parse_frequency(value: object) -> float:
    """``5.2GHz`` as hertz, more than 0."""
    text = value.strip() if isinstance(value, str) else ""
    unit = next((u for u in ("kHz", "MHz", "GHz", "Hz") if text.endswith(u)), None)
    try:
        number = float(text[: -len(unit)]) * _HERTZ[unit] if unit else math.nan
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and 0 < number <= 1e12):
        raise UnitError("this is not a frequency", wanted="a frequency such as 5.2GHz (Hz, kHz, MHz, GHz)", found=value,
                        remedy="write for example 20MHz")  # fmt: skip
    return number


def parse_speeds(value: object) -> tuple[float, float]:
    """``[0.5, 2]``, or ``1.4`` for always the same, as lowest and highest in m/s."""
    pair = value if isinstance(value, list | tuple) else (value, value)
    ok = all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < 1000 for v in pair)
    if len(pair) != 2 or not ok or pair[0] > pair[1]:
        raise UnitError(
            "these are no speeds", wanted="metres a second, lowest and highest, above 0: [0.5, 2]", found=value,
            remedy="write [0.5, 2] for walkers, [8, 14] for cars in a town",
        )  # fmt: skip
    return float(pair[0]), float(pair[1])


def parse_area(value: object) -> tuple[float, float, float, float]:
    """``[[0, 0], [300, 200]]``, lower left and upper right in metres."""
    corners = value if isinstance(value, list | tuple) and len(value) == 2 else ()
    given = [v for corner in corners if isinstance(corner, list | tuple) for v in corner]
    numbers = [float(v) for v in given if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) != 4 or not all(math.isfinite(v) and abs(v) < 1e7 for v in numbers):
        numbers = [0.0] * 4
    if not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise UnitError("this is no area", wanted="lower left and upper right in metres: [[0, 0], [300, 200]]",
                        found=value, remedy="leave it out for that around the sites")  # fmt: skip
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _text(pattern: str, description: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": pattern, "description": description, "examples": list(examples)}
    )


_NUMBER: dict[str, Any] = {"type": "number"}
_PAIR: dict[str, Any] = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
Decibel = Annotated[float, BeforeValidator(parse_decibel), _text(_LEVEL.format("dBi?"), "A level", "3dB")]
Power = Annotated[float, BeforeValidator(parse_power), _text(_LEVEL.format("dBm"), "A power", "20dBm")]
Frequency = Annotated[
    float, BeforeValidator(parse_frequency), _text(r"^\s*[0-9.]+\s*[kMG]?Hz\s*$", "A frequency", "20MHz", "5.2GHz")
]
Speeds = Annotated[
    tuple[float, float], BeforeValidator(parse_speeds), WithJsonSchema({"anyOf": [_NUMBER, _PAIR]})
]
Rectangle = Annotated[
    tuple[float, float, float, float], BeforeValidator(parse_area), WithJsonSchema({**_PAIR, "items": _PAIR})
]
Metres = Annotated[float, Field(strict=True, gt=0, lt=1e7, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(strict=True, ge=0, le=1000, allow_inf_nan=False)]
