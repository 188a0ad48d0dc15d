"""The device's side of probing: what edge servers offer, found out from a device's first stage while it trains.

A probe of one server:

    Ping, Pong    `PINGS` times, one after the other: round-trip time, the least of them. The server says how long each
                  ping waited for it, and arrivals are stamped by threads that nothing keeps, so only the way counts.
    Probe ..      a train (`nodes.policies.trains`), from which the server takes the rate up
    Probe ..      a train back, from which the device takes the rate down
    Probed        what the server found, and what a few layers of real training work took there

Where no rate is known, trains may be too short to be trusted; there is one more pair of them then, without work. What
stood still, as TCP does while its window is small, is told as it was, and the next probe's train is larger.

Servers are probed one after the other, never at the same time: they would share the device's link. All of it is paid
from a budget (`nodes.policies.probing`), so a probe's cost is said ahead (`Probes.cost`) and told behind (`took`).

The device's own times by layer are measured as those of a server are: as real work on noise, paced as this node is.
Their ratio is what an approximate profile is made from. Seconds are real ones everywhere (`Context.dilation`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from nodes.events import Span
from nodes.policies import trains
from nodes.policies.layers import LAYERS
from nodes.policies.offers import Found
from nodes.policies.probing import FREE, Cost
from nodes.policies.profile import FULL
from nodes.policies.trains import NONE, UNKNOWN, Belief, Sizes
from nodes.runtime.part import Context
from nodes.schemes._base import PROBER
from nodes.schemes._bench import REPEATS, timed
from nodes.schemes._own_times import OwnTimes
from nodes.schemes._trains import Train, send_train
from nodes.wire.messages import Body, PartId
from nodes.wire.pipeline_messages import Ping, Pong, Probe, Probed
from nodes.wire.task import Pipeline

PINGS = 3
"""Of one ping what it met on its way would count as distance; the least of a few comes closer to it."""
HEAVIEST = 2
"""Layers of an approximate probe: those that take the device longest, as their times are the most certain and weigh the
most in whatever is planned."""
WORK_S = 0.25
"""Seconds of work after which a server begins no further repeat, s of the experiment."""
MOST_LOAD = 0.95
"""Of a server that others keep busy all the time, one twentieth is left: it takes turns."""
MARGIN = 1.5
"""A link or server may have become that much slower since it was last probed before a probe costs more than said."""
MESSAGE = 500
"""Bytes of a message besides its tensor, at the most: its header, with names of usual lengths, and framing."""
NAME, TIME = 24, 64
"""Bytes of a layer's name in a question, and of an operation's times in an answer, at the most."""
PATIENCE = 2.0
"""Times the task's patience that a server may say nothing, after which a probe has not returned."""
TOKENS = 1 << 32
"""Tokens of a probe's timers begin here; those of its part stay below."""


@dataclass
class Asking:
    """The probe under way."""

    server: str
    number: int
    begun: float
    said: Cost
    pings: int = 0
    sent: float = 0.0                  # the last ping
    rtt: float = 0.0                   # the least so far
    turn: int = 0                      # of trains; there was none yet
    up: Sizes = NONE
    back: Sizes = NONE
    down: Train = field(default_factory=Train)
    found: Found = field(default_factory=Found)
    busy_s: float = 0.0                # of the link with its trains, and of the server with its work
    bytes: int = 0                     # both ways
    heard: bool = True                 # something since its timer was set


