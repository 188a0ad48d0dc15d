"""What the user writes about averaging: in how many tiers, and what becomes of those who are late."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.experiment.section import Section
from testbed.experiment.units import Duration, UnitError

Aggregation = Literal["flat", "hierarchical"]


class Late(Section):
    """What a round does about devices that have not delivered their model: ``wait``, or ``{drop: 30s}``."""

    drop: Duration | None = None
    """Go on without them so long after the round began, with those that have delivered (one at least). What they
    deliver later counts for nothing; they take part in the next round. A device whose container dies is not waited for
    any more; with `wait` the run ends. The report names them."""

    @model_validator(mode="before")
    @classmethod
    def _wait(cls, value: Any) -> Any:
        if value is None or value == "wait":
            return {}
        if isinstance(value, str):
            raise UnitError(
                f"unknown policy {value!r}", wanted="wait or {drop: 30s}", found=value,
                remedy="say after how long: {drop: 30s}" if value == "drop" else None,
            )  # fmt: skip
        return value

    @model_validator(mode="after")
    def _some_time(self) -> Late:
        if self.drop is not None and self.drop <= 0:
            raise UnitError("a round that lasts no time has no devices", wanted="more than 0s", found=f"{self.drop:g}s")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """``wait`` or a mapping."""
        return {"anyOf": [{"const": "wait"}, dict(handler.resolve_ref_schema(handler(schema)))]}
