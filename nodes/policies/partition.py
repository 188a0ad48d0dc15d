"""Which servers, in which order, and which cuts: the layout that takes the least.

Our design (EdgeMove's abstract names the goal alone; minimising the slowest stage or transfer by dynamic programming is
PipeDream's: Narayanan et al., SOSP 2019). What is minimised, the *score*, is seconds a micro-batch with the plan's own
schedule:

    1f1b         the slowest stage or transfer, or more where too few micro-batches may be in flight
                 (`nodes.policies.depths`)
    sync         a batch by the closed form of `nodes.policies.simulate`, divided by M
    sequential   latency + update(0) / M

In a U-shape, where the device's two stages wait for each other, closed forms are too low; what they say is best there
is played through before it is chosen.

Of equally good plans the one with the fewest stages is taken, then the least latency, then the first by names and cuts.
How it is found stands in `nodes.policies.search`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations

from nodes.errors import InputError
from nodes.policies.layout import Layout
from nodes.policies.plans import Plan, Problem, predict, score_of
from nodes.policies.search import Search


def partition(problem: Problem, *, explain: bool = False) -> Plan:
    """The best plan.

    Args:
        problem: What is to be planned.
        explain: Have every chain of nodes in the plan's ``considered``, with its best score; takes longer.

    Raises:
        InputError: No plan can be, and why, by chain of nodes.
    """
    best, considered = Search(problem, explain).run()
    if best is None:
        told = "; ".join([*problem.refusals, *(one.why for one in considered if one.score is None)])
        reasons = dict.fromkeys(told.split("; "))
        raise InputError(
            f"no plan for {problem.profile.model} on {problem.device}", found="; ".join(reasons) or "no server",
            wanted=f"{problem.fewest} to {problem.stages} stages, the first {problem.keep} layers on the device"
            + (", and the last one" if problem.labels == "stay" else ""),
            remedy="more memory, more servers, a smaller keep, or more stages",
        )  # fmt: skip
    score, _, _, nodes, bounds = best
    return replace(predict(problem, Layout(bounds, nodes)), score=score, considered=tuple(considered))


def best_sequential(problem: Problem) -> Plan:
    """The best plan without a pipeline: one micro-batch at a time. Beside it stands the pipeline's speed-up.

    Split training has two stages at least: say so with ``fewest``.
    """
    return partition(replace(problem, schedule="sequential"))


def layouts(problem: Problem) -> Iterator[Layout]:
    """Every layout that can be, the simplest first: for exhaustive measurement, and to hold the search against."""
    layers, names = len(problem.profile.layers), sorted(problem.world.servers)
    stay = problem.labels == "stay"
    for stages in range(problem.fewest, problem.stages + 1):
        servers = stages - 1 - (stay and stages > 1)
        if stages > 1 and servers < 1:
            continue  # the device twice in a row
        for chain in permutations(names, servers):
            nodes = (problem.device, *chain, *((problem.device,) if stay and chain else ()))
            for inner in combinations(range(problem.keep, layers), stages - 1):
                layout = Layout((0, *inner, layers), nodes)
                if problem.objection(layout) is None:
                    yield layout


def score(problem: Problem, layout: Layout) -> float:
    """The score of one layout, s a micro-batch, by closed forms."""
    return score_of(problem, problem.world.chain(layout))


def ranked(problem: Problem, most: int = 12) -> list[Plan]:
    """The best plans by their predicted time, best first: those that a benchmark measures."""
    plans = [predict(problem, layout) for layout in layouts(problem)]
    plans.sort(key=lambda p: (p.seconds, len(p.layout.nodes), p.latency, p.layout.nodes, p.layout.bounds))
    return plans[:most]
