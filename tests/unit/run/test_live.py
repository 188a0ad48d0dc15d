"""What a person sees while a run goes on."""

from __future__ import annotations

import io

from rich.console import Console

from testbed.run.live import Live


def test_the_bar_of_a_device_that_has_died_says_so_and_stays():
    live = Live(console=Console(file=io.StringIO(), force_terminal=True, width=100))
    with live.training("fedavg", ["dev-1", "dev-2"], 3):
        live.batch("dev-1", 2, 4, 10)
        live.gone("dev-1")
        live.gone("dev-2")
        live.batch("dev-1", 2, 5, 10)  # it was on its way
        notes = [task.fields["note"] for task in live._progress.tasks]
    assert notes == ["died in round 2/3  batch 4/10", "died in round 1"]


def test_without_bars_nothing_is_said_twice():
    out = io.StringIO()
    live = Live(console=Console(file=out))
    with live.training("fedavg", ["dev-1"], 3):
        live.gone("dev-1")
    assert "died" not in out.getvalue()
