"""Quantities as users write them, parsed once at the edge into base units.

Rates become bits per second, durations seconds, sizes bytes, fractions 0 to 1. A number without its unit is
refused (``0`` for a duration and a plain fraction excepted): guessing a unit is how 100 Mbit/s became 800
elsewhere. Each ``parse_*`` takes what YAML gives and raises `UnitError`; the types below are for models.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

FRAME = 1514
"""Bytes of a full Ethernet frame: an MTU of 1500 and its header."""

RATE_UNITS = {"bit": 1.0, "kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9, "Tbit": 1e12}
DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
SIZE_UNITS = {
    "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
}  # fmt: skip

_QUANTITY = re.compile(
    r"\s*(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+|\.?nan|\.?inf(?:inity)?))\s*(?P<unit>.*?)\s*", re.IGNORECASE
)
_POSITIVE = "take the minus sign away"
_BYTES_PER_SECOND = re.compile(r"([kKmMgGtT]?)(i?)(?:[bB](?:ps|/s|it/s|its/s|itps)|B)")
_EXPONENT = re.compile(r"[eE](?P<power>[+-]?[0-9]{1,4})\s*(?P<unit>.*)")


class UnitError(ValueError):
    """Raised when a quantity cannot be read; carries what `InputError` needs beyond the message."""

    def __init__(self, message: str, *, wanted: str, found: object, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.wanted = wanted
        self.found = _shown(found)
        self.remedy = remedy

    def about(self, key: str) -> UnitError:
        """The same, its message beginning with the key that it is about."""
        return UnitError(f"{key}: {self.message}", wanted=self.wanted, found=self.found, remedy=self.remedy)


def parse_rate(value: object) -> float:
    """``20Mbit`` as bits per second; layer 2, decimal prefixes, more than 0."""
    rate = 0.0 if _bare_zero(value) else _quantity(value, "rate", RATE_UNITS, "20Mbit", _rate_hint)
    if rate <= 0:
        raise UnitError(
            "a rate must be more than 0", wanted="a rate such as 20Mbit", found=value,
            remedy="write for example 20Mbit; for the default rate leave the key out altogether",
        )  # fmt: skip
    return rate


def parse_duration(value: object) -> float:
    """``15ms`` as seconds; 0 needs no unit."""
    if _bare_zero(value):
        return 0.0
    return _quantity(value, "duration", DURATION_UNITS, "15ms", _duration_hint)


def parse_size(value: object) -> int:
    """``512MiB`` as bytes, more than 0."""
    size = 0 if _bare_zero(value) else round(_quantity(value, "size", SIZE_UNITS, "512MiB", _size_hint))
    if size <= 0:
        raise UnitError("a size must be at least one byte", wanted="a size such as 512MiB", found=value,
                        remedy="write for example 512MiB")  # fmt: skip
    return size


def parse_fraction(value: object) -> float:
    """``50%`` or ``0.5`` as 0.5, from 0 to 1."""
    wanted = "0% to 100%, or 0 to 1"
    if _is_number(value):
        fraction = _finite(float(value), value, "fraction", wanted)  # type: ignore[arg-type]
        remedy = f"write {value}% if you mean per cent" if 1 < fraction <= 100 else None
    else:
        number, unit = split_quantity(value, "fraction", wanted, "write 50% or 0.5")
        if unit not in ("", "%"):
            raise UnitError(f"unknown unit {unit!r} in a fraction", wanted=wanted, found=value,
                            remedy=f"write {number:g}% or a number from 0 to 1")  # fmt: skip
        fraction = number / 100 if unit else number
        remedy = f"write {number:g}% if you mean per cent" if not unit and 1 < number <= 100 else None
    if not 0 <= fraction <= 1:
        problem = "negative" if fraction < 0 else "more than the whole"
        remedy = _POSITIVE if fraction < 0 else remedy or "write at most 100%"
        raise UnitError(f"the fraction is {problem}", wanted=wanted, found=value, remedy=remedy)
    return fraction


def bare_number(text: str) -> float:
    """A number without a unit, as tables have them: ``12.5``. It may be infinite, or none at all (``nan``).

    Raises:
        ValueError: It is something else, such as ``1_0``: Python's `float` takes underscores, which nobody means.
    """
    if "_" in text:
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def format_rate(rate: float) -> str:
    """A rate in the largest unit that leaves at least 1: ``20Mbit``."""
    return _format(rate, RATE_UNITS)


def format_duration(seconds: float) -> str:
    """A duration in us, ms or s: ``15ms``."""
    return _format(seconds, {u: DURATION_UNITS[u] for u in ("us", "ms", "s")})


def format_size(size: float) -> str:
    """A size in binary units: ``512MiB``."""
    return _format(size, {u: SIZE_UNITS[u] for u in ("B", "KiB", "MiB", "GiB")})


def format_fraction(fraction: float) -> str:
    """A fraction in per cent: ``0.1%``."""
    return f"{100 * fraction:.4g}%"


def _format(value: float, units: Mapping[str, float]) -> str:
    unit, factor = next(iter(units.items()))
    for name, f in units.items():
        if value >= f * (1 - 1e-9):
            unit, factor = name, f
    return f"{value / factor:.6g}{unit}"


def _quantity(
    value: object,
    what: str,
    units: Mapping[str, float],
    example: str,
    hint: Callable[[float, str], str | None],
) -> float:
    wanted = f"a {what} such as {example} ({', '.join(units)})"
    if _is_number(value):
        _finite(float(value), value, what, wanted)  # type: ignore[arg-type]
    number, unit = split_quantity(value, what, wanted, f"write for example {example}", units)
    if not unit:
        last = re.sub(r"[0-9.]", "", example)
        remedy = f"write for example {number:g}{last}"
        raise UnitError(f"a {what} needs a unit", wanted=wanted, found=value, remedy=remedy)
    if unit not in units:
        raise unknown_unit(number, unit, what, units, wanted, value, hint(number, unit))
    return _finite(number * units[unit], value, what, wanted)


def split_quantity(
    value: object, what: str, wanted: str, remedy: str, units: Iterable[str] = ("", "%")
) -> tuple[float, str]:
    """The number and the unit of a quantity, not negative (UnitError if it is none, or has an exponent)."""
    text = f"{value!r}" if _is_number(value) else value
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UnitError(f"this is not a {what}", wanted=wanted, found=value, remedy=remedy)
    number = float(match["number"].replace(".inf", "inf").replace(".nan", "nan").replace(".NaN", "nan"))
    if math.copysign(1.0, number) < 0 and math.isfinite(number):  # -0 too: nobody means it
        raise UnitError(f"the {what} is negative", wanted=wanted, found=value, remedy=_POSITIVE)
    unit = match["unit"]
    if unit not in units and re.search("[0-9]", unit):  # what was taken for the number is only the beginning of one
        raise UnitError(f"this is not a {what}", wanted=wanted, found=value,
                        remedy=_in_full(number, unit, units) or f"write plain digits; {remedy}")  # fmt: skip
    return _finite(number, value, what, wanted), unit


def _finite(number: float, value: object, what: str, wanted: str) -> float:
    if not math.isfinite(number):
        raise UnitError(f"a {what} must be a finite number", wanted=wanted, found=value, remedy="write a number")
    return number


def _in_full(number: float, rest: str, units: Iterable[str]) -> str | None:
    """A remedy for ``1e3Mbit``; None for what has no exponent. One that nobody would write out is not."""
    match = _EXPONENT.fullmatch(rest)
    if match is None:
        return None
    power = int(match["power"])
    meant = number * 10.0**power if -6 <= power <= 6 else math.inf
    if match["unit"] not in units or not 1e-3 <= meant <= 1e6:
        return "write the number in full, without an exponent"
    return f"write {_digits(meant)}{match['unit']}, without an exponent"


def _digits(number: float) -> str:
    """A number as it may be written: without an exponent."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _bare_zero(value: object) -> bool:
    """``0`` without a unit: of a time it needs none, and of all else none would help."""
    return (_is_number(value) and value == 0) or (isinstance(value, str) and value.strip() == "0")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def unknown_unit(
    number: float, unit: str, what: str, units: Mapping[str, float], wanted: str, value: object, hint: str | None = None
) -> UnitError:
    """The error for a unit that a kind of quantity does not have."""
    remedy = hint or _near(number, unit, units)
    return UnitError(f"unknown unit {unit!r} in a {what}", wanted=wanted, found=value, remedy=remedy)


