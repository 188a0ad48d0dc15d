"""The tables of a run, as rows of text: the page and the terminal show the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.emulation.links.shape import Direction, LinkCalibration
from testbed.report import words
from testbed.report.records import MoveRecord, RunRecord, SchemeRecord, items, number, table, text
from testbed.report.saving import savings

BAD, GOOD, QUIET = "bad", "good", "quiet"
MOST_ROUNDS = 12


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, and how: ``bad``, ``good``, ``quiet`` or nothing."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """One table. The first ``names`` columns are text, the others numbers."""

    title: str
    head: tuple[str, ...]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""
    names: int = 1

    def add(self, *cells: str | Cell) -> None:
        """A row."""
        self.rows.append([c if isinstance(c, Cell) else Cell(c) for c in cells])


def turned(grid: Grid, naming: int) -> Grid:
    """The same table with a column a row; the first ``naming`` cells of each row name its column."""
    head = ("", *(", ".join(cell.text for cell in row[:naming]) for row in grid.rows))
    rows = [
        [Cell(name), *(row[i] for row in grid.rows)] for i, name in enumerate(grid.head) if i >= naming
    ]
    return Grid(grid.title, head, rows, grid.note)


def comparison_grid(record: RunRecord) -> Grid | None:
    """Restarting against moving the state, round by round; None unless the run has both."""
    found = savings(record)
    if not found:
        return None
    grid = Grid(
        "Restarting against moving the state",
        ("device", "strategy", "round", "f", "restart", "move", "saved", "f/(1+f)", "law", "off"),
        note="f is the share of the round's batches that were done at the move. A restart costs (1+f) T, so moving the "
        "state saves at most f/(1+f) of it; the law, (f - downtime/T)/(1+f), allows for the measured downtime; "
        "off is how far the saving is from that, in points.",
        names=2,
    )
    for row in found:
        law = row.law_with_downtime
        off = None if law is None or row.saved is None else 100 * (row.saved - law)
        grid.add(
            row.device, f"{row.base} / {row.other}", str(row.round), words.percent(row.f, 0),
            words.seconds(row.restarting_s), words.seconds(row.moving_s),
            Cell(words.percent(row.saved), GOOD if (row.saved or 0) > 0 else BAD),
            words.percent(row.law), words.percent(law), words.DASH if off is None else f"{off:+.1f}",
        )  # fmt: skip
    return grid


def scheme_grid(record: RunRecord) -> Grid:
    """One row a scheme: how far it came and what it ended with."""
    known = any(scheme.active_j is not None for scheme in record.schemes)
    energy = ("energy",) if known else ()
    note = "Energy: active energy of all devices, what the training cost them beyond idling." if known else ""
    head = ("scheme", "verdict", "rounds", "accuracy", "loss", "time", *energy, "moves", "weights")
    grid = Grid("Schemes", head, note=note)
    for scheme in record.schemes:
        drawn = (words.joules(scheme.active_j),) if known else ()
        grid.add(
            scheme.name, Cell(scheme.verdict, GOOD if scheme.verdict == "ok" else BAD), str(scheme.rounds),
            words.percent(scheme.final_accuracy), words.plain(scheme.loss[-1] if scheme.loss else None),
            words.seconds(scheme.duration_s), *drawn, str(len(scheme.moves)),
            Cell(words.short(scheme.weights_sha256), QUIET),
        )  # fmt: skip
    return grid


def rounds_grid(record: RunRecord) -> Grid:
    """Each device's rounds: a column a round, a row a device and scheme."""
    shown, left_out = _rounds(record)
    grid = Grid(
        "Time of each round", ("device", "scheme", *(f"round {n}" for n in shown), "batches"),
        note=f"From a device's first batch of the round to its last; a dot marks the rounds it moved in.{left_out}",
        names=2,
    )  # fmt: skip
    for device in record.devices:
        for scheme in _of_rounds(record):
            rounds = {r.round: r for r in scheme.devices.get(device, ())}
            moved = {m.round for m in scheme.moves if m.device == device}
            times = [
                words.seconds(rounds[n].time_s if n in rounds else None) + (" •" if n in moved else "")
                for n in shown
            ]
            batches = next((r.batches for r in rounds.values() if r.batches is not None), None)
            grid.add(device, scheme.name, *times, words.plain(batches))
    return grid


