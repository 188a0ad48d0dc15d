"""What one direction of a link does to packets, and what it has been seen to do."""

from __future__ import annotations

from dataclasses import dataclass, field

MTU_FRAME = 1514
"""Bytes of a full frame: an MTU of 1500 and the Ethernet header, which the kernel counts as well."""
DEFAULT_QUEUE_S = 0.1


@dataclass(frozen=True)
class Shape:
    """One direction of a link.

    Attributes:
        rate: Layer-2 bits per second; None means as fast as the machine goes.
        delay: One-way delay in seconds, added after serialisation.
        jitter: Half-width in seconds of the uniform spread around ``delay``; order is kept.
        loss: Probability that an MTU segment is lost, 0 to 1.
        queue: Bytes that wait for the wire before the tail is dropped; None means a default of
            100 ms at ``rate``.
    """

    rate: float | None = None
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    queue: int | None = None

    @property
    def unshaped(self) -> bool:
        """Whether nothing at all is asked of this direction: a plain wire."""
        return self == Shape()

    @property
    def queue_bytes(self) -> int:
        """``queue`` with its default filled in; 0 means unlimited (without a rate nothing ever waits)."""
        if self.queue is not None:
            return self.queue
        return 0 if self.rate is None else max(round(self.rate / 8 * DEFAULT_QUEUE_S), 2 * MTU_FRAME)


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
        queue_bytes: Bytes waiting now. late_max_s: Worst lateness of a delivery (None where the
            kernel does not say).
    """

    tx_bytes: int = 0
    tx_packets: int = 0
    dropped_queue: int = 0
    dropped_loss: int = 0
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
