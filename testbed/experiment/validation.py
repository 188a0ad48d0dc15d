"""From plain data to the model, with each of pydantic's complaints placed in the file and put in our words."""

from __future__ import annotations

import re
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from testbed.errors import InputError
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean, raise_all
from testbed.experiment.units import UnitError

_SHAPES = {
    "model_type": "a mapping of keys",
    "dict_type": "a mapping of names",
    "list_type": "a list",
    "tuple_type": "a list of two numbers",
    "too_long": "a list of two numbers",
    "string_type": "a word (put quotes around a number that is a name)",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}
_FLAGS = {
    **dict.fromkeys(("yes", "on", "true", "1"), "true, without quotes"),
    **dict.fromkeys(("no", "off", "false", "0"), "false, without quotes"),
}


def validate(document: Document) -> Spec:
    """The model of what the file says.

    Raises:
        InputError: It does not have an experiment's form; all problems at once.
    """
    try:
        return Spec.model_validate(document.data)
    except ValidationError as error:
        problems = [_problem(document, details) for details in error.errors(include_url=False)]
    raise_all(problems)
    raise AssertionError("a validation error without errors")


def known_keys(path: Steps) -> list[str] | None:
    """Keys that the mapping at that path may have; None where users choose the names (or it is no mapping)."""
    annotation: Any = Spec
    for step in path:
        annotation = _descend(annotation, step)
    model = _model(annotation)
    return [field.alias or key for key, field in model.model_fields.items()] if model else None


def dotted(path: Steps) -> str:
    """A path as ``--set`` takes it."""
    return ".".join(str(step) for step in path)


def _descend(annotation: Any, step: str | int) -> Any:
    model = _model(annotation)
    if model is not None:
        fields = {field.alias or key: field for key, field in model.model_fields.items()}
        if step in fields:
            return fields[str(step)].annotation
        extra = model.__annotations__.get("__pydantic_extra__")
        return typing.get_args(typing.get_type_hints(model)["__pydantic_extra__"])[1] if extra else None
    for option in _options(annotation):
        arguments = typing.get_args(option)
        if typing.get_origin(option) is dict and isinstance(step, str):
            return arguments[1]
        if typing.get_origin(option) is list and isinstance(step, int):
            return arguments[0]
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, each without its annotations."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(o for a in typing.get_args(annotation) for o in _options(a))
    return (annotation,)


def _model(annotation: Any) -> type[BaseModel] | None:
    found = [o for o in _options(annotation) if isinstance(o, type) and issubclass(o, BaseModel)]
    return found[0] if found else None


def _problem(document: Document, error: ErrorDetails) -> InputError:
    path = tuple(error["loc"])
    written = path
    while written and written not in document.places:
        written = written[:-1]
    kind, found = error["type"], _shown(error.get("input"))
    context = error.get("ctx", {})
    place = f"{dotted(written)}: " if written else ""

    if kind == "extra_forbidden":
        known = known_keys(path[:-1]) or []
        section = f" in {dotted(path[:-1])}" if path[:-1] else ""
        return document.problem(
            path,
            f"unknown key {str(path[-1])!r}{section}",
            wanted=", ".join(known),
            remedy=_elsewhere(path[-1]) or did_you_mean(path[-1], known) or "take it out, or see docs/experiment.md",
        )
    if kind == "missing":
        if isinstance(path[-1], int):
            return document.problem(path, f"{place}too few values", wanted="a list of two numbers", found=found)
        siblings = " and ".join(repr(k) for k in ("up", "down")) if path[-1] in ("up", "down") else None
        return document.problem(
            path,
            f"{place}{str(path[-1])!r} is missing",
            wanted=siblings and f"one value for both directions, or {siblings}",
            remedy=f"add '{path[-1]}: …'",
        )
    cause = context.get("error")
    if isinstance(cause, UnitError):
        return document.problem(
            path, f"{place}{cause.message}", wanted=cause.wanted, found=cause.found, remedy=cause.remedy
        )
    if kind == "literal_error":
        choices = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        remedy = did_you_mean(error.get("input"), choices.split(", ")) or f"write one of {choices}"
        return document.problem(path, f"{place}unknown choice", wanted=choices, found=found, remedy=remedy)
    if kind in _SHAPES:
        return document.problem(
            path, f"{place}this has the wrong form", wanted=_SHAPES[kind], found=found,
            remedy=_in_form(kind, error.get("input")),
        )  # fmt: skip
    message = error["msg"].replace("Input should", "the value must")
    return document.problem(
        path, f"{place}{message[0].lower()}{message[1:]}", found=found, remedy=_in_bounds(kind, context)
    )


def _in_form(kind: str, value: Any) -> str | None:
    """How to write what was meant, where that can be told."""
    if kind == "bool_type":
        return f"write {_FLAGS.get(str(value).strip().casefold(), 'true or false')}"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        text = value.strip()
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(%?)", text)
        if match is None or (kind == "int_type" and not text.isdecimal()):
            return f"write {_SHAPES[kind]}, without quotes and units"
        return f"write {float(match[1]) / 100:g}, without '%'" if match[2] else f"write {match[1]}, without quotes"
    if kind in ("int_type", "float_type"):
        return f"write {_SHAPES[kind]}"
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f'write "{value}"'
    return None


def _in_bounds(kind: str, context: dict[str, Any]) -> str | None:
    """A remedy for a number that is no finite one or out of its bounds."""
    match kind:
        case "finite_number":
            return "write a number"
        case "greater_than":
            return f"write more than {context['gt']:g}"
        case "greater_than_equal":
            return f"write {context['ge']:g} or more"
        case "less_than":
            return f"write less than {context['lt']:g}"
        case "less_than_equal":
            return f"write {context['le']:g} or less"
    return None


def _elsewhere(key: object) -> str | None:
    """Where a key belongs that is right and in the wrong place."""
    sections: tuple[Steps, ...] = (
        (), ("workload",), ("workload", "data"), ("workload", "data", "split"), ("workload", "optimizer"),
        ("mobility",), ("emulation",), ("tolerances",), ("platform",),
    )  # fmt: skip
    for path in sections:
        if key in (known_keys(path) or ()):
            return f"it belongs under {dotted(path)!r}" if path else "it belongs at the top of the file, not indented"
    return None


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value else "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
