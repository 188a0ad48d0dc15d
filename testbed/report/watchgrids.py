"""Tables of what the watch saw: what nodes got, what links did."""

from __future__ import annotations

from typing import Any

from testbed.report import watched, words
from testbed.report.grids import BAD, QUIET, Cell, Grid
from testbed.report.records import RunRecord, number, table, whole


def node_grid(record: RunRecord) -> Grid:
    """Each node over the whole training: CPU got, held back, starved; memory; processes killed."""
    most = record.tolerances.get("starved", 0.02)
    grid = Grid(
        "What the nodes got",
        ("node", "cores", "limit", "held back", "starved", "of it by others", "memory peak", "limit", "OOM kills",
         "scheme"),
        note="Held back: by the node's own quota. Starved: ready to run, within its limit, and no core was free; by "
        f"others: because of programs that are not of this run. Tolerated: {words.percent(most, 0)} by others.",
    )  # fmt: skip
    for scheme in record.schemes:
        for name, row in scheme.nodes.items():
            saw = table(row.get("watch"))
            if not saw:
                continue
            by_others, kills = number(saw.get("starved_by_others_share")), whole(saw.get("oom_kills")) or 0
            peak = number(saw.get("memory_peak"))
            grid.add(
                name, _cores(saw.get("cores")), _cores(watched.quota(scheme, name)),
                words.percent(number(saw.get("throttled_share"))), words.percent(number(saw.get("starved_share"))),
                Cell(words.percent(by_others), BAD if by_others is not None and by_others > most else ""),
                words.memory(peak), words.memory(watched.memory_limit(scheme, name)),
                Cell(str(kills), BAD if kills else QUIET), Cell(scheme.name, QUIET),
            )  # fmt: skip
    return grid


def link_grid(record: RunRecord) -> Grid:
    """Each link over the whole training, both directions together."""
    grid = Grid(
        "What the links did",
        ("link", "carried", "dropped", "lost", "refused", "most waiting", "worst lateness", "scheme"),
        note="Dropped: packets that found the queue full. Lost: on purpose. Refused: by the interface at its end, "
        "which is down or gone. Waiting is looked at once a second. "
        "Lateness: of the relay, in handing over a packet; where the kernel shapes it is not known.",
    )
    for scheme in record.schemes:
        for name, sums in sorted(watched.link_sums(scheme).items()):
            grid.add(
                name, words.size(sums.carried), f"{sums.dropped:.0f}", f"{sums.lost:.0f}", f"{sums.refused:.0f}",
                words.size(sums.queue), words.seconds(sums.late_s), Cell(scheme.name, QUIET),
            )  # fmt: skip
    return grid


def _cores(value: Any) -> str:
    found = number(value)
    return words.DASH if found is None else f"{found:.3f}"
