"""The search for a partition: dynamic programming over chains of servers and cuts.

What a plan takes is made of a sum (latency) and of maxima over its chain, and grows with each. So among the ways to
have the first ``k`` layers done on some nodes, only those count that no other one is as good as in all of these
numbers: a *front*. Chains of servers are tried in the order of their length and names; with one server this is every
cut. A part of a plan that cannot become better than the best one so far is given up.

For ``sync`` and ``sequential`` these numbers make the score. For ``1f1b`` they bound it from below,

    score >= max(bottleneck, latency / most micro-batches in flight)

and ways that may still be the best by that are scored in full. With as many micro-batches in flight as it takes, the
bound is the score, and the best plan is found; with fewer, one is found that is close to it.

In a U-shape the device's two stages, and all that shares its link, are added up once the last cut is known. Scores are
lower bounds there as well (but for ``sequential``), so the `PLAYED` best plans are played through, and the one that
takes the least is chosen. What all this costs is reckoned in `nodes.policies.search_costs`.
"""

from __future__ import annotations

import math
from itertools import pairwise

from nodes.policies.layout import Layout
from nodes.policies.plans import Candidate, Problem, score_of, settle
from nodes.policies.search_costs import Costs, Front, Label, pareto

Rank = tuple[float, int, float, tuple[str, ...], tuple[int, ...]]
"""Score, stages, latency, nodes, bounds: the least is the best plan."""

PLAYED = 8
"""Plans in a U-shape that are played through."""
NEAR = 1.25
"""Those that are within this of the best one by their lower bounds may be the best when played."""
_ROUNDING = 1 + 1e-9


