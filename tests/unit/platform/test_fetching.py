"""Blobs from other units: asked for once, verified, kept until all are here."""

import numpy as np
import pytest

from nodes.learn.digest import arrays_digest
from nodes.platform.fetching import Fetches
from nodes.platform.store import Store
from tests.unit.platform.fakes import Clock

BLOBS = [{"w": np.full(100, n)} for n in range(4)]
A, B, C, D = map(arrays_digest, BLOBS)


@pytest.fixture
def bed(tmp_path):
    class Bed:
        pass

    bed = Bed()
    bed.clock, bed.asked, bed.heard = Clock(), [], []
    bed.store = Store(tmp_path)
    bed.fetches = Fetches(bed.store, lambda source, digest: bed.asked.append((source, digest)), bed.clock)
    return bed


def test_only_what_is_missing_is_asked_for_and_each_once(bed):
    bed.store.put(BLOBS[0])
    bed.fetches.want([A, B, B], "ea", bed.heard.append, 10)
    bed.fetches.want([B, C], "eb", bed.heard.append, 10)
    assert bed.asked == [("ea", B), ("eb", C)]
    bed.fetches.came(C, BLOBS[2])
    assert not bed.heard
    bed.fetches.came(B, BLOBS[1])
    assert bed.heard == ["", ""]
    bed.fetches.came(B, BLOBS[1])  # twice
    assert (bed.fetches.fetched, bed.fetches.bytes) == (2, 1600)
    bed.fetches.want([A, B, C], "ea", bed.heard.append, 10)
    assert bed.heard == ["", "", ""]
    assert len(bed.asked) == 2
    assert bed.fetches.due() is None


def test_what_is_here_stays_until_the_rest_has_come(bed):
    bed.store.limit = 2500
    bed.store.put(BLOBS[0])
    bed.fetches.want([A, B], "ea", lambda reason: bed.heard.append((reason, A in bed.store, B in bed.store)), 10)
    bed.store.put(BLOBS[2])
    bed.store.put(BLOBS[3])  # no room for all: A was used longest ago
    bed.fetches.came(B, BLOBS[1])
    assert bed.heard == [("", True, True)]
    bed.store.put(BLOBS[2])
    bed.store.put(BLOBS[3])
    assert A not in bed.store  # nothing holds it any more


def test_what_cannot_be_had_is_told_to_all_that_wait_for_it(bed):
    bed.fetches.want([A, B], "ea", bed.heard.append, 10)
    bed.fetches.want([B, C], "ea", bed.heard.append, 10)
    bed.fetches.want([C], "ea", bed.heard.append, 10)
    bed.fetches.failed(B, "the unit has gone")
    assert [("the unit has gone" in reason) for reason in bed.heard] == [True, True]
    bed.fetches.came(C, BLOBS[2])
    assert bed.heard[2] == ""
    bed.fetches.want([B], "eb", bed.heard.append, 10)
    assert bed.asked[-1] == ("eb", B)  # and may be asked for again


def test_a_blob_that_is_another_is_not_taken(bed):
    bed.fetches.want([A], "ea", bed.heard.append, 10)
    bed.fetches.came(A, BLOBS[1])
    assert "cannot be used" in bed.heard[0]
    assert len(bed.store) == 0


def test_nobody_waits_for_ever(bed):
    bed.fetches.want([A], "ea", bed.heard.append, 10)
    bed.clock.now += 9.9
    bed.fetches.step()
    assert bed.fetches.due() == pytest.approx(0.1)
    assert not bed.heard
    bed.clock.now += 0.1
    bed.fetches.step()
    assert A[:12] in bed.heard[0]
    bed.fetches.came(A, BLOBS[0])  # too late: nobody wants it
    assert len(bed.store) == 0
