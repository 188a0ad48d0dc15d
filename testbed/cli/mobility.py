"""``testbed mobility FILE``: who will be where and when, before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.options import FileArgument, Format, FormatOption, SetOption, print_json

if TYPE_CHECKING:
    from testbed.mobility.overview import Device, Overview


def command(
    file: FileArgument,
    set_: SetOption = None,
    map_: Annotated[
        Path | None, typer.Option("--map", metavar="OUT", help="Also draw the map: a file in .svg or .png.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Print handovers, dwell times and rates of an experiment, as they will be; draw its map."""
    from testbed.experiment import load
    from testbed.experiment.load import plan as plan_of
    from testbed.experiment.motion import overview

    loaded = load(file, set_ or [])
    seen = overview(loaded.spec, loaded.document, plan_of(loaded))
    if map_ is not None:
        from testbed.mobility.map import save

        save(seen, map_)
        Console(stderr=True).print(f"map: {map_}", highlight=False, markup=False)
    if format_ is Format.json:
        print_json(seen.as_json())
    else:
        _show(seen)


def _show(seen: Overview) -> None:
    console = Console()
    times = f", {seen.end:g} s" if seen.end else ""
    console.print(
        f"[bold]{seen.name}[/bold]: {len(seen.devices)} devices, {len(seen.sites)} sites, "
        f"{len(seen.handovers)} handovers{times}", highlight=False,
    )  # fmt: skip
    if seen.handovers:
        table = Table("due", "device", "from", "to", "at (m)", title="handovers")
        for handover in seen.handovers:
            place = "" if handover.x is None else f"{handover.x:.0f}, {handover.y:.0f}"
            table.add_row(handover.due, handover.device, handover.source, handover.to, place)
        console.print(table)
    if not seen.end or any(handover.at is None for handover in seen.handovers):
        Console(stderr=True).print("moves at points of the training: how long devices stay is known after a run")
    else:
        table = Table("device", "site", "visits", "dwell time", "of it up", "rate up", "rate down", title="dwell times")
        for device in seen.devices:
            for row in _dwells(device):
                table.add_row(*row)
        console.print(table)
    outages = [(o.begin, device.name, o) for device in seen.devices for o in device.outages]
    if outages:
        table = Table("device", "from", "to", "why", title="links down")
        for begin, name, outage in sorted(outages, key=lambda o: o[:2]):
            table.add_row(name, f"{begin:g} s", "the end" if outage.end is None else f"{outage.end:g} s", outage.why)
        console.print(table)
    if seen.score is not None:
        score = seen.score
        lead = "" if score["mean_lead"] is None else f", {score['mean_lead']:.1f} s ahead (mean)"
        console.print(
            f"  predictions ({score['policy']}): {score['hits']} hits{lead}, {score['misses']} misses "
            f"({score['wrong']} to another site, {score['late']} too late, {score['unforeseen']} unforeseen), "
            f"{score['false_alarms']} false alarms", highlight=False,
        )  # fmt: skip
    if seen.pace != 1:
        how = "faster" if seen.pace < 1 else "slower"
        Console(stderr=True).print(
            f"the trace is replayed {max(seen.pace, 1 / seen.pace):g} times {how} than recorded: that changes the "
            "experiment (dilation would keep it)", highlight=False,
        )  # fmt: skip


def _dwells(device: Device) -> Iterator[tuple[str, ...]]:
    """A row for each site that a device is on, in the order of its first visits; rates are means over time."""
    for site in dict.fromkeys(d.site for d in device.dwells):
        visits = [d for d in device.dwells if d.site == site]
        whole = sum(d.end - d.begin for d in visits)
        up, down = (
            _mean([(d.end - d.begin, rate) for d, rate in zip(visits, rates, strict=True)])
            for rates in ([d.up for d in visits], [d.down for d in visits])
        )
        connected = sum(d.connected for d in visits)
        share = f"{connected / whole:.0%}" if whole else ""
        yield device.name, site, str(len(visits)), f"{whole:.1f} s" if whole else "", share, up, down


def _mean(parts: list[tuple[float, float | None]]) -> str:
    whole = sum(seconds for seconds, _ in parts)
    rates = [rate for _, rate in parts if rate is not None]
    if len(rates) < len(parts):
        return "unshaped"
    mean = sum(seconds * rate for (seconds, _), rate in zip(parts, rates, strict=True)) / whole if whole else rates[0]
    return f"{mean / 1e6:.3g} Mbit/s"
