"""How fast nodes are, through the testbed's own bring-up: two training workloads, and two programs that are not ours.

Training is measured by the recorded spans of its steps: what they should have taken (the reference time of each) over
what they took. A program of somebody else's is measured by the processor time it says it had.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fidelity.cases import Case, Record
from testbed.errors import EmulationError
from testbed.experiment import load_plan

HERE = Path(__file__).parent
TESTBED = [sys.executable, "-c", "from testbed.cli import main; main()"]  # of this checkout, whatever is installed
OPERATIONS = {
    "forward": "head.forward",
    "backward": "head.backward",
    "tail-step": "tail.step",
    "step": "whole.step",
}
"""Kinds of spans and the reference times that they are paced by."""
WINDOW_S = 5.0
_TRAINING = {"split": "split step of vgg5", "whole": "whole step of cnn"}
_QUICK_EPOCHS = {"split": 5, "whole": 30}
_FOREIGN = {"loop": "plain busy loop", "script": "torch script"}
_LIMIT, _FOREIGN_LIMIT = 2.0, 5.0
_PATIENCE = 300.0

_PROGRAM = """
import json, time
{prepare}
def run(seconds):
    begin, cpu, n = time.monotonic(), time.process_time(), 0
    while time.monotonic() < begin + seconds:
        {work}
        n += 1
    return {{"wall": time.monotonic() - begin, "cpu": time.process_time() - cpu, "work": n}}
run({warmup})
print(json.dumps(run({window})))
"""
_WORK = {
    "loop": ("", "sum(range(10000))"),
    "script": (
        "import torch; torch.set_num_threads(1); net = torch.nn.Conv2d(8, 16, 3); x = torch.zeros(8, 8, 32, 32)",
        "net(x).sum().backward()",
    ),
}


@contextmanager
def started(argv: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A program in a session of its own; if we are interrupted it gets the time that it needs to take all down."""
    process = subprocess.Popen(
        argv, text=True, start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, **more
    )  # fmt: skip
    try:
        yield process
    except BaseException:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
        raise


def call(*words: str) -> str:
    """What a verb of the testbed's said.

    Raises:
        EmulationError: It failed.
    """
    with started([*TESTBED, *words], cwd=HERE.parents[1]) as process:
        out, err = process.communicate(timeout=_PATIENCE)
    if process.returncode not in (0, 5):
        said = (err or out).strip()[-400:]
        raise EmulationError(f"testbed {words[0]} failed", found=f"code {process.returncode}: {said}")
    return out


@contextmanager
def standing(file: Path) -> Iterator[str]:
    """A topology that stands within the block, by its run id; taken down also if we are interrupted on the way up."""
    process = subprocess.Popen(
        [*TESTBED, "up", str(file), "--format", "json"], text=True, start_new_session=True, cwd=HERE.parents[1],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    interrupted: BaseException | None = None
    try:
        out, err = process.communicate(timeout=_PATIENCE)
    except BaseException as error:
        # What stands half-way has no name yet: it is let finish, and then taken down.
        interrupted = error
        out, err = process.communicate(timeout=_PATIENCE)
    if process.returncode != 0:
        raise interrupted or EmulationError("testbed up failed", found=err.strip()[-400:])
    run = str(json.loads(out)["run"])
    try:
        if interrupted is not None:
            raise interrupted
        yield run
    finally:
        call("down", run)


def training(record: Record, quick: bool = False) -> None:
    """Both training workloads: every node over the whole run, and its worst window."""
    for name in _TRAINING:
        fewer = ["--set", f"workload.local_epochs={_QUICK_EPOCHS[name]}"] if quick else []
        with record.attempt("speed", _TRAINING[name], "of a core"), tempfile.TemporaryDirectory() as directory:
            call("run", str(HERE / f"{name}.yaml"), "--runs", directory, "--quiet", "--format", "json", *fewer)
            (run,) = [path for path in Path(directory).iterdir() if (path / "summary.json").exists()]
            _trained(record, _TRAINING[name], run)


def _trained(record: Record, workload: str, run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    reference = json.loads((run / "manifest.json").read_text())["reference"]
    with (run / "events.jsonl").open() as file:
        spans = [span for line in file if (span := json.loads(line))["kind"] in OPERATIONS]
    rows = {name: row for name, row in summary["nodes"].items() if any(s["node"] == name for s in spans)}
    if not rows:
        raise EmulationError("no node told of a training step", where=str(run))
    for node, row in rows.items():
        own = [span for span in spans if span["node"] == node]
        asked, found = row["speed"], speed(own, reference)
        what = f"{workload} on {node} ({row['profile']})"
        note = f"verdict {summary['verdict']}, {row['late_share']:.1%} of its steps late"
        record.add(
            Case("speed", what, asked, found, (found / asked - 1) * 100, "of a core", len(own), error_unit="%",
                 limit=_LIMIT, note=note)
        )  # fmt: skip
        slices = windows(own, reference)
        if slices:
            worst = max(slices, key=lambda value: abs(value / asked - 1))
            record.add(
                Case("speed window", f"{what}, the worst of {len(slices)} windows of {WINDOW_S:g} s", asked, worst,
                     (worst / asked - 1) * 100, "of a core", len(own), error_unit="%", limit=_LIMIT)
            )  # fmt: skip


def speed(spans: Sequence[dict[str, Any]], reference: dict[str, float]) -> float:
    """What steps should have taken at speed 1 over what they took."""
    took = sum(span["end"] - span["begin"] for span in spans)
    return sum(reference[OPERATIONS[span["kind"]]] for span in spans) / took


def windows(spans: Sequence[dict[str, Any]], reference: dict[str, float], length: float = WINDOW_S) -> list[float]:
    """The speed in every whole window; a step belongs to the window in which it ends."""
    begin = min(span["begin"] for span in spans)
    last = int((max(span["end"] for span in spans) - begin) / length)
    by: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        by[int((span["end"] - begin) / length)].append(span)
    return [speed(by[index], reference) for index in range(last) if by[index]]


def foreign(record: Record, quick: bool = False) -> None:
    """Programs that are not ours, all at once: the processor time they had."""
    warmup, window = (5.0, 10.0) if quick else (10.0, 20.0)
    found: dict[str, dict[str, float] | BaseException] = {}
    with record.attempt("speed", "programs that are not ours", "of a core"):
        asked = {node.name: node.speed for node in load_plan(HERE / "foreign.yaml", []).nodes}
        with standing(HERE / "foreign.yaml") as run:

            def work(name: str) -> None:
                prepare, once = _WORK[name]
                program = _PROGRAM.format(prepare=prepare, work=once, warmup=warmup, window=window)
                try:
                    out = call("exec", "--run", run, name, "--", "python3", "-c", program)
                    found[name] = json.loads(out.strip().splitlines()[-1])
                except Exception as error:
                    found[name] = error

            threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in _FOREIGN]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(_PATIENCE)
    for name, words in _FOREIGN.items():
        if not found:
            break  # it has been said that nothing stood
        with record.attempt("speed", words, "of a core"):
            seen = found.get(name)
            if not isinstance(seen, dict):
                raise seen or EmulationError("it did not end")
            share = seen["cpu"] / seen["wall"]
            record.add(
                Case("speed", f"{words}, processor time over {window:g} s", asked[name], share,
                     (share / asked[name] - 1) * 100, "of a core", int(seen["work"]), error_unit="%",
                     limit=_FOREIGN_LIMIT)
            )  # fmt: skip
