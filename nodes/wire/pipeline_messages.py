"""What the parts of a pipeline say to each other beside what those of all schemes do (`nodes.wire.messages`).

First about stages, where they are and which layers they have; then the probes that find out what edge servers offer.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from nodes.policies.layouts import PipelineLayout


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A stage has its weights and is ready for the first micro-batch of the round, or of this segment of it.

    ``bytes`` are those of the layers that other stages handed to it.
    """

    round: int
    attempt: int
    stage: int
    segment: int = 0
    bytes: int = 0


class Refused(msgspec.Struct, frozen=True, tag="stage-refused"):
    """A stage cannot do its share of this attempt of the round, and why: the driver has to think of something else.

    ``full``: its node has not the memory for it.
    """

    round: int
    attempt: int
    stage: int
    reason: str
    full: bool = False


class Steer(msgspec.Struct, frozen=True, tag="steer"):
    """From its driver to a stage: move to a node now, or keep a standby there.

    Attributes:
        version: Of the placement that this is about; a stage that is elsewhere by now does nothing.
        move_to: Where to go; its standby takes over if there is one there, else its state is copied. Empty: stay, and
            keep a standby on the node ``standby`` (empty: none any more).
        before: With ``move_to``: not now, but when this micro-batch would be next (round, attempt, index in the round).
    """

    version: int
    standby: str = ""
    move_to: str = ""
    before: tuple[int, int, int] | None = None


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """To the driver: a stage that was to move goes on, on this node (the old one if no other could take it).

    ``bytes`` of state moved with it; nobody worked on its micro-batches for ``stall_s``.
    """

    stage: int
    node: str
    version: int
    bytes: int = 0
    stall_s: float = 0.0


class Standing(msgspec.Struct, frozen=True, tag="standing"):
    """To the driver: a stage has a standby on this node that has its state. It may take over any time."""

    stage: int
    node: str
    version: int  # of the stage's placement


class Until(msgspec.Struct, frozen=True, tag="until"):
    """From its driver to a stage: other cuts from this batch on, whose first micro-batch has not begun anywhere.

    The stage does all that comes before, hands layers on that live elsewhere then, and takes those that come to it.

    Attributes:
        segment: Counts the changes of a round. batch: First one of the new segment.
        layout, versions: Of then; versions are those of the stages' placements.
    """

    round: int
    attempt: int
    segment: int
    batch: int
    layout: PipelineLayout
    versions: tuple[int, ...]


class Layers(msgspec.Struct, frozen=True, tag="layers"):
    """Layers that go from stage to stage where cuts change (tensors: their weights, buffers and momentum).

    Attributes:
        version: Of the receiving stage's placement. layers: Their names, with tensors or without.
        digest: Of all tensors. loss_sum: What the sender had summed up of the round, if it hands that on, too.
    """

    round: int
    attempt: int
    segment: int
    version: int
    layers: tuple[str, ...]
    digest: str
    loss_sum: float = 0.0


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """From the aggregator to a driver: it has the whole model of this round, of this attempt, and wants no other."""

    round: int
    attempt: int


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """To an edge server's prober: answer at once. The first messages of a probe (`nodes.schemes._probes`)."""

    number: int  # of the probe
    turn: int    # of the pings of a probe


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """Answer to a `Ping`, and the seconds between that and it: waiting for the compute thread is no way."""

    number: int
    turn: int
    held: float


class Fill(msgspec.Struct, frozen=True, tag="fill"):
    """To an edge server's prober: send so many bytes back, which nobody reads; they come as several (tensor ``fill``).

    TCP sends much at once only where it has sent before, and this is it: what comes behind it finds an open window.

    Attributes:
        wanted: Bytes in all; 0: this is an answer.
        left: Of the answers, those that are still to come.
    """

    wanted: int = 0
    left: int = 0


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """One message of a train (tensor ``fill``), to an edge server's prober or back; see `nodes.policies.trains`.

    Attributes:
        number, turn: Of the probe, and of the pair of trains in it.
        index: Of the message; the first is the lead-in, the one with ``last`` ends the train.
        last: Index of the last one; 0: no train, just the question.
        lead, size: Bytes of the train that is wanted back: its lead-in, and all others together.
        layers: Layers to be worked through after that.
        repeats: How often at most. most: After so many seconds of work no repeat begins but the first.
    """

    number: int
    turn: int
    index: int
    last: int
    lead: int = 0
    size: int = 0
    layers: tuple[str, ...] = ()
    repeats: int = 0
    most: float = 0.0


class Probed(msgspec.Struct, frozen=True, tag="probed"):
    """What an edge server found, at the end of a probe.

    Attributes:
        number, turn: As of the `Probe`.
        up: Bit/s of the train that came; None: it was none, or not whole.
        up_s: How long its counted part took to come. gap: The longest time between two neighbours in it.
        times: Seconds by operation (`nodes.policies.stage_times`) here: median, and spread as a share of it.
        worked: Seconds of work for it.
        load: Share of its compute time that other owners' parts took since the device's last probe.
        memory: Bytes that it has left for stages; None: without limit.
        admits: Whether it takes stages. why: If not, why not.
    """

    number: int
    turn: int
    up: float | None
    up_s: float
    gap: float
    times: dict[str, tuple[float, float]]
    worked: float
    load: float
    memory: int | None
    admits: bool
    why: str


PipelineBody: TypeAlias = (
    Opened | Refused | Steer | Settled | Standing | Until | Layers | Delivered | Ping | Pong | Fill | Probe | Probed
)
