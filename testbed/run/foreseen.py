"""``mobility.json``: who is to be where and when, as it was known before the run; the report draws the map from it."""

from __future__ import annotations

from testbed.errors import RoambedError
from testbed.experiment import motion
from testbed.experiment.load import load
from testbed.experiment.plan import Plan
from testbed.run.live import Live
from testbed.run.record import RunDirectory

NAME = "mobility.json"


def keep_timeline(plan: Plan, directory: RunDirectory, live: Live) -> None:
    """Write down the timeline of a plan whose experiment file is in the directory already.

    The plan knows handovers, not paths: those come from the trace, which is read again as that file has it. A run does
    not fail for want of a map.
    """
    if not (plan.moves or plan.outages or any(link.roams for link in plan.links)):
        return
    try:
        loaded = load(directory.path / "experiment.yaml")
        seen = motion.overview(loaded.spec, loaded.document, plan)
    except RoambedError as error:
        live.warn(f"the report will have no map: {error.message}")
        return
    directory.write_json(NAME, seen.as_json(), compact=True)
