"""What nodes say to each other over the emulated links.

Messages go to *parts* (`PartId`), never to nodes: a part may move while a message is on its way. Every message is
one `Envelope` (a msgpack header) followed by raw tensor frames. What only parts of pipelines say is in
`nodes.wire.pipeline_messages`, what units of the serverless platform say in `nodes.wire.platform_messages`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from nodes.policies.layouts import PipelineLayout
from nodes.wire.parts import PartId as PartId
from nodes.wire.pipeline_messages import PipelineBody
from nodes.wire.platform_messages import PlatformBody

PROTOCOL = 1
"""Version of the envelope; a node refuses any other."""


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
    applies the batch and keeps the gradients to itself. ``early`` says that the part is on its way to the node that
    this is sent to: it is kept there until the part has come.
    """

    work: Work
    attempt: int = 0
    move_to: str = ""
    standby: str = ""
    replay: bool = False
    early: bool = False


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

    ``standby``: not to take the part over, but to be kept in step until it does. ``ahead``: as in `TakeOver`. ``to``:
    node that its device is to carry it to, on the way there; empty where it is to stay.
    """

    digest: str
    meta: dict[str, Any]
    captured: float  # CLOCK_MONOTONIC when capture began
    standby: bool = False
    ahead: bool = False
    to: str = ""


class TakeOver(msgspec.Struct, frozen=True, tag="take-over"):
    """The standby is to become the part, if its state has this digest.

    ``ahead``: The device is not there yet. What is sent to it before it is goes the long way, and would be overtaken.
    """

    digest: str
    captured: float
    ahead: bool = False


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
    layout: PipelineLayout | None = None
    batches: int = 0
    versions: tuple[int, ...] = ()
    segment: int = 0
    first: int = 0
    before: str = ""


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
    | Fetch
    | Close
    | Moved
    | PipelineBody
    | PlatformBody
)


class Envelope(msgspec.Struct, frozen=True):
    """Header of every message.

    Attributes:
        src, dst: Parts; node-level messages have an empty role.
        node: Node that sent it. version: placement version of ``src`` there: a higher one than
            the receiver knows teaches it where ``src`` lives now.
        hops: How often it was forwarded by a node that the part had left.
        sent: CLOCK_MONOTONIC when it was handed to the network; the receiver's clock is the same.
        pair: Number of the training that it is of; on the serverless platform of the pair of invocations. What another
            one with the same addresses has sent is nobody's.
    """

    src: PartId
    dst: PartId
    node: str
    body: Body
    version: int = 0
    hops: int = 0
    sent: float = 0.0
    pair: int = 0
    tensors: tuple[TensorInfo, ...] = ()
    v: int = PROTOCOL