def _near(number: float, unit: str, units: Mapping[str, float]) -> str:
    folded = [u for u in units if u.casefold() == unit.casefold()]
    near = folded or difflib.get_close_matches(unit, units, n=1, cutoff=0.5)
    if near and number:
        return f"did you mean {number:g}{near[0]}?"
    return f"the units are {', '.join(units)}"


_BINARY = {"k": 1.024, "M": 1.024**2, "G": 1.024**3, "T": 1.024**4}


def _rate_hint(number: float, unit: str) -> str | None:
    if binary := re.fullmatch(r"([kKmMgGtT])ibit", unit):
        prefix = {"k": "k", "m": "M", "g": "G", "t": "T"}[binary[1].lower()]
        return f"write {_digits(number * _BINARY[prefix])}{prefix}bit: units are of 1000 here"
    match = _BYTES_PER_SECOND.fullmatch(unit)
    if match is None:
        return None
    prefix = {"": "", "k": "k", "m": "M", "g": "G", "t": "T"}[match[1].lower()]
    bits = f"{prefix}bit"
    if "it" in unit:
        return f"write {number:g}{bits}: rates are per second already"
    word = {"": "", "k": "kilo", "M": "mega", "G": "giga", "T": "tera"}[prefix]
    binary_too = bool(match[2] and prefix)
    there = 8 * number * (_BINARY[prefix] if binary_too else 1)
    large = {"k": "kibi", "M": "mebi", "G": "gibi", "T": "tebi"}[prefix] if binary_too else word
    tc = f" (to tc, {prefix}bps means {word}bytes)" if "p" in unit else ""
    return f"write {number:g}{bits} for {word}bits a second, {_digits(there)}{bits} for {large}bytes{tc}"


