"""What the user writes about movement and radio: generators, association, radio model, prediction."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nodes.policies import association, radio
from testbed.experiment.choice import OneOf
from testbed.experiment.emulating import at_least
from testbed.experiment.movement_values import (
    Decibel,
    Frequency,
    Metres,
    NotNegative,
    Positive,
    Power,
    Rectangle,
    Speeds,
)
from testbed.experiment.section import Section
from testbed.experiment.units import Duration, Fraction, UnitError

_TOO_OFTEN = "this is too short: links would change all the time"


class _Generated(Section):
    devices: list[str] | None = None
    """Who moves: devices or groups of them. By default all."""
    area: Rectangle | None = None
    """Where they move, in metres: `[[left, bottom], [right, top]]`. By default 50 m around the sites."""
    duration: Duration = Field(default="10min", validate_default=True)
    """How long they move."""


class RandomWaypoint(_Generated):
    """Straight to a place drawn from the area, a pause, and on to the next."""

    speed: Speeds = (0.5, 2.0)
    """Metres a second: lowest and highest; drawn for each way."""
    pause: Duration = 0.0
    """Pause at each place."""


class GaussMarkov(_Generated):
    """Speed and direction change little by little."""

    speed: Positive = 1.4
    """Mean speed, metres a second."""
    deviation: NotNegative = 0.4
    """Standard deviation of the speed, metres a second."""
    turn: NotNegative = 0.6
    """Standard deviation of the direction, radians."""
    memory: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.85
    """How much of speed and direction lasts from one second to the next: 0 nothing, 1 all."""


class Manhattan(_Generated):
    """Along the streets of a grid."""

    speed: Speeds = (8.0, 14.0)
    """Metres a second: lowest and highest; drawn for each block."""
    block: Metres = 100.0
    """Metres from street to street."""
    turn: Fraction = Field(default="50%", validate_default=True)
    """Probability of turning at a crossing, to either side together."""


class Movement(OneOf):
    """Movement made up, the same for the same seed."""

    random_waypoint: RandomWaypoint | None = Field(default=None, alias="random-waypoint")
    """Random waypoints."""
    gauss_markov: GaussMarkov | None = Field(default=None, alias="gauss-markov")
    """Gauss-Markov."""
    manhattan: Manhattan | None = None
    """Manhattan grid."""


class Nearest(Section):
    """The nearest site. Without a radio model, devices are handed over exactly where they cross the border."""

    def policy(self) -> association.Policy:
        """The policy that this asks for."""
        return association.Nearest()


class Strongest(Section):
    """The strongest site: 3GPP's event A3."""

    hysteresis: Decibel = Field(default="3dB", validate_default=True)
    """By how much another site must be stronger."""
    time_to_trigger: Duration = Field(default="320ms", validate_default=True)
    """For how long."""
    offset: Decibel = Field(default="0dB", validate_default=True)
    """By how much more; may be negative, for handing over early."""

    @model_validator(mode="after")
    def _not_negative(self) -> Self:
        if self.hysteresis < 0:
            raise UnitError("hysteresis: below 0, a device would change sites for a weaker one and back",
                            wanted="0dB or more", found=f"{self.hysteresis:g}dB",
                            remedy="use offset for handing over early")  # fmt: skip
        return self

    def policy(self) -> association.Policy:
        """The policy that this asks for."""
        return association.Strongest(self.hysteresis, self.time_to_trigger, self.offset)


class LeastLoaded(Section):
    """The site with the fewest devices."""

    margin: Decibel = Field(default="6dB", validate_default=True)
    """Of those that are weaker than the strongest by this at most."""

    @model_validator(mode="after")
    def _not_negative(self) -> Self:
        if self.margin < 0:
            raise UnitError("margin: below 0", wanted="0dB or more", found=f"{self.margin:g}dB",
                            remedy="take the minus sign away")  # fmt: skip
        return self

    def policy(self) -> association.Policy:
        """The policy that this asks for."""
        return association.LeastLoaded(self.margin)


class AsTraced(Section):
    """Where the trace says that devices are."""

    cells: dict[str, str] | None = None
    """Site of each cell that the trace names. By default cells are called as the sites are."""

    def policy(self) -> association.Policy:
        """The policy that this asks for."""
        return association.AsTold()


class Association(OneOf):
    """Which access point a device is on."""

    nearest: Nearest | None = None
    """The nearest."""
    strongest: Strongest | None = None
    """The strongest, with hysteresis and time to trigger."""
    least_loaded: LeastLoaded | None = Field(default=None, alias="least-loaded")
    """The one with the fewest devices, of those that are strong enough."""
    trace: AsTraced | None = None
    """As the trace says."""


Sharing = Literal["time", "frames", "none"]


