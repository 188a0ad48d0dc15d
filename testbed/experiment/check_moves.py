"""What a file may say in good form and still not mean: scripted moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from testbed.errors import InputError
from testbed.experiment import resolve
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean
from testbed.experiment.training import Move


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of the moves that the file has."""
    return [*_moves(spec, document), *_orders(spec, document)]


def _moves(spec: Spec, document: Document) -> Iterator[InputError]:
    mobility, devices = spec.mobility, resolve.devices(spec)
    if mobility.trace and mobility.moves:
        yield document.problem(
            ("mobility", "trace"), "there are moves and a trace", wanted="one of them", remedy="take one out"
        )
    for i, move in enumerate(mobility.moves):
        path: Steps = ("mobility", "moves", i)
        if move.device not in devices:
            remedy = did_you_mean(move.device, devices) or f"add {move.device!r} under 'devices:'"
            if move.device in spec.devices:
                remedy = f"name one of {', '.join(resolve.device_names(spec, move.device))}"
            yield document.problem(
                (*path, "device"), f"there is no device {move.device!r}", wanted=", ".join(devices), remedy=remedy
            )
        if resolve.site_of(spec, move.to) is None:
            edges = [e for s, settings in spec.sites.items() if (e := resolve.edge_name(s, settings))]
            known = [*spec.sites, *edges]
            yield document.problem(
                (*path, "to"), f"there is no site or edge server {move.to!r}", wanted=", ".join(known),
                remedy=did_you_mean(move.to, known) or f"add {move.to!r} under 'sites:'",
            )  # fmt: skip
        if move.every is not None and move.every > spec.workload.rounds:
            yield document.problem(
                (*path, "every"), f"a move every {move.every} rounds, and there are {spec.workload.rounds} rounds",
                wanted=f"1 to {spec.workload.rounds}",
                remedy=f"move more often, or set workload.rounds to {move.every}",
            )  # fmt: skip
        if move.round is not None and move.round > spec.workload.rounds:
            yield document.problem(
                (*path, "round"),
                f"a move in round {move.round}, and there are {spec.workload.rounds} rounds",
                wanted=f"1 to {spec.workload.rounds}",
                remedy=f"move earlier, or set workload.rounds to {move.round}",
            )
        elif spec.workload.rounds in (move.round, move.every) and move.progress == 1:
            yield document.problem(
                (*path, "progress"),
                "a move at the end of the last round comes when training is over",
                wanted=f"less than 100% of round {spec.workload.rounds}",
                remedy="move a little earlier, or train one round more",
            )


def _orders(spec: Spec, document: Document) -> Iterator[InputError]:
    """Moves that go nowhere, or two at once. Rounds and times cannot be ordered, so those are left alone."""
    devices = resolve.devices(spec)
    by_device: dict[str, list[tuple[int, Move]]] = defaultdict(list)
    for i, move in enumerate(spec.mobility.moves):
        if move.device in devices and resolve.site_of(spec, move.to):
            by_device[move.device].append((i, move))
    for device, moves in by_device.items():
        if len({move.at is None for _, move in moves}) > 1:
            continue
        here, before = spec.devices[devices[device]].at, None
        home, rounds = spec.devices[devices[device]].at, spec.workload.rounds
        for i, move in sorted(_one_by_one(moves, home, rounds), key=lambda item: _moment(item[1])):
            there, path = resolve.site_of(spec, move.to), ("mobility", "moves", i)
            if _moment(move) == before:
                yield document.problem(path, f"{device!r} moves twice at one moment", remedy="take one move out")
            elif there == here:
                yield document.problem(
                    path, f"{device!r} is at {there!r} already then", wanted="a move to another site",
                    remedy="take the move out, or change 'to'",
                )  # fmt: skip
            here, before = there, _moment(move)


def _one_by_one(moves: list[tuple[int, Move]], home: str | None, rounds: int) -> Iterator[tuple[int, Move]]:
    """Moves that repeat, each time by itself: there, home, there."""
    for i, move in moves:
        if move.every is None:
            yield i, move
            continue
        for n, number in enumerate(range(move.every, rounds + 1, move.every)):
            to = move.to if n % 2 == 0 else home or move.to
            yield i, move.model_copy(update={"round": number, "every": None, "to": to})


def _moment(move: Move) -> tuple[float, float, float]:
    """Sorting key: by time, else by round and progress."""
    return (move.at or 0.0, float(move.round or 0), move.progress or 0.0)
