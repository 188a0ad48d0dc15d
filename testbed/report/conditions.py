"""What differs between the conditions of two runs: manifests and calibrations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from testbed.emulation.links.shape import Direction, LinkCalibration
from testbed.report import words
from testbed.report.records import RunRecord, number

# These differ between any two runs, and say nothing about why results do.
_OWN = {"run", "started", "argv", "timings", "schemes", "source"}


@dataclass(frozen=True)
class Difference:
    """Something that is not alike in the manifests or calibrations."""

    what: str
    a: str
    b: str


def manifests(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Versions, seeds, machine, images: whatever should be alike in two runs of one experiment."""
    left, right = dict(_flat(a)), dict(_flat(b))
    return [
        Difference(key, _shown(left.get(key)), _shown(right.get(key)))
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if not prefix and key in _OWN:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def calibrations(left: RunRecord, right: RunRecord) -> list[Difference]:
    """Links that were asked for differently, or measured further apart than one run's tolerance."""
    a, b = {c.link: c for c in left.calibration}, {c.link: c for c in right.calibration}
    rate, rtt = left.tolerances.get("rate", 0.02), left.tolerances.get("rtt", 0.0005)
    found = []
    for link in sorted({*a, *b}):
        if link not in a or link not in b:
            found.append(Difference(f"link {link}", *(_there(link in side) for side in (a, b))))
            continue
        for way in ("ab", "ba"):
            found += _directions(f"link {link}, {way}", getattr(a[link], way), getattr(b[link], way), rate)
        found += _round_trips(link, a[link], b[link], rtt)
    return found


def _there(there: bool) -> str:
    return "there" if there else "not there"


def _directions(what: str, a: Direction, b: Direction, tolerance: float) -> list[Difference]:
    if a.asked != b.asked:
        here, there = asdict(a.asked), asdict(b.asked)
        return [
            Difference(f"{what}, {name} asked", _shown(here[name]), _shown(there[name]))
            for name in here
            if here[name] != there[name]
        ]
    before, after = number(a.rate), number(b.rate)
    if before and after is not None and abs(after / before - 1) > tolerance:
        return [Difference(f"{what}, rate measured", words.rate(before), words.rate(after))]
    return []


def _round_trips(link: str, a: LinkCalibration, b: LinkCalibration, tolerance: float) -> list[Difference]:
    here, there = number(a.rtt), number(b.rtt)
    if here is None or there is None or a.rtt_asked != b.rtt_asked or abs(there - here) <= tolerance:
        return []
    return [Difference(f"link {link}, RTT measured", words.seconds(here), words.seconds(there))]


def _shown(value: Any) -> str:
    text = words.plain(value, 6)
    return text if len(text) <= 60 else text[:57] + "..."
