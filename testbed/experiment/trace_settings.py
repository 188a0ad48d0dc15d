"""What the user writes about a movement trace: the file, and what of it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.experiment.movement_values import Rectangle
from testbed.experiment.problems import did_you_mean
from testbed.experiment.section import Section
from testbed.experiment.units import Duration, UnitError
from testbed.mobility.project import Plane, check
from testbed.mobility.selection import Selection

Factor = Annotated[float, Field(strict=True, ge=1e-3, le=1e3, allow_inf_nan=False)]


def parse_place(value: object) -> tuple[float, float]:
    """``[44.49, 11.34]``, latitude and longitude in degrees."""
    pair = value if isinstance(value, list | tuple) and len(value) == 2 else (math.nan, math.nan)
    numbers = [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else math.nan for v in pair]
    try:
        check(numbers[0], numbers[1])
    except ValueError as error:
        raise UnitError(
            f"this is no place on Earth: {error}", wanted="latitude and longitude in degrees: [44.49, 11.34]",
            found=value, remedy="leave it out for the trace's first position",
        ) from None  # fmt: skip
    return numbers[0], numbers[1]


Place = Annotated[
    tuple[float, float],
    BeforeValidator(parse_place),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
]


class Scale(Section):
    """Makes a trace's world larger or smaller, faster or slower."""

    space: Factor = 1.0
    """Factor on places, about (0, 0): 0.5 brings everything twice as close, and moves half as fast."""
    time: Factor = 1.0
    """Factor on times: 2 makes everything last twice as long, and moves half as fast."""


class Trace(Section):
    """A movement trace, and what of it is used. Just its file will do: ``trace: walk.csv``.

    Which format it is in is told from its content: see [traces.md](traces.md). Everything but ``scale`` is in the
    trace's own seconds and metres.
    """

    file: Annotated[str, Field(min_length=1)]
    """The file, relative to the experiment file: plain, `.gz`, `.xz` or a zip archive (`logs.zip/drive.csv`)."""
    begin: Duration | None = Field(default=None, alias="from")
    """Time of the trace at which the training starts. By default 0, or in SUMO's traces that of the first row."""
    end: Duration | None = Field(default=None, alias="to")
    """Time of the trace after which nothing counts."""
    area: Rectangle | None = None
    """Only what happens in this rectangle counts; a node outside is as if it were not in the trace."""
    nodes: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Only so many of the trace's nodes: those that appear first."""
    every: Duration | None = None
    """Resample: one position of each node every so long, straight between those of the trace."""
    scale: Scale = Scale()
    """Factors on space and time."""
    map: dict[str, str] | Literal["order"] | None = None
    """Who is which device, by the trace's names: `{veh0: dev-1}`; others do not count. `order`: whoever appears first
    is the first device, and so on. By default by name where the first one is called as a device is (in our own CSV
    always), and in order otherwise."""
    origin: Place | None = None
    """Latitude and longitude of (0, 0), for traces in degrees. By default the trace's first position."""

    @model_validator(mode="before")
    @classmethod
    def _just_a_file(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.selection()
        except ValueError as error:
            key, _, problem = str(error).partition(": ")
            raise UnitError(f"{key}: {problem}", wanted=_WANTED.get(key, key), found=self._found(key)) from None
        return self

    def _found(self, key: str) -> object:
        return {"from": self.begin, "to": self.end}.get(key, getattr(self, key, None))

    def selection(self, gap: float | None = None) -> Selection:
        """What of the trace is used; over more than ``gap`` seconds of the experiment nothing is filled in."""
        space, time = self.scale.space, self.scale.time
        in_trace = None if gap is None else gap / time
        return Selection(self.begin, self.end, self.area, self.nodes, self.every, in_trace, space, time, self.map)

    def plane(self) -> Plane | None:
        """Where latitudes and longitudes go; None: the first position is the origin."""
        return None if self.origin is None else Plane(*self.origin)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A file's name is as good as a mapping."""
        return {"anyOf": [{"type": "string", "minLength": 1}, dict(handler.resolve_ref_schema(handler(schema)))]}


class Presence(Section):
    """When devices are there: ``always``; while the movement ``trace`` has positions of them; or ``{file: …}``."""

    file: str | None = None
    """A CSV file with the header `device,joins,leaves`, relative to the experiment file: from when until when each
    device (or each of a group) is there, in seconds after the start of training. See
    [traces.md](traces.md#devices-that-join-and-leave)."""
    _traced: bool = PrivateAttr(default=False)

    @property
    def traced(self) -> bool:
        """Whether the movement trace says it."""
        return self._traced

    @property
    def always(self) -> bool:
        """Whether devices are there all the time."""
        return self.file is None and not self._traced

    @model_validator(mode="wrap")
    @classmethod
    def _word(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        wanted = "always, trace or {file: availability.csv}"
        words = {"always": False, "trace": True}
        if isinstance(value, str) and value not in words:
            raise UnitError(
                f"unknown presence {value!r}", wanted=wanted, found=value,
                remedy=did_you_mean(value, words) or f"for a file: {{file: {value}}}",
            )  # fmt: skip
        found = handler({} if isinstance(value, str) else value)
        if value and isinstance(value, Mapping) and not found.file:
            raise UnitError("presence names no file", wanted=wanted, found=value, remedy="add file: availability.csv")
        found._traced = value == "trace"
        return found

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A word or a mapping."""
        return {"anyOf": [{"enum": ["always", "trace"]}, dict(handler.resolve_ref_schema(handler(schema)))]}


_WANTED = {"to": "a time after from", "every": "1ms to 1h", "gap": "more than 0"}