class Probes:
    """Probes of one device, held by its driver.

    Use: `device.measure` in ``rehearse``; `start` when `nodes.policies.probing.look` says so, for a ``cost`` said
    ahead; `take` for each `Pong`, `Probe` and `Probed` that comes; `expired` in ``awake``; `lost` when a node dies.

    Args:
        context: The driver's.
        part: The driver.
        settings: The pipeline's.

    Attributes:
        took: What the last probe that ended took (lost ones what was said); goes to `probing.returned`.
        said: What was said ahead of it.
        device: The device's own times, which what a server takes is held against; to be measured before any probe.
    """

    def __init__(self, context: Context, part: PartId, settings: Pipeline) -> None:
        self.took, self.said = FREE, FREE
        self.device = OwnTimes(context, part, settings)
        self._context, self._part = context, part
        self._full = settings.profile == FULL
        self._beliefs: dict[str, tuple[Belief, Belief, float]] = {}  # up, down, rtt
        self._ratios: dict[str, float] = {}
        self._number = 0
        self._now: Asking | None = None
        self._line: deque[str] = deque()

    # --- what a driver asks for -------------------------------------------------------------------------

    @property
    def server(self) -> str | None:
        """The server that is being probed; its trains share the link with whatever is sent meanwhile."""
        return self._now.server if self._now else None

    def expect(self, server: str, up: float, down: float, rtt: float) -> None:
        """Say what a server's link is believed to carry (payload bit/s, s): its first probe is made for that then."""
        self._beliefs[server] = (Belief(up or None), Belief(down or None), rtt)

    def cost(self, server: str) -> Cost:
        """What a probe of this server costs at most.

        Seconds are those in which its trains keep the link, with `MARGIN`, and the server works for it; training slows
        down by no more than that. Bytes are those of both ways.
        """
        pair = trains.most(*self._believed(server), self._context.dilation)
        layers = self._layers()
        messages = 2 * PINGS + 1 + pair.messages
        total = pair.bytes + messages * MESSAGE + len(layers) * NAME + (3 * len(layers) + 1) * TIME
        times = {one.name: one.forward + one.backward + one.update for one in self.device.profile.layers}
        once = sum(times[name] for name in layers) + (self.device.profile.loss if self._full else 0.0)
        once *= self._ratios.get(server, 1.0)
        work = min(REPEATS * once, WORK_S * self._context.dilation + once)
        return Cost(MARGIN * (pair.seconds + work), total)

    def start(self, server: str) -> Cost:
        """Probe a server, now or when those before it are done; what that costs at most, as `cost` says."""
        self._line.append(server)
        said = self.cost(server)
        if self._now is None:
            self._next()
        return said

    def take(self, src: PartId, body: Body) -> Found | None:
        """A `Pong`, `Probe` or `Probed`: what the probe of ``src.owner`` found, if this ends it.

        What belongs to an older probe, or came twice, is nothing.
        """
        asking = self._now
        if not isinstance(body, Pong | Probe | Probed) or asking is None:
            return None
        if (src.owner, body.number) != (asking.server, asking.number):
            return None
        arrival = self._context.arrival()
        asking.heard = True
        asking.bytes += arrival.bytes
        match body:
            case Pong() if body.turn == asking.pings:
                way = max(arrival.at - asking.sent - body.held, 0.0)
                asking.rtt = way if body.turn == 1 else min(way, asking.rtt)
                if asking.pings < PINGS:
                    self._ping(asking)
                else:
                    self._first_trains(asking)
            case Probe():
                asking.down.add(body, arrival)
            case Probed() if body.turn == asking.turn:
                return self._answered(asking, body)
        return None

    def expired(self, token: int) -> str | None:
        """A timer of the driver's has run out: the server whose probe did not return, if that is so (`Known.lost`)."""
        asking = self._now
        if asking is None or token != TOKENS + asking.number:
            return None
        if asking.heard:
            self._wait(asking)
            return None
        self._end(asking, asking.said, lost=True)
        return asking.server

    def lost(self, node: str) -> str | None:
        """A node has died: its name if a probe of it was under way or in line, which will not return."""
        waiting = node in self._line
        self._line = deque(server for server in self._line if server != node)
        if self._now is not None and self._now.server == node:
            self._end(self._now, self._now.said, lost=True)
            return node
        return node if waiting else None

    # --- a probe ----------------------------------------------------------------------------------------

    def _next(self) -> None:
        if not self._line:
            return
        server = self._line.popleft()
        self._number += 1
        self._now = Asking(server, self._number, self._context.now(), self.cost(server))
        self._context.connect(server)
        self._wait(self._now)
        self._ping(self._now)

    def _wait(self, asking: Asking) -> None:
        asking.heard = False
        wait = PATIENCE * self._context.task.patience + asking.said.seconds / self._context.dilation
        self._context.wake(self._part, wait, TOKENS + asking.number)

    def _ping(self, asking: Asking) -> None:
        asking.pings += 1
        asking.bytes += MESSAGE
        asking.sent = self._context.now()
        self._context.send(self._part, self._prober(asking), Ping(asking.number, asking.pings))

    def _prober(self, asking: Asking) -> PartId:
        return PartId(self._part.task, PROBER, asking.server)

    def _first_trains(self, asking: Asking) -> None:
        up, down, rtt = self._believed(asking.server)
        seconds = self._context.dilation
        self._trains(asking, up.sizes(rtt, seconds), down.sizes(rtt, seconds), self._layers())

    def _believed(self, server: str) -> tuple[Belief, Belief, float]:
        return self._beliefs.get(server, (UNKNOWN, UNKNOWN, 0.0))

    def _trains(self, asking: Asking, up: Sizes, back: Sizes, layers: tuple[str, ...] = ()) -> None:
        asking.turn += 1
        asking.up, asking.back = up, back
        most = WORK_S * self._context.dilation
        question = Probe(
            asking.number, asking.turn, 0, 0, back.lead, back.size, layers, REPEATS if layers else 0, most
        )
        messages = send_train(self._context, self._part, self._prober(asking), question, up)
        asking.bytes += up.total + messages * MESSAGE + len(layers) * NAME

    def _layers(self) -> tuple[str, ...]:
        """Layers that a server is asked to work through."""
        if self._full:
            return LAYERS[self._context.task.model]
        order = sorted(self.device.profile.layers, key=lambda one: (-one.forward - one.backward, one.name))
        return tuple(one.name for one in order[:HEAVIEST])

    def _answered(self, asking: Asking, body: Probed) -> Found | None:
        down = asking.down.rate if asking.down.turn == asking.turn and asking.down.ended else None
        for sizes, rate in ((asking.up, body.up), (asking.back, down)):
            asking.busy_s += 8 * sizes.total / rate if rate else 0.0
        asking.busy_s += body.worked
        if asking.turn == 1:
            asking.found = self._learnt(asking, body)
        before = asking.found
        asking.found = replace(before, up=body.up or before.up, down=down or before.down)
        up_stood = trains.stalled(body.up_s, body.gap, asking.rtt)
        down_stood = trains.stalled(asking.down.took, asking.down.gap, asking.rtt)
        if asking.turn == 1 and UNKNOWN in self._believed(asking.server):
            up = self._again(asking, asking.up, body.up, body.up_s, up_stood)
            back = self._again(asking, asking.back, down, asking.down.took, down_stood)
            if up.size or back.size:
                self._trains(asking, up, back)
                return None
        found = asking.found
        self._beliefs[asking.server] = (
            Belief(found.up, trains.GROW if up_stood else 1.0), Belief(found.down, trains.GROW if down_stood else 1.0),
            asking.rtt,
        )  # fmt: skip
        if found.ratio is not None:
            self._ratios[asking.server] = found.ratio
        self._end(asking, Cost(asking.busy_s, asking.bytes), lost=False)
        return found

    def _again(self, asking: Asking, sent: Sizes, rate: float | None, took: float, stood: bool) -> Sizes:
        """The second train of one way, if the first was too short or stood still."""
        seconds = self._context.dilation
        if rate is None or not (stood or trains.too_short(took, sent, asking.rtt, seconds)):
            return NONE
        return Belief(rate, trains.GROW).sizes(asking.rtt, seconds)

    def _learnt(self, asking: Asking, body: Probed) -> Found:
        """What the server's work says of its speed, and its facts."""
        slower = 1 / (1 - min(body.load, MOST_LOAD))
        sums: dict[str, float] = {}
        for op, (seconds, _) in body.times.items():
            way, _, name = op.partition(".")
            if way in ("forward", "backward"):
                sums[name] = sums.get(name, 0.0) + seconds
        ratio = self.device.profile.ratio(sums) * slower if sums else None
        profile = timed(self.device.profile, body.times).scaled(slower, FULL) if self._full else None
        return Found(
            rtt=asking.rtt, ratio=ratio, memory=body.memory, profile=profile, admits=body.admits, why=body.why
        )

    def _end(self, asking: Asking, took: Cost, *, lost: bool) -> None:
        self.took, self.said, self._now = took, asking.said, None
        task, found = self._context.task, asking.found
        self._context.emit(
            Span(
                kind="probed", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self._part),
                peer=asking.server, begin=asking.begun, end=self._context.now(), bytes=round(took.bytes),
                attrs={
                    "device": self._part.owner, "lost": lost, "took_s": took.seconds, "said_s": asking.said.seconds,
                    "said_bytes": asking.said.bytes, "trains": asking.turn, "up": found.up, "down": found.down,
                    "rtt": found.rtt, "ratio": found.ratio, "memory": found.memory, "admits": found.admits,
                    "why": found.why,
                },
            )
        )  # fmt: skip
        self._next()