class _Radio(Section):
    streams: Annotated[int, Field(strict=True, ge=1, le=8)] = 1
    """Spatial streams."""
    tx: Power | None = None
    """Power of an access point. By default 20dBm for Wi-Fi, 46dBm for LTE."""
    device_tx: Power | None = None
    """Power of a device. By default 15dBm for Wi-Fi, 23dBm for LTE."""
    gain: Decibel | None = None
    """Gain of an access point's antenna. By default 0dB for Wi-Fi, 15dB for LTE."""
    frequency: Frequency | None = None
    """Carrier. By default 5.2GHz for Wi-Fi, 1.8GHz for LTE."""
    exponent: Positive | None = None
    """Path-loss exponent: 2 free space, 3 in a town, 4 or more indoors through walls. By default 3."""
    shadowing: Decibel | None = None
    """Standard deviation of what obstacles add; 0dB for none. By default 4dB for Wi-Fi, 8dB for LTE."""
    correlation: Metres | None = None
    """Metres over which shadowing changes. By default 20 for Wi-Fi, 50 for LTE."""
    interference: Decibel | None = None
    """Noise and interference above the receiver's own. By default 0dB."""
    efficiency: Annotated[Fraction, Field(gt=0)] | None = None
    """Share of the air's capacity that frames get. By default 70% for Wi-Fi, 75% for LTE."""
    sharing: Sharing = "time"
    """How devices of one site share its air: each as much `time`, each as many `frames`, or `none`: as if alone."""
    interval: Annotated[Duration, at_least(0.1, _TOO_OFTEN)] = Field(default="500ms", validate_default=True)
    """How often links follow the signal."""

    def _changes(self) -> dict[str, float]:
        names = ("tx", "device_tx", "gain", "frequency", "exponent", "shadowing", "correlation", "interference",
                 "efficiency")  # fmt: skip
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def radio(self) -> radio.Radio:
        """The radio that this asks for."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.radio()
        except ValueError as error:
            raise UnitError(str(error), wanted="a radio of its standard", found=self._asked()) from None
        return self

    def _asked(self) -> str:
        return ", ".join(f"{name} {getattr(self, name):g}" for name in self.model_fields_set
                         if isinstance(getattr(self, name), float | int)) or "this"  # fmt: skip


class Wifi(_Radio):
    """Wi-Fi: the table of IEEE 802.11n or ac."""

    standard: Literal["ac", "n"] = "ac"
    """Whose rates."""
    bandwidth: Frequency = Field(default="20MHz", validate_default=True)
    """Of a channel: 20MHz or 40MHz, with ac also 80MHz or 160MHz."""

    def radio(self) -> radio.Radio:
        """The radio that this asks for."""
        return radio.wifi(
            bandwidth=self.bandwidth, streams=self.streams, standard=self.standard, **self._changes()
        )


class Lte(_Radio):
    """LTE: the table of 3GPP TS 36.213."""

    bandwidth: Frequency = Field(default="20MHz", validate_default=True)
    """Of a carrier: 1.4MHz, 3MHz, 5MHz, 10MHz, 15MHz or 20MHz."""

    def radio(self) -> radio.Radio:
        """The radio that this asks for."""
        return radio.lte(bandwidth=self.bandwidth, streams=self.streams, **self._changes())


class Recorded(Section):
    """Rates and delays that the trace recorded; each way has half the round-trip time."""

    up: Annotated[Fraction, Field(gt=0)] | None = None
    """Share of the recorded rate that the way up has: drive logs hold the rate towards the device. By default the way
    up keeps the link's own rate."""


class RadioModel(OneOf):
    """What access links carry follows from where devices are.

    A rate that the file has for them is an upper bound. Devices that do not move count as being where their site is:
    they have their share of its air, too.
    """

    wifi: Wifi | None = None
    """Wi-Fi."""
    lte: Lte | None = None
    """LTE."""
    trace: Recorded | None = None
    """As the trace says."""


class Oracle(Section):
    """What the trace itself knows."""

    horizon: Annotated[Duration, Field(gt=0)] = Field(default="5s", validate_default=True)
    """How far ahead."""


class Linear(Section):
    """Straight on, as the device went last."""

    horizon: Annotated[Duration, Field(gt=0)] = Field(default="5s", validate_default=True)
    """How far ahead."""
    window: Annotated[Duration, Field(gt=0)] = Field(default="3s", validate_default=True)
    """How far back its speed is taken from."""


class Nothing(Section):
    """Nothing is predicted."""


class Forecast(OneOf):
    """How the next handover is predicted."""

    none: Nothing | None = None
    """Not at all."""
    oracle: Oracle | None = None
    """From the trace."""
    linear: Linear | None = None
    """From the last positions."""
