"""What devices hear from their modems and batteries while the platform runs, and what of it is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nodes.events import Span
from nodes.wire import control as ctl
from testbed.experiment.plan import Plan
from testbed.run import mobile
from testbed.run.mobile import LinkDown
from testbed.run.moves import Carried
from testbed.run.platform.batteries import Batteries
from testbed.run.platform.radio import Handed, Radios
from testbed.run.virtual import VirtualTime

Tell = Callable[[str, ctl.ToNode], None]


class Modems:
    """Tells devices; all times are virtual.

    Args:
        plan: In virtual time. begin: When the timeline began. time: Tells real times as virtual ones.
        tell: Says something to a node.
    """

    def __init__(self, plan: Plan, begin: float, time: VirtualTime, tell: Tell) -> None:
        self._time = time
        self._tell = tell
        self._radios, self._batteries = Radios(plan, begin), Batteries(plan, begin)
        self._handed: list[Handed] = []
        self._down: dict[str, set[str]] = {}
        self._charged = 0  # events that batteries have been charged with

    def second(self, now: float, spans: Sequence[Span], lost: Sequence[str]) -> None:
        """A second has gone by.

        Args:
            now: The moment.
            spans: All events so far.
            lost: Nodes that have died.
        """
        self._rates(now)
        fresh, self._charged = spans[self._charged :], len(spans)
        rates = self._radios.rates(self._handed)
        for device, left in self._batteries.changes(now, fresh, rates, lost).items():
            self._tell(device, ctl.Battery(left))

    def links(self, now: float, changed: Sequence[LinkDown], carried: Sequence[Carried], scheme: str) -> list[Span]:
        """Links have perhaps gone down, come up, or moved; returns what is to be written down.

        Args:
            now: The moment.
            changed: Links that have gone down or come up since this was asked last, CLOCK_MONOTONIC.
            carried: All moves so far, likewise.
            scheme: What events are called after.
        """
        spans = []
        for down in changed:
            reasons = self._down.setdefault(down.device, set())
            (reasons.add if down.end is None else reasons.discard)(down.why)
            if not reasons:
                del self._down[down.device]
            for kind, begin, end, attrs in mobile.events(down.told(self._time)):
                spans.append(Span(kind=kind, node=down.device, scheme=scheme, begin=begin, end=end, attrs=attrs))
        done = [one for one in carried if one.done]
        moved = len(done) > len(self._handed)
        if moved:
            self._handed = [Handed(one.device, one.to, self._time.at(one.end)) for one in done]
        if changed or moved:
            self._rates(now)
        return spans

    def _rates(self, now: float) -> None:
        for device, radio in self._radios.changes(now, self._handed, self._down).items():
            self._tell(device, radio)
