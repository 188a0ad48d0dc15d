"""What the controller and units of the serverless platform say beside what all nodes say (`nodes.wire.control`)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from nodes.wire.jobs import Job, PlatformSettings, Status
from nodes.wire.platform_messages import CallEnded


class Platform(msgspec.Struct, frozen=True, tag="platform"):
    """Controller to the orchestrator's node, before any task: what you know and how you decide."""

    settings: PlatformSettings


class Afresh(msgspec.Struct, frozen=True, tag="afresh"):
    """Controller to every unit, before `Platform`: begin again, with nothing that earlier tasks have left.

    Attributes:
        provisioned: Instances to be there when the first task comes, and bytes of each, by function: of those that
            there are so many stay, and what is missing is started. Units that have any say when that is so (`Fresh`).
    """

    provisioned: dict[str, tuple[int, int]] = {}


class Fresh(msgspec.Struct, frozen=True, tag="fresh"):
    """Unit: the instances that were asked for are there."""


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Controller to the orchestrator's node: a task comes."""

    job: Job


class CancelJob(msgspec.Struct, frozen=True, tag="cancel-job"):
    """Controller to the orchestrator's node: a task is not wanted any more."""

    name: str


class Battery(msgspec.Struct, frozen=True, tag="battery"):
    """Controller to a device: so many joules are left in your battery."""

    left_j: float


class Radio(msgspec.Struct, frozen=True, tag="radio"):
    """Controller, as the modem: bit/s of the access link, and whether the access point can be reached."""

    up: float | None
    down: float | None
    in_reach: bool = True


class JobStatus(msgspec.Struct, frozen=True, tag="job-status"):
    """Orchestrator: something about a task has changed."""

    status: Status


class PlacedRound(msgspec.Struct, frozen=True, kw_only=True, tag="placed-round"):
    """Orchestrator: what has been decided about a task's round.

    Attributes:
        policy, objective: Who decided, and what it counts this as.
        predicted_s: Seconds of the experiment that the round takes. predicted_j: Active joules by device.
        rows: Function, owner (empty: of all), unit.
        unmet: Constraints that stand in the way, if there is no placement.
        decided_s: Real seconds that deciding took.
        cuts: Layers on the device by owner.
    """

    task: str
    round: int
    policy: str
    objective: float
    predicted_s: float
    predicted_j: dict[str, float] = {}
    rows: tuple[tuple[str, str, str], ...] = ()
    unmet: tuple[str, ...] = ()
    decided_s: float = 0.0
    cuts: dict[str, int] = {}


class Charged(msgspec.Struct, frozen=True, kw_only=True, tag="charged"):
    """Orchestrator: an invocation has ended, and what is charged for it."""

    task: str
    function: str
    unit: str
    ended: CallEnded
    owner: str = ""
    round: int = 0


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """Orchestrator: a task's best model so far stays in the store, by this digest."""

    task: str
    digest: str
    accuracy: float | None


FromPlatform: TypeAlias = Fresh | JobStatus | PlacedRound | Charged | Kept
ToPlatform: TypeAlias = Afresh | Platform | Submit | CancelJob | Battery | Radio
