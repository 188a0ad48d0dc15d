"""Roambed from Python: load an experiment, bring it up, train on it.

Example::

    from testbed import Experiment

    with Experiment.load("topologies/smoke.yaml").up() as bed:
        bed.exec("dev-1", ["ping", "-c", "1", "cloud"])
        result = bed.train("fedfly")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testbed.errors import RoambedError

if TYPE_CHECKING:
    from testbed.run.experiment import Experiment, StandingBed

__all__ = ["Experiment", "RoambedError", "StandingBed"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line's help need not wait for Docker's and ZeroMQ's modules.
    if name in ("Experiment", "StandingBed"):
        from testbed.run import experiment

        return getattr(experiment, name)
    raise AttributeError(name)
