"""What the page says around its tables."""

from __future__ import annotations

from benchmarks.edgemove.cells import Cell

PUBLISHED = (1.3, 2.1)
"""Speed-up over the state of the art that EdgeMove reports, least and most."""
MEANING = {
    "speedup_over_split_max": "samples/s of the chosen pipeline over unpipelined split training at its best measured "
    "cut, most of all settings",
    "speedup_shortfalls": "settings in which that is less than 0.85 of its bound, or than 1.3 where the bound is 1.6",
    "bound_efficiency_min": "throughput of `1f1b` over what its slowest stage or transfer allows, least of the three",
    "bound_efficiency": "the same by setting and schedule",
    "bound_shortfalls": "of these, those below 0.95 (`1f1b`, link-bound), 0.9 (`1f1b`), 0.85 (`sync`)",
    "plans_within_5pct": "settings in which the chosen plan takes at most 5 % longer than the best measured",
    "plans_settings": "of so many",
    "probe_share_max": "what probes take, of time or of bytes, whichever is more, worst training",
    "stall_over_reactive": "stall per handover of `proactive` over that of `reactive`, worst scenario",
    "stall_over_static": "the same over `static`",
    "slower_overall_pct": "by how much `proactive` trains longer than `reactive` or `static`, worst scenario [%]",
}

HOW = """\
How: every cell is one training or several on containers whose computing and links are held to what is asked: a device,
two or three edge servers, a cloud. Cells of a bed share one bring-up. *Seconds a batch* are those between the ends of
batches on the device, the first two and the last one of each round left out, where the pipeline fills and drains; of
several rounds the median. What bounds a pipeline is measured apart: each stage in a training of one micro-batch at a
time, where nothing goes on beside it; transfers by their bytes, at what TCP carries of the rate that the link is held
to (1448/1514). *Unpipelined split training* takes whole batches, one at a time, through two stages: measured at the
likeliest cuts, the best of them again, and there by the scheme `splitfed`, too; the faster of the two counts. Its bound
is the predicted time of its best cut over what the chosen pipeline's slowest part takes of a batch. *Plans* are all
that there are, or the dozen that are predicted to be the fastest; the best and the chosen one are measured again, and
those times are compared. The *stall* of a handover is what the batches from a second before it to six seconds after it
(or to a second before the next one) took beyond the usual: the median of batches before the first handover comes
near."""

ABOUT: dict[str, tuple[str, ...]] = {
    "Beside the published range": (
        "EdgeMove (WWW 2023) reports 1.3 to 2.1 times the speed of the state of the art. Only its abstract is public",
        "to us: models, data and hardware are not the same, and what it was compared with is not known.",
        "",
    ),
    "What bounds a pipeline": (
        "`sync` fills and drains the pipeline with every batch, and that is not left out: it costs what a micro-batch",
        "takes of everything but the slowest part, and a round trip. So with eight micro-batches 0.85 can be reached",
        "where all other parts together take less than 1.4 times as long as the slowest one; with links of 100 Mbit/s",
        "in place of 200 the slow servers came to 0.81.",
        "",
    ),
    "Speed-up": (
        "*Bound*: over split training at its best predicted cut, as `testbed plan` prints it. *By overlap*: over one",
        "micro-batch at a time, at the best cut for that; the rest is that micro-batches take longer a sample than",
        "whole batches. *Its bound* is the one of that, which `testbed plan` prints, too.",
        "",
    ),
    "While the device moves": (
        "Sites are 60 ms from each other, one way. Paired by seed: the same movement. `every-2s`: probes at fixed",
        "intervals; `unprobed`: none; `full-profile`: every layer probed instead of a few.",
        "",
    ),
}


def way(cell: Cell) -> str:
    """What a cell measures of its setting, in words."""
    return {
        "auto": "pipeline, chosen plan", "sequential": "one micro-batch at a time", "local": "device alone",
        "edge": "all on the edge server", "sync": "pipeline, `sync`", "cuts": "split, whole batches",
    }.get(cell.way, cell.way)  # fmt: skip
