"""The user's file: read, checked, planned. `load_plan` is the way in; a `Plan` is all that other rooms see."""

from testbed.experiment.capacity import check_capacity
from testbed.experiment.load import Loaded, load, load_plan
from testbed.experiment.plan import Plan

__all__ = ["Loaded", "Plan", "check_capacity", "load", "load_plan"]
