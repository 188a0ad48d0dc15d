"""From what is known now to a problem that a policy can decide: which tasks want what, and what is free for it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nodes.errors import InputError
from nodes.platform.calls import Calls
from nodes.platform.holdings import Holdings
from nodes.platform.registry import Registry
from nodes.platform.states import BROADCAST, INITIALISE, Leg, TaskState, memory_of
from nodes.policies.requests import (
    AGGREGATE,
    EVALUATE,
    SELECT,
    TRAIN_DEVICE,
    TRAIN_EDGE,
    Assignment,
    Cut,
    Owner,
    Problem,
    Request,
    Weights,
)
from nodes.wire.jobs import Job, PlatformSettings


@dataclass(frozen=True)
class Want:
    """What a task wants a placement for: its next ``round``, a ``leg`` that begins again, ``more`` owners."""

    task: TaskState
    kind: Literal["round", "leg", "more"]
    request: Request
    leg: Leg | None = None


class Asking:
    """Makes problems."""

    def __init__(self, settings: PlatformSettings, registry: Registry, calls: Calls, holdings: Holdings) -> None:
        self._settings, self._registry, self._calls, self._holdings = settings, registry, calls, holdings
        self.weights = Weights(*settings.weights)

    def home(self, now: float) -> str:
        """Where models begin and are safe: the cloud that has the most memory, else such an edge server; "": none."""
        for kind in ("cloud", "edge"):
            there = [name for name in self._registry.names(kind) if self._registry.ready(name, now)]
            if there:
                return max(there, key=lambda name: (self._registry.total(name), name))
        return ""

    def source(self, digest: str) -> str:
        """A unit that has a blob: who keeps it, before who only fetched it; "": nobody that is there."""
        every = [*self._holdings.kept(digest), *sorted(self._holdings.holders(digest))]
        return next((name for name in every if self._registry.alive(name)), "")

    def problem(
        self, requests: Iterable[Request], now: float, running: Iterable[TaskState] | None,
        weights: Weights | None = None,
    ) -> Problem:  # fmt: skip
        """A problem of these requests.

        Args:
            requests: In the order in which their tasks came.
            now: s.
            running: Tasks whose rounds take of memory, speed and batteries; None: as if there were none.
            weights: Of the objective; None: the platform's.
        """
        if running is None:
            free = {name: self._registry.total(name) for name in self._registry.names("device", "edge", "cloud")}
            units = self._registry.units(now, free, {}, {})
        else:
            running = list(running)
            units = self._registry.units(now, self._calls.free(), self._busy(running), self.spent(running, now))
        paths, shared = self._registry.paths(units), self._registry.shared(units)
        known = tuple(self._within(one, set(units)) for one in requests)
        return Problem(units, paths, known, weights or self.weights, shared)

    @staticmethod
    def _within(request: Request, units: set[str]) -> Request:
        return replace(
            request, owners=tuple(one for one in request.owners if one.device in units),
            finishers=tuple(name for name in request.finishers if name in units),
            holders=frozenset(request.holders & units),
        )  # fmt: skip

    def for_round(self, task: TaskState, now: float) -> Request | None:
        """A task's next round; None: there is nowhere to begin it."""
        job, model = task.job, task.model
        source = self.source(model.digest) if model else self.home(now)
        if not source or not self._registry.ready(source, now):
            return None
        finishers = self.finishers(job, now)
        request = self._request(task, task.name, self.candidates(task, now), job.least, source, finishers)
        if task.deadline is None or task.late:
            return request
        left, rounds = task.deadline - now, job.task.rounds - task.done
        limit = max(left / rounds, left - (rounds - 1) * task.later_s)  # the first one may take longer than those after
        return replace(request, deadline_s=limit * rounds)

    def for_leg(self, task: TaskState, leg: Leg, now: float) -> Request | None:
        """An owner's share of the round under way, once more; None: it cannot be had now."""
        return self._for(task, f"{task.name} {leg.owner}", [leg.owner], 1, now)

    def for_more(self, task: TaskState, missing: int, now: float) -> Request | None:
        """Owners for a round under way, in place of those that it goes on without; None: it cannot be had now.

        Those that were let go and can do it again, such as a device that has come back, are asked once more.
        """
        round = task.round
        assert round is not None
        gone = {name for name, leg in round.legs.items() if leg.lives or leg.failures > self._settings.retries}
        others = [name for name in self.candidates(task, now) if name not in gone and (
            name not in round.legs or round.legs[name].state == "out")]  # fmt: skip
        return self._for(task, task.name, others, missing, now)

    def _for(self, task: TaskState, name: str, owners: Sequence[str], least: int, now: float) -> Request | None:
        round = task.round
        assert round is not None
        source = self.source(round.model.digest)
        owners = [owner for owner in owners if self._registry.ready(owner, now) and not self._registry.weak(owner)]
        if not owners or not self._registry.ready(source, now):
            return None
        ends = (round.aggregator,) if self._registry.ready(round.aggregator, now) else self.finishers(task.job, now)
        request = self._request(task, name, owners, least, source, ends)
        return replace(request, absent=0.0, aggregate_s=0.0, aggregate_memory=0, evaluate_s=0.0, evaluate_memory=0)

    def candidates(self, task: TaskState, now: float) -> list[str]:
        """Owners that may be asked: there, in reach, above their reserve, and not left out."""
        registry = self._registry
        return [name for name in sorted(task.job.task.owners)
                if name not in task.out and registry.ready(name, now) and not registry.weak(name)]  # fmt: skip

    def finishers(self, job: Job, now: float) -> tuple[str, ...]:
        """Servers that may average and evaluate: those that have samples to evaluate with, if any has."""
        there = [name for name in self._registry.names("edge", "cloud") if self._registry.ready(name, now)]
        return tuple(name for name in there if name in job.task.data) or tuple(there)

    def _request(
        self, task: TaskState, name: str, owners: Sequence[str], least: int, source: str, finishers: tuple[str, ...]
    ) -> Request:  # fmt: skip
        job = task.job
        chosen = job.select is not None and all(owner in task.keeps for owner in owners)
        holders = self._holdings.holders(task.model.digest) if task.model else {source}
        return Request(
            task=name, source=source, weights=job.weights, least=least, absent=job.absent,
            owners=tuple(Owner(one, job.batches[one], 0 if one in task.keeps else job.samples.get(one, 0))
                         for one in owners),
            cuts=cuts_of(job), raw_stays=job.raw_stays, labels_stay=job.labels_stay, share=job.share,
            select_s=0.0 if job.select is None or chosen else job.select_s,
            select_memory=0 if job.select is None or chosen else memory_of(job, SELECT),
            aggregate_s=job.aggregate_s, aggregate_memory=memory_of(job, AGGREGATE),
            evaluate_s=job.evaluate_s, evaluate_memory=memory_of(job, EVALUATE) if job.evaluate_s > 0 else 0,
            rounds_left=max(job.task.rounds - task.done, 1), holders=frozenset(holders), finishers=finishers,
        )  # fmt: skip

    # --- what policies are not asked about --------------------------------------------------------------

    def first_weights_s(self, task: TaskState, now: float) -> float:
        """Seconds that the making of a task's first weights takes; about as much work as averaging one model."""
        home = self.home(now)
        if task.model is not None or not home:
            return 0.0
        return self._cold(home, INITIALISE) + task.job.aggregate_s / self._registry.speed(home)

    def apart_s(self, task: TaskState, does: Mapping[str, Assignment], now: float) -> float:
        """Seconds of the cold start of taking a model's layers apart, if any unit of a round needs some of them alone.

        Args:
            task: Whose next round it is.
            does: What each participant does in it.
            now: s.
        """
        model = task.model
        source = self.source(model.digest) if model else self.home(now)
        have = self._holdings.holders(model.digest) if model else {source}
        split = {cut.index for cut in task.job.cuts if cut.place == "split"}
        parts = any(one.cut in split and not have.issuperset((owner, one.server)) for owner, one in does.items())
        return self._cold(source, BROADCAST) if parts else 0.0

    def _cold(self, unit: str, function: str) -> float:
        return 0.0 if self._registry.is_warm(unit, function) else self._registry.cold_s(unit, function)

    # --- what running rounds take -----------------------------------------------------------------------

    def _busy(self, running: Iterable[TaskState]) -> dict[str, float]:
        """Share of its time that each unit computes for rounds under way; never more than were it divided evenly."""
        shares: defaultdict[str, float] = defaultdict(float)
        legs: defaultdict[str, int] = defaultdict(int)
        for task in running:
            for leg in task.round.legs.values() if task.round else ():
                if leg.state not in ("placed", "training") or leg.cut is None:
                    continue
                batches = batches_of(task.job, leg.owner)
                for unit, work in ((leg.owner, leg.cut.device_s), (leg.server, leg.cut.edge_s)):
                    if self._registry.alive(unit):
                        legs[unit] += 1
                        took = batches * work / self._registry.speed(unit)
                        shares[unit] += min(took / leg.seconds, 1.0) if leg.seconds > 0 else 0.0
        return {unit: min(share, 1 - 1 / (legs[unit] + 1)) for unit, share in shares.items()}

    def spent(self, running: Iterable[TaskState], now: float) -> dict[str, float]:
        """Joules that rounds under way will still take of each device, by their predictions."""
        found: defaultdict[str, float] = defaultdict(float)
        for task in running:
            for leg in task.round.legs.values() if task.round else ():
                if leg.state in ("placed", "training"):
                    passed = (now - leg.begun) / leg.seconds if leg.seconds > 0 else 1.0
                    found[leg.owner] += leg.joules * max(1 - passed, 0.0)
        return found


