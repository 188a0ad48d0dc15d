"""What the user writes about energy and money: what hardware draws, its battery and charger, its price."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.experiment.energy_values import Joules, Watts
from testbed.experiment.section import Section
from testbed.experiment.units import Duration, Fraction, UnitError

Money = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class Power(Section):
    """What it draws; see [energy](energy.md). Keys left out keep the value of the shipped profile of that name."""

    idle: Watts | None = None
    """The whole device, doing nothing."""
    busy: Watts | None = None
    """The whole device while it computes. What is above ``idle`` is active energy."""
    send: Watts | None = None
    """What its radio draws more while it sends, above all else."""
    receive: Watts | None = None
    """What its radio draws more while it receives."""


class Battery(Section):
    """What a device lives on, unless it is on the mains."""

    capacity: Joules
    """When it is full."""
    level: Fraction = Field(default="100%", validate_default=True)
    """How full it is when the training of a scheme begins."""
    reserve: Fraction = Field(default="0%", validate_default=True)
    """Share of the capacity that is not to be used. A run in which it was touched all the same has the verdict
    ``invalid``; with ``tasks`` only if the device worked on for more than 5 s after that."""


class Charging(Section):
    """A time in which a charger is connected."""

    begin: Duration | None = Field(default=None, alias="from")
    """When it is connected, after the start of training. By default then."""
    end: Duration | None = Field(default=None, alias="to")
    """When it is disconnected. By default never."""
    power: Watts | None = None
    """What arrives in the battery."""
    file: str | None = None
    """Instead of the others: a CSV file with the header ``t,watts``, relative to the experiment file. From each row's
    time on, s after the start of training, so many watts arrive, until the next row's."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        times = self.begin is not None or self.end is not None
        if (self.file is None) == (self.power is None) or (self.file is not None and times):
            both = self.file is not None
            raise UnitError(
                "charging is by times or by a file", wanted="{from: 30s, to: 60s, power: 5W}, or a CSV file",
                found="both" if both else "no power", remedy="keep one of them" if both else "add power: 5W",
            )  # fmt: skip
        if self.end is not None and self.end <= (self.begin or 0.0):
            raise UnitError(
                "charging ends before it begins", wanted="to after from",
                found=f"from {self.begin or 0.0:g} s to {self.end:g} s", remedy="swap them, or leave to out",
            )  # fmt: skip
        return self


def parse_charging(value: Any) -> Any:
    """A file's name as a list that has just it."""
    return [{"file": value}] if isinstance(value, str) else value


class _OrFile:
    """Marks a list for which a file's name is as good."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(schema)]}


Chargings = Annotated[list[Charging], BeforeValidator(parse_charging), Field(min_length=1), _OrFile]


class Price(Section):
    """What work costs there, in any money. Keys left out keep the value of the shipped profile of that name."""

    gb_second: Money | None = None
    """A second of work with a GB (1e9 bytes) of its memory limit."""
    gb: Money | None = None
    """A GB that it sends."""
