"""The mobility replay of one task: notices, handovers, outages and gap probes, driven by events that are due.

A move's life: the device is told as a modem would tell it; after the notice's lead the port moves; the device is told
that it has. A move that has a time is told so much earlier that the port moves then; one at a point of the training is
told when its device has done its share of the round. A probe stream on the device's link measures the gap all the
while. Who comes back from an outage at another site is told when it does, and nothing can be measured.

A device that has died is left alone: what the timeline has for it is not carried out, and its link is not touched,
which may have gone with it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial

from nodes.policies.prediction import Prediction
from nodes.wire import control as ctl
from testbed.emulation.calibrate import Gap, measure_gap
from testbed.errors import EmulationError
from testbed.experiment.changes import Move
from testbed.experiment.plan import Plan
from testbed.run import targets
from testbed.run.mobile import HANDOVER, LinkDown
from testbed.run.moves import Carried
from testbed.run.session import Session

_AFTER_S = 0.5
"""How long the probe goes on after a handover."""

_SHOWS_S = 3.0
"""A node that dies is noticed within so long: nodes are looked at every second, and the engine takes its time."""


class Replay:
    """Carries out the moves of one task.

    Args:
        session: Where. task: Whose nodes are told. moves: What.
    """

    def __init__(self, session: Session, task: str, moves: tuple[Move, ...]) -> None:
        self._session = session
        self._plan: Plan = session.real
        self._task = task
        self._due: list[tuple[float, bool, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._scripted = [m for m in moves if m.round is not None]
        self._timed = [m for m in moves if m.at is not None]
        self._site = {n.name: n.site or "" for n in self._plan.nodes if n.kind == "device"}
        self._link = {link.a: link.name for link in self._plan.links if link.kind == "access"}
        self._begin = 0.0
        self._held: dict[str, dict[str, LinkDown]] = {}  # devices whose links are down, by why
        self._changed: list[LinkDown] = []
        self._probes: dict[int, tuple[AbstractContextManager[Gap], Gap]] = {}
        self._latest: dict[str, Carried] = {}  # of each device, whose port it has followed
        self.carried: list[Carried] = []
        self.downs: list[LinkDown] = []
        """Links that were down, as they went."""

    def start(self, begin: float) -> None:
        """The task has started: timed moves count from here."""
        self._begin = begin
        for move in self._timed:
            assert move.at is not None
            if any(o.device == move.device and o.end == move.at for o in self._plan.outages):
                self._at(begin + move.at, partial(self._come_back, move, begin + move.at))
            else:
                told = max(begin, begin + move.at - self._plan.lead)
                self._at(told, partial(self._announce, move, begin + move.at))
        for outage in self._plan.outages:  # after the moves: who comes back elsewhere is there before its link is up
            due = begin + outage.begin
            self._at(due, partial(self._hold, outage.device, outage.why, due, first=outage.begin == 0))
            if outage.end is not None:
                self._at(begin + outage.end, partial(self._release, outage.device, outage.why))
        for prediction in self._plan.predictions:
            # What is expected at a handover's own moment is about the next one.
            self._at(begin + prediction.made, partial(self._foretell, prediction), last=True)
        # "0 % of round 1" is due before the first batch.
        for move in [m for m in self._scripted if m.round == 1 and m.progress == 0]:
            self._scripted.remove(move)
            self._announce(move)

    def progress(self, message: ctl.Progress) -> None:
        """A device has done a batch: moves that this makes due begin."""
        for move in [m for m in self._scripted if m.device == message.device]:
            assert move.round is not None
            assert move.progress is not None
            wanted = math.ceil(move.progress * message.batches - 1e-9)
            reached = message.round > move.round or (message.round == move.round and message.done >= wanted)
            # "0 % of round r" is due when the round before it is done.
            before = wanted == 0 and message.round == move.round - 1 and message.done == message.batches
            if reached or before:
                self._scripted.remove(move)
                self._announce(move)

    def next_due(self) -> float | None:
        """When `run_due` has something to do, CLOCK_MONOTONIC."""
        return self._due[0][0] if self._due else None

    def changed(self) -> list[LinkDown]:
        """Links that have gone down or come up since this was asked last, as they are now."""
        found, self._changed = self._changed, []
        return found

    def run_due(self) -> None:
        """Do everything that is due by now."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[-1]()

    def finish(self) -> list[str]:
        """Close what is open; returns what was asked for and did not happen, in words.

        A trace may outlast the training: what it has after that was not asked for. Nor could those move who had died.
        """
        lasted = time.monotonic() - self._begin
        for carried in [c for c in self.carried if id(c) in self._probes]:
            # The gap of a handover in the last moments of the training is measured to its end all the same.
            time.sleep(max(0.0, carried.end + _AFTER_S - time.monotonic()) if carried.done else 0.0)
            self._close_probe(carried)
        for device, reasons in list(self._held.items()):
            for reason in list(reasons):
                self._release(device, reason)
        begun = [id(c.move) for c in self.carried if c.done]
        missing = [*self._scripted, *(m for m in self._timed if id(m) not in begun)]
        missing += [c.move for c in self.carried if not c.done and c.move not in missing]
        missing = [m for m in missing if not (m.wandered and m.at is not None and m.at > lasted)]
        missing = [m for m in missing if m.device not in self._session.lost]
        return [f"the move of {m.device} to {m.to} did not happen: training had ended before" for m in missing]

    def go_home(self) -> None:
        """Put every device back to where the experiment has it at the start."""
        for device, home in self._site.items():
            if self._session.bed.record.node(device).site != home:
                self._session.bed.handover(device, home)

    def bury(self, device: str, at: float) -> None:
        """A device has died, at ``at`` (CLOCK_MONOTONIC): nothing is measured at it or counted of it any more."""
        for carried in [c for c in self.carried if c.device == device and id(c) in self._probes]:
            self._probes.pop(id(carried))[0].__exit__(None, None, None)  # its silence is not the handover's
        for down in self._held.pop(device, {}).values():
            down.end, down.turned = max(at, down.begin), False
            self._changed.append(down)

    @contextmanager
    def _at_link(self, device: str) -> Iterator[None]:
        """Do something to a device's link. That may fail because the device has just died: it soon shows whether."""
        try:
            yield
        except EmulationError as error:
            if device not in self._session.expendable:
                raise
            self._at(time.monotonic() + _SHOWS_S, partial(self._require_dead, device, error))

    def _require_dead(self, device: str, error: EmulationError) -> None:
        if device not in self._session.lost:
            raise error

    # --- one move ---------------------------------------------------------------------------------------

    def _at(self, when: float, action: Callable[[], None], *, last: bool = False) -> None:
        """Do something at a moment; ``last``: after all else that is due then."""
        heapq.heappush(self._due, (when, last, next(self._order), action))

    def _announce(self, move: Move, when: float | None = None) -> None:
        if move.device in self._session.lost:
            return
        carried = self._notice(move, when)
        old_edge = self._plan.site(carried.origin).edge
        if old_edge and old_edge not in self._session.lost and not self._held.get(move.device):
            self._watch_gap(carried, old_edge)
        assert carried.due is not None
        self._at(carried.due, partial(self._hand_over, carried))

    def _foretell(self, prediction: Prediction) -> None:
        if prediction.device in self._session.lost:
            return
        guess = prediction.guess
        edge = self._plan.site(guess.to).edge if guess else None
        # From now, not from when it was to be told: the handover does not wait for whoever is late.
        left = max(0.0, self._begin + guess.at - time.monotonic()) / self._plan.dilation if guess else None
        self._session.control.send(prediction.device, ctl.Forecast(self._task, edge or "", left))

    def _come_back(self, move: Move, when: float) -> None:
        if move.device in self._session.lost:
            return
        carried = self._notice(move, when)
        self._hand_over(carried)

    def _notice(self, move: Move, when: float | None) -> Carried:
        here = self._session.bed.record.node(move.device).site or ""
        carried = Carried(move, move.device, here, move.to, noticed=time.monotonic())
        carried.due = due = carried.noticed + self._plan.lead if when is None else when
        self.carried.append(carried)
        edge = self._plan.site(move.to).edge
        if edge:
            left = max(0.0, due - carried.noticed) / self._plan.dilation
            self._session.control.send(move.device, ctl.Notice(self._task, edge, done=False, in_s=left))
        return carried

    def _watch_gap(self, carried: Carried, edge: str) -> None:
        try:
            probe = measure_gap(targets.gap(self._session.bed, carried.device, edge))
            self._probes[id(carried)] = (probe, probe.__enter__())
        except EmulationError:
            if not self._session.expendable & {edge, carried.device}:
                raise
            # One of them has just died: there is nothing left to be silent.

    def _hand_over(self, carried: Carried) -> None:
        if carried.device in self._session.lost:
            return
        with self._at_link(carried.device):
            self._move_port(carried)

    def _move_port(self, carried: Carried) -> None:
        interruption = self._plan.interruption
        if interruption:
            self._hold(carried.device, HANDOVER, carried.due or time.monotonic())
        done = self._session.bed.handover(carried.device, carried.to)
        carried.begin, carried.end, carried.command_s = done.begin, done.end, done.command_s
        carried.moved = done.end
        self._latest[carried.device] = carried
        carried.origin = done.source  # where it was by now, should an earlier move have been under way
        if interruption:
            self._at(done.begin + interruption, partial(self._arrive, carried))
        else:
            self._arrive(carried)

    def _arrive(self, carried: Carried) -> None:
        if carried.device in self._session.lost:
            return
        if self._latest[carried.device] is not carried:  # it was moved on in the interruption, which goes on
            carried.end = time.monotonic()
            self._close_probe(carried)
            return
        if self._plan.interruption:
            self._release(carried.device, HANDOVER)
            carried.end = time.monotonic()
        edge = self._plan.site(carried.to).edge
        if edge:
            self._session.control.send(carried.device, ctl.Notice(self._task, edge, done=True))
        self._at(carried.end + _AFTER_S, partial(self._close_probe, carried))

    # --- links that are down ----------------------------------------------------------------------------

    def _hold(self, device: str, why: str, due: float, *, first: bool = False) -> None:
        reasons = self._held.setdefault(device, {})
        if why in reasons or device in self._session.lost:
            return
        if not reasons:
            with self._at_link(device):
                self._session.bed.emulator.carrier(self._link[device], False)
        reasons[why] = LinkDown(device, why, time.monotonic(), due, first=first, turned=not reasons)
        self.downs.append(reasons[why])
        self._changed.append(replace(reasons[why]))

    def _release(self, device: str, why: str) -> None:
        reasons = self._held.get(device, {})
        if why in reasons:
            down = reasons.pop(why)
            if not reasons:
                with self._at_link(device):
                    self._session.bed.emulator.carrier(self._link[device], True)
            down.end, down.turned = time.monotonic(), not reasons
            self._changed.append(down)

    def _close_probe(self, carried: Carried) -> None:
        if id(carried) in self._probes:
            probe, gap = self._probes.pop(id(carried))
            probe.__exit__(None, None, None)
            carried.gap, carried.probes_lost = gap.gap_s, gap.lost
