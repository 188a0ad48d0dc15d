"""What a run says of its pipelines' probes and changes, out of events that are written down here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.events import Span
from testbed.experiment.plan import PipelinePlan
from testbed.run.steered import section


def span(what: str, begin: float = 0.0, end: float = 0.0, node: str = "pi", **attrs: Any) -> Span:
    more = {key: attrs.pop(key) for key in ("bytes", "peer") if key in attrs}
    return Span(kind=what, node=node, begin=begin, end=end, attrs=attrs, **more)


def test_a_row_for_each_owner() -> None:
    spans = [
        span("pipeline", 0, 9, device="pi", stage=0, staleness_most=1),
        span("pipeline", 0, 9, node="edge-a", device="pi", stage=1, staleness_most=2),
        span("pipeline", 0, 9, node="other", device="other", stage=0, staleness_most=0),
        span("probed", 1, 1.25, peer="edge-a", bytes=3000, lost=False),
        span("probed", 4, 9, peer="edge-b", bytes=1000, lost=True, took_s=0.25),
        span("probe", 1, 1.1, node="edge-a", device="pi"),
        span("decision", 2, 2, kind="probe", act="put off"),
        span("decision", 3, 3, kind="plan", act="prepare"),
        span("relocate", 5, 5.5, device="pi", stage=1),
        span("relocate", 6, 6.5, device="pi", stage=1),
        span("reopen", 7, 8, device="pi"),
        span("send", peer="edge-a", bytes=10_000, message="activations"),
        span("send", node="edge-a", peer="pi", bytes=6000, message="gradients"),
        span("send", node="edge-a", peer="edge-b", bytes=10**9, message="activations"),
        span("send", peer="edge-a", bytes=2000, message="probe"),
    ]
    rows = section(spans, PipelinePlan(budget=0.03), 0.0, 10.0)
    assert list(rows) == ["other", "pi"]
    assert rows["pi"] == {
        "changes": {"relocate": 2, "relay": 0, "reopen": 1}, "changes_s": 2.0, "prepared": 1, "probes": 2,
        "probes_lost": 1, "probes_put_off": 1, "probe_s": 0.5, "probe_bytes": 4000,
        "probe_time_share": pytest.approx(0.05), "probe_bytes_share": pytest.approx(4000 / 20_000),
        "probe_budget": 0.03, "staleness_most": 2,
    }  # fmt: skip
    assert rows["other"]["probe_bytes_share"] is None
    assert rows["other"]["staleness_most"] == 0


def test_a_run_that_ended_before_it_began() -> None:
    assert section([], PipelinePlan(), 0.0, 0.0) == {}
    [row] = section([span("decision", act="wait")], PipelinePlan(), 0.0, 0.0).values()
    assert row["probe_time_share"] is None
    assert row["staleness_most"] is None


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 10**6), st.booleans()), max_size=6), st.integers(0, 10**6))
def test_shares_are_of_the_whole(probes, carried) -> None:
    spans = [span("send", peer="e", bytes=carried, message="activations"), span("round")]
    spans += [span("probed", i, i + s, bytes=n, lost=lost) for i, (s, n, lost) in enumerate(probes)]
    [row] = section(spans, PipelinePlan(), 0.0, 7.0).values()
    assert 0 <= row["probe_time_share"] <= 1
    share = row["probe_bytes_share"]
    assert share is None or 0 <= share <= 1
    assert row["probe_bytes"] == sum(n for _, n, _ in probes)
    assert row["probes_lost"] <= row["probes"] == len(probes)
