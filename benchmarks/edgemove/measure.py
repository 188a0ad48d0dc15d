"""How a cell is measured: one training or several on its bed, each with an experiment file of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.edgemove.cells import AGAIN, Cell, fingerprint, training
from benchmarks.edgemove.figures import seconds
from benchmarks.edgemove.settings import DEVICE, Setting, Training, experiment, pieces
from benchmarks.edgemove.store import Found, row
from benchmarks.edgemove.timing import DROP, SKIP
from benchmarks.grid import bench
from nodes.policies.partition import ranked
from nodes.policies.plans import Plan as Candidate
from testbed.experiment import load_plan
from testbed.experiment.plan import Plan
from testbed.run.staging import problem_of

MOST_PLANS, MOST_CUTS = 12, 4
LASTS_S = 0.7
"""How long a plan is measured at least, fill and drain left out."""
FEWEST = 4
"""Batches that it is measured for at least: one that takes long is the best of none."""

Row = dict[str, Any]


class Bench(bench.Bench[Cell, Found]):
    """Measures what is not in the store yet."""

    name = "edgemove"

    def mark(self, cell: Cell) -> str:
        return fingerprint(cell, self.code, self.data or "digits")

    def plan(self, cell: Cell, scratch: Path) -> Plan:
        return self._plan(cell.on, training(cell), scratch)

    def measure(self, session: Any, standing: Plan, cell: Cell, scratch: Path) -> Found:
        asked = training(cell)

        def run(what: str, own: Training) -> Row:
            return self._train(session, cell.on, own, scratch, what)

        if cell.kind == "plans":
            rows = plans(session, asked, run)
        elif cell.kind == "split":
            rows = cuts(session, asked, run)
        else:
            rows = [run(cell.way, asked)]
        return Found(cell.name, self.mark(cell), rows)

    def _plan(self, setting: Setting, asked: Training, scratch: Path) -> Plan:
        path = scratch / f"{setting.name}.yaml"
        path.write_text(experiment(setting, asked, self.data, self.traces))
        return load_plan(path, [])

    def _train(self, session: Any, setting: Setting, asked: Training, scratch: Path, what: str) -> Row:
        """One training, and what is kept of it."""
        done = bench.trained(session, self._plan(setting, asked, scratch), asked.scheme, scratch)
        staging = (done.manifest.get("stages") or {}).get(DEVICE, {}) if asked.scheme == "edgemove" else {}
        micro = (asked.micro or setting.micro) if asked.scheme in ("edgemove", "local") else 1
        found = row(what, done.events, done.summary, staging, micro, setting.batch)
        return found | {"scheme": asked.scheme, "schedule": asked.schedule, "cut": asked.cut}


Run = Callable[[str, Training], Row]


def plans(session: Any, asked: Training, run: Run) -> list[Row]:
    """The chosen plan, all plans (the likeliest dozen of them), and the chosen and the best one again."""
    chosen = run("chosen", asked)
    every = ranked(problem_of(session.plan, DEVICE, session.layer_times, {}, {}), MOST_PLANS)
    rows = [chosen, *(run("plan", _as_planned(asked, one)) | {"predicted": _predicted(one)} for one in every)]
    again = replace(_as_long(asked, every[0].seconds), rounds=AGAIN)
    rows.append(run("chosen again", again))
    winner = best([one for one in rows if one["what"] == "plan"])
    rows.append(run("best again", _same(again, winner)))
    return rows


def cuts(session: Any, asked: Training, run: Run) -> list[Row]:
    """Unpipelined training on whole batches at the likeliest cuts, at the best of them again, and `splitfed` there.

    With `splitfed` the server is the nearest one, and layers are paced in one piece.
    """
    first = run("planned", replace(asked, rounds=1))
    problem = replace(problem_of(session.plan, DEVICE, session.layer_times, {}, {}), fewest=2)
    every = ranked(problem, MOST_CUTS)
    rows = [first, *(run("cut", _as_planned(asked, one)) | {"predicted": _predicted(one)} for one in every)]
    winner = best([one for one in rows if one["what"] == "cut"])
    again = replace(_as_long(asked, every[0].seconds), rounds=AGAIN)
    rows.append(run("best again", _same(again, winner)))
    rows.append(run("splitfed", replace(again, scheme="splitfed", micro=None, cut=winner["bounds"][1], rounds=1)))
    return rows


def best(rows: Sequence[Row]) -> Row:
    """The one with the fewest seconds a batch."""
    return min(rows, key=seconds)


def _as_long(asked: Training, batch_s: float) -> Training:
    """So many batches that the pipeline is full for long enough; never more than were asked for."""
    return replace(asked, batches=min(asked.batches, max(FEWEST, math.ceil(LASTS_S / batch_s) + SKIP + DROP + 1)))


def _as_planned(asked: Training, one: Candidate) -> Training:
    """A plan as a training of its own. The device alone is no pipeline."""
    asked = _as_long(asked, one.seconds)
    if len(one.layout.nodes) == 1:
        return replace(asked, scheme="local")
    return replace(asked, plan=pieces(one.layout.nodes, one.layout.bounds), depth=one.depths[0])


def _same(asked: Training, found: Row) -> Training:
    if found["scheme"] == "local":
        return replace(asked, scheme="local")
    return replace(asked, plan=pieces(found["nodes"], found["bounds"]), depth=found["depths"][0])


def _predicted(one: Candidate) -> dict[str, Any]:
    return {"batch_s": one.seconds, "bound_s": one.bound * one.micro, "bottleneck": one.bottleneck}
