"""Decisions of pipelines: ``decisions.jsonl`` of a run, and another run that is to do the same again.

A line is a `nodes.policies.decisions.Decision`: first the layout that each device's training began with, then what
devices decided, in order of time (``now``: seconds since training began).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from nodes import schemes
from nodes.events import Span
from nodes.policies.decisions import Decision, begins, changes, lines, read
from nodes.policies.layers import LAYERS
from nodes.policies.layout import Layout
from testbed.errors import InputError
from testbed.experiment.plan import Plan
from testbed.experiment.problems import did_you_mean
from testbed.report.find import find_run, scheme_directories
from testbed.run.staging import Staging

NAME = "decisions.jsonl"


def moves_stages(scheme: str) -> bool:
    """Whether a scheme has stages that decisions can be about."""
    found = schemes.get(scheme)
    return found.pipelined and found.split


def text(chosen: Mapping[str, Staging], spans: Iterable[Span], begin: float) -> str:
    """What to write down of a run.

    Args:
        chosen: Where the stages of each device's pipeline were at the start.
        spans: Events, those of kind ``decision`` among them.
        begin: When training began, on the clock of the events.
    """
    first = []
    for device, one in sorted(chosen.items()):
        layout = Layout(one.layout.bounds, one.layout.nodes)
        known = one.prediction
        figures = {} if known is None else {"best_s": known.seconds, "bound_s": known.bound}
        why = "chosen before the training" if known is not None else one.why or "as the file has it"
        first.append(Decision("plan", "begin", why, 0.0, (1, 0, 0), device, layout, one.layout.depths, figures))
    made = sorted((span for span in spans if span.kind == "decision"), key=lambda span: span.begin)
    later = [replace(Decision.from_dict(_finite(span)), now=span.begin - begin) for span in made]
    return "".join(lines([*first, *later]))


def _finite(span: Span) -> dict[str, object]:
    """A decision as an event has it; figures without bounds are null there once they were written."""
    figures = span.attrs.get("figures") or {}
    return span.attrs | {"figures": {name: value for name, value in figures.items() if value is not None}}


def find(given: str, base: Path) -> Path:
    """The file of decisions that is meant: itself, or that of a run, by its id or directory.

    Raises:
        InputError: There is none, or there are several.
    """
    path = Path(given)
    if path.is_file():
        return path
    run = find_run(given, base)
    found = [place / NAME for place in (run, *scheme_directories(run).values()) if (place / NAME).is_file()]
    if len(found) == 1:
        return found[0]
    raise InputError(
        "a run without decisions to do again" if not found else "several schemes of a run made decisions",
        where=str(run), wanted=f"one {NAME}",
        found=", ".join(place.parent.name for place in found) or "none: no scheme of it moves stages",
        remedy="name one of them: --decisions RUN/SCHEME" if found else "take a run of edgemove",
    )  # fmt: skip


def load(given: str, base: Path) -> tuple[tuple[Decision, ...], str]:
    """Decisions of a run or of a file, and where they are.

    Raises:
        InputError: They cannot be found or read.
    """
    path = find(given, base)
    try:
        return read(path.read_text(encoding="utf-8"), str(path)), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("decisions cannot be read", where=str(path), found=str(error)) from None


def replayed(plan: Plan, decisions: tuple[Decision, ...], where: str) -> Plan:
    """The plan with decisions to be done again.

    Raises:
        InputError: They are not about this experiment: other devices, nodes, layers or rounds.
    """
    work = plan.workload
    if not any(map(moves_stages, work.schemes)):
        raise InputError(
            f"decisions have nothing to act on: {' and '.join(work.schemes)} moves no stages", where=where,
            wanted="scheme: edgemove", remedy="take --decisions out, or run another scheme: --scheme edgemove",
        )  # fmt: skip
    devices = [node.name for node in plan.nodes if node.kind == "device"]
    edges = [node.name for node in plan.nodes if node.kind == "edge"]
    for one in decisions:
        if one.device and one.device not in devices:
            raise _foreign("device", one.device, devices, where)
        if one.layout is None:
            continue
        for node in one.layout.servers:
            if node not in edges:
                raise _foreign("edge server", node, edges, where)
        layers = len(LAYERS[work.model])
        if one.layout.device != one.device or one.layout.layers != layers:
            raise InputError("a decision is about another model or device", where=where, found=str(one.layout),
                             wanted=f"{layers} layers, the first on {one.device or 'its device'}")  # fmt: skip
        if one.act in ("begin", "change") and len(one.depths) != len(one.layout.nodes):
            raise InputError("a decision has not one depth a stage", where=where, found=str(one.depths),
                             wanted=f"{len(one.layout.nodes)}: {one.layout}")  # fmt: skip
        if one.act == "change" and one.position[0] > work.rounds:
            raise InputError(
                f"a decision is for round {one.position[0]}, and there are {work.rounds}", where=where,
                remedy=f"set workload.rounds to {one.position[0]} or more, or take the line out",
            )  # fmt: skip
    begins(decisions)
    for device in devices:
        changes(decisions, device)
    return replace(plan, decisions=decisions)


def _foreign(what: str, name: str, known: list[str], where: str) -> InputError:
    return InputError(
        f"a decision is about {what} {name!r}, which this experiment does not have", where=where,
        wanted=", ".join(known), found=name,
        remedy=did_you_mean(name, known) or "take decisions of a run of this experiment",
    )  # fmt: skip
