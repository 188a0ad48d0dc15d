"""A run as JUnit XML, so that a CI shows what held and what did not: verdict, links, moves, rounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import yaml

from testbed.report import words
from testbed.report.records import MoveRecord, RunRecord, SchemeRecord, number, text, whole

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One test case; ``problem`` is empty where it passed."""

    group: str
    name: str
    time_s: float | None = None
    problem: str = ""


def cases(record: RunRecord) -> list[Case]:
    """What is asked of a run: each point a case."""
    found = [Case("run", "verdict", record.duration_s, _verdict(record))]
    found += [Case("run", what.partition(":")[0], problem=what) for what in record.missing]
    found += [Case("links", link.link, problem="; ".join(link.problems)) for link in record.calibration]
    for scheme in record.schemes:
        found += _rounds(record, scheme)
        found += [Case(f"{scheme.name}.moves", _move(m), m.downtime_s, _incomplete(scheme, m)) for m in scheme.moves]
        found += _undone(record, scheme)
    return found


def write_junit(record: RunRecord, path: Path) -> Path:
    """Write the cases of a run as JUnit XML and return the path."""
    all_cases = cases(record)
    failures = sum(bool(case.problem) for case in all_cases)
    counts = {"tests": str(len(all_cases)), "failures": str(failures), "errors": "0", "skipped": "0"}
    root = ElementTree.Element("testsuites", {"name": "roambed", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": record.experiment, "time": f"{record.duration_s or 0.0:.3f}", **counts}
    )
    for case in all_cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=f"{record.experiment}.{case.group}", name=_clean(case.name),
            time=f"{case.time_s or 0.0:.3f}",
        )  # fmt: skip
        if case.problem:
            first = case.problem.splitlines()[0]
            ElementTree.SubElement(element, "failure", message=_clean(first)).text = _clean(case.problem)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return path


def _verdict(record: RunRecord) -> str:
    if record.verdict == "ok":
        return ""
    return "\n".join([f"verdict: {record.verdict}", *record.reasons])


def _tasks(scheme: SchemeRecord) -> Iterator[Case]:
    """Tasks of the serverless platform, which are to be done."""
    for name, task in scheme.tasks.items():
        state, why = text(task.get("state"), "unknown"), text(task.get("reason"))
        problem = "" if state == "done" else f"task {name} is {state}" + (f": {why}" if why else "")
        yield Case(f"{scheme.name}.tasks", name, number(task.get("took_s")), problem)


def _rounds(record: RunRecord, scheme: SchemeRecord) -> Iterator[Case]:
    if scheme.tasks:
        yield from _tasks(scheme)
        return
    workload = _spec(record).get("workload")
    asked = whole(workload.get("rounds")) if isinstance(workload, dict) else None
    for count in range(1, max(asked or 0, scheme.last_round) + 1):
        times = [t for t in (scheme.time_of(d, count) for d in scheme.devices) if t is not None]
        problem = "" if count <= scheme.rounds else f"round {count} was not completed"
        yield Case(f"{scheme.name}.rounds", f"round {count}", max(times, default=None), problem)


def _move(move: MoveRecord) -> str:
    when = f" at {words.seconds(move.at_s)}" if move.round is None else f" in round {move.round}"
    return f"{move.device} to {move.to}{when}"


def _incomplete(scheme: SchemeRecord, move: MoveRecord) -> str:
    return "" if scheme.went_on(move) else f"{move.device} was not seen training again after its move to {move.to}"


def _undone(record: RunRecord, scheme: SchemeRecord) -> Iterator[Case]:
    """Moves that the experiment asks for by name and that did not happen."""
    mobility = _spec(record).get("mobility")
    asked = mobility.get("moves") if isinstance(mobility, dict) else None
    done = [(m.device, m.to) for m in scheme.moves]
    for move in asked if isinstance(asked, list) else []:
        key = (str(move.get("device")), str(move.get("to"))) if isinstance(move, dict) else ("?", "?")
        if key in done:
            done.remove(key)
            continue
        if scheme.died(key[0]) is not None:
            continue  # whether it was to die is for the verdict
        name = f"{key[0]} to {key[1]}"
        yield Case(f"{scheme.name}.moves", name, problem=f"the move of {name} did not happen")


def _spec(record: RunRecord) -> dict[str, object]:
    try:
        content = yaml.safe_load(record.rendered)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)
