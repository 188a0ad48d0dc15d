"""The map of a run with a slider of time, and under it, by device, the planned sites beside those of the run.

One block of the page that needs nothing else: drawings, the numbers as JSON, and a script of a few lines. Without the
script everything but the slider is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from testbed.mobility import map as maps
from testbed.mobility.overview import Device, Overview
from testbed.report import became
from testbed.report.records import RunRecord, SchemeRecord
from testbed.report.style import EDGES

MOST_LANES = 24
"""Devices that have a lane; those that are handed over come first."""
_LEFT, _WIDTH, _LANE, _BAND = 110.0, 1000.0, 24.0, 8.0


def block(record: RunRecord) -> Markup | None:
    """The map and its lanes; None where nothing moved, came or went, or nobody knows where."""
    overview = record.motion
    if overview is None or not (overview.handovers or any(d.path or d.outages for d in overview.devices)):
        return None
    colours = {site: EDGES[i % len(EDGES)] for i, site in enumerate(overview.sites)}
    until = became.last(overview, record.schemes)
    if until <= 0:
        return None
    frame = maps.frame(overview) if _spread(overview) else None
    environment = Environment(
        loader=PackageLoader("testbed.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    shown = _lanes_of(overview)
    return Markup(
        environment.get_template("motion.html.j2").render(
            svg=None if frame is None else Markup(_marked(frame, overview, record.schemes)),
            lanes=Markup(_lanes(overview, record.schemes, shown, colours, until)),
            schemes=[s.name for s in record.schemes],
            left_out=len(overview.devices) - len(shown),
            until=until,
            step=10 ** -1 if until <= 3600 else 1,
            moving=any(d.path for d in overview.devices),
            data=Markup(_data(overview, record.schemes, colours, frame)),
        )
    )


def _spread(overview: Overview) -> bool:
    """Whether there is anything to see on a map: places that differ."""
    return len({*overview.sites.values(), *((x, y) for d in overview.devices for _, x, y in d.path)}) > 1


def _lanes_of(overview: Overview) -> list[Device]:
    moved = {h.device for h in overview.handovers}
    order = sorted(overview.devices, key=lambda d: (d.name not in moved and not d.outages, d.name))
    return order[:MOST_LANES]


def _marked(frame: maps.Frame, overview: Overview, schemes: Sequence[SchemeRecord]) -> str:
    """The map with a ring where each run's handovers happened, and a layer for what moves."""
    devices = {d.name: d for d in overview.devices}
    groups = []
    for i, scheme in enumerate(schemes):
        rings = []
        for move in scheme.moves:
            device = devices.get(move.device)
            at = None if device is None or move.at_s is None else became.place(device, move.at_s)
            if at is not None:
                x, y = frame.point(*at)
                said = f"{move.device}: {move.origin} to {move.to} at {move.at_s:.1f} s in the run"
                rings.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5"><title>{escape(said)}</title></circle>')
        hidden = "" if i == 0 else ' style="display:none"'
        groups.append(f'<g class="did" data-scheme="{escape(scheme.name)}"{hidden}>{"".join(rings)}</g>')
    body = frame.svg.rstrip().removesuffix("</svg>")
    return f'{body}{"".join(groups)}<g class="live"></g></svg>'


