"""What the orchestrator takes a cold start to last, of what units say."""

from __future__ import annotations

import pytest

from nodes.platform.registry import COLD_S, PLAIN_COLD_S, Registry
from nodes.wire.jobs import PlatformSettings
from nodes.wire.platform_messages import UnitState


def registry(**colds):
    made = Registry(PlatformSettings())
    for name, cold in colds.items():
        made.heard(UnitState(name=name, kind="edge" if name.startswith("e") else "device", cold=cold), 0.0)
    return made


@pytest.mark.parametrize(
    ("colds", "function", "seconds"),
    [
        ({"e1": {}}, "", COLD_S),
        ({"e1": {}}, "broadcast", PLAIN_COLD_S),
        ({"e1": {"broadcast": 0.2}}, "", COLD_S),
        ({"e1": {"broadcast": 0.2}}, "broadcast", 0.2),
        ({"e1": {"broadcast": 0.2, "aggregate": 2.0, "evaluate": 3.0}}, "", 2.5),
        ({"e1": {"broadcast": 0.2, "aggregate": 2.0, "evaluate": 3.0}}, "evaluate", 3.0),
        ({"e1": {"broadcast": 0.2}, "e2": {"aggregate": 2.0}}, "", 2.0),  # its like knows
        ({"e1": {"aggregate": 2.0}, "e2": {"broadcast": 0.2}}, "broadcast", 0.2),
        ({"e1": {}, "d1": {"train-device": 4.0}}, "", COLD_S),
    ],
)
def test_a_cold_start_is_as_measured_there_or_on_its_like(colds, function, seconds):
    assert registry(**colds).cold_s("e1", function) == pytest.approx(seconds)


def test_a_message_is_counted_once_on_its_way_however_many_links_that_has():
    rows = (("d1", "e1", 1e6, 0.01), ("e1", "cloud", 2e6, 0.02))
    made = Registry(PlatformSettings(sites={"d1": "e1"}, paths=rows, message_s=0.003))
    for name, kind, at in (("d1", "device", "e1"), ("e1", "edge", ""), ("cloud", "cloud", "")):
        made.heard(UnitState(name=name, kind=kind, at=at), 0.0)
    paths = made.paths(made.units(0.0, {}, {}, {}))
    assert {pair: (path.rate, pytest.approx(path.rtt)) for pair, path in paths.items()} == {
        ("d1", "e1"): (1e6, 0.016), ("e1", "cloud"): (2e6, 0.026), ("d1", "cloud"): (1e6, 0.036),
    }  # fmt: skip
