"""Tasks come, units die, speak no more, come back, move and lose blobs, functions fail: every task ends all the same.

The fleet looks at each invocation that memory is never over, that its blobs are to be had, and that no half of a
model is there twice.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nodes.wire import control as ctl
from nodes.wire.task import Select
from tests.unit.platform.fleet import MB, SPLIT, WHOLE, Fleet, Sim, job

DEVICES, EDGES = ("d1", "d2", "d3"), ("e1", "e2")
ENDED = ("done", "refused", "failed", "cancelled")
FUNCTIONS = ("train-device", "train-edge", "aggregate", "evaluate", "broadcast", "initialise", "select-data")
KINDS = ("raised", "died", "memory", "missing", "damaged", "returned")


class Tasks(RuleBasedStateMachine):
    """The orchestrator, with all that can happen to it."""

    @initialize(tight=st.booleans(), policy=st.sampled_from(["greedy", "random", "all-edge", "blind-network"]))
    def begin(self, tight, policy):
        memory = 130 * MB if tight else 400 * MB
        self.fleet = Fleet(
            [Sim(name, "device", 70 * MB if tight else 150 * MB, at=EDGES[i % 2], battery_j=9000.0)
             for i, name in enumerate(DEVICES)]
            + [Sim(name, "edge", memory, 2.0) for name in EDGES] + [Sim("cloud", "cloud", memory, 4.0)],
            policy=policy, queue=4,
        )  # fmt: skip
        self.count = 0

    @rule(
        owners=st.lists(st.sampled_from(DEVICES), min_size=1, unique=True), rounds=st.integers(1, 3),
        cuts=st.sampled_from([(WHOLE,), (SPLIT,), (WHOLE, SPLIT)]), least=st.integers(1, 3),
        absent=st.sampled_from([0, 99]), deadline=st.sampled_from([None, None, 20.0, 60.0, -1.0]),
        goal=st.sampled_from([None, 0.02]), select=st.booleans(),
        servers=st.sampled_from([("cloud",), ("cloud", *EDGES)]), drop=st.sampled_from([None, 3.0]),
        strategy=st.sampled_from(["migrate", "relay"]),
    )  # fmt: skip
    def submit(self, owners, rounds, cuts, least, absent, deadline, goal, select, servers, drop, strategy):
        self.count += 1
        of_task = {"rounds": rounds, "servers": servers, "drop_s": drop, "strategy": strategy}
        self.fleet.orchestrator.submit(job(
            f"t{self.count}", tuple(sorted(owners)), cuts=cuts, least=min(least, len(owners)), absent=float(absent),
            deadline_s=deadline, target=goal, of_task=of_task, select=Select("random", 0.5) if select else None,
            share=0.5 if select else 1.0,
        ))  # fmt: skip

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.0, 2.5, 8.0, 25.0]))
    def wait(self, seconds):
        self.fleet.run(seconds)

    @rule(function=st.sampled_from(FUNCTIONS), kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    def fail(self, function, kinds):
        self.fleet.fails.setdefault(function, []).extend(kinds)

    @rule(name=st.sampled_from(DEVICES + EDGES), told=st.booleans())
    def die(self, name, told):
        if self.fleet.units[name].alive:
            self.fleet.die(name, told=told)

    @rule(name=st.sampled_from(DEVICES + EDGES))
    def revive(self, name):
        if not self.fleet.units[name].alive:
            self.fleet.revive(name)

    @rule(name=st.sampled_from((*DEVICES, *EDGES, "cloud")), number=st.integers(0, 9))
    def forget(self, name, number):
        """A blob is damaged, or not there any more, although it was to be kept."""
        blobs = sorted(self.fleet.units[name].blobs)
        self.fleet.units[name].blobs -= set(blobs[number : number + 1])

    @rule(name=st.sampled_from(DEVICES + EDGES), silent=st.booleans())
    def speak(self, name, silent):
        self.fleet.units[name].silent = silent
        self.fleet.report(name)

    @rule(device=st.sampled_from(DEVICES), edge=st.sampled_from(EDGES), follows=st.booleans())
    def move(self, device, edge, follows):
        if self.fleet.units[device].alive:
            self.fleet.move(device, edge, follows=follows)

    @rule(device=st.sampled_from(DEVICES), left=st.sampled_from([0.0, 101.0, 130.0, 9000.0]))
    def drain(self, device, left):
        self.fleet.units[device].battery_j = left
        self.fleet.report(device)

    @rule(device=st.sampled_from(DEVICES), up=st.sampled_from([None, 0.0, 1e5, 8e6]), reach=st.booleans())
    def radio(self, device, up, reach):
        self.fleet.units[device].up, self.fleet.units[device].in_reach = up, reach
        self.fleet.report(device)

    @precondition(lambda self: self.count)
    @rule(number=st.integers(1, 9))
    def cancel(self, number):
        self.fleet.orchestrator.cancel(f"t{number % self.count + 1}")

    @invariant()
    def averaged_of_its_participants(self):
        fleet = getattr(self, "fleet", None)
        for done in fleet.of(ctl.RoundDone) if fleet else ():
            owners = next(one.task.owners for one in self.jobs() if one.name == done.task)
            digest = [models for name, models in fleet.averages if name == done.task
                      and next(iter(models.values())).split()[1] == str(done.round)]  # fmt: skip
            assert set(owners) - set(done.missing) in [set(models) for models in digest]

    @invariant()
    def states_follow_each_other(self):
        fleet = getattr(self, "fleet", None)
        states = {}
        for one in fleet.of(ctl.JobStatus) if fleet else ():
            states.setdefault(one.status.name, []).append(one.status.state)
        for name, every in states.items():
            order = [every[0], *(b for a, b in pairwise(every) if a != b)]
            legal = [["queued", "running", end] for end in ENDED] + [["queued", end] for end in ENDED]
            legal += [["queued"], ["queued", "running"], ["refused"]]
            assert order in legal, (name, order)

    def jobs(self):
        return [one.job for one in self.fleet.orchestrator._tasks.values()]

    def teardown(self):
        """When nothing more goes wrong, all comes to its end, and nothing but the best models is kept."""
        fleet = getattr(self, "fleet", None)
        if fleet is None:
            return
        fleet.fails.clear()
        for name, unit in fleet.units.items():
            unit.silent, unit.in_reach, unit.up = False, True, None
            if not unit.alive:
                self.revive(name)
        fleet.run(600)
        for status in fleet.orchestrator.status():
            assert status.state in ENDED, status
            assert status.reason
        assert not fleet.open(), fleet.open()
        best = {task.best.digest for task in fleet.orchestrator._tasks.values() if task.best}
        pins = {digest for unit in fleet.units.values() for digest, n in unit.pins.items() if n}
        assert pins == best
        self.averaged_of_its_participants()
        self.states_follow_each_other()


Tasks.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTasks = Tasks.TestCase