def batches_of(job: Job, owner: str) -> int:
    """Batches of a round on the share that is chosen."""
    return max(1, math.ceil(job.share * job.batches[owner] - 1e-9))


def cuts_of(job: Job) -> tuple[Cut, ...]:
    """A task's cuts; what an instance of theirs takes is what its function takes, where the cut does not say."""
    return tuple(
        replace(
            cut, device_memory=cut.device_memory or (memory_of(job, TRAIN_DEVICE) if cut.place != "server" else 0),
            edge_memory=cut.edge_memory or (memory_of(job, TRAIN_EDGE) if cut.place != "device" else 0),
        ) for cut in job.cuts
    )  # fmt: skip


def check(job: Job) -> None:
    """What is wrong with a task whoever is there (InputError)."""
    from nodes import schemes
    from nodes.policies.layers import LAYERS

    where, task = f"task {job.name}", job.task
    if task.model not in LAYERS:
        raise InputError("nobody has such a model", wanted="one of " + ", ".join(LAYERS), found=task.model, where=where)
    scheme = schemes.get(task.scheme)
    if scheme.pipelined:
        raise InputError(f"the platform does not host pipelines such as {task.scheme}", where=where,
                         wanted="a scheme of whole models, or of two halves", found=task.scheme)  # fmt: skip
    if task.hierarchical:
        raise InputError("edge servers do not average for themselves on the platform", where=where,
                         wanted="flat aggregation: all models of a round at once", found="hierarchical")  # fmt: skip
    if task.id != job.name:
        raise InputError("a task has two names", where=where, wanted=job.name, found=task.id)
    if not 0 < job.share <= 1 or (job.select is not None and not 0 < job.select.share <= 1):
        raise InputError("no share of data", wanted="above 0, at most 1", found=f"{job.share:g}", where=where)
    if task.rounds < 1 or not task.owners or not 1 <= job.least <= len(task.owners):
        raise InputError("a round needs a participant", where=where,
                         wanted="1 round or more, and a fewest from 1 to all owners",
                         found=f"{task.rounds} rounds, {job.least} of {len(task.owners)} owners")  # fmt: skip
    bare = [name for name in task.owners if job.batches.get(name, 0) < 1 or name not in task.data]
    if bare:
        raise InputError("owners have no data", wanted="a batch at least of each", found=", ".join(bare), where=where)
    if job.deadline_s is not None and math.isnan(job.deadline_s):
        raise InputError("no deadline", wanted="seconds, or none", found="nan", where=where)
    if job.target is not None and not 0 < job.target <= 1:
        raise InputError("no accuracy", wanted="above 0, at most 1", found=f"{job.target:g}", where=where)
    probe = Request(job.name, (), cuts_of(job), "", job.weights, absent=job.absent, raw_stays=job.raw_stays,
                    labels_stay=job.labels_stay, select_s=job.select_s, aggregate_s=job.aggregate_s,
                    evaluate_s=job.evaluate_s)  # fmt: skip
    if not probe.allowed:
        why = sorted({name for cut in probe.cuts for name in probe.objections(cut)})
        raise InputError("each of its cuts would have leave what is to stay", found=", ".join(why), where=where,
                         wanted="a cut that keeps it on the device")  # fmt: skip