def _of_rounds(record: RunRecord) -> list[SchemeRecord]:
    """Schemes that have rounds of their own; those of a platform are its tasks'."""
    return [scheme for scheme in record.schemes if not scheme.tasks]


def accuracy_grid(record: RunRecord) -> Grid:
    """Accuracy after each round."""
    shown, left_out = _rounds(record)
    note = " ".join([*_averaged_without(record), left_out.strip()]).strip()
    grid = Grid("Accuracy after each round", ("scheme", *(f"round {n}" for n in shown)), note=note)
    for scheme in _of_rounds(record):
        known = dict(enumerate(scheme.accuracy, start=1))
        grid.add(scheme.name, *(words.percent(known.get(n)) for n in shown))
    return grid


def _averaged_without(record: RunRecord) -> Iterator[str]:
    """A sentence for each round that went on without devices that were late, and for each device that died."""
    for scheme in record.schemes:
        for span in scheme.spans:
            if span.kind == "accuracy" and (missing := items(span.attrs.get("missing"))):
                dead = items(span.attrs.get("dead"))
                late = ", ".join(str(name) for name in missing if name not in dead)
                if late:
                    yield f"{scheme.name}: round {span.round} was averaged without {late}, too late."
        for death in scheme.deaths:
            if without := rounds_without(death):
                were = "were" if without.startswith("rounds") else "was"
                yield f"{scheme.name}: {without} {were} averaged without {text(death.get('node'))}, which had died."


def rounds_without(death: Mapping[str, Any]) -> str:
    """The rounds that were averaged without a node that had died; they are the last ones. Empty if there are none."""
    found = items(death.get("rounds_without"))
    if not found:
        return ""
    return f"rounds {found[0]} to {found[-1]}" if len(found) > 1 else f"round {found[0]}"


def _rounds(record: RunRecord) -> tuple[list[int], str]:
    """Rounds that have a column, and what to say about the others: moves first, then the last ones."""
    last = max((s.last_round for s in record.schemes), default=0)
    if last <= MOST_ROUNDS:
        return list(range(1, last + 1)), ""
    moved = sorted({m.round for s in record.schemes for m in s.moves if m.round})[: MOST_ROUNDS - 4]
    others = [n for n in (1, *range(last, 0, -1)) if n not in moved]
    return sorted([*moved, *others[: MOST_ROUNDS - len(moved)]]), f" All {last} rounds are in metrics.csv."


def moves_grid(record: RunRecord) -> Grid:
    """Every move, with all that is known of it; fields this version does not know come last."""
    rows = [(s, m) for s in record.schemes for m in s.moves]
    extra = sorted({k for _, m in rows for k in m.raw if k not in _KNOWN})
    grid = Grid(
        "Moves",
        ("device", "scheme", "strategy", "from", "to", "at", "late", "round", "batches done", "progress", "downtime",
         "link silent", "command", "state wait", "state", "limit", "wait / limit", "lost batches", "lost", *extra),
        note="Late is how much later than due the port had moved. "
        "Downtime is all time that a device could not train because of the move; link silent is the handover's "
        "own interruption, state wait what waiting for the training state added; limit is the state's bytes over the "
        "slowest link on its way and one round trip.",
        names=5,
    )  # fmt: skip
    for scheme, move in rows:
        grid.add(*_move_cells(scheme, move), *(_any(move.raw.get(k)) for k in extra))
    return grid


_KNOWN = {
    "device", "strategy", "from", "to", "at_s", "due_s", "late_s",
    "round", "batch", "progress", "downtime_s", "handover_gap_s",
    "handover_command_s", "state_s", "state_bytes", "limit_s", "lost_batches", "lost_s",
}  # fmt: skip


def _move_cells(scheme: SchemeRecord, move: MoveRecord) -> list[str | Cell]:
    ratio = move.state_s / move.limit_s if move.state_s and move.limit_s else None
    return [
        move.device, scheme.name, move.strategy, move.origin, move.to, words.seconds(move.at_s),
        words.seconds(number(move.raw.get("late_s"))), words.plain(move.round),
        words.plain(None if move.batch is None else move.batch + (move.strategy != "restart")),
        words.percent(move.progress, 0),
        Cell(words.seconds(move.downtime_s), "" if scheme.went_on(move) else BAD), words.seconds(move.gap_s),
        words.seconds(number(move.raw.get("handover_command_s"))), words.seconds(move.state_s),
        words.size(move.state_bytes), words.seconds(move.limit_s), words.DASH if ratio is None else f"{ratio:.2f}",
        words.plain(move.lost_batches), words.seconds(move.lost_s),
    ]  # fmt: skip


