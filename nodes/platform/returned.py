"""What functions have to return for a task to go on: a user's own one in the place of a built-in may give anything."""

from __future__ import annotations

import math

import msgspec

from nodes.platform import outcomes
from nodes.platform.states import BROADCAST, INITIALISE, Call
from nodes.policies.requests import AGGREGATE, EVALUATE, TRAIN_DEVICE, TRAIN_EDGE
from nodes.wire.platform_messages import CallEnded

_GIVES = {INITIALISE: "weights", AGGREGATE: "weights", BROADCAST: "part"}
"""Blobs that functions have to give."""
_COUNTS = {EVALUATE: ("accuracy", "loss"), TRAIN_DEVICE: ("samples",), TRAIN_EDGE: ("samples",)}
"""Values that have to be numbers where a function gives them, those of samples not below 0."""


def sound(call: Call, message: CallEnded) -> CallEnded:
    """An end as it is, or as a failure if its task cannot go on with what it gives."""
    values = {name: message.values[name] for name in _COUNTS.get(call.function, ()) if name in message.values}
    odd = [f"{name}: {value!r}" for name, value in values.items()
           if not isinstance(value, int | float) or (name == "samples" and not 0 <= value < math.inf)]  # fmt: skip
    gives = _GIVES.get(call.function, "")
    if message.kind or (not odd and (not gives or gives in message.outputs)):
        return message
    reason = f"function {call.function} returned not what it should: " + (", ".join(odd) or f"no {gives}")
    return msgspec.structs.replace(message, kind=outcomes.RETURNED, reason=reason[:300])
