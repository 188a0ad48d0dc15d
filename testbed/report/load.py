"""Reads a run directory, whole or broken: a run that was killed keeps what was measured, and says what is missing.

Does not judge: verdicts are the run's own. Does not look for runs: see `testbed.report.find`.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import yaml

from nodes.events import SCHEMA, Span
from testbed.emulation.links.shape import LinkCalibration
from testbed.experiment.plan import Tolerances
from testbed.experiment.units import UnitError, parse_duration, parse_fraction
from testbed.mobility.overview import Overview
from testbed.report.find import scheme_directories
from testbed.report.records import DeviceRound, MoveRecord, RunRecord, SchemeRecord, items, number, table, text, whole


def load(path: Path) -> RunRecord:
    """Read a run directory, or the directory of one of its schemes.

    Never fails for what a run did not write, or wrote only in part: see ``RunRecord.missing``.
    """
    missing: list[str] = []
    summary = _mapping(path / "summary.json", missing)
    # A scheme's directory shares everything about the machine with the run that it is part of.
    common = path if (path / "manifest.json").exists() or not (path.parent / "manifest.json").exists() else path.parent
    manifest = _mapping(common / "manifest.json", missing)
    rendered = _text(common / "experiment.yaml", missing)
    spec = _yaml(rendered)
    motion = _motion(common / "mobility.json", missing)
    schemes = _schemes(path, summary, manifest, spec, missing)
    names = (summary.get("experiment"), manifest.get("experiment"), spec.get("name"))
    return RunRecord(
        path=path,
        run=text(summary.get("run")) or text(manifest.get("run")) or path.name,
        experiment=next((n for n in map(text, names) if n), path.name),
        verdict=text(summary.get("verdict"), "unknown"),
        reasons=tuple(map(str, items(summary.get("reasons")))),
        seed=next((s for s in (whole(d.get("seed")) for d in (summary, manifest, spec)) if s is not None), None),
        duration_s=number(summary.get("duration_s")),
        schemes=tuple(schemes),
        calibration=_calibration(common / "calibration.json", missing),
        manifest=manifest,
        tolerances=_tolerances(spec),
        rendered=rendered,
        missing=tuple(missing),
        motion=motion,
    )


def _motion(path: Path, missing: list[str]) -> Overview | None:
    """Who was to be where and when; runs in which nothing moves have no such file."""
    if not path.exists():
        return None
    try:
        return Overview.from_json(_mapping(path, missing))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        missing.append(f"{path.name}: cannot be read, so no map")
        return None


def _schemes(
    path: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any], spec: Mapping[str, Any], missing: list[str]
) -> list[SchemeRecord]:
    asked = summary.get("scheme")
    if isinstance(asked, str):
        return [_scheme(path, asked, summary, manifest, missing)]
    rows = {name: r for r in items(summary.get("results")) if (name := text(table(r).get("scheme")))}
    places = scheme_directories(path)
    names = [n for n in map(text, items(asked)) if n] or _asked(spec)
    names += [n for n in [*rows, *places] if n not in names]
    if not rows and not places and (path / "events.jsonl").exists():
        # A run of one scheme that ended before it could sum up: its events stand in the run's own directory.
        return [_scheme(path, names[0] if len(names) == 1 else "", {}, manifest, missing)]
    found = []
    for name in names:
        place, row = places.get(name), rows.get(name)
        if place is None and row is None:
            missing.append(f"{name}: was not run")
            continue
        place = place or path / name
        found.append(_scheme(place, name, row or _mapping(place / "summary.json", missing), manifest, missing))
    return found


def _scheme(
    path: Path, name: str, row: Mapping[str, Any], manifest: Mapping[str, Any], missing: list[str]
) -> SchemeRecord:
    spans = _events(path / "events.jsonl", missing)
    name = name or next((s.scheme for s in spans if s.scheme), path.name)
    metrics = [m for m in _metrics(path / "metrics.csv", missing) if m.get("scheme") in (None, "", name)]
    tasks = {k: v for k, v in table(row.get("tasks")).items() if isinstance(v, Mapping)}
    # Rounds are those of one task: several have no accuracy after round 2.
    devices = {} if tasks else _device_rounds(row, metrics, spans)
    accuracy = () if tasks else _scores(row.get("accuracy_by_round"), metrics, spans, "accuracy")
    done = whole(row.get("rounds"))
    return SchemeRecord(
        name=name,
        verdict=text(row.get("verdict"), "unknown"),
        reasons=tuple(map(str, items(row.get("reasons")))),
        rounds=len(accuracy) if done is None else done,
        accuracy=accuracy,
        loss=() if tasks else _scores(row.get("loss_by_round"), metrics, spans, "loss"),
        weights_sha256=text(row.get("weights_sha256")) or None,
        duration_s=number(row.get("duration_s")),
        begin=_begin(row, manifest, name, spans),
        devices=devices,
        moves=tuple(MoveRecord.of(m) for m in items(row.get("moves")) if isinstance(m, Mapping)),
        nodes={k: v for k, v in table(row.get("nodes")).items() if isinstance(v, Mapping)},
        spans=spans,
        mobility=table(row.get("mobility")),
        faults=tuple(table(one) for one in items(row.get("faults"))),
        deaths=tuple(table(one) for one in items(row.get("deaths"))),
        notes=tuple(table(one) for one in items(row.get("notes"))),
        standbys=table(row.get("standbys")),
        pipeline=table(row.get("pipeline")),
        energy=table(row.get("energy")),
        cost=table(row.get("cost")),
        selection=table(row.get("selection")),
        tasks=tasks,
        placements=tuple(table(one) for one in items(row.get("placements"))),
        predictions=table(row.get("predictions")),
    )


def _begin(row: Mapping[str, Any], manifest: Mapping[str, Any], name: str, spans: Iterable[Span]) -> float:
    noted = table(table(manifest.get("schemes")).get(name))
    known = number(row.get("begin")) or number(noted.get("begin"))
    return known or min((s.begin for s in spans), default=0.0)


def _device_rounds(
    row: Mapping[str, Any], metrics: list[dict[str, Any]], spans: Iterable[Span]
) -> dict[str, tuple[DeviceRound, ...]]:
    """From the summary; where there is none, from the metrics; where there are none, from the events."""
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for device, lines in table(row.get("devices")).items():
        rows[device] += [line for line in items(lines) if isinstance(line, Mapping)]
    if not rows:
        for line in metrics:
            rows[str(line.get("device"))].append(line)
    if not rows:
        # A round that was begun again counts from its first attempt.
        begun: dict[tuple[str, int], float] = {}
        for span in spans:
            if span.kind in ("forward", "step"):
                begun.setdefault((span.node, span.round), span.begin)
            elif span.kind == "round":
                begin, batches = begun.get((span.node, span.round), span.begin), span.attrs.get("batches")
                rows[span.node].append({"round": span.round, "time_s": span.end - begin, "batches": batches})
    made = {device: [DeviceRound.of(line) for line in lines] for device, lines in rows.items()}
    return {
        device: tuple(sorted((r for r in lines if r is not None), key=lambda r: r.round))
        for device, lines in sorted(made.items())
    }


def _scores(
    listed: object, metrics: list[dict[str, Any]], spans: Iterable[Span], what: str
) -> tuple[float | None, ...]:
    if isinstance(listed, list):
        return tuple(number(v) for v in listed)
    by_round = {s.round: number(s.attrs.get(what)) for s in spans if s.kind in ("accuracy", "evaluate")}
    for line in metrics:
        count = whole(line.get("round"))
        if count is not None:
            by_round[count] = number(line.get(what))
    return tuple(by_round.get(i) for i in range(1, max(by_round, default=0) + 1))


def _events(path: Path, missing: list[str]) -> tuple[Span, ...]:
    if not path.exists():
        missing.append(f"{path.parent.name}/{path.name}: not there, so no timeline and no link use")
        return ()
    decode = msgspec.json.Decoder(Span).decode
    spans, unreadable, newer = [], 0, 0
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                span = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):  # the last line of a run that was killed
                unreadable += 1
                continue
            newer += span.v > SCHEMA
            spans.append(span)
    if unreadable:
        missing.append(f"{path.parent.name}/{path.name}: {unreadable} of {unreadable + len(spans)} lines unreadable")
    if newer:
        missing.append(f"{path.parent.name}/{path.name}: {newer} events of a newer version than this testbed's")
    return tuple(sorted(spans, key=lambda s: s.begin))


def _metrics(path: Path, missing: list[str]) -> list[dict[str, Any]]:
    if not path.exists():
        missing.append(f"{path.parent.name}/{path.name}: not there")
        return []
    with path.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def _calibration(path: Path, missing: list[str]) -> tuple[LinkCalibration, ...]:
    content = _json(path, missing)
    try:
        return tuple(msgspec.convert(content or [], list[LinkCalibration]))
    except msgspec.ValidationError as error:
        missing.append(f"{path.name}: cannot be read ({error})")
        return ()


def _tolerances(spec: Mapping[str, Any]) -> dict[str, float]:
    """Thresholds of this run's verdict, as far as they colour tables."""
    asked = table(spec.get("tolerances"))
    parsers = {
        "rate": parse_fraction, "rtt": parse_duration, "late_steps": parse_fraction, "starved": parse_fraction,
        "link_late": parse_duration,
    }  # fmt: skip
    found = {name: float(getattr(Tolerances, name)) for name in parsers}
    for name, parse in parsers.items():
        if asked.get(name) is not None:
            with suppress(UnitError):
                found[name] = parse(asked[name])
    return found


def _asked(spec: Mapping[str, Any]) -> list[str]:
    asked = table(spec.get("workload")).get("scheme")
    return [asked] if isinstance(asked, str) else [n for n in map(text, items(asked)) if n]


def _yaml(document: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(document)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _mapping(path: Path, missing: list[str]) -> dict[str, Any]:
    content = _json(path, missing)
    return content if isinstance(content, dict) else {}


def _json(path: Path, missing: list[str]) -> Any:
    content = _text(path, missing)
    try:
        return json.loads(content) if content else None
    except ValueError as error:
        missing.append(f"{path.name}: cannot be read ({error})")
        return None


def _text(path: Path, missing: list[str]) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        missing.append(f"{path.name}: not there")
    except (OSError, UnicodeDecodeError) as error:
        missing.append(f"{path.name}: cannot be read ({error})")
    return ""
