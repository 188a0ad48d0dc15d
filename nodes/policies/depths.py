"""How many micro-batches each stage of a 1f1b pipeline has in flight, and what that order of work takes at best.

Stage ``s`` does, for ever: backward of ``j``, forward of ``j + d(s)``. In such a fixed order each op waits for two
others, and what the pipeline takes a micro-batch follows from the cycles of this waiting (a timed event graph, whose
period is the largest ratio of seconds to micro-batches over its cycles: Baccelli et al., Synchronization and
Linearity, 1992). That gives, for nodes and wires that are shared by nothing else,

    period = max( bottleneck,  RT(s, t) / (d(s) - d(t) + 1)  for all s < t )

``RT(s, t)``: seconds from the begin of a forward on ``s`` through to ``t`` and back to the end of its backward on
``s``. The last stage has ``d = 1``, so ``d(0)`` is at least the whole latency by the period; and transfers that take as
long as steps ask for two more micro-batches a stage, not one. That closed form is ours; tests hold it against
`nodes.policies.simulate`. Updates come in as their share of a micro-batch only. In a U-shape, whose device has two
stages, it is a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nodes.policies.costs import Chain

SLACK = 1.1
"""Round trips are taken to be so much longer when depths are chosen: jitter must not starve the bottleneck."""
_ROUNDING = 1e-9


def round_trips(chain: Chain) -> dict[tuple[int, int], float]:
    """``RT(s, t)`` for all ``s < t``, in seconds."""
    found = {}
    count = len(chain.stages)
    for s in range(count):
        seconds = chain.stages[s].forward + chain.stages[s].backward
        for t in range(s + 1, count):
            there, back, stage = chain.there[t - 1], chain.back[t - 1], chain.stages[t]
            seconds += there.busy + there.delay + back.busy + back.delay + stage.forward + stage.backward
            found[s, t] = seconds
    return found


def period(chain: Chain, micro: int, depths: Sequence[int]) -> float:
    """Seconds a micro-batch with these depths, once the pipeline is full: the closed form."""
    ratios = (seconds / (depths[s] - depths[t] + 1) for (s, t), seconds in round_trips(chain).items())
    return max(chain.bottleneck(micro)[1], *ratios, 0.0)


def needed(trips: dict[tuple[int, int], float], stages: int, seconds: float, slack: float = 1.0) -> tuple[int, ...]:
    """Fewest micro-batches in flight by stage for a period of ``seconds`` (above 0)."""
    depths = [1] * stages
    for s in range(stages - 2, -1, -1):
        depths[s] = max(
            depths[t] - 1 + max(1, math.ceil(trips[s, t] * slack / seconds - _ROUNDING)) for t in range(s + 1, stages)
        )
    return tuple(depths)


def choose(chain: Chain, micro: int, cap: int, slack: float = SLACK) -> tuple[tuple[int, ...], float]:
    """Depths for the shortest period, and that period in seconds.

    Args:
        chain: What each step takes.
        micro: Micro-batches a batch.
        cap: Most micro-batches in flight; 1 at least.
        slack: See `SLACK`; it is left out where the cap does not allow it.
    """
    stages, bound = len(chain.stages), chain.bottleneck(micro)[1]
    trips = round_trips(chain)
    shortest = bound
    if bound <= 0 and any(trips.values()):
        shortest = max(trips.values()) / cap  # delays alone: nothing is busy, and nothing is to be waited for
    if shortest <= 0:
        return (1,) * stages, 0.0
    if needed(trips, stages, shortest)[0] > cap:
        tried = sorted({seconds / k for seconds in trips.values() for k in range(1, cap + 1)})
        shortest = next(one for one in tried if one > shortest and needed(trips, stages, one)[0] <= cap)
    depths = needed(trips, stages, shortest, slack)
    return (depths if depths[0] <= cap else needed(trips, stages, shortest)), shortest
