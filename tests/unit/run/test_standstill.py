"""Standstills that nobody is to blame for."""

import pytest

from testbed.run.standstill import TCP_S, excused


@pytest.mark.parametrize(
    ("downs", "ahead", "expected"),
    [
        ([], True, 0.0),
        ([(10.0, 40.0)], True, 60.0),                   # and as long again until TCP tries
        ([(10.0, 40.0)], False, 60.0),
        ([(50.0, None)], True, 50.0),
        ([(50.0, None)], False, 0.0),                   # nothing will ever bring it back
        ([(90.0, 95.0)], True, 10.0),
        ([(-500.0, 20.0)], True, 100.0),                # what was before the last progress does not count
        ([(-1000.0, -150.0)], True, 0.0),
        ([(-1000.0, -100.0)], True, 20.0),
        ([(30.0, 50.0), (10.0, 40.0)], True, 60.0),     # both at once count once
        ([(10.0, 15.0), (50.0, 60.0)], True, 30.0),
    ],
)
def test_time_counts_in_which_links_were_down(downs, ahead, expected):
    assert excused(downs, 0.0, 100.0, ahead=ahead) == pytest.approx(expected)


def test_tcp_waits_no_longer_than_it_may():
    assert excused([(0.0, 1000.0)], 0.0, 1e4, ahead=False) == 1000.0 + TCP_S