def calibration_grid(record: RunRecord) -> Grid:
    """Each link and direction: asked, measured, error; what missed its tolerance is marked."""
    rate, rtt = record.tolerances.get("rate", 0.02), record.tolerances.get("rtt", 0.0005)
    grid = Grid(
        "Calibration of the links",
        ("link", "direction", "rate asked", "measured", "error", "RTT asked", "measured", "error", "delay", "jitter",
         "loss"),
        note=f"Measured before training, each direction alone. Tolerated: rate {words.percent(rate)}, round-trip time "
        f"{words.seconds(rtt)}. Delay, jitter and loss: asked → measured.",
        names=2,
    )  # fmt: skip
    for link in record.calibration:
        for way, direction in ((f"{link.a} to {link.b}", link.ab), (f"{link.b} to {link.a}", link.ba)):
            round_trip = _rtt(link, rtt) if direction is link.ab else ["", "", ""]
            grid.add(link.link, way, *_rate(direction, rate), *round_trip, *_shape(direction))
        for problem in link.problems:
            grid.add(Cell(link.link, BAD), Cell(f"missed: {problem}", BAD), *[""] * (len(grid.head) - 2))
    return grid


def _rate(way: Direction, tolerance: float) -> list[str | Cell]:
    off = number(way.rate_error)
    return [
        words.rate(way.asked.rate) if way.asked.rate else "any", words.rate(number(way.rate)),
        Cell(words.percent(off, 2, sign=True), BAD if off is not None and abs(off) > tolerance else ""),
    ]  # fmt: skip


def _shape(way: Direction) -> list[str | Cell]:
    asked = way.asked
    return [
        _change(asked.delay, number(way.delay), words.millis),
        _change(asked.jitter, number(way.jitter), words.millis),
        _change(asked.loss, number(way.loss), lambda share: words.percent(share, 2)),
    ]


def _change(asked: float, measured: float | None, say: Callable[[float | None], str]) -> str:
    return words.DASH if not asked and measured is None else words.change(say(asked), say(measured))


def _rtt(link: LinkCalibration, tolerance: float) -> list[str | Cell]:
    off = number(link.rtt_error)
    missed = off is not None and abs(off) > tolerance
    sign = "+" if off is not None and off > 0 else ""
    return [
        words.millis(link.rtt_asked), words.millis(number(link.rtt)),
        Cell(sign + words.millis(off), BAD if missed else ""),
    ]  # fmt: skip


def limits_grid(record: RunRecord) -> Grid:
    """Each node: what was asked of it, what the kernel enforces, how fast it really was."""
    late_most = record.tolerances.get("late_steps", 0.05)
    grid = Grid(
        "Limits of the nodes",
        ("node", "profile", "speed asked", "measured", "error", "late steps", "CPU guard", "read back", "memory asked",
         "read back", "scheme"),
        note="Speed is a share of one unthrottled core, held by pacing each training step to its time; a step is late "
        f"when it misses it. Tolerated: {words.percent(late_most, 0)} late. The CPU guard is the quota on top.",
        names=2,
    )  # fmt: skip
    for scheme in record.schemes:
        for name, node in scheme.nodes.items():
            asked, measured = number(node.get("speed")), number(node.get("speed_measured"))
            late = number(node.get("late_share"))
            off = measured / asked - 1 if asked and measured is not None else None
            cpus, limit = _read_back(node)
            grid.add(
                name, text(node.get("profile")) or text(node.get("kind"), words.DASH), words.plain(asked),
                words.plain(measured), words.percent(off, 2, sign=True),
                Cell(words.percent(late), BAD if late is not None and late > late_most else ""),
                words.plain(number(node.get("cpus"))), words.plain(cpus),
                words.memory(number(node.get("memory"))), words.memory(limit), Cell(scheme.name, QUIET),
            )  # fmt: skip
    return grid


def _read_back(node: Mapping[str, Any]) -> tuple[float | None, float | None]:
    read = table(table(node.get("limits")).get("read_back"))
    period, quota = number(read.get("period")), number(read.get("quota"))
    return quota / period if quota is not None and period else None, number(read.get("memory"))


def _any(value: object) -> str:
    return words.plain(number(value)) if isinstance(value, float) else words.plain(value)
