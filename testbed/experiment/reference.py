"""Writes what is generated from the models: the reference ``docs/experiment.md`` and the JSON schema for editors.

Run ``python -m testbed.experiment.reference`` after a change to the models; a test fails until it was.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from nodes.policies.designs import TAKES
from nodes.policies.layers import LAYERS, NAMED
from nodes.policies.samples import IN_WORDS
from testbed.experiment import (
    averaging,
    emulating,
    faults,
    link_settings,
    movement,
    network,
    pipelining,
    powering,
    selecting,
    site_table,
    tasking,
    trace_settings,
    training,
)
from testbed.experiment.cuts import CUTS
from testbed.experiment.model import Spec
from testbed.experiment.profiles import BUILTIN, guard

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "experiment.md"
SCHEMA = ROOT / "schemas" / "experiment.schema.json"

_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", Spec),
    ("sites.NAME", network.Site),
    ("sites.NAME.edge", network.Edge),
    ("cloud", network.Cloud),
    ("devices.NAME", network.Devices),
    ("hosts.NAME", network.Host),
    ("profiles.NAME", network.Profile),
    ("profiles.NAME.power", powering.Power),
    ("profiles.NAME.battery", powering.Battery),
    ("profiles.NAME.charging", powering.Charging),
    ("profiles.NAME.price", powering.Price),
    ("links", link_settings.Links),
    ("links.LINK, sites.NAME.access, sites.NAME.edge_link", link_settings.LinkSettings),
    ("mobility", training.Mobility),
    ("mobility.moves", training.Move),
    ("mobility.trace", trace_settings.Trace),
    ("mobility.trace.scale", trace_settings.Scale),
    ("mobility.model", movement.Movement),
    ("mobility.model.random-waypoint", movement.RandomWaypoint),
    ("mobility.model.gauss-markov", movement.GaussMarkov),
    ("mobility.model.manhattan", movement.Manhattan),
    ("mobility.association", movement.Association),
    ("mobility.association.nearest", movement.Nearest),
    ("mobility.association.strongest", movement.Strongest),
    ("mobility.association.least-loaded", movement.LeastLoaded),
    ("mobility.association.trace", movement.AsTraced),
    ("mobility.radio", movement.RadioModel),
    ("mobility.radio.wifi", movement.Wifi),
    ("mobility.radio.lte", movement.Lte),
    ("mobility.radio.trace", movement.Recorded),
    ("mobility.presence", trace_settings.Presence),
    ("mobility.prediction", movement.Forecast),
    ("mobility.prediction.none", movement.Nothing),
    ("mobility.prediction.oracle", movement.Oracle),
    ("mobility.prediction.linear", movement.Linear),
    ("faults", faults.Fault),
    ("workload", training.Workload),
    ("workload.data", training.Data),
    ("workload.data.split", training.Split),
    ("workload.data.select", selecting.Select),
    ("workload.pipeline", pipelining.Pipeline),
    ("workload.pipeline.plan", pipelining.PlannedStage),
    ("workload.late", averaging.Late),
    ("workload.optimizer", training.Optimizer),
    ("tasks.NAME", tasking.Task),
    ("tasks.NAME.privacy", tasking.Privacy),
    ("tasks.NAME.arrivals", tasking.Arrivals),
    ("platform", tasking.Platform),
    ("platform.weights", tasking.Objective),
    ("emulation", emulating.Emulation),
    ("tolerances", emulating.Tolerances),
)

_TYPES = {
    "parse_rate": "rate", "parse_duration": "duration", "parse_size": "size", "parse_fraction": "fraction",
    "parse_queue": "queue", "parse_link_rate": "rate", "parse_loss": "loss", "parse_dilation": "number or `auto`",
    "parse_decibel": "level", "parse_power": "power", "parse_frequency": "frequency", "parse_speeds": "[low, high]",
    "parse_area": "[[x, y], [x, y]]", "parse_place": "[lat, lon]",
    "parse_watts": "watts", "parse_joules": "energy",
    "parse_charging": "list of [charging](#profilesnamecharging), or a file",
    "parse_often": "how often", "parse_times": "duration, or a list of them",
    "parse_probing": "`adaptive`, `off` or `{every: duration}`",
}  # fmt: skip

_HEAD = """\
# The experiment file

