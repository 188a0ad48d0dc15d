"""The files that are generated from the models are current, and say something about every key."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import BaseModel

from testbed.experiment import reference
from testbed.experiment.link_settings import BothWays

REMEDY = "run: python -m testbed.experiment.reference"


def test_the_reference_is_current():
    assert reference.REFERENCE.read_text(encoding="utf-8") == reference.reference(), REMEDY


def test_the_schema_is_current():
    assert json.loads(reference.SCHEMA.read_text(encoding="utf-8")) == json.loads(reference.schema()), REMEDY


def sections(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """Every section that the model is made of."""
    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            stack = [field.annotation]
            while stack:
                annotation = stack.pop()
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    sections(annotation, seen)
                stack.extend(getattr(annotation, "__args__", ()))
    return seen


def test_every_section_is_in_the_reference_and_every_key_is_explained():
    documented = {model for _, model in reference._SECTIONS}
    found = {m for m in sections(reference.Spec, set()) if not issubclass(m, BothWays)}
    assert found == documented
    for model in found:
        for key, type_, _, meaning in reference.rows(model):
            assert type_, f"{model.__name__}.{key} has no type"
            assert meaning.endswith("."), f"{model.__name__}.{key} is not explained"


def test_links_within_the_reference_lead_somewhere():
    text = reference.reference()
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_-]", "", title.lower().replace(" ", "-")) for title in titles}
    links = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert links
    assert links <= anchors


@pytest.mark.parametrize("key", ["sites", "links", "workload", "mobility"])
def test_the_schema_refuses_unknown_keys(key):
    body = json.loads(reference.schema())
    section = body["properties"][key]
    definition = body["$defs"][section["$ref"].rpartition("/")[2]] if "$ref" in section else section
    if key == "sites":
        definition = body["$defs"]["Site"]
    assert definition["additionalProperties"] is False


def test_a_key_called_title_would_stay():
    assert reference._without_titles({"properties": {"title": {"title": "Title", "type": "string"}}}) == {
        "properties": {"title": {"type": "string"}}
    }
