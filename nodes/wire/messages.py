"""What nodes say to each other over the emulated links.

Messages go to *parts* (`PartId`), never to nodes: a part may move while a message is on its way. Every message is
one `Envelope` (a msgpack header) followed by raw tensor frames.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from nodes.policies.layouts import Layout

PROTOCOL = 1
"""Version of the envelope; a node refuses any other."""


class PartId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Address of a piece of a task: ``("fedfly", "tail", "pi3-1")`` is the edge half of pi3-1's model."""

    task: str
    role: str
    owner: str

    def __str__(self) -> str:
        """``role:owner``, as it stands in events."""
        return f"{self.role}:{self.owner}" if self.owner else self.role


class Work(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Identity of one piece of training work; the last one applied is part of the training state.

    ``round`` and ``epoch`` rules are the task's: ``batch`` counts from 0 through all local epochs of the round.
    ``stage`` is the one of a pipeline that is to do it, ``micro`` the micro-batch of its batch.
    """

    round: int
    batch: int
    micro: int = 0
    stage: int = 0
    direction: str = "forward"


class TensorInfo(msgspec.Struct, frozen=True, array_like=True):
    """Name, numpy dtype name and shape of one raw frame that follows the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First message on a new connection, so that the other side can answer before any work."""


class Model(msgspec.Struct, frozen=True, tag="model"):
    """The global model at the start of a round. Without tensors: start the round from the copy you hold."""

    round: int
    attempt: int = 0


class Activations(msgspec.Struct, frozen=True, tag="activations"):
    """What crosses the cut forward (tensors ``x`` and, where labels leave the device, ``y``).

    Of a pipeline also packed (`nodes.learn.packing`).

    ``move_to`` asks the receiving part to move to that node once this batch is applied; ``standby`` to keep a copy
    of itself in step on that node (empty: none any more). ``replay`` says that this is a copy for a standby, which
    applies the batch and keeps the gradients to itself.
    """

    work: Work
    attempt: int = 0
    move_to: str = ""
    standby: str = ""
    replay: bool = False


class Gradients(msgspec.Struct, frozen=True, tag="gradients"):
    """What crosses the cut backward (tensor ``g``; none for a stage without layers), with the loss of the batch.

    ``replay``: as in `Activations`.
    """

    work: Work
    loss: float
    attempt: int = 0
    replay: bool = False


class Update(msgspec.Struct, frozen=True, tag="update"):
    """Trained weights at the end of a round, with what averaging needs."""

    round: int
    samples: int
    batches: int
    loss_sum: float
    attempt: int = 0
    move_to: str = ""


class Awaiting(msgspec.Struct, frozen=True, tag="awaiting"):
    """A device's halves have done this round and wait for the model of the next: tell the aggregator where they are."""

    round: int


class Reported(msgspec.Struct, frozen=True, tag="reported"):
    """An edge server's collector holds this owner's model of the round."""

    round: int
    owner: str


class Collect(msgspec.Struct, frozen=True, tag="collect"):
    """Ask a collector for the mean of these owners' models."""

    round: int
    owners: tuple[str, ...]


class Partial(msgspec.Struct, frozen=True, tag="partial"):
    """Mean of these owners' models, weighted by samples (tensors), and their samples in all."""

    round: int
    owners: tuple[str, ...]
    samples: int


class State(msgspec.Struct, frozen=True, tag="state"):
    """A part's whole training state on its way to another node (tensors: all of it).

    ``standby``: not to take the part over, but to be kept in step until it does.
    """

    digest: str
    meta: dict[str, Any]
    captured: float  # CLOCK_MONOTONIC when capture began
    standby: bool = False


class TakeOver(msgspec.Struct, frozen=True, tag="take-over"):
    """The standby is to become the part, if its state has this digest."""

    digest: str
    captured: float


class DropStandby(msgspec.Struct, frozen=True, tag="drop-standby"):
    """The standby is not needed: nobody came."""


class StateTaken(msgspec.Struct, frozen=True, tag="taken"):
    """The destination holds the state and has verified it: the source may release its copy."""

    digest: str


class StateRefused(msgspec.Struct, frozen=True, tag="refused"):
    """The destination could not use the state; the source goes on with its own copy."""

    reason: str


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Make this part afresh here and start the round, or start it over (the `restart` strategy).

    To a stage of a pipeline: with these layers and neighbours, for rounds of so many batches. With a ``segment`` it
    joins a round that goes on: from batch ``first`` on, with layers that other stages hand to it (`Until`, `Layers`).

    Attributes:
        version: Of the placement that the sender decided on. versions: Those of all stages.
        before: Node that had the stage of this number until then, which is still to be given what is of earlier
            batches; empty if there was none.
    """

    round: int
    attempt: int
    version: int
    layout: Layout | None = None
    batches: int = 0
    versions: tuple[int, ...] = ()
    segment: int = 0
    first: int = 0
    before: str = ""


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
    """

    version: int
    standby: str = ""
    move_to: str = ""


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
    layout: Layout
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


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """To an edge server's prober: answer at once. The first messages of a probe (`nodes.schemes._probes`)."""

    number: int  # of the probe
    turn: int    # of the pings of a probe


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """Answer to a `Ping`, and the seconds between that and it: waiting for the compute thread is no way."""

    number: int
    turn: int
    held: float


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


class Query(msgspec.Struct, frozen=True, tag="query"):
    """A head that waits in vain asks a node: do you hold this part, and how far is it?"""

    number: int  # of the asking, to tell its answers from those to an earlier one


class Holds(msgspec.Struct, frozen=True, tag="holds"):
    """Answer to a `Query`.

    Attributes:
        node: Who answers. number: Of the query. held: Whether the part (or a standby of it) is here.
        standby: It is one. leaving: It is on its way to another node. version: Of its placement.
        round, attempt, next_batch: How far it is. finished: It has passed the round's weights on.
    """

    node: str
    number: int
    held: bool
    standby: bool = False
    leaving: bool = False
    version: int = 0
    round: int = 0
    attempt: int = 0
    next_batch: int = 0
    finished: bool = False


class Adopt(msgspec.Struct, frozen=True, tag="adopt"):
    """Go on with the copy of the part that you hold: all other copies are void from this version on."""

    version: int


class Fetch(msgspec.Struct, frozen=True, tag="fetch"):
    """Ask the aggregator for the model that the round started from, or for these layers of it."""

    round: int
    attempt: int
    layers: tuple[str, ...] = ()


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """From the aggregator to a driver: it has the whole model of this round, of this attempt, and wants no other."""

    round: int
    attempt: int


class Close(msgspec.Struct, frozen=True, tag="close"):
    """This part lives elsewhere now (``node``); forget yours."""

    node: str
    version: int


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """Redirect: the part you addressed lives on ``node`` since placement ``version``."""

    part: PartId
    node: str
    version: int


Body: TypeAlias = (
    Hello
    | Model
    | Activations
    | Gradients
    | Update
    | Awaiting
    | Reported
    | Collect
    | Partial
    | State
    | TakeOver
    | DropStandby
    | StateTaken
    | StateRefused
    | Query
    | Holds
    | Adopt
    | Open
    | Opened
    | Refused
    | Steer
    | Settled
    | Standing
    | Until
    | Layers
    | Ping
    | Pong
    | Probe
    | Probed
    | Fetch
    | Delivered
    | Close
    | Moved
)


class Envelope(msgspec.Struct, frozen=True):
    """Header of every message.

    Attributes:
        src, dst: Parts; node-level messages have an empty role.
        node: Node that sent it. version: placement version of ``src`` there: a higher one than
            the receiver knows teaches it where ``src`` lives now.
        hops: How often it was forwarded by a node that the part had left.
        sent: CLOCK_MONOTONIC when it was handed to the network; the receiver's clock is the same.
    """

    src: PartId
    dst: PartId
    node: str
    body: Body
    version: int = 0
    hops: int = 0
    sent: float = 0.0
    tensors: tuple[TensorInfo, ...] = ()
    v: int = PROTOCOL