<!-- Generated from the models by `python -m testbed.experiment.reference`. Change them, not this. -->

One YAML file holds an experiment. [topologies/fedfly.yaml](../topologies/fedfly.yaml) is a commented example and
`testbed validate FILE` checks yours. Keys that are not listed here are refused. Any key can be set from the command
line: `--set links.access.rate=10Mbit`, `--set mobility.moves.0.round=3`. Editors complete and check the file when its
first line is `# yaml-language-server: $schema=../schemas/experiment.schema.json`.

Names (of sites, devices, hosts, edge servers) are unique in the file and made of `a-z`, `0-9` and single `-`, at most
32 characters. `cloud` is taken by the cloud. YAML is read as version 1.2 reads it: `no` and `on` are names, not
booleans. Paths are relative to the experiment file. What each setting of a link means exactly is in
[links.md](links.md).

## Quantities

| type | written as | units | not accepted |
|---|---|---|---|
| rate | `20Mbit` | `bit` `kbit` `Mbit` `Gbit` `Tbit` (of 1000) on layer 2 | `Mbps` (bytes to tc), a bare number |
| duration | `15ms` | `us` `ms` `s` `min` `h` | a bare number, `0` excepted |
| size | `512MiB` | `B`, `kB` `MB` `GB` (of 1000), `KiB` `MiB` `GiB` (of 1024) | `512M`, a bare number |
| fraction | `50%` or `0.5` | `%` | more than 1 without `%` |
| queue | `100ms`, `64kB` or `100p` | a duration at the link's rate, a size, or packets | less than two packets |
| loss | `1%`, `{burst: 4, share: 1%}` | a fraction, or [bursts](links.md#loss) | 100% or more |
| level | `3dB` | `dB` | a bare number |
| power | `20dBm` | `dBm` | a bare number |
| watts | `2.7W` | `mW` `W` `kW` | a bare number, `0` excepted |
| energy | `15Wh`, `4410mAh at 3.7V` | `J` `kJ` `MJ` `mWh` `Wh` `kWh`, or `mAh` `Ah` at `mV` `V` | a charge alone |
| how often | `0.1/s` | `/s` `/min` `/h` | a bare number |
| frequency | `5.2GHz` | `Hz` `kHz` `MHz` `GHz` | a bare number |

Negative values (levels and powers excepted), NaN and infinity are refused everywhere.
"""


def reference() -> str:
    """The text of ``docs/experiment.md``."""
    parts = [_HEAD, *(_section(title, model) for title, model in _SECTIONS), _profiles(), _models()]
    return "\n".join(parts)


def schema() -> str:
    """The text of ``schemas/experiment.schema.json``."""
    body: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Roambed experiment",
        **{k: v for k, v in Spec.model_json_schema().items() if k != "title"},
    }
    body["properties"]["sites"] |= site_table.SCHEMA
    return json.dumps(_without_titles(body), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def write() -> None:
    """Bring both files up to date."""
    for path, text in ((REFERENCE, reference()), (SCHEMA, schema())):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _section(title: str, model: type[BaseModel]) -> str:
    lines = [f"## {title}", "", inspect.cleandoc(model.__doc__ or ""), ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {type_} | {default} | {meaning} |" for key, type_, default, meaning in rows(model)]
    if model is link_settings.Links:
        meaning = "Between two sites, a site and `cloud`, or a host of its own. Unless set: 100Mbit, 5ms, no jitter, "
        lines.append(f"| `x -- y` | [link settings](#{_anchor(link_settings.LinkSettings)}) | | {meaning}no loss. |")
    return "\n".join([*lines, ""]).replace("``", "`")


def rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Key, type, default and meaning of each key of a section."""
    for key, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split())
        yield field.alias or key, _type(field.annotation, tuple(field.metadata)), _default(field), meaning