def _lanes(
    overview: Overview, schemes: Sequence[SchemeRecord], shown: Sequence[Device], colours: dict[str, str], until: float
) -> str:
    height = _LANE * len(shown) + 24
    scale = (_WIDTH - _LEFT - 12) / until

    def band(begin: float, end: float, y: float, colour: str, said: str, more: str = "") -> str:
        wide = max((end - begin) * scale, 0.6)
        return (
            f'<rect x="{_LEFT + begin * scale:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{_BAND:g}" '
            f'fill="{colour}"{more}><title>{escape(said)}</title></rect>'
        )

    def down(begin: float, end: float, y: float, why: str) -> str:
        return band(begin, min(end, until), y, "var(--paper)", f"link down: {why}, {begin:.1f} to {end:.1f} s",
                    ' fill-opacity=".82" stroke="var(--soft)" stroke-width=".6" stroke-dasharray="2 2"')  # fmt: skip

    timed = overview.end > 0
    plan, did = [], {s.name: list[str]() for s in schemes}
    for row, device in enumerate(shown):
        y = row * _LANE + 2
        plan.append(f'<text x="{_LEFT - 8:g}" y="{y + 12:.1f}" text-anchor="end">{escape(device.name)}</text>')
        if timed:
            for begin, end, site in became.spans(became.planned_stays(device), overview.end):
                plan.append(band(begin, end, y, colours[site], f"planned: {device.name} on {site}, {begin:.1f} to "
                                 f"{end:.1f} s", ' fill-opacity=".55"'))  # fmt: skip
            plan += [
                down(o.begin, overview.end if o.end is None else o.end, y, o.why)
                for o in device.outages
                if o.begin < overview.end
            ]
        for scheme in schemes:
            lane, over = did[scheme.name], became.end(scheme)
            for begin, end, site in became.spans(became.stays(overview, scheme, device.name), over):
                said = f"{scheme.name}: {device.name} on {site}, {begin:.1f} to {end:.1f} s"
                lane.append(band(begin, end, y + _BAND + 1, colours.get(site, "var(--soft)"), said))
            lane += [down(begin, end, y + _BAND + 1, why) for begin, end, why in became.downs(scheme, device.name)]
    foot = _LANE * len(shown) + 2
    ticks = "".join(
        f'<line x1="{_LEFT + t * scale:.1f}" x2="{_LEFT + t * scale:.1f}" y1="0" y2="{foot:.1f}" stroke="var(--line)" '
        f'stroke-width=".6"/><text x="{_LEFT + t * scale:.1f}" y="{foot + 13:.1f}" '
        f'text-anchor="{_anchor(t * scale)}">{t:g} s</text>'
        for t in _ticks(until)
    )
    groups = "".join(
        f'<g class="did" data-scheme="{escape(name)}"{"" if i == 0 else " style=display:none"}>{"".join(parts)}</g>'
        for i, (name, parts) in enumerate(did.items())
    )
    label = escape(f"Sites of {len(shown)} devices over {until:.0f} s, planned and in the run")
    return (
        f'<svg class="lanes" viewBox="0 0 {_WIDTH:g} {height:g}" role="img" aria-label="{label}" '
        f'data-left="{_LEFT:g}" data-scale="{scale:.6f}">{ticks}{"".join(plan)}{groups}'
        f'<line class="now" x1="{_LEFT:g}" x2="{_LEFT:g}" y1="0" y2="{foot:.1f}"/></svg>'
    )


def _anchor(x: float) -> str:
    """How a label at ``x`` of the lanes stands, so that it is not cut off at their end."""
    return "end" if _LEFT + x > _WIDTH - 16 else "middle"


def _ticks(until: float) -> list[float]:
    step = next((s for n in range(-2, 7) for s in (10.0**n, 2 * 10.0**n, 5 * 10.0**n) if until / s <= 10), until)
    return [round(i * step, 6) for i in range(int(until / step) + 1)]


def _data(
    overview: Overview, schemes: Sequence[SchemeRecord], colours: dict[str, str], frame: maps.Frame | None
) -> str:
    """The numbers that the script needs, safe within a page: ``<`` and ``&`` are written as escapes."""
    devices = []
    for device in overview.devices:
        points = [] if frame is None else [(t, *frame.point(x, y)) for t, x, y in device.path]
        devices.append({
            "name": device.name,
            "path": [[round(t, 2), round(x, 1), round(y, 1)] for t, x, y in points],
            "plan": became.planned_stays(device),
            "down": [[o.begin, o.end, o.why] for o in device.outages],
        })  # fmt: skip
    runs: dict[str, Any] = {
        scheme.name: {
            "end": round(became.end(scheme), 3),
            "on": {d.name: became.stays(overview, scheme, d.name) for d in overview.devices},
            "down": {d.name: gone for d in overview.devices if (gone := became.downs(scheme, d.name))},
        }
        for scheme in schemes
    }
    text = json.dumps({"devices": devices, "colours": colours, "runs": runs}, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
