"""The device's side of probing: what edge servers offer, found out from a device's first stage while it trains.

A probe of one server:

    Ping, Pong    `PINGS` times, one after the other: round-trip time, the least of them. The server says how long each
                  ping waited for it, and arrivals are stamped by threads that nothing keeps, so only the way counts.
    Probe ..      a train (`nodes.policies.trains`), from which the server takes the rate up
    Probe ..      a train back, from which the device takes the rate down
    Probed        what the server found, and what a few layers of real training work took there

Where no rate is known, trains may be too short to be trusted; there is one more pair of them then, without work.

Servers are probed one after the other, never at the same time: they would share the device's link. All of it is paid
from a budget (`nodes.policies.probing`), so a probe's cost is said ahead (`Probes.cost`) and told behind (`took`).

The device's own times by layer are measured as those of a server are: as real work on noise, paced as this node is.
Their ratio is what an approximate profile is made from. Seconds are real ones everywhere (`Context.dilation`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from nodes.errors import RunError
from nodes.events import Span
from nodes.policies import trains
from nodes.policies.layers import LAYERS
from nodes.policies.offers import Found
from nodes.policies.probing import FREE, Cost
from nodes.policies.profile import APPROXIMATE, FULL, ModelProfile
from nodes.policies.stage_times import operations
from nodes.policies.trains import COUNT, NONE, Sizes
from nodes.runtime.part import Context, payload
from nodes.schemes._admission import bytes_of
from nodes.schemes._base import PROBER
from nodes.schemes._prober import Bench, Train, send_train
from nodes.wire.codec import Tensors
from nodes.wire.control import Pipeline
from nodes.wire.messages import Body, PartId, Ping, Pong, Probe, Probed

PINGS = 3
"""Of one ping what it met on its way would count as distance; the least of a few comes closer to it."""
HEAVIEST = 2
"""Layers of an approximate probe: those that take the device longest, as their times are the most certain and weigh the
most in whatever is planned."""
REPEATS = 3
"""Of each layer: the fewest of which a median leaves out one that something else disturbed."""
WORK_S = 0.25
"""Seconds of work after which a server begins no further repeat, s of the experiment."""
OWN_S = 10.0
"""The same for the device's own layers, before training begins."""
MOST_LOAD = 0.95
"""Of a server that others keep busy all the time, one twentieth is left: it takes turns."""
MARGIN = 1.5
"""A link or server may have become that much slower since it was last probed before a probe costs more than said."""
SLOWEST = 1e6
"""Bit/s: what a link that nothing is known of is taken to carry at least."""
MESSAGE = 400
"""Bytes of a message besides its tensor, at the most: its header, with names of usual lengths, and framing."""
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
    rate_known: bool
    pings: int = 0
    sent: float = 0.0                  # the last ping
    rtt: float = 0.0                   # the least so far
    turn: int = 0                      # of trains; there was none yet
    up: Sizes = NONE
    back: Sizes = NONE
    down: Train = field(default_factory=Train)
    found: Found = Found()
    busy_s: float = 0.0                # of the link with its trains, and of the server with its work
    bytes: int = 0                     # both ways
    heard: bool = True                 # something since its timer was set


class Probes:
    """Probes of one device, held by its driver.

    Use: `measure` in ``rehearse``; `start` when `nodes.policies.probing.look` says so, for a ``cost`` that is said
    ahead; `take` for each `Pong`, `Probe` and `Probed` that comes; `expired` in ``awake``; `lost` when a node dies.

    Args:
        context: The driver's.
        part: The driver.
        settings: The pipeline's.

    Attributes:
        took: What the last probe that ended took (lost ones what was said); goes to `probing.returned`.
        said: What was said ahead of it.
    """

    def __init__(self, context: Context, part: PartId, settings: Pipeline) -> None:
        self.took, self.said = FREE, FREE
        self._context, self._part, self._settings = context, part, settings
        self._full = getattr(settings, "profile", APPROXIMATE) == FULL
        self._own: ModelProfile | None = None
        self._known: dict[str, tuple[float | None, float | None, float]] = {}  # up, down, rtt
        self._ratios: dict[str, float] = {}
        self._number = 0
        self._now: Asking | None = None
        self._line: deque[str] = deque()

    # --- the device itself ------------------------------------------------------------------------------

    @property
    def own(self) -> ModelProfile:
        """The model's times by layer on this device, its bytes, and spreads (RunError before `measure`).

        Activations and gradients are as large as they are packed on their way.
        """

    def measure(self) -> ModelProfile:
        """Measure `own`: each layer `REPEATS` times, fewer if that takes longer than `OWN_S`. Events ``profile``."""

    # --- what a driver asks for -------------------------------------------------------------------------

    @property
    def server(self) -> str | None:
        """The server that is being probed; its trains share the link with whatever is sent meanwhile."""

    def expect(self, server: str, up: float, down: float, rtt: float) -> None:
        """Say what a server's link is believed to carry (payload bit/s, s), so that its first probe is made for that."""

    def cost(self, server: str) -> Cost:
        """What a probe of this server costs at most.

        Seconds are those in which its trains keep the link, with `MARGIN`, and the server works for it; training slows
        down by no more than that. Bytes are those of both ways.
        """

    def start(self, server: str) -> Cost:
        """Probe a server, now or when those before it are done; what that costs at most, as `cost` says."""

    def take(self, src: PartId, body: Body, tensors: Tensors) -> Found | None:
        """A `Pong`, `Probe` or `Probed`: what the probe of ``src.owner`` found, if this ends it.

        What belongs to an older probe, or came twice, is nothing.
        """

    def expired(self, token: int) -> str | None:
        """A timer of the driver's has run out: the server whose probe did not return, if that is so (`Known.lost`)."""

    def lost(self, node: str) -> str | None:
        """A node has died: its name if a probe of it was under way or in line, which will not return."""
