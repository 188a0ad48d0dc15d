"""Looks after the servers of a pipeline, for its driver: who has died, is silent or refuses is gone around.

A driver that hears nothing for as long as its patience lasts asks all edge servers which stages they have, and the
aggregator whether anybody can be reached at all; `nodes.policies.fallback` decides on what they say. That a node has
died it is told. In either case it begins the round again with the next layout: what was done in the attempt is lost,
and nothing of it counts.

Once the aggregator has the whole model of a round (`Delivered`), a server that is lost costs nothing: the next round
opens with the next layout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from nodes.policies.fallback import WAIT, Doubt, following, preferred, stalled, weigh
from nodes.policies.layouts import PipelineLayout
from nodes.runtime.part import Context
from nodes.schemes._base import AGGREGATOR, stage_role
from nodes.wire.messages import DropStandby, Holds, PartId, Query
from nodes.wire.pipeline_messages import Refused

if TYPE_CHECKING:
    from nodes.schemes._watched import WatchedStage

TOKENS = 1 << 40
"""Tokens of its timers begin here; those of other timers of a driver stay below."""

STALL_S = 60.0
"""A pipeline in which nothing goes on for so long, though all servers answer, begins its round again; the next time it
waits twice as long. Nothing shorter tells a message that is lost, with a connection that was given up
(`nodes.wire.channel`), from one that takes long."""

SLOWER = 10
"""So many times as long it waits where weights are on their way: there are far more of them than of activations."""

LEAST_OFTEN = 10
"""While all is well or nobody can be reached, it asks at least every so many thirds of its patience."""


SOON_S = 1e-3
"""A timer that is so much too early is on time."""


class Watch:
    """One driver's; see there who calls what.

    Attributes:
        near: Edge server that the device is at.
        choose: Gives the layout that comes after one, by which servers are gone. Whoever knows more of the servers puts
            its own here.
        tell: Is told of each server that is silent or refuses, and why. (Who dies is told to all.)
    """

    def __init__(self, driver: WatchedStage, context: Context) -> None:
        self._driver = driver
        self._context = context
        nearest = PartId(context.task.id, stage_role(1), driver.id.owner)
        self.near = next((placed.node for placed in context.task.placement if placed.part == nearest), "")
        self.choose: Callable[[PipelineLayout, Collection[str]], PipelineLayout] = self._plainly
        self.tell: Callable[[str, str], None] = lambda server, why: None
        self._dead: set[str] = set()
        self._unfit: dict[str, str] = {}    # servers that are silent or refuse, and why
        self._watching = False
        self._round = 0
        self._token = TOKENS
        self._sign = 0.0                    # when anything went on for the last time
        self._reached_since = 0.0
        self._longest = 0.0                 # longest wait for gradients so far, s of the experiment
        self._asking = False
        self._asked_at = 0.0
        self._answers: dict[tuple[int, str], Holds] = {}
        self._reached = False
        self._doubt = Doubt()
        self._idle = 0                      # askings in a row after which there was nothing to be done
        self._stalls = 0                    # of this round

    # --- what servers there are -------------------------------------------------------------------------

    @property
    def gone(self) -> frozenset[str]:
        """Servers that no layout may have."""
        return frozenset(self._dead | self._unfit.keys())

    def forgive(self, server: str) -> None:
        """A server that was silent or refused may have stages again. The dead stay dead."""
        self._unfit.pop(server, None)

    def usable(self, layout: PipelineLayout) -> PipelineLayout:
        """This layout, or what comes after it when servers of it are gone."""
        if not self.gone & set(layout.nodes):
            return layout
        chosen = self.choose(layout, self.gone)
        return self._plainly(layout, self.gone) if self.gone & set(chosen.nodes) else chosen

    def _plainly(self, layout: PipelineLayout, gone: Collection[str]) -> PipelineLayout:
        settings = self._context.task.pipeline
        assert settings is not None, "the scheme has settings of a pipeline"
        answered = {node for _, node in self._answers}
        spare = preferred(self._context.task.edges, self.near)
        spare.sort(key=lambda node: node not in answered)
        return following(
            layout, gone, spare, schedule=settings.schedule, micro=settings.micro, depth=settings.depth
        )

    # --- what happens -----------------------------------------------------------------------------------

    def begin(self, number: int) -> None:
        """An attempt of this round begins."""
        if number != self._round:
            self._round, self._stalls = number, 0
        self._watching, self._asking, self._doubt, self._idle = True, False, Doubt(), 0
        self._sign = self._reached_since = self._context.now()
        self._sleep(self._context.task.patience)
        gone = sorted(self._driver.nodes & self.gone)
        if gone:  # somebody has chosen them in spite of that
            self._fall_back(gone, f"{' and '.join(gone)} cannot be had")

    def rest(self) -> None:
        """Nobody is waited for until the next round."""
        self._watching = self._asking = False

    def heard(self, *, gradients: bool = False) -> None:
        """Something has come, or has been done: all is well. ``gradients``: it was what a pipeline waits for."""
        now = self._context.now()
        if gradients:
            self._longest = max(self._longest, self._lasted(self._sign))
        self._sign = now

    def answered(self, src: PartId, body: Holds) -> None:
        """What a node has."""
        if not self._asking or body.number != self._token:
            return
        self._reached = True
        if src.role != AGGREGATOR:
            self._answers[int(src.role.removeprefix("stage")), body.node] = body

    def refused(self, body: Refused) -> None:
        """A server cannot do a stage's share of this attempt."""
        layout = self._driver.wanted
        if layout is None or body.stage >= layout.stages:
            return
        node = layout.nodes[body.stage]
        self._fall_back((node,) if body.full else (), f"{node} refuses stage {body.stage}: {body.reason}")

    def lost(self, node: str) -> None:
        """A node has died."""
        self._dead.add(node)
        if node in self._driver.nodes:
            self._fall_back((node,), f"{node} died")

    def awake(self, token: int) -> bool:
        """A timer has run out; whether it was one of these."""
        if token < TOKENS:
            return False
        if self._watching and token == self._token:
            self._look()
        return True

    # --- when nothing comes -----------------------------------------------------------------------------

    def _look(self) -> None:
        if self._asking:
            self._decide()
            return
        left = self._patience() - self._lasted(self._sign)
        if left > SOON_S:
            self._sleep(left)
        else:
            self._ask()

    def _ask(self) -> None:
        """Ask all servers for all stages: a stage may be on its way from one to another."""
        layout, task = self._driver.wanted, self._context.task
        assert layout is not None, "a round has begun"
        # The way of a question is that of micro-batches, and behind them.
        self._sleep(max(task.patience / 3, self._longest))
        self._asking, self._asked_at, self._answers, self._reached = True, self._context.now(), {}, False
        question, me = Query(self._token), self._driver.id
        self._context.send(me, PartId(task.id, AGGREGATOR, ""), question)
        for edge in self._alive():
            self._context.connect(edge)
            for stage in range(1, max(layout.stages, 2)):
                self._context.send(me, PartId(task.id, stage_role(stage), me.owner), question, node=edge)

    def _decide(self) -> None:
        self._asking = False
        if self._sign > self._asked_at:
            self._doubt, self._idle = Doubt(), 0
            self._sleep(max(0.0, self._patience() - self._lasted(self._sign)))
            return
        layout = self._driver.wanted
        assert layout is not None, "a round has begun"
        if not self._reached:
            self._reached_since = self._context.now()
        mine, nodes, alive = self._driver.position()[:2], self._driver.nodes, self._alive()
        self._doubt, verdict = weigh(self._doubt, layout, mine, self._answers, self._reached, nodes, alive)
        # A stage on its way is no doubt: its state may take long.
        doubtful = bool(self._doubt.silent or self._doubt.astray)
        if verdict is WAIT and not doubtful and self._stalled():
            self._stalls += 1
            verdict = stalled(layout, self._stalls)
        if verdict.reopen:
            self._fall_back(verdict.gone, verdict.why)
        elif doubtful:
            self._ask()
        else:
            self._idle += 1
            self._sleep(self._context.task.patience / 3 * min(self._idle, LEAST_OFTEN))

    def _stalled(self) -> bool:
        often = 1 if self._driver.at_work else SLOWER
        limit = max(STALL_S * often * 2**self._stalls, 4 * self._patience())
        return bool(self._lasted(max(self._sign, self._reached_since)) >= limit)

    def _alive(self) -> list[str]:
        return [edge for edge in self._context.task.edges if edge not in self._dead]

    def _fall_back(self, gone: Collection[str], why: str) -> None:
        """Go on without these servers."""
        layout = self._driver.wanted
        me = self._context.node
        for node in [node for node in gone if node != me and node not in self._dead]:
            self._unfit[node] = why
            self.tell(node, why)
        if layout is None:
            return  # the first round opens without them
        then = self.usable(layout)
        for stage in [stage for stage, node in enumerate(layout.nodes) if node in self.gone]:
            part = PartId(self._context.task.id, stage_role(stage), self._driver.id.owner)
            for edge in [edge for edge in self._alive() if edge not in self.gone]:  # who kept it has nobody to tell it
                self._context.send(self._driver.id, part, DropStandby(), node=edge)
        if self._watching:
            self._context.note(f"{why}: round {self._round} of {me} begins again with {then.describe()}")
            self._driver.reopen(then, why)
        elif then != layout:
            self._context.note(f"{why}: {me} goes on with {then.describe()}")
            self._driver.relay(then)
        else:
            return
        self._driver.went_around(then)

    def _patience(self) -> float:
        return max(self._context.task.patience, 4 * self._longest)

    def _lasted(self, since: float) -> float:
        """Seconds of the experiment since then."""
        return (self._context.now() - since) / self._context.dilation

    def _sleep(self, seconds: float) -> None:
        self._token += 1
        self._context.wake(self._driver.id, seconds, self._token)
