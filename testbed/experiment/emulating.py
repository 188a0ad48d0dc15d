"""What the user writes about how an experiment is made real, and how exactly: emulation and tolerances."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nodes.wire.control import BEAT_S
from testbed.experiment.section import Section
from testbed.experiment.units import Duration, Fraction, UnitError, format_duration


def at_least(seconds: float, why: str = "this is too short: everything would be too late") -> AfterValidator:
    """A validator that takes only durations of so many seconds or more; ``why`` says what shorter ones do."""

    def check(value: float) -> float:
        if value >= seconds:
            return value
        least = format_duration(seconds)
        raise UnitError(
            why, wanted=f"{least} or more", found=format_duration(value),
            remedy=f"write {least} or more, or leave it out",
        )  # fmt: skip

    return AfterValidator(check)


class Emulation(Section):
    """How the experiment is made real."""

    links: Literal["auto", "netem", "relay"] = "auto"
    """Who shapes links: the kernel (`netem`), a process of ours (`relay`), or whichever works here (`auto`)."""
    speed_check: Duration = Field(default="5s", validate_default=True)
    """How long bring-up has all nodes train at once to measure their speeds; 0 leaves it out."""
    ipv6: Annotated[bool, Field(strict=True)] = False
    """Whether nodes also have an IPv6 address (`fd77::1` and so on), known by the same names: `ping -6 cloud`. Training
    goes by IPv4 all the same; other programs that may choose mostly take IPv6 then, as anywhere."""


class Tolerances(Section):
    """Thresholds beyond which a run's verdict is `invalid`. Times are the experiment's own, whatever its dilation."""

    rate: Fraction = Field(default="2%", validate_default=True)
    """Measured against asked rate of a link."""
    rtt: Duration = Field(default="0.5ms", validate_default=True)
    """Measured against asked round-trip time of a link."""
    speed: Fraction = Field(default="2%", validate_default=True)
    """Measured against asked speed of a node over the run."""
    late_steps: Fraction = Field(default="5%", validate_default=True)
    """Share of training steps that may end after their deadline; of few steps more, as chance has it."""
    starved: Fraction = Field(default="2%", validate_default=True)
    """Share of the training time for which a node may have wanted a core and had none, because of other programs on
    this machine or its hypervisor. Being held back by the own limit, or waiting for a link, is not starving; what nodes
    take from each other shows as late steps."""
    link_late: Duration = Field(default="5ms", validate_default=True)
    """How late the relay may hand over packets: the 99.9th percentile of a second."""
    link_late_share: Fraction = Field(default="2%", validate_default=True)
    """Share of the training's seconds in which it may be later than that; a single second never counts."""
    node_silence: Annotated[Duration, at_least(3 * BEAT_S)] = Field(default="15s", validate_default=True)
    """Time without a sign of life (there is one a second) after which a node counts as hung; 3s or more."""
    round_deadline: Annotated[Duration, at_least(0.1)] | None = None
    """Longest time a round may take, 100ms or more. By default worked out from speeds and links, generously."""
