"""What stands between the orchestrator and the units that it gives orders to."""

from nodes.platform.seat import Seat
from nodes.wire import control as ctl
from nodes.wire.jobs import PlatformSettings
from nodes.wire.platform_messages import CallEnded, CancelCall, InvokeOn, KeepBlobs, UnitLost, UnitState
from tests.unit.platform.fakes import Clock


class Brain:
    """An orchestrator that writes down what it is told."""

    def __init__(self, settings, act, clock):
        self.act, self.clock, self.heard, self.at = act, clock, [], None

    def __getattr__(self, name):
        return lambda *what: self.heard.append((name, *what))

    def due(self):
        return self.at


def brains():
    """A list, and what makes brains and puts them there."""
    made = []

    def make(*what):
        made.append(Brain(*what))
        return made[-1]

    return made, make


def test_the_orchestrator_is_fed_and_its_orders_are_carried_out():
    posted, said, clock = [], [], Clock()
    made, make = brains()

    def post(unit, order):
        posted.append((unit, order))
        return "no way there" if unit == "eb" else ""

    seat = Seat(post, said.append, make=make, dilation=2.0, clock=clock)
    seat.told(ctl.CancelJob("t"))
    seat.hear("d1", UnitState(name="d1", kind="device"))
    seat.lost("d1")
    assert [type(m) for m in said] == [ctl.Failed]
    assert seat.due() is None
    seat.begin(PlatformSettings())
    [brain] = made
    clock.now += 4
    assert brain.clock() == 2.0
    seat.told(ctl.CancelJob("t"))
    seat.lost("d1")
    brain.at = 1.5
    assert seat.due() == 3.0
    seat.step()
    brain.at = 0.0
    seat.step()
    assert brain.heard == [("cancel", "t"), ("lost", "d1"), ("step",)]
    brain.act.cancel("ea", 3)
    brain.act.keep("ea", KeepBlobs(pin=("x",)))
    brain.act.gone("ea", "eb")
    brain.act.say(ctl.CancelJob("x"))
    assert posted == [("ea", CancelCall(3)), ("ea", KeepBlobs(pin=("x",))), ("ea", UnitLost("eb"))]
    assert said[1:] == [ctl.CancelJob("x")]
    # What cannot be sent is heard of as an end; not in the middle of the asking.
    brain.heard.clear()
    brain.at = None
    brain.act.invoke("eb", InvokeOn(call=7, function="f"))
    assert (brain.heard, seat.due()) == ([], 0.0)
    seat.step()
    assert brain.heard == [("ended", "eb", CallEnded(call=7, kind="died", reason="no way there"))]


def test_an_orchestrator_is_told_nothing_more_when_units_begin_afresh():
    """It would take what they give up for losses, and ask them anew."""
    made, make = brains()
    seat = Seat(lambda *_: "no way there", lambda _: None, make=make, clock=Clock())
    seat.begin(PlatformSettings())
    seat.invoke("d1", InvokeOn(call=1, function="f"))
    seat.afresh()
    made[0].at = 0.0
    seat.step()
    seat.hear("d1", UnitState(name="d1", kind="device", born=2.0))
    seat.hear("d1", CallEnded(call=1, kind="cancelled"))
    assert (made[0].heard, seat.due()) == ([], None)
    seat.begin(PlatformSettings())
    seat.hear("d1", UnitState(name="d1", kind="device", born=2.0))
    seat.step()
    assert [[what[0] for what in brain.heard] for brain in made] == [[], ["state"]]
    assert made[0].act.number() < made[1].act.number(), "what was asked for before may still come"


def test_what_the_dead_said_last_does_not_bring_them_back():
    made, make = brains()
    seat = Seat(lambda *_: "", lambda _: None, make=make, clock=Clock())
    seat.begin(PlatformSettings())
    [brain] = made
    seat.hear("d1", UnitState(name="d1", kind="device"))
    seat.lost("d1")
    seat.hear("d1", UnitState(name="d1", kind="device", memory=1))
    seat.hear("d1", CallEnded(call=3))  # what it has done is charged
    assert [what[0] for what in brain.heard] == ["state", "lost", "ended"]
