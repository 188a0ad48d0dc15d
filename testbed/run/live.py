"""What a person sees while a run goes on: phases with their time, then rounds by device. Goes to stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Live:
    """Live progress on a terminal, plain lines elsewhere, nothing when quiet.

    Args:
        quiet: Say nothing. console: Where to; stderr by default.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, quiet=quiet)
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._plain: dict[str, int] = {}
        self._rounds = 0

    def say(self, text: str) -> None:
        """A line for a person."""
        (self._progress.console if self._progress else self.console).print(text, highlight=False)

    def warn(self, text: str) -> None:
        """A line that matters."""
        self.say(f"[yellow]! {text}[/yellow]")

    @contextmanager
    def phase(self, name: str, expected_s: float | None = None) -> Iterator[None]:
        """A phase of the run, announced with its expected time and closed with its real one."""
        begin = time.monotonic()
        hint = f" (about {expected_s:.0f} s)" if expected_s and expected_s >= 1 else ""
        with self.console.status(f"{name}{hint} ..."):
            yield
        self.console.print(f"  {name} [dim]{time.monotonic() - begin:.1f} s[/dim]", highlight=False)

    @contextmanager
    def training(self, scheme: str, devices: list[str], rounds: int) -> Iterator[None]:
        """Bars for the devices of a scheme."""
        self._rounds = rounds
        self._plain = {}
        self.console.print(f"  training [bold]{scheme}[/bold], {rounds} rounds", highlight=False)
        if not self.console.is_terminal:
            yield
            return
        columns = (TextColumn("  {task.description:12}"), BarColumn(30), TextColumn("{task.fields[note]}"))
        with Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True) as self._progress:
            self._bars = {d: self._progress.add_task(d, total=1, note="") for d in devices}
            try:
                yield
            finally:
                self._bars = {}
        self._progress = None

    def batch(self, device: str, number: int, done: int, batches: int) -> None:
        """A device has done another batch."""
        if self._progress and device in self._bars:
            note = f"round {number}/{self._rounds}  batch {done}/{batches}"
            self._progress.update(self._bars[device], total=batches, completed=done, note=note)

    def gone(self, device: str) -> None:
        """A device has died: its bar stays where it is."""
        if self._progress and device in self._bars:
            task = self._bars.pop(device)
            self._progress.update(task, note=f"died in {self._progress.tasks[task].fields['note'] or 'round 1'}")

    def round(self, number: int, accuracy: float | None, elapsed: float) -> None:
        """A round has been averaged and evaluated."""
        score = f"accuracy {accuracy:.1%}" if accuracy is not None else "averaged"
        self.say(f"    round {number}/{self._rounds}  {score}  [dim]{elapsed:.1f} s[/dim]")
