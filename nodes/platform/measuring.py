"""Reference times and checks of speed on a unit: an agent has no torch, so an instance does that, of ``measure``.

It is no function of a task. Nobody but the agent invokes it, for the controller, before there are any tasks: it is told
by control messages what to measure, and answers by them. It has all of the unit's memory reserved, so nothing else runs
beside it; when a function needs memory, it is ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nodes.platform.builtin import TORCH_MEMORY
from nodes.platform.functions import Value, function
from nodes.platform.instances import Pool
from nodes.platform.messages import Said
from nodes.platform.outcomes import Invocation, Outcome
from nodes.wire import control as ctl

if TYPE_CHECKING:
    from nodes.platform.instance import Stream

NAME = "measure"
Order = ctl.Measure | ctl.PrepareSpeed | ctl.CheckSpeed


@function(
    name=NAME, inputs={"speed": Value(float | None, None)}, outputs={}, memory=TORCH_MEMORY, torch=True,
    time_limit=3600.0, imports=("nodes.runtime.measuring",), streams=True,
)  # fmt: skip
def measure(speed: float | None, stream: Stream) -> dict[str, Any]:
    """Measure reference times, or prepare a check of speed and do it when told to."""
    from nodes.runtime import measuring

    check = None
    while True:
        got = stream.receive(None)
        if not isinstance(got, bytes):
            continue
        match ctl.to_node(got):
            case ctl.Measure() as asked:
                stream.say(ctl.encode(measuring.measure(asked)))
                return {}
            case ctl.PrepareSpeed() as asked:
                check = measuring.prepare(asked, speed)
                stream.say(ctl.encode(ctl.SpeedReady()))
            case ctl.CheckSpeed() as told if check is not None:
                windows = check.run(told.begin, told.seconds, told.window_s)
                stream.say(ctl.encode(ctl.SpeedChecked(windows)))
                return {}
            case _:
                pass


class Measuring:
    """The agent's side of it.

    Args:
        pool: The unit's instances. speed: What its steps are paced to. fail: Says that something cannot be measured.
        learn: Takes what there is to learn of a cold start, before any function of a task has had one.
    """

    def __init__(
        self, pool: Pool, speed: float | None, fail: Callable[[str], None], learn: Callable[[Outcome], None]
    ) -> None:
        self._pool = pool
        self._speed = speed
        self._fail = fail
        self._learn = learn
        self._prepared = 0  # invocation that has prepared a check; 0: none

    def order(self, order: Order) -> None:
        """Have it done; answers go to the controller as all that instances say."""
        if isinstance(order, ctl.CheckSpeed):
            said = Said(ctl.encode(order))
            if not (self._prepared and self._pool.send(self._prepared, said)):
                self._fail("a check of speed was asked for that is not prepared")
            return
        whole = Invocation(NAME, values={"speed": self._speed}, memory=self._pool.memory)
        id_ = self._pool.submit(whole, self._over)
        self._pool.send(id_, Said(ctl.encode(order)))
        if isinstance(order, ctl.PrepareSpeed):
            self._prepared = id_

    def _over(self, outcome: Outcome) -> None:
        if outcome.id == self._prepared:
            self._prepared = 0
        self._learn(outcome)
        if not outcome.ok:
            self._fail(f"cannot measure: {outcome.reason}")
