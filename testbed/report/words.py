"""Quantities as people read them in tables and plots; what was not measured is a dash, never a zero."""

from __future__ import annotations

DASH = "–"  # noqa: RUF001


def seconds(value: float | None) -> str:
    """``431 ms``, ``6.10 s``, ``2 min 5 s``."""
    if value is None:
        return DASH
    if value == 0:
        return "0 s"
    size = abs(value)
    if size < 0.01:
        return f"{value * 1e3:.2f} ms"
    if size < 0.1:
        return f"{value * 1e3:.1f} ms"
    if size < 0.9995:
        return f"{value * 1e3:.0f} ms"
    if size < 99.95:
        return f"{value:.2f} s"
    if size < 600:
        return f"{value:.1f} s"
    return f"{value // 60:.0f} min {value % 60:.0f} s"


def millis(value: float | None) -> str:
    """``10.09 ms``, whatever its size: to compare what was asked with what was measured."""
    return DASH if value is None else f"{value * 1e3:.2f} ms"


def change(before: str, after: str) -> str:
    """``4.00 → 4.03 ms``: two quantities, their unit said once if it is the same."""
    unit = after.rpartition(" ")[2]
    return f"{before.removesuffix(' ' + unit)} → {after}"


def percent(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """``33.3 %``; with ``sign``, ``+0.4 %``."""
    return DASH if value is None else f"{100 * value:{'+' if sign else ''}.{digits}f} %"


def rate(value: float | None) -> str:
    """``20.0 Mbit/s``."""
    if value is None:
        return DASH
    for unit, factor in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if value >= factor:
            return f"{value / factor:.4g} {unit}"
    return f"{value:.4g} bit/s"


def size(value: float | None) -> str:
    """``4.77 MB``, as state is counted; 0 is ``0 B``."""
    if value is None:
        return DASH
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f} B"


def joules(value: float | None) -> str:
    """``431 mJ``, ``6.10 J``, ``54.0 kJ``; 0 is ``0 J``."""
    if value is None:
        return DASH
    if value == 0:
        return "0 J"
    for unit, factor in (("MJ", 1e6), ("kJ", 1e3), ("J", 1.0)):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}"
    return f"{1e3 * value:.3g} mJ"


def memory(value: float | None) -> str:
    """``512 MiB``, as limits are set."""
    return DASH if value is None else f"{value / 2**20:.4g} MiB"


def plain(value: object, digits: int = 4) -> str:
    """A number with so many digits that matter; text as it is; a dash for None and NaN."""
    if value is None or value == "" or value != value:
        return DASH
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def short(digest: str | None) -> str:
    """The beginning of a digest, enough to tell two apart by eye."""
    return digest[:12] if digest else DASH
