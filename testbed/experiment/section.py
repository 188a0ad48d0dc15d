"""What every section of the file has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A mapping of the file: unknown keys are refused, and one left blank has all its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _blank_is_default(cls, value: Any) -> Any:
        return {} if value is None else value