def _type(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    for item in metadata:
        name = getattr(getattr(item, "func", None), "__name__", "")
        if name in _TYPES:
            return _TYPES[name]
        choices = getattr(item, "json_schema", None) or {}
        if choices := choices.get("enum") or choices.get("anyOf", [{}])[0].get("enum"):
            names = ", ".join(f"`{c}`" for c in choices)
            return f"one or a list of {names}" if typing.get_origin(annotation) is list else f"one of {names}"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0], annotation.__metadata__)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(a, metadata) for a in arguments if a is not type(None))
    if origin is typing.Literal:
        return "one of " + ", ".join(f"`{a}`" for a in arguments)
    if origin is dict:
        return f"{_type(arguments[1])} by name"
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is tuple:
        return "[x, y]"
    if isinstance(annotation, type) and issubclass(annotation, link_settings.BothWays):
        way = annotation.model_fields["up"]
        return f"{_type(way.annotation, tuple(way.metadata))}, or `{{up, down}}`"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{_words(annotation)}](#{_anchor(annotation)})"
    return {int: "whole number", float: "number", str: "text", bool: "true or false"}[annotation]


def _words(model: type[BaseModel]) -> str:
    return "link settings" if model is link_settings.LinkSettings else model.__name__.lower()


def _anchor(model: type[BaseModel]) -> str:
    title = next(title for title, section in _SECTIONS if section is model)
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, network.Edge):
        return "an `edge-server`"
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel) or value in ({}, []):
        return ""
    if isinstance(value, list):
        return ", ".join(f"`{v}`" for v in value)
    if isinstance(value, tuple):
        return "`[" + ", ".join(f"{v:g}" for v in value) + "]`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _profiles() -> str:
    lines = ["## Profiles that ship", "", _PROFILES, ""]
    lines += ["| profile | speed | cpus | memory | idle, busy | send, receive | price of a GB-second, a GB |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, fields in BUILTIN.items():
        power, price = fields.get("power", {}), fields.get("price", {})
        draws = ", ".join(power[key] for key in ("idle", "busy") if power)
        radio = ", ".join(power[key] for key in ("send", "receive") if power)
        costs = ", ".join(f"{price[key]:g}" for key in ("gb_second", "gb") if price)
        lines.append(
            f"| `{name}` | {fields['speed']} | {guard(float(fields['speed'])):g} | {fields['memory']} "
            f"| {draws} | {radio} | {costs} |"
        )
    return "\n".join([*lines, ""])


_PROFILES = "Where power figures are from, and what prices mean: [energy](energy.md)."
_CUTS = (
    "`cut: 4` leaves the first four layers on the device; `cut: pool2` leaves all up to that one. "
    "More in [models](models.md)."
)


def _models() -> str:
    lines = ["## Models and their cuts", "", _CUTS, ""]
    lines += ["| model | takes | layers | names of cuts | cut by default |", "|---|---|---|---|---|"]
    for name, layers in LAYERS.items():
        named = ", ".join(f"`{cut}` is {k}" for cut, k in NAMED.get(name, {}).items())
        numbered = ", ".join(f"{i} `{layer}`" for i, layer in enumerate(layers, 1))
        kinds = ", ".join(IN_WORDS[kind] for kind in TAKES[name])
        lines.append(f"| `{name}` | {kinds} | {numbered} | {named} | {CUTS[name]} |")
    return "\n".join([*lines, ""])


def _without_titles(value: Any, *, names: bool = False) -> Any:
    """Generated titles repeat the keys; under ``properties`` the keys are names and stay."""
    if isinstance(value, dict):
        return {
            k: _without_titles(v, names=k in ("properties", "$defs", "patternProperties"))
            for k, v in value.items()
            if names or k != "title" or v == "Roambed experiment"
        }
    return [_without_titles(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    write()