def _duration_hint(number: float, unit: str) -> str | None:
    if unit == "m":
        return f"write {number:g}min for minutes or {number:g}ms for milliseconds"
    aliases = {"µs": "us", "μs": "us", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms",
               "usec": "us", "mins": "min", "minutes": "min", "hour": "h", "hours": "h"}  # fmt: skip
    return f"did you mean {number:g}{aliases[unit]}?" if unit in aliases else None


def _size_hint(number: float, unit: str) -> str | None:
    if re.fullmatch(r"[kKmMgG]i?", unit):
        prefix = unit[0].upper()
        return f"write {number:g}{prefix}iB (powers of 1024) or {number:g}{'k' if prefix == 'K' else prefix}B (of 1000)"
    if match := re.fullmatch(r"([tTpP])(i?)B?", unit):
        thousands = 1 if match[1] in "tT" else 2
        return f"write {_digits(number * (1024 if match[2] else 1000) ** thousands)}G{match[2]}B"
    if re.fullmatch(r"[kKmMgG]?(b|bits?)", unit):
        return "sizes are in bytes: write for example 512MiB"
    return None


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _schema(pattern: str, description: str, *examples: str, number: Mapping[str, Any] | None = None) -> WithJsonSchema:
    text: dict[str, Any] = {"type": "string", "pattern": pattern}
    body: dict[str, Any] = {"anyOf": [text, dict(number)]} if number is not None else text
    return WithJsonSchema({**body, "description": description, "examples": list(examples)})


_N = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*"
_DURATION = r"(us|ms|s|min|h)"
_SIZE = r"(B|kB|MB|GB|KiB|MiB|GiB)"

RATE_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^\s*\+?{_N}(bit|kbit|Mbit|Gbit|Tbit)\s*$",
    "description": "Layer-2 bits per second",
    "examples": ["20Mbit", "500kbit", "1Gbit"],
}
Rate = Annotated[float, BeforeValidator(parse_rate), WithJsonSchema(RATE_SCHEMA)]
DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": rf"^\s*(0|\+?{_N}{_DURATION})\s*$"}, {"const": 0}],
    "description": "A time with its unit",
    "examples": ["15ms", "2s", "100us", "1min"],
}
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(DURATION_SCHEMA)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    _schema(rf"^\s*\+?{_N}{_SIZE}\s*$", "Bytes with their unit", "512MiB", "2GiB", "100kB"),
]
Fraction = Annotated[
    float,
    BeforeValidator(parse_fraction),
    _schema(rf"^\s*\+?{_N}%?\s*$", "A share of the whole", "50%", "0.1%",
            number={"type": "number", "minimum": 0, "maximum": 1}),
]  # fmt: skip
