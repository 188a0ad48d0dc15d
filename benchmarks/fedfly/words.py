"""What the page says around its tables."""

from __future__ import annotations

from benchmarks.fedfly.cells import Cell
from benchmarks.fedfly.settings import SETTINGS

PUBLISHED = {0.5: 33.0, 0.9: 45.0}
"""Percent of training time saved, at most, by the share of the round after which the device moves."""
MEANING = {
    "saving": "share of a restarting round's time that migrating saves, by the share of the round before the move",
    "saving_expected": "the same by the law, (f - downtime / T) / (1 + f)",
    "law_error_pct_max": "restarting against (1 + f) T, worst of the three [%]",
    "saving_error_points_max": "saving against the law, worst of the three [points]",
    "saving_at_90_pct": "saving of a move at 90 % [%]",
    "round_over_downtime_min": "T over the downtime of a migration, least of the three",
    "state_over_limit_max": "`state_s` of migrating over its limit (below), worse of the two backhauls",
    "shadow_over_migrate": "`state_s` of a standby that was foretold rightly over that of migrating, worse of the two",
    "shadow_wrong_over_migrate": "the same, foretold wrongly",
    "digests_equal": "`weights_sha256` of all cells as without moves, by seed",
    "accuracy_delta_max": "accuracy against that without moves, furthest off",
}

HOW = """\
How: every cell is one training of VGG-5 on containers whose computing and links are held to what is asked, with
two or three edge servers and a cloud; cells of a setting share one bring-up. T is the median of a device's rounds
without moves, f the share of the round's batches that were done when a restart threw them away (devices hear of their
moves one batch earlier, as they finish what is under way). In each round all devices move: at 10 %, at 50 %, at 90 %.
`state_s` runs from the begin of the capture to the owed gradients being at the device, less what gradients usually
take; its limit is 1.15 x (bytes over the slowest link's goodput + round trip) + 20 ms, and 1.5 x instead where edge
servers work for other devices meanwhile, goodput being 1448/1514 of the rate. Times and savings are of the round in
which a device moves, as the published ones are: a training whose device moves in every tenth round saves about a tenth
as much. Accuracy is that on the test set, measured in the cloud at the
end of each training."""

ABOUT: dict[str, tuple[str, ...]] = {
    "Beside the published figures": (
        "FedFly (Ullah et al., IEEE Communications Magazine 60(11), 2022; arXiv 2111.01516) reports up to 33 % and",
        "45 % for moves at 50 % and 90 % on Raspberry Pis, with an overhead of up to 2 s and no loss of accuracy.",
        "",
    ),
    "The law, by setting": (
        *(f"- **{s.title}**: {s.about}." for s in SETTINGS.values() if s.devices > 1 and not s.trace and not s.busy),
        "",
        "The law supposes that a round takes as long after the move as before it. That holds where devices are the",
        "slowest part. Where edge servers are, a device that moves leaves the others a less busy one and finds an idle",
        "one, so what follows a move is faster than T has it. Where the access link is, the rest of a round is as",
        "before, but the slow backhaul makes the downtime a larger part of it (and `relay` pays in every batch).",
        "",
    ),
    "What the state takes": (
        "Medians. *Foretold rightly*: a forecast some seconds ahead names where the device goes; *wrongly*: one that",
        "names a third site, so that only the notice of the move itself (300 ms before it) makes a standby where it is",
        "of use; *by the notice*: no forecast. Bytes and time for standbys include those that nobody came to.",
        "",
    ),
    "Whole runs": (
        "Many rounds along recorded or simulated movement, each device at the nearest of four edge servers; `shadow`",
        "with what the trace knows of the next 5 s. Downtime and work thrown away are of all moves together.",
        "",
        *(f"- **{s.title}**: {s.about}." for s in SETTINGS.values() if s.trace),
        "",
    ),
    "The grid": ("Means over seeds with 95 % confidence intervals (Student's t).", ""),
}

RESTART = """\
FedFly's code compares against SplitFed restarting its round on the new edge server. In the published sources the edge
half goes back to the round's start, but the device's half and the optimizers' momentum stay as they are, so that a
restarted round trains some batches twice. Here a restart is clean: both halves and both optimizers go back to the
round's start, and the same batches follow, so a restarted training ends with the same weights as one without moves,
and only time is lost. The published sources also sleep for fixed times around aggregation and migration, and their
migrating branch is switched off; nothing here sleeps, and migration is what is measured."""


def bed(cell: Cell) -> str:
    """A cell's bed, and what is odd about who moves."""
    title = SETTINGS[cell.setting].title
    if cell.kind == "together":
        return f"{title}, {len(cell.devices)} devices at once" + (f", seed {cell.seed}" if cell.seed > 1 else "")
    return title


def strategy(cell: Cell) -> str:
    """A cell's strategy, and how a standby was foretold."""
    if cell.strategy != "shadow":
        return cell.strategy
    return f"shadow, foretold {cell.forecast}ly" if cell.forecast else "shadow, by the notice"