class Search:
    """One search.

    Args:
        problem: What is to be planned.
        explain: Give nothing up: find the best of every chain of nodes.
    """

    def __init__(self, problem: Problem, explain: bool = False) -> None:
        self.problem, self.explain, self.world = problem, explain, problem.world
        self.device, self.layers = problem.device, len(problem.profile.layers)
        self.stay = problem.labels == "stay"
        self.names = list(self.world.servers)
        self.costs = Costs(problem)
        self.refine = self.stay and problem.schedule != "sequential"
        self.best: Rank | None = None
        self.finalists: list[Rank] = []
        self.considered: list[Candidate] = []

    def run(self) -> tuple[Rank | None, list[Candidate]]:
        """The best plan's rank (None: there is none), and every chain that was looked at."""
        p = self.problem
        if p.fewest == 1:
            fits = self.costs.fits(self.device, 0, self.layers, last=True)
            self._offer((self.device,), self.costs.first(self.layers) if fits else [])
        most = p.stages - 1 - self.stay
        begin = self._begin()
        chains: list[tuple[tuple[str, ...], Front]] = [((name,), begin) for name in self.names] if most > 0 else []
        while chains:
            following: list[tuple[tuple[str, ...], Front]] = []
            for chain, front in chains:
                arrived = self._arrive(chain, front)
                if len(chain) + 1 + self.stay >= p.fewest:
                    self._end(chain, arrived)
                if len(chain) < most:
                    through = self._through(chain[-1], arrived)
                    following += [((*chain, name), through) for name in self.names if name not in chain]
            chains = following
        if self.refine and self.best is not None:
            self.best = self._refined()
        return self.best, self.considered

    # --- what is given up ---

    def _limit(self) -> float:
        """What a part of a plan may have as its bound, to be of use."""
        if self.explain or self.best is None:
            return math.inf
        return self.best[0] * (NEAR if self.refine else _ROUNDING)

    def _hopeful(self, labels: list[Label]) -> list[Label]:
        limit = self._limit()
        return [label for label in labels if self.costs.bound(label) <= limit]

    # --- the ways of a chain ---

    def _begin(self) -> Front:
        """The device's first stage, by its cut."""
        front: Front = {}
        for cut in range(self.problem.keep, self.layers):
            if self.costs.fits(self.device, 0, cut, last=False):
                front[cut if self.stay else 0, cut] = self._hopeful(self.costs.first(cut))
        return front

    def _arrive(self, chain: tuple[str, ...], front: Front) -> Front:
        """With the hop to the chain's last server behind."""
        hop = self.costs.hop(chain[-2] if len(chain) > 1 else self.device, chain[-1])
        if hop is None:
            return {}
        moved = ((key, self._hopeful(self.costs.lengthen(labels, hop.costs[key[1]]))) for key, labels in front.items())
        return {key: labels for key, labels in moved if labels}

    def _through(self, name: str, arrived: Front) -> Front:
        """With a stage on a server behind, and layers left for the next one."""
        found: Front = {}
        limit = self._limit()
        for (tag, begin), labels in arrived.items():
            for end in range(begin + 1, self.layers):
                cost = self.costs.of[name].stage(begin, end)
                if self.costs.least(cost) > limit or not self.costs.fits(name, begin, end, last=False):
                    break  # one layer more does not make it any less
                done = self._hopeful(self.costs.through_stage(labels, cost, end))
                if done:
                    found.setdefault((tag, end), []).extend(done)
        return {key: pareto(labels) for key, labels in found.items()}

    def _end(self, chain: tuple[str, ...], arrived: Front) -> None:
        """The chain's last server has the rest, or all but what ends on the device."""
        done: list[Label] = []
        for (tag, begin), labels in arrived.items():
            if self.stay:
                done += self._ends_on_device(chain, tag, begin, labels)
            elif self.costs.fits(chain[-1], begin, self.layers, last=True):
                done += self.costs.lengthen(labels, self.costs.last(chain[-1], begin), self.layers)
        self._offer((self.device, *chain, *([self.device] if self.stay else [])), done)

    def _ends_on_device(self, chain: tuple[str, ...], cut: int, begin: int, labels: list[Label]) -> list[Label]:
        """Labels of all last cuts. ``shared``: what the device and its link are busy with, both stages together."""
        name, done = chain[-1], []
        home, out = self.costs.hop(name, self.device), self.costs.hop(self.device, chain[0])
        if home is None or out is None:
            return []
        besides, first = self.costs.need(0, cut, last=False), self.costs.of[self.device].stage(0, cut)
        limit, m, (to_first, from_first) = self._limit(), self.problem.micro, out.busy[cut]
        update = self.world.sums(self.device).update[cut]
        for end in range(begin + 1, self.layers):
            mid = self.costs.of[name].stage(begin, end)
            if self.costs.least(mid) > limit or not self.costs.fits(name, begin, end, last=False):
                break
            last, (to_last, from_last) = self.costs.last(self.device, end), home.busy[end]
            # Up go activations of the first cut and gradients of the last one; down, the other two.
            wires = max(to_first + from_last, to_last + from_first)
            if self.problem.schedule == "1f1b":
                shared = max(first[1] + last[1], wires)
            else:
                shared = m * max(first[0] + last[0], wires) + update if self.problem.schedule == "sync" else 0.0
            if self.costs.bound((0.0, 0.0, 0.0, shared, ())) > limit:
                continue
            if self.costs.fits(self.device, end, self.layers, last=True, besides=besides):
                ends = self.costs.lengthen(self.costs.through_stage(labels, mid, end), home.costs[end])
                ends = self.costs.lengthen(ends, last, self.layers)
                done += self._hopeful([(a, b, c, max(d, shared), path) for a, b, c, d, path in ends])
        return done

    def _offer(self, nodes: tuple[str, ...], done: list[Label]) -> None:
        """Take in the best of a chain's ways."""
        mine: Rank | None = None
        for label in sorted(done, key=lambda one: (self.costs.bound(one), one)):
            score = self.costs.bound(label)
            if score > self._limit() or (mine is not None and score > mine[0] * (NEAR if self.refine else _ROUNDING)):
                break
            if self.problem.schedule == "1f1b":
                score = score_of(self.problem, self.world.chain(Layout(label[4], nodes)))
            rank = (score, len(nodes), label[0], nodes, label[4])
            mine = rank if mine is None or rank < mine else mine
            if self.refine:
                self.finalists.append(rank)
        if mine is None:
            self.considered.append(Candidate(nodes, None, self._why_not(nodes)))
            return
        self.considered.append(Candidate(nodes, mine[0]))
        self.best = mine if self.best is None or mine < self.best else self.best

    def _refined(self) -> Rank:
        """The best of the finalists when played through; their scores are lower bounds."""
        p, best = self.problem, None
        least = min(self.finalists)[0]
        for rank in sorted(one for one in self.finalists if one[0] <= NEAR * least)[:PLAYED]:
            if best is not None and rank[0] > best[0]:
                break
            seconds = settle(self.world.chain(Layout(rank[4], rank[3])), p.schedule, p.micro, p.cap)[1]
            played = (seconds / p.micro, *rank[1:])
            best = played if best is None or played < best else best
        assert best is not None, "there is a best plan, so there are finalists"
        return best

    def _why_not(self, nodes: tuple[str, ...]) -> str:
        """Why a chain of nodes has no layout at all, or none that is better than the best."""
        p = self.problem
        for a, b in pairwise(nodes):
            if self.costs.hop(a, b) is None:
                return f"no way from {a} to {b}, or back"
        short = []
        for s, name in enumerate(nodes):
            last = s == len(nodes) - 1
            if s == 0:
                least = self.costs.need(0, self.layers if last else p.keep, last=last)
            elif last:
                least = self.costs.need(self.layers - 1, self.layers, last=True)
            else:
                least = min((self.costs.need(k, k + 1, last=False) for k in range(p.keep, self.layers)), default=0)
            short.append(p.lack(name, least, "" if len(nodes) == 1 else "at least "))
        if any(short):
            return "; ".join(why for why in short if why)
        if len(nodes) - 1 > self.layers - p.keep:
            return f"{len(nodes)} stages, where {self.layers - p.keep} layers are free to leave the device"
        if self.best is not None and not self.explain:
            return "slower than the best"
        has = [f"{name} has {limit >> 20} MiB" for name in dict.fromkeys(nodes)
               if (limit := self.world.limit(name)) is not None]  # fmt: skip
        return f"{', '.join(nodes)}: no cuts fit into memory ({', '.join(has)})"
