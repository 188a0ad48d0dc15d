"""Tasks of a serverless platform as records of schemes, for those who compare two runs scheme by scheme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from testbed.report.records import DeviceRound, RunRecord, SchemeRecord, items, number, table, text, whole


def by_task(record: RunRecord) -> RunRecord:
    """The same run with each of its tasks as if it were a scheme by itself; runs without tasks stay as they are."""
    if not any(scheme.tasks for scheme in record.schemes):
        return record
    return replace(record, schemes=tuple(one for scheme in record.schemes for one in _tasks(scheme)))


def _tasks(scheme: SchemeRecord) -> Iterator[SchemeRecord]:
    if not scheme.tasks:
        yield scheme
    for name, task in scheme.tasks.items():
        yield SchemeRecord(
            name=name, verdict=scheme.verdict, rounds=whole(task.get("rounds_done")) or 0,
            accuracy=tuple(number(one) for one in items(task.get("accuracy_by_round"))),
            loss=tuple(number(one) for one in items(task.get("loss_by_round"))),
            weights_sha256=text(task.get("weights_sha256")) or text(task.get("kept_sha256")) or None,
            duration_s=number(task.get("took_s")), begin=scheme.begin, devices=_devices(task),
            energy={"active_j": task.get("active_j"), "nodes": {
                device: {"kind": "device", **table(row)} for device, row in table(task.get("energy")).items()
            }},
        )  # fmt: skip


def _devices(task: Mapping[str, Any]) -> dict[str, tuple[DeviceRound, ...]]:
    made = {
        str(device): [DeviceRound.of(line) for line in items(lines) if isinstance(line, Mapping)]
        for device, lines in table(task.get("devices")).items()
    }
    return {
        device: tuple(sorted((one for one in lines if one is not None), key=lambda one: one.round))
        for device, lines in sorted(made.items())
    }
