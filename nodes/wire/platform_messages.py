"""What units of the serverless platform say to each other: the orchestrator and agents, and agents among themselves.

Bodies of `nodes.wire.messages.Envelope`, like all that crosses the emulated links. They are for units and not for
parts: their envelopes have empty addresses. Seconds are the experiment's; those of CPU time are real.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from nodes.wire.parts import PartId

Digests: TypeAlias = dict[str, str | dict[str, str]]
"""Blobs by input: one, or several by names of their own."""


class InvokeOn(msgspec.Struct, frozen=True, kw_only=True, tag="invoke-on"):
    """Orchestrator to a unit: run a function there.

    Attributes:
        call: The orchestrator's number for it; no two are alike, on whatever units.
        function, source: Its name, and the user's file that has it in the containers; empty: it is built in.
        inputs: Blobs by input. where: Unit to fetch a blob from, by digest, if the store there does not have it.
        gently: Whether they are fetched piece by piece, so that nothing else on the way waits for them.
        values: Plain inputs by name.
        memory: Bytes to reserve; None: as its declaration says. time_limit: None: likewise.
        parts: Addresses for which messages of other invocations are for this one.
        task: That it is done for; empty: nobody's. owner, round: Of it, for events.
    """

    call: int
    function: str
    source: str = ""
    inputs: Digests = {}
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    gently: bool = False
    memory: int | None = None
    time_limit: float | None = None
    parts: tuple[PartId, ...] = ()
    task: str = ""
    owner: str = ""
    round: int = 0


class CancelCall(msgspec.Struct, frozen=True, tag="cancel-call"):
    """Orchestrator to a unit: nobody wants this any more. It ends with `CallEnded` all the same."""

    call: int


class CallEnded(msgspec.Struct, frozen=True, kw_only=True, tag="call-ended"):
    """Unit to the orchestrator: how an invocation ended.

    Outputs are pinned in the unit's store, once for each such message, until `KeepBlobs` takes that back.

    Attributes:
        call: As of the `InvokeOn`.
        kind: Empty if it succeeded, otherwise a kind of `nodes.platform.outcomes`, or ``missing``: a blob that it
            needs is not here and could not be fetched.
        reason: Why not. lacks: Blobs, and units that turned out not to have them.
        outputs: Digests of blobs that are in the unit's store now, by output. sizes: Bytes of them, by digest.
        values: Plain outputs.
        cold: A process was started for it. start_s: Seconds that it waited for that; fetching is not part of it.
        work_s: Seconds of the work itself. held_s: Seconds for which it held its instance. cpu_s: CPU time of all.
        reserved: Bytes that were reserved for its instance. memory: Most bytes that were resident in it.
        sent, received: Bytes of messages that its parts exchanged with parts of other units.
        fetched: Bytes of blobs that were got from other units for it. fetched_from: By the unit that sent them.
    """

    call: int
    kind: str = ""
    reason: str = ""
    lacks: tuple[tuple[str, str], ...] = ()
    outputs: dict[str, str] = {}
    sizes: dict[str, int] = {}
    values: dict[str, Any] = {}
    cold: bool = False
    start_s: float = 0.0
    work_s: float = 0.0
    held_s: float = 0.0
    cpu_s: float = 0.0
    reserved: int = 0
    sent: int = 0
    received: int = 0
    fetched: int = 0
    fetched_from: dict[str, int] = {}
    memory: int = 0


class WantBlob(msgspec.Struct, frozen=True, tag="want-blob"):
    """A unit to another one: send me this blob, or a piece of it."""

    digest: str
    piece: int | None = None


class Blob(msgspec.Struct, frozen=True, tag="blob"):
    """Answer to a `WantBlob` (tensors: the blob; or ``piece``: bytes of its file, one of so many pieces)."""

    digest: str
    piece: int | None = None
    pieces: int = 0


class NoBlob(msgspec.Struct, frozen=True, tag="no-blob"):
    """Answer to a `WantBlob`: it is not here, and why it could not be read if it was."""

    digest: str
    reason: str


class KeepBlobs(msgspec.Struct, frozen=True, tag="keep-blobs"):
    """Orchestrator to a unit: blobs that are not to make room for others, and those that may again."""

    pin: tuple[str, ...] = ()
    unpin: tuple[str, ...] = ()


class UnitLost(msgspec.Struct, frozen=True, tag="unit-lost"):
    """Orchestrator to a unit that may wait for blobs of another one: nobody counts on that one any more."""

    name: str


class UnitState(msgspec.Struct, frozen=True, kw_only=True, tag="unit-state"):
    """Unit to the orchestrator, when something changes and at least every second of the experiment: the heartbeat.

    Attributes:
        name, kind: The node's. speed: Relative; 1 if its steps are not paced.
        born: CLOCK_MONOTONIC when its agent began, or was last told to begin afresh. One that has begun again has
            nothing open, and nothing pinned.
        memory: Bytes free for instances: those of instances with nothing to do count as free.
        warm: Functions of instances with nothing to do, one for each, in order.
        cold: Seconds that the last cold start of a function took here, or would have without others at the same time.
        at: Of a device: the edge server that it is near. coming: Edge server of a handover that is announced.
        in_reach: Whether a device's radio reaches its access point.
        battery_j: Joules left; None: no battery.
        up, down: Bit/s of the access link as the modem knows it; None: not known.
    """

    name: str
    kind: str
    born: float = 0.0
    speed: float = 1.0
    memory: int = 0
    warm: tuple[str, ...] = ()
    cold: dict[str, float] = {}
    at: str = ""
    in_reach: bool = True
    battery_j: float | None = None
    up: float | None = None
    down: float | None = None
    coming: str = ""


PlatformBody: TypeAlias = (
    InvokeOn | CancelCall | CallEnded | WantBlob | Blob | NoBlob | KeepBlobs | UnitLost | UnitState
)
