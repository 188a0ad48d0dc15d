"""Units that are no processes, for the orchestrator: they end what they are invoked for after a while, on a fake clock.

They check what they are told: memory, blobs that are there, pins, one half of each kind for an owner at a time, and a
cancellation for nothing but what was invoked.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from nodes.platform.orchestrator import Orchestrator
from nodes.policies.requests import Cut, Shared
from nodes.policies.units import Power
from nodes.wire import control as ctl
from nodes.wire.jobs import Job, PlatformSettings
from nodes.wire.platform_messages import CallEnded, InvokeOn, UnitState
from nodes.wire.task import Task

MB = 10**6
WHOLE = Cut(5, "device", 0.2, device_weights=MB // 10, device_memory=60 * MB)
SPLIT = Cut(2, "split", 0.05, 0.05, 20_000, 20_000, MB // 100, 9 * MB // 100, 40 * MB, 50 * MB)
MEMORIES = dict.fromkeys(("aggregate", "evaluate", "initialise", "select-data", "broadcast"), 40 * MB)
POWER = Power(1.0, 3.0, 2.0, 1.5)


def task(name, owners, **changes):
    servers = changes.pop("servers", ("cloud",))
    made = Task(
        id=name, scheme="fedfly", strategy="migrate", seed=1, model="cnn", cut=2, in_shape=(1, 8, 8), classes=10,
        rounds=2, batch=16, local_epochs=1, lr=0.1, momentum=0.0, weight_decay=0.0, threads=1, augment=False,
        owners=tuple(owners), samples=dict.fromkeys(owners, 160), placement=(), reference={},
        data={one: f"/{one}" for one in (*owners, *servers)}, edges=("e1", "e2"),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def job(name="t", owners=("d1", "d2"), *, of_task=None, **changes):
    settings = {
        "cuts": (WHOLE, SPLIT), "weights": MB // 10, "batches": dict.fromkeys(owners, 10), "aggregate_s": 0.01,
        "samples": {one: 100 * (i + 1) for i, one in enumerate(owners)}, "least": len(owners), "evaluate_s": 0.1,
        "memories": MEMORIES, "select_s": 0.001,
    }  # fmt: skip
    return Job(name=name, task=task(name, owners, **(of_task or {})), **{**settings, **changes})


@dataclass
class Sim:
    """A unit."""

    name: str
    kind: str
    memory: int
    speed: float = 1.0
    at: str = ""
    alive: bool = True
    in_reach: bool = True
    battery_j: float | None = None
    up: float | None = None
    blobs: set[str] = field(default_factory=set)
    pins: Counter[str] = field(default_factory=Counter)
    calls: dict[int, InvokeOn] = field(default_factory=dict)
    waits: dict[int, str] = field(default_factory=dict)  # units that calls wait for
    coming: str = ""
    silent: bool = False  # what it says arrives later
    warm: tuple[str, ...] = ()
    born: float = 0.0

    def used(self):
        return sum(call.memory or 0 for call in self.calls.values())

    def state(self):
        return UnitState(name=self.name, kind=self.kind, born=self.born, speed=self.speed,
                         memory=self.memory - self.used(), at=self.at,
                         cold={"aggregate": 0.5}, warm=self.warm, in_reach=self.in_reach, battery_j=self.battery_j,
                         coming=self.coming, up=self.up, down=self.up)  # fmt: skip


def one_on_battery():
    """Two devices at an edge server, one of them on a battery that is not full; and a cloud."""
    return [Sim("d1", "device", 100 * MB, at="e1", battery_j=9000), Sim("d2", "device", 100 * MB, at="e1"),
            Sim("e1", "edge", 300 * MB, 2.0), Sim("cloud", "cloud", 1000 * MB, 4.0)]  # fmt: skip


class Fleet:
    """All units, the clock, and the orchestrator. ``takes``: seconds of an invocation by function."""

    def __init__(self, units=None, *, accuracy=lambda task, round: round / 100, rate=8e6, **settings):
        self.units = {unit.name: unit for unit in units or [
            Sim("d1", "device", 100 * MB, at="e1"), Sim("d2", "device", 100 * MB, at="e1"),
            Sim("d3", "device", 100 * MB, at="e2"), Sim("e1", "edge", 300 * MB, 4.0), Sim("e2", "edge", 300 * MB, 4.0),
            Sim("cloud", "cloud", 1000 * MB, 1.0),
        ]}  # fmt: skip
        self.now = 0.0
        self.takes = Counter({"train": 2.0, "aggregate": 0.1, "evaluate": 0.2, "initialise": 0.5, "broadcast": 0.1,
                              "select-data": 0.3})  # fmt: skip
        self.accuracy = accuracy
        self.fails = {}          # function (or function, unit) -> kinds of its next ends
        self.said, self.invoked, self.cancelled, self.averages = [], [], [], []
        self.given_up = set()    # units that spoke again
        self._events, self._order, self._numbers = [], itertools.count(), itertools.count(1)
        self._beat = 1.0
        names = list(self.units)
        servers = [one.name for one in self.units.values() if one.kind != "device"]
        paths = [(a, b, rate, 0.01) for a in names for b in servers if a != b]
        paths += [(b, a, rate, 0.01) for a in names for b in servers if a not in servers]
        devices = [one for one in self.units.values() if one.kind == "device"]
        made = {
            "sites": {one.name: one.at for one in devices}, "paths": tuple(paths),
            "powers": {one.name: POWER for one in devices},
            "batteries": {one.name: (10_000.0, one.battery_j, 100.0) for one in devices if one.battery_j is not None},
            "shared": (Shared("ap", frozenset({"d1", "d2"}), 2 * rate, 2 * rate),),
        }  # fmt: skip
        self.settings = PlatformSettings(**{**made, **settings})
        self.orchestrator = Orchestrator(self.settings, self, lambda: self.now)
        self.report()

    # --- the orchestrator's hands -------------------------------------------------------------------------

    def number(self):
        return next(self._numbers)

    def invoke(self, unit, call):
        at = self.units[unit]
        self.invoked.append((self.now, unit, call))
        assert call.call not in {one.call for _, _, one in self.invoked[:-1]}, "a number twice"
        if not at.alive:
            return
        at.calls[call.call] = call
        assert at.used() <= at.memory, f"{unit} has {at.used()} of {at.memory}: {at.calls}"
        for part in call.parts:
            others = [one for name, sim in self.units.items() for one in sim.calls.values()
                      if one is not call and one.call not in self.cancelled and part in one.parts and sim.alive
                      and (name == unit or part.role != "tail")]  # fmt: skip
            assert not others, f"{part} is invoked twice"
        self._supply(at, call)

    def cancel(self, unit, call):
        assert any(one.call == call and name == unit for _, name, one in self.invoked)
        assert call not in self.cancelled or unit in self.given_up, "twice"
        self.cancelled.append(call)
        at = self.units[unit]
        if at.alive and call in at.calls:
            self._at(0.05, lambda: self._end(at, at.calls.get(call), CallEnded(call=call, kind="cancelled")))

    def gone(self, unit, other):
        assert not self.orchestrator._books.registry.alive(other)
        at = self.units[unit]
        for number, source in list(at.waits.items()):
            if source == other and number in at.calls:
                self._at(0.1, lambda number=number: self._lacks(at, at.calls.get(number)))

    def keep(self, unit, message):
        at = self.units[unit]
        if not at.alive:
            return
        at.pins.update(message.pin)
        at.pins.subtract(message.unpin)
        assert all(n >= 0 for n in at.pins.values()), f"{unit}: {message}"
        assert set(message.pin) <= at.blobs
        at.blobs = {digest for digest in at.blobs if at.pins[digest] > 0}  # what may go does

    def say(self, message):
        ctl.from_node(ctl.encode(message))
        self.said.append(message)

    # --- what happens to units ------------------------------------------------------------------------------

    def report(self, *names):
        for name in names or self.units:
            if self.units[name].alive and not self.units[name].silent:
                registry = self.orchestrator._books.registry
                if registry.kind(name) and not registry.alive(name):
                    self.given_up.add(name)
                self.orchestrator.state(self.units[name].state())

    def die(self, name, *, told=True):
        at = self.units[name]
        at.alive = False
        at.calls.clear()
        at.blobs.clear()
        at.pins.clear()
        if told:
            self.orchestrator.lost(name)

    def revive(self, name):
        """It begins again, with nothing of what it had."""
        self.units[name].alive, self.units[name].born = True, self.units[name].born + 1
        self.report(name)

    def move(self, device, edge, *, follows=True):
        """A handover: announced, then half a second later done; edge halves follow if they are awaited there."""
        at = self.units[device]
        at.coming = edge
        self.report(device)
        self._at(0.5, lambda: self._arrive(device, edge, follows))

    def _arrive(self, device, edge, follows):
        at = self.units[device]
        at.at, at.coming = edge, ""
        for head in [one for one in at.calls.values() if any(part.role == "head" for part in one.parts)]:
            task, owner = head.values["task"].id, head.values["owner"]
            tails = self._tails(task, owner)
            if follows and edge in tails and len(tails) == 2 and self.met.get((task, owner)):
                del self.met[task, owner]
                old = next(unit for unit in tails if unit != edge)
                values = {"samples": 0, "moved": edge}
                self._end(self.units[old], tails[old], CallEnded(call=tails[old].call, values=values))
                self._meet(task, owner, edge)
        self.report(device)

    # --- what invocations come to -----------------------------------------------------------------------------

    def digests(self, call):
        groups = [[given] if isinstance(given, str) else given.values() for given in call.inputs.values()]
        return [one for group in groups for one in group]

    def _supply(self, at, call):
        """Fetch what an invocation needs, and begin it. Units that are silent do not answer for so long."""
        if at.calls.get(call.call) is not call:
            return
        at.waits.pop(call.call, None)
        for digest in self.digests(call):
            source = self.units.get(call.where.get(digest, ""))
            if digest in at.blobs or source is None:
                continue
            if source.silent or not source.alive:
                at.waits[call.call] = source.name
                self._at(1.0, lambda: self._supply(at, call))
                return
            at.blobs |= {digest} & source.blobs
        if not at.blobs.issuperset(self.digests(call)):
            self._at(0.1, lambda: self._lacks(at, call))
        elif call.function.startswith("train"):
            self._at(call.time_limit, lambda: self._end(at, call, CallEnded(call=call.call, kind="time")))
            self._meet(call.values["task"].id, call.values["owner"])
        else:
            self._at(self.takes[call.function], lambda: self._end(at, call, self._result(at, call)))

    def _lacks(self, at, call):
        missing = [digest for digest in self.digests(call) if digest not in at.blobs] if call else []
        sources = [self.units[call.where[digest]] for digest in missing if call.where.get(digest)]
        lacks = [(digest, one.name) for digest in missing for one in (at, *sources)
                 if one.alive and not one.silent and digest not in one.blobs]  # fmt: skip
        self._end(at, call, call and CallEnded(call=call.call, kind="missing", reason="", lacks=tuple(lacks)))

    def _tails(self, task, owner):
        return {name: one for name, unit in self.units.items() for one in unit.calls.values()
                if any((part.task, part.role, part.owner) == (task, "tail", owner) for part in one.parts)
                and one.call not in self.cancelled and one.call not in unit.waits}  # fmt: skip

    met: dict[tuple[str, str], int]

    def _meet(self, task, owner, at=""):
        """Both halves of a pair, or a whole model, are there: they end after a while, if nothing comes between."""
        self.met = getattr(self, "met", {})
        device = self.units[owner]
        mine = [one for one in device.calls.values() if one.parts and one.values["owner"] == owner
                and one.values["task"].id == task and one.call not in self.cancelled
                and one.call not in device.waits]  # fmt: skip
        if not mine:
            return
        head = mine[-1]
        if head.parts[0].role == "whole":
            self._at(self.takes["train"], lambda: self._end(device, head, self._result(device, head)))
            return
        tails = self._tails(task, owner)
        unit = at or next(row.node for row in head.values["task"].placement if row.part.role == "tail")
        if unit not in tails:
            return
        tail = tails[unit]
        if self.met.get((task, owner)) == tail.call:
            return  # they are at it, and another one waits for them to come
        self.met[task, owner] = tail.call

        def over():
            server = self.units[unit]
            if tail.call in server.calls and head.call in device.calls and self.met.get((task, owner)) == tail.call:
                del self.met[task, owner]
                self._end(server, tail, self._result(server, tail))
                self._at(0.02, lambda: self._end(device, head, CallEnded(call=head.call, values={"moved": ""})))

        self._at(self.takes["train"], over)

    def _result(self, at, call):
        for key in ((call.function, at.name), call.function):
            if self.fails.get(key):
                kind, lacks = self.fails[key].pop(0), ()
                if kind == "damaged" and call.inputs:
                    at.blobs.discard(digest := self.digests(call)[0])
                    lacks = ((digest, at.name),)
                return CallEnded(call=call.call, kind=kind, reason="as the test has it", lacks=lacks)
        values, outputs = {}, {}
        match call.function:
            case "initialise":
                outputs["weights"] = f"{call.task}/0"
            case "select-data":
                outputs["keep"] = f"keep {call.task} {at.name}"
            case "broadcast":
                whole = len(call.values["layers"]) == 5
                outputs["part"] = call.inputs["weights"] + ("" if whole else f"[{call.values['layers'][0]}]")
            case "aggregate":
                models, samples = call.inputs["models"], call.values["samples"]
                assert set(models) == set(samples)
                self.averages.append((call.task, dict(models)))
                number = {model.split()[1] for model in models.values()}
                assert len(number) == 1, f"models of several rounds: {models}"
                outputs["weights"] = f"{call.task}/{number.pop()}:" + "+".join(sorted(models))
            case "evaluate":
                values = {"accuracy": self.accuracy(call.task, self.round_of(call.inputs["weights"])), "loss": 1.0}
            case _:
                owner, number = call.values["owner"], call.values["round"]
                start = call.inputs["weights"].split("[")[0]
                assert start.split(":")[0] == f"{call.task}/{number - 1}", f"round {number} begins with {start}"
                outputs["weights"] = f"{owner} {number} {start}"
                values = {"samples": 10, "moved": ""}
        return CallEnded(call=call.call, outputs=outputs, values=values, reserved=call.memory or 0)

    @staticmethod
    def round_of(digest):
        return int(digest.split(":")[0].rsplit("/")[-1])

    def _end(self, at, call, message):
        if call is None or not at.alive or at.calls.pop(call.call, None) is None:
            return
        for digest in message.outputs.values():
            at.blobs.add(digest)
            at.pins[digest] += 1
        self._tell(at, at.born, message)

    def _tell(self, at, born, message):
        if not at.alive or at.born != born:
            return
        if at.silent:
            self._at(1.0, lambda: self._tell(at, born, message))
        else:
            self.orchestrator.ended(at.name, message)

    # --- time -------------------------------------------------------------------------------------------------

    def _at(self, seconds, act):
        heapq.heappush(self._events, (self.now + seconds, next(self._order), act))

    def step(self):
        """Let the orchestrator do what is due, now."""
        for _ in range(50):
            due = self.orchestrator.due()
            if due is None or due > 1e-9:
                return
            self.now += due  # what is left by rounding
            self.orchestrator.step()
        raise AssertionError("the orchestrator finds no rest")

    def run(self, seconds):
        """So much time passes."""
        until = self.now + seconds
        self.step()
        while True:
            due = self.orchestrator.due()
            times = [self._beat, until]
            times += [self._events[0][0]] if self._events else []
            times += [self.now + due] if due is not None else []
            self.now = max(min(times), self.now)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            if self.now >= self._beat:
                self._beat += 1.0
                self.report()
            self.orchestrator.step()
            self.step()
            if self.now >= until:
                return

    # --- what was said -----------------------------------------------------------------------------------------

    def of(self, kind, name=""):
        return [one for one in self.said if isinstance(one, kind) and name in ("", getattr(one, "task", ""))]

    def status(self, name="t"):
        return next(one for one in self.orchestrator.status() if one.name == name)

    def functions(self, name="t"):
        """All that was invoked for a task, in order."""
        return [call.function for _, _, call in self.invoked if call.task == name]

    def open(self):
        return [call for unit in self.units.values() if unit.alive for call in unit.calls.values()]

    def owners(self, round, name="t"):
        """Who a round was averaged of."""
        return next(set(models) for task, models in reversed(self.averages)
                    if task == name and f" {round} " in next(iter(models.values())))  # fmt: skip
