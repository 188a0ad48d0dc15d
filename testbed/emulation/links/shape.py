"""What one direction of a link does to packets, and what it has been seen to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

MTU_FRAME = 1514
"""Bytes of a full frame: an MTU of 1500 and the Ethernet header, which the kernel counts as well."""
DEFAULT_QUEUE_S = 0.1
MOST_QUEUE = 256 << 20
"""Bytes that a queue may hold at most."""


@dataclass(frozen=True)
class Spread:
    """How a delay varies around its mean.

    Attributes:
        name: ``uniform``, ``normal``, ``pareto``, or the name of the file that the table is from.
        table: The inverse of the distribution function at evenly spaced probabilities, in 1/8192 of the jitter
            (the format of iproute2's ``.dist`` files); empty for ``uniform``, whose jitter is the half-width.
    """

    name: str = "uniform"
    table: tuple[int, ...] = ()


UNIFORM = Spread()


@dataclass(frozen=True)
class Bursts:
    """Losses in bursts: the Gilbert-Elliott model, a step per MTU segment.

    Of the state at its arrival depends whether a segment is lost; then the state may change.

    Attributes:
        enter: Probability of going from good to bad. leave: Of going from bad to good.
        bad: Probability of a loss in the bad state. good: In the good state.
    """

    enter: float
    leave: float
    bad: float = 1.0
    good: float = 0.0

    @property
    def share(self) -> float:
        """Share of segments lost in the long run."""
        there = self.enter / (self.enter + self.leave) if self.enter else 0.0
        return there * self.bad + (1 - there) * self.good


@dataclass(frozen=True)
class Shape:
    """One direction of a link.

    Attributes:
        rate: Layer-2 bits per second; None means as fast as the machine goes.
        delay: One-way delay in seconds, added after serialisation.
        jitter: In seconds: half-width of a uniform ``spread``, the unit of any other's table (about the standard
            deviation). Order is kept.
        loss: Probability that an MTU segment is lost, 0 to 1; 0 where there are ``bursts``.
        queue: Bytes that wait for the wire before the tail is dropped; None means a default of
            100 ms at ``rate``, unless there is ``queue_packets``.
        spread: How the delay varies.
        bursts: Losses that come in bursts; None for independent ones.
        queue_packets: MTU segments that wait for the wire, in place of ``queue``.
        reorder: Probability that a segment skips the delay, and so overtakes others.
        duplicate: Probability that a segment comes twice.
        corrupt: Probability that a bit of a segment is turned over.
    """

    rate: float | None = None
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    queue: int | None = None
    spread: Spread = UNIFORM
    bursts: Bursts | None = None
    queue_packets: int | None = None
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0

    @property
    def unshaped(self) -> bool:
        """Whether nothing at all is asked of this direction: a plain wire."""
        return self == Shape()

    @property
    def certain(self) -> Shape:
        """The same with nothing left to chance: no jitter, nothing lost, reordered, duplicated or corrupted."""
        return replace(
            self, jitter=0.0, spread=UNIFORM, loss=0.0, bursts=None, reorder=0.0, duplicate=0.0, corrupt=0.0
        )

    @property
    def loss_share(self) -> float:
        """Share of segments that is lost in the long run, one by one or in bursts."""
        return self.loss if self.bursts is None else self.bursts.share

    @property
    def queue_bytes(self) -> int:
        """``queue`` with its default filled in; 0 means unlimited (without a rate nothing ever waits)."""
        if self.queue is not None:
            return self.queue
        if self.queue_packets is not None:
            return 0
        return 0 if self.rate is None else min(max(round(self.rate / 8 * DEFAULT_QUEUE_S), 2 * MTU_FRAME), MOST_QUEUE)


@dataclass(frozen=True)
class Step:
    """From ``at`` (seconds since the schedule began) on, these hold; None leaves what the link's shape says.

    A rate of 0 lets nothing through: what comes waits in the queue.
    """

    at: float
    rate: float | None = None
    delay: float | None = None
    loss: float | None = None


@dataclass(frozen=True)
class Schedule:
    """How one direction of a link varies over time: either ``steps`` or ``deliveries``.

    Attributes:
        name: Where it is from, for people.
        steps: In order of time, the first at 0.
        deliveries: Mahimahi's chances to send: milliseconds since the beginning, each for 1500 bytes, in order; a
            number that is there twice is two chances. A chance that finds the queue empty is gone.
        length: Seconds until it is over.
        loop: Begin again then; otherwise what was last in force stays (with deliveries: nothing is sent any more).
    """

    name: str
    steps: tuple[Step, ...] = ()
    deliveries: tuple[int, ...] = ()
    length: float = 0.0
    loop: bool = False


@dataclass(frozen=True)
class LinkEnd:
    """One end of a link: an interface in a network namespace.

    Attributes:
        netns: Path of the namespace (``/run/netns/x`` or ``/proc/<pid>/ns/net``).
        ifname: Name the interface has there, at most 15 characters.
        mac: Its Ethernet address.
    """

    netns: str
    ifname: str
    mac: str


@dataclass(frozen=True)
class LinkStats:
    """Counters of one direction since the link was made.

    Attributes:
        tx_bytes: Bytes delivered. tx_packets: MTU segments delivered.
        dropped_queue: Segments dropped at a full queue. dropped_loss: Segments lost on purpose.
        refused: Segments that the interface at the end did not take: it is down, or gone (0 where the kernel does not
            say).
        queue_bytes: Bytes waiting now. late_max_s: Worst lateness of a delivery (None where the
            kernel does not say).
    """

    tx_bytes: int = 0
    tx_packets: int = 0
    dropped_queue: int = 0
    dropped_loss: int = 0
    refused: int = 0
    queue_bytes: int = 0
    late_max_s: float | None = None


@dataclass(frozen=True)
class Direction:
    """Asked against measured for one direction of a link, in bits per second, seconds and fractions."""

    asked: Shape
    read_back: Shape
    rate: float | None = None          # measured layer-2 bit/s
    rate_error: float | None = None    # fraction of asked
    delay: float | None = None         # measured one-way, median, s
    jitter: float | None = None        # measured half-width estimate, s
    loss: float | None = None          # measured fraction
    loss_sample: int = 0               # packets that the loss figure stands on
    offered: float | None = None       # bit/s offered while the rate was measured


@dataclass(frozen=True)
class LinkCalibration:
    """One link, both directions, with the verdict on it."""

    link: str
    kind: str
    a: str
    b: str
    ab: Direction
    ba: Direction
    rtt_asked: float = 0.0
    rtt: float | None = None           # median, s, unloaded, small probes
    rtt_error: float | None = None     # s
    problems: list[str] = field(default_factory=list)  # tolerances missed, in words
    notes: list[str] = field(default_factory=list)     # what could not be measured whole, and why
