"""Tables of energy: what nodes drew, what became of batteries, what work costs."""

from __future__ import annotations

from testbed.report import words
from testbed.report.grids import BAD, QUIET, Cell, Grid
from testbed.report.records import RunRecord, items, number, table, text

_FROM = {
    "links": "bytes are those of the link's own counters",
    "messages": "nobody watched the links, so bytes are only those of messages with tensors",
}


_SCHEMES = (
    "Each scheme begins with batteries as the experiment has them. Schemes let no device go: one at its reserve trains "
    "on, and the run is invalid."
)
_PLATFORM = (
    "A device at its reserve is let go: others finish without it. What it draws while idling goes on all the same, so "
    "a battery may end below its reserve."
)


def energy_grid(record: RunRecord) -> Grid:
    """Each node of which it is known what it draws, and all devices together."""
    known = {text(scheme.energy.get("bytes_from")) for scheme in record.schemes} & set(_FROM)
    unknown = sorted({str(name) for scheme in record.schemes for name in items(scheme.energy.get("unknown"))})
    note = (
        "Computing: watts above idling for as long as the device worked (the length of its paced steps). Sending and "
        "receiving: what the radio adds, for as long as bytes take at the rate in force. These three are active "
        f"energy, what the training cost; idling is what the device draws anyway{'; ' if known else ''}"
        f"{'; '.join(_FROM[one] for one in sorted(known))}."
    )
    if unknown:
        note += f" What they draw is not known of {', '.join(unknown)}: see profiles in the experiment file."
    grid = Grid(
        "Energy",
        ("node", "worked", "sent for", "received for", "computing", "sending", "receiving", "active", "idling", "total",
         "scheme"),
        note=note,
    )  # fmt: skip
    for scheme in record.schemes:
        rows = {name: table(row) for name, row in table(scheme.energy.get("nodes")).items()}
        for name, row in rows.items():
            grid.add(
                name, *(words.seconds(number(row.get(key))) for key in ("busy_s", "send_s", "receive_s")),
                *(words.joules(number(row.get(f"{key}_j"))) for key in ("compute", "send", "receive")),
                *(words.joules(number(row.get(f"{key}_j"))) for key in ("active", "idle", "total")),
                Cell(scheme.name, QUIET),
            )  # fmt: skip
        if sum(row.get("kind") == "device" for row in rows.values()) > 1:
            sums = (words.joules(number(scheme.energy.get(f"{key}_j"))) for key in ("active", "idle", "total"))
            grid.add("all devices", *[""] * 6, *sums, Cell(scheme.name, QUIET))
    return grid


def battery_grid(record: RunRecord) -> Grid:
    """Each battery: where it began and ended, how low it was, what it was charged with, when it came to its reserve."""
    grid = Grid(
        "Batteries",
        ("device", "capacity", "begin", "end", "least", "reserve", "charged", "at its reserve after", "empty after",
         "scheme"),
        note=_PLATFORM if any(scheme.tasks for scheme in record.schemes) else _SCHEMES,
    )  # fmt: skip
    for scheme in record.schemes:
        for name, row in table(scheme.energy.get("nodes")).items():
            one = table(table(row).get("battery"))
            capacity = number(one.get("capacity_j"))
            if not capacity:
                continue
            shares = {key: number(one.get(f"{key}_j")) for key in ("begin", "end", "least", "reserve")}
            low = number(one.get("reserve_s")), number(one.get("empty_s"))
            grid.add(
                name, words.joules(capacity),
                *(words.percent(None if left is None else left / capacity) for left in shares.values()),
                words.joules(number(one.get("charged_j"))),
                *(Cell(words.seconds(at), "" if at is None else BAD) for at in low), Cell(scheme.name, QUIET),
            )  # fmt: skip
    return grid


def cost_grid(record: RunRecord) -> Grid:
    """What work and traffic come to at the prices of profiles."""
    grid = Grid(
        "Cost",
        ("node", "GB-seconds", "sent", "cost", "scheme"),
        note="GB-seconds: seconds of work times the node's memory limit. In the money of the profiles' prices.",
    )
    for scheme in record.schemes:
        rows = table(scheme.cost.get("nodes"))
        for name, row in rows.items():
            sent = number(table(row).get("sent_gb"))
            grid.add(
                name, words.plain(number(table(row).get("gb_s")), 3), words.size(None if sent is None else 1e9 * sent),
                words.plain(number(table(row).get("price")), 3), Cell(scheme.name, QUIET),
            )  # fmt: skip
        if len(rows) > 1:
            grid.add("all", "", "", words.plain(number(scheme.cost.get("price")), 3), Cell(scheme.name, QUIET))
    return grid
