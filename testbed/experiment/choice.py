"""A key of the file under which one of several things is chosen, with settings of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.experiment.problems import did_you_mean
from testbed.experiment.section import Section
from testbed.experiment.units import UnitError


class OneOf(Section):
    """A choice with its settings: ``name``, or ``name: {settings}``."""

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        names = [field.alias or key for key, field in cls.model_fields.items()]
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, Mapping) or len(value) != 1:
            raise UnitError("this is no choice", wanted=f"one of {', '.join(names)}, or {{{names[0]}: {{…}}}}",
                            found=value, remedy="keep one")  # fmt: skip
        ((name, settings),) = value.items()
        if name not in names:
            raise UnitError(f"unknown choice {str(name)!r}", wanted=", ".join(names), found=name,
                            remedy=did_you_mean(name, names))  # fmt: skip
        return {name: {} if settings is None else settings}

    @property
    def chosen(self) -> Any:
        """The settings of the choice."""
        return next(getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A name, or a mapping with that one key."""
        body = dict(handler.resolve_ref_schema(handler(schema)))
        names = [field.alias or key for key, field in cls.model_fields.items()]
        return {"anyOf": [{"enum": names}, {**body, "minProperties": 1, "maxProperties": 1}]}
