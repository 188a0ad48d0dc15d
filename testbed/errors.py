"""The error tree, as the host side and users import it (it lives in ``nodes``, which both sides share)."""

from nodes.errors import (
    CapacityError,
    EmulationError,
    EnvironmentProblem,
    InputError,
    NodeError,
    NotAppliedError,
    RoambedError,
    RunError,
    WireError,
)

__all__ = [
    "CapacityError",
    "EmulationError",
    "EnvironmentProblem",
    "InputError",
    "NodeError",
    "NotAppliedError",
    "RoambedError",
    "RunError",
    "WireError",
]
