"""What the controller and the nodes say over ``ipc://``: settings, events, modem notices, heartbeats.

Never training data, and never over emulated links.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from nodes.events import Span
from nodes.learn.pacing import Window
from nodes.wire.jobs import UnitSettings
from nodes.wire.platform_control import Afresh as Afresh
from nodes.wire.platform_control import Battery as Battery
from nodes.wire.platform_control import CancelJob as CancelJob
from nodes.wire.platform_control import Charged as Charged
from nodes.wire.platform_control import Fresh as Fresh
from nodes.wire.platform_control import FromPlatform, ToPlatform
from nodes.wire.platform_control import JobStatus as JobStatus
from nodes.wire.platform_control import Kept as Kept
from nodes.wire.platform_control import PlacedRound as PlacedRound
from nodes.wire.platform_control import Platform as Platform
from nodes.wire.platform_control import Radio as Radio
from nodes.wire.platform_control import Submit as Submit
from nodes.wire.task import Task

BEAT_S = 1.0
"""Both sides say something at least this often."""

ORPHAN_S = 7.0
"""A node that hears nothing from its controller for so long ends by itself."""


class Peer(msgspec.Struct, frozen=True):
    """Where a node listens on the emulated network, and its public key."""

    name: str
    kind: str
    address: str
    key: str


class NodeFile(msgspec.Struct, frozen=True):
    """What a node is born with: a file mounted into its container alone.

    ``speed`` is what training steps are paced to, None for as fast as they go; ``dilation`` the real seconds that a
    virtual one takes, by which time limits on the emulated network are longer. With ``platform`` the node is a unit of
    the serverless platform.
    """

    name: str
    kind: str
    speed: float | None
    control: str        # ipc:// endpoint
    control_key: str    # controller's public key
    public_key: str
    secret_key: str
    data_port: int
    dilation: float = 1.0
    platform: UnitSettings | None = None


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Node: I am up (before torch is imported)."""

    pid: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Node: torch is imported and has done one step."""

    versions: dict[str, str]


class Started(msgspec.Struct, frozen=True, tag="started"):
    """Node: my parts of the task stand."""

    task: str


class Events(msgspec.Struct, frozen=True, tag="events"):
    """Node: what happened since the last batch of events."""

    spans: list[Span]


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Device: so many batches of the round are done (``attempt`` counts restarts of it)."""

    task: str
    device: str
    round: int
    done: int
    batches: int
    attempt: int = 0


class RoundDone(msgspec.Struct, frozen=True, tag="round-done"):
    """Aggregator: a round is averaged; accuracy follows when it has been evaluated."""

    task: str
    round: int
    accuracy: float | None
    loss: float | None
    missing: tuple[str, ...] = ()  # owners that it was averaged without


class TaskDone(msgspec.Struct, frozen=True, tag="task-done"):
    """Aggregator: the last round is averaged and evaluated."""

    task: str
    weights_sha256: str
    accuracy: float
    loss: float


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """Node: the reference times that were asked for."""

    key: str
    ops: dict[str, float]


class SpeedReady(msgspec.Struct, frozen=True, tag="speed-ready"):
    """Node: the steps that were asked for are built and rehearsed."""


class SpeedChecked(msgspec.Struct, frozen=True, tag="speed-checked"):
    """Node: how fast they went, by windows from the begin on; ``took_s`` is all time between the ends of steps."""

    windows: list[Window]


class Pacing(msgspec.Struct, frozen=True, tag="pacing"):
    """Node: how well its paced steps kept their time in a task."""

    task: str
    steps: int
    late: int
    dropped_s: float
    asked_s: float      # sum of deadlines' lengths
    took_s: float       # what they took


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Node: I cannot go on."""

    reason: str


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """I am here."""


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Controller: who is on the network."""

    peers: list[Peer]


class Measure(msgspec.Struct, frozen=True, tag="measure"):
    """Controller: measure the reference times of this work, unpaced; with ``layers`` those of each layer by itself."""

    model: str
    cut: int
    batch: int
    threads: int
    in_shape: tuple[int, ...]
    seconds: float
    classes: int = 10
    layers: bool = False


class PrepareSpeed(msgspec.Struct, frozen=True, tag="prepare-speed"):
    """Controller: build these operations of a layout, apart from all training (``reference``: seconds of each)."""

    model: str
    cut: int
    batch: int
    threads: int
    in_shape: tuple[int, ...]
    ops: tuple[str, ...]
    reference: dict[str, float]
    classes: int = 10


class CheckSpeed(msgspec.Struct, frozen=True, tag="check-speed"):
    """Controller: do them again and again at your speed, from ``begin`` (CLOCK_MONOTONIC) on for ``seconds``."""

    begin: float
    seconds: float
    window_s: float


class StartTask(msgspec.Struct, frozen=True, tag="start-task"):
    """Controller: build your parts; the aggregator begins when told `Go`."""

    task: Task


class Go(msgspec.Struct, frozen=True, tag="go"):
    """Controller: all parts stand, begin."""

    task: str


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Controller, as the modem: a handover to ``edge``'s site comes, or has been carried out.

    ``in_s`` is in how many seconds of the experiment it comes.
    """

    task: str
    edge: str
    done: bool
    in_s: float | None = None


class Forecast(msgspec.Struct, frozen=True, tag="forecast"):
    """Controller: the device will probably be at this edge server's site next; empty: it will stay.

    ``in_s`` is in how many seconds of the experiment; None: that is not known.
    """

    task: str
    edge: str
    in_s: float | None = None


class Spoil(msgspec.Struct, frozen=True, tag="spoil"):
    """Controller, as failing memory: flip a bit of a copy of training state (see `nodes.runtime.moving`)."""

    task: str


class Died(msgspec.Struct, frozen=True, tag="died"):
    """Controller: this node's container has died. Nobody waits for it, and what was kept for it alone is dropped.

    It is sent only while the task can go on without the node.
    """

    task: str
    node: str


class StopTask(msgspec.Struct, frozen=True, tag="stop-task"):
    """Controller: drop the task's parts, send what is left of its events and its pacing."""

    task: str


class Exit(msgspec.Struct, frozen=True, tag="exit"):
    """Controller: end."""


FromNode: TypeAlias = (
    Hello | Ready | Started | Events | Progress | RoundDone | TaskDone | Measured | SpeedReady | SpeedChecked
    | Pacing | Failed | Beat | FromPlatform
)
ToNode: TypeAlias = (
    Configure
    | Measure
    | PrepareSpeed
    | CheckSpeed
    | StartTask
    | Go
    | Notice
    | Forecast
    | Spoil
    | Died
    | StopTask
    | Exit
    | Beat
    | ToPlatform
)

_encoder = msgspec.msgpack.Encoder()
_from_node = msgspec.msgpack.Decoder(FromNode)
_to_node = msgspec.msgpack.Decoder(ToNode)


def encode(message: FromNode | ToNode) -> bytes:
    """One control message as one frame."""
    return _encoder.encode(message)


def from_node(frame: bytes) -> FromNode:
    """Decode what a node said (msgspec.MsgspecError if it is no such message)."""
    message: FromNode = _from_node.decode(frame)
    return message


def to_node(frame: bytes) -> ToNode:
    """Decode what the controller said (msgspec.MsgspecError if it is no such message)."""
    message: ToNode = _to_node.decode(frame)
    return message
